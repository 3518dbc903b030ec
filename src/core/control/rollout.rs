//! Which Pods are upgraded in this round, and what keeps the others.

use std::collections::BTreeMap;

use super::consistency::{
    Before, Upgradability, is_consistent, is_ready, is_upgraded_for_another, upgradability,
};
use super::expectations::PodKey;
use super::pod::PodFacts;
use super::set::SetFacts;
use super::update::{self, PlanError, PodChange};
use super::{hot, order};

/// A matched Pod with what is asked about it several times.
#[derive(Debug)]
pub(super) struct PodView<'p> {
    pub(super) pod: &'p PodFacts,
    pub(super) before: Before,
    /// Rule: C-UPD-1.
    pub(super) is_updated: bool,
    /// An upgrade uses the budget: the Pod is ready, whatever its status says about images, or would be but for an upgrade for another
    /// set. Of sets that roll out at the same time over the same Pods each would otherwise take down one Pod more than it may:
    /// the one that is down already for another set, at no cost, and the next. Rules: C-CONS-5, C-UPD-9.
    pub(super) takes_down: bool,
    /// Ready, and consistent over all containers of the set. Rules: C-CONS-2, C-STAT-3.
    pub(super) is_ready: bool,
}

impl<'p> PodView<'p> {
    /// Rules: C-UPD-1, C-STAT-3.
    pub(super) fn new(set: &SetFacts, pod: &'p PodFacts) -> Self {
        let before = Before::read(&set.name, pod);
        let targets = set.targets.iter().map(String::as_str);
        let (is_serving, is_updated) = (is_ready(set, pod), pod.records.hash(&set.name) == set.hash);
        Self {
            is_updated,
            takes_down: is_serving || (!is_updated && is_upgraded_for_another(&set.name, pod)),
            is_ready: is_serving && is_consistent(pod, &before, targets),
            before,
            pod,
        }
    }
}

/// A Pod that could not be written and waits for its next turn. Decision: D-32.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackOff {
    /// The write may have happened, so it counts as using the budget (C-RUST-9).
    pub may_be_written: bool,
    /// Why it failed.
    pub error: String,
}

/// Pods that wait, by uid.
pub type BackOffs = BTreeMap<String, BackOff>;

/// A Pod that is left out of this round because it cannot be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The Pod.
    pub pod: PodKey,
    /// Why.
    pub error: String,
    /// Found in this round, not told before.
    pub is_new: bool,
}

impl Failure {
    /// It waits since a former round.
    fn known(pod: &PodFacts, error: &str) -> Self {
        Self { pod: pod.into(), error: error.to_owned(), is_new: false }
    }
}

/// How a round ends for the Pods that are not updated.
#[derive(Debug, Default)]
pub(super) struct Round<'p> {
    /// To upgrade now, in this order.
    pub(super) chosen: Vec<(&'p PodFacts, PodChange)>,
    pub(super) not_upgradable: Vec<&'p PodFacts>,
    /// Upgraded before and not there yet; left alone without a mark.
    pub(super) inconsistent: usize,
    /// The selector does not select them.
    pub(super) not_selected: usize,
    /// The partition keeps them.
    pub(super) kept_by_partition: usize,
    /// They wait for other Pods to come up.
    pub(super) over_budget: usize,
    pub(super) failures: Vec<Failure>,
    /// Annotations are needed that the Pod was decoded without.
    pub(super) read_live: Vec<PodKey>,
}

/// The Pods in the middle of a hot upgrade whose old containers can be emptied now.
///
/// Rules: C-CTL-21, C-HOTC-7, C-HOTC-10.
pub(super) fn resets<'p>(
    set: &SetFacts,
    views: &[PodView<'p>],
    back_offs: &BackOffs,
    now_unix: i64,
) -> Vec<(&'p PodFacts, PodChange)> {
    let due = views.iter().filter(|view| {
        !back_offs.contains_key(&*view.pod.uid) && hot::is_ready_for_reset(set, view.pod, &view.before)
    });
    due.map(|view| (view.pod, update::reset(set, view.pod, &view.before, now_unix))).collect()
}

/// Chooses the Pods to upgrade now.
///
/// A Pod that serves is taken only while fewer than `maxUnavailable` updated Pods are down; one that is down costs nothing, unless
/// another set has just taken it down. The first that does not fit ends the round.
///
/// Rules: C-UPD-2…10, C-UPD-27, C-RUST-9, C-BUG-11, C-BUG-17, C-BUG-18. Decision: D-32.
pub(super) fn choose<'p>(
    set: &SetFacts,
    views: &[PodView<'p>],
    back_offs: &BackOffs,
    revision: &str,
    now_unix: i64,
) -> Round<'p> {
    let mut round = Round::default();
    let mut waiting: BTreeMap<(&str, &str), &PodView<'p>> = BTreeMap::new();
    for view in views.iter().filter(|view| !view.is_updated) {
        let is_selected = set.update.selector.as_ref().is_none_or(|selector| selector.matches(view.pod));
        match upgradability(set, view.pod, &view.before) {
            _ if !is_selected => round.not_selected += 1,
            Upgradability::NotUpgradable => {
                round.not_upgradable.push(view.pod);
                // Its mark could not be written.
                if let Some(BackOff { error, .. }) = back_offs.get(&*view.pod.uid) {
                    round.failures.push(Failure::known(view.pod, error));
                }
            }
            Upgradability::Inconsistent => round.inconsistent += 1,
            Upgradability::Waiting => {
                waiting.insert(view.pod.key(), view);
            }
        }
    }
    let matched: Vec<&PodFacts> = views.iter().map(|view| view.pod).collect();
    let mut sorted = order::sort(set, waiting.values().map(|view| view.pod).collect(), &matched);
    let partition = set.update.partition.partition(views.len());
    round.kept_by_partition = partition.min(sorted.len());
    sorted.truncate(sorted.len() - round.kept_by_partition);
    let max_unavailable = set.update.max_unavailable.max_unavailable(views.len());
    let mut used = views.iter().filter(|view| uses_budget(view, back_offs)).count();
    let mut rest = sorted.iter();
    for pod in rest.by_ref() {
        let Some(view) = waiting.get(&pod.key()) else { continue };
        if let Some(BackOff { error, .. }) = back_offs.get(&*pod.uid) {
            round.failures.push(Failure::known(pod, error));
            continue;
        }
        if view.takes_down && used >= max_unavailable {
            round.over_budget += 1;
            break;
        }
        match update::upgrade(set, pod, &view.before, revision, now_unix) {
            Ok(change) => {
                used += usize::from(view.takes_down);
                round.chosen.push((pod, change));
            }
            // It counts as chosen: else all that wait were read before the first is written.
            Err(PlanError::NotRead(_)) => {
                used += usize::from(view.takes_down);
                round.read_live.push((*pod).into());
            }
            Err(error) => {
                let error = error.to_string();
                round.failures.push(Failure { pod: (*pod).into(), error, is_new: true });
            }
        }
    }
    round.over_budget += rest.len();
    round
}

/// Rule: C-UPD-8.
fn uses_budget(view: &PodView<'_>, back_offs: &BackOffs) -> bool {
    let may_be_written = || back_offs.get(&*view.pod.uid).is_some_and(|back_off| back_off.may_be_written);
    if view.is_updated { !view.is_ready } else { may_be_written() }
}

#[cfg(test)]
mod tests;
