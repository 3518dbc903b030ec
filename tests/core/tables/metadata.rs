//! I-T-META, I-T-ANN: annotations.

use serde_json::{Value, json};
use sidecarset_core::injection::hash_annotation;

use super::{annotation, mk_set, pod_a};
use crate::world::World;

fn patch(policy: &str, annotations: Value) -> Value {
    json!({"patchPolicy": policy, "annotations": annotations})
}

fn mk_pod(annotations: Value) -> Value {
    let mut pod = pod_a();
    pod["metadata"]["annotations"] = annotations;
    pod
}

#[test]
fn i_t_meta() {
    let two =
        json!([patch("Retain", json!({"key1": "value1"})), patch("Overwrite", json!({"key2": "value2"}))]);
    let agent = r#"{"log-agent":1}"#;
    let merges = json!([patch(
        "MergePatchJson",
        json!({"key1": agent, "key2": r#"{"envoy":2}"#, "key3": r#"{"probe":5}"#})
    )]);
    let merged = r#"{"envoy":2,"log-agent":1}"#;
    let rows: [(Value, Vec<Value>, Value); 5] = [
        (json!({}), vec![two.clone()], json!({"key1": "value1", "key2": "value2"})),
        (json!({"key1": "old", "key2": "old"}), vec![two], json!({"key1": "old", "key2": "value2"})),
        (
            json!({"key1": agent, "key2": agent}),
            vec![merges],
            json!({"key1": agent, "key2": merged, "key3": r#"{"probe":5}"#}),
        ),
        (
            json!({"key1": agent}),
            vec![json!([patch("MergePatchJson", json!({"key1": agent}))])],
            json!({"key1": agent}),
        ),
        (
            json!({}),
            vec![
                json!([
                    patch("MergePatchJson", json!({"key1": agent})),
                    patch("Retain", json!({"key": "envoy=1,log=2"}))
                ]),
                json!([patch("MergePatchJson", json!({"key1": r#"{"envoy":2}"#}))]),
            ],
            json!({"key1": merged, "key": "envoy=1,log=2"}),
        ),
    ];
    for (own, patches, expected) in rows {
        // Sets that build nothing leave only what they patch (I-INJ-6).
        let sets = patches.iter().enumerate().map(|(number, patches)| {
            mk_set(&format!("s{number}"), "h", json!({"patchPodMetadata": patches}))
        });
        let pod = World::of(sets).inject(&mk_pod(own));
        assert_eq!(pod["metadata"]["annotations"], expected, "{patches:?}");
    }
}

#[test]
fn i_t_meta_with_a_container() {
    let patches = json!([patch("MergePatchJson", json!({"key": r#"{"X":1}"#}))]);
    let set = mk_set("s", "h", json!({"containers": [{"name": "x"}], "patchPodMetadata": patches}));
    assert_eq!(annotation(&World::of([set]).inject(&pod_a()), "key"), r#"{"X":1}"#);
}

#[test]
fn i_t_meta_no_json() {
    let set = mk_set("s", "h", json!({"patchPodMetadata": [patch("MergePatchJson", json!({"key": "{}"}))]}));
    let (code, message) = World::of([set]).deny(&mk_pod(json!({"key": "not json"})));
    assert_eq!(code, 500);
    assert!(
        ["\"s\"", "`key`", "Invalid JSON Document"].iter().all(|part| message.contains(part)),
        "{message}"
    );
}

#[test]
fn i_t_ann() {
    let hash = |text: &str| {
        let parsed = hash_annotation::parse(text).ok();
        parsed.and_then(|parsed| Some(parsed.entries.get("s")?.hash.to_string())).unwrap_or_default()
    };
    for (text, expected) in
        [(r#"{"s":{"hash":"aaa"}}"#, "aaa"), (r#"{"s": "aaa"}"#, "aaa"), ("failed-hash", "")]
    {
        assert_eq!(hash(text), expected, "{text}");
    }
}
