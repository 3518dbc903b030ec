//! The recorded answers about containers and volumes, and what the recording leaves open.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::Value;

use super::{Output, validate};

const RECORDED: &str =
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/conformance/sidecarset/validate.jsonl"));
const PRIVILEGED_OFF: &str = "--allow-privileged=false";

#[derive(Deserialize)]
struct Record {
    name: String,
    object: Value,
    flags: Option<Value>,
    upstream: Answer,
    expected: Option<Answer>,
    #[serde(default)]
    optional: Vec<Finding>,
}

#[derive(Deserialize)]
struct Answer {
    allowed: Option<bool>,
    findings: Option<BTreeSet<Finding>>,
}

#[derive(Debug, Clone, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
struct Finding {
    field: String,
    #[serde(rename = "type")]
    kind: String,
}

impl Finding {
    /// Whether the finding comes from a rule of this module: others use no index behind the list, and `spec` only when it is required.
    fn is_ours(&self) -> bool {
        ["spec.volumes[", "spec.containers[", "spec.initContainers["]
            .iter()
            .any(|list| self.field.starts_with(list))
            || self.field == "spec.hostNetwork"
            || (self.field == "spec" && self.kind != "FieldValueRequired")
    }
}

/// The recorded findings of our rules; `None` if the record does not tell.
fn recorded(record: &Record) -> Option<BTreeSet<Finding>> {
    let answer =
        record.expected.as_ref().filter(|answer| answer.findings.is_some()).unwrap_or(&record.upstream);
    match (&answer.findings, answer.allowed) {
        (Some(findings), _) => Some(findings.iter().filter(|finding| finding.is_ours()).cloned().collect()),
        (None, Some(true)) => Some(BTreeSet::new()),
        (None, _) => None,
    }
}

fn found(output: &Output) -> BTreeSet<Finding> {
    let pairs = output.findings.iter();
    pairs
        .map(|finding| Finding { field: finding.path.clone(), kind: finding.kind.as_str().to_owned() })
        .collect()
}

#[test]
fn every_recorded_answer_is_met() {
    let mut judged = 0;
    let mut differences = Vec::new();
    for line in RECORDED.lines() {
        let record: Record = serde_json::from_str(line).unwrap();
        let Some(mut expected) = recorded(&record) else { continue };
        let allow_privileged = record.flags.as_ref().is_none_or(|flags| flags != PRIVILEGED_OFF);
        let mut found = found(&validate(&record.object["spec"], allow_privileged));
        expected.retain(|finding| !record.optional.contains(finding));
        found.retain(|finding| !record.optional.contains(finding));
        judged += 1;
        if found != expected {
            let only = |a: &BTreeSet<Finding>, b: &BTreeSet<Finding>| {
                format!("{:?}", a.difference(b).collect::<Vec<_>>())
            };
            let (missing, extra) = (only(&expected, &found), only(&found, &expected));
            differences.push(format!("{}: missing {missing}, extra {extra}\n", record.name));
        }
    }
    let first: String = differences.iter().take(20).map(String::as_str).collect();
    assert!(differences.is_empty(), "{} of {judged} records differ:\n{first}", differences.len());
    assert_eq!(judged, 1910);
}
