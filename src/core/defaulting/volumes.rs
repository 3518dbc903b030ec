//! Defaults of one volume of a set.

use super::{for_each, set_if_empty};
use crate::api::json::{Object, member, set_if_absent};

/// Mode of files when none is given: octal 0644.
const FILE_MODE: u32 = 0o644;
/// How long a projected token is valid when nothing is said, seconds.
const TOKEN_SECONDS: u32 = 3600;

/// Applies the defaults of one volume. A volume without a source becomes an `emptyDir`; a source that we do not know is a source
/// (upstream drops it and then sees none).
///
/// Rule: A-DEF-42, A-DEF-43, A-DEF-44, A-DEF-45, A-DEF-46, A-DEF-47, A-DEF-49a.
/// Decision: D-5, D-17.
pub(super) fn default_volume(volume: &mut Object) {
    if !volume.iter().any(|(name, value)| name != "name" && !value.is_null()) {
        volume.insert("emptyDir".to_owned(), Object::new().into());
    }
    if let Some(host_path) = member(volume, "hostPath") {
        set_if_absent(host_path, "type", "");
    }
    for name in ["secret", "configMap", "downwardAPI", "projected"] {
        if let Some(source) = member(volume, name) {
            set_if_absent(source, "defaultMode", FILE_MODE);
        }
    }
    default_field_references(volume);
    if let Some(projected) = member(volume, "projected") {
        for_each(projected, "sources", |source| {
            default_field_references(source);
            if let Some(token) = member(source, "serviceAccountToken") {
                set_if_absent(token, "expirationSeconds", TOKEN_SECONDS);
            }
        });
    }
}

/// The field references of the `downwardAPI` of a volume or of a projected source.
///
/// Rule: A-DEF-48, A-DEF-49.
fn default_field_references(source: &mut Object) {
    if let Some(downward) = member(source, "downwardAPI") {
        for_each(downward, "items", |item| {
            if let Some(field) = member(item, "fieldRef") {
                set_if_empty(field, "apiVersion", "v1");
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn assert_defaulted(volume: Value, expected: Value) {
        let Value::Object(mut map) = volume.clone() else { panic!("not an object: {volume}") };
        default_volume(&mut map);
        assert_eq!(Value::from(map), expected, "{volume}");
    }

    /// A-T-DEF-12 and 13.
    /// Decision: D-17: a source that we do not know is one.
    #[test]
    fn a_volume_without_a_source_is_an_empty_dir() {
        assert_defaulted(json!({"name": "v"}), json!({"name": "v", "emptyDir": {}}));
        assert_defaulted(json!({"emptyDir": null}), json!({"emptyDir": {}}));
        assert_defaulted(
            json!({"hostPath": {"path": "/a"}}),
            json!({"hostPath": {"path": "/a", "type": ""}}),
        );
        for kept in
            [json!({"name": "v", "hostpath": {"path": "/a"}}), json!({"iscsi": {}}), json!({"emptyDir": {}})]
        {
            assert_defaulted(kept.clone(), kept);
        }
    }

    #[test]
    fn modes_references_and_token_times_are_filled() {
        let items = |version: Value| json!([{"path": "a", "fieldRef": version}, {"path": "b"}]);
        let (before, after) = (items(json!({})), items(json!({"apiVersion": "v1"})));
        assert_defaulted(json!({"secret": {}}), json!({"secret": {"defaultMode": 420}}));
        assert_defaulted(json!({"configMap": {"defaultMode": 0}}), json!({"configMap": {"defaultMode": 0}}));
        assert_defaulted(
            json!({"downwardAPI": {"items": before}}),
            json!({"downwardAPI": {"items": after, "defaultMode": 420}}),
        );
        assert_defaulted(
            json!({"projected": {"sources": [
                {"downwardAPI": {"items": before}}, {"serviceAccountToken": {"path": "t"}},
                {"serviceAccountToken": {"expirationSeconds": 0}}, {"future": {}},
            ]}}),
            json!({"projected": {"sources": [
                {"downwardAPI": {"items": after}}, {"serviceAccountToken": {"path": "t", "expirationSeconds": 3600}},
                {"serviceAccountToken": {"expirationSeconds": 0}}, {"future": {}},
            ], "defaultMode": 420}}),
        );
    }
}
