//! Scatter: Pods with a label value are spread evenly over the order of the update.

use std::collections::VecDeque;

use super::pod::PodFacts;
use super::set::ScatterTerm;
use crate::selector::Labels;

/// Whether a Pod has the term's value; a missing label counts as the empty one. Rule: C-SORT-8.
fn has(pod: &PodFacts, (key, value): &ScatterTerm) -> bool {
    pod.value(key).unwrap_or_default() == &**value
}

/// Applies the terms one after the other to the order.
///
/// Rules: C-SORT-6, C-SORT-7.
pub(super) fn spread<'p>(
    terms: &[ScatterTerm],
    waiting: Vec<&'p PodFacts>,
    matched: &[&PodFacts],
) -> Vec<&'p PodFacts> {
    if waiting.len() <= 1 {
        return waiting;
    }
    let terms = with_values(terms, matched);
    if terms.len() <= 1 {
        return terms.iter().fold(waiting, |order, term| by_term(term, order, matched));
    }
    let count = |term: &ScatterTerm| waiting.iter().filter(|pod| has(pod, term)).count();
    let mut counted: Vec<_> =
        terms.iter().map(|term| (count(term), term)).filter(|(count, _)| *count > 0).collect();
    counted.sort_by_key(|(count, _)| std::cmp::Reverse(*count));
    counted.into_iter().fold(waiting, |order, (_, term)| by_term(term, order, matched))
}

/// Terms with `*` replaced by one for each value that matched Pods have. Rule: C-SORT-6. Decision: D-31.
fn with_values(terms: &[ScatterTerm], matched: &[&PodFacts]) -> Vec<ScatterTerm> {
    let mut all: Vec<ScatterTerm> = Vec::new();
    for (key, value) in terms {
        let values: Vec<&str> = if &**value == "*" {
            matched.iter().filter_map(|pod| pod.value(key)).collect()
        } else {
            vec![value]
        };
        for value in values {
            let term = (key.clone(), value.into());
            if !all.contains(&term) {
                all.push(term);
            }
        }
    }
    all
}

/// How many of each kind make one group, and how many groups there are.
struct Groups {
    count: usize,
    matching: usize,
    others: usize,
}

impl Groups {
    fn new(matching: usize, others: usize) -> Self {
        let count = matching.min(others).max(1);
        let rounded = |number: usize| (2 * number + count) / (2 * count);
        Self { count, matching: rounded(matching), others: rounded(others) }
    }
}

/// Rules: C-SORT-8, C-SORT-9, C-SORT-10.
fn by_term<'p>(term: &ScatterTerm, order: Vec<&'p PodFacts>, matched: &[&PodFacts]) -> Vec<&'p PodFacts> {
    let (matching, others): (VecDeque<_>, VecDeque<_>) =
        order.iter().copied().partition(|pod| has(pod, term));
    if matching.len() <= 1 || others.len() <= 1 {
        return order;
    }
    let all_matching = matched.iter().filter(|pod| has(pod, term)).count();
    let all_others = matched.len() - all_matching;
    spread_groups(matching, others, all_matching.saturating_sub(1), all_others)
}

/// Interleaves the two kinds; `all_matching` and `all_others` count all matched Pods but the last matching one.
fn spread_groups<'p>(
    mut matching: VecDeque<&'p PodFacts>,
    mut others: VecDeque<&'p PodFacts>,
    all_matching: usize,
    all_others: usize,
) -> Vec<&'p PodFacts> {
    let last = matching.pop_back();
    // Single precision, as upstream: the comparison may turn on it.
    #[allow(clippy::cast_precision_loss, reason = "upstream's precision is what counts")]
    let ratio = |others: usize, matching: usize| others as f32 / matching as f32;
    let (groups, lead) = if ratio(all_others, all_matching) >= ratio(others.len(), matching.len()) {
        (Groups::new(matching.len(), others.len()), 0)
    } else {
        let groups = Groups::new(all_matching, all_others);
        let count = (matching.len() / groups.matching.max(1)).min(others.len() / groups.others.max(1));
        let lead = others.len() - count * groups.others;
        (Groups { count, ..groups }, lead)
    };
    let mut spread: Vec<&PodFacts> = Vec::with_capacity(matching.len() + others.len() + 1);
    let mut take = |from: &mut VecDeque<&'p PodFacts>, count: usize| {
        spread.extend(from.drain(..count.min(from.len())));
    };
    take(&mut others, lead);
    for _ in 0..groups.count {
        take(&mut matching, groups.matching);
        take(&mut others, groups.others);
    }
    take(&mut matching, usize::MAX);
    take(&mut others, usize::MAX);
    spread.extend(last);
    spread
}

#[cfg(test)]
mod tests;
