//! Conflicts with other stored sets: names that two sets bring to the same Pods.

use serde_json::Value;

use super::StoredSets;
use super::findings::{Findings, quoted};
use super::stored::{Named, Reach};

/// A set is compared with those whose selectors overlap with its own.
///
/// Rule: A-VAL-80, A-VAL-81, A-VAL-83, A-VAL-84, A-VAL-85, A-VAL-86, A-EDGE-6, A-EDGE-7.
/// Decision: D-12, D-13.
pub(super) fn validate(set: &Value, stored: &StoredSets, findings: &mut Findings) {
    let reach = Reach::of(set);
    for kind in Named::ALL {
        let (path, rule, what) = match kind {
            Named::InitContainer => ("spec.containers", "A-VAL-83", "has an init container of that name too"),
            Named::Container => ("spec.containers", "A-VAL-84", "has a container of that name too"),
            Named::Volume => ("spec.volumes", "A-VAL-85", "defines a volume of that name differently"),
            Named::Annotation => (
                "spec.patchPodMetadata",
                "A-VAL-86",
                "sets the same annotation, and one of the two overwrites it",
            ),
        };
        for (name, definition) in kind.entries(set) {
            let conflict = stored.conflict(kind, name, &definition, set, &reach);
            let told = |other: &str| format!("{}: SidecarSet {} {what}", quoted(name), quoted(other));
            if let Some(other) = conflict.certain {
                let detail = format!(
                    "{}, and both may match the same Pod; use another name or selectors that exclude each other",
                    told(other)
                );
                if conflict.others_agree {
                    // Upstream compares with one of them only, which one is chance.
                    findings.invalid_if_strict(path, detail, "A-EDGE-7");
                } else {
                    findings.invalid(path, detail, rule);
                }
            } else if let Some(other) = conflict.possible {
                let detail =
                    format!("{}, and a Pod may match both: it would be refused or get only one", told(other));
                findings.invalid_if_strict(path, detail, "A-EDGE-6");
            }
        }
    }
}
