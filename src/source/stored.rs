//! What the validation of SidecarSets reads of the cluster, from the same source and of the same moment as the Snapshot.

use serde_json::Value;
use sidecarset_core::api::keys;
use sidecarset_core::revision::Revisions;
use sidecarset_core::validation::{ClusterView, StoredSets};

/// All stored sets, ControllerRevisions and the allow list. Immutable, built off the hot path.
#[derive(Debug, Default)]
pub struct StoredCluster {
    /// The sets, indexed.
    pub sets: StoredSets,
    /// ControllerRevisions as JSON.
    pub revisions: Vec<Value>,
    /// `data` of the ConfigMap with the allow list; `None` if there is no such ConfigMap.
    pub allow_list: Option<Value>,
}

impl StoredCluster {
    /// Calls `judge` with the view that validation of `set` needs.
    ///
    /// Few sets ask for a revision, so the revisions are not indexed but searched for the ones that this set can mean.
    ///
    /// Rule: A-VAL-4, A-VAL-40, A-VAL-41.
    pub fn view<T>(&self, set: &Value, judge: impl FnOnce(&ClusterView<'_>) -> T) -> T {
        let asked = set.pointer("/spec/injectionStrategy/revision").filter(|asked| asked.is_object());
        let text =
            |value: &'_ Value, at: &str| value.pointer(at).and_then(Value::as_str).map(ToOwned::to_owned);
        let wanted = asked.and_then(|asked| text(asked, "/revisionName"));
        let name = text(set, "/metadata/name");
        let can_be_meant = |revision: &&Value| {
            let metadata = &revision["metadata"];
            let owner = &metadata["labels"][keys::REVISION_SET_NAME];
            asked.is_some()
                && (metadata["name"].as_str() == wanted.as_deref() || owner.as_str() == name.as_deref())
        };
        let revisions = Revisions::new(self.revisions.iter().filter(can_be_meant));
        judge(&ClusterView { sets: &self.sets, revisions: &revisions, allow_list: self.allow_list.as_ref() })
    }
}
