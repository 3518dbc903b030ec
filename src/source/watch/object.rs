//! Objects as the API server sends them: the text, and of it only what a watch needs to know.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use kube::core::{ApiResource, DynamicResourceScope};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// Any object, as text. Reading one from JSON never fails, so one odd object cannot spoil a list. Decision: D-5.
///
/// The API server writes `type` before `object` in a watch event, which is what lets the text through untouched.
#[derive(Debug, Clone)]
pub struct RawObject {
    /// Name and resource version only; empty for what has none.
    metadata: ObjectMeta,
    text: Box<RawValue>,
}

impl RawObject {
    /// The object as JSON.
    #[must_use]
    pub fn text(&self) -> &str {
        self.text.get()
    }
}

impl<'de> Deserialize<'de> for RawObject {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Head {
            metadata: Metadata,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Metadata {
            name: Option<String>,
            resource_version: Option<String>,
        }
        let text = Box::<RawValue>::deserialize(deserializer)?;
        let metadata = match serde_json::from_str::<Head>(text.get()) {
            Ok(Head { metadata: Metadata { name, resource_version } }) => {
                ObjectMeta { name, resource_version, ..ObjectMeta::default() }
            }
            Err(_not_an_object) => ObjectMeta::default(),
        };
        Ok(Self { metadata, text })
    }
}

impl Resource for RawObject {
    type DynamicType = ApiResource;
    type Scope = DynamicResourceScope;

    fn kind(kind: &ApiResource) -> Cow<'_, str> {
        (&*kind.kind).into()
    }

    fn group(kind: &ApiResource) -> Cow<'_, str> {
        (&*kind.group).into()
    }

    fn version(kind: &ApiResource) -> Cow<'_, str> {
        (&*kind.version).into()
    }

    fn plural(kind: &ApiResource) -> Cow<'_, str> {
        (&*kind.plural).into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

type Members<'t> = BTreeMap<Cow<'t, str>, &'t RawValue>;

/// Members of `metadata` that change with every write and that no rule reads.
const NOISE: [&str; 3] = ["generation", "managedFields", "resourceVersion"];

/// A number that changes when anything changes that a SidecarSet is compiled from. Its status changes all the time while Pods are
/// updated; of that only the name of the latest revision counts. `None` if the text is no object.
#[must_use]
pub fn fingerprint(text: &str) -> Option<u64> {
    let mut hasher = DefaultHasher::new();
    for (name, member) in serde_json::from_str::<Members<'_>>(text).ok()? {
        let counts: fn(&str) -> bool = match &*name {
            "metadata" => |name| !NOISE.contains(&name),
            "status" => |name| name == "latestRevision",
            _ => {
                (&name, member.get()).hash(&mut hasher);
                continue;
            }
        };
        for (inner, member) in serde_json::from_str::<Members<'_>>(member.get()).unwrap_or_default() {
            if counts(&inner) {
                (&name, &inner, member.get()).hash(&mut hasher);
            }
        }
    }
    Some(hasher.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> RawObject {
        serde_json::from_str(text).expect("whatever is JSON can be read")
    }

    #[test]
    fn whatever_is_json_is_an_object() {
        let set = r#"{"kind":"SidecarSet", "metadata":{"name":"a","resourceVersion":"7","x":1e2},"spec":{"n":1.0}}"#;
        let object = of(set);
        assert_eq!(object.text(), set, "not a byte is lost");
        let meta = object.meta();
        assert_eq!((meta.name.as_deref(), meta.resource_version.as_deref()), (Some("a"), Some("7")));
        for odd in ["7", "null", "[]", "{}", r#"{"metadata":7}"#, r#"{"metadata":{"name":{}}}"#] {
            assert_eq!((of(odd).text(), of(odd).meta()), (odd, &ObjectMeta::default()));
        }
    }

    #[test]
    fn a_fingerprint_changes_with_what_counts() {
        let base = r#"{"metadata":{"name":"a","generation":1,"resourceVersion":"7","managedFields":[]},"spec":{"x":1},"status":{"readyPods":1,"latestRevision":"r1"}}"#;
        let same = [
            ("generation\":1", "generation\":2"),
            ("\"7\"", "\"8\""),
            ("[]", "[1]"),
            ("readyPods\":1", "readyPods\":2"),
        ];
        for (from, to) in same {
            assert_eq!(fingerprint(base), fingerprint(&base.replace(from, to)), "{to}");
        }
        let other = [
            ("\"a\"", "\"b\""),
            ("\"x\":1", "\"x\":2"),
            ("r1", "r2"),
            ("spec", "specs"),
            ("\"name\"", "\"labels\""),
        ];
        for (from, to) in other {
            assert_ne!(fingerprint(base), fingerprint(&base.replace(from, to)), "{to}");
        }
        assert_eq!(fingerprint("7"), None);
    }
}
