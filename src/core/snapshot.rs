//! All that an admission may read of the cluster: compiled sets under their anchors, labels of namespaces. Immutable,
//! built off the hot path.

use rustc_hash::FxHashMap;
use serde_json::Value;

use crate::api::keys;
use crate::compile::CompiledSet;
use crate::index::Index;
use crate::revision::Revisions;

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

/// The immutable facts that an admission may use.
#[derive(Debug)]
pub struct Snapshot {
    sets: Vec<CompiledSet>,
    index: Index,
    namespaces: FxHashMap<String, Vec<(String, String)>>,
    unlisted_namespaces: UnlistedNamespaces,
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
        let mut sets: Vec<CompiledSet> =
            sets.iter().map(|set| CompiledSet::compile(set.document(), &revisions)).collect();
        // Name order is the order in which sets apply (D-20).
        sets.sort_by(|a, b| a.name.cmp(&b.name));
        sets.reverse();
        sets.dedup_by(|later, kept| later.name == kept.name);
        sets.reverse();
        let namespaces = namespaces
            .into_iter()
            .map(|(name, mut labels)| {
                // Every Namespace of a cluster has this label; a file may leave it out.
                if !labels.iter().any(|(key, _)| key == keys::NAMESPACE_NAME) {
                    labels.push((keys::NAMESPACE_NAME.to_owned(), name.clone()));
                }
                (name, labels)
            })
            .collect();
        Self { index: Index::new(&sets), sets, namespaces, unlisted_namespaces }
    }

    /// Number of sets, paused ones included.
    #[must_use]
    pub fn set_count(&self) -> usize {
        self.sets.len()
    }

    /// The sets, sorted by name.
    #[must_use]
    pub fn sets(&self) -> &[CompiledSet] {
        &self.sets
    }

    /// The index over [`Snapshot::sets`].
    #[must_use]
    pub(crate) fn index(&self) -> &Index {
        &self.index
    }

    /// What is known about a namespace.
    #[must_use]
    pub fn namespace(&self, name: &str) -> NamespaceLabels<'_> {
        match (self.namespaces.get(name), self.unlisted_namespaces) {
            (Some(labels), _) => NamespaceLabels::Listed(labels),
            (None, UnlistedNamespaces::HaveNameLabel) => NamespaceLabels::NameOnly,
            (None, UnlistedNamespaces::Unknown) => NamespaceLabels::Unknown,
        }
    }
}
