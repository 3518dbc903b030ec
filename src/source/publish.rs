//! The Snapshot that admissions read, replaced as a whole and never locked, and beside it what validation reads.

use std::sync::Arc;

use arc_swap::{ArcSwapOption, Guard};
use sidecarset_core::snapshot::Snapshot;

use super::stored::StoredCluster;

/// Holds the newest Snapshot and what belongs to it. Empty until the first [`publish`](Self::publish).
#[derive(Debug, Default)]
pub struct Published {
    snapshot: ArcSwapOption<Snapshot>,
    cluster: ArcSwapOption<StoredCluster>,
    awaited: ArcSwapOption<String>,
}

impl Published {
    /// Admissions that start from here on read `snapshot`, and validation reads `cluster`. Gives back the Snapshot before: whoever
    /// drops it last pays for taking it apart, which should not be an admission.
    pub fn publish(&self, snapshot: Snapshot, cluster: StoredCluster) -> Option<Arc<Snapshot>> {
        self.cluster.store(Some(Arc::new(cluster)));
        self.snapshot.swap(Some(Arc::new(snapshot)))
    }

    /// Says what the first Snapshot waits for; shown to whoever asks before there is one.
    pub fn set_awaited(&self, awaited: String) {
        self.awaited.store(Some(Arc::new(awaited)));
    }

    /// Why nothing can be answered yet, for people.
    #[must_use]
    pub fn why_not_yet(&self) -> String {
        let not_yet = "the SidecarSets are not loaded yet";
        self.awaited.load().as_deref().map_or(not_yet.to_owned(), |awaited| format!("{not_yet}: {awaited}"))
    }

    /// The newest Snapshot, `None` before the first one.
    #[must_use]
    pub fn load(&self) -> Guard<Option<Arc<Snapshot>>> {
        self.snapshot.load()
    }

    /// What validation reads, `None` before the first Snapshot.
    #[must_use]
    pub fn cluster(&self) -> Option<Arc<StoredCluster>> {
        self.cluster.load_full()
    }
}
