//! The Pods of the cluster, small and shared, found by what sets ask for.
//!
//! Pods of one workload have the same labels and the same list of injected sets, so they lie together in one group. A set looks at
//! groups, of which there are few, and takes the Pods of those that concern it.
//!
//! Rule: C-RUST-3, C-RUST-4, C-BUG-33, C-BUG-34.

use std::borrow::Borrow;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};
use sidecarset_core::api::keys;
use sidecarset_core::control::PodObject;
use sidecarset_core::control::interner::{Interner, Pairs};
use sidecarset_core::control::pod::{Keep, PodFacts};
use sidecarset_core::selector::Selector;

/// Namespace and name: what a Pod is found by.
trait Named {
    fn key(&self) -> (&str, &str);
}

impl Named for (&str, &str) {
    fn key(&self) -> (&str, &str) {
        *self
    }
}

impl Hash for dyn Named + '_ {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key().hash(state);
    }
}

impl PartialEq for dyn Named + '_ {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for dyn Named + '_ {}

/// A Pod in a set that is searched by its key, without a second copy of it.
#[derive(Debug, Clone)]
struct Entry(Arc<PodFacts>);

impl Named for Entry {
    fn key(&self) -> (&str, &str) {
        self.0.key()
    }
}

impl Hash for Entry {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key().hash(state);
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Entry {}

impl<'a> Borrow<dyn Named + 'a> for Entry {
    fn borrow(&self) -> &(dyn Named + 'a) {
        self
    }
}

/// What Pods of one group have in common: labels, and the annotation that lists the injected sets.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Group {
    labels: Pairs,
    injected: Option<Arc<str>>,
}

impl Group {
    fn of(pod: &PodFacts) -> Self {
        let list = pod.annotations.iter().find(|(key, _)| &**key == keys::INJECTED_LIST);
        Self { labels: Arc::clone(&pod.labels), injected: list.map(|(_, value)| Arc::clone(value)) }
    }

    fn names(&self, set: &str) -> bool {
        self.injected.as_deref().is_some_and(|list| list.split(',').any(|name| name == set))
    }
}

/// A Pod before and after a change; both are `None` if nothing changed.
#[derive(Debug, Default)]
pub struct Change {
    /// As it was kept.
    pub old: Option<Arc<PodFacts>>,
    /// As it is kept now.
    pub new: Option<Arc<PodFacts>>,
}

/// All Pods.
#[derive(Debug, Default)]
pub struct Pods {
    pods: FxHashSet<Entry>,
    groups: FxHashMap<Group, FxHashSet<Entry>>,
    interner: Interner,
    keep: Keep,
    /// A list that is not complete yet: which Pods it had so far.
    listing: Option<FxHashSet<Entry>>,
}

impl Pods {
    /// Which annotations the next Pods are kept with. Those that are there stay as they are: who needs more of one reads it live.
    pub fn keep(&mut self, keep: Keep) {
        self.keep = keep;
    }

    /// Takes a Pod as the API server has it, unless a newer one is known: our own writes come back faster than the watch.
    pub fn apply(&mut self, object: &PodObject) -> Change {
        let new = Arc::new(PodFacts::new(object, &self.keep, &mut self.interner));
        let old = self.get(new.key());
        if old.as_ref().is_some_and(|old| is_newer(old, &new)) {
            return Change::default();
        }
        if let Some(old) = &old {
            self.take_out(old);
        }
        self.groups.entry(Group::of(&new)).or_default().insert(Entry(Arc::clone(&new)));
        self.pods.insert(Entry(Arc::clone(&new)));
        Change { old, new: Some(new) }
    }

    /// A Pod is gone. Another one of that name may be there already; it stays.
    pub fn remove(&mut self, namespace: &str, name: &str, uid: &str) -> Change {
        let Some(old) = self.get((namespace, name)).filter(|old| &*old.uid == uid) else {
            return Change::default();
        };
        self.take_out(&old);
        Change { old: Some(old), new: None }
    }

    /// A list begins. What it does not have goes when it is complete, not before.
    pub fn begin_list(&mut self) {
        self.listing = Some(FxHashSet::default());
    }

    /// The list has the Pod of that namespace and name, or a change of it came. That one of our own writes succeeded says less: the Pod
    /// may have gone after it and before the list was made.
    pub fn note_listed(&mut self, key: (&str, &str)) {
        let pod = self.get(key);
        if let Some((listing, pod)) = self.listing.as_mut().zip(pod) {
            listing.insert(Entry(pod));
        }
    }

    /// The list is complete: gives the Pods that it did not have, which are gone.
    pub fn end_list(&mut self) -> Vec<Change> {
        let Some(listed) = self.listing.take() else { return Vec::new() };
        let gone: Vec<Arc<PodFacts>> =
            self.pods.iter().filter(|pod| !listed.contains(*pod)).map(|pod| Arc::clone(&pod.0)).collect();
        for pod in &gone {
            self.take_out(pod);
        }
        self.interner.sweep();
        gone.into_iter().map(|old| Change { old: Some(old), new: None }).collect()
    }

    /// The Pod of that namespace and name.
    #[must_use]
    pub fn get(&self, key: (&str, &str)) -> Option<Arc<PodFacts>> {
        self.pods.get(&key as &dyn Named).map(|entry| Arc::clone(&entry.0))
    }

    /// Every Pod that names the set or whose labels the selector selects.
    #[must_use]
    pub fn of_set(&self, set: &str, selector: Option<&Selector>) -> Vec<Arc<PodFacts>> {
        let concerns = |group: &Group, pods: &FxHashSet<Entry>| {
            // The labels are the same in the whole group.
            let selects = || selector.zip(pods.iter().next()).is_some_and(|(s, pod)| s.matches(&*pod.0));
            group.names(set) || selects()
        };
        let groups = self.groups.iter().filter(|(group, pods)| concerns(group, pods));
        groups.flat_map(|(_, pods)| pods.iter().map(|pod| Arc::clone(&pod.0))).collect()
    }

    /// All Pods, in any order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<PodFacts>> {
        self.pods.iter().map(|entry| &entry.0)
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.pods.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pods.is_empty()
    }

    fn take_out(&mut self, pod: &PodFacts) {
        let group = Group::of(pod);
        if let Some(pods) = self.groups.get_mut(&group) {
            pods.remove(&pod.key() as &dyn Named);
            if pods.is_empty() {
                self.groups.remove(&group);
            }
        }
        self.pods.remove(&pod.key() as &dyn Named);
    }
}

/// Whether `known` is a later state than `seen` of the same Pod. Versions are compared as the API server itself promises since 1.35:
/// as numbers.
fn is_newer(known: &PodFacts, seen: &PodFacts) -> bool {
    let version = |pod: &PodFacts| pod.resource_version.parse::<u64>().ok();
    known.uid == seen.uid && version(known).zip(version(seen)).is_some_and(|(known, seen)| known > seen)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(name: &str, uid: &str, version: u64, app: &str, injected: &str) -> PodObject {
        serde_json::from_value(json!({"metadata": {
            "namespace": "shop", "name": name, "uid": uid, "resourceVersion": version.to_string(),
            "labels": {"app": app}, "annotations": {keys::INJECTED_LIST: injected},
        }}))
        .expect("a Pod")
    }

    fn names(pods: &[Arc<PodFacts>]) -> Vec<&str> {
        let mut names: Vec<&str> = pods.iter().map(|pod| &*pod.name).collect();
        names.sort_unstable();
        names
    }

    /// Rule: C-RUST-4.
    #[test]
    fn a_set_gets_the_pods_that_name_it_and_those_that_it_selects() {
        let mut pods = Pods::default();
        for (name, app, injected) in
            [("a", "x", "log"), ("b", "y", "log,mesh"), ("c", "x", ""), ("d", "z", "")]
        {
            pods.apply(&pod(name, name, 1, app, injected));
        }
        let selector = Selector::compile(&json!({"matchLabels": {"app": "x"}}));
        assert_eq!(names(&pods.of_set("log", None)), ["a", "b"]);
        assert_eq!(names(&pods.of_set("mesh", Some(&selector))), ["a", "b", "c"]);
        assert_eq!(names(&pods.of_set("lo", None)), [""; 0]);
        pods.apply(&pod("a", "a", 2, "y", ""));
        assert_eq!(names(&pods.of_set("log", None)), ["b"], "a change moves it to another group");
    }

    /// Rule: C-RUST-6.
    #[test]
    fn an_older_state_does_not_replace_a_newer_one() {
        let mut pods = Pods::default();
        pods.apply(&pod("a", "1", 9, "x", ""));
        let change = pods.apply(&pod("a", "1", 7, "y", ""));
        assert!(change.old.is_none() && change.new.is_none());
        assert_eq!(&*pods.get(("shop", "a")).expect("there").resource_version, "9");
        let change = pods.apply(&pod("a", "2", 8, "y", ""));
        assert!(change.new.is_some(), "another Pod of the same name");
        assert!(pods.remove("shop", "a", "1").old.is_none(), "the one that is there now stays");
        assert!(pods.remove("shop", "a", "2").old.is_some());
        assert!(pods.is_empty() && pods.groups.is_empty());
    }

    #[test]
    fn a_list_takes_away_what_it_lacks_when_it_is_complete() {
        let mut pods = Pods::default();
        pods.apply(&pod("a", "1", 1, "x", ""));
        pods.apply(&pod("b", "2", 2, "x", ""));
        pods.begin_list();
        pods.apply(&pod("b", "2", 2, "x", ""));
        pods.note_listed(("shop", "b"));
        pods.apply(&pod("a", "1", 3, "x", "log"));
        assert_eq!(pods.len(), 2);
        let gone = pods.end_list();
        assert_eq!(gone.len(), 1, "a write of ours is no news of the list");
        assert_eq!(pods.len(), 1);
        assert!(pods.get(("shop", "b")).is_some());
    }
}
