//! Label selectors in a SidecarSet's spec.

use serde_json::Value;

use super::findings::{Findings, quoted};
use super::metadata::{LABEL_VALUE, QUALIFIED_NAME, validate_labels};
use crate::api::names::{is_label_value, is_qualified_name};
use crate::content::{items, text};
use crate::field::FieldErrorKind;

const RULE: &str = "A-VAL-25";

/// The rules for a selector that is there, `path` being its own.
///
/// Rule: A-VAL-25, A-EDGE-24.
pub(super) fn validate(selector: &Value, path: &str, findings: &mut Findings) {
    if is_empty(selector) {
        let detail =
            "must have at least one entry in matchLabels or matchExpressions: an empty selector is refused";
        findings.invalid(path, detail, RULE);
        return;
    }
    if !can_be_compiled(selector, path, findings) {
        let detail = format!("{path} can select nothing before its other findings are corrected");
        findings.invalid(format!("{path}.selector"), detail, RULE);
    }
}

/// Whether a selector has no condition at all.
pub(super) fn is_empty(selector: &Value) -> bool {
    let no_labels = selector["matchLabels"].as_object().is_none_or(|map| map.is_empty());
    no_labels && selector["matchExpressions"].as_array().is_none_or(Vec::is_empty)
}

/// Reports everything that keeps a selector from being compiled; `false` if something does.
pub(super) fn can_be_compiled(selector: &Value, path: &str, findings: &mut Findings) -> bool {
    let mut valid = validate_labels(&selector["matchLabels"], &format!("{path}.matchLabels"), RULE, findings);
    for (index, expression) in items(&selector["matchExpressions"]).enumerate() {
        let path = format!("{path}.matchExpressions[{index}]");
        valid &= validate_expression(expression, &path, findings);
    }
    valid
}

fn validate_expression(expression: &Value, path: &str, findings: &mut Findings) -> bool {
    let values: Vec<&str> = expression["values"].as_array().into_iter().flatten().map(text).collect();
    let operator = text(&expression["operator"]);
    let mut valid = true;
    match operator {
        "In" | "NotIn" if values.is_empty() => {
            let detail = format!("must have at least one value with the operator {operator}");
            findings.required(format!("{path}.values"), detail, RULE);
            valid = false;
        }
        "Exists" | "DoesNotExist" if !values.is_empty() => {
            let detail = format!("must be absent with the operator {operator}");
            findings.refuse(format!("{path}.values"), FieldErrorKind::Forbidden, detail, RULE);
            valid = false;
        }
        "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
        other => {
            let detail = format!("found {}, must be In, NotIn, Exists or DoesNotExist", quoted(other));
            findings.invalid(format!("{path}.operator"), detail, RULE);
            valid = false;
        }
    }
    let key = text(&expression["key"]);
    if !is_qualified_name(key) {
        findings.invalid(format!("{path}.key"), format!("found {}, {QUALIFIED_NAME}", quoted(key)), RULE);
        valid = false;
    }
    for (index, value) in values.iter().enumerate().filter(|(_, value)| !is_label_value(value)) {
        let detail = format!("found {}, {LABEL_VALUE}", quoted(value));
        findings.invalid(format!("{path}.values[{index}]"), detail, RULE);
        valid = false;
    }
    valid
}
