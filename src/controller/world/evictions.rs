//! Evictions whose owner has not made them good yet.

use std::collections::{BTreeMap, BTreeSet};

use sidecarset_core::control::pod::{Owner, Phase, PodFacts};

use crate::controller::pods::Pods;

/// By owner: when the youngest of its Pods with sidecars was made before the eviction, seconds since 1970. That time is the API
/// server's, as is that of the Pod which comes in place of the evicted one.
#[derive(Debug, Default)]
pub struct Evictions(BTreeMap<Owner, i64>);

impl Evictions {
    /// One of the owner's Pods is about to be evicted. Owners that have no Pods any more are forgotten.
    pub fn begin(&mut self, owner: Owner, pods: &Pods) {
        let there: BTreeSet<Owner> = pods.iter().filter_map(|pod| pod.owner).collect();
        self.0.retain(|owner, _| there.contains(owner));
        let injected = pods.iter().filter(|pod| pod.owner == Some(owner) && is_injected(pod));
        let youngest = injected.filter_map(|pod| pod.created_unix).max();
        self.0.insert(owner, youngest.unwrap_or(i64::MIN));
    }

    /// It did not happen.
    pub fn take_back(&mut self, owner: Owner) {
        self.0.remove(&owner);
    }

    /// A Pod with sidecars that has become ready makes the eviction good, if it is younger than those before. Whether the set which
    /// evicted is among the injected ones does not matter here: if it lacks that one, it shows itself that evicting is in vain.
    pub fn see(&mut self, pod: &PodFacts) {
        let serves = pod.is_ready || pod.phase == Phase::Succeeded;
        if let Some(owner) = pod.owner.filter(|_| serves && is_injected(pod))
            && let Some(youngest_unix) = self.0.get(&owner)
            && pod.created_unix.is_some_and(|created| created > *youngest_unix)
        {
            self.0.remove(&owner);
        }
    }

    /// The owners.
    #[must_use]
    pub fn open(&self) -> BTreeSet<Owner> {
        self.0.keys().copied().collect()
    }
}

/// Whether any set was injected into it.
fn is_injected(pod: &PodFacts) -> bool {
    pod.injected_sets().next().is_some()
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use sidecarset_core::api::keys;
    use sidecarset_core::control::PodObject;

    use super::*;
    use crate::controller::world::World;

    fn pod(name: &str, owner: &str, second: u32, injected: &str, ready: &str) -> PodObject {
        serde_json::from_value(json!({
            "metadata": {
                "namespace": "shop", "name": name, "uid": name,
                "creationTimestamp": format!("1970-01-01T00:00:{second:02}Z"),
                "ownerReferences": [{"controller": true, "uid": owner}],
                "annotations": {keys::INJECTED_LIST: injected},
            },
            "status": {"conditions": [{"type": "Ready", "status": ready}]},
        }))
        .expect("a Pod")
    }

    fn owner(world: &World, pod: &str) -> Owner {
        world.pods.get(("shop", pod)).expect("there").owner.expect("an owner")
    }

    /// A world in which a bare Pod of an owner is about to be evicted that has another one with sidecars; and the owner.
    fn world() -> (World, Owner) {
        let mut world = World::default();
        world.apply_pod(&pod("bare", "x", 30, "", "True"));
        world.apply_pod(&pod("before", "x", 20, "log", "True"));
        let owner = owner(&world, "bare");
        world.evictions.begin(owner, &world.pods);
        (world, owner)
    }

    /// What makes it good is a Pod with sidecars that is ready and came after it.
    #[test]
    fn an_eviction_is_open_until_it_is_made_good() {
        let (mut world, owner) = world();
        let steps = [
            (pod("before", "x", 20, "log", "False"), true, "it was there before"),
            (pod("before", "x", 20, "log", "True"), true, "that one is only ready again"),
            (pod("other", "y", 40, "log", "True"), true, "of another owner"),
            (pod("after", "x", 40, "", "True"), true, "it lacks the sidecars"),
            (pod("after", "x", 40, "log", "False"), true, "it starts"),
            (pod("after", "x", 40, "log", "True"), false, "made good"),
        ];
        for (pod, expected, why) in steps {
            world.apply_pod(&pod);
            assert_eq!(world.evictions.open().contains(&owner), expected, "{why}");
        }
    }

    #[test]
    fn what_did_not_happen_or_concerns_nobody_is_not_open() {
        let (mut world, gone) = world();
        world.evictions.take_back(gone);
        assert!(world.evictions.open().is_empty(), "it was refused");
        world.evictions.begin(gone, &world.pods);
        world.remove_pod("shop", "bare", "bare");
        world.remove_pod("shop", "before", "before");
        world.apply_pod(&pod("other", "y", 1, "", "True"));
        let there = owner(&world, "other");
        world.evictions.begin(there, &world.pods);
        assert_eq!(world.evictions.open(), BTreeSet::from([there]), "the other has no Pods any more");
    }
}
