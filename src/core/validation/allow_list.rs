//! The list of annotations that sets may put on Pods, kept in a ConfigMap by the cluster's administrator.

use regex::Regex;
use serde_json::Value;

use super::ALLOW_LIST_CONFIG_MAP;
use super::findings::{Findings, quoted};
use crate::api::decode;
use crate::api::types::{Kind, LABEL_SELECTOR, Member, TEXTS, Type};
use crate::content::{items, text};
use crate::resources::first_reason;
use crate::selector::{Labels, Selector};

/// The key of the ConfigMap that holds the list. Rule: A-API-P5.
const KEY: &str = "SidecarSet_PatchPodMetadata_WhiteList";

/// The list as it is written. Rule: A-VAL-51.
static ALLOW_LIST: Type = Type {
    name: "AllowList",
    members: &[member("rules", Kind::List(&Kind::Object(&RULE)))],
    completed: false,
};
static RULE: Type = Type {
    name: "AllowListRule",
    members: &[member("selector", Kind::Object(&LABEL_SELECTOR)), member("allowedAnnotationKeyExprs", TEXTS)],
    completed: false,
};

const fn member(name: &'static str, kind: Kind) -> Member {
    Member { name, kind, pointer: false, always: false }
}

/// Labels of a set as JSON.
struct SetLabels<'a>(&'a Value);

impl Labels for SetLabels<'_> {
    fn value(&self, key: &str) -> Option<&str> {
        self.0.get(key).and_then(Value::as_str)
    }
}

/// Whether every annotation that the set patches is allowed. `data` is that of the ConfigMap, `None` if there is none;
/// `unlisted_allowed` accepts everything where no expression applies.
///
/// Rule: A-VAL-50, A-VAL-51, A-EDGE-22.
pub(super) fn validate(set: &Value, data: Option<&Value>, unlisted_allowed: bool, findings: &mut Findings) {
    let patches = &set["spec"]["patchPodMetadata"];
    if items(patches).next().is_none() {
        return;
    }
    let list = data.and_then(|data| data[KEY].as_str());
    let refused = match list.map(|list| expressions(list, &SetLabels(&set["metadata"]["labels"]))) {
        None if unlisted_allowed => None,
        None => Some(format!(
            "ConfigMap {ALLOW_LIST_CONFIG_MAP} in the namespace of the webhook must have the key {KEY} and allow these annotations"
        )),
        Some(Err(problem)) => Some(format!("ConfigMap {ALLOW_LIST_CONFIG_MAP}, key {KEY}: {problem}")),
        Some(Ok(allowed)) if allowed.is_empty() && unlisted_allowed => None,
        Some(Ok(allowed)) => not_allowed(patches, &allowed),
    };
    if let Some(detail) = refused {
        findings.required("spec.patchPodMetadata", detail, "A-VAL-50");
    }
}

/// The expressions of the rules that apply to a set with these labels; others are not compiled.
fn expressions(list: &str, labels: &SetLabels<'_>) -> Result<Vec<Regex>, String> {
    let list: Value = serde_json::from_str(list).map_err(|error| format!("is no JSON: {error}"))?;
    if let Some(finding) = decode::check_value(&list, Kind::Object(&ALLOW_LIST), "").first() {
        return Err(finding.to_string());
    }
    let mut applicable = Vec::new();
    for (index, rule) in items(&list["rules"]).enumerate() {
        if !rule["selector"].is_null() {
            let selector = Selector::compile(&rule["selector"]);
            if let Some(operator) = selector.unknown_operator() {
                let operator = quoted(operator);
                return Err(format!(
                    "rules[{index}].selector: operator {operator} must be In, NotIn, Exists or DoesNotExist"
                ));
            }
            if !selector.matches(labels) {
                continue;
            }
        }
        for pattern in rule["allowedAnnotationKeyExprs"].as_array().into_iter().flatten().map(text) {
            let regex = Regex::new(pattern).map_err(|error| {
                let reason = first_reason(&error);
                format!("rules[{index}]: {} is no regular expression: {reason}", quoted(pattern))
            })?;
            applicable.push(regex);
        }
    }
    Ok(applicable)
}

/// Names the annotations that no expression finds; `None` if there are none.
fn not_allowed(patches: &Value, allowed: &[Regex]) -> Option<String> {
    let keys =
        items(patches).filter_map(|patch| patch["annotations"].as_object()).flatten().map(|(key, _)| key);
    let mut refused: Vec<_> =
        keys.filter(|key| !allowed.iter().any(|regex| regex.is_match(key))).map(|key| quoted(key)).collect();
    refused.sort_unstable();
    refused.dedup();
    let count = refused.len();
    refused.truncate(5);
    let named = refused.join(", ");
    (count > 0).then(|| {
        format!(
            "{count} annotation(s) not allowed, among them {named}: no expression of a rule that applies to the set in ConfigMap \
             {ALLOW_LIST_CONFIG_MAP}, key {KEY}, finds them"
        )
    })
}
