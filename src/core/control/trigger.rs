//! Which changes ask for another look at a set, and how soon.

use std::collections::BTreeSet;
use std::time::Duration;

use super::consistency::{Before, is_consistent};
use super::pod::PodFacts;
use super::set::SetFacts;

/// How long a Pod that has become consistent is left alone. Rule: C-CTL-9.
pub const SETTLING: Duration = Duration::from_secs(5);

/// The sets that a change of a Pod may concern: those that it names or named. `None` is a Pod that is not there yet, or gone.
///
/// Rules: C-CTL-5, C-RUST-4, C-RUST-5.
#[must_use]
pub fn sets_of<'p>(old: Option<&'p PodFacts>, new: Option<&'p PodFacts>) -> BTreeSet<&'p str> {
    old.into_iter().chain(new).flat_map(PodFacts::injected_sets).collect()
}

/// When to look at a set again after a change of one of its Pods; `None` if nothing changed that counts. Also sets that do not
/// update are looked at, because their status counts.
///
/// Rules: C-CTL-6…10, C-RUST-5, C-BUG-2, C-BUG-3, C-BUG-41. Decision: D-37.
#[must_use]
pub fn after_pod(set: &SetFacts, old: Option<&PodFacts>, new: Option<&PodFacts>) -> Option<Duration> {
    let (Some(old), Some(new)) = (old, new) else { return Some(Duration::ZERO) };
    let same_version = PodFacts { resource_version: old.resource_version.clone(), ..new.clone() };
    if *old == same_version {
        return None;
    }
    let only_status = PodFacts { statuses: old.statuses.clone(), ..same_version };
    let consistent =
        |pod| is_consistent(pod, &Before::read(&set.name, pod), set.targets.iter().map(String::as_str));
    let settles = *old == only_status && consistent(old) != consistent(new);
    Some(if settles { SETTLING } else { Duration::ZERO })
}

/// Whether a change of the set itself asks for a look: its spec, or what the controller reads of its metadata. Its status does not.
///
/// Rules: C-CTL-4, C-RUST-5, C-BUG-4.
#[must_use]
pub fn after_set(old: &SetFacts, new: &SetFacts) -> bool {
    let read = |set: &SetFacts| {
        (
            set.generation,
            set.uid.clone(),
            set.hash.clone(),
            set.hash_without_image.clone(),
            set.labels.clone(),
            set.canary_base.clone(),
            set.evicts_missed,
        )
    };
    read(old) != read(new)
}

/// Whether a change of Namespace labels asks for a look. Rules: C-RUST-5, C-BUG-4.
#[must_use]
pub fn after_namespace(set: &SetFacts) -> bool {
    set.namespace_selector.is_some()
}

#[cfg(test)]
mod tests;
