use serde_json::json;

use super::*;
use crate::control::fixtures::{SET, mk_pod, mk_set};
use crate::control::interner::Interner;
use crate::control::pod::Keep;

fn change(set: &SetFacts, pod: &PodFacts) -> Result<PodChange, PlanError> {
    upgrade(set, pod, &Before::read(SET, pod), "rev-2", 86_400)
}

/// Row C-T-FLOW-C1. Rules: I-CONST-5, C-CONS-8, C-UPD-12, C-UPD-13, C-UPD-15, C-UPD-19, C-RUST-7, C-BUG-25.
#[test]
fn only_images_and_annotations_are_written() {
    let pod = mk_pod("p", &json!({}));
    let patch = change(&mk_set(&json!({})), &pod).unwrap().patch(&pod);
    assert_eq!(
        patch["spec"],
        json!({
            "$setElementOrder/containers": [{"name": "main"}, {"name": "test-sidecar"}],
            "containers": [{"name": "test-sidecar", "image": "test-image:v2"}],
        })
    );
    assert_eq!(
        (&patch["metadata"]["uid"], &patch["metadata"]["resourceVersion"]),
        (&json!("uid-p"), &json!("10"))
    );
    let annotations = &patch["metadata"]["annotations"];
    assert_eq!(
        annotations[keys::HASH],
        r#"{"test-sidecarset":{"updateTimestamp":"1970-01-02T00:00:00Z","hash":"bbb","sidecarSetName":"test-sidecarset","sidecarList":["test-sidecar"],"controllerRevision":"rev-2"}}"#
    );
    assert_eq!(
        annotations[keys::IN_PLACE_STATE],
        r#"{"test-sidecarset":{"revision":"bbb","updateTimestamp":"1970-01-02T00:00:00Z","lastContainerStatuses":{"test-sidecar":{"imageID":"docker-pullable://test-sidecar@sha256:test-image:v1"}}}}"#
    );
    let before = r#"{"test-sidecarset":{"test-sidecar":{"image":"test-image:v1","restarts":0}}}"#;
    assert_eq!(annotations[keys::IN_PLACE_BEFORE], before);
    assert_eq!(annotations.as_object().unwrap().len(), 3, "{annotations}");
    let same = mk_set(&json!({"containers": [{"name": "test-sidecar", "image": "test-image:v1"}]}));
    let patch = change(&same, &pod).unwrap().patch(&pod);
    assert!(patch["spec"].is_null() && patch["metadata"]["annotations"][keys::HASH].is_string());
}

/// The API server refuses a patch whose list has another order than it names. Rules: C-UPD-19, C-RUST-7.
#[test]
fn images_are_in_the_order_of_the_containers() {
    let names = ["side", "main", "mesh"];
    let pod = mk_pod(
        "p",
        &json!({"spec": {"containers": names.map(|name| json!({"name": name, "image": "i:1"}))}}),
    );
    let patch = containers_patch(&pod, [("mesh", "i:2"), ("side", "i:3")].into_iter());
    let expected = json!([{"name": "side", "image": "i:3"}, {"name": "mesh", "image": "i:2"}]);
    assert_eq!(patch["containers"], expected);
    assert_eq!(patch["$setElementOrder/containers"], json!(names.map(|name| json!({"name": name}))));
}

/// Rules: C-UPD-15, C-BUG-14, C-RUST-12.
#[test]
fn what_others_wrote_stays() {
    let state = json!({
        "other": {"revision": "o", "unknown": 1},
        SET: {"revision": "old", "updateTimestamp": "x", "updateImages": true, "lastContainerStatuses": {"gone": {"imageID": "g"}}},
    });
    let pod = mk_pod(
        "p",
        &json!({
            "metadata": {"annotations": {(keys::IN_PLACE_STATE): state.to_string()}},
            "status": {"containerStatuses": [{"name": "test-sidecar"}]},
        }),
    );
    let written = &change(&mk_set(&json!({})), &pod).unwrap().annotations[keys::IN_PLACE_STATE];
    let written: Value = serde_json::from_str(written).unwrap();
    assert_eq!(written["other"], state["other"]);
    let own = &written[SET];
    assert_eq!((&own["revision"], &own["updateImages"]), (&json!("bbb"), &json!(true)));
    assert_eq!(own["lastContainerStatuses"], json!({"gone": {"imageID": "g"}, "test-sidecar": {}}));
}

/// Rows C-T-META-1 to 4. Rules: C-META-1, C-META-2, C-META-3, C-META-4, C-META-5, C-UPD-17.
#[test]
fn metadata() {
    let patched = |patches: Value, old: Value| {
        let set = mk_set(&json!({"patchPodMetadata": patches}));
        let keep = Keep::new(set.patched_keys());
        let pod = json!({"metadata": {"annotations": old}}).to_string();
        let pod = PodFacts::from_json(&pod, &keep, &mut Interner::default()).unwrap();
        change(&set, &pod).map(|change| {
            let keys = change.annotations.into_iter().filter(|(key, _)| key.starts_with("key"));
            keys.collect::<BTreeMap<_, _>>()
        })
    };
    let two = json!([
        {"patchPolicy": "Retain", "annotations": {"key1": "value1"}},
        {"patchPolicy": "Overwrite", "annotations": {"key2": "value2"}},
        {"patchPolicy": "Unknown", "annotations": {"key9": "x"}},
    ]);
    let map = |pairs: &[(&str, &str)]| {
        pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect::<BTreeMap<_, _>>()
    };
    assert_eq!(patched(two.clone(), json!({})).unwrap(), map(&[("key1", "value1"), ("key2", "value2")]));
    assert_eq!(patched(two, json!({"key1": "old", "key2": "old"})).unwrap(), map(&[("key2", "value2")]));
    let agent = r#"{"log-agent":1}"#;
    let merge = |more: Value| {
        let mut annotations = json!({"key1": agent});
        json_patch::merge(&mut annotations, &more);
        json!([{"patchPolicy": "MergePatchJson", "annotations": annotations}])
    };
    let three = merge(json!({"key2": r#"{"envoy":2}"#, "key3": r#"{"probe":5}"#}));
    let expected = map(&[("key2", r#"{"envoy":2,"log-agent":1}"#), ("key3", r#"{"probe":5}"#)]);
    assert_eq!(patched(three, json!({"key1": agent, "key2": agent})).unwrap(), expected);
    assert_eq!(patched(merge(json!({})), json!({"key1": agent})).unwrap(), map(&[]));
    let error = patched(merge(json!({})), json!({"key1": "not json"})).unwrap_err().to_string();
    assert!(error.contains("key1") && error.contains(SET), "{error}");
}

/// A set may name an annotation that Pods were decoded without. Rule: C-RUST-3.
#[test]
fn an_annotation_that_was_not_read() {
    let set = mk_set(&json!({"patchPodMetadata": [{"patchPolicy": "Retain", "annotations": {"k": "v"}}]}));
    assert!(matches!(change(&set, &mk_pod("p", &json!({}))), Err(PlanError::NotRead(key)) if key == "k"));
}
