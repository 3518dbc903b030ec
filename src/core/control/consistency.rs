//! Whether what a Pod's status says agrees with its spec, and whether it can take an upgrade.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::hot;
use super::image;
use super::pod::{ContainerFact, Phase, PodFacts, StatusFact};
use super::set::SetFacts;
use crate::api::keys;

/// What the annotation with the in-place state says about one set, as far as it is read.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct InPlaceState {
    last_container_statuses: Option<BTreeMap<String, LastStatus>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct LastStatus {
    #[serde(rename = "imageID")]
    image_id: String,
}

/// What our own annotation says about one container: the image of the spec that ran before the last upgrade, and its restarts then.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Running {
    pub(super) image: String,
    pub(super) restarts: i32,
}

/// Our own annotation: by set and container.
pub(super) type RunningBefore = BTreeMap<String, BTreeMap<String, Running>>;

/// What ran before the last upgrade: it tells an old container from its replacement.
#[derive(Debug, Default)]
pub(super) struct Before {
    images: BTreeMap<String, LastStatus>,
    running: BTreeMap<String, Running>,
    is_readable: bool,
}

impl Before {
    /// Reads what was recorded for a set.
    pub(super) fn read(set: &str, pod: &PodFacts) -> Self {
        let Some(text) = pod.annotation(keys::IN_PLACE_STATE) else {
            return Self { is_readable: true, ..Self::default() };
        };
        let Ok(mut states) = serde_json::from_str::<BTreeMap<String, InPlaceState>>(text) else {
            return Self::default();
        };
        let running = pod.annotation(keys::IN_PLACE_BEFORE).unwrap_or_default();
        let running: Option<RunningBefore> = serde_json::from_str(running).ok();
        Self {
            images: states.remove(set).and_then(|state| state.last_container_statuses).unwrap_or_default(),
            running: running.and_then(|mut sets| sets.remove(set)).unwrap_or_default(),
            is_readable: true,
        }
    }

    /// Whether this controller upgraded the Pod, and not another one before it.
    pub(super) fn is_ours(&self) -> bool {
        !self.running.is_empty()
    }

    /// Whether the container runs what the spec says: what was pulled is another thing than before, or is called as the spec
    /// calls it, or the container was started again since, or the spec went back to what still runs.
    ///
    /// Rules: C-CONS-3, C-BUG-13.
    fn is_done(&self, status: &StatusFact, image: &str) -> bool {
        let Some(last) = self.images.get(&*status.name) else { return true };
        let runs_by_our_record = || {
            let running = self.running.get(&*status.name);
            running.is_some_and(|running| status.restarts > running.restarts || *running.image == *image)
        };
        *last.image_id != *status.image_id
            || *status.image == *image
            || image::is_same(&status.image, image)
            || runs_by_our_record()
    }

    /// What a container runs now, for our record: of an upgrade that has not arrived yet, what ran before that one.
    pub(super) fn running(&self, pod: &PodFacts, container: &str) -> Running {
        let (image, status) = (pod.image(container).unwrap_or_default(), pod.status(container));
        let is_pending = status.is_some_and(|status| !self.is_done(status, image));
        match self.running.get(container).filter(|_| is_pending) {
            Some(running) => running.clone(),
            None => Running { image: image.to_owned(), restarts: status.map_or(0, |status| status.restarts) },
        }
    }
}

/// Whether the Pod's status agrees with its spec in the given containers.
///
/// Each container with a digest is judged by it, the others by what was recorded at the upgrade.
///
/// Rules: C-CONS-2, C-CONS-3, C-CONS-7, C-BUG-16, C-BUG-39.
pub(super) fn is_consistent<'t>(
    pod: &PodFacts,
    before: &Before,
    targets: impl Iterator<Item = &'t str> + Clone,
) -> bool {
    if pod.regular().count() != pod.regular_statuses().count() {
        return false;
    }
    pod.regular()
        .filter(|container| targets.clone().any(|name| *name == *container.name))
        .all(|container| has_arrived(pod, before, container))
}

/// Rules: C-CONS-3, C-CONS-4, C-BUG-16.
fn has_arrived(pod: &PodFacts, before: &Before, container: &ContainerFact) -> bool {
    let status = pod.status(&container.name);
    if image::has_digest(&container.image) {
        return status.is_some_and(|status| runs(status, &container.image));
    }
    before.is_readable && status.is_none_or(|status| before.is_done(status, &container.image))
}

/// Whether an upgrade for another set is on its way: a container that it changed does not run its new image yet.
///
/// Rules: C-CONS-3, C-UPD-9.
pub(super) fn is_upgraded_for_another(set: &str, pod: &PodFacts) -> bool {
    let Some(text) = pod.annotation(keys::IN_PLACE_STATE) else { return false };
    let states: BTreeMap<String, InPlaceState> = serde_json::from_str(text).unwrap_or_default();
    states.keys().filter(|other| *other != set).any(|other| {
        let before = Before::read(other, pod);
        pod.regular()
            .filter(|container| before.images.contains_key(&*container.name))
            .any(|container| !has_arrived(pod, &before, container))
    })
}

/// Whether the digest of the spec runs. Where the runtime tells a bare image id, only the name that it tells is left to compare.
///
/// Rules: C-CONS-4, C-BUG-15.
fn runs(status: &StatusFact, image: &str) -> bool {
    let pulled = image::without_scheme(&status.image_id);
    let told = if image::has_digest(pulled) { pulled } else { &status.image };
    image::is_same(told, image)
}

/// Whether the Pod serves, and no hot pair of the set is in the middle of an upgrade.
///
/// Rule: C-CONS-5.
pub(super) fn is_ready(set: &SetFacts, pod: &PodFacts) -> bool {
    pod.phase == Phase::Running
        && pod.is_ready
        && !pod.is_terminating
        && set.hot_pairs().all(|(sidecar, pair)| {
            pair.empty_image.is_empty() || hot::is_other_empty(set, pod, sidecar, pair)
        })
}

/// What can be done with a Pod that is not updated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Upgradability {
    /// It can be upgraded now.
    Waiting,
    /// The change cannot be made in place.
    NotUpgradable,
    /// An upgrade before has not arrived yet.
    Inconsistent,
}

/// Whether a Pod can take the set's change in place, and now. A container that is not ready is not waited for: a broken upgrade
/// can be overwritten at once.
///
/// Rules: C-CONS-6, C-UPD-3, C-UPD-4, C-BUG-12.
pub(super) fn upgradability(set: &SetFacts, pod: &PodFacts, before: &Before) -> Upgradability {
    if pod.records_without_image.hash(&set.name) != set.hash_without_image || !native_images_agree(set, pod) {
        return Upgradability::NotUpgradable;
    }
    let is_in_the_way = |name: &String| {
        pod.status(name).is_some_and(|status| status.is_ready)
            && !is_consistent(pod, before, std::iter::once(name.as_str()))
    };
    if set.targets.iter().any(is_in_the_way) { Upgradability::Inconsistent } else { Upgradability::Waiting }
}

/// Images of native sidecars are part of the hash and cannot be changed, so such a Pod must not be marked as updated.
///
/// Rules: C-UPD-26, C-BUG-12.
fn native_images_agree(set: &SetFacts, pod: &PodFacts) -> bool {
    set.native_sidecars
        .iter()
        .all(|(name, image)| pod.container(name).is_none_or(|container| *container.image == **image))
}

#[cfg(test)]
mod tests;
