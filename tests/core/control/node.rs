//! The nodes of the cluster in memory, on a clock that only moves when told.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::cluster::{Cluster, text};
use super::kubelet::{PodState, START_MS, Settings, Start};

/// How long the node takes to notice a change of a Pod.
const NOTICE_MS: u64 = 20;

/// A container that starts later.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Timer {
    due_ms: u64,
    key: String,
    start: Start,
}

/// All nodes.
#[derive(Debug, Default)]
pub(crate) struct Kubelet {
    pods: BTreeMap<String, (String, PodState)>,
    indexes: BTreeMap<String, usize>,
    timers: BTreeSet<Timer>,
    /// Pods to look at, and when.
    wakes: BTreeMap<String, u64>,
    settings: Settings,
}

impl Kubelet {
    /// Takes the settings of an operation `node`.
    pub(crate) fn set(&mut self, operation: &Value) {
        self.settings.set(operation);
    }

    /// When the next container starts.
    pub(crate) fn next_due_ms(&self) -> Option<u64> {
        let timers = self.timers.first().map(|timer| timer.due_ms);
        timers.into_iter().chain(self.wakes.values().copied()).min()
    }

    /// A Pod, or what is set for it, has changed.
    pub(crate) fn wake(&mut self, now_ms: u64, key: &str) {
        self.wakes.entry(key.to_owned()).or_insert(now_ms + NOTICE_MS);
    }

    /// Starts the containers that are due, and brings Pods up to date.
    pub(crate) fn fire(&mut self, cluster: &mut Cluster) {
        while let Some(timer) = self.timers.first().filter(|timer| timer.due_ms <= cluster.now_ms).cloned() {
            self.timers.remove(&timer);
            let Timer { key, start, .. } = timer;
            if let Some((_, state)) = self.pods.get_mut(&key) {
                state.start(&start);
            }
            self.sync(cluster, &key);
        }
        let due: Vec<String> = self
            .wakes
            .iter()
            .filter(|(_, due)| **due <= cluster.now_ms)
            .map(|(key, _)| key.clone())
            .collect();
        for key in due {
            self.wakes.remove(&key);
            self.sync(cluster, &key);
        }
    }

    /// A Pod that was seen for the first time counts up.
    pub(crate) fn notice(&mut self, pod: &Value) {
        let count = self.indexes.len();
        self.indexes.entry(text(pod, &["metadata", "uid"]).to_owned()).or_insert(count);
    }

    /// Brings the status of one Pod up to date.
    fn sync(&mut self, cluster: &mut Cluster, key: &str) {
        let Some(pod) = cluster.pods.get(key).cloned() else {
            self.pods.remove(key);
            return;
        };
        let uid = text(&pod, &["metadata", "uid"]).to_owned();
        if self.pods.get(key).is_none_or(|(known, _)| *known != uid) {
            let index = self.indexes.get(&uid).copied().unwrap_or_default();
            self.pods.insert(key.to_owned(), (uid, PodState::new(index)));
        }
        let Some((_, state)) = self.pods.get_mut(key) else { return };
        let mut starts = Vec::new();
        let Some(status) = state.status(&pod, &self.settings.of(key), &mut starts) else { return };
        let due_ms = cluster.now_ms + START_MS;
        self.timers.extend(starts.into_iter().map(|start| Timer { due_ms, key: key.to_owned(), start }));
        cluster.set_pod_status(key, &status);
    }
}
