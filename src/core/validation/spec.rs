//! `spec` of a SidecarSet: what it selects and that it has something to inject.

use serde_json::Value;

use super::findings::{Findings, quoted};
use super::{ClusterView, Options, allow_list, containers, core_v1, patches, revision, selector, strategy};
use crate::api::names::is_label_value;
use crate::content::{items, text};

/// Rule: A-VAL-20, A-VAL-21, A-VAL-22, A-VAL-24.
pub(super) fn validate(set: &Value, cluster: &ClusterView<'_>, options: Options, findings: &mut Findings) {
    let spec = &set["spec"];
    if spec["selector"].is_null() {
        let detail = "must be given: the labels of the Pods that get the sidecars";
        findings.required("spec.selector", detail, "A-VAL-20");
    } else {
        selector::validate(&spec["selector"], "spec.selector", findings);
    }
    if !spec["namespaceSelector"].is_null() {
        selector::validate(&spec["namespaceSelector"], "spec.namespaceSelector", findings);
    }
    validate_custom_version(spec, findings);
    validate_native_sidecars(spec, findings);
    strategy::validate_injection(spec, findings);
    revision::validate(set, cluster.revisions, findings);
    strategy::validate_update(&spec["updateStrategy"], findings);
    if items(&spec["containers"]).chain(items(&spec["initContainers"])).next().is_none() {
        let detail =
            "must have at least one entry in containers or initContainers: there is nothing to inject";
        findings.required("spec", detail, "A-VAL-24");
    } else {
        containers::validate(spec, findings);
        let core_v1::Output { findings: found, warnings } = core_v1::validate(spec, options.allow_privileged);
        findings.extend(found);
        findings.extend_warnings(warnings);
    }
    allow_list::validate(set, cluster.allow_list, options.patch_metadata_defaults_allowed, findings);
    patches::validate(&spec["patchPodMetadata"], findings);
}

/// The custom version becomes a label of the set's ControllerRevisions.
///
/// Rule: A-EDGE-4.
/// Decision: D-12.
fn validate_custom_version(spec: &Value, findings: &mut Findings) {
    let version = text(&spec["customVersion"]);
    if !is_label_value(version) {
        let detail = format!("found {}, {}", quoted(version), super::metadata::LABEL_VALUE);
        findings.invalid("spec.customVersion", detail, "A-EDGE-4");
    }
}

/// Rule: A-VAL-23.
fn validate_native_sidecars(spec: &Value, findings: &mut Findings) {
    if spec["updateStrategy"]["type"] != "RollingUpdate" {
        return;
    }
    for container in items(&spec["initContainers"]).filter(|container| container["restartPolicy"] == "Always")
    {
        let detail = format!(
            "spec.updateStrategy.type must be \"NotUpdate\": init container {} has restartPolicy Always, and native sidecars cannot \
             be updated in place",
            quoted(text(&container["name"]))
        );
        findings.required("spec.updateStrategy", detail, "A-VAL-23");
    }
}
