//! From watched objects to what admissions and validation read. Only what changed is made anew.

use std::sync::Arc;

use rustc_hash::FxHashMap;
use serde_json::Value;
use sidecarset_core::compile::CompiledSet;
use sidecarset_core::snapshot::{CompiledSets, Namespaces, Snapshot, UnlistedNamespaces};
use sidecarset_core::validation::StoredSets;

use super::store::guarded;
use super::world::{Changes, Form, KeptSet, RevisionIndex};
use crate::source::stored::{StoredCluster, StoredRevision};

/// Remembers what was made last.
#[derive(Debug)]
pub struct Compiler {
    kept: Vec<Arc<KeptSet>>,
    pinned: FxHashMap<Box<str>, PinnedSet>,
    compiled: Arc<CompiledSets>,
    stored: Arc<StoredSets>,
    namespaces: Arc<Namespaces>,
    revisions: Arc<[Arc<StoredRevision>]>,
    allow_list: Option<Arc<Value>>,
    /// Pinned sets that could not be compiled, with the reason.
    left_out: Vec<(Box<str>, String)>,
}

/// What a compile gives.
#[derive(Debug)]
pub struct Compiled {
    /// For admissions.
    pub snapshot: Snapshot,
    /// For validation.
    pub cluster: StoredCluster,
    /// Sets that admissions do without, by name, with the reason.
    pub left_out: Vec<(String, String)>,
}

/// A set that was compiled with revisions, and with which.
#[derive(Debug)]
struct PinnedSet {
    kept: Arc<KeptSet>,
    revisions: Vec<Arc<StoredRevision>>,
    compiled: Arc<CompiledSet>,
}

impl Default for Compiler {
    fn default() -> Self {
        Self {
            kept: Vec::new(),
            pinned: FxHashMap::default(),
            compiled: Arc::default(),
            stored: Arc::default(),
            namespaces: Arc::new(Namespaces::new([], UnlistedNamespaces::Unknown)),
            revisions: Arc::default(),
            allow_list: None,
            left_out: Vec::new(),
        }
    }
}

impl Compiler {
    /// Takes changes, and gives the Snapshot and what belongs to it.
    pub fn compile(&mut self, changes: Changes) -> Compiled {
        let Changes { sets, namespaces, revisions, allow_list } = changes;
        let (sets_changed, revisions_changed) = (sets.is_some(), revisions.is_some());
        if let Some(sets) = sets {
            self.kept = sets;
            self.stored =
                Arc::new(StoredSets::of_sets(self.kept.iter().map(|set| Arc::clone(&set.stored)).collect()));
        }
        if let Some(revisions) = revisions {
            self.revisions = revisions;
        }
        let pinned_changed = (sets_changed || revisions_changed) && self.compile_pinned();
        if sets_changed || pinned_changed {
            self.compiled =
                Arc::new(CompiledSets::new(self.kept.iter().filter_map(|set| self.form(set)).collect()));
        }
        if let Some(namespaces) = namespaces {
            self.namespaces = Arc::new(Namespaces::new(namespaces, UnlistedNamespaces::Unknown));
        }
        if let Some(allow_list) = allow_list {
            self.allow_list = allow_list;
        }
        let snapshot = Snapshot::of_compiled(Arc::clone(&self.compiled), Arc::clone(&self.namespaces));
        let cluster = StoredCluster {
            sets: Arc::clone(&self.stored),
            revisions: Arc::clone(&self.revisions),
            allow_list: self.allow_list.clone(),
        };
        let left_out =
            self.left_out.iter().map(|(name, reason)| (name.to_string(), reason.clone())).collect();
        Compiled { snapshot, cluster, left_out }
    }

    fn form(&self, set: &KeptSet) -> Option<Arc<CompiledSet>> {
        match &set.form {
            Form::Ready(compiled) => Some(Arc::clone(compiled)),
            Form::Pinned(_) => self.pinned.get(set.name()).map(|pinned| Arc::clone(&pinned.compiled)),
        }
    }

    /// Compiles the sets that ask for a revision and that changed, or whose revisions did. Gives whether there were any.
    fn compile_pinned(&mut self) -> bool {
        let is_pinned = |set: &&Arc<KeptSet>| matches!(set.form, Form::Pinned(_));
        self.left_out.clear();
        if !self.kept.iter().any(|set| is_pinned(&set)) {
            self.pinned = FxHashMap::default();
            return false;
        }
        let index = RevisionIndex::new(&self.revisions);
        let mut before = std::mem::take(&mut self.pinned);
        let mut any = false;
        for set in &self.kept {
            let Form::Pinned(form) = &set.form else { continue };
            let meant = form.meant(set.name(), &index);
            let known = before.remove(set.name()).filter(|known| known.is_made_of(set, &meant));
            any |= known.is_none();
            let compile = || PinnedSet {
                kept: Arc::clone(set),
                compiled: Arc::new(form.compile(&meant)),
                revisions: meant.iter().map(|revision| Arc::clone(revision)).collect(),
            };
            match known.map_or_else(|| guarded(compile), Ok) {
                Ok(pinned) => _ = self.pinned.insert(set.name().into(), pinned),
                Err(reason) => {
                    tracing::error!(sidecarset.name = set.name(), reason, "a SidecarSet is left out");
                    self.left_out.push((set.name().into(), reason));
                }
            }
        }
        any
    }
}

impl PinnedSet {
    fn is_made_of(&self, set: &Arc<KeptSet>, revisions: &[&Arc<StoredRevision>]) -> bool {
        Arc::ptr_eq(&self.kept, set)
            && self.revisions.len() == revisions.len()
            && self.revisions.iter().zip(revisions).all(|(one, other)| Arc::ptr_eq(one, other))
    }
}
