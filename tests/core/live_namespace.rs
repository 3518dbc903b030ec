//! Namespaces that the Snapshot of a cluster does not know. Decision: D-23.

use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::json;
use sidecarset_core::admission::{NamespaceUnknown, admit};
use sidecarset_core::context::{Context, Draw, LiveNamespace};
use sidecarset_core::pod::PodLook;
use sidecarset_core::snapshot::{Snapshot, SnapshotParts, UnlistedNamespaces};

use crate::world::{CONTEXT, World, create};

/// Counts every Pod, whatever its owner.
#[derive(Debug, Default)]
struct Counting(AtomicU64);

impl Draw for Counting {
    fn next_index(&self, _key: u64) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }
}

/// `all` draws between its revision and itself, `prod` asks for the namespace; names sort the one that draws first.
fn mk_snapshot() -> Snapshot {
    let selector = json!({"matchLabels": {"app": "web"}});
    let containers = |name: &str| json!([{"name": name, "image": "agent:1"}]);
    let world = World {
        sets: vec![
            json!({"apiVersion": "apps.kruise.io/v1beta1", "kind": "SidecarSet", "metadata": {"name": "all"}, "spec": {
                "selector": selector, "containers": containers("a"), "updateStrategy": {"partition": "50%"},
                "injectionStrategy": {"revision": {"revisionName": "all-1", "policy": "Partial"}}}}),
            json!({"apiVersion": "apps.kruise.io/v1beta1", "kind": "SidecarSet", "metadata": {"name": "prod"}, "spec": {
                "selector": selector, "containers": containers("p"),
                "namespaceSelector": {"matchLabels": {"env": "prod"}}}}),
        ],
        revisions: vec![
            json!({"metadata": {"name": "all-1", "labels": {"kruise.io/sidecarset-name": "all"}}, "revision": 1,
            "data": {"spec": {"$patch": "replace", "containers": containers("old")}}}),
        ],
        ..World::default()
    };
    Snapshot::new(SnapshotParts {
        sets: world.loaded(),
        namespaces: Vec::new(),
        revisions: world.revisions,
        revision_namespace: None,
        unlisted_namespaces: UnlistedNamespaces::Unknown,
    })
}

const WEB: &str =
    r#"{"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "main", "image": "m:1"}]}}"#;

/// Decision: D-23, D-25.
#[test]
fn a_pod_that_is_decided_twice_counts_once() {
    let (snapshot, draw) = (mk_snapshot(), Counting::default());
    // A Pod without owner and generateName is alone, and no draw counts it.
    let text = WEB.replacen("\"labels\"", "\"generateName\": \"web-\", \"labels\"", 1);
    let pod = PodLook::from_json(&text).unwrap();
    let first = admit(&create(), &pod, &snapshot, &Context { draw: &draw, ..CONTEXT });
    assert_eq!(first.unwrap_err(), NamespaceUnknown { name: "default".to_owned() });
    assert_eq!(draw.0.load(Ordering::Relaxed), 0, "nothing was drawn for an answer that nobody gets");
    let labels = [("env".to_owned(), "prod".to_owned())];
    let live_namespace = Some(LiveNamespace::Labels(&labels));
    let second =
        admit(&create(), &pod, &snapshot, &Context { draw: &draw, live_namespace, ..CONTEXT }).unwrap();
    assert_eq!(second.injected.iter().map(|name| &**name).collect::<Vec<_>>(), ["all", "prod"]);
    assert_eq!(draw.0.load(Ordering::Relaxed), 1);
}

/// Decision: D-23.
#[test]
fn a_namespace_that_does_not_exist_matches_no_selector() {
    let pod = PodLook::from_json(WEB).unwrap();
    let context = Context { live_namespace: Some(LiveNamespace::NotFound), ..CONTEXT };
    let decision = admit(&create(), &pod, &mk_snapshot(), &context).unwrap();
    assert_eq!(decision.injected.iter().map(|name| &**name).collect::<Vec<_>>(), ["all"]);
    assert!(decision.warnings.iter().any(|text| text.contains("\"default\" does not exist")), "{decision:?}");
}

/// The labels are asked for only if a set can match the Pod otherwise.
#[test]
fn nobody_asks_for_a_namespace_that_cannot_matter() {
    let pod = PodLook::from_json(r#"{"metadata": {"labels": {"app": "other"}}, "spec": {"containers": []}}"#)
        .unwrap();
    assert!(admit(&create(), &pod, &mk_snapshot(), &CONTEXT).unwrap().injected.is_empty());
}
