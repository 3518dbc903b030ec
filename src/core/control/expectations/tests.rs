use serde_json::json;

use super::*;
use crate::control::fixtures::mk_pod;

fn at(version: &str) -> PodFacts {
    mk_pod("p", &json!({"metadata": {"resourceVersion": version}}))
}

fn expecting(version: &str) -> Expectations {
    let mut expectations = Expectations::default();
    expectations.expect(PodKey::from(&at("1")), version, Duration::from_secs(100));
    expectations
}

fn is_met(expectations: &Expectations, pod: &PodFacts) -> bool {
    expectations.unmet(&[pod], Duration::from_secs(101)).count == 0
}

/// Rows C-T-EXP-1 to 3, 6 and 7, on resource versions. Rules: C-CTL-17, C-CTL-18, C-CTL-19, C-BUG-38.
#[test]
fn writes_are_waited_for_until_they_are_seen() {
    assert!(is_met(&Expectations::default(), &at("1")));
    for (observed, tested, expected) in
        [("1", "1", false), ("2", "2", true), ("1", "2", true), ("2", "3", true)]
    {
        let mut expectations = expecting("2");
        expectations.observe(&at(observed));
        assert_eq!(is_met(&expectations, &at(tested)), expected, "{observed} {tested}");
    }
    let mut seen = expecting("10");
    assert!(!is_met(&seen, &at("9")), "numbers, not texts");
    seen.observe(&at("11"));
    assert!(is_met(&seen, &at("9")), "it was seen");
    assert!(is_met(&expecting("oops"), &at("1")) && !is_met(&expecting("2"), &at("oops")));
}

/// Rules: C-CTL-20, C-BUG-1, C-RUST-6. Decision: D-30.
#[test]
fn no_write_is_waited_for_for_ever() {
    let mut deleted = expecting("2");
    deleted.forget("uid-p");
    assert!(is_met(&deleted, &at("1")));
    let gone = expecting("2").unmet(&[], Duration::from_secs(101));
    assert_eq!(gone, Unmet::default(), "a Pod that does not count any more");
    let same_name = mk_pod("p", &json!({"metadata": {"uid": "another"}}));
    assert!(is_met(&expecting("2"), &same_name));
    let pod = at("1");
    for (seconds, overdue) in [(109, 0), (110, 1)] {
        let unmet = expecting("2").unmet(&[&pod], Duration::from_secs(seconds));
        assert_eq!((unmet.count, unmet.overdue.len()), (1, overdue));
    }
}
