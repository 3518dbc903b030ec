//! What is told about the cluster as a source.

use std::fmt::Write as _;
use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

use super::Registrar;

/// How a live read of a namespace ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LiveReadResult {
    /// Its labels were read.
    Found,
    /// There is no such namespace.
    NotFound,
    /// Nothing is known.
    Failed,
}

impl LiveReadResult {
    const ALL: [Self; 3] = [Self::Found, Self::NotFound, Self::Failed];
}

impl EncodeLabelValue for LiveReadResult {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
        encoder.write_str(match self {
            Self::Found => "found",
            Self::NotFound => "not_found",
            Self::Failed => "failed",
        })
    }
}

/// Kinds of objects that are watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WatchedKind {
    /// SidecarSet.
    SidecarSet,
    /// Namespace.
    Namespace,
    /// ControllerRevision, of the revision namespace.
    ControllerRevision,
    /// The ConfigMap with the allow list.
    ConfigMap,
}

impl WatchedKind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::SidecarSet, Self::Namespace, Self::ControllerRevision, Self::ConfigMap];

    /// The kind in Kubernetes' own spelling.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SidecarSet => "SidecarSet",
            Self::Namespace => "Namespace",
            Self::ControllerRevision => "ControllerRevision",
            Self::ConfigMap => "ConfigMap",
        }
    }
}

impl EncodeLabelValue for WatchedKind {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
        encoder.write_str(self.as_str())
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LiveReadLabels {
    result: LiveReadResult,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabels {
    kind: WatchedKind,
}

/// Watches and live reads. Clones count together; all are 0 with a folder as source.
#[derive(Debug, Clone)]
pub struct WatchMetrics {
    /// Seconds since every watch was last known to be good.
    pub snapshot_age: Gauge<f64, AtomicU64>,
    undecodable: Family<KindLabels, Gauge>,
    live_reads: Family<LiveReadLabels, Counter>,
}

impl Default for WatchMetrics {
    fn default() -> Self {
        let metrics = Self {
            snapshot_age: Gauge::default(),
            undecodable: Family::default(),
            live_reads: Family::default(),
        };
        for kind in WatchedKind::ALL {
            drop(metrics.undecodable.get_or_create(&KindLabels { kind }));
        }
        for result in LiveReadResult::ALL {
            drop(metrics.live_reads.get_or_create(&LiveReadLabels { result }));
        }
        metrics
    }
}

impl WatchMetrics {
    pub(super) fn register(&self, r: &mut Registrar) {
        let help = "Time since every watch was last known to be good";
        r.register("snapshot_age_seconds", help, self.snapshot_age.clone());
        let help = "Objects that are left out because they cannot be decoded";
        r.register("source_undecodable_objects", help, self.undecodable.clone());
        let help = "Reads of a namespace that the Snapshot did not know";
        r.register("namespace_live_reads", help, self.live_reads.clone());
    }

    /// Counts one live read of a namespace.
    pub fn live_read(&self, result: LiveReadResult) {
        self.live_reads.get_or_create(&LiveReadLabels { result }).inc();
    }

    /// Says how many objects of a kind are left out.
    pub fn undecodable_objects(&self, kind: WatchedKind, objects: usize) {
        let objects = i64::try_from(objects).unwrap_or(i64::MAX);
        self.undecodable.get_or_create(&KindLabels { kind }).set(objects);
    }
}
