//! References to fields of the Pod and to resources of a container, and the files made from them.

use super::at::At;
use super::report::Report;
use crate::api::names::{
    is_annotation_key, is_file_mode, is_qualified_name, is_unreserved_path, split_subscript,
};

/// A relative path as files below a volume have it.
pub(super) const FILE_PATH: &str = "a relative path without \"..\" that does not begin with \"..\"";
/// What a file mode has to be.
pub(super) const FILE_MODE: &str = "a file mode from 0 to 511 (0777 octal)";
/// What a key of labels or annotations has to be.
const LABEL_KEY: &str = "a key such as \"app\" or \"example.com/app\" between the quotes";

/// Fields that volumes may show.
const VOLUME_FIELDS: [&str; 5] =
    ["metadata.name", "metadata.namespace", "metadata.labels", "metadata.annotations", "metadata.uid"];
/// Fields that environment variables may show.
const ENV_FIELDS: [&str; 9] = [
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];
/// Fields that a reference can name at all; each user takes only some of them.
const KNOWN_FIELDS: [&str; 14] = [
    "metadata.annotations",
    "metadata.labels",
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.restartPolicy",
    "spec.serviceAccountName",
    "spec.schedulerName",
    "status.phase",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];
const CPU_DIVISORS: [&str; 2] = ["1m", "1"];
const SIZE_DIVISORS: [&str; 13] =
    ["1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei"];
const RESOURCES: [&str; 8] = [
    "limits.cpu",
    "limits.memory",
    "limits.ephemeral-storage",
    "requests.cpu",
    "requests.memory",
    "requests.ephemeral-storage",
    "limits.hugepages-<size>",
    "requests.hugepages-<size>",
];

/// Who reads what the reference names; that decides what it may name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reader {
    /// An environment variable.
    Env,
    /// A file of a volume.
    Volume,
}

/// Checks one file of a downward API volume, whose findings are reported on `at`, without the index of the file.
///
/// Rule: A-CORE-21.
pub(super) fn check_file(file: &At<'_, '_>, at: &At<'_, '_>, report: &mut Report) {
    const RULE: &str = "A-CORE-21";
    let path = file.child("path");
    let path = at.child("path").holding(&path);
    report.need(&path, "the path of the file in the volume", RULE);
    report.expect(&path, is_unreserved_path, FILE_PATH, RULE);
    let (field, resource) = (file.child("fieldRef"), file.child("resourceFieldRef"));
    if field.is_present() {
        check_field(&at.child("fieldRef").holding(&field), Reader::Volume, report);
        if resource.is_present() {
            let detail = format!(
                "the file {:?} has both fieldRef and resourceFieldRef, must have one of them",
                path.text()
            );
            report.conflict(at, detail, RULE);
        }
    } else if resource.is_present() {
        check_resource(&at.child("resourceFieldRef").holding(&resource), Reader::Volume, report);
    } else {
        report.required(at, "fieldRef or resourceFieldRef for each file", RULE);
    }
    let mode = file.child("mode");
    report.expect_number(&at.child("mode").holding(&mode), is_file_mode, FILE_MODE, RULE);
}

/// Checks a reference to a field of the Pod. Only the first mistake is told: what follows depends on it.
///
/// Rule: A-CORE-42, A-CORE-45.
pub(super) fn check_field(reference: &At<'_, '_>, reader: Reader, report: &mut Report) {
    const RULE: &str = "A-CORE-45";
    let (version, path) = (reference.child("apiVersion"), reference.child("fieldPath"));
    let allowed: &[&str] = if reader == Reader::Env { &ENV_FIELDS } else { &VOLUME_FIELDS };
    if !report.need(&version, "\"v1\"", RULE) || !report.need(&path, "the path of a field of the Pod", RULE) {
        return;
    }
    if version.text() != "v1" {
        let detail =
            format!("cannot be read as the apiVersion beside it is {:?}, must be \"v1\"", version.text());
        return report.conflict(&path, detail, RULE);
    }
    match split_subscript(path.text()) {
        Some(("metadata.annotations", key)) if is_annotation_key(key) => {}
        Some(("metadata.labels", key)) if is_qualified_name(key) => {}
        Some(("metadata.annotations" | "metadata.labels", key)) => {
            report.conflict(reference, format!("found the key {key:?}, must be {LABEL_KEY}"), RULE);
        }
        Some(_) => report.invalid(
            &path,
            "a field without a key, or metadata.labels['<key>'] or metadata.annotations['<key>']",
            RULE,
        ),
        // `spec.host` is what the name of the node was called before v1.
        None if reader == Reader::Env && path.text() == "spec.host" => {}
        None if allowed.contains(&path.text()) => {}
        None if path.text() == "spec.host" || KNOWN_FIELDS.contains(&path.text()) => {
            report.unsupported(&path, allowed, RULE);
        }
        None => report.invalid(&path, &format!("one of {}", allowed.join(", ")), RULE),
    }
}

/// Checks a reference to a resource of a container.
///
/// Rule: A-CORE-43, A-CORE-46.
pub(super) fn check_resource(reference: &At<'_, '_>, reader: Reader, report: &mut Report) {
    const RULE: &str = "A-CORE-46";
    let (container, resource) = (reference.child("containerName"), reference.child("resource"));
    let divisors = divisors(resource.text());
    if reader == Reader::Volume && container.text().is_empty() {
        report.required(&container, "the name of the container", RULE);
    } else if resource.text().is_empty() {
        report.required(&resource, &format!("one of {}", RESOURCES.join(", ")), RULE);
    } else if divisors.is_empty() {
        report.unsupported(&resource, &RESOURCES, RULE);
    }
    let divisor = reference.child("divisor");
    let quantity = divisor.quantity();
    if !quantity.is_zero() && !divisors.is_empty() && !divisors.contains(&quantity.to_string().as_str()) {
        report.invalid(&divisor, &format!("one of {}", divisors.join(", ")), RULE);
    }
}

/// The divisors that fit a resource; none if there is no such resource.
fn divisors(resource: &str) -> &'static [&'static str] {
    let name = resource.strip_prefix("limits.").or_else(|| resource.strip_prefix("requests."));
    match name {
        Some("cpu") => &CPU_DIVISORS,
        Some("memory" | "ephemeral-storage") => &SIZE_DIVISORS,
        Some(name) if name.starts_with("hugepages-") => &SIZE_DIVISORS,
        _ => &[],
    }
}
