//! Label selectors, compiled once and asked for every Pod.

use std::fmt;

use serde_json::Value;

use crate::json::StrMap;

/// Labels that a selector can be asked about.
pub trait Labels {
    /// The value of the label `key`.
    fn value(&self, key: &str) -> Option<&str>;
}

impl Labels for StrMap<'_> {
    fn value(&self, key: &str) -> Option<&str> {
        self.get(key)
    }
}

impl Labels for [(String, String)] {
    fn value(&self, key: &str) -> Option<&str> {
        self.iter().find(|(k, _)| k == key).map(|(_, value)| &**value)
    }
}

impl<L: Labels + ?Sized> Labels for Option<&L> {
    fn value(&self, key: &str) -> Option<&str> {
        self.and_then(|labels| labels.value(key))
    }
}

/// One condition of a selector; `matchLabels` entries are `In` with one value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requirement {
    /// The label's name.
    pub key: Box<str>,
    /// What must hold for it.
    pub condition: Condition,
}

/// What must hold for a label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// It is there, with one of these values.
    In(Vec<Box<str>>),
    /// It is absent or has none of these values.
    NotIn(Vec<Box<str>>),
    /// It is there.
    Exists,
    /// It is absent.
    DoesNotExist,
}

impl Requirement {
    /// Whether the labels meet the condition.
    pub fn is_met_by(&self, labels: &(impl Labels + ?Sized)) -> bool {
        let found = labels.value(&self.key);
        match &self.condition {
            Condition::In(values) => found.is_some_and(|found| values.iter().any(|value| &**value == found)),
            Condition::NotIn(values) => {
                !found.is_some_and(|found| values.iter().any(|value| &**value == found))
            }
            Condition::Exists => found.is_some(),
            Condition::DoesNotExist => found.is_none(),
        }
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.condition {
            Condition::In(values) => match &**values {
                [value] => write!(f, "{}={value}", self.key),
                values => write!(f, "{} in ({})", self.key, values.join(", ")),
            },
            Condition::NotIn(values) => write!(f, "{} not in ({})", self.key, values.join(", ")),
            Condition::Exists => write!(f, "{} exists", self.key),
            Condition::DoesNotExist => write!(f, "{} does not exist", self.key),
        }
    }
}

/// A label selector. Rule: I-MATCH-7.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selector {
    requirements: Vec<Requirement>,
    unknown_operator: Option<Box<str>>,
}

impl Selector {
    /// Compiles the JSON form: `matchLabels` and `matchExpressions`. An operator outside the four is kept and makes
    /// [`Selector::unknown_operator`] answer. Rule: I-MATCH-8.
    #[must_use]
    pub fn compile(selector: &Value) -> Self {
        let mut compiled = Self::default();
        for (key, value) in selector["matchLabels"].as_object().into_iter().flatten() {
            let value = value.as_str().unwrap_or_default();
            compiled
                .requirements
                .push(Requirement { key: key.as_str().into(), condition: Condition::In(vec![value.into()]) });
        }
        for expression in selector["matchExpressions"].as_array().into_iter().flatten() {
            let values = || {
                let values = expression["values"].as_array().into_iter().flatten();
                values.map(|value| value.as_str().unwrap_or_default().into()).collect()
            };
            let condition = match expression["operator"].as_str().unwrap_or_default() {
                "In" => Condition::In(values()),
                "NotIn" => Condition::NotIn(values()),
                "Exists" => Condition::Exists,
                "DoesNotExist" => Condition::DoesNotExist,
                other => {
                    compiled.unknown_operator.get_or_insert_with(|| other.into());
                    continue;
                }
            };
            let key = expression["key"].as_str().unwrap_or_default().into();
            compiled.requirements.push(Requirement { key, condition });
        }
        compiled
    }

    /// Whether the selector has no condition at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.requirements.is_empty() && self.unknown_operator.is_none()
    }

    /// The first operator that is none of the four.
    #[must_use]
    pub fn unknown_operator(&self) -> Option<&str> {
        self.unknown_operator.as_deref()
    }

    /// The conditions.
    #[must_use]
    pub fn requirements(&self) -> &[Requirement] {
        &self.requirements
    }

    /// The first condition that the labels do not meet.
    pub fn first_unmet(&self, labels: &(impl Labels + ?Sized)) -> Option<&Requirement> {
        self.requirements.iter().find(|requirement| !requirement.is_met_by(labels))
    }

    /// Whether the labels meet all conditions; an empty selector is met by all labels.
    pub fn matches(&self, labels: &(impl Labels + ?Sized)) -> bool {
        self.unknown_operator.is_none() && self.first_unmet(labels).is_none()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    /// Rule: I-MATCH-7, all four operators, with the label present, absent and of another value.
    #[test]
    fn operators() {
        let cases = [
            ("In", json!(["a", "b"]), [true, false, false]),
            ("In", json!([]), [false, false, false]),
            ("NotIn", json!(["a", "b"]), [false, true, true]),
            ("NotIn", json!([]), [true, true, true]),
            ("Exists", json!(null), [true, false, true]),
            ("DoesNotExist", json!(null), [false, true, false]),
        ];
        let pods = [labels(&[("key", "a")]), labels(&[("other", "a")]), labels(&[("key", "c")])];
        for (operator, values, expected) in cases {
            let selector = Selector::compile(&json!({"matchExpressions": [
                {"key": "key", "operator": operator, "values": values}]}));
            for (pod, expected) in pods.iter().zip(expected) {
                assert_eq!(selector.matches(pod.as_slice()), expected, "{operator} {values} {pod:?}");
            }
        }
    }

    #[test]
    fn all_conditions_must_hold() {
        let selector = Selector::compile(&json!({
            "matchLabels": {"app": "web"}, "matchExpressions": [{"key": "tier", "operator": "Exists"}]}));
        assert!(selector.matches(labels(&[("app", "web"), ("tier", "x")]).as_slice()));
        assert!(!selector.matches(labels(&[("app", "web")]).as_slice()));
        assert_eq!(
            selector.first_unmet(labels(&[("app", "web")]).as_slice()).unwrap().to_string(),
            "tier exists"
        );
    }

    /// Rule: I-MATCH-8.
    #[test]
    fn an_unknown_operator_is_kept() {
        let selector = Selector::compile(&json!({"matchExpressions": [{"key": "a", "operator": "badOp"}]}));
        assert_eq!(selector.unknown_operator(), Some("badOp"));
        assert!(!selector.is_empty());
    }
}
