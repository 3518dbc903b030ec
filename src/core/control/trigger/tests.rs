use serde_json::{Value, json};

use super::*;
use crate::control::fixtures::{SET, mk_pod, mk_set, mk_set_object, record};

fn delay(spec: &Value, old: Option<&Value>, new: Option<&Value>) -> Option<u64> {
    let pod = |patch: &Value| mk_pod("p", patch);
    let (old, new) = (old.map(pod), new.map(pod));
    after_pod(&mk_set(spec), old.as_ref(), new.as_ref()).map(|delay| delay.as_secs())
}

/// Table C-T-MAP; rows 3, 4, 7, 8 and 9 as C-RUST-5 says. Rules: C-CTL-6…10, C-BUG-2, C-BUG-3, C-BUG-41. Decision: D-37.
#[test]
fn changes_of_pods() {
    let plain = json!({});
    let not_ready = json!({"status": {"conditions": null}});
    let not_update = json!({"updateStrategy": {"type": "NotUpdate"}});
    assert_eq!(delay(&plain, None, Some(&plain)), Some(0), "C-T-MAP-1");
    assert_eq!(delay(&plain, Some(&plain), Some(&not_ready)), Some(0), "C-T-MAP-2");
    assert_eq!(delay(&plain, Some(&plain), None), Some(0), "C-T-MAP-4");
    let terminating = json!({"metadata": {"deletionTimestamp": "2024-01-01T00:00:00Z"}});
    assert_eq!(delay(&plain, Some(&plain), Some(&terminating)), Some(0), "C-T-MAP-6");
    assert_eq!(delay(&not_update, Some(&plain), Some(&not_ready)), Some(0), "C-T-MAP-8");
    let relabelled = json!({"metadata": {"labels": {"x": "y"}}});
    assert_eq!(delay(&plain, Some(&plain), Some(&relabelled)), Some(0), "C-T-MAP-9");
    let hashed = json!({"metadata": {"annotations": {"kruise.io/sidecarset-hash": record("bbb")}}});
    assert_eq!(delay(&plain, Some(&plain), Some(&hashed)), Some(0), "C-BUG-41");
    let version = json!({"metadata": {"resourceVersion": "11", "annotations": {"unread": "x"}}});
    assert_eq!(delay(&plain, Some(&plain), Some(&version)), None, "nothing that is read");
    let pulled = |id: &str| {
        let state = json!({SET: {"lastContainerStatuses": {"test-sidecar": {"imageID": "old"}}}}).to_string();
        json!({
            "metadata": {"annotations": {"kruise.io/sidecarset-inplace-update-state": state}},
            "status": {"containerStatuses": [{"name": "main"}, {"name": "test-sidecar", "image": "x:0", "imageID": id}]},
        })
    };
    assert_eq!(delay(&plain, Some(&pulled("old")), Some(&pulled("new"))), Some(5), "C-T-MAP-10");
}

/// Rows C-T-MAP-5 and 11. Rules: C-CTL-4, C-CTL-5, C-RUST-5, C-BUG-4.
#[test]
fn sets_of_pods_and_changes_of_sets() {
    let listed = |list: &str| {
        mk_pod("p", &json!({"metadata": {"annotations": {"kruise.io/sidecarset-injected-list": list}}}))
    };
    let (old, new) = (listed("a,b"), listed("b,c"));
    assert_eq!(sets_of(Some(&old), Some(&new)).into_iter().collect::<Vec<_>>(), ["a", "b", "c"]);
    assert_eq!(sets_of(None, Some(&listed(""))).len(), 0);
    let set = mk_set(&json!({}));
    let changed = |patch: Value| after_set(&set, &mk_set_object(&patch));
    assert!(!changed(
        json!({"metadata": {"resourceVersion": "23", "annotations": {"note": "x"}}, "status": {"matchedPods": 5}})
    ));
    assert!(changed(json!({"metadata": {"generation": 2}})));
    assert!(changed(json!({"metadata": {"annotations": {"kruise.io/sidecarset-hash": "ccc"}}})));
    assert!(changed(json!({"metadata": {"labels": {"a": "b"}}})));
    assert!(!after_namespace(&set) && after_namespace(&mk_set(&json!({"namespaceSelector": {}}))));
}
