use serde_json::{Value, json};

use super::*;
use crate::control::fixtures::{SET, mk_pod, mk_set, mk_set_object, refs};

static NONE: BTreeSet<String> = BTreeSet::new();

fn repair(webhook: WebhookHealth) -> Repair<'static> {
    Repair { webhook, evictions_allowed: 2, excluded_namespaces: &NONE, canaries: &NONE }
}

/// A Pod without the sidecar.
fn bare(name: &str, patch: &Value) -> PodFacts {
    let mut pod = json!({"metadata": {"annotations": {"kruise.io/sidecarset-injected-list": null}}});
    json_patch::merge(&mut pod, patch);
    mk_pod(name, &pod)
}

/// Decision: D-26. Rule: C-MATCH-7.
#[test]
fn who_missed_injection() {
    let excluded = BTreeSet::from(["kube-system".to_owned()]);
    let canaries = BTreeSet::from(["canary".to_owned()]);
    let annotation = |key: &str, value: &str| json!({"metadata": {"annotations": {key: value}}});
    let pods = [
        bare("b", &json!({})),
        bare("a", &json!({})),
        mk_pod("injected", &json!({})),
        bare("other", &json!({"metadata": {"labels": {"app": "x"}}})),
        bare("system", &json!({"metadata": {"namespace": "kube-system"}})),
        bare("done", &json!({"status": {"phase": "Succeeded"}})),
        bare("out", &annotation("sidecarset.kruise.io/inject", "false")),
        bare("out-by-label", &json!({"metadata": {"labels": {"sidecarset.kruise.io/inject": "false"}}})),
        bare("skips", &annotation("sidecarset.kruise.io/skip", &format!("x, {SET}"))),
        bare("mirror", &annotation("kubernetes.io/config.mirror", "1")),
        bare("of-canary", &annotation("kruise.io/sidecarset-injected-list", "canary")),
    ];
    let all =
        Repair { excluded_namespaces: &excluded, canaries: &canaries, ..repair(WebhookHealth::Unhealthy) };
    let found = |set: &SetFacts| {
        let missed = find(set, &refs(&pods), &Namespaces::new(), &all);
        missed.pods.iter().map(|pod| pod.name.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(found(&mk_set(&json!({}))), ["a", "b"]);
    assert!(found(&mk_set(&json!({"injectionStrategy": {"paused": true}}))).is_empty());
    assert!(found(&mk_set(&json!({"selector": {"matchLabels": null}}))).is_empty());
    assert!(found(&mk_set(&json!({"containers": []}))).is_empty());
}

/// Only what helps is evicted, oldest first and no more than allowed.
#[test]
fn who_is_replaced() {
    let at = |second: u32| format!("1970-01-01T00:00:{second:02}Z");
    let owned = |name: &str, second: u32| {
        bare(
            name,
            &json!({"metadata": {"creationTimestamp": at(second), "ownerReferences": [{"controller": true}]}}),
        )
    };
    let unowned = bare("unowned", &json!({"metadata": {"creationTimestamp": at(1)}}));
    let pods = [owned("c", 7), owned("b", 3), owned("a", 5), owned("late", 40), unowned];
    let set = |created: u32, repair: &str| {
        mk_set_object(
            &json!({"metadata": {"creationTimestamp": at(created), "annotations": {"sidecarset.kruise.io/repair": repair}}}),
        )
    };
    let evicted = |set: &SetFacts, webhook| {
        let missed = find(set, &refs(&pods), &Namespaces::new(), &repair(webhook));
        missed.evictions.iter().map(|pod| pod.name.clone()).collect::<Vec<_>>()
    };
    assert_eq!(evicted(&set(2, "Evict"), WebhookHealth::HealthySince(30)), ["b", "a"]);
    assert_eq!(evicted(&set(4, "Evict"), WebhookHealth::HealthySince(1)), ["b"], "made before the set");
    assert!(evicted(&set(2, "Evict"), WebhookHealth::Unhealthy).is_empty());
    assert!(evicted(&set(2, "evict"), WebhookHealth::HealthySince(30)).is_empty());
}
