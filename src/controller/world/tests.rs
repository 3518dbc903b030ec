use serde_json::json;
use sidecarset_core::api::keys;

use super::*;

fn set(name: &str, spec: Value) -> Value {
    json!({
        "apiVersion": "apps.kruise.io/v1beta1", "kind": "SidecarSet",
        "metadata": {"name": name, "uid": name, "generation": 1, "resourceVersion": "1"}, "spec": spec,
    })
}

fn pod(name: &str, version: u64, injected: &str) -> PodObject {
    serde_json::from_value(json!({"metadata": {
        "namespace": "shop", "name": name, "uid": name, "resourceVersion": version.to_string(),
        "labels": {"app": "x"}, "annotations": {keys::INJECTED_LIST: injected},
    }}))
    .expect("a Pod")
}

fn names(due: &[Due]) -> Vec<&str> {
    due.iter().map(|(name, _)| &**name).collect()
}

/// Rule: C-CTL-4, C-BUG-4.
#[test]
fn a_set_is_looked_at_when_its_content_changes() {
    let mut world = World::default();
    let first = set("log", json!({"selector": {"matchLabels": {"app": "x"}}}));
    assert!(world.apply_set(&first).expect("a set").is_some());
    let mut status = first.clone();
    status["status"] = json!({"matchedPods": 3});
    status["metadata"]["resourceVersion"] = json!("2");
    assert!(world.apply_set(&status).expect("a set").is_none(), "its status is our own doing");
    let mut changed = first;
    changed["metadata"]["generation"] = json!(2);
    assert!(world.apply_set(&changed).expect("a set").is_some());
    world.apply_namespace("shop", Vec::new());
    assert_eq!(
        world.apply_set(&set("mesh", json!({"namespaceSelector": {}}))).expect("a set").map(|_| ()),
        Some(())
    );
    assert_eq!(names(&world.apply_namespace("shop", vec![("a".into(), "b".into())])), ["mesh"]);
    assert!(world.apply_namespace("shop", vec![("a".into(), "b".into())]).is_empty(), "nothing changed");
}

/// Rule: C-CTL-5, C-CTL-6.
#[test]
fn a_pod_concerns_the_sets_that_it_names_and_that_exist() {
    let mut world = World::default();
    for name in ["log", "mesh"] {
        world.apply_set(&set(name, json!({}))).expect("a set");
    }
    assert_eq!(names(&world.apply_pod(&pod("a", 1, "log,other"))), ["log"]);
    assert_eq!(
        names(&world.apply_pod(&pod("a", 2, "mesh"))),
        ["log", "mesh"],
        "the old list and the new one"
    );
    assert_eq!(names(&world.remove_pod("shop", "a", "a")), ["mesh"]);
}

/// Decision: D-30.
#[test]
fn the_end_of_a_pod_ends_what_was_expected_of_it() {
    let mut world = World::default();
    world.apply_set(&set("log", json!({"selector": {"matchLabels": {"app": "x"}}}))).expect("a set");
    world.apply_pod(&pod("a", 1, "log"));
    let start = Instant::now();
    assert!(world.look("log", start).is_some());
    let key = PodKey::from(&*world.pods.get(("shop", "a")).expect("there"));
    world.expect("log", key, "5", Duration::ZERO);
    let unmet = |world: &mut World| {
        let look = world.look("log", start).expect("the set");
        let pods: Vec<&PodFacts> = look.pods.iter().map(|pod| &**pod).collect();
        look.expectations.unmet(&pods, Duration::ZERO).count
    };
    assert_eq!(unmet(&mut world), 1);
    world.remove_pod("shop", "a", "a");
    world.apply_pod(&pod("a", 2, "log"));
    assert_eq!(unmet(&mut world), 0);
}

/// Decision: D-32.
#[test]
fn a_pod_that_cannot_be_written_waits_longer_each_time() {
    let mut world = World::default();
    world.apply_set(&set("log", json!({}))).expect("a set");
    let start = Instant::now();
    world.look("log", start);
    let back_off = |error: &str| BackOff { may_be_written: false, error: error.to_owned() };
    assert!(world.back_off("log", "u", back_off("no"), start), "told once");
    assert!(!world.back_off("log", "u", back_off("no"), start));
    assert!(world.back_off("log", "u", back_off("still no"), start));
    let look = world.look("log", start).expect("the set");
    assert_eq!(look.next_attempt, Some(start + 4 * FIRST_PAUSE));
    assert_eq!(look.back_offs.len(), 1);
    let later = world.look("log", start + 4 * FIRST_PAUSE).expect("the set");
    assert!(later.back_offs.is_empty(), "its time has come");
    assert!(world.look("gone", start).is_none());
}

#[test]
fn a_set_knows_its_revisions_and_canaries() {
    let mut world = World::default();
    world.apply_set(&set("log", json!({}))).expect("a set");
    let mut canary = set("canary", json!({}));
    canary["metadata"]["annotations"] = json!({keys::CANARY: "true", keys::CANARY_BASE: "log"});
    world.apply_set(&canary).expect("a set");
    let revision = json!({
        "metadata": {"name": "log-1", "labels": {keys::REVISION_SET_NAME: "log"}}, "revision": 1, "data": {},
    });
    let revision = RevisionFacts::from_json(&revision.to_string()).expect("a revision");
    assert_eq!(
        world.apply_revision(revision.clone()).map(|(name, _)| name.to_string()),
        Some("log".to_owned())
    );
    assert!(world.apply_revision(revision).is_none(), "nothing changed");
    let look = world.look("log", Instant::now()).expect("the set");
    assert_eq!(look.revisions.len(), 1);
    assert_eq!(look.relatives, BTreeSet::from(["canary".to_owned()]));
    let mut other = canary.clone();
    other["metadata"]["name"] = json!("canary-2");
    world.apply_set(&other).expect("a set");
    let look = world.look("canary", Instant::now()).expect("the canary");
    assert_eq!(look.relatives, BTreeSet::from(["canary-2".to_owned(), "log".to_owned()]));
    world.remove_set("canary-2");
    world.remove_set("canary");
    assert!(world.remove_revision("log-1").is_some() && world.remove_revision("log-1").is_none());
    let look = world.look("log", Instant::now()).expect("the set");
    assert!(look.revisions.is_empty() && look.relatives.is_empty());
}

#[test]
fn a_pod_that_missed_injection_concerns_the_sets_that_select_it() {
    let mut world = World::default();
    world.apply_set(&set("log", json!({"selector": {"matchLabels": {"app": "x"}}}))).expect("a set");
    world.apply_set(&set("other", json!({"selector": {"matchLabels": {"app": "y"}}}))).expect("a set");
    world.apply_pod(&pod("before", 1, ""));
    assert!(world.take_missed().is_empty(), "a replica that does not lead keeps none");
    world.begin_work();
    assert!(world.apply_pod(&pod("a", 1, "")).is_empty());
    assert!(world.apply_pod(&pod("b", 2, "")).is_empty());
    assert_eq!(names(&world.take_missed()), ["log"]);
    assert!(world.take_missed().is_empty(), "once");
    world.apply_pod(&pod("a", 3, ""));
    assert!(world.take_missed().is_empty(), "nothing that counts has changed");
    world.remove_pod("shop", "a", "a");
    assert_eq!(names(&world.take_missed()), ["log"], "there is one less");
    world.apply_pod(&pod("c", 4, "log"));
    assert!(world.take_missed().is_empty(), "it was injected");
}

/// Rule: C-BUG-10.
#[test]
fn a_set_that_goes_asks_for_a_look_at_conditions() {
    let mut world = World::default();
    world.apply_set(&set("log", json!({}))).expect("a set");
    let marked = |name: &str, conditions: Value| {
        let metadata = json!({"namespace": "shop", "name": name, "uid": name, "resourceVersion": "1"});
        serde_json::from_value(json!({"metadata": metadata, "status": {"conditions": conditions}}))
            .expect("a Pod")
    };
    let condition =
        json!([{"type": "SidecarSetUpgradable", "status": "False", "message": "{\"log\":false}"}]);
    world.apply_pod(&marked("a", condition));
    world.apply_pod(&marked("b", json!([])));
    assert!(world.take_pruning().is_none());
    world.remove_set("log");
    let (pods, known) = world.take_pruning().expect("it is due");
    assert_eq!((pods.len(), &*pods[0].name, known.len()), (1, "a", 0));
    assert!(world.take_pruning().is_none(), "once");
    world.prune_conditions();
    assert!(world.take_pruning().is_some(), "at a resync too");
}

/// What upstream's resource definition drops is written once, not again and again. Rule: C-STAT-9.
#[test]
fn conditions_that_the_api_server_drops() {
    let mut world = World::default();
    let mut written = set("log", json!({}));
    world.apply_set(&written).expect("a set");
    let mut drops = |written: &Value, had_conditions| {
        world.apply_written_set(written, had_conditions).expect("a set");
        world.look("log", Instant::now()).expect("the set").drops_conditions
    };
    assert!(!drops(&written, false), "nothing was to be kept");
    assert!(drops(&written, true));
    assert!(drops(&written, false), "it stays so");
    written["status"] = json!({"conditions": []});
    assert!(!drops(&written, true), "the definition is ours now");
}

/// Also that of a Pod which names no set, because it missed injection. Decision: D-32.
#[test]
fn the_end_of_a_pod_ends_its_pause() {
    let mut world = World::default();
    world.apply_set(&set("log", json!({"selector": {"matchLabels": {"app": "x"}}}))).expect("a set");
    let now = Instant::now();
    let failures = |world: &mut World| world.look("log", now).expect("the set").outcomes.failures;
    world.look("log", now);
    let refuse = |world: &mut World, uid: &str| {
        world.back_off("log", uid, BackOff { may_be_written: false, error: "no".to_owned() }, now);
    };
    for (name, times) in [("a", 1), ("b", 2)] {
        world.apply_pod(&pod(name, 1, ""));
        (0..times).for_each(|_| refuse(&mut world, name));
    }
    assert_eq!(failures(&mut world), BTreeMap::from([("a".to_owned(), 1), ("b".to_owned(), 2)]));
    world.remove_pod("shop", "a", "a");
    assert_eq!(failures(&mut world), BTreeMap::from([("b".to_owned(), 2)]));
    let mut other =
        serde_json::to_value(json!({"metadata": {"namespace": "shop", "name": "b"}})).expect("JSON");
    other["metadata"]["uid"] = json!("another");
    world.apply_pod(&serde_json::from_value(other).expect("a Pod"));
    assert!(failures(&mut world).is_empty(), "another Pod of that name");
}
