//! The nodes of all scenes: brings the status of Pods up to date as the rules say, and keeps the Nodes ready.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::api::{Api, at_once, is, path};
use super::kubelet::{NODES, PodState, START_MS, Start};
use super::observation::text;
use super::scene::Scene;
use super::world::{Woken, World};

/// How often a Node says that it is alive; it is given up after 40 s.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// Pause before a status is sent again that could not be.
const PAUSE: Duration = Duration::from_millis(100);

/// Creates the Nodes and works for as long as the runtime lives.
pub(super) async fn start(world: &Arc<World>, mut woken: mpsc::UnboundedReceiver<Woken>) {
    for name in NODES {
        let labels = if name == "node-vk" { json!({"type": "virtual-kubelet"}) } else { json!({}) };
        let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}});
        world.api.ensure(&path("Node", "", ""), &node).await.expect("a Node");
    }
    beat(&world.api).await;
    let api = world.api.clone();
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(HEARTBEAT).await;
            beat(&api).await;
        }
    });
    let world = Arc::clone(world);
    tokio::spawn(async move {
        while let Some((scene, key)) = woken.recv().await {
            sync(&world, &scene, &key).await;
        }
    });
}

/// What is lost comes again with the next beat.
async fn beat(api: &Api) {
    let now = jiff::Timestamp::now();
    let (precise, second) = (now.strftime("%Y-%m-%dT%H:%M:%S.%6fZ"), now.strftime("%Y-%m-%dT%H:%M:%SZ"));
    for name in NODES {
        let spec =
            json!({"holderIdentity": name, "leaseDurationSeconds": 40, "renewTime": precise.to_string()});
        let leases = path("Lease", "kube-node-lease", "");
        let renewed = api.patch(&format!("{leases}/{name}"), "merge", &json!({"spec": spec})).await;
        if renewed.is_err_and(|error| is(&error, 404)) {
            let lease = json!({
                "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": name}, "spec": spec,
            });
            let _ = api.ensure(&leases, &lease).await;
        }
        let room = json!({"cpu": "1000", "memory": "1000Gi", "pods": "10000"});
        let ready = json!({
            "type": "Ready", "status": "True", "reason": "KubeletReady", "lastHeartbeatTime": second.to_string(),
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        });
        let status = json!({"allocatable": room, "capacity": room, "conditions": [ready]});
        let node = format!("{}/status", path("Node", "", name));
        let _ = api.patch(&node, "merge", &json!({"status": status})).await;
    }
}

/// Brings one Pod up to date.
async fn sync(world: &Arc<World>, scene: &Arc<Scene>, key: &str) {
    let Some(pod) = world.objects()["Pod"].get(key).cloned() else {
        scene.seen().pods.remove(key);
        return;
    };
    let uid = text(&pod, &["metadata", "uid"]);
    let pod_path = path("Pod", text(&pod, &["metadata", "namespace"]), text(&pod, &["metadata", "name"]));
    let (status, starts, is_frozen) = {
        let seen = &mut *scene.seen();
        let settings = seen.settings.of(key);
        let index = seen.index(uid);
        if seen.pods.get(key).is_none_or(|(known, _)| known != uid) {
            seen.pods.insert(key.to_owned(), (uid.to_owned(), PodState::new(index)));
        }
        let Some((_, state)) = seen.pods.get_mut(key) else { return };
        let mut starts = Vec::new();
        let status = state.status(&pod, &settings, &mut starts);
        seen.starts_due += starts.len();
        (status, starts, *settings.of("freeze") == true)
    };
    for start in starts {
        tokio::spawn(start_later(Arc::clone(world), Arc::clone(scene), key.to_owned(), start));
    }
    let sent = match status {
        Some(status) if !covers(&pod["status"], &status) => {
            let patch = json!({"metadata": {"uid": uid}, "status": status});
            world.api.patch(&format!("{pod_path}/status"), "strategic-merge", &patch).await.map(|_| ())
        }
        None if !is_frozen && is_leaving(&pod) => {
            let mut options = at_once();
            options["preconditions"] = json!({"uid": uid});
            world.api.delete(&pod_path, &options).await
        }
        _ => Ok(()),
    };
    match sent {
        // The watch tells that it is gone.
        Err(error) if is(&error, 404) => {}
        Err(_) => {
            let (world, scene, key) = (Arc::clone(world), Arc::clone(scene), key.to_owned());
            tokio::spawn(async move {
                tokio::time::sleep(PAUSE).await;
                world.wake(&scene, &key);
            });
        }
        Ok(()) => {}
    }
}

/// Being deleted, on a node of ours, and nobody holds it.
fn is_leaving(pod: &Value) -> bool {
    let is_held = pod["metadata"]["finalizers"].as_array().is_some_and(|list| !list.is_empty());
    let is_ours = NODES.contains(&text(pod, &["spec", "nodeName"]));
    is_ours && !is_held && !pod["metadata"]["deletionTimestamp"].is_null()
}

async fn start_later(world: Arc<World>, scene: Arc<Scene>, key: String, start: Start) {
    tokio::time::sleep(Duration::from_millis(START_MS)).await;
    {
        let seen = &mut *scene.seen();
        seen.starts_due -= 1;
        if let Some((_, state)) = seen.pods.get_mut(&key) {
            state.start(&start);
        }
    }
    scene.touch();
    world.wake(&scene, &key);
}

/// Whether what is stored says all that is wanted. Conditions are found by their type; null and empty say nothing.
fn covers(stored: &Value, wanted: &Value) -> bool {
    match wanted {
        Value::Object(members) => members.iter().all(|(name, wanted)| match (name.as_str(), wanted) {
            ("conditions", Value::Array(conditions)) => conditions.iter().all(|condition| {
                let stored = stored[name].as_array().into_iter().flatten();
                stored
                    .filter(|other| other["type"] == condition["type"])
                    .any(|other| covers(other, condition))
            }),
            ("state", Value::Object(state)) => {
                state.keys().all(|kind| !stored[name][kind].is_null()) && covers(&stored[name], wanted)
            }
            _ => covers(&stored[name], wanted),
        }),
        Value::Array(items) => {
            let stored = stored.as_array().map(Vec::as_slice).unwrap_or_default();
            stored.len() == items.len()
                && stored.iter().zip(items).all(|(stored, wanted)| covers(stored, wanted))
        }
        Value::String(wanted) if wanted.is_empty() => text(stored, &[]).is_empty(),
        wanted => stored == wanted,
    }
}
