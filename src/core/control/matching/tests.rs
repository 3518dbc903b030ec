use serde_json::{Value, json};

use super::*;
use crate::control::fixtures::{SET, container, mk_pod, mk_set, refs};

fn namespaces(list: &[(&str, &str, &str)]) -> Namespaces {
    let labels = |key: &str, value: &str| vec![(key.to_owned(), value.to_owned())];
    list.iter().map(|(name, key, value)| ((*name).to_owned(), labels(key, value))).collect()
}

fn in_namespace(namespace: &str) -> PodFacts {
    mk_pod("p", &json!({"metadata": {"namespace": namespace}}))
}

/// Rows C-T-MATCH-1 to 5. Rules: C-MATCH-1, C-MATCH-2, C-MATCH-9.
#[test]
fn namespaces_and_labels() {
    let selector = |key: &str, value: &str| json!({"namespaceSelector": {"matchLabels": {key: value}}});
    let one = [("app1", "ns", "app1")];
    let two = [("app1", "app", "app1"), ("app2", "app", "app2")];
    type Labelled = (&'static str, &'static str, &'static str);
    let none: &[Labelled] = &[];
    let cases = [
        (json!({}), none, true),
        (selector("ns", "app1"), &one, true),
        (selector("ns", "app2"), &one, false),
        (selector("app", "app1"), &two, true),
        (selector("app", "app2"), &two, false),
        (selector("kubernetes.io/metadata.name", "app1"), &one, true),
        (json!({"namespaceSelector": {"matchExpressions": [{"key": "a", "operator": "oops"}]}}), &one, false),
    ];
    for (spec, list, expected) in cases {
        let found = matches(&mk_set(&spec), &in_namespace("app1"), &namespaces(list));
        assert_eq!(found, expected, "{spec}");
    }
    assert!(!matches(&mk_set(&json!({"selector": null})), &in_namespace("a"), &Namespaces::new()));
    assert!(matches(
        &mk_set(&json!({"selector": {"matchLabels": null}})),
        &in_namespace("a"),
        &Namespaces::new()
    ));
}

/// Row C-T-MATCH-6. Rules: C-MATCH-6, C-MATCH-8, C-RUST-4.
#[test]
fn pods_of_two_namespaces() {
    let set = mk_set(&json!({"namespaceSelector": {"matchLabels": {"test": "true"}}}));
    let known = namespaces(&[("default", "x", "y"), ("test-ns", "test", "true")]);
    let pods: Vec<PodFacts> = (0..100)
        .map(|index| {
            let namespace = if index % 2 == 0 { "default" } else { "test-ns" };
            mk_pod(&format!("p{index:03}"), &json!({"metadata": {"namespace": namespace}}))
        })
        .collect();
    let mut reversed = refs(&pods);
    reversed.reverse();
    let found = matched(&set, &reversed, &known);
    assert_eq!(found.len(), 50);
    assert_eq!(found, matched(&set, &refs(&pods), &known), "the order of Pods is no input");
}

/// Rows C-T-MATCH-9 to 13. Rules: C-MATCH-3, C-MATCH-4, C-MATCH-5.
#[test]
fn containers_and_the_list() {
    let hot = json!({"containers": [{"name": "mesh", "upgradeStrategy": {"upgradeType": "HotUpgrade"}}]});
    let twins = |working: &str| {
        let containers: Vec<Value> = ["mesh-1", "mesh-2"].map(|name| container(name, "x").0).to_vec();
        json!({"spec": {"containers": containers}, "metadata": {"annotations": {
            "kruise.io/sidecarset-working-hotupgrade-container": working}}})
    };
    let listed =
        |list: &str| json!({"metadata": {"annotations": {"kruise.io/sidecarset-injected-list": list}}});
    let cold = json!({});
    let cases = [
        (&cold, json!({}), true),
        (&cold, json!({"spec": {"containers": [{"name": "main"}]}}), false),
        (&hot, twins(r#"{"mesh":"mesh-1"}"#), true),
        (&hot, twins(r#"{"other":"mesh-1"}"#), false),
        (&hot, twins("oops"), false),
        (
            &cold,
            json!({"spec": {"containers": [{"name": "main"}], "initContainers": [{"name": "test-sidecar"}]}}),
            true,
        ),
        (&json!({"containers": null, "initContainers": [{"name": "i"}]}), json!({}), true),
        (&cold, listed(&format!("a,{SET}-2")), false),
        (&cold, listed(&format!("a, {SET}")), false),
        (&cold, listed(&format!("a,{SET}")), true),
        (&cold, listed(""), false),
        (&cold, json!({"status": {"phase": "Succeeded"}}), false),
        (&cold, json!({"status": {"phase": "Failed"}}), false),
        (&cold, json!({"status": {"phase": "Unknown"}}), true),
        (&cold, json!({"metadata": {"deletionTimestamp": "2024-01-01T00:00:00Z"}}), false),
    ];
    for (spec, pod, expected) in cases {
        assert_eq!(matches(&mk_set(spec), &mk_pod("p", &pod), &Namespaces::new()), expected, "{spec} {pod}");
    }
}
