//! Texts and lists that many Pods share, kept once.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::pod::{ContainerFact, Keep, StatusFact, Upgradable};
use super::records::RecordBody;

/// Pairs of texts, sorted by key: labels, annotations.
pub type Pairs = Arc<[(Arc<str>, Arc<str>)]>;

/// What Pods of one workload have in common, stored once and shared. Trees, not hash maps: keys come from outside.
///
/// Rule: C-RUST-3.
#[derive(Debug, Default)]
pub struct Interner {
    texts: BTreeSet<Arc<str>>,
    pairs: BTreeSet<Pairs>,
    containers: BTreeSet<Arc<[ContainerFact]>>,
    statuses: BTreeSet<Arc<[StatusFact]>>,
    records: BTreeSet<Arc<RecordBody>>,
    conditions: BTreeSet<Arc<Upgradable>>,
    keeps: BTreeSet<Arc<Keep>>,
}

impl Interner {
    /// The shared copy of a text.
    pub fn text(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.texts.get(text) {
            return known.clone();
        }
        let shared: Arc<str> = text.into();
        self.texts.insert(shared.clone());
        shared
    }

    /// The shared copy of pairs, sorted by key.
    pub fn pairs<'t>(&mut self, pairs: impl IntoIterator<Item = (&'t str, &'t str)>) -> Pairs {
        let mut list: Vec<_> =
            pairs.into_iter().map(|(key, value)| (self.text(key), self.text(value))).collect();
        list.sort();
        shared(&mut self.pairs, list.into())
    }

    pub(super) fn containers(&mut self, list: Vec<ContainerFact>) -> Arc<[ContainerFact]> {
        shared(&mut self.containers, list.into())
    }

    pub(super) fn statuses(&mut self, list: Vec<StatusFact>) -> Arc<[StatusFact]> {
        shared(&mut self.statuses, list.into())
    }

    pub(super) fn record(&mut self, body: RecordBody) -> Arc<RecordBody> {
        shared(&mut self.records, body.into())
    }

    pub(super) fn condition(&mut self, condition: Upgradable) -> Arc<Upgradable> {
        shared(&mut self.conditions, condition.into())
    }

    pub(super) fn keep(&mut self, keep: &Keep) -> Arc<Keep> {
        match self.keeps.get(keep) {
            Some(known) => known.clone(),
            None => shared(&mut self.keeps, keep.clone().into()),
        }
    }

    /// Forgets what no Pod uses any more. Worth calling after many Pods went, for example with each resync.
    pub fn sweep(&mut self) {
        // Lists hold texts, so they go first.
        self.pairs.retain(|kept| Arc::strong_count(kept) > 1);
        self.containers.retain(|kept| Arc::strong_count(kept) > 1);
        self.statuses.retain(|kept| Arc::strong_count(kept) > 1);
        self.records.retain(|kept| Arc::strong_count(kept) > 1);
        self.conditions.retain(|kept| Arc::strong_count(kept) > 1);
        self.keeps.retain(|kept| Arc::strong_count(kept) > 1);
        self.texts.retain(|kept| Arc::strong_count(kept) > 1);
    }

    /// How many texts and lists are kept.
    #[must_use]
    pub fn len(&self) -> usize {
        let Self { texts, pairs, containers, statuses, records, conditions, keeps } = self;
        texts.len()
            + pairs.len()
            + containers.len()
            + statuses.len()
            + records.len()
            + conditions.len()
            + keeps.len()
    }

    /// Whether nothing is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

fn shared<T: ?Sized + Ord>(known: &mut BTreeSet<Arc<T>>, value: Arc<T>) -> Arc<T> {
    if let Some(known) = known.get(&*value) {
        return known.clone();
    }
    known.insert(value.clone());
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rule: C-RUST-3.
    #[test]
    fn equal_values_are_one_and_go_when_nobody_uses_them() {
        let mut interner = Interner::default();
        let (one, two) = (interner.pairs([("b", "1"), ("a", "2")]), interner.pairs([("a", "2"), ("b", "1")]));
        assert!(Arc::ptr_eq(&one, &two));
        assert_eq!(interner.len(), 5);
        drop(one);
        interner.sweep();
        assert_eq!(interner.len(), 5, "one user is left");
        drop(two);
        interner.sweep();
        assert!(interner.is_empty());
    }
}
