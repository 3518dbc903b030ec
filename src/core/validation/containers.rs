//! What a sidecar container has besides the members of a core/v1 Container.

use rustc_hash::FxHashSet;
use serde_json::Value;

use super::expressions::{self, Patterns};
use super::field_ref;
use super::findings::{Findings, quoted};
use crate::content::{items, text};

/// The longest name of a container, in bytes.
const MAX_NAME: usize = 63;

/// Paths are upstream's: the index follows `spec` at once and is that of either list, or there is none (A-EDGE-16).
///
/// Rule: A-VAL-31, A-VAL-32, A-VAL-33, A-VAL-35, A-VAL-36.
pub(super) fn validate(spec: &Value, findings: &mut Findings) {
    let mut patterns = Patterns::default();
    for (index, container) in items(&spec["initContainers"]).enumerate() {
        let policy = &container["resourcesPolicy"];
        if policy.is_object() {
            let path = format!("spec[{index}].resourcesPolicy");
            if container["restartPolicy"] != "Always" {
                let detail = format!(
                    "spec.initContainers[{index}] {}: only a native sidecar (restartPolicy: Always) may have a resourcesPolicy",
                    quoted(text(&container["name"]))
                );
                findings.invalid(&*path, detail, "A-VAL-35");
            }
            expressions::validate(container, &path, &mut patterns, findings);
        }
    }
    for (index, container) in items(&spec["containers"]).enumerate() {
        validate_policies(container, index, findings);
        for reference in
            items(&container["transferEnv"]).map(|item| &item["sourceContainerNameFrom"]["fieldRef"])
        {
            if reference.is_object() {
                field_ref::validate(reference, &format!("spec[{index}].transferEnv.fieldRef"), findings);
            }
        }
        if container["resourcesPolicy"].is_object() {
            let path = format!("spec[{index}].resourcesPolicy");
            expressions::validate(container, &path, &mut patterns, findings);
        }
    }
    validate_upgrades(spec, findings);
}

/// Rule: A-VAL-31, A-VAL-32.
fn validate_policies(container: &Value, index: usize, findings: &mut Findings) {
    let rules = [
        (
            "podInjectPolicy",
            &container["podInjectPolicy"],
            ["BeforeAppContainer", "AfterAppContainer"],
            "A-VAL-31",
        ),
        ("shareVolumePolicy", &container["shareVolumePolicy"]["type"], ["enabled", "disabled"], "A-VAL-32"),
    ];
    for (member, value, allowed, rule) in rules {
        let found = text(value);
        if !allowed.contains(&found) {
            let [one, other] = allowed;
            let detail = format!(
                "spec.containers[{index}].{member}: found {}, must be \"{one}\" or \"{other}\"",
                quoted(found)
            );
            findings.invalid(format!("spec.container.{member}"), detail, rule);
        }
    }
}

/// Hot upgrades that would make every Pod fail, and upgrade types that nobody knows.
///
/// Rule: A-EDGE-11.
/// Decision: D-12.
fn validate_upgrades(spec: &Value, findings: &mut Findings) {
    const RULE: &str = "A-EDGE-11";
    let is_native = |container: &&Value| container["restartPolicy"] == "Always";
    let names: FxHashSet<&str> = items(&spec["initContainers"])
        .chain(items(&spec["containers"]))
        .map(|container| text(&container["name"]))
        .collect();
    let init = items(&spec["initContainers"]).enumerate().filter(|(_, container)| is_native(container));
    let init = init.map(|(index, container)| (format!("spec.initContainers[{index}]"), container));
    let plain = items(&spec["containers"]).enumerate();
    let plain = plain.map(|(index, container)| (format!("spec.containers[{index}]"), container));
    for (path, container) in init.chain(plain) {
        let upgrade = &container["upgradeStrategy"];
        match text(&upgrade["upgradeType"]) {
            "" | "ColdUpgrade" => {}
            "HotUpgrade" => {
                if text(&upgrade["hotUpgradeEmptyImage"]).is_empty() {
                    let detail = "must be given with upgradeType HotUpgrade: the image of the container that waits for the next upgrade";
                    findings.required(format!("{path}.upgradeStrategy.hotUpgradeEmptyImage"), detail, RULE);
                }
                let name = text(&container["name"]);
                for twin in ["-1", "-2"].map(|suffix| format!("{name}{suffix}")) {
                    if twin.len() > MAX_NAME && name.len() <= MAX_NAME {
                        let detail = format!(
                            "found {}: with upgradeType HotUpgrade the name gets \"-1\" and \"-2\", so it must have at most {} bytes",
                            quoted(name),
                            MAX_NAME - 2
                        );
                        findings.invalid(format!("{path}.name"), detail, RULE);
                    }
                    if names.contains(&*twin) {
                        let detail = format!(
                            "found {}: with upgradeType HotUpgrade it becomes {}, which another container of the set is called",
                            quoted(name),
                            quoted(&twin)
                        );
                        findings.invalid(format!("{path}.name"), detail, RULE);
                    }
                }
            }
            other => {
                let detail = format!(
                    "found {}, must be \"ColdUpgrade\" or \"HotUpgrade\"; it is treated as ColdUpgrade",
                    quoted(other)
                );
                findings.invalid_if_strict(format!("{path}.upgradeStrategy.upgradeType"), detail, RULE);
            }
        }
    }
}
