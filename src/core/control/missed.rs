//! Pods that should have the sidecars and do not, and whether they are to be replaced.

mod reach;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::expectations::PodKey;
use super::matching::{Namespaces, is_injected, selects};
use super::pod::{Owner, PodFacts};
use super::rollout::BackOffs;
use super::set::SetFacts;
use crate::api::keys;
use crate::selector::{Labels, Selector};

use reach::Asked;
pub use reach::Reach;

/// Time between two evictions: sidecars that are missing now were missing before, nobody is in a hurry.
pub const EVICTION_EVERY: Duration = Duration::from_secs(5);
/// How often owners are looked at that cannot spare a Pod now. What they wait for may be a Pod that names no set, of whose readiness
/// nobody tells.
const SPARED_EVERY: Duration = Duration::from_secs(30);
/// Seconds for which a moment is not sharp. Each API server learns of a configuration, and each replica of a set, a moment after it was
/// made; Kubernetes notices a replica that does not answer, and one that does again, some seconds late.
const SLACK: i64 = 10;

/// What is known about the webhook that injects. Times are the API server's, in seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WebhookHealth<'a> {
    /// It does not answer, or that is not known.
    Unhealthy,
    /// It answers.
    Answers {
        /// Since when it is registered.
        registered_unix: i64,
        /// When it was seen not to answer since then: first and last second.
        away: &'a [(i64, i64)],
    },
}

/// What repair may do now.
#[derive(Debug, Clone, Copy)]
pub struct Repair<'a> {
    /// The webhook.
    pub webhook: WebhookHealth<'a>,
    /// Which Pods it is asked about; `None` if that is not known: then nothing is said about Pods without sidecars.
    pub reach: Option<&'a Reach>,
    /// Time until the next Pod may be evicted.
    pub pause: Duration,
    /// Sets whose sidecars a Pod may have in place of those of the set: its canaries; of a canary its base and that one's other canaries
    /// (C-MATCH-7).
    pub relatives: &'a BTreeSet<String>,
    /// What came of evictions before.
    pub outcomes: &'a Outcomes,
}

/// What came of evictions before, as far as this process knows: its predecessor's are not known.
#[derive(Debug, Default)]
pub struct Outcomes {
    /// Owners of whom a Pod was evicted, and none that has sidecars has become ready in its place yet.
    pub open: BTreeSet<Owner>,
    /// How often Pods could not be written or evicted, by uid.
    pub failures: BTreeMap<String, u32>,
}

/// Pods without the sidecars, by namespace and name.
#[derive(Debug, Default)]
pub(super) struct Missed<'p> {
    pub(super) pods: Vec<&'p PodFacts>,
    /// Pods that the webhook may have been told to leave out: whether they should have the sidecars is not known.
    pub(super) unclear: Vec<&'p PodFacts>,
    /// To be evicted now.
    pub(super) evictions: Vec<PodKey>,
    /// When the next one can be evicted, if there is one.
    pub(super) look_again: Option<Duration>,
}

/// The Pods that the set selects and that were not injected, opted-out ones left aside; `None` if it is not known which Pods the webhook
/// is asked about.
pub(super) fn find<'p>(
    set: &SetFacts,
    pods: &[&'p PodFacts],
    namespaces: &Namespaces,
    back_offs: &BackOffs,
    repair: &Repair<'_>,
) -> Option<Missed<'p>> {
    let reach = repair.reach?;
    let has_sidecars = !set.sidecars.is_empty() || !set.native_sidecars.is_empty();
    let injects = has_sidecars && !set.injection_paused;
    let mut missed = Missed::default();
    if !injects || set.selector.as_ref().is_none_or(Selector::is_empty) {
        return Some(missed);
    }
    let lack_it = pods
        .iter()
        .copied()
        .filter(|pod| pod.is_active() && !is_injected(&set.name, pod) && selects(set, pod, namespaces))
        .filter(|pod| !pod.injected_sets().any(|name| repair.relatives.contains(name)))
        .filter(|pod| !opts_out(pod, &set.name));
    for pod in lack_it {
        match reach.asks(pod, namespaces) {
            Asked::Yes => missed.pods.push(pod),
            Asked::Perhaps => missed.unclear.push(pod),
            Asked::No => {}
        }
    }
    missed.pods.sort_by(|a, b| a.key().cmp(&b.key()));
    missed.unclear.sort_by(|a, b| a.key().cmp(&b.key()));
    let due = due(set, &missed.pods, back_offs, repair.webhook);
    let first = first_spared(&due, pods, &missed.pods, repair.outcomes);
    missed.look_again = match first {
        None => (!due.is_empty()).then_some(SPARED_EVERY),
        Some(_) if repair.pause.is_zero() => Some(EVICTION_EVERY),
        Some(_) => Some(repair.pause),
    };
    missed.evictions.extend(first.filter(|_| repair.pause.is_zero()).map(PodKey::from));
    Some(missed)
}

/// The Pod that goes first of those whose owners can spare one: who has been refused least, then the oldest.
///
/// An owner spares none while the last one is not made good, while a Pod of it is being deleted, or while one that does not lack the
/// sidecars is not ready. Of Pods that lack them, one that is not ready serves nobody, and may wait for just the sidecar; one that is
/// ready stays while another is not.
fn first_spared<'p>(
    due: &[&'p PodFacts],
    pods: &[&PodFacts],
    missed: &[&PodFacts],
    outcomes: &Outcomes,
) -> Option<&'p PodFacts> {
    if due.is_empty() {
        return None;
    }
    let lack_it: BTreeSet<&str> = missed.iter().map(|pod| &*pod.uid).collect();
    let (mut spares_none, mut spares_no_ready) = (outcomes.open.clone(), BTreeSet::new());
    for pod in pods.iter().filter(|pod| !pod.has_ended()) {
        let Some(owner) = pod.owner else { continue };
        if pod.is_terminating || !pod.is_ready && !lack_it.contains(&*pod.uid) {
            spares_none.insert(owner);
        }
        if !pod.is_ready {
            spares_no_ready.insert(owner);
        }
    }
    let is_held = |pod: &PodFacts| {
        pod.owner.is_none_or(|owner| {
            spares_none.contains(&owner) || pod.is_ready && spares_no_ready.contains(&owner)
        })
    };
    let failures = |pod: &&PodFacts| outcomes.failures.get(&*pod.uid).copied().unwrap_or_default();
    due.iter().copied().filter(|pod| !is_held(pod)).min_by_key(failures)
}

/// Decision: D-26.
fn opts_out(pod: &PodFacts, set: &str) -> bool {
    let says = |key: &str| pod.annotation(key).or_else(|| pod.value(key));
    pod.annotation(keys::MIRROR_POD).is_some()
        || says(keys::INJECT) == Some("false")
        || says(keys::SKIP).is_some_and(|list| list.split(',').any(|name| name.trim() == set))
}

/// Whether a Pod was made when it could be injected for sure: later than set and webhook, which are both there since `since_unix`, and
/// while the webhook answered. Within [`SLACK`] of a change that is not sure: a replacement may help, and that the Pod lacks the
/// sidecars does not show that it would not.
fn could_be_injected(pod: &PodFacts, since_unix: i64, away: &[(i64, i64)]) -> bool {
    let Some(created) = pod.created_unix else { return true };
    let is_away =
        |(from, to): &(i64, i64)| (from.saturating_sub(SLACK)..=to.saturating_add(SLACK)).contains(&created);
    created > since_unix.saturating_add(SLACK) && !away.iter().any(is_away)
}

/// The Pods that a replacement would help, oldest first: only where the set asks for it and is neither paused nor being deleted, only
/// Pods that come back, never while the webhook is away, and no Pods that could be injected when they were made. An owner of whose Pods
/// one could, and lacks the sidecars all the same, would get such a Pod again: its Pods stay, or they would be evicted for ever.
fn due<'p>(
    set: &SetFacts,
    missed: &[&'p PodFacts],
    back_offs: &BackOffs,
    webhook: WebhookHealth<'_>,
) -> Vec<&'p PodFacts> {
    let WebhookHealth::Answers { registered_unix, away } = webhook else { return Vec::new() };
    if !set.evicts_missed || set.update.is_paused || set.is_terminating {
        return Vec::new();
    }
    let since_unix = registered_unix.max(set.created_unix.unwrap_or(registered_unix));
    let could_be_injected = |pod: &PodFacts| could_be_injected(pod, since_unix, away);
    let in_vain: BTreeSet<Owner> =
        missed.iter().filter(|pod| could_be_injected(pod)).filter_map(|pod| pod.owner).collect();
    let mut due: Vec<&PodFacts> = missed
        .iter()
        .copied()
        .filter(|pod| !could_be_injected(pod) && !back_offs.contains_key(&*pod.uid))
        .filter(|pod| pod.owner.is_some_and(|owner| !in_vain.contains(&owner)))
        .collect();
    due.sort_by_key(|pod| (pod.created_unix, pod.key()));
    due
}

#[cfg(test)]
mod tests;
