use serde_json::json;

use super::*;
use crate::control::fixtures::{mk_pod, record};

/// Rule: C-RUST-3.
#[test]
fn only_what_rules_read_is_kept() {
    let pod = mk_pod(
        "p",
        &json!({
            "metadata": {
                "creationTimestamp": "1970-01-01T00:01:00Z", "managedFields": [{"manager": "kubelet"}],
                "annotations": {"big": "text", "version.sidecarset.kruise.io/a-1": "7"},
                "ownerReferences": [{"controller": true, "uid": "x"}],
            },
            "spec": {
                "restartPolicy": "OnFailure",
                "initContainers": [{"name": "i", "image": "i:1"}, {"name": "n", "restartPolicy": "Always"}],
            },
            "status": {"conditions": [
                {"type": "Ready", "status": "True", "lastTransitionTime": "1970-01-01T00:02:00Z"},
                {"type": "SidecarSetUpgradable", "status": "False", "reason": "r", "message": "{}"},
            ]},
        }),
    );
    assert_eq!(
        (pod.annotation("big"), pod.annotation("version.sidecarset.kruise.io/a-1")),
        (None, Some("7"))
    );
    assert_eq!((pod.created_unix, pod.ready_since_unix), (Some(60), Some(120)));
    assert_eq!(pod.owner, Some(Owner::new("x")));
    assert_eq!((pod.is_active(), pod.restart_policy), (true, RestartPolicy::OnFailure));
    let places: Vec<Place> = pod.containers.iter().map(|container| container.place).collect();
    assert_eq!(places, [Place::Init, Place::NativeSidecar, Place::Regular, Place::Regular]);
    assert_eq!(pod.upgradable.as_ref().map(|condition| &*condition.status), Some("False"));
    assert_eq!(pod.records.hash("test-sidecarset"), "aaa");
}

/// Only literal values count. Rule: C-TERM-2.
#[test]
fn marks_of_the_terminator() {
    let env = |name: &str, value: &str| json!({"name": name, "value": value});
    let pod = mk_pod(
        "p",
        &json!({"spec": {"containers": [
            {"name": "a", "env": [env("KRUISE_TERMINATE_SIDECAR_WHEN_JOB_EXIT", "TRUE"),
                env("KRUISE_TERMINATE_SIDECAR_IGNORE_EXIT_CODE", "True"),
                env("KRUISE_TERMINATE_SIDECAR_WHEN_JOB_EXIT_WITH_IMAGE", "exit:1")]},
            {"name": "b", "env": [env("KRUISE_TERMINATE_SIDECAR_IGNORE_EXIT_CODE", "true"),
                {"name": "KRUISE_TERMINATE_SIDECAR_WHEN_JOB_EXIT", "valueFrom": {"fieldRef": {}}}]},
        ]}}),
    );
    let marks: Vec<&ExitMark> = pod.regular().map(|container| &container.exit).collect();
    let image = Some("exit:1".into());
    assert_eq!(marks, [&ExitMark { by_kill: true, ignores_exit_code: true, image }, &ExitMark::default()]);
}

#[test]
fn nulls_read_as_absent_and_broken_text_is_an_error() {
    let mut interner = Interner::default();
    let mut read = |text: &str| PodFacts::from_json(text, &Keep::default(), &mut interner);
    let pod = read(
        r#"{"metadata":{"name":"p","labels":null,"creationTimestamp":null},"spec":null,"status":{"phase":null}}"#,
    );
    let pod = pod.unwrap();
    assert_eq!((&*pod.name, pod.phase, pod.has_no_phase), ("p", Phase::Pending, true));
    assert!(read("{").is_err() && read(r#"{"metadata":{"name":5}}"#).is_err());
}

/// What a Pod with one set costs besides what it shares: a third of a kilobyte. Rule: C-RUST-3, C-BUG-34.
#[test]
fn a_pod_is_small() {
    let (mut interner, keep) = (Interner::default(), Keep::default());
    let mk = |index: usize, interner: &mut Interner| {
        let text = json!({
            "metadata": {
                "namespace": "shop", "name": format!("cart-7d9f8b6c5d-{index:05}"), "resourceVersion": index.to_string(),
                "uid": format!("0a1b2c3d-4e5f-6789-abcd-{index:012}"), "labels": {"app": "cart"},
                "annotations": {
                    "kruise.io/sidecarset-injected-list": "test-sidecarset",
                    "kruise.io/sidecarset-hash": record(&"h".repeat(64)).replace(":05Z", &format!(":{:02}Z", index % 60)),
                    "kruise.io/sidecarset-hash-without-image": record(&"w".repeat(64)),
                },
            },
            "spec": {"nodeName": format!("node-{}", index % 50), "containers": [{"name": "a", "image": "a:1"}, {"name": "b", "image": "b:1"}]},
            "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}], "containerStatuses": [
                {"name": "a", "image": "a:1", "imageID": "a@sha256:1", "ready": true, "state": {"running": {}}}]},
        });
        PodFacts::from_json(&text.to_string(), &keep, interner).unwrap()
    };
    let first = mk(0, &mut interner);
    for index in 1..60 {
        mk(index, &mut interner);
    }
    let shared = interner.len();
    let mut pods = Vec::new();
    let memory = allocation_counter::measure(|| {
        pods.extend((60..260).map(|index| mk(index, &mut interner)));
    });
    assert_eq!(interner.len(), shared, "nothing of the new ones is kept a second time");
    let each = memory.bytes_current / 200;
    assert!(each <= 340, "{each} bytes");
    assert!(pods.iter().all(|pod| std::sync::Arc::ptr_eq(&pod.containers, &first.containers)));
}
