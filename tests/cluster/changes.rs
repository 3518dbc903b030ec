//! The world changes between two Pods: the next one sees the new, the one before is left as it is.

use std::fs;
use std::time::Duration;

use serde_json::{Value, json};

use crate::control_plane::ControlPlane;
use crate::injected::{named, names};
use crate::injection::{mk_plain_set, mk_set};
use crate::kubectl::{Kubectl, list};
use crate::poll;
use crate::webhook::Webhook;

/// The folder is the source of namespaces too: what it says counts, not what the cluster's object says.
///
/// Rule: I-MATCH-6. Decision: D-23.
#[test]
#[ignore = "needs a control plane: make test"]
fn labels_of_the_namespace() {
    let plane = ControlPlane::shared();
    let kubectl = plane.namespace("changing-labels", json!({"tier": "gold"}));
    let mut set = mk_plain_set("gold", "gold-agent");
    set["spec"]["namespaceSelector"] = json!({"matchLabels": {"tier": "gold"}});
    let webhook =
        Webhook::with_objects(plane, &kubectl, &[mk_plain_set("logging", "log-agent"), set.clone()]);
    let namespaces = |labels: Value| {
        let metadata = json!({"name": "changing-labels", "labels": labels});
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata});
        fs::write(webhook.sidecarsets.join("namespaces.json"), namespace.to_string()).unwrap();
    };
    assert_eq!(sidecars(&run(&kubectl, "unlisted")), ["unlisted", "log-agent"], "nobody told us of labels");
    namespaces(json!({"tier": "gold"}));
    await_sidecars(&kubectl, &["probe", "gold-agent", "log-agent"]);
    assert_eq!(sidecars(&run(&kubectl, "gold")), ["gold", "gold-agent", "log-agent"]);
    namespaces(json!({"tier": "silver"}));
    await_sidecars(&kubectl, &["probe", "log-agent"]);
    assert_eq!(sidecars(&run(&kubectl, "silver")), ["silver", "log-agent"]);
    let before = kubectl.json(&["get", "pod", "gold"]);
    assert_eq!(sidecars(&before), ["gold", "gold-agent", "log-agent"]);
}

/// A container more and another image: the hashes of the next Pod tell both.
///
/// Rule: I-ANN-2, I-ANN-4, I-REV-12.
#[test]
#[ignore = "needs a control plane: make test"]
fn a_set() {
    let plane = ControlPlane::shared();
    let kubectl = plane.namespace("changing-set", json!({}));
    let container = |name: &str, image: &str| json!({"name": name, "image": image, "podInjectPolicy": "AfterAppContainer"});
    let set = |containers: Value| mk_set("agents", json!({"containers": containers}));
    let webhook = Webhook::with_objects(plane, &kubectl, &[set(json!([container("log-agent", "agent:1")]))]);
    let first = run(&kubectl, "first");
    let file = webhook.sidecarsets.join("objects.json");
    let change = |containers: Value, expected: &str| {
        fs::write(&file, list(&[set(containers)])).unwrap();
        poll::until("the next Pod to show the change", Duration::from_secs(10), || {
            let pod = dry_run(&kubectl);
            if pod.to_string().contains(expected) { Ok(()) } else { Err(sidecars(&pod).join(" ")) }
        })
        .unwrap();
    };
    change(json!([container("log-agent", "agent:2")]), "agent:2");
    let second = run(&kubectl, "second");
    change(json!([container("log-agent", "agent:2"), container("trace-agent", "agent:2")]), "trace-agent");
    let third = run(&kubectl, "third");

    assert_eq!(named(&second["spec"]["containers"], "log-agent")["image"], "agent:2");
    assert_eq!(sidecars(&third), ["third", "log-agent", "trace-agent"]);
    assert_eq!(entry(&third, "")["sidecarList"], json!(["log-agent", "trace-agent"]));
    let hashes = |suffix: &str| [&first, &second, &third].map(|pod| entry(pod, suffix)["hash"].clone());
    let [first_hash, second_hash, third_hash] = hashes("");
    assert!(first_hash != second_hash && second_hash != third_hash);
    let [first_hash, second_hash, third_hash] = hashes("-without-image");
    assert!(first_hash == second_hash && second_hash != third_hash);
    let first_now = kubectl.json(&["get", "pod", "first"]);
    assert_eq!(first_now["spec"]["containers"], first["spec"]["containers"]);
}

#[track_caller]
fn run(kubectl: &Kubectl, name: &str) -> Value {
    kubectl.ok(&["run", name, "--image=registry.example/cart:7", "--labels=app=shop"]);
    kubectl.json(&["get", "pod", name])
}

#[track_caller]
fn dry_run(kubectl: &Kubectl) -> Value {
    kubectl.json(&["run", "probe", "--image=probe:1", "--labels=app=shop", "--dry-run=server"])
}

/// The names of a Pod's containers.
fn sidecars(pod: &Value) -> Vec<&str> {
    names(&pod["spec"]["containers"])
}

#[track_caller]
fn await_sidecars(kubectl: &Kubectl, expected: &[&str]) {
    poll::until("the folder to be read", Duration::from_secs(10), || {
        let pod = dry_run(kubectl);
        let found = sidecars(&pod);
        if found == expected { Ok(()) } else { Err(found.join(" ")) }
    })
    .unwrap();
}

/// What a Pod's hash annotation with this suffix says of the set `agents`.
fn entry(pod: &Value, suffix: &str) -> Value {
    let key = format!("kruise.io/sidecarset-hash{suffix}");
    let entries: Value = serde_json::from_str(crate::injected::annotation(pod, &key)).unwrap();
    entries["agents"].clone()
}
