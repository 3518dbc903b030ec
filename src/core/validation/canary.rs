//! Canary SidecarSets: a set with a changed copy of another, its base, for some of the base's Pods.

use serde_json::Value;

use super::StoredSets;
use super::findings::{Findings, quoted};
use crate::api::keys;
use crate::content::text;

/// Every finding stands at `metadata`, as upstream has it.
const PATH: &str = "metadata";

/// The base that a set names; also that of a set that is no canary. Rule: A-API-13.
pub(super) fn base_name(set: &Value) -> &str {
    text(&set["metadata"]["annotations"][keys::CANARY_BASE])
}

/// The base of a set if the set is a canary. Rule: A-API-13.
pub(super) fn canary_base(set: &Value) -> Option<&str> {
    let marked = text(&set["metadata"]["annotations"][keys::CANARY]) == "true";
    Some(base_name(set)).filter(|base| marked && !base.is_empty())
}

/// Rule: A-VAL-60, A-VAL-61, A-VAL-62, A-VAL-63, A-VAL-64, A-EDGE-32.
pub(super) fn validate(set: &Value, old: Option<&Value>, stored: &StoredSets, findings: &mut Findings) {
    let Some(base) = canary_base(set) else { return warn_if_nearly(set, findings) };
    let key = keys::CANARY_BASE;
    if base == text(&set["metadata"]["name"]) {
        let detail =
            format!("annotation {key} must name another SidecarSet: a canary cannot be its own base");
        findings.invalid(PATH, detail, "A-VAL-60");
    }
    if let Some(before) = old.map(base_name).filter(|before| *before != base) {
        let detail = format!(
            "annotation {key} cannot be changed from {} to {}; create another SidecarSet for the other base",
            quoted(before),
            quoted(base)
        );
        findings.invalid(PATH, detail, "A-VAL-61");
    }
    match stored.canary_base_of(base) {
        None => {
            let detail =
                format!("annotation {key}: there is no SidecarSet {}; create the base first", quoted(base));
            findings.invalid(PATH, detail, "A-VAL-62");
        }
        Some(Some(_)) => {
            let detail = format!(
                "annotation {key}: SidecarSet {} is a canary itself and cannot be a base",
                quoted(base)
            );
            findings.invalid(PATH, detail, "A-VAL-63");
        }
        Some(None) => {}
    }
    let kind = text(&set["spec"]["updateStrategy"]["type"]);
    if kind != "NotUpdate" {
        let detail = format!(
            "a canary only injects: spec.updateStrategy.type must be \"NotUpdate\", found {}",
            quoted(kind)
        );
        findings.invalid(PATH, detail, "A-VAL-64");
    }
}

/// A set that somebody meant to mark as a canary and that is none. Rule: A-EDGE-32.
fn warn_if_nearly(set: &Value, findings: &mut Findings) {
    let mark = text(&set["metadata"]["annotations"][keys::CANARY]);
    let path = |key: &str| format!("metadata.annotations[{key}]");
    if mark == "true" {
        let detail =
            format!("the set is no canary before the annotation {} names its base", keys::CANARY_BASE);
        findings.warn(path(keys::CANARY), detail, "A-EDGE-32");
    } else if mark.eq_ignore_ascii_case("true") || mark == "1" {
        let detail = format!("found {}: only \"true\" makes the set a canary", quoted(mark));
        findings.warn(path(keys::CANARY), detail, "A-EDGE-32");
    }
}
