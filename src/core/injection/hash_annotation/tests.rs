//! Tables of I-ANN-1 to I-ANN-3, and what upstream wrote for the annotations of recorded Pods.

use serde_json::Value;

use super::*;

/// Reads and writes again.
fn rewritten(text: &str) -> String {
    let mut out = String::new();
    write(&parse(text).expect("an object").entries, &mut out);
    out
}

#[test]
fn i_ann_1_what_is_accepted() {
    for (text, written) in [
        ("", "{}"),
        ("null", "{}"),
        (" { } ", "{}"),
        (
            r#"{"b":"1","a":"2"}"#,
            r#"{"a":{"updateTimestamp":null,"hash":"2","sidecarSetName":"a","sidecarList":null},"b":{"updateTimestamp":null,"hash":"1","sidecarSetName":"b","sidecarList":null}}"#,
        ),
        // A null beside strings is legacy too, else an entry without members.
        (
            r#"{"a":"x","b":null}"#,
            r#"{"a":{"updateTimestamp":null,"hash":"x","sidecarSetName":"a","sidecarList":null},"b":{"updateTimestamp":null,"hash":"","sidecarSetName":"b","sidecarList":null}}"#,
        ),
        (
            r#"{"a":null}"#,
            r#"{"a":{"updateTimestamp":null,"hash":"","sidecarSetName":"","sidecarList":null}}"#,
        ),
        (
            r#"{"old":{"controllerRevision":"r","sidecarList":["b","a"],"sidecarSetName":"old","hash":"h","updateTimestamp":"2020-01-02T03:04:05.678+02:00","foo":{"bar":1}}}"#,
            r#"{"old":{"updateTimestamp":"2020-01-02T01:04:05Z","hash":"h","sidecarSetName":"old","sidecarList":["b","a"],"controllerRevision":"r"}}"#,
        ),
        (
            r#"{"a":{"HASH":"x","SidecarSetName":"n","sidecarlist":["q"],"hash":"y"}}"#,
            r#"{"a":{"updateTimestamp":null,"hash":"y","sidecarSetName":"n","sidecarList":["q"]}}"#,
        ),
        (
            r#"{"a":{"hash":"1","hash":null,"sidecarList":[null,"a"],"updateTimestamp":"0001-01-01T00:00:00Z","controllerRevision":""}}"#,
            r#"{"a":{"updateTimestamp":null,"hash":"1","sidecarSetName":"","sidecarList":["","a"]}}"#,
        ),
        (
            r#"{"a":{"hash":"1"},"a":{"sidecarSetName":"2","sidecarList":[]}}"#,
            r#"{"a":{"updateTimestamp":null,"hash":"","sidecarSetName":"2","sidecarList":[]}}"#,
        ),
        (
            r#"{"<":{"hash":"<&>\u2028","sidecarSetName":"\u00e9"}}"#,
            r#"{"\u003c":{"updateTimestamp":null,"hash":"\u003c\u0026\u003e\u2028","sidecarSetName":"é","sidecarList":null}}"#,
        ),
    ] {
        assert_eq!(rewritten(text), written, "{text}");
        assert_eq!(rewritten(&rewritten(text)), written, "{text} twice");
    }
}

#[test]
fn i_def_9_bad_entries_are_dropped_and_told() {
    for (value, reason) in [
        ("5", "expected an object, found a number"),
        ("[]", "expected an object, found an array"),
        ("true", "expected an object, found a boolean"),
        (r#"{"hash":5}"#, "hash: expected a string, found a number"),
        (r#"{"sidecarSetName":[]}"#, "sidecarSetName: expected a string, found an array"),
        (r#"{"controllerRevision":{}}"#, "controllerRevision: expected a string, found an object"),
        (r#"{"sidecarList":"x"}"#, "sidecarList: expected an array, found a string"),
        (r#"{"sidecarList":["x",1]}"#, "sidecarList: expected strings, found a number"),
        (r#"{"updateTimestamp":{}}"#, "updateTimestamp: expected a string, found an object"),
        (
            r#"{"updateTimestamp":"yesterday"}"#,
            "updateTimestamp: expected a time like \"2026-07-02T09:56:09Z\", found \"yesterday\"",
        ),
    ] {
        let text = format!(r#"{{"good":"1","bad":{{}},"bad":{value}}}"#);
        let parsed = parse(&text).expect("an object");
        assert_eq!(parsed.entries.keys().collect::<Vec<_>>(), ["good"], "{text}");
        assert_eq!(parsed.dropped, [format!("entry \"bad\" is dropped: {reason}")], "{text}");
    }
    let long = format!(r#"{{"a":{{"updateTimestamp":"{}"}}}}"#, "é".repeat(10_000));
    let parsed = parse(&long).expect("an object");
    assert!(parsed.dropped.iter().all(|told| told.chars().count() < 200), "{:?}", parsed.dropped);
}

#[test]
fn i_def_9_mixed_forms_are_read_entry_by_entry() {
    assert_eq!(
        rewritten(r#"{"a":"x","b":{"hash":"y"}}"#),
        r#"{"a":{"updateTimestamp":null,"hash":"x","sidecarSetName":"a","sidecarList":null},"b":{"updateTimestamp":null,"hash":"y","sidecarSetName":"","sidecarList":null}}"#
    );
}

#[test]
fn i_ann_1_what_is_no_object_is_an_error() {
    for (text, found) in [
        ("oops", "no JSON"),
        ("{", "no JSON"),
        (" ", "no JSON"),
        (r#"{"old":"x"} x"#, "no JSON"),
        ("5", "a number"),
        ("[]", "an array"),
        ("\"x\"", "a string"),
        ("true", "a boolean"),
    ] {
        assert_eq!(parse(text), Err(NotAnObject { found }), "{text}");
    }
}

#[test]
fn i_def_34_entries_are_compared_without_their_time() {
    let names = ["a".to_owned(), "b".to_owned()];
    let entry = Entry {
        update_timestamp: Some(1),
        hash: "h".into(),
        set_name: "s".into(),
        sidecar_list: Some(names.as_slice().into()),
        controller_revision: "r".into(),
        ..Entry::default()
    };
    let later =
        Entry { update_timestamp: Some(2), sidecar_list: Some(names.to_vec().into()), ..entry.clone() };
    assert!(entry.same_but_time(&later));
    assert!(entry.same_but_time(&Entry { update_timestamp: None, ..entry.clone() }));
    for other in [
        Entry { hash: "x".into(), ..entry.clone() },
        Entry { set_name: "x".into(), ..entry.clone() },
        Entry { sidecar_list: None, ..entry.clone() },
        Entry { controller_revision: "".into(), ..entry.clone() },
    ] {
        assert!(!entry.same_but_time(&other), "{other:?}");
    }
}

/// Checks one annotation of one recorded Pod: the entries of sets that are not injected come out as upstream or the decision
/// has them. `None` if the Pod does not carry it, or was denied for another reason.
fn check(world: &Value, request: &Value, key: &str) -> Option<()> {
    let text = request["object"]["metadata"]["annotations"][key].as_str()?;
    let answer = if request["deviation"].is_null() { &request["upstream"] } else { &request["expected"] };
    let name = format!("{} {} {key}", world["world"], request["name"]);
    if answer["allowed"] != true {
        if !answer["message"].as_str()?.contains(&format!("annotations[{key}]")) {
            return None;
        }
        assert!(parse(text).is_err(), "{name}");
        return Some(());
    }
    let written = answer["document"]["metadata"]["annotations"][key].as_str()?;
    let mut expected: Value = serde_json::from_str(written).expect("a recorded map");
    let mut ours: Value = serde_json::from_str(&rewritten(text)).expect("our own text");
    for set in world["sidecarSets"].as_array()? {
        for map in [&mut expected, &mut ours] {
            map.as_object_mut()?.remove(set["metadata"]["name"].as_str()?);
        }
    }
    // The normal form of the recorded documents.
    for entry in ours.as_object_mut()?.values_mut() {
        if entry["updateTimestamp"].is_string() {
            entry["updateTimestamp"] = "1970-01-01T00:00:00Z".into();
        }
    }
    assert_eq!(ours, expected, "{name}");
    Some(())
}

#[test]
fn answers_of_upstream() {
    let file = include_str!("../../../../tests/conformance/injection/hand.jsonl");
    let keys = [crate::api::keys::HASH, crate::api::keys::HASH_WITHOUT_IMAGE];
    let mut checked = 0;
    for line in file.lines() {
        let world: Value = serde_json::from_str(line).expect("a recorded world");
        let name = world["world"].as_str().unwrap_or_default();
        if ["ann_times", "t_inj_9", "null_maps"].iter().any(|prefix| name.starts_with(prefix)) {
            let requests = world["requests"].as_array().into_iter().flatten();
            checked +=
                requests.flat_map(|request| keys.map(|key| check(&world, request, key))).flatten().count();
        }
    }
    assert!(checked > 90, "only {checked} recorded annotations were found");
}
