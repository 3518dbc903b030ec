//! The ControllerRevision that `injectionStrategy.revision` asks for: it has to be there and to be usable.

use serde_json::Value;

use super::findings::{Findings, quoted};
use crate::api::{decode, keys};
use crate::content::{items, text};
use crate::revision::Revisions;

/// The lists of a set that a stored revision merges by name (A-API-8).
const MERGED_BY_NAME: [&str; 4] = ["initContainers", "containers", "volumes", "imagePullSecrets"];

/// Rule: A-VAL-26, A-VAL-40, A-VAL-41, A-VAL-42, A-VAL-43, A-EDGE-12, A-EDGE-13.
pub(super) fn validate(set: &Value, revisions: &Revisions<'_>, findings: &mut Findings) {
    const PATH: &str = "revision";
    let asked = &set["spec"]["injectionStrategy"]["revision"];
    if !asked.is_object() {
        return;
    }
    let name = text(&set["metadata"]["name"]);
    let (found, missing) = match (asked["revisionName"].as_str(), asked["customVersion"].as_str()) {
        (Some(wanted), _) => {
            (revisions.named(wanted), format!("there is no ControllerRevision {}", quoted(wanted)))
        }
        (None, Some(version)) => (
            revisions.newest(name, version),
            format!(
                "no ControllerRevision has the labels {}={name} and {}={}; revisions exist once the set has been stored with that \
                 customVersion",
                keys::REVISION_SET_NAME,
                keys::CUSTOM_VERSION,
                quoted(version)
            ),
        ),
        (None, None) => {
            let detail = "spec.injectionStrategy.revision: must have revisionName or customVersion";
            findings.invalid(PATH, detail, "A-VAL-26");
            return;
        }
    };
    let Some(found) = found else {
        let rule = if asked["revisionName"].is_string() { "A-VAL-40" } else { "A-VAL-41" };
        findings.invalid(PATH, format!("spec.injectionStrategy.revision: {missing}"), rule);
        return;
    };
    let revision = text(&found["metadata"]["name"]);
    if let Some(problem) = restore_problem(&found["data"]) {
        let detail = format!(
            "spec.injectionStrategy.revision: ControllerRevision {} cannot be restored: {problem}",
            quoted(revision)
        );
        findings.invalid(PATH, detail, "A-VAL-42");
    }
    let owner = text(&found["metadata"]["labels"][keys::REVISION_SET_NAME]);
    if owner != name {
        let detail = format!(
            "ControllerRevision {} has the label {}={}: it belongs to something else, and Pods will be refused",
            quoted(revision),
            keys::REVISION_SET_NAME,
            quoted(owner)
        );
        findings.warn("spec.injectionStrategy.revision.revisionName", detail, "A-EDGE-12");
    }
}

/// Why stored data does not apply to a set as a strategic merge patch; `None` if it does.
///
/// Rule: A-VAL-42.
fn restore_problem(data: &Value) -> Option<String> {
    if !data.is_object() {
        return Some("data is not an object".to_owned());
    }
    // What is merged has the types of the patch or of the live set, which is decodable.
    if let Some(finding) = decode::check(data).first() {
        return Some(format!("data.{finding}"));
    }
    let spec = &data["spec"];
    unknown_directive(data, "data").or_else(|| {
        let is_replaced = |value: &Value| value["$patch"] == "replace";
        let mut merged = MERGED_BY_NAME.iter().filter(|list| {
            !is_replaced(data) && !is_replaced(spec) && !items(&spec[**list]).any(is_replaced)
        });
        merged
            .find(|list| items(&spec[**list]).any(|item| item["name"].is_null()))
            .map(|list| format!("data.spec.{list} has an item without its name"))
    })
}

/// A `$patch` that is none of the words of a strategic merge patch. Below `replace` nothing is merged any more.
fn unknown_directive(value: &Value, path: &str) -> Option<String> {
    match value {
        Value::Object(map) => match map.get("$patch").map(|word| word.as_str().unwrap_or_default()) {
            Some("replace") => None,
            None | Some("merge" | "delete") => {
                map.iter().find_map(|(name, value)| unknown_directive(value, &format!("{path}.{name}")))
            }
            Some(word) => {
                Some(format!("{path}.$patch is {}, must be replace, merge or delete", quoted(word)))
            }
        },
        Value::Array(list) => list
            .iter()
            .enumerate()
            .find_map(|(index, item)| unknown_directive(item, &format!("{path}[{index}]"))),
        _ => None,
    }
}
