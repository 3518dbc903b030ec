//! The stored sets that use one name, and which of them a new set can overlap with.

use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};

use super::super::overlap::Facts;
use super::{Reach, StoredSet};
use crate::selector::{Condition, Selector};

/// Up to that many sets are compared one by one.
const UNINDEXED: usize = 16;

/// A set that uses the name.
#[derive(Debug)]
pub(super) struct Member {
    /// Position of the set.
    pub(super) set: u32,
    /// How the set defines the name.
    pub(super) definition: Arc<str>,
}

/// All sets that use one name.
#[derive(Debug, Default)]
pub(super) struct Group {
    members: Vec<Member>,
    has_several_definitions: bool,
    /// By Pod labels and by namespace labels, if there are many members.
    anchors: Option<Box<[Anchors; 2]>>,
}

/// Positions of members under the label that they require.
#[derive(Debug, Default)]
struct Anchors {
    labels: FxHashMap<Box<str>, LabelAnchors>,
    /// Members that require no value of any label.
    residue: Vec<u32>,
}

#[derive(Debug, Default)]
struct LabelAnchors {
    values: FxHashMap<Box<str>, Vec<u32>>,
    all: Vec<u32>,
}

impl Group {
    pub(super) fn push(&mut self, set: u32, definition: Arc<str>) {
        self.has_several_definitions |= self.members.last().is_some_and(|last| last.definition != definition);
        self.members.push(Member { set, definition });
    }

    /// To be called once all members are there.
    pub(super) fn index(&mut self, sets: &[Arc<StoredSet>]) {
        if self.members.len() <= UNINDEXED {
            return;
        }
        let reaches: Vec<&Reach> =
            self.members.iter().filter_map(|member| Some(&sets.get(member.set as usize)?.reach)).collect();
        self.anchors = Some(Box::new([
            Anchors::new(reaches.iter().map(|reach| reach.selector.as_ref())),
            Anchors::new(reaches.iter().map(|reach| reach.namespace_selector.as_ref())),
        ]));
    }

    /// The definition that all members have.
    pub(super) fn only_definition(&self) -> Option<&str> {
        self.members.first().filter(|_| !self.has_several_definitions).map(|member| &*member.definition)
    }

    /// The members that may overlap with a set, some perhaps twice: those that the Pod labels or those that the namespace
    /// labels leave over, whichever are fewer.
    pub(super) fn candidates(&self, reach: &Reach) -> impl Iterator<Item = &Member> {
        let all = if self.anchors.is_none() { &*self.members } else { &[] };
        let anchored = self.anchors.as_ref().map(|anchors| {
            let [by_pod, by_namespace] = &**anchors;
            let by_pod = by_pod.candidates(reach.selector.as_ref());
            let by_namespace = by_namespace.candidates(reach.namespace_selector.as_ref());
            let count = |lists: &[&[u32]]| lists.iter().map(|list| list.len()).sum::<usize>();
            if count(&by_namespace) < count(&by_pod) { by_namespace } else { by_pod }
        });
        let anchored = anchored.into_iter().flatten().flatten();
        all.iter().chain(anchored.filter_map(|position| self.members.get(*position as usize)))
    }
}

impl Anchors {
    /// Each member hangs under the label that tells most members apart.
    fn new<'s>(selectors: impl Iterator<Item = Option<&'s Selector>> + Clone) -> Self {
        let mut values: FxHashMap<&str, FxHashSet<&str>> = FxHashMap::default();
        for (key, required) in selectors.clone().flatten().flat_map(required_values) {
            values.entry(key).or_default().extend(required.iter().map(|value| &**value));
        }
        let mut anchors = Self::default();
        for (position, selector) in (0..).zip(selectors) {
            let required = selector.into_iter().flat_map(required_values);
            let Some((key, required)) =
                required.max_by_key(|(key, _)| (values.get(key).map(FxHashSet::len), *key))
            else {
                anchors.residue.push(position);
                continue;
            };
            let label = anchors.labels.entry(key.into()).or_default();
            label.all.push(position);
            for value in required {
                label.values.entry(value.clone()).or_default().push(position);
            }
        }
        anchors
    }

    /// Everything but the members that require other values of a label than `selector` does: by every test of overlap those
    /// have nothing in common with it.
    fn candidates(&self, selector: Option<&Selector>) -> Vec<&[u32]> {
        let facts = selector.map(Facts::of).unwrap_or_default();
        let mut lists = vec![&*self.residue];
        for (key, label) in &self.labels {
            match facts.values(key) {
                Some(values) => {
                    lists.extend(
                        values.iter().filter_map(|value| label.values.get(*value)).map(Vec::as_slice),
                    );
                }
                None => lists.push(&label.all),
            }
        }
        lists
    }
}

fn required_values(selector: &Selector) -> impl Iterator<Item = (&str, &[Box<str>])> {
    selector.requirements().iter().filter_map(|requirement| match &requirement.condition {
        Condition::In(values) => Some((&*requirement.key, &**values)),
        _ => None,
    })
}
