//! The Snapshot that admissions read, replaced as a whole and never locked, and beside it what validation reads.

use std::sync::Arc;

use arc_swap::{ArcSwapOption, Guard};
use sidecarset_core::snapshot::Snapshot;
use tokio::sync::watch;

use super::stored::StoredCluster;

/// Holds the newest Snapshot and what belongs to it. Empty until the first [`publish`](Self::publish).
#[derive(Debug, Default)]
pub struct Published {
    snapshot: ArcSwapOption<Snapshot>,
    cluster: ArcSwapOption<StoredCluster>,
    awaited: ArcSwapOption<String>,
    count: watch::Sender<u64>,
}

impl Published {
    /// Admissions that start from here on read `snapshot`, and validation reads `cluster`. Gives back the Snapshot before: whoever
    /// drops it last pays for taking it apart, which should not be an admission.
    pub fn publish(&self, snapshot: Snapshot, cluster: StoredCluster) -> Option<Arc<Snapshot>> {
        self.cluster.store(Some(Arc::new(cluster)));
        let before = self.snapshot.swap(Some(Arc::new(snapshot)));
        self.count.send_modify(|count| *count += 1);
        before
    }

    /// How many Snapshots there were.
    #[must_use]
    pub fn count(&self) -> u64 {
        *self.count.borrow()
    }

    /// Waits until there were more than `count` Snapshots.
    pub async fn more_than(&self, count: u64) {
        // The sender is ours, so it does not go away while this waits.
        let _ = self.count.subscribe().wait_for(|now| *now > count).await;
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
