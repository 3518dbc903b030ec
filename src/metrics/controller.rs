//! What is told about the controller.

use std::fmt::Write as _;
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;

use super::Registrar;

macro_rules! label {
    ($(#[$doc:meta])* $vis:vis $name:ident { $($(#[$item_doc:meta])* $item:ident => $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        $vis enum $name { $($(#[$item_doc])* $item),+ }

        impl $name {
            const ALL: &[Self] = &[$(Self::$item),+];
        }

        impl EncodeLabelValue for $name {
            fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
                encoder.write_str(match self { $(Self::$item => $text),+ })
            }
        }
    };
}

label! {
    /// How a look at a set ended.
    pub LookResult {
        /// Nothing is left to do until something happens.
        Done => "done",
        /// It is to be looked at again after a time.
        Again => "again",
        /// Somebody else wrote meanwhile; it is tried again.
        Conflict => "conflict",
        /// It failed and is tried again.
        Failed => "failed",
    }
}

label! {
    /// What was written, Pods of a rollout apart.
    pub WriteKind {
        /// Status of a set.
        Status => "status",
        /// A ControllerRevision.
        Revision => "revision",
        /// The condition of a Pod after its upgrade.
        Condition => "condition",
        /// An eviction.
        Eviction => "eviction",
        /// An Event.
        Event => "event",
        /// What ends a sidecar of a finished Pod.
        Ending => "termination",
    }
}

label! {
    /// What a Pod was written for, in a rollout.
    pub PodWriteLabel {
        /// Its condition says that it cannot take the change.
        MarkNotUpgradable => "mark_not_upgradable",
        /// Its condition lacked an upgrade that has happened.
        MarkUpgradable => "mark_upgradable",
        /// Old containers of hot pairs are emptied.
        Reset => "reset",
        /// New images.
        Upgrade => "upgrade",
    }
}

label! {
    /// How the write of a Pod ended.
    pub PodWriteResult {
        /// It was written.
        Written => "written",
        /// It had changed; it is decided about again.
        Conflict => "conflict",
        /// It was refused, or nobody answered.
        Failed => "failed",
    }
}

label! {
    /// Whether a write succeeded.
    WriteResult {
        /// It did.
        Written => "written",
        /// It did not.
        Failed => "failed",
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LookLabels {
    result: LookResult,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WriteLabels {
    kind: WriteKind,
    result: WriteResult,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PodWriteLabels {
    kind: PodWriteLabel,
    result: PodWriteResult,
}

/// The controller. Clones count together; all are 0 in a webhook.
#[derive(Debug, Clone)]
pub struct ControllerMetrics {
    /// 1 in the replica that holds the Lease.
    pub is_leader: Gauge,
    /// Pods that are known.
    pub pods: Gauge,
    waiting: Gauge,
    working: Gauge,
    looks: Family<LookLabels, Counter>,
    look_seconds: Histogram,
    writes: Family<WriteLabels, Counter>,
    pod_writes: Family<PodWriteLabels, Counter>,
}

impl Default for ControllerMetrics {
    fn default() -> Self {
        let buckets = [0.000_1, 0.001, 0.01, 0.1, 1.0, 10.0, 60.0];
        let metrics = Self {
            is_leader: Gauge::default(),
            pods: Gauge::default(),
            waiting: Gauge::default(),
            working: Gauge::default(),
            looks: Family::default(),
            look_seconds: Histogram::new(buckets),
            writes: Family::default(),
            pod_writes: Family::default(),
        };
        for &result in LookResult::ALL {
            drop(metrics.looks.get_or_create(&LookLabels { result }));
        }
        for &kind in WriteKind::ALL {
            for &result in WriteResult::ALL {
                drop(metrics.writes.get_or_create(&WriteLabels { kind, result }));
            }
        }
        for &kind in PodWriteLabel::ALL {
            for &result in PodWriteResult::ALL {
                drop(metrics.pod_writes.get_or_create(&PodWriteLabels { kind, result }));
            }
        }
        metrics
    }
}

impl ControllerMetrics {
    pub(super) fn register(&self, r: &mut Registrar) {
        let help = "Whether this replica of the controller holds the Lease";
        r.register("controller_leader", help, self.is_leader.clone());
        r.register("controller_pods", "Pods that the controller knows", self.pods.clone());
        let help = "SidecarSets that are due and wait for a worker";
        r.register("controller_queue_waiting", help, self.waiting.clone());
        let help = "SidecarSets that are being looked at";
        r.register("controller_queue_working", help, self.working.clone());
        let help = "Looks at a SidecarSet by how they ended";
        r.register("controller_reconciles", help, self.looks.clone());
        let help = "Time of one look at a SidecarSet with its writes";
        r.register("controller_reconcile_duration_seconds", help, self.look_seconds.clone());
        let help = "Writes of the controller, Pods of a rollout apart";
        r.register("controller_writes", help, self.writes.clone());
        let help = "Writes of Pods in a rollout";
        r.register("controller_pod_writes", help, self.pod_writes.clone());
    }

    /// Counts one look.
    pub fn looked(&self, result: LookResult, duration: Duration) {
        self.looks.get_or_create(&LookLabels { result }).inc();
        self.look_seconds.observe(duration.as_secs_f64());
    }

    /// Says how long the queue is.
    pub fn queue(&self, waiting: usize, working: usize) {
        self.waiting.set(i64::try_from(waiting).unwrap_or(i64::MAX));
        self.working.set(i64::try_from(working).unwrap_or(i64::MAX));
    }

    /// Counts one write.
    pub fn written(&self, kind: WriteKind, succeeded: bool) {
        let result = if succeeded { WriteResult::Written } else { WriteResult::Failed };
        self.writes.get_or_create(&WriteLabels { kind, result }).inc();
    }

    /// Counts one write of a Pod.
    pub fn pod_written(&self, kind: PodWriteLabel, result: PodWriteResult) {
        self.pod_writes.get_or_create(&PodWriteLabels { kind, result }).inc();
    }
}
