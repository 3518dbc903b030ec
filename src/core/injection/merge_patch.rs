//! JSON merge patch (RFC 7386) on texts, byte for byte as upstream does it.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::json_tree::{Tree, decode};

/// Why two texts cannot be merged; the texts are upstream's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MergeError {
    /// The existing text is no JSON, or `null`.
    #[error("Invalid JSON Document")]
    Document,
    /// The patch is no JSON, or neither object nor array.
    #[error("Invalid JSON Patch")]
    Patch,
}

/// Applies the merge patch `patch` to `existing`; both are JSON texts. The result is compact, members that were looked at are
/// sorted, everything else keeps its spelling. An empty existing text is the caller's business (I-META-3).
///
/// # Errors
///
/// [`MergeError`], checked in this order: syntax of `existing`, syntax of `patch`, `null`s, kinds. Nesting deeper than 128
/// levels counts as bad syntax.
///
/// Rule: I-META-3, I-META-6, I-META-7.
pub fn merge(existing: &str, patch: &str) -> Result<String, MergeError> {
    let existing_tree = Tree::parse(existing).ok_or(MergeError::Document)?;
    let patch_tree = Tree::parse(patch).ok_or(MergeError::Patch)?;
    let merged = match (existing_tree, patch_tree) {
        (Tree::Null, _) => return Err(MergeError::Document),
        (Tree::Members(existing), Tree::Members(patch)) => merge_objects(existing, patch),
        (_, patch @ (Tree::Members(_) | Tree::Array(_))) => pruned(patch),
        _ => return Err(MergeError::Patch),
    };
    let mut out = String::with_capacity(existing.len() + patch.len());
    merged.write(&mut out);
    Ok(out)
}

type Members<'a> = Vec<(&'a str, Tree<'a>)>;

fn merge_objects<'a>(existing: Members<'a>, patch: Members<'a>) -> Tree<'a> {
    let mut merged = sorted(existing);
    for (name, value) in sorted(patch) {
        let value = match (merged.remove(&name), value) {
            (_, Tree::Null) => continue,
            (Some(Tree::Members(existing)), Tree::Members(patch)) => merge_objects(existing, patch),
            // Upstream stores what replaces an object as it is.
            (Some(Tree::Members(_)), value) => value,
            (_, value) => pruned(value),
        };
        merged.insert(name, value);
    }
    Tree::Sorted(merged)
}

/// Members by decoded name; of duplicates the last.
fn sorted<'a>(members: Members<'a>) -> BTreeMap<Cow<'a, str>, Tree<'a>> {
    members.into_iter().map(|(name, value)| (decode(name), value)).collect()
}

/// Objects at any depth lose their `null` members; `null` items of arrays stay.
fn pruned(tree: Tree<'_>) -> Tree<'_> {
    match tree {
        Tree::Members(members) => {
            let kept = sorted(members).into_iter().filter(|(_, value)| *value != Tree::Null);
            Tree::Sorted(kept.map(|(name, value)| (name, pruned(value))).collect())
        }
        Tree::Array(items) => Tree::Array(items.into_iter().map(pruned).collect()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::{btree_map, vec};
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    #[test]
    fn i_meta_6_and_7() {
        for (existing, patch, merged) in [
            (r#"{"a":1}"#, r#"{"b":2}"#, r#"{"a":1,"b":2}"#),
            (r#"{"log-agent": 1}"#, r#"{"log-agent": 1}"#, r#"{"log-agent":1}"#),
            (
                r#"{"a":{"z":1,"b":2},"c":1}"#,
                r#"{"a":{"b":null},"d":{"y":null,"x":1}}"#,
                r#"{"a":{"z":1},"c":1,"d":{"x":1}}"#,
            ),
            (r#"[1]"#, r#"{"k":null,"m":1}"#, r#"{"m":1}"#),
            (r#"{"a":1}"#, r#"[1,null]"#, r#"[1,null]"#),
            (r#"5"#, r#"[{"a":null,"b":1}]"#, r#"[{"b":1}]"#),
            // A non-object that replaces an object stays unpruned, one that replaces anything else does not.
            (r#"{"a":{"k":1}}"#, r#"{"a":[null,{"c":1,"b":null}]}"#, r#"{"a":[null,{"c":1,"b":null}]}"#),
            (r#"{"a":5}"#, r#"{"a":[null,{"c":1,"b":null}]}"#, r#"{"a":[null,{"c":1}]}"#),
            (r#"{"a":null}"#, r#"{"a":{"b":null,"c":1}}"#, r#"{"a":{"c":1}}"#),
            (r#"{"a":{}}"#, r#"{"a":{"b":{"c":null}}}"#, r#"{"a":{"b":{}}}"#),
            // What is not looked at keeps members, order and spelling.
            (
                r#"{"u":{"é":1,"\u00e9":2,"b":null,"a":1.50}}"#,
                r#"{"\u00e9":-0}"#,
                r#"{"u":{"é":1,"\u00e9":2,"b":null,"a":1.50},"é":-0}"#,
            ),
            // Of duplicates the last counts.
            (r#"{"a":{"x":1},"a":{"y":1}}"#, r#"{"a":{"x":2},"\u0061":{"z":3}}"#, r#"{"a":{"y":1,"z":3}}"#),
            (r#"{"a":1}"#, r#"{"a":2,"a":null}"#, r#"{}"#),
            (r#"{}"#, r#"{"n":{"a":1,"a":null}}"#, r#"{"n":{}}"#),
        ] {
            assert_eq!(merge(existing, patch).as_deref(), Ok(merged), "{existing} + {patch}");
        }
    }

    #[test]
    fn i_meta_6_errors_come_in_order() {
        for (existing, patch, error) in [
            ("oops", "{}", MergeError::Document),
            ("oops", "oops", MergeError::Document),
            ("", "{}", MergeError::Document),
            ("null", "oops", MergeError::Patch),
            ("null", "null", MergeError::Document),
            ("null", "5", MergeError::Document),
            ("null", "[]", MergeError::Document),
            ("{\"a\":1}", "5", MergeError::Patch),
            ("[]", "null", MergeError::Patch),
            ("5", "\"x\"", MergeError::Patch),
            ("{}", "", MergeError::Patch),
        ] {
            assert_eq!(merge(existing, patch), Err(error), "{existing} + {patch}");
        }
        assert_eq!(MergeError::Document.to_string(), "Invalid JSON Document");
        assert_eq!(MergeError::Patch.to_string(), "Invalid JSON Patch");
    }

    #[test]
    fn deep_texts_are_refused() {
        let deep = "{\"a\":".repeat(100_000);
        assert_eq!(merge(&deep, "{}"), Err(MergeError::Document));
        assert_eq!(merge("{}", &deep), Err(MergeError::Patch));
    }

    fn mk_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            "[a<\u{e9}\u{2028}\"\\\\]{0,2}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                vec(inner.clone(), 0..4).prop_map(Value::from),
                btree_map("[a-c<]{0,1}", inner, 0..4).prop_map(|map| map.into_iter().collect()),
            ]
        })
    }

    /// The few lines of RFC 7386.
    fn merge_values(target: &Value, patch: &Value) -> Value {
        let Some(patch) = patch.as_object() else { return patch.clone() };
        let mut merged = target.as_object().cloned().unwrap_or_default();
        for (name, value) in patch {
            if value.is_null() {
                merged.remove(name);
            } else {
                merged.insert(name.clone(), merge_values(target.get(name).unwrap_or(&Value::Null), value));
            }
        }
        Value::Object(merged)
    }

    fn without_null_members(value: &Value) -> Value {
        match value {
            Value::Array(items) => items.iter().map(without_null_members).collect(),
            Value::Object(members) => members
                .iter()
                .filter(|(_, value)| !value.is_null())
                .map(|(name, value)| (name.clone(), without_null_members(value)))
                .collect(),
            other => other.clone(),
        }
    }

    proptest! {
        /// Upstream differs from the RFC only in the `null` members that it prunes or keeps.
        #[test]
        fn the_value_is_that_of_rfc_7386(existing in mk_json(), patch in mk_json()) {
            if let Ok(merged) = merge(&existing.to_string(), &patch.to_string()) {
                let merged: Value = serde_json::from_str(&merged).expect("JSON");
                let expected = merge_values(&existing, &patch);
                assert_eq!(without_null_members(&merged), without_null_members(&expected));
            }
        }
    }

    fn matches(set: &Value, pod: &Value) -> bool {
        set["spec"]["selector"]["matchLabels"]
            .as_object()
            .is_some_and(|labels| labels.iter().all(|(key, value)| pod["metadata"]["labels"][key] == *value))
    }

    /// Checks a request in which a single entry merges into a single annotation; `None` for any other.
    fn check(world: &Value, request: &Value) -> Option<()> {
        let pod = &request["object"];
        let sets = world["sidecarSets"].as_array()?.iter().filter(|set| matches(set, pod));
        let entries: Vec<_> =
            sets.flat_map(|set| set["spec"]["patchPodMetadata"].as_array().into_iter().flatten()).collect();
        let [entry] = entries.as_slice() else { return None };
        let annotations = entry["annotations"].as_object().filter(|annotations| annotations.len() == 1)?;
        let (key, patch) = annotations.iter().next()?;
        let existing =
            pod["metadata"]["annotations"][key].as_str().filter(|existing| !existing.is_empty())?;
        if entry["patchPolicy"] != "MergePatchJson" || !request["deviation"].is_null() {
            return None;
        }
        let upstream = &request["upstream"];
        let expected = if upstream["allowed"] == true {
            Ok(upstream["document"]["metadata"]["annotations"][key].as_str()?)
        } else {
            Err(upstream["message"].as_str()?)
        };
        let merged = merge(existing, patch.as_str()?).map_err(|error| error.to_string());
        assert_eq!(
            merged.as_deref().map_err(String::as_str),
            expected,
            "{} {}",
            world["world"],
            request["name"]
        );
        Some(())
    }

    #[test]
    fn answers_of_upstream() {
        let files = [
            include_str!("../../../tests/conformance/injection/fuzz.jsonl"),
            include_str!("../../../tests/conformance/injection/hand.jsonl"),
        ];
        let mut checked = 0;
        for line in files.iter().flat_map(|file| file.lines()).filter(|line| line.contains("MergePatchJson"))
        {
            let world: Value = serde_json::from_str(line).expect("a recorded world");
            let requests = world["requests"].as_array().into_iter().flatten();
            checked += requests.filter_map(|request| check(&world, request)).count();
        }
        assert!(checked > 150, "only {checked} recorded requests were found");
    }
}
