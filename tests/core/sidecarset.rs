//! Defaulting, hashes and conversion of SidecarSets against the recorded answers (tests/conformance/sidecarset).

use serde::Deserialize;
use serde_json::Value;
use sidecarset_core::api::{convert, decode, keys};
use sidecarset_core::{defaulting, hash};

use crate::normal_form::{differences, normal_form};

macro_rules! recorded {
    ($file:literal) => {
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/conformance/", $file, ".jsonl"))
    };
}

/// A record of any of the files.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Record {
    name: String,
    object: Value,
    old_object: Option<Value>,
    operation: Option<String>,
    deviation: Option<String>,
    upstream: Option<Answer>,
    expected: Option<Answer>,
    hash: Option<String>,
    hash_without_image: Option<String>,
    to: Option<String>,
}

#[derive(Deserialize)]
struct Answer {
    allowed: Option<bool>,
    code: Option<u16>,
    document: Option<Value>,
    unchanged: Option<bool>,
    object: Option<Value>,
    back: Option<Value>,
    error: Option<String>,
}

/// Judges every record of a file; fails with the first few that differ, and checks that none got lost on the way.
///
/// A record with a deviation but without an expected answer has no agreed answer (README): `skipped` of them.
fn judge(file: &str, judged: usize, skipped: usize, verdict: impl Fn(&Record) -> Result<(), String>) {
    let records: Result<Vec<Record>, _> = file.lines().map(serde_json::from_str).collect();
    let records = records.unwrap_or_else(|error| panic!("recorded answers: {error}"));
    let (agreed, open): (Vec<_>, Vec<_>) =
        records.iter().partition(|record| record.deviation.is_none() || record.expected.is_some());
    let failures: Vec<String> = agreed
        .iter()
        .filter_map(|record| Some(format!("{}:\n{}", record.name, verdict(record).err()?)))
        .collect();
    let first: String = failures.iter().take(5).map(String::as_str).collect();
    assert!(failures.is_empty(), "{} of {} records differ:\n{first}", failures.len(), agreed.len());
    assert_eq!((agreed.len(), open.len()), (judged, skipped));
}

fn equal(expected: &Value, found: &Value) -> Result<(), String> {
    let lines = differences(expected, found);
    if lines.is_empty() { Ok(()) } else { Err(lines) }
}

fn findings(object: &Value) -> String {
    decode::check(object).iter().map(|finding| format!("    {finding}\n")).collect()
}

fn defaulted(object: &Value) -> Result<Value, String> {
    let mut object = object.clone();
    defaulting::apply(&mut object);
    defaulting::set_hash_annotations(&mut object).map_err(|found| format!("    {found:?}\n"))?;
    Ok(object)
}

fn annotations(object: &mut Value) -> Option<&mut serde_json::Map<String, Value>> {
    object.get_mut("metadata")?.get_mut("annotations")?.as_object_mut()
}

/// What our mutating webhook would answer, as far as the core decides it.
fn judge_mutation(record: &Record) -> Result<(), String> {
    let answer = record.expected.as_ref().or(record.upstream.as_ref()).ok_or("no answer")?;
    let refused = findings(&record.object);
    match (answer.allowed, refused.is_empty()) {
        (Some(true), true) => {}
        (Some(false), false) => return Ok(()),
        (Some(true), false) => return Err(format!("    must be decodable:\n{refused}")),
        _ => return Err("    must not be decodable\n".to_owned()),
    }
    let mutates = matches!(record.operation.as_deref(), Some("CREATE" | "UPDATE"));
    let mut found = if mutates { defaulted(&record.object)? } else { record.object.clone() };
    if answer.unchanged == Some(true) {
        equal(&record.object, &found)?;
    }
    // `{"allowed": true}` alone: only the verdict is agreed.
    let Some(document) = &answer.document else { return Ok(()) };
    let mut expected = document.clone();
    if record.deviation.is_some()
        && annotations(&mut expected).is_some_and(|map| !map.contains_key(keys::HASH))
    {
        // The hash of an object with unknown members is ours alone (D-11).
        for key in [keys::HASH, keys::HASH_WITHOUT_IMAGE] {
            annotations(&mut found).and_then(|map| map.shift_remove(key)).ok_or("    no hash\n")?;
        }
    }
    equal(&normal_form(&expected), &normal_form(&found))
}

fn judge_hash(record: &Record) -> Result<(), String> {
    let mut object = defaulted(&record.object)?;
    let map = annotations(&mut object).ok_or("    no annotations\n")?;
    for (key, hash) in [(keys::HASH, &record.hash), (keys::HASH_WITHOUT_IMAGE, &record.hash_without_image)] {
        let hash = hash.as_deref().ok_or("    nothing recorded\n")?;
        if map.get(key).and_then(Value::as_str) != Some(hash) {
            return Err(format!("    {key}: expected {hash}, found {:?}\n", map.get(key)));
        }
    }
    Ok(())
}

fn judge_conversion(record: &Record) -> Result<(), String> {
    let answer = record.expected.as_ref().or(record.upstream.as_ref()).ok_or("no answer")?;
    let version =
        |short: &str| if short.is_empty() { String::new() } else { format!("apps.kruise.io/{short}") };
    let mut object = record.object.clone();
    let desired = version(record.to.as_deref().unwrap_or_default());
    let result = convert::convert(&mut object, &desired);
    if let Some(error) = &answer.error {
        return match result {
            Ok(()) => Err(format!("    must fail: {error}\n")),
            Err(_) => Ok(()),
        };
    }
    result.map_err(|error| format!("    {error}\n"))?;
    let expected = answer.object.as_ref().ok_or("    nothing recorded\n")?;
    equal(&normal_form(expected), &normal_form(&object))?;
    let Some(back) = &answer.back else { return Ok(()) };
    let from = record.object["apiVersion"].as_str().unwrap_or_default();
    convert::convert(&mut object, from).map_err(|error| format!("    back: {error}\n"))?;
    equal(&normal_form(back), &normal_form(&object))
}

/// Rule: A-DEF-2.
#[test]
fn defaulting_answers_as_recorded() {
    judge(recorded!("sidecarset/mutate"), 432, 2, judge_mutation);
}

#[test]
fn hashes_are_the_recorded_ones() {
    judge(recorded!("sidecarset/hash"), 260, 0, judge_hash);
}

/// Rule: A-CONV-1.
#[test]
fn conversion_answers_as_recorded() {
    judge(recorded!("sidecarset/convert"), 137, 3, judge_conversion);
}

/// The decode check against all that the validating webhook was asked: only what it could not read has a finding.
#[test]
fn only_undecodable_objects_have_findings() {
    let mut undecodable = 0;
    for line in recorded!("sidecarset/validate").lines() {
        let record: Record = serde_json::from_str(line).unwrap();
        let update = record.operation.as_deref() == Some("UPDATE");
        let refused = record.upstream.as_ref().and_then(|answer| answer.code) == Some(400);
        // An UPDATE without the old object is refused for another reason.
        if !(update && record.old_object.is_none()) {
            assert_eq!(findings(&record.object).is_empty(), !refused, "{}", record.name);
            undecodable += usize::from(refused);
        }
    }
    assert_eq!(undecodable, 24);
}

/// The stored sets of the injection worlds carry the hashes that upstream gave them.
///
/// Left out are those that bypassed admission (label `corpus-raw`).
#[test]
fn hashes_of_the_stored_sets_are_those_they_carry() {
    let worlds = [
        recorded!("injection/hand"),
        recorded!("injection/random"),
        recorded!("injection/fuzz"),
        recorded!("injection/gates"),
    ];
    let mut compared = 0;
    for line in worlds.iter().flat_map(|file| file.lines()) {
        let world: Value = serde_json::from_str(line).unwrap();
        for set in world["sidecarSets"].as_array().unwrap() {
            let metadata = &set["metadata"];
            if metadata["labels"].get("corpus-raw").is_some() {
                continue;
            }
            let hashes = hash::of_sidecarset(set).unwrap();
            let carried = &metadata["annotations"];
            let place = format!("{} {}", world["world"], metadata["name"]);
            assert_eq!(carried[keys::HASH], hashes.hash, "{place}");
            assert_eq!(carried[keys::HASH_WITHOUT_IMAGE], hashes.without_image, "{place}");
            compared += 1;
        }
    }
    assert_eq!(compared, 454);
}
