//! A kubelet that the test plays itself, step by step: nothing runs while it does nothing.

use serde_json::{Value, json};

use crate::injected::items;
use crate::kubectl::Kubectl;

/// A Pod on a node, owned by a ReplicaSet.
pub(super) fn pod(name: &str, labels: Value, containers: Value) -> Value {
    let owner = json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "shop", "uid": "5d", "controller": true});
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "labels": labels, "ownerReferences": [owner]},
        "spec": {"nodeName": "node-1", "terminationGracePeriodSeconds": 0, "containers": containers},
    })
}

/// Runs every container with the image that its Pod asks for, and says so; a container that has ended stays so.
#[track_caller]
pub(super) fn run(kubectl: &Kubectl) {
    for pod in items(&kubectl.json(&["get", "pods"])["items"]) {
        let before = &pod["status"]["containerStatuses"];
        let statuses: Vec<Value> = items(&pod["spec"]["containers"])
            .map(|container| {
                let old = items(before).find(|status| status["name"] == container["name"]);
                let is_over = old.is_some_and(|old| old["state"]["terminated"].is_object());
                match old.filter(|old| is_over || old["image"] == container["image"]) {
                    Some(old) => old.clone(),
                    None => running(
                        container,
                        old.map_or(-1, |old| old["restartCount"].as_i64().unwrap_or(0)) + 1,
                    ),
                }
            })
            .collect();
        if before.as_array() != Some(&statuses) {
            let ready = json!({"type": "Ready", "status": "True"});
            write(
                kubectl,
                &pod["metadata"]["name"],
                &json!({
                    "phase": "Running", "conditions": [ready], "containerStatuses": statuses,
                }),
            );
        }
    }
}

/// Ends one container of a Pod with exit code 0.
#[track_caller]
pub(super) fn end(kubectl: &Kubectl, pod: &str, container: &str) {
    let mut statuses = kubectl.json(&["get", "pod", pod])["status"]["containerStatuses"].take();
    let list = statuses.as_array_mut().unwrap();
    let status = list.iter_mut().find(|status| status["name"] == container).unwrap();
    status["ready"] = json!(false);
    status["state"] = json!({"terminated": {"exitCode": 0, "reason": "Completed"}});
    write(kubectl, &json!(pod), &json!({"containerStatuses": statuses}));
}

/// The status of a container that runs with its image.
pub(super) fn running(container: &Value, restarts: i64) -> Value {
    let image = &container["image"];
    json!({
        "name": container["name"], "image": image, "imageID": format!("sim://{}", image.as_str().unwrap()),
        "ready": true, "started": true, "restartCount": restarts,
        "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}},
    })
}

#[track_caller]
fn write(kubectl: &Kubectl, pod: &Value, status: &Value) {
    let patch = json!({"status": status}).to_string();
    let args =
        ["patch", "pod", pod.as_str().unwrap(), "--subresource=status", "--type=strategic", "-p", &patch];
    if let Err(error) = kubectl.run(&args) {
        // A Pod may go at any time.
        assert!(error.contains("NotFound"), "{error}");
    }
}
