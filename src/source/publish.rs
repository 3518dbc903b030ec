//! The Snapshot that admissions read, replaced as a whole and never locked.

use std::sync::Arc;

use arc_swap::{ArcSwapOption, Guard};
use sidecarset_core::snapshot::Snapshot;

/// Holds the newest Snapshot. Empty until the first [`publish`](Self::publish).
#[derive(Debug, Default)]
pub struct Published(ArcSwapOption<Snapshot>);

impl Published {
    /// Admissions that start from here on read `snapshot`.
    pub fn publish(&self, snapshot: Snapshot) {
        self.0.store(Some(Arc::new(snapshot)));
    }

    /// The newest Snapshot, `None` before the first one.
    #[must_use]
    pub fn load(&self) -> Guard<Option<Arc<Snapshot>>> {
        self.0.load()
    }
}
