use serde_json::json;

use super::*;
use crate::control::fixtures::{SET, mk_pod, mk_set_object, refs};

/// The spec of rows C-T-REV-N1 and N2.
fn field_spec() -> Value {
    json!({"containers": [{
        "name": "sidecar1", "image": "mirrors-ssl.aliyuncs.com/centos:6.8", "command": ["sleep", "999d"],
        "imagePullPolicy": "IfNotPresent", "podInjectPolicy": "BeforeAppContainer",
        "shareVolumePolicy": {"type": "disabled"}, "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File", "upgradeStrategy": {"upgradeType": "ColdUpgrade"},
    }]})
}

/// Rows C-T-REV-N1 to N4. Rules: C-REV-5, C-REV-6, C-REV-7, C-REV-8.
#[test]
fn names() {
    let name = |spec: &Value, count: i64| revision_name(SET, &hash_string(&revision_data(spec), count));
    let names = |spec: &Value| [0, 1, 2].map(|count| name(spec, count).replace("test-sidecarset-", ""));
    assert_eq!(names(&field_spec()), ["7658c89f8d", "7658c89f8f", "7658c89f94"]);
    let plain = json!({"containers": [{"name": "container1", "image": "test-image"}], "volumes": [], "initContainers": null});
    assert_eq!(names(&plain), ["6f84bc646f", "6f84bc646d", "6f84bc6475"]);
    assert_eq!(
        revision_data(&plain),
        r#"{"spec":{"$patch":"replace","containers":[{"image":"test-image","name":"container1","resources":{},"shareVolumePolicy":{},"upgradeStrategy":{}}],"imagePullSecrets":null,"initContainers":null,"patchPodMetadata":null,"volumes":null}}"#
    );
    let escaped =
        json!({"containers": [{"name": "container1", "image": "test-image", "args": ["a<b&&c>d"]}]});
    assert_eq!(name(&escaped, 0), "test-sidecarset-64f4b5cb46");
    assert_eq!(
        revision_name(&"é".repeat(200), "x").len(),
        222 + 2,
        "cut at 223 bytes, not inside a character"
    );
}

/// Rule: C-REV-6.
#[test]
fn numbers_as_upstream_prints_them() {
    let cases = [
        (json!(5), "5"),
        (json!(-0.5), "-0.5"),
        (json!(1.0), "1"),
        (json!(9_007_199_254_740_993_i64), "9007199254740992"),
        (json!(1e20), "100000000000000000000"),
        (json!(1e21), "1e+21"),
        (json!(2.5e-7), "2.5e-7"),
        (json!(0), "0"),
    ];
    for (number, expected) in cases {
        let mut out = String::new();
        write_canonical(&mut out, &number);
        assert_eq!(out, expected);
    }
}

/// A set whose image is the given one, with the status of its last look.
fn mk(image: &str, more: &Value) -> SetFacts {
    let mut patch = json!({"spec": {"containers": [{"name": "c", "image": image}]}});
    json_patch::merge(&mut patch, more);
    mk_set_object(&patch)
}

/// What the API server makes of the writes.
fn apply(revisions: &mut Vec<RevisionFacts>, plan: &RevisionPlan) {
    for write in &plan.writes {
        match write {
            RevisionWrite::Create { body, .. } => revisions.push(RevisionFacts::from_json(body).unwrap()),
            RevisionWrite::Delete { name, .. } => revisions.retain(|revision| revision.name != *name),
            RevisionWrite::Patch { name, patch } => {
                let found = revisions.iter_mut().find(|revision| revision.name == *name).unwrap();
                found.number = patch["revision"].as_i64().unwrap_or(found.number);
                let labels = patch["metadata"]["labels"].as_object().into_iter().flatten();
                found
                    .labels
                    .extend(labels.map(|(key, value)| (key.clone(), value.as_str().unwrap().to_owned())));
            }
        }
    }
}

fn numbers(revisions: &[RevisionFacts]) -> Vec<i64> {
    let mut numbers: Vec<i64> = revisions.iter().map(|revision| revision.number).collect();
    numbers.sort_unstable();
    numbers
}

/// Rows C-T-REV-1 to 5, 9 and 10. Rules: C-REV-9, C-REV-13, C-REV-16, C-REV-17, C-REV-18, C-REV-20.
#[test]
fn history() {
    let mut revisions = Vec::new();
    let register = |revisions: &mut Vec<RevisionFacts>, image: &str| {
        let plan = plan(&mk(image, &json!({})), revisions, &[], "system");
        apply(revisions, &plan);
        let latest = revisions.iter().find(|revision| revision.name == plan.latest).unwrap();
        (latest.number, plan.writes.len())
    };
    assert_eq!(register(&mut revisions, "a"), (1, 1));
    assert_eq!(register(&mut revisions, "b"), (2, 1));
    assert_eq!(register(&mut revisions, "b"), (2, 0), "nothing to write");
    assert_eq!(register(&mut revisions, "a"), (3, 1), "rollback");
    assert_eq!(register(&mut revisions, "a"), (3, 0));
    assert_eq!(numbers(&revisions), [2, 3]);
    for image in 0..100 {
        register(&mut revisions, &format!("image-{image}"));
    }
    assert_eq!(numbers(&revisions), (94..=103).collect::<Vec<i64>>());
    assert_eq!(register(&mut revisions, "image-96").0, 104);
    assert_eq!(numbers(&revisions), [94, 95, 96, 97, 98, 99, 101, 102, 103, 104]);
}

/// Rows C-T-REV-6 to 8. Rules: C-REV-18, C-REV-19, C-REV-20, C-REV-21.
#[test]
fn trimming() {
    let names: Vec<String> = (1..=15).map(|number| format!("sidecar-{number}")).collect();
    let facts =
        |name: &String| RevisionFacts::from_json(&json!({"metadata": {"name": name}}).to_string()).unwrap();
    let facts: Vec<RevisionFacts> = names.iter().map(facts).collect();
    let list: Vec<(&str, Option<&RevisionFacts>)> =
        facts.iter().map(|it| (it.name.as_str(), Some(it))).collect();
    let set = mk("x", &json!({"spec": {"revisionHistoryLimit": 10}}));
    let pod = |name: &String| {
        let record = json!({SET: {"hash": "h", "controllerRevision": name}}).to_string();
        mk_pod(name, &json!({"metadata": {"annotations": {"kruise.io/sidecarset-hash": record}}}))
    };
    for (used, left) in [(1, 10), (8, 10), (9, 10), (10, 11), (11, 12), (14, 15), (15, 15), (20, 15)] {
        let pods: Vec<PodFacts> = names.iter().cycle().take(used).map(pod).collect();
        let (deleted, too_long) = trim(&set, &list, &refs(&pods));
        assert_eq!(15 - deleted.len(), left, "{used}");
        assert_eq!(too_long.is_some(), left > 10, "{used}");
        if used == 8 {
            let deleted: Vec<&str> = deleted.iter().map(|revision| revision.name.as_str()).collect();
            assert_eq!(deleted, ["sidecar-9", "sidecar-10", "sidecar-11", "sidecar-12", "sidecar-13"]);
        }
    }
    let unlimited = trim(&mk("x", &json!({"spec": {"revisionHistoryLimit": 0}})), &list, &[]);
    assert_eq!(unlimited.0.len(), 14, "at least one is kept");
    let pinned =
        mk("x", &json!({"spec": {"injectionStrategy": {"revision": {"revisionName": "sidecar-1"}}}}));
    assert!(trim(&pinned, &list, &[]).0.iter().all(|revision| revision.name != "sidecar-1"));
}

/// Of the revisions with the pinned custom version the newest is protected, which may be the latest: an emptied `customVersion` leaves
/// the label on it. Rules: C-REV-15, C-REV-19.
#[test]
fn pinned_custom_versions() {
    let pinned = json!({"spec": {"revisionHistoryLimit": 2, "injectionStrategy": {"revision": {"customVersion": "one"}}}});
    let revision = |name: &str, version: &str| {
        let metadata = json!({"name": name, "labels": {(keys::CUSTOM_VERSION): version}});
        RevisionFacts::from_json(&json!({"metadata": metadata}).to_string()).unwrap()
    };
    let deleted = |latest: &str| -> Vec<String> {
        let all = [revision("r1", "one"), revision("r2", "two"), revision("r3", latest)];
        let list: Vec<_> = all.iter().map(|revision| (revision.name.as_str(), Some(revision))).collect();
        trim(&mk("x", &pinned), &list, &[]).0.iter().map(|revision| revision.name.clone()).collect()
    };
    assert_eq!(deleted("three"), ["r2"], "r1 is pinned");
    assert_eq!(deleted("one"), ["r1"], "the latest is pinned");
}

/// What was deleted with its set is not made again, or foreground deletion would never end. Rule: C-REV-2, C-REV-13.
#[test]
fn a_set_that_is_being_deleted_gets_no_revision() {
    let live = mk("a", &json!({}));
    let mut revisions = Vec::new();
    apply(&mut revisions, &plan(&live, &[], &[], "system"));
    let name = revisions[0].name.clone();
    let status = json!({"latestRevision": name, "collisionCount": 0});
    let ending = json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}, "status": status});
    let ending = mk("a", &ending);
    let expected = RevisionPlan { latest: name, collision_count: 0, writes: vec![], too_long: None };
    assert_eq!(plan(&ending, &revisions, &[], "system"), expected);
    assert_eq!(plan(&ending, &[], &[], "system"), expected, "its revisions go first");
}

/// Rules: C-REV-10, C-REV-11, C-REV-12, C-REV-14, C-RUST-2, C-BUG-36. Decision: D-36.
#[test]
fn collisions_and_strangers() {
    let set = mk("a", &json!({}));
    let first = plan(&set, &[], &[], "system");
    let taken = |name: &str, data: &str, labels: &str| {
        RevisionFacts::from_json(&format!(
            r#"{{"metadata":{{"name":"{name}","labels":{labels}}},"data":{data},"revision":7}}"#
        ))
        .unwrap()
    };
    let foreign = taken(&first.latest, r#"{"other": 0}"#, "{}");
    assert_eq!(foreign.data, r#"{"other": 0}"#, "the bytes as they are stored");
    let collided = plan(&set, std::slice::from_ref(&foreign), &[], "system");
    assert_eq!(collided.collision_count, 1);
    assert_ne!(collided.latest, first.latest);
    let [RevisionWrite::Create { body, .. }] = &*collided.writes else { panic!("{collided:?}") };
    let created = RevisionFacts::from_json(body).unwrap();
    assert_eq!(
        Some(created.labels["controller.kubernetes.io/hash"].as_str()),
        first.latest.rsplit('-').next()
    );
    assert_eq!((created.owner_uid.as_deref(), created.number), (Some("set-uid"), 1));
    let same = taken(&first.latest, &set.revision_data, "{}");
    let found = plan(&set, &[same], &[], "system");
    assert_eq!((found.latest, found.writes, found.collision_count), (first.latest.clone(), vec![], 0));
    let own = format!(r#"{{"kruise.io/sidecarset-name":"{SET}"}}"#);
    let mut of_other = taken("x", &set.revision_data, &own);
    of_other.owner_uid = Some("another".to_owned());
    assert_eq!(plan(&set, &[of_other], &[], "system").writes.len(), 1, "not ours");
    let orphan = taken("kept-name", &set.revision_data, &own);
    assert_eq!(plan(&set, &[orphan], &[], "system").latest, "kept-name");
    let digits = |hash: &str| {
        let labels =
            format!(r#"{{"kruise.io/sidecarset-name":"{SET}","controller.kubernetes.io/hash":"{hash}"}}"#);
        taken("y", "{}", &labels)
    };
    let candidate = Candidate { data: "{}", hash: "45".to_owned(), number: 1 };
    assert_eq!(
        [digits("45"), digits("46"), digits("4x")].map(|other| candidate.equals(&other)),
        [true, false, true]
    );
}

/// Rules: C-REV-1, C-REV-2, C-REV-3, C-REV-4, C-REV-15, C-REV-17.
#[test]
fn custom_versions_and_the_object() {
    let set = mk("a", &json!({"metadata": {"labels": {"l": "1"}}, "spec": {"customVersion": "one"}}));
    let first = plan(&set, &[], &[], "system");
    let [RevisionWrite::Create { body, .. }] = &*first.writes else { panic!("{first:?}") };
    let object: Value = serde_json::from_str(body).unwrap();
    assert_eq!(object["metadata"]["namespace"], "system");
    assert_eq!(object["metadata"]["labels"]["l"], "1");
    assert_eq!(object["metadata"]["labels"]["apps.kruise.io/sidecarset-custom-version"], "one");
    assert_eq!(object["metadata"]["annotations"]["kruise.io/sidecarset-hash"], "bbb");
    assert_eq!(object["metadata"]["ownerReferences"][0]["blockOwnerDeletion"], true);
    let mut revisions = vec![RevisionFacts::from_json(body).unwrap()];
    let renamed = plan(&mk("a", &json!({"spec": {"customVersion": "two"}})), &revisions, &[], "system");
    apply(&mut revisions, &renamed);
    assert_eq!(revisions[0].labels["apps.kruise.io/sidecarset-custom-version"], "two");
    assert!(plan(&mk("a", &json!({})), &revisions, &[], "system").writes.is_empty(), "an emptied one stays");
}
