//! `injectionStrategy` and `updateStrategy`.

use rustc_hash::FxHashSet;
use serde_json::Value;

use super::core_v1::check_selector;
use super::findings::{Findings, quoted};
use super::selector;
use crate::api::names::is_percentage;
use crate::content::{items, text};

/// Rule: A-VAL-26; the lookup of the revision is in [`super::revision`].
pub(super) fn validate_injection(spec: &Value, findings: &mut Findings) {
    let policy = text(&spec["injectionStrategy"]["revision"]["policy"]);
    if !matches!(policy, "" | "Always" | "Partial") {
        let detail = format!(
            "spec.injectionStrategy.revision.policy: found {}, must be \"Always\" or \"Partial\"",
            quoted(policy)
        );
        findings.invalid("revision.policy", detail, "A-VAL-26");
    }
}

/// An update strategy other than `RollingUpdate` is not read by anybody, so nothing of it is checked.
///
/// Rule: A-VAL-27, A-VAL-30, A-EDGE-14, A-EDGE-23.
pub(super) fn validate_update(update: &Value, findings: &mut Findings) {
    if update["type"] != "RollingUpdate" {
        return;
    }
    let partition = &update["partition"];
    if !update["selector"].is_null() {
        if partition.is_string() || partition.as_i64().is_some_and(|count| count != 0) {
            let detail = format!(
                "spec.updateStrategy: selector and partition must not be set together; found partition {partition}, remove one of them"
            );
            findings.invalid("updateStrategy", detail, "A-VAL-27");
        }
        selector::validate(&update["selector"], "spec.updateStrategy.selector", findings);
    }
    for (member, value) in [("partition", partition), ("maxUnavailable", &update["maxUnavailable"])] {
        let is_valid = match value {
            Value::String(text) => is_percentage(text),
            value => value.as_i64().is_none_or(|count| count >= 0),
        };
        if !is_valid {
            let detail = format!("found {value}, must be a number from 0 or a percentage such as \"50%\"");
            findings.invalid(format!("spec.updateStrategy.{member}"), detail, "A-VAL-27");
        }
    }
    if let Some(detail) = priority_problem(&update["priorityStrategy"]) {
        findings.required("spec.updateStrategy.priorityStrategy", detail, "A-VAL-28");
    }
    if let Some(detail) = scatter_problem(&update["scatterStrategy"]) {
        findings.required("spec.updateStrategy.scatterStrategy", detail, "A-VAL-29");
    }
}

/// The first thing that is wrong with a priority strategy.
///
/// Rule: A-VAL-28.
fn priority_problem(priority: &Value) -> Option<String> {
    let (weights, orders) = (&priority["weightPriority"], &priority["orderPriority"]);
    if items(weights).next().is_some() && items(orders).next().is_some() {
        return Some("must have weightPriority or orderPriority, not both".to_owned());
    }
    let weight_problem = |(index, term): (usize, &Value)| {
        let at = |problem: String| Some(format!("weightPriority[{index}].{problem}"));
        let weight = term["weight"].as_i64().unwrap_or_default();
        if !(0..=100).contains(&weight) {
            return at(format!("weight: found {weight}, must be 1 to 100"));
        }
        if selector::is_empty(&term["matchSelector"]) {
            return at(
                "matchSelector: must have at least one entry in matchLabels or matchExpressions".to_owned()
            );
        }
        let found = check_selector(&term["matchSelector"], "matchSelector", "A-VAL-28");
        at(found.first()?.to_string())
    };
    let order_problem = |(index, term): (usize, &Value)| {
        text(&term["orderedKey"])
            .is_empty()
            .then(|| format!("orderPriority[{index}].orderedKey: must not be empty"))
    };
    items(weights)
        .enumerate()
        .find_map(weight_problem)
        .or_else(|| items(orders).enumerate().find_map(order_problem))
}

/// The first thing that is wrong with a scatter strategy.
///
/// Rule: A-VAL-29.
fn scatter_problem(scatter: &Value) -> Option<String> {
    let mut seen = FxHashSet::default();
    for (index, term) in items(scatter).enumerate() {
        let (key, value) = (text(&term["key"]), text(&term["value"]));
        if key.is_empty() {
            return Some(format!("[{index}].key: must not be empty"));
        }
        // Upstream compares the joined text, so a/b:c and a:b/c count as the same pair.
        if !seen.insert(format!("{key}:{value}")) {
            return Some(format!("[{index}]: key {} with value {} stands twice", quoted(key), quoted(value)));
        }
    }
    None
}
