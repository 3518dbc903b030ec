//! Label selectors below a volume.

use super::at::At;
use super::report::Report;
use crate::api::names::{is_label_value, is_qualified_name};

const LABEL_KEY: &str = "a label key such as \"app\" or \"example.com/app\"";
const LABEL_VALUE: &str =
    "a label value: at most 63 letters, digits, '-', '_', '.', with a letter or digit at both ends";
const OPERATORS: &str = "In, NotIn, Exists or DoesNotExist";

/// Checks a label selector as Kubernetes does in a volume, where the empty one is fine.
///
/// Rule: A-VAL-25, A-CORE-26, A-CORE-28.
pub(super) fn check(selector: &At<'_, '_>, rule: &'static str, report: &mut Report) {
    check_labels(&selector.child("matchLabels"), rule, report);
    for expression in selector.child("matchExpressions").items() {
        check_expression(&expression, rule, report);
    }
}

/// Checks a map of labels; findings name the map and tell the entry.
pub(super) fn check_labels(labels: &At<'_, '_>, rule: &'static str, report: &mut Report) {
    for (key, value) in labels.entries() {
        if !is_qualified_name(key) {
            report.conflict(labels, format!("found the key {key:?}, must be {LABEL_KEY}"), rule);
        }
        if !is_label_value(value.text()) {
            let detail = format!("found {:?} at {key:?}, must be {LABEL_VALUE}", value.text());
            report.conflict(labels, detail, rule);
        }
    }
}

fn check_expression(expression: &At<'_, '_>, rule: &'static str, report: &mut Report) {
    let (operator, values) = (expression.child("operator"), expression.child("values"));
    match operator.text() {
        "In" | "NotIn" => {
            report.need(&values, "at least one label value, as the operator is In or NotIn", rule);
        }
        "Exists" | "DoesNotExist" => {
            if !values.is_empty() {
                report.forbidden(&values, "must be empty, as the operator is Exists or DoesNotExist", rule);
            }
        }
        _ => report.invalid(&operator, OPERATORS, rule),
    }
    report.expect(&expression.child("key"), is_qualified_name, LABEL_KEY, rule);
    for value in values.items() {
        report.expect(&value, is_label_value, LABEL_VALUE, rule);
    }
}
