//! SidecarSet → [`CompiledSet`]: selectors, the choice of a revision, and contents as fragments. Done when a set enters the
//! Snapshot, never for a Pod.

use std::sync::Arc;

use serde_json::Value;

use crate::api::keys;
use crate::content::{Content, text};
use crate::revision::{RevisionChoice, Revisions};
use crate::selector::{Condition, Selector};

/// A SidecarSet made ready for matching and injection.
#[derive(Debug)]
pub struct CompiledSet {
    /// `metadata.name`.
    pub name: Arc<str>,
    /// `spec.selector`; `None` if absent, which matches nothing (I-MATCH-7).
    pub selector: Option<Selector>,
    /// `spec.namespaceSelector`; `None` if absent, which matches every namespace (I-MATCH-6).
    pub namespace_selector: Option<Selector>,
    /// The namespaces that the set is pinned to; `None` makes it cluster-wide (I-MATCH-2).
    pub pinned_namespaces: Option<Vec<Box<str>>>,
    /// `spec.injectionStrategy.paused` (I-MATCH-5).
    pub injection_paused: bool,
    /// Name of the set that this one is a canary of (I-MATCH-12).
    pub canary_base: Option<Box<str>>,
    /// Whether a fault of the set skips it instead of denying the Pod. Decision: D-22.
    pub ignores_failures: bool,
    /// Which revision a Pod receives (I-REV).
    pub revision_choice: RevisionChoice,
    /// The set as it is now.
    pub live: Arc<Content>,
}

impl CompiledSet {
    /// Compiles a decoded and defaulted set of version v1beta1.
    #[must_use]
    pub fn compile(set: &Value, revisions: &Revisions<'_>) -> Self {
        let (metadata, spec) = (&set["metadata"], &set["spec"]);
        let annotation = |key: &str| text(&metadata["annotations"][key]);
        let live = Arc::new(Content::compile(
            spec,
            annotation(keys::HASH),
            annotation(keys::HASH_WITHOUT_IMAGE),
            text(&set["status"]["latestRevision"]),
        ));
        let selector = |value: &Value| value.is_object().then(|| Selector::compile(value));
        let namespace_selector = selector(&spec["namespaceSelector"]);
        let is_canary = annotation(keys::CANARY) == "true" && !annotation(keys::CANARY_BASE).is_empty();
        Self {
            name: text(&metadata["name"]).into(),
            selector: selector(&spec["selector"]),
            pinned_namespaces: pinned_namespaces(&spec["namespaceSelector"]),
            namespace_selector,
            injection_paused: spec["injectionStrategy"]["paused"] == true,
            canary_base: is_canary.then(|| annotation(keys::CANARY_BASE).into()),
            ignores_failures: annotation(keys::FAILURE_POLICY) == "Ignore",
            revision_choice: RevisionChoice::compile(set, revisions),
            live,
        }
    }

    /// Whether the set can match a Pod at all: neither paused nor without conditions.
    #[must_use]
    pub fn can_match(&self) -> bool {
        !self.injection_paused && self.selector.as_ref().is_some_and(|selector| !selector.is_empty())
    }
}

/// The namespaces that a set is pinned to: the value of `kubernetes.io/metadata.name` in `matchLabels`, else the values of
/// the first `In` expression with that key. Rule: I-MATCH-2.
fn pinned_namespaces(selector: &Value) -> Option<Vec<Box<str>>> {
    if let Some(name) = selector["matchLabels"].get(keys::NAMESPACE_NAME) {
        return Some(vec![text(name).into()]);
    }
    let requirements = Selector::compile(selector).requirements().to_vec();
    requirements.into_iter().find_map(|requirement| match requirement.condition {
        Condition::In(values) if &*requirement.key == keys::NAMESPACE_NAME => Some(values),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Rule: I-MATCH-2.
    #[test]
    fn pins() {
        let name = "kubernetes.io/metadata.name";
        let expression =
            |operator: &str, values: &[&str]| json!({"key": name, "operator": operator, "values": values});
        let cases = [
            (json!({"matchLabels": {name: "a"}}), Some(vec!["a"])),
            (
                json!({"matchLabels": {"x": "y"}, "matchExpressions": [expression("In", &["b", "c"])]}),
                Some(vec!["b", "c"]),
            ),
            (
                json!({"matchExpressions": [expression("NotIn", &["b"]), expression("In", &["c"]), expression("In", &["d"])]}),
                Some(vec!["c"]),
            ),
            (json!({"matchExpressions": [expression("Exists", &[])]}), None),
            (json!({"matchLabels": {"x": "y"}}), None),
            (json!(null), None),
        ];
        for (selector, expected) in cases {
            let expected = expected.map(|names| names.into_iter().map(Box::from).collect::<Vec<Box<str>>>());
            assert_eq!(pinned_namespaces(&selector), expected, "{selector}");
        }
    }

    /// Rule: I-MATCH-12, table I-T-CAN.
    #[test]
    fn canaries() {
        let cases = [
            (json!({keys::CANARY: "true", keys::CANARY_BASE: "b"}), Some("b")),
            (json!({keys::CANARY: "true", keys::CANARY_BASE: ""}), None),
            (json!({keys::CANARY: "false", keys::CANARY_BASE: "b"}), None),
            (json!({}), None),
            (json!({keys::CANARY: "true"}), None),
            (json!({keys::CANARY_BASE: "b"}), None),
            (json!({keys::CANARY: "1", keys::CANARY_BASE: "b"}), None),
            (json!(null), None),
            (json!({keys::CANARY: "TRUE", keys::CANARY_BASE: "b"}), None),
        ];
        for (annotations, expected) in cases {
            let set = json!({"metadata": {"name": "canary", "annotations": annotations}});
            let compiled = CompiledSet::compile(&set, &Revisions::default());
            assert_eq!(compiled.canary_base.as_deref(), expected, "{annotations}");
        }
    }
}
