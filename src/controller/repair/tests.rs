mod evictions;

use serde_json::{Value, json};
use sidecarset_core::api::keys;

use super::*;

/// A world with two sets, of which `log` asks for repair, and a Pod made in that second.
fn world(created: &str) -> World {
    let mut world = World::default();
    for (name, repair) in [("log", "Evict"), ("mesh", "")] {
        let metadata = json!({"name": name, "uid": name, "annotations": {keys::REPAIR: repair}});
        world.apply_set(&json!({"metadata": metadata, "spec": {}})).expect("a set");
    }
    world.apply_namespace("shop", vec![("team".to_owned(), "a".to_owned())]);
    add_pod(&mut world, created);
    world
}

fn add_pod(world: &mut World, created: &str) {
    let time = format!("1970-01-01T00:00:{created}Z");
    let metadata = json!({"namespace": "shop", "name": created, "uid": created, "creationTimestamp": time});
    world.apply_pod(&serde_json::from_value(json!({"metadata": metadata})).expect("a Pod"));
}

fn seen(answers: bool, webhook: &Value) -> Seen {
    Seen { answers, registered_unix: 5, reach: Reach::new(&json!({"webhooks": [webhook]})) }
}

fn names(due: &[Due]) -> Vec<&str> {
    due.iter().map(|(name, _)| &**name).collect()
}

/// The clock of this machine is no input. A process that begins while the webhook answers knows of no absence.
#[test]
fn absences_are_between_pods_that_were_made_while_it_answered() {
    let mut history = History::default();
    for (answers, newest) in [(true, 10), (true, 20), (false, 25), (false, 30), (true, 35), (true, 40)] {
        history.see(answers, newest);
    }
    assert_eq!(history.away, [(20, 35)]);
    let mut late = History::default();
    for (answers, newest) in [(false, 25), (false, 30), (true, 35)] {
        late.see(answers, newest);
    }
    assert_eq!(late.away, [(25, 35)], "what was before the first look is not known");
    for newest in 0..40 {
        late.see(newest % 2 == 0, newest);
    }
    assert_eq!(late.away.len(), MOST_ABSENCES);
}

#[test]
fn a_look_concerns_sets_when_it_shows_something_else() {
    let (mut world, mut view, now) = (world("07"), RepairView::default(), Instant::now());
    let all = json!({});
    assert_eq!(names(&view.take(seen(false, &all), &world, now)), ["log", "mesh"], "the first look");
    assert!(view.take(seen(false, &all), &world, now).is_empty());
    add_pod(&mut world, "09");
    assert_eq!(names(&view.take(seen(true, &all), &world, now)), ["log"], "it can be repaired now");
    assert_eq!(view.history.away, [(7, 9)]);
    assert!(view.take(seen(true, &all), &world, now).is_empty());
    let team = json!({"namespaceSelector": {"matchLabels": {"team": "a"}}});
    assert_eq!(names(&view.take(seen(true, &team), &world, now)), ["log", "mesh"]);
    assert!(view.take(seen(true, &team), &world, now).is_empty());
    world.apply_namespace("shop", vec![]);
    assert_eq!(
        names(&view.take(seen(true, &team), &world, now)),
        ["log", "mesh"],
        "a Namespace is left out now"
    );
}

/// What was seen long ago says nothing: a look may hang.
#[test]
fn health_does_not_last() {
    let (world, mut view, start) = (world("07"), RepairView::default(), Instant::now());
    view.take(seen(true, &json!({})), &world, start);
    assert!(view.is_healthy(start + LOOK_HOLDS - Duration::from_secs(1)));
    let late = start + LOOK_HOLDS;
    assert!(!view.is_healthy(late));
    assert_eq!(names(&view.take(seen(true, &json!({})), &world, late)), ["log"], "evictions go on");
    assert!(view.history.away.is_empty(), "nobody saw the webhook away");
}

#[test]
fn one_decision_sees_what_was_seen_last() {
    let (relatives, outcomes) = (BTreeSet::new(), Outcomes::default());
    let facts = |is_healthy, reach| RepairFacts {
        is_healthy,
        registered_unix: 5,
        away: vec![(7, 9)],
        reach,
        pause: Duration::from_secs(2),
    };
    let unknown = facts(false, None);
    let repair = unknown.repair(&relatives, &outcomes);
    assert_eq!((repair.webhook, repair.reach), (WebhookHealth::Unhealthy, None));
    let known = facts(true, Some(Arc::new(Reach::default())));
    let repair = known.repair(&relatives, &outcomes);
    let answers = WebhookHealth::Answers { registered_unix: 5, away: &[(7, 9)] };
    assert_eq!((repair.webhook, repair.reach), (answers, Some(&Reach::default())));
    assert_eq!(repair.pause, Duration::from_secs(2));
}
