//! What the validation of SidecarSets reads of the cluster, from the same source and of the same moment as the Snapshot.

use std::sync::Arc;

use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};
use sidecarset_core::api::keys;
use sidecarset_core::revision::Revisions;
use sidecarset_core::validation::{ClusterView, StoredSets};

/// All stored sets, ControllerRevisions and the allow list. Immutable, built off the hot path.
#[derive(Debug, Default)]
pub struct StoredCluster {
    /// The sets, indexed.
    pub sets: Arc<StoredSets>,
    /// ControllerRevisions.
    pub revisions: Arc<[Arc<StoredRevision>]>,
    /// `data` of the ConfigMap with the allow list; `None` if there is no such ConfigMap.
    pub allow_list: Option<Arc<Value>>,
}

impl StoredCluster {
    /// Calls `judge` with the view that validation of `set` needs.
    ///
    /// Few sets ask for a revision, so the revisions are not indexed but searched for the ones that this set can mean.
    ///
    /// Rule: A-VAL-4, A-VAL-40, A-VAL-41.
    pub fn view<T>(&self, set: &Value, judge: impl FnOnce(&ClusterView<'_>) -> T) -> T {
        let asked = set.pointer("/spec/injectionStrategy/revision").filter(|asked| asked.is_object());
        let wanted = asked.and_then(|asked| asked["revisionName"].as_str());
        let name = set["metadata"]["name"].as_str().unwrap_or_default();
        let meant =
            self.revisions.iter().filter(|revision| asked.is_some() && revision.can_be_meant(name, wanted));
        let documents: Vec<Value> = meant.map(|revision| revision.document()).collect();
        let revisions = Revisions::new(&documents);
        judge(&ClusterView {
            sets: &self.sets,
            revisions: &revisions,
            allow_list: self.allow_list.as_deref(),
        })
    }
}

/// A ControllerRevision as text: many are kept and few are asked for, and as a tree one takes several times the memory.
#[derive(Debug)]
pub struct StoredRevision {
    name: Box<str>,
    /// The set that it belongs to, by its label (I-CONST-13).
    set: Option<Box<str>>,
    text: Box<RawValue>,
}

impl PartialEq for StoredRevision {
    fn eq(&self, other: &Self) -> bool {
        self.text.get() == other.text.get()
    }
}

impl StoredRevision {
    /// Takes a document. Never fails for one that was read from JSON.
    ///
    /// # Errors
    ///
    /// It cannot be written as JSON.
    pub fn new(document: &Value) -> Result<Self, serde_json::Error> {
        let metadata = &document["metadata"];
        Ok(Self {
            name: metadata["name"].as_str().unwrap_or_default().into(),
            set: metadata["labels"][keys::REVISION_SET_NAME].as_str().map(Into::into),
            text: to_raw_value(document)?,
        })
    }

    /// `metadata.name`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The set that it belongs to, if it names one.
    #[must_use]
    pub fn set(&self) -> Option<&str> {
        self.set.as_deref()
    }

    /// Whether the set of that name can mean it, by the revision name `wanted` or by a custom version. Rules: I-REV-6, I-REV-7.
    #[must_use]
    pub fn can_be_meant(&self, set: &str, wanted: Option<&str>) -> bool {
        wanted == Some(&*self.name) || self.set.as_deref() == Some(set)
    }

    /// The whole object.
    #[must_use]
    pub fn document(&self) -> Value {
        // It was a document before.
        serde_json::from_str(self.text.get()).unwrap_or_default()
    }
}
