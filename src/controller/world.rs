//! The cluster as the watches tell it, and what a look at one set takes of it.

mod evictions;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustc_hash::FxHashMap;
use serde_json::Value;
use sidecarset_core::control::expectations::{Expectations, PodKey};
use sidecarset_core::control::matching::{self, Namespaces};
use sidecarset_core::control::missed::Outcomes;
use sidecarset_core::control::pod::{Keep, PodFacts};
use sidecarset_core::control::revisions::RevisionFacts;
use sidecarset_core::control::rollout::{BackOff, BackOffs};
use sidecarset_core::control::set::SetFacts;
use sidecarset_core::control::{PodObject, trigger};

use super::pods::{Change, Pods};
use evictions::Evictions;

/// First pause after a Pod could not be written; it doubles. Decision: D-32.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// Longest pause between two attempts to write a Pod.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// A set that has to be looked at, and how soon.
pub type Due = (Arc<str>, Duration);

/// Pods whose condition tells about sets, and the names of all sets.
pub type Pruning = (Vec<Arc<PodFacts>>, Arc<BTreeSet<String>>);

/// What one set remembers between two looks.
#[derive(Debug, Default)]
struct Memory {
    expectations: Expectations,
    back_offs: FxHashMap<String, Pause>,
}

/// A Pod that is left alone for a while.
#[derive(Debug)]
struct Pause {
    back_off: BackOff,
    failures: u32,
    until: Instant,
}

/// Everything that is known.
#[derive(Debug, Default)]
pub struct World {
    /// The Pods.
    pub pods: Pods,
    /// Evictions that are not made good yet.
    pub evictions: Evictions,
    sets: BTreeMap<Arc<str>, Arc<SetFacts>>,
    names: Arc<BTreeSet<String>>,
    canaries: FxHashMap<String, BTreeSet<String>>,
    namespaces: Arc<Namespaces>,
    /// By set, then by name.
    revisions: FxHashMap<String, BTreeMap<String, Arc<RevisionFacts>>>,
    memories: FxHashMap<Arc<str>, Memory>,
    /// A set went, so conditions of Pods may speak of one that is not there.
    is_pruning_due: bool,
    /// This replica leads, so somebody works off what is kept for that.
    is_worked_on: bool,
    /// The API server did not keep the conditions that were written last.
    drops_conditions: bool,
    /// Pods which came or went that some set may select without having been injected into them.
    strangers: Vec<Arc<PodFacts>>,
}

/// What one look at a set sees. It stays as it is while the world goes on.
#[derive(Debug)]
pub struct Look {
    /// The set.
    pub set: Arc<SetFacts>,
    /// Pods that name it or that it selects.
    pub pods: Vec<Arc<PodFacts>>,
    /// All Namespaces.
    pub namespaces: Arc<Namespaces>,
    /// Its revisions.
    pub revisions: Vec<RevisionFacts>,
    /// Names of all sets.
    pub known_sets: Arc<BTreeSet<String>>,
    /// Names of its canaries; of a canary, its base and that one's other canaries.
    pub relatives: BTreeSet<String>,
    /// Writes that are waited for.
    pub expectations: Expectations,
    /// Pods that could not be written and wait.
    pub back_offs: BackOffs,
    /// What came of evictions.
    pub outcomes: Outcomes,
    /// When the first of those that wait may be tried again.
    pub next_attempt: Option<Instant>,
    /// Whether the API server drops conditions of sets.
    pub drops_conditions: bool,
}

impl World {
    /// What a look at the set sees now; `None` if there is no such set.
    pub fn look(&mut self, name: &str, now: Instant) -> Option<Look> {
        let Some(set) = self.sets.get(name).map(Arc::clone) else {
            self.memories.remove(name);
            return None;
        };
        let relatives = self.relatives(name, &set);
        let memory = self.memories.entry(name.into()).or_default();
        let waiting = memory.back_offs.iter().filter(|(_, pause)| pause.until > now);
        let failures = memory.back_offs.iter().map(|(uid, pause)| (uid.clone(), pause.failures)).collect();
        let back_offs = waiting.clone().map(|(uid, pause)| (uid.clone(), pause.back_off.clone())).collect();
        Some(Look {
            next_attempt: waiting.map(|(_, pause)| pause.until).min(),
            back_offs,
            outcomes: Outcomes { open: self.evictions.open(), failures },
            expectations: memory.expectations.clone(),
            pods: self.pods.of_set(name, set.selector.as_ref()),
            namespaces: Arc::clone(&self.namespaces),
            revisions: self.revisions.get(name).into_iter().flatten().map(|(_, r)| (**r).clone()).collect(),
            known_sets: Arc::clone(&self.names),
            relatives,
            drops_conditions: self.drops_conditions,
            set,
        })
    }

    /// From now on [`take_missed`](Self::take_missed) is called. Of what was before, every set is looked at once anyway.
    pub fn begin_work(&mut self) {
        self.is_worked_on = true;
    }

    /// Whether a set is still as a decision saw it, but for its status: nothing more is written for one that was changed or deleted
    /// meanwhile.
    #[must_use]
    pub fn is_current(&self, set: &SetFacts) -> bool {
        let now = self.sets.get(&*set.name);
        now.is_some_and(|now| now.uid == set.uid && now.generation == set.generation)
    }

    /// Whether a Pod is still as a decision saw it.
    #[must_use]
    pub fn is_unchanged(&self, key: &PodKey, resource_version: &str) -> bool {
        let pod = self.pods.get((&key.namespace, &key.name));
        pod.is_some_and(|pod| *pod.uid == *key.uid && *pod.resource_version == *resource_version)
    }

    /// All sets.
    pub fn names(&self) -> impl Iterator<Item = &Arc<str>> {
        self.sets.keys()
    }

    /// Asks for a look at the conditions of all Pods.
    pub fn prune_conditions(&mut self) {
        self.is_pruning_due = true;
    }

    /// If a set went since the last call: the Pods whose condition tells about sets, and the names of all sets. Rule: C-BUG-10.
    pub fn take_pruning(&mut self) -> Option<Pruning> {
        let is_due = std::mem::take(&mut self.is_pruning_due);
        let marked = || self.pods.iter().filter(|pod| pod.upgradable.is_some()).map(Arc::clone).collect();
        is_due.then(|| (marked(), Arc::clone(&self.names)))
    }

    /// Names of all sets.
    #[must_use]
    pub fn known_sets(&self) -> Arc<BTreeSet<String>> {
        Arc::clone(&self.names)
    }

    /// Rule: C-MATCH-7.
    fn relatives(&self, name: &str, set: &SetFacts) -> BTreeSet<String> {
        let canaries_of = |base: &str| self.canaries.get(base).cloned().unwrap_or_default();
        let mut relatives = canaries_of(name);
        if let Some(base) = &set.canary_base {
            relatives.extend(canaries_of(base));
            relatives.remove(name);
            relatives.insert(base.clone());
        }
        relatives
    }

    /// All sets, each to be looked at.
    #[must_use]
    pub fn all_due(&self) -> Vec<Due> {
        self.names().map(|name| (Arc::clone(name), Duration::ZERO)).collect()
    }

    /// The sets that ask for Pods to be replaced that missed injection, each to be looked at.
    #[must_use]
    pub fn repair_due(&self) -> Vec<Due> {
        let asking = self.sets.iter().filter(|(_, set)| set.evicts_missed);
        asking.map(|(name, _)| (Arc::clone(name), Duration::ZERO)).collect()
    }

    /// All Namespaces.
    #[must_use]
    pub fn namespaces(&self) -> &Namespaces {
        &self.namespaces
    }

    /// Takes a set as the API server has it.
    ///
    /// # Errors
    ///
    /// It cannot be decoded; what was known of it is forgotten.
    pub fn apply_set(&mut self, document: &Value) -> Result<Option<Due>, String> {
        let name: Arc<str> = document["metadata"]["name"].as_str().unwrap_or_default().into();
        let set = SetFacts::new(document).map(Arc::new).map_err(|findings| {
            self.remove_set(&name);
            let told: Vec<String> = findings.iter().map(ToString::to_string).collect();
            told.join("; ")
        })?;
        let old = self.sets.insert(Arc::clone(&name), Arc::clone(&set));
        if !self.names.contains(&*name) {
            Arc::make_mut(&mut self.names).insert(name.to_string());
        }
        let read = |set: &SetFacts| {
            (set.canary_base.clone(), set.patched_keys().map(str::to_owned).collect::<BTreeSet<_>>())
        };
        if old.as_ref().is_none_or(|old| read(old) != read(&set)) {
            self.relate(&name, old.as_deref(), Some(&set));
        }
        let is_due = old.is_none_or(|old| trigger::after_set(&old, &set));
        Ok(is_due.then_some((name, Duration::ZERO)))
    }

    /// Takes a set as it is after its status was written, maybe with conditions. If they are not there, the resource definition does
    /// not know them, as upstream's: that holds for every set until a write shows something else.
    ///
    /// # Errors
    ///
    /// As [`apply_set`](Self::apply_set).
    pub fn apply_written_set(
        &mut self,
        document: &Value,
        had_conditions: bool,
    ) -> Result<Option<Due>, String> {
        if had_conditions {
            self.drops_conditions = !document["status"]["conditions"].is_array();
        }
        self.apply_set(document)
    }

    /// A set is gone, or cannot be read any more.
    pub fn remove_set(&mut self, name: &str) {
        let old = self.sets.remove(name);
        if self.names.contains(name) {
            Arc::make_mut(&mut self.names).remove(name);
        }
        if let Some(old) = old {
            self.relate(name, Some(&old), None);
            self.is_pruning_due = true;
        }
        self.memories.remove(name);
    }

    /// Keeps what depends on several sets: who is a canary of whom, and which annotations of Pods are needed.
    fn relate(&mut self, name: &str, old: Option<&SetFacts>, new: Option<&SetFacts>) {
        if let Some(base) = old.and_then(|old| old.canary_base.as_ref())
            && let Some(canaries) = self.canaries.get_mut(base)
        {
            canaries.remove(name);
        }
        if let Some(base) = new.and_then(|new| new.canary_base.as_ref()) {
            self.canaries.entry(base.clone()).or_default().insert(name.to_owned());
        }
        let patches = |set: Option<&SetFacts>| set.is_some_and(|set| set.patched_keys().next().is_some());
        if patches(old) || patches(new) {
            self.pods.keep(Keep::new(self.sets.values().flat_map(|set| set.patched_keys())));
        }
    }

    /// Takes a Pod; gives the sets that it concerns.
    pub fn apply_pod(&mut self, object: &PodObject) -> Vec<Due> {
        let change = self.pods.apply(object);
        self.after_pod(&change)
    }

    /// A Pod is gone; gives the sets that it concerned.
    pub fn remove_pod(&mut self, namespace: &str, name: &str, uid: &str) -> Vec<Due> {
        let change = self.pods.remove(namespace, name, uid);
        self.after_pod(&change)
    }

    /// The sets that a change of a Pod concerns: those that it names. Those that select it without having been injected are found by
    /// [`take_missed`](Self::take_missed).
    ///
    /// Rule: C-CTL-5, C-CTL-6, C-RUST-5.
    pub fn after_pod(&mut self, change: &Change) -> Vec<Due> {
        let Change { old, new } = change;
        let (old, new) = (old.as_deref(), new.as_deref());
        let mut due = Vec::new();
        // A Pod that changes its labels, or ends, is as good as one that comes or goes.
        let is_other =
            |old: &PodFacts, new: &PodFacts| old.labels != new.labels || old.is_active() != new.is_active();
        if self.is_worked_on && old.zip(new).is_none_or(|(old, new)| is_other(old, new)) {
            self.strangers.extend(change.old.iter().chain(&change.new).cloned());
        }
        if let Some(new) = new {
            self.evictions.see(new);
        }
        if let Some(old) = old.filter(|old| new.is_none_or(|new| new.uid != old.uid)) {
            // Also of sets that the Pod does not name: it may have missed their injection.
            self.memories.values_mut().for_each(|memory| memory.forget(&old.uid));
        }
        for name in trigger::sets_of(old, new) {
            let Some((name, set)) = self.sets.get_key_value(name) else { continue };
            if let Some((memory, new)) = self.memories.get_mut(name).zip(new) {
                memory.expectations.observe(new);
            }
            if let Some(delay) = trigger::after_pod(set, old, new) {
                due.push((Arc::clone(name), delay));
            }
        }
        due
    }

    /// The sets that select Pods which came or went since the last call and that were not injected into them: their counts of Pods that
    /// missed injection may have changed.
    pub fn take_missed(&mut self) -> Vec<Due> {
        let mut strangers = std::mem::take(&mut self.strangers);
        // Pods of one workload have the same labels and the same sets.
        strangers.sort_by_key(|pod| (Arc::as_ptr(&pod.labels).cast::<u8>(), pod.injected_sets().count()));
        strangers
            .dedup_by(|a, b| Arc::ptr_eq(&a.labels, &b.labels) && a.injected_sets().eq(b.injected_sets()));
        let misses = |set: &SetFacts| {
            let selects =
                |pod: &PodFacts| set.selector.as_ref().is_some_and(|selector| selector.matches(pod));
            strangers.iter().any(|pod| selects(pod) && !matching::is_injected(&set.name, pod))
        };
        let concerned = self.sets.iter().filter(|(_, set)| misses(set));
        concerned.map(|(name, _)| (Arc::clone(name), Duration::ZERO)).collect()
    }

    /// Takes a Namespace with its labels; gives the sets that it concerns.
    pub fn apply_namespace(&mut self, name: &str, labels: Vec<(String, String)>) -> Vec<Due> {
        if self.namespaces.get(name) == Some(&labels) {
            return Vec::new();
        }
        Arc::make_mut(&mut self.namespaces).insert(name.to_owned(), labels);
        self.after_namespace()
    }

    /// A Namespace is gone.
    pub fn remove_namespace(&mut self, name: &str) -> Vec<Due> {
        if !self.namespaces.contains_key(name) {
            return Vec::new();
        }
        Arc::make_mut(&mut self.namespaces).remove(name);
        self.after_namespace()
    }

    /// Rule: C-BUG-4.
    fn after_namespace(&self) -> Vec<Due> {
        let concerned = self.sets.iter().filter(|(_, set)| trigger::after_namespace(set));
        concerned.map(|(name, _)| (Arc::clone(name), Duration::ZERO)).collect()
    }

    /// Takes a revision. Gives the set that it is of.
    pub fn apply_revision(&mut self, revision: RevisionFacts) -> Option<Due> {
        use sidecarset_core::api::keys::REVISION_SET_NAME;
        let set = revision.labels.get(REVISION_SET_NAME)?.clone();
        let of_set = self.revisions.entry(set.clone()).or_default();
        let new = Arc::new(revision);
        let is_new = of_set.get(&new.name) != Some(&new);
        of_set.insert(new.name.clone(), new);
        self.sets.get_key_value(&*set).filter(|_| is_new).map(|(name, _)| (Arc::clone(name), Duration::ZERO))
    }

    /// A revision is gone.
    pub fn remove_revision(&mut self, name: &str) -> Option<Due> {
        let set =
            self.revisions.iter_mut().find_map(|(set, of_set)| of_set.remove(name).map(|_| set.clone()))?;
        self.sets.get_key_value(&*set).map(|(name, _)| (Arc::clone(name), Duration::ZERO))
    }

    /// Names of all revisions that are known.
    pub fn revision_names(&self) -> impl Iterator<Item = &String> {
        self.revisions.values().flat_map(BTreeMap::keys)
    }

    /// A write of ours succeeded: wait until it is seen.
    pub fn expect(&mut self, set: &str, key: PodKey, resource_version: &str, now: Duration) {
        if let Some(memory) = self.memories.get_mut(set) {
            memory.back_offs.remove(&key.uid);
            memory.expectations.expect(key, resource_version, now);
        }
    }

    /// A Pod could not be written; it is left alone for a while. Gives whether this is another error than the last time. Decision: D-32.
    pub fn back_off(&mut self, set: &str, uid: &str, back_off: BackOff, now: Instant) -> bool {
        let Some(memory) = self.memories.get_mut(set) else { return true };
        let before = memory.back_offs.remove(uid);
        let failures = before.as_ref().map_or(0, |pause| pause.failures);
        let is_new = before.is_none_or(|pause| pause.back_off.error != back_off.error);
        let doubled = 1_u32.checked_shl(failures).unwrap_or(u32::MAX);
        let pause = FIRST_PAUSE.checked_mul(doubled).map_or(LONGEST_PAUSE, |pause| pause.min(LONGEST_PAUSE));
        let pause = Pause { back_off, failures: failures.saturating_add(1), until: now + pause };
        memory.back_offs.insert(uid.to_owned(), pause);
        is_new
    }
}

impl Memory {
    /// A Pod is gone. Decision: D-30.
    fn forget(&mut self, uid: &str) {
        self.expectations.forget(uid);
        self.back_offs.remove(uid);
    }
}

#[cfg(test)]
mod tests;
