//! References to a label or annotation of the Pod.

use serde_json::Value;

use super::findings::{Findings, quoted};
use super::metadata::QUALIFIED_NAME;
use crate::api::names::{is_annotation_key, is_qualified_name, split_subscript};
use crate::content::text;

/// The reference of a `transferEnv` entry; the first mistake counts.
///
/// Rule: A-VAL-33, A-VAL-34, A-EDGE-8.
pub(super) fn validate(reference: &Value, path: &str, findings: &mut Findings) {
    const RULE: &str = "A-VAL-34";
    const FORMS: &str = "must be metadata.labels['<key>'] or metadata.annotations['<key>']";
    let (api_version, field_path) = (text(&reference["apiVersion"]), text(&reference["fieldPath"]));
    if api_version.is_empty() {
        findings.required(format!("{path}.apiVersion"), "must be \"v1\"", RULE);
    } else if field_path.is_empty() {
        findings.required(format!("{path}.fieldPath"), FORMS, RULE);
    } else if api_version != "v1" {
        let detail = format!("apiVersion: found {}, must be \"v1\"", quoted(api_version));
        findings.invalid(format!("{path}.fieldPath"), detail, RULE);
    } else {
        let (is_valid, key) = match split_subscript(field_path) {
            Some(("metadata.labels", key)) => (is_qualified_name(key), key),
            Some(("metadata.annotations", key)) => (is_annotation_key(key), key),
            _ => {
                let detail = format!("found {}, {FORMS}", quoted(field_path));
                findings.invalid(format!("{path}.fieldPath"), detail, RULE);
                return;
            }
        };
        if !is_valid {
            findings.invalid(path, format!("key {}: {QUALIFIED_NAME}", quoted(key)), RULE);
        }
    }
}
