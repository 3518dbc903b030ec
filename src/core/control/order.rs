//! In which order waiting Pods are upgraded.

use std::cmp::{Ordering, Reverse};

use super::pod::{Phase, Place, PodFacts, StatusFact};
use super::scatter;
use super::set::{Priority, SetFacts};
use crate::selector::Labels;

/// Sorts waiting Pods, first to be upgraded first: default order, then priority, then scatter. `matched` are all matched Pods,
/// sorted by namespace and name; the result does not depend on the order of `waiting`.
///
/// Rules: C-SORT-1, C-SORT-3, C-SORT-5, C-UPD-5. Decision: D-31.
pub(super) fn sort<'p>(
    set: &SetFacts,
    waiting: Vec<&'p PodFacts>,
    matched: &[&PodFacts],
) -> Vec<&'p PodFacts> {
    let mut waiting = waiting;
    waiting.sort_by(|a, b| by_default(a, b));
    match &set.update.priority {
        Some(Priority::Weight(terms)) => waiting.sort_by_key(|pod| {
            let weights = terms.iter().filter(|(selector, _)| selector.matches(*pod));
            Reverse(weights.fold(0_i64, |sum, (_, weight)| sum.saturating_add(*weight)))
        }),
        Some(Priority::Order(keys)) => waiting.sort_by_key(|pod| rank_by_keys(keys, pod)),
        None => {}
    }
    scatter::spread(&set.update.scatter, waiting, matched)
}

/// The first term whose key the Pod has, then the number in that label, higher first. Pods without any key come first.
///
/// Rules: C-SORT-4, C-BUG-19.
fn rank_by_keys(keys: &[Box<str>], pod: &PodFacts) -> (Option<usize>, Reverse<u64>) {
    let found = keys.iter().enumerate().find_map(|(level, key)| Some((level, pod.value(key)?)));
    found.map_or((None, Reverse(0)), |(level, value)| (Some(level), Reverse(trailing_number(value))))
}

/// The number in the trailing digits, 0 if there are none or too many.
fn trailing_number(text: &str) -> u64 {
    let start = text.trim_end_matches(|c: char| c.is_ascii_digit()).len();
    text.get(start..).and_then(|digits| digits.parse::<i64>().ok()).map_or(0, i64::unsigned_abs)
}

/// Least harm first: not on a node, not running, not ready, ready for the shortest time, most restarts, youngest. Equal ones by
/// namespace and name.
///
/// Rules: C-SORT-2, C-RUST-11. Decision: D-31.
fn by_default(a: &PodFacts, b: &PodFacts) -> Ordering {
    /// A missing time first, then the later one.
    fn later_first(time: Option<i64>) -> (bool, Reverse<i64>) {
        (time.is_some(), Reverse(time.unwrap_or_default()))
    }
    let rank = |pod: &PodFacts| {
        let phase =
            if matches!(pod.phase, Phase::Unknown | Phase::Running) { pod.phase } else { Phase::Pending };
        let since = if pod.is_ready { pod.ready_since_unix } else { None };
        (
            (pod.node.is_some(), phase, pod.is_ready),
            later_first(since),
            Reverse(most_restarts(pod.regular_statuses())),
            Reverse(most_restarts(native_statuses(pod))),
            later_first(pod.created_unix),
        )
    };
    rank(a).cmp(&rank(b)).then_with(|| a.key().cmp(&b.key()))
}

fn most_restarts<'s>(statuses: impl Iterator<Item = &'s StatusFact>) -> i32 {
    statuses.map(|status| status.restarts).max().unwrap_or_default()
}

fn native_statuses(pod: &PodFacts) -> impl Iterator<Item = &StatusFact> {
    pod.statuses.iter().filter(|status| {
        let place = pod.container(&status.name).map(|container| container.place);
        status.is_init && place == Some(Place::NativeSidecar)
    })
}

#[cfg(test)]
mod tests;
