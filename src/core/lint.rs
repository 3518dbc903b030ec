//! What is legal in a SidecarSet and surely wrong: told by `sidecarset lint` only, never by admission.
//!
//! The ids of these checks begin with `L-`, since no rule of `docs/spec/` asks for them.

use serde_json::Value;

use crate::content::{items, text};
use crate::defaulting::pull_policy;
use crate::field::{FieldError, FieldErrorKind};

/// Everything of that kind in a whole set, sorted by path.
///
/// - `L-1` A selector that only says which Pods are *not* meant, in every namespace: all other Pods of the cluster get the sidecars.
/// - `L-2` An image without a tag or with `latest`: two Pods of one set may run different programs, and no change is seen.
#[must_use]
pub fn warnings(set: &Value) -> Vec<FieldError> {
    let mut found = Vec::new();
    let spec = &set["spec"];
    if spec["namespaceSelector"].is_null() && only_excludes(&spec["selector"]) {
        let detail = "only excludes Pods and there is no namespaceSelector, so every other Pod of the cluster gets the sidecars, those \
             of the cluster itself too; say which Pods are meant with matchLabels or operator In or Exists";
        found.push(FieldError::new("spec.selector", FieldErrorKind::Invalid, detail, "L-1"));
    }
    for list in ["initContainers", "containers"] {
        for (index, container) in items(&spec[list]).enumerate() {
            let image = text(&container["image"]);
            if !image.is_empty() && pull_policy(image) == "Always" {
                let path = format!("spec.{list}[{index}].image");
                let detail = format!(
                    "found {image:?}, which can be another program tomorrow; give it a tag other than latest, or a digest"
                );
                found.push(FieldError::new(path, FieldErrorKind::Invalid, detail, "L-2"));
            }
        }
    }
    found.sort();
    found
}

fn only_excludes(selector: &Value) -> bool {
    let labels = selector["matchLabels"].as_object().is_some_and(|labels| !labels.is_empty());
    let mut expressions = items(&selector["matchExpressions"]).peekable();
    !labels
        && expressions.peek().is_some()
        && expressions.all(|expression| ["NotIn", "DoesNotExist"].contains(&text(&expression["operator"])))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rules(spec: Value) -> Vec<(String, &'static str)> {
        warnings(&json!({"spec": spec})).into_iter().map(|found| (found.path, found.rule)).collect()
    }

    #[test]
    fn selectors_that_only_exclude_match_everything_else() {
        let not_in = json!({"key": "app", "operator": "NotIn", "values": ["db"]});
        let exists = json!({"key": "app", "operator": "Exists"});
        for (selector, warned) in [
            (json!({"matchExpressions": [not_in]}), true),
            (json!({"matchExpressions": [not_in, {"key": "x", "operator": "DoesNotExist"}]}), true),
            (json!({"matchExpressions": [not_in, exists]}), false),
            (json!({"matchExpressions": [not_in], "matchLabels": {"app": "web"}}), false),
            (json!({}), false),
            (Value::Null, false),
        ] {
            let found = rules(json!({"selector": selector}));
            assert_eq!(found.iter().any(|(_, rule)| *rule == "L-1"), warned, "{selector}");
        }
        let pinned = json!({"selector": {"matchExpressions": [not_in]}, "namespaceSelector": {"matchLabels": {"a": "b"}}});
        assert_eq!(rules(pinned), []);
    }

    #[test]
    fn images_that_move_are_named() {
        let images = ["agent", "agent:latest", "agent:1", "r.example:5000/agent", "agent@sha256:00", ""];
        let containers: Vec<Value> = images.iter().map(|image| json!({"image": image})).collect();
        let found = rules(json!({"containers": containers, "initContainers": [{"image": "init"}]}));
        let paths = [
            "spec.containers[0].image",
            "spec.containers[1].image",
            "spec.containers[3].image",
            "spec.initContainers[0].image",
        ];
        assert_eq!(found, paths.map(|path| (path.to_owned(), "L-2")));
    }
}
