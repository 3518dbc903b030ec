//! Pods that should have the sidecars and do not, and whether they are to be replaced.

use std::collections::BTreeSet;

use super::expectations::PodKey;
use super::matching::{Namespaces, is_injected, selects};
use super::pod::PodFacts;
use super::set::SetFacts;
use crate::api::keys;
use crate::selector::{Labels, Selector};

/// What is known about the webhook that injects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WebhookHealth {
    /// It does not answer, or that is not known.
    Unhealthy,
    /// It has answered since then, seconds since 1970.
    HealthySince(i64),
}

/// What repair may do now.
#[derive(Debug, Clone, Copy)]
pub struct Repair<'a> {
    /// The webhook.
    pub webhook: WebhookHealth,
    /// How many Pods may be evicted in this round: what the rate limit leaves.
    pub evictions_allowed: usize,
    /// Namespaces in which the webhook is not asked.
    pub excluded_namespaces: &'a BTreeSet<String>,
    /// Canaries of the set: their Pods have the canary's sidecars (C-MATCH-7).
    pub canaries: &'a BTreeSet<String>,
}

/// Pods without the sidecars, by namespace and name.
#[derive(Debug, Default)]
pub(super) struct Missed<'p> {
    pub(super) pods: Vec<&'p PodFacts>,
    /// To be evicted now.
    pub(super) evictions: Vec<PodKey>,
}

/// The Pods that the set selects and that were not injected, opted-out ones left aside.
pub(super) fn find<'p>(
    set: &SetFacts,
    pods: &[&'p PodFacts],
    namespaces: &Namespaces,
    repair: &Repair<'_>,
) -> Missed<'p> {
    let has_sidecars = !set.sidecars.is_empty() || !set.native_sidecars.is_empty();
    let injects = has_sidecars && !set.injection_paused;
    if !injects || set.selector.as_ref().is_none_or(Selector::is_empty) {
        return Missed::default();
    }
    let mut missed: Vec<&PodFacts> = pods
        .iter()
        .copied()
        .filter(|pod| pod.is_active() && !is_injected(&set.name, pod) && selects(set, pod, namespaces))
        .filter(|pod| !repair.excluded_namespaces.contains(&*pod.namespace))
        .filter(|pod| !pod.injected_sets().any(|name| repair.canaries.contains(name)))
        .filter(|pod| !opts_out(pod, &set.name))
        .collect();
    missed.sort_by(|a, b| a.key().cmp(&b.key()));
    let evictions = evictions(set, &missed, repair);
    Missed { pods: missed, evictions }
}

/// Decision: D-26.
fn opts_out(pod: &PodFacts, set: &str) -> bool {
    let says = |key: &str| pod.annotation(key).or_else(|| pod.value(key));
    pod.annotation(keys::MIRROR_POD).is_some()
        || says(keys::INJECT) == Some("false")
        || says(keys::SKIP).is_some_and(|list| list.split(',').any(|name| name.trim() == set))
}

/// Only where the set asks for it, only Pods that come back, never while the webhook is away, and only Pods that were made before
/// webhook and set were both there: one that was made later and missed injection would miss it again. Oldest first.
fn evictions(set: &SetFacts, missed: &[&PodFacts], repair: &Repair<'_>) -> Vec<PodKey> {
    let WebhookHealth::HealthySince(healthy_unix) = repair.webhook else { return Vec::new() };
    if !set.evicts_missed {
        return Vec::new();
    }
    let both_unix = healthy_unix.max(set.created_unix.unwrap_or(healthy_unix));
    let mut due: Vec<&&PodFacts> = missed
        .iter()
        .filter(|pod| pod.is_owned && pod.created_unix.is_some_and(|created| created < both_unix))
        .collect();
    due.sort_by_key(|pod| (pod.created_unix, pod.key()));
    due.into_iter().take(repair.evictions_allowed).map(|pod| (*pod).into()).collect()
}

#[cfg(test)]
mod tests;
