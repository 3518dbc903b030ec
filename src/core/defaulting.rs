//! Filling what a SidecarSet leaves out, on its raw JSON: nothing that is there is changed or dropped (D-5).
//!
//! Values of a wrong type are left alone; [`crate::api::decode`] names them.

mod containers;
mod image;
mod volumes;

use serde_json::Value;

pub(crate) use image::pull_policy;

use crate::api::complete::complete;
use crate::api::decode;
use crate::api::json::{Object, created, member, set_if_absent};
use crate::api::keys;
use crate::field::FieldError;
use crate::hash::{self, Hashes};

/// Applies all defaults to a whole SidecarSet of either version, except the hash annotations. Doing it again changes nothing.
///
/// Besides the defaults it adds the members that the CRD's schema requires and turns `null` items into their zero, as upstream's
/// re-encoding does (A-API-9a), but always, not only when some default is missing too.
///
/// Rule: A-DEF-1, A-DEF-2, A-DEF-3, A-DEF-14, A-DEF-20, A-DEF-61.
/// Decision: D-5.
pub fn apply(object: &mut Value) {
    complete(object);
    let Some(spec) = object.as_object_mut().and_then(|set| created(set, "spec")) else { return };
    default_strategies(spec);
    for_each(spec, "patchPodMetadata", |patch| set_if_empty(patch, "patchPolicy", "Retain"));
    for_each(spec, "initContainers", |container| {
        containers::default_container(container, "AfterAppContainer")
    });
    for_each(spec, "containers", |container| containers::default_container(container, "BeforeAppContainer"));
    for_each(spec, "volumes", volumes::default_volume);
}

/// Writes both hash annotations, over whatever is there: what admission does after [`apply`].
///
/// # Errors
///
/// What cannot be decoded, each with its path; then nothing is written.
///
/// Rule: A-DEF-50.
pub fn set_hash_annotations(object: &mut Value) -> Result<(), Vec<FieldError>> {
    let hashes = hash::of_sidecarset(object)?;
    write_annotations(object, hashes, |_| true)
}

/// Writes those of the two hash annotations that are absent or empty: for a set that comes from a file.
///
/// # Errors
///
/// As [`set_hash_annotations`]; none if both are there.
///
/// Rule: I-REV-12.
pub fn ensure_hash_annotations(object: &mut Value) -> Result<(), Vec<FieldError>> {
    let annotations = object.get("metadata").and_then(|metadata| metadata.get("annotations"));
    let carries = |key: &str| annotations.and_then(|map| map.get(key)).is_some_and(|value| !is_empty(value));
    if carries(keys::HASH) && carries(keys::HASH_WITHOUT_IMAGE) {
        return Ok(());
    }
    let hashes = hash::of_sidecarset(object)?;
    write_annotations(object, hashes, is_empty)
}

/// Sets each hash annotation that is absent or for whose value `replaced` is true.
fn write_annotations(
    object: &mut Value,
    hashes: Hashes,
    replaced: impl Fn(&Value) -> bool,
) -> Result<(), Vec<FieldError>> {
    let Some(annotations) = object
        .as_object_mut()
        .and_then(|set| created(set, "metadata"))
        .and_then(|metadata| created(metadata, "annotations"))
    else {
        return Err(decode::check(object));
    };
    let Hashes { hash, without_image } = hashes;
    for (key, hash) in [(keys::HASH, hash), (keys::HASH_WITHOUT_IMAGE, without_image)] {
        if annotations.get(key).is_none_or(&replaced) {
            annotations.insert(key.to_owned(), hash.into());
        }
    }
    Ok(())
}

/// Rule: A-DEF-10, A-DEF-11, A-DEF-12, A-DEF-13, A-DEF-15.
fn default_strategies(spec: &mut Object) {
    if let Some(update) = created(spec, "updateStrategy") {
        set_if_empty(update, "type", "RollingUpdate");
        set_if_absent(update, "maxUnavailable", 1);
        set_if_absent(update, "partition", 0);
    }
    set_if_absent(spec, "revisionHistoryLimit", 10);
    let injection = member(spec, "injectionStrategy");
    if let Some(revision) = injection.and_then(|injection| member(injection, "revision")) {
        set_if_empty(revision, "policy", "Always");
    }
}

/// Whether a value counts as not given where absent and zero are the same: `null`, `""` or `0`.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Number(number) => number.as_i64() == Some(0),
        Value::Bool(_) | Value::Array(_) | Value::Object(_) => false,
    }
}

/// Calls `default` with every object of the list at `name`.
fn for_each(map: &mut Object, name: &str, default: impl FnMut(&mut Object)) {
    let list = map.get_mut(name).and_then(Value::as_array_mut);
    list.into_iter().flatten().filter_map(Value::as_object_mut).for_each(default);
}

/// For members that cannot tell absent from zero; for others there is `set_if_absent`.
fn set_if_empty(map: &mut Object, name: &str, value: impl Into<Value>) {
    if map.get(name).is_none_or(is_empty) {
        map.insert(name.to_owned(), value.into());
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const HASH: &str = "6wbd76bd7984x24fb4f44fv9222cw9v9bcf85x766744wddd4zwx927zzz2zb684";
    const WITHOUT_IMAGE: &str = "82684vwf9d4cb4wz4vffx4ddfbb47ww4z4wwxdbwb8w2zbb7zvf4524cdd49bv94";

    fn sparse() -> Value {
        json!({"spec": {
            "containers": [{"name": "dns-f", "image": "dns:1.0"}],
            "patchPodMetadata": [{"annotations": {"a": "b"}}],
            "injectionStrategy": {"revision": {"customVersion": "1"}},
        }})
    }

    /// A-T-DEF-1.
    #[test]
    fn a_sparse_set_gets_every_default_and_both_hashes() {
        let mut set = sparse();
        apply(&mut set);
        set_hash_annotations(&mut set).unwrap();
        let expected = json!({
            "metadata": {"annotations": {
                "kruise.io/sidecarset-hash": HASH,
                "kruise.io/sidecarset-hash-without-image": WITHOUT_IMAGE,
            }},
            "spec": {
                "containers": [{
                    "name": "dns-f", "image": "dns:1.0", "podInjectPolicy": "BeforeAppContainer",
                    "upgradeStrategy": {"upgradeType": "ColdUpgrade"}, "shareVolumePolicy": {"type": "disabled"},
                    "imagePullPolicy": "IfNotPresent", "terminationMessagePath": "/dev/termination-log",
                    "terminationMessagePolicy": "File",
                }],
                "patchPodMetadata": [{"annotations": {"a": "b"}, "patchPolicy": "Retain"}],
                "injectionStrategy": {"revision": {"customVersion": "1", "policy": "Always"}},
                "updateStrategy": {"type": "RollingUpdate", "maxUnavailable": 1, "partition": 0},
                "revisionHistoryLimit": 10,
            },
        });
        assert_eq!(set, expected);
    }

    /// A-T-DEF-8.
    #[test]
    fn given_values_stay() {
        let mut set = json!({"metadata": {"labels": null}, "spec": {
            "updateStrategy": {"type": "NotUpdate", "maxUnavailable": "20%", "partition": 5, "future": [null]},
            "revisionHistoryLimit": 0, "patchPodMetadata": [{"patchPolicy": "Odd"}], "volumes": null,
        }});
        let given = set.clone();
        apply(&mut set);
        assert_eq!(set, given);
    }

    /// A-T-DEF-15 and I-REV-12.
    #[test]
    fn hash_annotations_are_overwritten_in_admission_and_kept_in_a_file() {
        let mut set = sparse();
        apply(&mut set);
        set["metadata"] = json!({"annotations": {(keys::HASH): "old", (keys::HASH_WITHOUT_IMAGE): ""}});
        let mut from_file = set.clone();
        ensure_hash_annotations(&mut from_file).unwrap();
        let annotations = &from_file["metadata"]["annotations"];
        assert_eq!(annotations, &json!({(keys::HASH): "old", (keys::HASH_WITHOUT_IMAGE): WITHOUT_IMAGE}));
        set_hash_annotations(&mut set).unwrap();
        let annotations = &set["metadata"]["annotations"];
        assert_eq!(annotations, &json!({(keys::HASH): HASH, (keys::HASH_WITHOUT_IMAGE): WITHOUT_IMAGE}));
    }

    #[test]
    fn data_of_the_wrong_type_is_left_alone_and_named_when_hashed() {
        for (data, path) in [
            (json!(5), ""),
            (json!({"spec": "x"}), "spec"),
            (json!({"spec": {"containers": [{"name": "a", "ports": 5}]}}), "spec.containers[0].ports"),
            (json!({"spec": {}, "metadata": []}), "metadata"),
        ] {
            let mut set = data.clone();
            apply(&mut set);
            let before = set.clone();
            let findings = set_hash_annotations(&mut set).unwrap_err();
            assert_eq!(findings[0].path, path, "{data}");
            assert_eq!(set, before);
        }
    }
}
