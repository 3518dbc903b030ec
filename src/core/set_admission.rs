//! One admission or conversion of SidecarSets, from what the API server sends to the verdict.
//!
//! Upstream looks at the path and at the version of `request.resource` only, and so do we (A-WIRE-7): group, resource and
//! sub-resource of the request decide nothing.

use serde_json::Value;

use crate::api::convert::{self, ConvertError};
use crate::api::decode::{self, KIND, V1ALPHA1, V1BETA1};
use crate::defaulting;
use crate::field::{FieldError, FieldErrorKind};
use crate::validation::{self, ClusterView, Options, Validation};

/// What is done to a SidecarSet, as far as the answer depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// It is made.
    Create,
    /// It changes.
    Update,
    /// Anything else. The webhooks are not registered for it (A-WIRE-21, A-WIRE-22).
    Other,
}

impl Operation {
    /// Reads `request.operation`.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        match text {
            "CREATE" => Self::Create,
            "UPDATE" => Self::Update,
            _ => Self::Other,
        }
    }
}

/// The objects of a request, as they arrived; `None` if a member is absent or `null`.
#[derive(Debug, Clone, Copy)]
pub struct Objects<'a> {
    /// `request.object`
    pub new: Option<&'a Value>,
    /// `request.oldObject`
    pub old: Option<&'a Value>,
}

/// A set before and after defaulting.
#[derive(Debug, Clone, PartialEq)]
pub struct Mutation {
    /// As it arrived, `apiVersion` and `kind` filled in.
    pub before: Value,
    /// With defaults and hashes; equal to `before` if nothing is missing.
    pub after: Value,
}

/// The group and version that `request.resource.version` names, `None` if it is not served.
///
/// Rule: A-API-2, A-WIRE-7.
#[must_use]
pub fn served_version(version: &str) -> Option<&'static str> {
    [V1BETA1, V1ALPHA1].into_iter().find(|served| served.rsplit('/').next() == Some(version))
}

/// Reads one object of a request as a SidecarSet of `version` (group and version). Absent `apiVersion` and `kind` are filled in.
///
/// # Errors
///
/// Every reason why it is none, sorted by path below `place`.
///
/// Rule: A-WIRE-12, A-WIRE-20.
fn decoded(object: Option<&Value>, version: &'static str, place: &str) -> Result<Value, Vec<FieldError>> {
    const RULE: &str = "A-WIRE-20";
    let Some(object) = object.filter(|object| !object.is_null()) else {
        let detail = "found nothing, must be a SidecarSet";
        return Err(vec![FieldError::new(place, FieldErrorKind::Required, detail, "A-WIRE-12")]);
    };
    let mut object = object.clone();
    if let Some(members) = object.as_object_mut() {
        for (name, value) in [("apiVersion", version), ("kind", KIND)] {
            if members.get(name).is_none_or(|found| found.is_null() || found == "") {
                members.insert(name.to_owned(), value.into());
            }
        }
    }
    let mut findings = decode::check(&object);
    let found = object.get("apiVersion").and_then(Value::as_str).unwrap_or_default();
    if findings.is_empty() && found != version {
        let detail = format!("found {found:?}, must be {version:?}, the version of request.resource");
        findings.push(FieldError::new("apiVersion", FieldErrorKind::TypeInvalid, detail, RULE));
    }
    if findings.is_empty() { Ok(object) } else { Err(findings) }
}

/// Applies defaults and hashes to the new object; other operations than CREATE and UPDATE change nothing.
///
/// # Errors
///
/// Every reason why the object cannot be decoded.
///
/// Rule: A-DEF-1, A-WIRE-10, A-WIRE-11, A-WIRE-21.
pub fn mutate(
    version: &'static str,
    operation: Operation,
    objects: Objects<'_>,
) -> Result<Mutation, Vec<FieldError>> {
    let before = decoded(objects.new, version, "request.object")?;
    let mut after = before.clone();
    if operation != Operation::Other {
        defaulting::apply(&mut after);
        defaulting::set_hash_annotations(&mut after)?;
    }
    Ok(Mutation { before, after })
}

/// Judges the new object, on UPDATE against the old one. Both are converted to v1beta1 first, so all paths are v1beta1 paths.
///
/// # Errors
///
/// Every reason why one of the objects cannot be decoded.
///
/// Rule: A-VAL-1, A-VAL-72, A-WIRE-14, A-WIRE-15, A-WIRE-21, A-WIRE-22.
pub fn validate(
    version: &'static str,
    operation: Operation,
    objects: Objects<'_>,
    cluster: &ClusterView<'_>,
    options: Options,
) -> Result<Validation, Vec<FieldError>> {
    let mut new = decoded(objects.new, version, "request.object")?;
    to_v1beta1(&mut new, version);
    if operation != Operation::Update {
        return Ok(validation::create(&new, cluster, options));
    }
    let mut old = decoded(objects.old, version, "request.oldObject")?;
    to_v1beta1(&mut old, version);
    Ok(validation::update(&old, &new, cluster, options))
}

fn to_v1beta1(object: &mut Value, version: &str) {
    if version == V1ALPHA1 {
        convert::to_v1beta1(object);
    }
}

/// Whether a finding is about two sets that are each good by themselves.
///
/// Rule: A-VAL-83, A-VAL-84, A-VAL-85, A-VAL-86.
#[must_use]
pub fn is_conflict(finding: &FieldError) -> bool {
    ["A-VAL-83", "A-VAL-84", "A-VAL-85", "A-VAL-86"].contains(&finding.rule)
}

/// Why a conversion failed: which object, and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("objects[{index}], SidecarSet {name:?}: {error}")]
pub struct BadObject {
    /// Position in the request.
    pub index: usize,
    /// Its `metadata.name`, empty if it has none.
    pub name: String,
    /// What is wrong.
    pub error: ConvertError,
}

/// Converts the object at `index` of a request to `desired` (group and version). One bad object fails the whole request
/// (A-CONV-13).
///
/// # Errors
///
/// Why it cannot be converted; it is unchanged then.
///
/// Rule: A-CONV-14.
pub fn convert(index: usize, object: &mut Value, desired: &str) -> Result<(), BadObject> {
    convert::convert(object, desired).map_err(|error| {
        let name = object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
        BadObject { index, name: name.to_owned(), error }
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::revision::Revisions;
    use crate::validation::StoredSets;

    fn sparse() -> Value {
        json!({"metadata": {"name": "logging"}, "spec": {
            "selector": {"matchLabels": {"app": "web"}}, "containers": [{"name": "agent", "image": "agent:1"}],
        }})
    }

    fn new_object(new: &Value) -> Objects<'_> {
        Objects { new: Some(new), old: None }
    }

    #[test]
    fn versions_are_those_of_the_resource() {
        assert_eq!(served_version("v1beta1"), Some(V1BETA1));
        assert_eq!(served_version("v1alpha1"), Some(V1ALPHA1));
        for other in ["", "v1", "apps.kruise.io/v1beta1"] {
            assert_eq!(served_version(other), None, "{other}");
        }
    }

    #[test]
    fn a_set_is_defaulted_once() {
        let set = sparse();
        let first = mutate(V1BETA1, Operation::Create, new_object(&set)).unwrap();
        assert_eq!(first.before["apiVersion"], V1BETA1, "filled in on both sides, so it is no change");
        assert_ne!(first.before, first.after);
        let again = mutate(V1BETA1, Operation::Update, new_object(&first.after)).unwrap();
        assert_eq!(again.before, again.after);
        let other = mutate(V1BETA1, Operation::Other, new_object(&set)).unwrap();
        assert_eq!(other.before, other.after);
    }

    #[test]
    fn what_is_no_set_of_that_version_is_undecodable() {
        let alpha = json!({"apiVersion": V1ALPHA1, "kind": KIND});
        for (object, path) in [
            (None, "request.object"),
            (Some(&Value::Null), "request.object"),
            (Some(&json!([])), ""),
            (Some(&alpha), "apiVersion"),
            (Some(&json!({"kind": "CloneSet"})), "kind"),
        ] {
            let objects = Objects { new: object, old: None };
            let findings = mutate(V1BETA1, Operation::Create, objects).unwrap_err();
            assert_eq!(findings[0].path, path, "{object:?}");
        }
    }

    #[test]
    fn an_update_needs_the_old_object_and_alpha_is_judged_as_beta() {
        let stored = StoredSets::default();
        let revisions = Revisions::default();
        let cluster = ClusterView { sets: &stored, revisions: &revisions, allow_list: None };
        let alpha = mutate(V1ALPHA1, Operation::Create, new_object(&sparse())).unwrap().after;
        let judged =
            |operation, objects| validate(V1ALPHA1, operation, objects, &cluster, Options::default());
        assert_eq!(judged(Operation::Create, new_object(&alpha)).unwrap().findings, []);
        let findings = judged(Operation::Update, new_object(&alpha)).unwrap_err();
        assert_eq!(findings[0].path, "request.oldObject");
        let both = Objects { new: Some(&alpha), old: Some(&alpha) };
        assert_eq!(judged(Operation::Update, both).unwrap().findings, []);
    }

    #[test]
    fn a_bad_object_of_a_conversion_is_named() {
        let mut good = json!({"apiVersion": V1BETA1, "kind": KIND, "metadata": {"name": "good"}, "spec": {}});
        let mut bad = json!({"apiVersion": V1BETA1, "kind": KIND, "metadata": {"name": "bad"}, "spec": {"containers": 5}});
        let mut other = json!({"apiVersion": V1BETA1, "kind": "CloneSet", "metadata": {"name": "other"}});
        convert(0, &mut good, V1ALPHA1).unwrap();
        assert_eq!(good["apiVersion"], V1ALPHA1);
        assert_eq!(
            convert(1, &mut bad, V1ALPHA1).unwrap_err().to_string(),
            "objects[1], SidecarSet \"bad\": spec.containers: found the number 5, must be a list [A-WIRE-20]"
        );
        assert_eq!(
            convert(2, &mut other, V1ALPHA1).unwrap_err().to_string(),
            "objects[2], SidecarSet \"other\": found kind \"CloneSet\", only \"SidecarSet\" can be converted"
        );
    }
}
