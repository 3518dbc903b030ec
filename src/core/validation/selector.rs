//! Label selectors in a SidecarSet's spec.

use serde_json::Value;

use super::core_v1::check_selector;
use super::findings::Findings;

const RULE: &str = "A-VAL-25";

/// The rules for a selector that is there, `path` being its own.
///
/// Rule: A-VAL-21, A-VAL-22, A-VAL-25, A-EDGE-24.
pub(super) fn validate(selector: &Value, path: &str, findings: &mut Findings) {
    if is_empty(selector) {
        let detail =
            "must have at least one entry in matchLabels or matchExpressions: an empty selector is refused";
        findings.invalid(path, detail, RULE);
        return;
    }
    let found = check_selector(selector, path, RULE);
    if !found.is_empty() {
        let detail = format!("{path} selects nothing before its other findings are corrected");
        findings.invalid(format!("{path}.selector"), detail, RULE);
    }
    findings.extend(found);
}

/// Whether a selector has no condition at all.
pub(super) fn is_empty(selector: &Value) -> bool {
    let no_labels = selector["matchLabels"].as_object().is_none_or(|map| map.is_empty());
    no_labels && selector["matchExpressions"].as_array().is_none_or(Vec::is_empty)
}
