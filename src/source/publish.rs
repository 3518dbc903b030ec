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
}

impl Published {
    /// Admissions that start from here on read `snapshot`, and validation reads `cluster`.
    pub fn publish(&self, snapshot: Snapshot, cluster: StoredCluster) {
        self.cluster.store(Some(Arc::new(cluster)));
        self.snapshot.store(Some(Arc::new(snapshot)));
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
