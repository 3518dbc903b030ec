//! Hot upgrade of a running Pod: which container of the pair gets the new image, and when the other one is emptied.

use std::collections::BTreeMap;

use super::consistency::{Before, is_consistent};
use super::pod::{Phase, PodFacts};
use super::set::{HotPair, SetFacts, Sidecar};
use super::update::PodChange;
use crate::api::json::write_text;
use crate::api::keys;
use crate::hot_upgrade::working_containers;

/// What the annotation says about one hot sidecar. Rule: C-MATCH-5.
pub(super) fn working_entry(pod: &PodFacts, sidecar: &str) -> Option<String> {
    working_containers(pod.annotation(keys::WORKING_HOT_UPGRADE_CONTAINER)?).remove(sidecar)
}

/// Names of the working container and of the other one. Whatever the annotation says besides `-1` means `-2`.
///
/// Rule: C-HOTC-2.
fn working_and_other<'s>(pod: &PodFacts, sidecar: &Sidecar, pair: &'s HotPair) -> (&'s str, &'s str) {
    let [one, two] = &pair.names;
    if working_entry(pod, &sidecar.name).as_deref() == Some(one) { (one, two) } else { (two, one) }
}

/// Whether the container that does not work is empty: it has the set's empty image, or, where more than images of the set
/// changed since, that of the older set, which its version tells.
///
/// Rules: C-CONS-5, C-HOTC-3, C-HOTC-11, C-BUG-6.
pub(super) fn is_other_empty(set: &SetFacts, pod: &PodFacts, sidecar: &Sidecar, pair: &HotPair) -> bool {
    let (_, other) = working_and_other(pod, sidecar, pair);
    let version = || pod.annotation(&format!("{}{other}", keys::VERSION_PREFIX));
    let is_of_older_set = || pod.records_without_image.hash(&set.name) != set.hash_without_image;
    pod.image(other) == Some(&pair.empty_image) || (version() == Some("0") && is_of_older_set())
}

/// The container that gets the new image, and the one that is kept.
///
/// Rule: C-HOTC-4.
fn target_and_kept<'s>(
    pod: &PodFacts,
    before: &Before,
    sidecar: &Sidecar,
    pair: &'s HotPair,
) -> (&'s str, &'s str) {
    let [one, two] = &pair.names;
    if pod.image(one) == Some(&pair.empty_image) {
        return (one, two);
    }
    if pod.image(two) == Some(&pair.empty_image) {
        return (two, one);
    }
    let is_good = |name: &str| {
        pod.status(name).is_some_and(|status| status.is_ready)
            && is_consistent(pod, before, std::iter::once(name))
    };
    match (is_good(one), is_good(two)) {
        (true, false) => (two, one),
        (false, true) => (one, two),
        _ => {
            let (working, other) = working_and_other(pod, sidecar, pair);
            (other, working)
        }
    }
}

/// Adds the upgrade of one hot sidecar to a change.
///
/// If the kept container has the wanted image already, it becomes the working one and the other one is emptied: a rollback from
/// a container that cannot start.
///
/// Rules: C-HOTC-3…6, C-UPD-12, C-UPD-18, C-BUG-5, C-BUG-38.
pub(super) fn upgrade(
    set: &SetFacts,
    pod: &PodFacts,
    before: &Before,
    sidecar: &Sidecar,
    pair: &HotPair,
    change: &mut PodChange,
) {
    if pair.names.iter().any(|name| pod.image(name).is_none()) {
        // Native sidecars are left alone (C-HOTC-14).
        return;
    }
    let (target, kept) = target_and_kept(pod, before, sidecar, pair);
    let version = |name: &str| format!("{}{name}", keys::VERSION_PREFIX);
    let version_alt = |name: &str| format!("{}{name}", keys::VERSION_ALT_PREFIX);
    if pod.image(kept) != Some(&sidecar.image) {
        change.set_image(target, &sidecar.image);
        change.set_working(&sidecar.name, target);
        change.annotate(version(target), &set.resource_version);
        change.annotate(version_alt(target), pod.annotation(&version(kept)).unwrap_or_default());
        change.annotate(version_alt(kept), &set.resource_version);
        return;
    }
    let (working, _) = working_and_other(pod, sidecar, pair);
    if working != kept && pod.image(target) != Some(&pair.empty_image) {
        change.set_image(target, &pair.empty_image);
        change.set_working(&sidecar.name, kept);
        change.annotate(version(target), "0");
        change.annotate(version_alt(kept), "0");
    }
}

/// Whether the migration of a Pod is over and old containers can be emptied.
///
/// Neither partition, selector nor maxUnavailable limit it. A pair is in the middle of an upgrade only if both containers have a
/// real image; a set whose empty image changed resets nothing.
///
/// Rules: C-HOTC-7, C-HOTC-13, C-HOTC-14, C-BUG-6, C-BUG-7.
pub(super) fn is_ready_for_reset(set: &SetFacts, pod: &PodFacts, before: &Before) -> bool {
    if !is_in_the_middle(set, pod) {
        return false;
    }
    let others: Vec<&str> =
        set.hot_pairs().map(|(sidecar, pair)| working_and_other(pod, sidecar, pair).1).collect();
    let rest = set.targets.iter().map(String::as_str).filter(|name| !others.contains(name));
    let is_up = || {
        let mut statuses = pod.regular_statuses().filter(|status| !others.contains(&&*status.name));
        (pod.phase == Phase::Running && pod.is_ready) || statuses.all(|status| status.is_ready)
    };
    is_consistent(pod, before, rest) && is_up()
}

/// Whether both containers of a pair have a real image: it ends with a reset, which a set that is paused or does not update does not do.
///
/// Rules: C-HOTC-7, C-HOTC-12.
pub(super) fn is_in_the_middle(set: &SetFacts, pod: &PodFacts) -> bool {
    set.hot_pairs().any(|(sidecar, pair)| is_migrating(set, pod, sidecar, pair))
}

fn is_migrating(set: &SetFacts, pod: &PodFacts, sidecar: &Sidecar, pair: &HotPair) -> bool {
    let (_, other) = working_and_other(pod, sidecar, pair);
    pod.image(other).is_some() && !is_other_empty(set, pod, sidecar, pair)
}

/// The change that empties every old container of a Pod.
///
/// Rule: C-HOTC-8.
pub(super) fn reset(set: &SetFacts, pod: &PodFacts) -> PodChange {
    let mut change = PodChange::default();
    for (sidecar, pair) in set.hot_pairs().filter(|(sidecar, pair)| is_migrating(set, pod, sidecar, pair)) {
        let (working, other) = working_and_other(pod, sidecar, pair);
        change.set_image(other, &pair.empty_image);
        change.annotate(format!("{}{other}", keys::VERSION_PREFIX), "0");
        change.annotate(format!("{}{working}", keys::VERSION_ALT_PREFIX), "0");
    }
    change
}

/// The text of the annotation after some sidecars got another working container.
pub(super) fn working_text(pod: &PodFacts, changed: &BTreeMap<String, String>) -> String {
    let found = pod.annotation(keys::WORKING_HOT_UPGRADE_CONTAINER).unwrap_or_default();
    let mut working = working_containers(found);
    working.extend(changed.clone());
    let mut text = String::new();
    let members = working.iter().map(|(name, container)| (name.as_str(), container));
    crate::api::json::write_object(&mut text, members, |out, container: &String| write_text(out, container));
    text
}

#[cfg(test)]
mod tests;
