//! The allocation gate: what one admission of the yardstick's Pod with its two sets takes from the heap (design, section 7).

use serde_json::Value;
use sidecarset_core::admission::{Decision, Verdict, admit};
use sidecarset_core::pod::PodLook;

use crate::world::{CONTEXT, World, create};

/// Allocations from the text of the Pod to the decision, patch included.
const LIMIT: u64 = 40;

const SETS: &str =
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/bench/sidecarsets/sets.json"));
const REVIEW: &str =
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/bench/review-12k.json"));

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

/// Rule: I-DEF-30.
#[test]
fn an_admission_with_two_sets_stays_within_the_gate() {
    let sets = parsed(SETS)["items"].as_array().unwrap().clone();
    let snapshot = World::of(sets).snapshot();
    let pod = parsed(REVIEW)["request"]["object"].to_string();
    let mut decision = Decision::default();
    let measured = allocation_counter::measure(|| {
        let look = PodLook::from_json(&pod).unwrap();
        decision = admit(&create(), &look, &snapshot, &CONTEXT).unwrap();
    });
    assert!(matches!(decision.verdict, Verdict::Patch(_)));
    assert_eq!(decision.injected.len(), 2);
    println!("{} allocations, {} bytes in all", measured.count_total, measured.bytes_total);
    assert!(measured.count_total <= LIMIT, "{} allocations, at most {LIMIT}", measured.count_total);
}
