//! Rules that no record and no table of the specification shows.

use serde_json::{Value, json};
use sidecarset_core::admission::Verdict;
use sidecarset_core::snapshot::{DEFAULT_REVISION_NAMESPACE, Snapshot, SnapshotParts, UnlistedNamespaces};

use crate::world::{CONTEXT, World, decide};

fn mk_set(spec: Value) -> Value {
    let mut set = json!({
        "apiVersion": "apps.kruise.io/v1beta1", "kind": "SidecarSet", "metadata": {"name": "agents"},
        "spec": {"selector": {"matchLabels": {"app": "shop"}}, "containers": [{"name": "log-agent", "image": "live"}]},
    });
    for (member, value) in spec.as_object().unwrap() {
        set["spec"][member] = value.clone();
    }
    set
}

fn mk_pod(spec: Value) -> Value {
    json!({"metadata": {"namespace": "default", "labels": {"app": "shop"}}, "spec": spec})
}

/// Rule: I-CONST-15.
#[test]
fn a_revision_counts_in_one_namespace_only() {
    let world = World::of([mk_set(json!({"injectionStrategy": {"revision": {"revisionName": "agents-1"}}}))]);
    let pod = mk_pod(json!({"containers": [{"name": "cart"}]}));
    for (namespace, is_found) in [("kruise-system", true), ("default", false)] {
        let revision = json!({
            "metadata": {
                "name": "agents-1", "namespace": namespace, "labels": {"kruise.io/sidecarset-name": "agents"}},
            "data": {"spec": {"$patch": "replace", "containers": [{"name": "log-agent", "image": "stored"}]}},
        });
        let snapshot = Snapshot::new(SnapshotParts {
            sets: world.loaded(),
            namespaces: Vec::new(),
            revisions: vec![revision],
            revision_namespace: Some(DEFAULT_REVISION_NAMESPACE.to_owned()),
            unlisted_namespaces: UnlistedNamespaces::HaveNameLabel,
        });
        match decide(&snapshot, &CONTEXT, &pod.to_string()).verdict {
            Verdict::Patch(patch) => assert!(is_found && patch.contains("stored"), "{namespace}: {patch}"),
            Verdict::Denied(denial) => {
                assert!(!is_found && denial.message.contains("\"agents-1\""), "{namespace}: {denial:?}");
            }
            Verdict::Unchanged => panic!("{namespace}: the set matches"),
        }
    }
}

/// Whether the source lists the namespace, and with which labels, does not matter. Rule: I-CONST-16.
#[test]
fn every_namespace_has_the_label_with_its_name() {
    let labels = vec![("team".to_owned(), "shop".to_owned())];
    for namespaces in [vec![], vec![("default".to_owned(), labels)]] {
        for (operator, is_injected) in [("In", true), ("NotIn", false)] {
            let name =
                json!({"key": "kubernetes.io/metadata.name", "operator": operator, "values": ["default"]});
            let set = mk_set(json!({"namespaceSelector": {"matchExpressions": [name]}}));
            let world = World { namespaces: namespaces.clone(), ..World::of([set]) };
            let pod = mk_pod(json!({"containers": [{"name": "cart"}]}));
            assert_eq!(world.inject(&pod) != pod, is_injected, "{operator} {namespaces:?}");
        }
    }
}

/// A sidecar whose set is gone is known by the Pod's annotation alone. Decision: D-29.
#[test]
fn what_the_annotation_records_is_no_target_of_a_policy() {
    let policy = json!({
        "targetContainersMode": "sum", "targetContainersNameRegex": ".*",
        "resourcesExpr": {"requests": {"cpu": "cpu*50%"}},
    });
    let world = World::of([mk_set(
        json!({"containers": [{"name": "log-agent", "image": "live", "resourcesPolicy": policy}]}),
    )]);
    let mk_container = |name: &str, cpu: &str| json!({"name": name, "resources": {"requests": {"cpu": cpu}}});
    let mut pod =
        mk_pod(json!({"containers": [mk_container("cart", "200m"), mk_container("old-agent", "1")]}));
    let request = |pod: &Value| {
        let pod = world.inject(pod);
        let containers = pod["spec"]["containers"].as_array().unwrap();
        let agent = containers.iter().find(|container| container["name"] == "log-agent").unwrap();
        agent["resources"]["requests"]["cpu"].as_str().unwrap().to_owned()
    };
    assert_eq!(request(&pod), "600m", "an app container");
    let entry = json!({"gone": {"updateTimestamp": null, "hash": "h", "sidecarSetName": "gone", "sidecarList": ["old-agent"]}});
    pod["metadata"]["annotations"] = json!({"kruise.io/sidecarset-hash": entry.to_string()});
    assert_eq!(request(&pod), "100m", "a sidecar");
}
