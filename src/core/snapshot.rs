//! All that an admission may read of the cluster: compiled sets under their anchors, labels of namespaces. Immutable,
//! built off the hot path.

use std::sync::Arc;

use rustc_hash::FxHashMap;
use serde_json::Value;

use crate::api::keys;
use crate::compile::CompiledSet;
use crate::index::Index;
use crate::revision::Revisions;

pub use crate::index::IndexStatistics;
pub use crate::source::SidecarSet;

/// What a Snapshot says about a namespace that it does not list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnlistedNamespaces {
    /// It exists and has the label `kubernetes.io/metadata.name`: a folder as source (D-23).
    HaveNameLabel,
    /// It has to be read live: a cluster as source.
    Unknown,
}

/// The parts that a Snapshot is built from.
#[derive(Debug)]
pub struct SnapshotParts {
    /// The sets; of several with one name the last counts.
    pub sets: Vec<SidecarSet>,
    /// Namespaces: name and labels.
    pub namespaces: Vec<(String, Vec<(String, String)>)>,
    /// ControllerRevisions as JSON (D-1).
    pub revisions: Vec<Value>,
    /// Namespace of the revisions that count (I-CONST-15); `None` counts all, as a folder of files does.
    pub revision_namespace: Option<String>,
    /// What holds for other namespaces.
    pub unlisted_namespaces: UnlistedNamespaces,
}

/// Namespace that revisions are kept in unless the process is told otherwise. Rule: I-CONST-15.
pub const DEFAULT_REVISION_NAMESPACE: &str = "kruise-system";

/// Labels of a namespace, as far as a Snapshot knows them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NamespaceLabels<'a> {
    /// It is listed with these labels.
    Listed(&'a [(String, String)]),
    /// It is not listed and counts as existing with its name label only.
    NameOnly,
    /// It is not listed and has to be read live.
    Unknown,
}

/// Sets made ready, under their anchors. Costs much to build and nothing to share: a Snapshot in which only namespaces changed has
/// the one of the Snapshot before.
#[derive(Debug, Default)]
pub struct CompiledSets {
    sets: Vec<Arc<CompiledSet>>,
    index: Index,
}

impl CompiledSets {
    /// Builds the index over sets; of several with one name the last counts.
    #[must_use]
    pub fn new(mut sets: Vec<Arc<CompiledSet>>) -> Self {
        // Name order is the order in which sets apply (D-20).
        sets.sort_by(|a, b| a.name.cmp(&b.name));
        sets.reverse();
        sets.dedup_by(|later, kept| later.name == kept.name);
        sets.reverse();
        Self { index: Index::new(&sets), sets }
    }
}

/// Labels of a namespace: key and value.
pub type LabelList = Arc<[(String, String)]>;

/// Adds the label that every Namespace of a cluster has, and that a file may leave out. Rule: I-CONST-16.
#[must_use]
pub fn with_name_label(name: &str, mut labels: Vec<(String, String)>) -> Vec<(String, String)> {
    if !labels.iter().any(|(key, _)| key == keys::NAMESPACE_NAME) {
        labels.push((keys::NAMESPACE_NAME.to_owned(), name.to_owned()));
    }
    labels
}

/// The namespaces that a Snapshot lists, and what it says about others.
#[derive(Debug)]
pub struct Namespaces {
    listed: FxHashMap<Box<str>, LabelList>,
    unlisted: UnlistedNamespaces,
}

impl Namespaces {
    /// Namespaces with all their labels.
    #[must_use]
    pub fn new(
        listed: impl IntoIterator<Item = (Box<str>, LabelList)>,
        unlisted: UnlistedNamespaces,
    ) -> Self {
        Self { listed: listed.into_iter().collect(), unlisted }
    }
}

/// The immutable facts that an admission may use.
#[derive(Debug)]
pub struct Snapshot {
    sets: Arc<CompiledSets>,
    namespaces: Arc<Namespaces>,
}

impl Snapshot {
    /// Compiles the sets and builds the index over them.
    #[must_use]
    pub fn new(parts: SnapshotParts) -> Self {
        let SnapshotParts { sets, namespaces, mut revisions, revision_namespace, unlisted_namespaces } =
            parts;
        if let Some(namespace) = revision_namespace {
            revisions.retain(|revision| revision["metadata"]["namespace"] == *namespace);
        }
        let revisions = Revisions::new(&revisions);
        let compile = |set: &SidecarSet| Arc::new(CompiledSet::compile(set.document(), &revisions));
        let sets = CompiledSets::new(sets.iter().map(compile).collect());
        let listed = namespaces.into_iter().map(|(name, labels)| {
            let labels = with_name_label(&name, labels);
            (name.into(), labels.into())
        });
        Self::of_compiled(Arc::new(sets), Arc::new(Namespaces::new(listed, unlisted_namespaces)))
    }

    /// A Snapshot of parts that are ready already.
    #[must_use]
    pub fn of_compiled(sets: Arc<CompiledSets>, namespaces: Arc<Namespaces>) -> Self {
        Self { sets, namespaces }
    }

    /// Number of sets, paused ones included.
    #[must_use]
    pub fn set_count(&self) -> usize {
        self.sets.sets.len()
    }

    /// The sets, sorted by name.
    #[must_use]
    pub fn sets(&self) -> &[Arc<CompiledSet>] {
        &self.sets.sets
    }

    /// The index over [`Snapshot::sets`].
    #[must_use]
    pub(crate) fn index(&self) -> &Index {
        &self.sets.index
    }

    /// The shape of the index.
    #[must_use]
    pub fn index_statistics(&self) -> IndexStatistics {
        self.index().statistics()
    }

    /// Number of namespaces that are listed.
    #[must_use]
    pub fn namespace_count(&self) -> usize {
        self.namespaces.listed.len()
    }

    /// What is known about a namespace.
    #[must_use]
    pub fn namespace(&self, name: &str) -> NamespaceLabels<'_> {
        match (self.namespaces.listed.get(name), self.namespaces.unlisted) {
            (Some(labels), _) => NamespaceLabels::Listed(labels),
            (None, UnlistedNamespaces::HaveNameLabel) => NamespaceLabels::NameOnly,
            (None, UnlistedNamespaces::Unknown) => NamespaceLabels::Unknown,
        }
    }
}
