//! The index over sets: which sets can match a Pod at all, without looking at the others.
//!
//! Each set hangs under one anchor that it cannot match without: the rarest of its required label values, or its pinned
//! namespaces if those are rarer, else a label that must exist, else the residue that every Pod tries. The cost for a Pod
//! depends on the Pod's labels and on the sets that share them, not on the number of sets. Rule: I-DEF-30.

use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::compile::CompiledSet;
use crate::json::StrMap;
use crate::selector::{Condition, Requirement};

/// Positions of sets under their anchors.
#[derive(Debug, Default)]
pub(crate) struct Index {
    labels: FxHashMap<Box<str>, LabelAnchors>,
    namespaces: FxHashMap<Box<str>, Vec<u32>>,
    residue: Vec<u32>,
}

/// The shape of the index: what an admission pays depends on it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct IndexStatistics {
    /// Label values that sets hang under.
    pub label_values: usize,
    /// Label keys that sets hang under because they only ask for the key.
    pub label_keys: usize,
    /// Namespaces that sets hang under.
    pub namespaces: usize,
    /// Most sets under one of these anchors.
    pub largest: usize,
    /// Sets that hang under none, so that every Pod tries them.
    pub residue: usize,
}

#[derive(Debug, Default)]
struct LabelAnchors {
    values: FxHashMap<Box<str>, Vec<u32>>,
    exists: Vec<u32>,
}

/// How many sets require each label value and each namespace.
#[derive(Default)]
struct Frequencies<'a> {
    labels: FxHashMap<(&'a str, &'a str), usize>,
    namespaces: FxHashMap<&'a str, usize>,
}

enum Anchor<'a> {
    Values(&'a str, &'a [Box<str>]),
    Namespaces(&'a [Box<str>]),
    Exists(&'a str),
    Residue,
}

impl Index {
    /// Hangs every set that can match under its anchor.
    pub(crate) fn new(sets: &[Arc<CompiledSet>]) -> Self {
        let frequencies = Frequencies::count(sets);
        let mut index = Self::default();
        for (position, set) in (0_u32..).zip(sets).filter(|(_, set)| set.can_match()) {
            match frequencies.rarest_anchor(set) {
                Anchor::Values(key, values) => {
                    let anchors = index.labels.entry(key.into()).or_default();
                    for value in values {
                        anchors.values.entry(value.clone()).or_default().push(position);
                    }
                }
                Anchor::Namespaces(names) => {
                    for name in names {
                        index.namespaces.entry(name.clone()).or_default().push(position);
                    }
                }
                Anchor::Exists(key) => index.labels.entry(key.into()).or_default().exists.push(position),
                Anchor::Residue => index.residue.push(position),
            }
        }
        index
    }

    /// How many sets hang under which kind of anchor.
    pub(crate) fn statistics(&self) -> IndexStatistics {
        let values = || self.labels.values().flat_map(|anchors| anchors.values.values());
        let lists = values().chain(self.labels.values().map(|anchors| &anchors.exists));
        let largest = lists.chain(self.namespaces.values()).map(Vec::len).max();
        IndexStatistics {
            label_values: values().count(),
            label_keys: self.labels.values().filter(|anchors| !anchors.exists.is_empty()).count(),
            namespaces: self.namespaces.len(),
            largest: largest.unwrap_or_default(),
            residue: self.residue.len(),
        }
    }

    /// Positions of the sets that may match, ascending, each once.
    pub(crate) fn candidates(&self, namespace: &str, labels: Option<&StrMap<'_>>) -> Vec<u32> {
        let mut found = self.residue.clone();
        if let Some(positions) = self.namespaces.get(namespace) {
            found.extend_from_slice(positions);
        }
        for (key, value) in labels.into_iter().flat_map(StrMap::iter) {
            if let Some(anchors) = self.labels.get(key) {
                found.extend_from_slice(&anchors.exists);
                found.extend_from_slice(anchors.values.get(value).map_or(&[], |positions| positions));
            }
        }
        found.sort_unstable();
        found.dedup();
        found
    }
}

impl<'a> Frequencies<'a> {
    fn count(sets: &'a [Arc<CompiledSet>]) -> Self {
        let mut frequencies = Self::default();
        for set in sets.iter().filter(|set| set.can_match()) {
            for (key, values) in requirements(set).iter().filter_map(required_values) {
                for value in values {
                    *frequencies.labels.entry((key, value)).or_default() += 1;
                }
            }
            for name in set.pinned_namespaces.iter().flatten() {
                *frequencies.namespaces.entry(name).or_default() += 1;
            }
        }
        frequencies
    }

    fn rarest_anchor(&self, set: &'a CompiledSet) -> Anchor<'a> {
        let pin = set.pinned_namespaces.as_deref().map(|names| {
            let cost = names
                .iter()
                .map(|name| self.namespaces.get(&**name).copied().unwrap_or_default())
                .sum::<usize>();
            (cost, Anchor::Namespaces(names))
        });
        // A broken selector is an error for every Pod in its reach, whatever the Pod's labels (I-MATCH-8).
        let is_broken = set.selector.as_ref().is_some_and(|selector| selector.unknown_operator().is_some());
        let requirements = if is_broken { &[] } else { requirements(set) };
        let values = requirements.iter().filter_map(required_values).map(|(key, values)| {
            let cost = values
                .iter()
                .map(|value| self.labels.get(&(key, &**value)).copied().unwrap_or_default())
                .sum();
            (cost, Anchor::Values(key, values))
        });
        let rarest = values.chain(pin).min_by_key(|(cost, _)| *cost).map(|(_, anchor)| anchor);
        let exists = || requirements.iter().find(|requirement| requirement.condition == Condition::Exists);
        rarest
            .or_else(|| exists().map(|requirement| Anchor::Exists(&requirement.key)))
            .unwrap_or(Anchor::Residue)
    }
}

fn requirements(set: &CompiledSet) -> &[Requirement] {
    set.selector.as_ref().map_or(&[], |selector| selector.requirements())
}

fn required_values(requirement: &Requirement) -> Option<(&str, &[Box<str>])> {
    match &requirement.condition {
        Condition::In(values) => Some((&requirement.key, values)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::json::Cursor;
    use crate::revision::Revisions;

    fn mk_index(specs: &[Value]) -> Index {
        let sets: Vec<_> = (0..)
            .zip(specs)
            .map(|(number, spec)| {
                let set = json!({"metadata": {"name": format!("s{number}")}, "spec": spec});
                Arc::new(CompiledSet::compile(&set, &Revisions::default()))
            })
            .collect();
        Index::new(&sets)
    }

    fn candidates(index: &Index, namespace: &str, labels: &Value) -> Vec<u32> {
        let text = labels.to_string();
        index.candidates(namespace, Some(&Cursor::read_all(&text).unwrap()))
    }

    #[test]
    fn a_set_hangs_under_the_rarest_thing_it_requires() {
        let pinned = json!({"matchLabels": {"kubernetes.io/metadata.name": "ns1"}});
        let index = mk_index(&[
            json!({"selector": {"matchLabels": {"app": "web"}}}),
            json!({"selector": {"matchLabels": {"app": "web", "tier": "x"}}}),
            json!({"selector": {"matchLabels": {"app": "web"}}, "namespaceSelector": pinned}),
            json!({"selector": {"matchExpressions": [{"key": "app", "operator": "In", "values": ["a", "b"]}]}}),
            json!({"selector": {"matchExpressions": [{"key": "gone", "operator": "DoesNotExist"}]}}),
            json!({"selector": {"matchExpressions": [{"key": "some", "operator": "Exists"}]}}),
            json!({"selector": {}}),
            json!({"selector": {"matchLabels": {"app": "web"}}, "injectionStrategy": {"paused": true}}),
        ]);
        assert_eq!(candidates(&index, "other", &json!({"app": "web"})), [0, 4]);
        assert_eq!(candidates(&index, "ns1", &json!({"app": "web"})), [0, 2, 4]);
        assert_eq!(candidates(&index, "other", &json!({"tier": "x"})), [1, 4]);
        assert_eq!(candidates(&index, "other", &json!({"app": "b", "some": ""})), [3, 4, 5]);
        assert_eq!(index.candidates("other", None), [4]);
        let shape = IndexStatistics { label_values: 4, label_keys: 1, namespaces: 1, largest: 1, residue: 1 };
        assert_eq!(index.statistics(), shape);
    }

    /// Rule: I-MATCH-8.
    #[test]
    fn a_broken_selector_is_seen_by_every_pod_in_reach() {
        let broken =
            json!({"matchLabels": {"app": "web"}, "matchExpressions": [{"key": "a", "operator": "badOp"}]});
        let pinned = json!({"matchLabels": {"kubernetes.io/metadata.name": "ns1"}});
        let index = mk_index(&[
            json!({"selector": broken}),
            json!({"selector": broken, "namespaceSelector": pinned}),
        ]);
        assert_eq!(candidates(&index, "other", &json!({"x": "y"})), [0]);
        assert_eq!(candidates(&index, "ns1", &json!({"x": "y"})), [0, 1]);
    }
}
