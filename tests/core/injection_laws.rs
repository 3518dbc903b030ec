//! Laws of injection on generated sets, revisions and Pods; `laws.rs` has them, `generate.rs` draws the worlds.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::{self, Debug, Formatter};

use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Value, json};
use sidecarset_core::admission::Request;
use sidecarset_core::context::{Context, Draw};
use sidecarset_core::snapshot::Snapshot;

use crate::generate::{Choices, world};
use crate::laws::{Outcome, check};
use crate::world::{CONTEXT, World, apply, create, decide_request};

/// A Pod in its world; shown as the JSON that the fuzz target `inject` reads.
struct Case {
    world: World,
    pod: Value,
}

impl Debug for Case {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { world: World { sets, revisions, namespaces: _ }, pod } = self;
        write!(f, "{}", json!({"sets": sets, "revisions": revisions, "pod": pod}))
    }
}

/// Cases from bytes that proptest draws and shrinks.
fn mk_case() -> impl Strategy<Value = Case> {
    vec(any::<u8>(), 0..600).prop_map(|bytes| {
        let (world, pod) = world(&mut Choices::new(&bytes));
        Case { world, pod }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    /// The patch applies, nothing of the Pod is lost or reordered except by a rule, unknown members arrive, names and volumes
    /// are sound, the order of sets is no input, repeated admission changes nothing (D-5, D-20, D-24, D-27).
    #[test]
    fn laws_of_one_admission(case in mk_case()) {
        check(&case.world, &case.pod.to_string());
    }
}

/// The generator reaches every outcome, so that the laws above are about something.
#[test]
fn generated_worlds_reach_every_outcome() {
    let mut counts = [0_u32; 4];
    let mut state = 1_u64;
    for _ in 0..1_000 {
        let bytes: Vec<u8> = std::iter::repeat_with(|| {
            // A linear congruential generator is random enough, and the same every time.
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        })
        .take(500)
        .collect();
        let (world, pod) = world(&mut Choices::new(&bytes));
        let outcome = check(&world, &pod.to_string());
        let index = match outcome {
            Outcome::Unreadable => continue,
            Outcome::Unchanged => 0,
            Outcome::Changed => 1,
            Outcome::ChangedAgain => 2,
            Outcome::Denied => 3,
        };
        counts[index] += 1;
    }
    println!("unchanged, changed, changed again, denied: {counts:?}");
    assert!(counts.iter().all(|count| *count > 50), "{counts:?}");
    assert!(counts[1] > 300, "{counts:?}");
}

/// Counts Pods by key, as the shell does.
#[derive(Debug, Default)]
struct Counter {
    seen: RefCell<BTreeMap<u64, u64>>,
}

impl Draw for Counter {
    fn next_index(&self, key: u64) -> u64 {
        let mut seen = self.seen.borrow_mut();
        let index = seen.entry(key).or_default();
        *index += 1;
        *index - 1
    }
}

/// A set whose Pods get `side:stored` with this share, else `side:live`.
fn mk_partial(partition: &str) -> World {
    let container = |image: &str| json!([{"name": "side", "image": image}]);
    World {
        sets: vec![json!({
            "apiVersion": "apps.kruise.io/v1beta1", "kind": "SidecarSet",
            "metadata": {"name": "partial"}, "status": {"latestRevision": "partial-live"},
            "spec": {
                "selector": {"matchLabels": {"app": "web"}}, "containers": container("side:live"),
                "updateStrategy": {"partition": partition},
                "injectionStrategy": {"revision": {"revisionName": "partial-1", "policy": "Partial"}}}})],
        revisions: vec![json!({
            "metadata": {"name": "partial-1", "labels": {"kruise.io/sidecarset-name": "partial"}},
            "revision": 1, "data": {"spec": {"$patch": "replace", "containers": container("side:stored")}}})],
        namespaces: Vec::new(),
    }
}

/// A Pod of the owner with this number.
fn mk_owned(owner: u64) -> Value {
    json!({
        "metadata": {"generateName": "web-", "labels": {"app": "web"}, "ownerReferences": [
            {"uid": "no controller"}, {"uid": format!("owner-{owner}"), "controller": true}]},
        "spec": {"containers": [{"name": "app"}]}})
}

/// Whether the Pod has the stored revision.
fn has_stored(pod: &Value) -> bool {
    let containers = pod["spec"]["containers"].as_array().into_iter().flatten();
    let images: Vec<_> =
        containers.filter(|container| container["name"] == "side").map(|side| &side["image"]).collect();
    match images[..] {
        [image] if image == "side:stored" => true,
        [image] if image == "side:live" => false,
        _ => panic!("{images:?}"),
    }
}

fn draw(snapshot: &Snapshot, counter: &Counter, dry_run: bool, pod: &Value) -> Value {
    let request = Request { dry_run, ..create() };
    let context = Context { draw: counter, ..CONTEXT };
    apply(pod, &decide_request(&request, snapshot, &context, &pod.to_string()))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    /// Rule: I-REV-5. Decision: D-25.
    #[test]
    fn any_first_pods_of_an_owner_hold_the_share_within_one(percent in 1_u32..100, owner in any::<u64>()) {
        let snapshot = mk_partial(&format!("{percent}%")).snapshot();
        let (counter, pod) = (Counter::default(), mk_owned(owner));
        let mut stored = 0_u32;
        for count in 1..=60 {
            // Neither a dry run nor the repeated admission of a Pod counts.
            draw(&snapshot, &counter, true, &pod);
            let drawn = draw(&snapshot, &counter, false, &pod);
            prop_assert_eq!(&draw(&snapshot, &counter, false, &drawn), &drawn, "a Pod keeps its revision (D-24)");
            stored += u32::from(has_stored(&drawn));
            let share = f64::from(percent) / 100.0 * f64::from(count);
            prop_assert!((f64::from(stored) - share).abs() <= 1.0, "{stored} of {count} at {percent}%");
        }
    }
}

/// Decision: D-25: the first Pods of many owners, and bare Pods, hold the share too.
#[test]
fn over_many_owners_the_share_holds() {
    for percent in [5_u32, 30, 50, 95] {
        let snapshot = mk_partial(&format!("{percent}%")).snapshot();
        let counter = Counter::default();
        let bare = |number: u64| json!({"metadata": {"name": format!("p{number}"), "labels": {"app": "web"}}, "spec": {}});
        for mk_pod in [mk_owned, bare] {
            let stored = (0..2_000)
                .filter(|number| has_stored(&draw(&snapshot, &counter, false, &mk_pod(*number))))
                .count();
            // Three standard deviations of 2,000 independent draws are at most 3.4 percent.
            let found = stored as f64 / 20.0;
            assert!((found - f64::from(percent)).abs() < 3.5, "{found}% instead of {percent}%");
        }
    }
}

/// Decision: D-25: a Pod without owner and `generateName` draws from its name alone, so a retry draws the same.
#[test]
fn a_bare_pod_always_draws_the_same() {
    let snapshot = mk_partial("50%").snapshot();
    let counter = Counter::default();
    let pod = json!({"metadata": {"name": "bare", "labels": {"app": "web"}}, "spec": {}});
    let first = draw(&snapshot, &counter, false, &pod);
    assert!((0..20).all(|_| draw(&snapshot, &counter, false, &pod) == first));
}
