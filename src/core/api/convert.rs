//! Conversion of a SidecarSet between its two versions, on the raw JSON: only what differs between the versions is touched.
//!
//! The versions differ in two members of `spec`: v1alpha1 has `namespace` and keeps the custom version in a label, v1beta1
//! has `customVersion`. Nothing is defaulted, validated or hashed (A-CONV-1).

use serde_json::{Value, json};

use super::complete::complete;
use super::decode::{self, KIND, V1ALPHA1, V1BETA1};
use super::json::{Object, created, member};
use super::keys;
use super::names::is_label_value;
use crate::field::FieldError;

/// Why an object is not converted; one such object fails the whole request (A-CONV-13).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConvertError {
    /// The object is of another kind, or does not say which.
    #[error("found kind {found:?}, only {KIND:?} can be converted")]
    Kind {
        /// Its kind, empty if absent.
        found: String,
    },
    /// A version that is not served, of the object or asked for.
    #[error("{place}: found {found:?}, must be {V1BETA1:?} or {V1ALPHA1:?}")]
    Version {
        /// `apiVersion` or `desiredAPIVersion`.
        place: &'static str,
        /// The version there, empty if absent.
        found: String,
    },
    /// The object is in the desired version already.
    #[error("the object is in the desired version {version:?} already")]
    SameVersion {
        /// Both versions.
        version: &'static str,
    },
    /// The object cannot be read as a SidecarSet.
    #[error("{}", joined(.0))]
    Undecodable(Vec<FieldError>),
}

fn joined(findings: &[FieldError]) -> String {
    findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// Converts one object of a ConversionReview to `desired` (group and version), and completes it.
///
/// # Errors
///
/// [`ConvertError`]; the object is unchanged then.
///
/// Rule: A-CONV-6, A-CONV-14.
pub fn convert(object: &mut Value, desired: &str) -> Result<(), ConvertError> {
    let text = |name: &str| object.get(name).and_then(Value::as_str).unwrap_or_default();
    if text("kind") != KIND {
        return Err(ConvertError::Kind { found: text("kind").to_owned() });
    }
    let from = served("apiVersion", text("apiVersion"))?;
    let to = served("desiredAPIVersion", desired)?;
    if from == to {
        return Err(ConvertError::SameVersion { version: to });
    }
    let findings = decode::check(object);
    if !findings.is_empty() {
        return Err(ConvertError::Undecodable(findings));
    }
    complete(object);
    if to == V1BETA1 {
        to_v1beta1(object);
    } else {
        to_v1alpha1(object);
    }
    Ok(())
}

fn served(place: &'static str, version: &str) -> Result<&'static str, ConvertError> {
    let known = [V1BETA1, V1ALPHA1].into_iter().find(|known| *known == version);
    known.ok_or_else(|| ConvertError::Version { place, found: version.to_owned() })
}

/// Turns a v1alpha1 object into v1beta1: `namespace` becomes a namespace selector and replaces any other, the custom version
/// moves from its label (or the annotation that [`to_v1alpha1`] writes) into `spec`.
///
/// Rule: A-CONV-2, A-CONV-3, A-CONV-4, A-CONV-5, A-CONV-7.
/// Decision: D-18.
pub fn to_v1beta1(object: &mut Value) {
    let Some(object) = object.as_object_mut() else { return };
    let before = object.insert("apiVersion".to_owned(), V1BETA1.into());
    let label = take(object, "labels", keys::CUSTOM_VERSION);
    let annotation = take(object, "annotations", keys::CUSTOM_VERSION_ANNOTATION);
    let custom_version = label.into_iter().chain(annotation).find(|version| !is_empty(version));
    if let Some(version) = custom_version
        && let Some(spec) = created(object, "spec")
    {
        spec.insert("customVersion".to_owned(), version);
    } else if before.is_none_or(|version| version != V1BETA1)
        && let Some(spec) = member(object, "spec")
    {
        // v1alpha1 has no such member: what stands there was never meant.
        spec.shift_remove("customVersion");
    }
    let Some(spec) = member(object, "spec") else { return };
    if let Some(namespace) = spec.shift_remove("namespace").filter(|namespace| !is_empty(namespace)) {
        let selector = json!({"matchLabels": {(keys::NAMESPACE_NAME): namespace}});
        spec.insert("namespaceSelector".to_owned(), selector);
    }
}

/// Turns a v1beta1 object into v1alpha1: the custom version moves into its label, or, if it is no label value, into an
/// annotation, because one bad label would spoil every list of sets. `namespace` is never restored.
///
/// Rule: A-CONV-2, A-CONV-3, A-CONV-4, A-CONV-5, A-CONV-7, A-CONV-15, A-EDGE-4.
/// Decision: D-18.
pub fn to_v1alpha1(object: &mut Value) {
    let Some(object) = object.as_object_mut() else { return };
    object.insert("apiVersion".to_owned(), V1ALPHA1.into());
    let Some(spec) = member(object, "spec") else { return };
    // v1beta1 has no such member: it must not begin to restrict the set.
    spec.shift_remove("namespace");
    let Some(Value::String(version)) = spec.shift_remove("customVersion") else { return };
    if version.is_empty() {
        return;
    }
    let (place, key) = if is_label_value(&version) {
        ("labels", keys::CUSTOM_VERSION)
    } else {
        // The label would win on the way back.
        take(object, "labels", keys::CUSTOM_VERSION);
        ("annotations", keys::CUSTOM_VERSION_ANNOTATION)
    };
    if let Some(map) = created(object, "metadata").and_then(|metadata| created(metadata, place)) {
        map.insert(key.to_owned(), version.into());
    }
}

/// Removes and returns `key` of the labels or annotations; a map that it leaves empty goes too.
fn take(object: &mut Object, place: &str, key: &str) -> Option<Value> {
    let metadata = member(object, "metadata")?;
    let map = member(metadata, place)?;
    let value = map.shift_remove(key)?;
    if map.is_empty() {
        metadata.shift_remove(place);
    }
    Some(value)
}

fn is_empty(value: &Value) -> bool {
    value.is_null() || value == ""
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alpha(metadata: Value, spec: Value) -> Value {
        json!({"apiVersion": V1ALPHA1, "kind": KIND, "metadata": metadata, "spec": spec})
    }

    fn beta(metadata: Value, spec: Value) -> Value {
        json!({"apiVersion": V1BETA1, "kind": KIND, "metadata": metadata, "spec": spec})
    }

    fn assert_converted(mut object: Value, desired: &str, expected: &Value) {
        convert(&mut object, desired).unwrap();
        assert_eq!(&object, expected);
    }

    /// A-T-CONV-1, 3, 4, 21.
    #[test]
    fn namespace_and_label_become_members_of_v1beta1() {
        let pinned = json!({"matchLabels": {"kubernetes.io/metadata.name": "team-a"}});
        assert_converted(
            alpha(
                json!({"labels": {"app": "x", (keys::CUSTOM_VERSION): "v1.0"}, "annotations": {"a": "b"}}),
                json!({"namespace": "team-a", "namespaceSelector": {"matchLabels": {"env": "prod"}}, "future": 1}),
            ),
            V1BETA1,
            &beta(
                json!({"labels": {"app": "x"}, "annotations": {"a": "b"}}),
                json!({"namespaceSelector": pinned, "future": 1, "customVersion": "v1.0"}),
            ),
        );
        let selector = json!({"namespaceSelector": {"matchLabels": {"env": "dev"}}});
        assert_converted(
            alpha(json!({"labels": {(keys::CUSTOM_VERSION): ""}}), selector.clone()),
            V1BETA1,
            &beta(json!({}), selector),
        );
        assert_converted(alpha(json!({}), json!({"namespace": ""})), V1BETA1, &beta(json!({}), json!({})));
    }

    /// A-T-CONV-11, 12, 13.
    #[test]
    fn the_custom_version_becomes_a_label_of_v1alpha1() {
        let selector = json!({"matchLabels": {"kubernetes.io/metadata.name": "team-a"}});
        assert_converted(
            beta(
                json!({"labels": {"app": "x", (keys::CUSTOM_VERSION): "old"}}),
                json!({"customVersion": "v2", "namespaceSelector": selector}),
            ),
            V1ALPHA1,
            &alpha(
                json!({"labels": {"app": "x", (keys::CUSTOM_VERSION): "v2"}}),
                json!({"namespaceSelector": selector}),
            ),
        );
        assert_converted(
            beta(json!({}), json!({"customVersion": ""})),
            V1ALPHA1,
            &alpha(json!({}), json!({})),
        );
    }

    #[test]
    fn members_of_the_other_version_mean_nothing() {
        assert_converted(beta(json!({}), json!({"namespace": "x"})), V1ALPHA1, &alpha(json!({}), json!({})));
        assert_converted(
            alpha(json!({}), json!({"customVersion": "x"})),
            V1BETA1,
            &beta(json!({}), json!({})),
        );
    }

    /// Decision: D-18.
    #[test]
    fn a_custom_version_that_is_no_label_value_survives_in_an_annotation() {
        for version in ["a b é", &"x".repeat(70), "\"}],"] {
            let original = beta(json!({"labels": {"app": "x"}}), json!({"customVersion": version}));
            let mut object = beta(
                json!({"labels": {"app": "x", (keys::CUSTOM_VERSION): "stale"}}),
                json!({"customVersion": version}),
            );
            convert(&mut object, V1ALPHA1).unwrap();
            let metadata = &object["metadata"];
            assert_eq!(metadata["labels"], json!({"app": "x"}), "no label that the API server refuses");
            assert_eq!(metadata["annotations"], json!({(keys::CUSTOM_VERSION_ANNOTATION): version}));
            assert_converted(object, V1BETA1, &original);
        }
    }

    #[test]
    fn what_cannot_be_converted_is_an_error_and_stays_as_it_is() {
        let mut list = json!({"apiVersion": V1BETA1, "kind": "SidecarSetList", "items": []});
        let before = list.clone();
        let error = convert(&mut list, V1ALPHA1).unwrap_err();
        assert_eq!(error, ConvertError::Kind { found: "SidecarSetList".to_owned() });
        assert_eq!(list, before);
        let mut set = beta(json!({}), json!({"containers": [{"image": 5}]}));
        assert_eq!(
            convert(&mut set, "apps.kruise.io/v2").unwrap_err().to_string(),
            "desiredAPIVersion: found \"apps.kruise.io/v2\", must be \"apps.kruise.io/v1beta1\" or \"apps.kruise.io/v1alpha1\""
        );
        assert_eq!(convert(&mut set, V1BETA1), Err(ConvertError::SameVersion { version: V1BETA1 }));
        assert_eq!(
            convert(&mut set, V1ALPHA1).unwrap_err().to_string(),
            "spec.containers[0].image: found the number 5, must be a string [A-WIRE-20]"
        );
        set["apiVersion"] = Value::Null;
        let error = convert(&mut set, V1ALPHA1).unwrap_err();
        assert_eq!(error, ConvertError::Version { place: "apiVersion", found: String::new() });
    }
}
