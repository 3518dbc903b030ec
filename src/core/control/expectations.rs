//! Writes that the watch has not shown yet: until then a set's Pods are not what they seem.

use std::collections::BTreeMap;
use std::time::Duration;

use super::pod::PodFacts;

/// How long a write is waited for before the Pod is read live. Decision: D-30.
pub const READ_LIVE_AFTER: Duration = Duration::from_secs(10);

/// A Pod, wherever it is told about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PodKey {
    /// `metadata.namespace`
    pub namespace: String,
    /// `metadata.name`
    pub name: String,
    /// `metadata.uid`
    pub uid: String,
}

impl From<&PodFacts> for PodKey {
    fn from(pod: &PodFacts) -> Self {
        Self { namespace: pod.namespace.to_string(), name: pod.name.to_string(), uid: pod.uid.to_string() }
    }
}

#[derive(Debug, Clone)]
struct Expected {
    key: PodKey,
    resource_version: String,
    since: Duration,
}

/// The writes of one set that are waited for. Instants are durations since any fixed moment.
///
/// Rules: C-CTL-17…20, C-RUST-6, C-BUG-1. Decision: D-30.
#[derive(Debug, Clone, Default)]
pub struct Expectations {
    by_uid: BTreeMap<String, Expected>,
}

/// What is still waited for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unmet {
    /// How many Pods.
    pub count: usize,
    /// Those that have to be read live now, and given to [`Expectations::observe`].
    pub overdue: Vec<PodKey>,
}

impl Expectations {
    /// Waits until the Pod is seen at this resourceVersion, the one that a write returned, or later.
    pub fn expect(&mut self, key: PodKey, resource_version: &str, now: Duration) {
        let expected = Expected { resource_version: resource_version.to_owned(), since: now, key };
        self.by_uid.insert(expected.key.uid.clone(), expected);
    }

    /// A Pod was seen, by the watch or by a live read.
    pub fn observe(&mut self, pod: &PodFacts) {
        if self.by_uid.get(&*pod.uid).is_some_and(|expected| expected.is_met_by(pod)) {
            self.by_uid.remove(&*pod.uid);
        }
    }

    /// A Pod is gone. Decision: D-30.
    pub fn forget(&mut self, uid: &str) {
        self.by_uid.remove(uid);
    }

    /// What is waited for of the Pods that still count for the set: a Pod that was deleted, relabelled or completed ends its
    /// expectation by not being among them.
    ///
    /// Rules: C-CTL-18, C-CTL-19. Decision: D-30.
    #[must_use]
    pub fn unmet(&self, matched: &[&PodFacts], now: Duration) -> Unmet {
        let mut unmet = Unmet::default();
        if self.by_uid.is_empty() {
            return unmet;
        }
        for pod in matched {
            let Some(expected) = self.by_uid.get(&*pod.uid).filter(|expected| !expected.is_met_by(pod))
            else {
                continue;
            };
            unmet.count += 1;
            if now.saturating_sub(expected.since) >= READ_LIVE_AFTER {
                unmet.overdue.push(expected.key.clone());
            }
        }
        unmet
    }
}

impl Expected {
    /// Numbers are compared. An expected one that is none is met by anything, a seen one that is none meets nothing.
    ///
    /// Rules: C-CTL-19, C-BUG-38.
    fn is_met_by(&self, pod: &PodFacts) -> bool {
        let Ok(expected) = self.resource_version.parse::<u64>() else { return true };
        pod.resource_version.parse::<u64>().is_ok_and(|seen| seen >= expected)
    }
}

#[cfg(test)]
mod tests;
