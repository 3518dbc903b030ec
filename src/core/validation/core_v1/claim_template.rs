//! The claim that an ephemeral volume makes for its Pod.

use super::at::At;
use super::env::OBJECT_NAME;
use super::report::Report;
use super::selectors;
use crate::api::names::{is_annotation_key, is_dns_subdomain};

const RULE: &str = "A-CORE-28";
const ACCESS_MODES: [&str; 4] = ["ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany", "ReadWriteOncePod"];
const VOLUME_MODES: [&str; 2] = ["Block", "Filesystem"];
/// The most bytes of all annotations together.
const MAX_ANNOTATIONS: usize = 256 * 1024;

/// Checks `ephemeral.volumeClaimTemplate`. The name of the claim, `<Pod>-<volume>`, needs no rule of its own: a valid volume name gives
/// a valid one.
///
/// Rule: A-CORE-28.
pub(super) fn check(template: &At<'_, '_>, report: &mut Report) {
    if !template.is_present() {
        return report.required(template, "what the claim looks like", RULE);
    }
    check_metadata(&template.child("metadata"), report);
    let spec = template.child("spec");
    check_access_modes(&spec.child("accessModes"), report);
    selectors::check(&spec.child("selector"), RULE, report);
    check_storage(&spec.child("resources"), report);
    let class = spec.child("storageClassName");
    if !class.text().is_empty() {
        report.expect(&class, is_dns_subdomain, OBJECT_NAME, RULE);
    }
    let mode = spec.child("volumeMode");
    if mode.is_present() {
        report.one_of(&mode, &VOLUME_MODES, RULE);
    }
    check_data_sources(&spec, report);
    let attributes = spec.child("volumeAttributesClassName");
    if !attributes.text().is_empty() && !is_dns_subdomain(attributes.text()) {
        report.warn(&attributes, format!("newer versions of Kubernetes want {OBJECT_NAME}"), RULE);
    }
}

/// Labels and annotations are all that a template may say about the claim itself.
fn check_metadata(metadata: &At<'_, '_>, report: &mut Report) {
    let (labels, annotations) = (metadata.child("labels"), metadata.child("annotations"));
    selectors::check_labels(&labels, RULE, report);
    let mut size = 0;
    for (key, value) in annotations.entries() {
        size += key.len() + value.text().len();
        if !is_annotation_key(key) {
            let detail =
                format!("found the key {key:?}, must be a name such as \"note\" or \"example.com/note\"");
            report.conflict(&annotations, detail, RULE);
        }
    }
    if size > MAX_ANNOTATIONS {
        report.too_long(&annotations, MAX_ANNOTATIONS, RULE);
    }
    for name in metadata.member_names().filter(|name| !matches!(*name, "labels" | "annotations")) {
        let member = metadata.child(name);
        if !member.is_empty() {
            report.forbidden(&member, "may not be given here: only labels and annotations may", RULE);
        }
    }
}

fn check_access_modes(modes: &At<'_, '_>, report: &mut Report) {
    report.need(modes, &format!("one or more of {}", ACCESS_MODES.join(", ")), RULE);
    for mode in modes.items() {
        report.one_of(&modes.holding(&mode), &ACCESS_MODES, RULE);
    }
    let is_single = |mode: &At<'_, '_>| mode.text() == "ReadWriteOncePod";
    if modes.items().any(|mode| is_single(&mode)) && modes.items().any(|mode| !is_single(&mode)) {
        report.forbidden(modes, "ReadWriteOncePod may not stand beside another mode", RULE);
    }
}

fn check_storage(resources: &At<'_, '_>, report: &mut Report) {
    let requests = resources.child("requests");
    let storage = requests.child("storage");
    let at = resources.key("storage").holding(&storage);
    if !storage.is_present() {
        report.required(&at, "how much storage is requested, such as \"1Gi\"", RULE);
    } else if storage.quantity().is_zero() || storage.quantity().is_negative() {
        report.invalid(&at, "more than 0", RULE);
    }
}

fn check_data_sources(spec: &At<'_, '_>, report: &mut Report) {
    let (source, reference) = (spec.child("dataSource"), spec.child("dataSourceRef"));
    for at in [&source, &reference] {
        if !at.is_present() {
            continue;
        }
        let (group, kind) = (at.child("apiGroup"), at.child("kind"));
        report.need(&at.child("name"), "the name of the object", RULE);
        report.need(&kind, "the kind of the object", RULE);
        if group.text().is_empty() && kind.text() != "PersistentVolumeClaim" {
            let detail = format!(
                "the kind is {:?}, must be PersistentVolumeClaim as there is no apiGroup",
                kind.text()
            );
            report.conflict(at, detail, RULE);
        }
        if !group.text().is_empty() {
            report.expect(&group, is_dns_subdomain, OBJECT_NAME, RULE);
        }
    }
    let members = |at: &At<'_, '_>| ["apiGroup", "kind", "name"].map(|name| at.text_at(name).to_owned());
    if source.is_present() && reference.is_present() && members(&source) != members(&reference) {
        report.conflict(
            spec,
            "dataSource and dataSourceRef name different objects, must name the same",
            RULE,
        );
    }
}
