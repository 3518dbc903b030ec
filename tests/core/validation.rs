//! Validation of SidecarSets against the recorded answers (tests/conformance/sidecarset/validate.jsonl).

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::Value;
use sidecarset_core::api::{convert, decode};
use sidecarset_core::defaulting;
use sidecarset_core::revision::Revisions;
use sidecarset_core::snapshot::DEFAULT_REVISION_NAMESPACE;
use sidecarset_core::validation::{self, ClusterView, Options, StoredSets, Validation};

const RECORDED: &str =
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/conformance/sidecarset/validate.jsonl"));

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Record {
    name: String,
    operation: String,
    object: Value,
    old_object: Option<Value>,
    #[serde(default)]
    existing: Vec<Value>,
    #[serde(default)]
    revisions: Vec<Value>,
    whitelist: Option<Value>,
    flags: Option<String>,
    deviation: Option<String>,
    upstream: Answer,
    expected: Option<Answer>,
    #[serde(default)]
    optional: BTreeSet<Finding>,
}

#[derive(Deserialize)]
struct Answer {
    allowed: bool,
    code: Option<u16>,
    findings: Option<BTreeSet<Finding>>,
}

/// Field and type: what is compared. The words are ours (D-3).
#[derive(Deserialize, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Finding {
    field: String,
    r#type: String,
}

fn options(flags: Option<&str>) -> Options {
    match flags {
        None => Options::default(),
        Some("--feature-gates=SidecarSetPatchPodMetadataDefaultsAllowed=true") => {
            Options { patch_metadata_defaults_allowed: true, ..Options::default() }
        }
        Some("--allow-privileged=false") => Options { allow_privileged: false, ..Options::default() },
        Some(other) => panic!("unknown flags {other}"),
    }
}

/// The form that validation asks for; `None` if the object cannot be decoded.
fn decoded(object: &Value) -> Option<Value> {
    let mut object = object.clone();
    if !decode::check(&object).is_empty() {
        return None;
    }
    if object["apiVersion"] == decode::V1ALPHA1 {
        convert::convert(&mut object, decode::V1BETA1).ok()?;
    }
    Some(object)
}

/// Our answer; `None` if the request cannot be decoded.
fn answer(record: &Record) -> Option<Validation> {
    let set = decoded(&record.object)?;
    let existing: Vec<Value> = record.existing.iter().filter_map(decoded).collect();
    assert_eq!(existing.len(), record.existing.len(), "{}: stored sets are decodable", record.name);
    let revisions: Vec<Value> = record
        .revisions
        .iter()
        .filter(|revision| revision["metadata"]["namespace"] == DEFAULT_REVISION_NAMESPACE)
        .cloned()
        .collect();
    let cluster = ClusterView {
        sets: &StoredSets::new(&existing),
        revisions: &Revisions::new(&revisions),
        allow_list: record.whitelist.as_ref().map(|map| &map["data"]),
    };
    let options = options(record.flags.as_deref());
    if record.operation == "UPDATE" {
        // Without the old object an UPDATE is no usable request (A-VAL-72).
        let old = decoded(record.old_object.as_ref()?)?;
        Some(validation::update(&old, &set, &cluster, options))
    } else {
        Some(validation::create(&set, &cluster, options))
    }
}

fn lines(sign: char, findings: impl Iterator<Item = Finding>) -> String {
    findings.map(|finding| format!("    {sign} {} {}\n", finding.field, finding.r#type)).collect()
}

/// What differs, empty if nothing does: `-` is missing, `+` too much.
fn differences(record: &Record) -> String {
    let expected = record.expected.as_ref().unwrap_or(&record.upstream);
    let Some(ours) = answer(record) else {
        let decodable = expected.code != Some(400);
        return if decodable { "    must be decodable\n".to_owned() } else { String::new() };
    };
    let found: BTreeSet<Finding> = ours
        .findings
        .iter()
        .map(|finding| Finding { field: finding.path.clone(), r#type: finding.kind.as_str().to_owned() })
        .collect();
    let mut told = String::new();
    if expected.code == Some(400) {
        told.push_str("    must not be decodable\n");
    }
    // What is optional decides the verdict where nothing else is wrong.
    if record.optional.is_empty() && expected.allowed != found.is_empty() {
        told.push_str(if expected.allowed { "    must be allowed\n" } else { "    must be denied\n" });
    }
    let listed = match &expected.findings {
        None if expected.allowed => BTreeSet::new(),
        // Only the verdict is agreed.
        None => found.clone(),
        Some(listed) => listed.clone(),
    };
    told +=
        &lines('-', listed.difference(&found).filter(|finding| !record.optional.contains(finding)).cloned());
    told += &lines('+', found.difference(&listed).cloned());
    if !told.is_empty() {
        told.extend(ours.findings.iter().map(|finding| format!("      {finding}\n")));
    }
    told
}

/// What the recording allows stays allowed when it is defaulted, and defaulted again. Sets without an update type are left
/// out: as long as it is absent, nothing of the update strategy is checked (A-VAL-30).
#[test]
fn what_is_allowed_stays_allowed_when_defaulted_twice() {
    let records = RECORDED.lines().map(|line| serde_json::from_str::<Record>(line).unwrap());
    let mut judged = 0;
    let has_type = |record: &Record| {
        record.object["spec"]["updateStrategy"]["type"].as_str().is_some_and(|kind| !kind.is_empty())
    };
    let allowed = |record: &Record| record.upstream.allowed && record.deviation.is_none();
    for mut record in records.filter(|record| allowed(record) && has_type(record)) {
        for _ in 0..2 {
            defaulting::apply(&mut record.object);
            assert_eq!(answer(&record).unwrap().findings, [], "{}", record.name);
        }
        judged += 1;
    }
    assert_eq!(judged, 830);
}

/// Every record of `tests/conformance/sidecarset/validate.jsonl`.
#[test]
fn validation_answers_as_recorded() {
    let records: Vec<Record> = RECORDED.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let (agreed, open): (Vec<_>, Vec<_>) = records.iter().partition(|record| {
        record.deviation.is_none() || record.expected.is_some() || !record.optional.is_empty()
    });
    let failures: Vec<String> = agreed
        .iter()
        .map(|record| (record, differences(record)))
        .filter(|(_, told)| !told.is_empty())
        .map(|(record, told)| format!("{}:\n{told}", record.name))
        .collect();
    let first: String = failures.iter().take(20).map(String::as_str).collect();
    assert!(failures.is_empty(), "{} of {} records differ:\n{first}", failures.len(), agreed.len());
    assert_eq!((agreed.len(), open.len()), (1935, 0));
}
