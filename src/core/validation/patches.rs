//! `patchPodMetadata`: annotations that the set puts on Pods.

use rustc_hash::FxHashSet;
use serde_json::Value;

use super::findings::{Findings, quoted};
use super::metadata::validate_annotations;
use crate::content::{items, text};

/// Rule: A-VAL-52, A-VAL-53, A-VAL-54, A-VAL-55, A-EDGE-10.
pub(super) fn validate(patches: &Value, findings: &mut Findings) {
    const PATH: &str = "spec.patchPodMetadata";
    let mut earlier: FxHashSet<&str> = FxHashSet::default();
    for (index, patch) in items(patches).enumerate() {
        let annotations = &patch["annotations"];
        if annotations.as_object().is_none_or(|map| map.is_empty()) {
            let detail = format!("[{index}].annotations: must have at least one entry");
            findings.required(PATH, detail, "A-VAL-52");
        }
        validate_annotations(annotations, "patchPodMetadata.annotations", "A-VAL-53", findings);
        if text(&patch["patchPolicy"]).is_empty() {
            let detail =
                format!("[{index}].patchPolicy: must be \"Retain\", \"Overwrite\" or \"MergePatchJson\"");
            findings.required(PATH, detail, "A-VAL-54");
        }
        for (key, value) in annotations.as_object().into_iter().flatten() {
            if earlier.contains(&**key) {
                let detail =
                    format!("[{index}].annotations: key {} stands in an earlier entry too", quoted(key));
                findings.required(PATH, detail, "A-VAL-55");
            }
            if patch["patchPolicy"] == "MergePatchJson" {
                warn_unless_json(text(value), &format!("{PATH}[{index}].annotations[{key}]"), findings);
            }
        }
        earlier.extend(annotations.as_object().into_iter().flatten().map(|(key, _)| &**key));
    }
}

/// A text that cannot be merged makes Pods that carry the annotation fail.
///
/// Rule: A-EDGE-10.
fn warn_unless_json(value: &str, path: &str, findings: &mut Findings) {
    if let Err(error) = serde_json::from_str::<serde::de::IgnoredAny>(value) {
        let detail = format!("found {}, which is no JSON and cannot be merged: {error}", quoted(value));
        findings.warn(path, detail, "A-EDGE-10");
    }
}
