//! What a change of a stored set must not do.

use rustc_hash::FxHashMap;
use serde_json::Value;

use super::findings::{Findings, quoted};
use crate::content::{items, text};
use crate::hash;

/// Rule: A-VAL-70, A-VAL-71, A-EDGE-20, A-EDGE-21.
pub(super) fn validate(old: &Value, new: &Value, findings: &mut Findings) {
    let stored: FxHashMap<&str, &Value> = items(&old["spec"]["containers"])
        .map(|container| (text(&container["name"]), &container["upgradeStrategy"]["upgradeType"]))
        .collect();
    for container in items(&new["spec"]["containers"]) {
        let name = text(&container["name"]);
        let Some(before) = stored.get(name).map(|kind| text(kind)) else {
            let detail = format!(
                "container {} is not in the stored set: containers cannot be added or renamed; create another SidecarSet for it",
                quoted(name)
            );
            findings.invalid("spec.containers.name", detail, "A-VAL-71");
            continue;
        };
        let after = text(&container["upgradeStrategy"]["upgradeType"]);
        if !before.is_empty() && before != after {
            let detail = format!(
                "container {}: upgradeType cannot be changed from {} to {}",
                quoted(name),
                quoted(before),
                quoted(after)
            );
            findings.invalid("spec.containers.upgradeStrategy.upgradeType", detail, "A-VAL-70");
        }
    }
    warn_if_not_rolled_out(old, new, findings);
}

/// Only images are updated in running Pods.
///
/// Rule: A-EDGE-19.
fn warn_if_not_rolled_out(old: &Value, new: &Value, findings: &mut Findings) {
    if new["spec"]["updateStrategy"]["type"] != "RollingUpdate" {
        return;
    }
    let without_image = |set: &Value| hash::of_sidecarset(set).ok().map(|hashes| hashes.without_image);
    if without_image(old) != without_image(new) {
        let detail = "more than images changed: Pods that were injected before keep what they have until they are created again";
        findings.warn("spec.containers", detail, "A-EDGE-19");
    }
}
