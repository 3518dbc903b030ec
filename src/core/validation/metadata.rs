//! `metadata` of a SidecarSet.

use serde_json::Value;

use super::findings::{Findings, quoted};
use crate::api::names::{is_annotation_key, is_label_value, is_qualified_name};
use crate::content::{items, text};
use crate::field::FieldErrorKind;

/// The longest name of a set, in bytes: it becomes the value of a label.
const MAX_NAME: usize = 63;
/// The most that keys and values of one map of annotations may have together, in bytes.
const MAX_ANNOTATIONS: usize = 256 * 1024;
/// The longest manager of a managed field, in bytes.
const MAX_MANAGER: usize = 128;
/// The longest sub-resource of a managed field, in bytes.
const MAX_SUBRESOURCE: usize = 256;

/// What a qualified name looks like, for people.
pub(super) const QUALIFIED_NAME: &str = "must be a name of at most 63 letters, digits, '-', '_' or '.', beginning and ending with a \
     letter or digit, optionally behind a DNS subdomain and '/', such as example.com/my-name";
/// What a label value looks like, for people.
pub(super) const LABEL_VALUE: &str = "must be empty or at most 63 letters, digits, '-', '_' or '.', beginning and ending with a letter or digit";

/// Rule: A-VAL-10, A-VAL-11, A-VAL-12, A-VAL-13, A-VAL-14, A-VAL-15, A-VAL-16, A-VAL-17, A-VAL-18, A-VAL-19.
pub(super) fn validate(metadata: &Value, findings: &mut Findings) {
    validate_names(metadata, findings);
    if !text(&metadata["namespace"]).is_empty() {
        let detail = "must be absent: a SidecarSet belongs to no namespace; to restrict it to some, use spec.namespaceSelector";
        findings.refuse("metadata.namespace", FieldErrorKind::Forbidden, detail, "A-VAL-14");
    }
    if let Some(generation) = metadata["generation"].as_i64().filter(|generation| *generation < 0) {
        findings.invalid(
            "metadata.generation",
            format!("found {generation}, must not be negative"),
            "A-VAL-15",
        );
    }
    validate_labels(&metadata["labels"], findings);
    validate_annotations(&metadata["annotations"], "metadata.annotations", "A-VAL-17", findings);
    validate_owners(&metadata["ownerReferences"], findings);
    validate_finalizers(&metadata["finalizers"], findings);
    validate_managed_fields(&metadata["managedFields"], findings);
}

/// Rule: A-VAL-16.
fn validate_labels(labels: &Value, findings: &mut Findings) {
    const PATH: &str = "metadata.labels";
    for (key, value) in labels.as_object().into_iter().flatten() {
        if !is_qualified_name(key) {
            findings.invalid(PATH, format!("key {}: {QUALIFIED_NAME}", quoted(key)), "A-VAL-16");
        }
        if !is_label_value(text(value)) {
            let value = quoted(text(value));
            let detail = format!("value {value} of key {}: {LABEL_VALUE}", quoted(key));
            findings.invalid(PATH, detail, "A-VAL-16");
        }
    }
}

/// Rule: A-VAL-17, A-VAL-53.
pub(super) fn validate_annotations(
    annotations: &Value,
    path: &str,
    rule: &'static str,
    findings: &mut Findings,
) {
    let mut size = 0;
    for (key, value) in annotations.as_object().into_iter().flatten() {
        size += key.len() + text(value).len();
        if !is_annotation_key(key) {
            findings.invalid(path, format!("key {}: {QUALIFIED_NAME}", quoted(key)), rule);
        }
    }
    if size > MAX_ANNOTATIONS {
        let detail =
            format!("keys and values have {size} bytes together, must have at most {MAX_ANNOTATIONS}");
        findings.refuse(path, FieldErrorKind::TooLong, detail, rule);
    }
}

fn validate_names(metadata: &Value, findings: &mut Findings) {
    let rules = [("name", "A-VAL-11", "A-VAL-12"), ("generateName", "A-VAL-13", "A-VAL-13")];
    for (member, characters, length) in rules {
        let name = text(&metadata[member]);
        let path = format!("metadata.{member}");
        if name.is_empty() {
            if member == "name" {
                findings.required(path, "must be given, or metadata.generateName instead", "A-VAL-10");
            }
            continue;
        }
        if !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
            let detail = format!("found {}, must have only letters, digits and '-'", quoted(name));
            findings.invalid(&*path, detail, characters);
        }
        if name.len() > MAX_NAME {
            let detail = format!("has {} bytes, must have at most {MAX_NAME}", name.len());
            findings.invalid(path, detail, length);
        }
    }
}

/// Rule: A-VAL-18.
fn validate_owners(owners: &Value, findings: &mut Findings) {
    const PATH: &str = "metadata.ownerReferences";
    for (index, owner) in items(owners).enumerate() {
        let api_version = text(&owner["apiVersion"]);
        let version = api_version.split_once('/').map_or(api_version, |(_, version)| version);
        if version.is_empty() || version.contains('/') {
            let detail = format!(
                "reference {index}: found {}, must be a group and version such as \"apps/v1\"",
                quoted(api_version)
            );
            findings.invalid(format!("{PATH}.apiVersion"), detail, "A-VAL-18");
        }
        for member in ["kind", "name", "uid"] {
            if text(&owner[member]).is_empty() {
                let detail = format!("reference {index}: must not be empty");
                findings.invalid(format!("{PATH}.{member}"), detail, "A-VAL-18");
            }
        }
        if api_version == "v1" && text(&owner["kind"]) == "Event" {
            findings.invalid(PATH, format!("reference {index}: an Event must not own anything"), "A-VAL-18");
        }
    }
    let controllers: Vec<_> =
        items(owners).filter(|owner| owner["controller"] == true).map(|owner| text(&owner["name"])).collect();
    if controllers.len() > 1 {
        let names: Vec<_> = controllers.into_iter().map(quoted).collect();
        let detail = format!("only one owner may have controller: true, found {}", names.join(", "));
        findings.invalid(PATH, detail, "A-VAL-18");
    }
}

/// Rule: A-VAL-19.
fn validate_finalizers(finalizers: &Value, findings: &mut Findings) {
    const PATH: &str = "metadata.finalizers";
    let names = || finalizers.as_array().into_iter().flatten().map(text);
    for name in names().filter(|name| !is_qualified_name(name)) {
        findings.invalid(PATH, format!("found {}, {QUALIFIED_NAME}", quoted(name)), "A-VAL-19");
    }
    if names().any(|name| name == "orphan") && names().any(|name| name == "foregroundDeletion") {
        findings.invalid(PATH, "orphan and foregroundDeletion must not be set together", "A-VAL-19");
    }
}

/// Rule: A-VAL-19.
fn validate_managed_fields(entries: &Value, findings: &mut Findings) {
    for (index, entry) in items(entries).enumerate() {
        let path = |member: &str| format!("metadata.managedFields[{index}].{member}");
        let operation = text(&entry["operation"]);
        if !matches!(operation, "Apply" | "Update") {
            let detail = format!("found {}, must be \"Apply\" or \"Update\"", quoted(operation));
            findings.invalid(path("operation"), detail, "A-VAL-19");
        }
        let fields_type = text(&entry["fieldsType"]);
        if !matches!(fields_type, "" | "FieldsV1") {
            let detail = format!("found {}, must be \"FieldsV1\"", quoted(fields_type));
            findings.invalid(path("fieldsType"), detail, "A-VAL-19");
        }
        for (member, limit) in [("manager", MAX_MANAGER), ("subresource", MAX_SUBRESOURCE)] {
            let size = text(&entry[member]).len();
            if size > limit {
                let detail = format!("has {size} bytes, must have at most {limit}");
                findings.refuse(path(member), FieldErrorKind::TooLong, detail, "A-VAL-19");
            }
        }
    }
}
