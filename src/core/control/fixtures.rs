//! Sets and Pods for tests of decisions.

use serde_json::{Value, json};

use super::interner::Interner;
use super::pod::{Keep, PodFacts};
use super::set::SetFacts;
use crate::api::keys;

/// Name of the set.
pub(super) const SET: &str = "test-sidecarset";

/// A set that wants `test-image:v2` in `test-sidecar`, with `spec` merged over that.
pub(super) fn mk_set(spec: &Value) -> SetFacts {
    mk_set_object(&json!({"spec": spec}))
}

/// The same with the whole object merged over it.
pub(super) fn mk_set_object(patch: &Value) -> SetFacts {
    let mut set = json!({
        "metadata": {
            "name": SET, "uid": "set-uid", "resourceVersion": "22", "generation": 1,
            "annotations": {(keys::HASH): "bbb", (keys::HASH_WITHOUT_IMAGE): "without-aaa"},
        },
        "spec": {
            "selector": {"matchLabels": {"app": "nginx"}},
            "containers": [{"name": "test-sidecar", "image": "test-image:v2"}],
        },
    });
    json_patch::merge(&mut set, patch);
    SetFacts::new(&set).unwrap()
}

/// A record of the set as a Pod carries it.
pub(super) fn record(hash: &str) -> String {
    json!({SET: {
        "updateTimestamp": "2024-01-02T03:04:05Z", "hash": hash, "sidecarSetName": SET,
        "sidecarList": ["test-sidecar"],
    }})
    .to_string()
}

/// A container and its status, ready with that image.
pub(super) fn container(name: &str, image: &str) -> (Value, Value) {
    (
        json!({"name": name, "image": image}),
        json!({
            "name": name, "image": image, "imageID": format!("docker-pullable://{name}@sha256:{image}"),
            "ready": true, "restartCount": 0, "state": {"running": {}},
        }),
    )
}

/// A Pod that serves, `test-sidecar` at v1 with hash `aaa`, with `patch` merged over that.
pub(super) fn mk_pod(name: &str, patch: &Value) -> PodFacts {
    let (containers, statuses): (Vec<Value>, Vec<Value>) =
        [container("main", "main:v1"), container("test-sidecar", "test-image:v1")].into_iter().unzip();
    let mut pod = json!({
        "metadata": {
            "namespace": "default", "name": name, "uid": format!("uid-{name}"), "resourceVersion": "10",
            "labels": {"app": "nginx"},
            "annotations": {
                (keys::INJECTED_LIST): SET, (keys::HASH): record("aaa"),
                (keys::HASH_WITHOUT_IMAGE): record("without-aaa"),
            },
        },
        "spec": {"nodeName": "node-1", "containers": containers},
        "status": {
            "phase": "Running", "conditions": [{"type": "Ready", "status": "True"}],
            "containerStatuses": statuses,
        },
    });
    json_patch::merge(&mut pod, patch);
    PodFacts::from_json(&pod.to_string(), &Keep::default(), &mut Interner::default()).unwrap()
}

/// References to all.
pub(super) fn refs(pods: &[PodFacts]) -> Vec<&PodFacts> {
    pods.iter().collect()
}
