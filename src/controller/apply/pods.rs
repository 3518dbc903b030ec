//! Writes Pods: several of a large decision at a time, each after those before it has begun.
//!
//! Rule: C-RUST-6, C-RUST-7, C-RUST-9, C-UPD-19…22. Decision: D-30, D-32.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{DeleteParams, EvictParams, Patch, Preconditions};
use serde_json::Value;
use sidecarset_core::control::expectations::PodKey;
use sidecarset_core::control::pod::PodFacts;
use sidecarset_core::control::rollout::BackOff;
use sidecarset_core::control::set::SetFacts;
use sidecarset_core::control::{About, Event, PodWrite, PodWriteKind, condition, reset_event};

use super::{ApplyError, code, parameters};
use crate::controller::calls::asked_pause;
use crate::controller::watch::WatchedPod;
use crate::controller::{Controller, DEBOUNCE};
use crate::metrics::{PodWriteLabel, PodWriteResult, WriteKind};

/// How often a write is tried that others may get in the way of.
const CONFLICT_ATTEMPTS: usize = 4;
/// Pause of a set after a Pod of it could not be written.
const FAILURE_PAUSE: Duration = Duration::from_secs(1);
/// Most Pods of one set that are written at a time: so many calls wait for the API server beside each other, whose answers take
/// longer than our part of them.
const MOST_AT_A_TIME: usize = 16;
/// In a decision no Pod overtakes more than one in so many. One of fewer than twice as many Pods is written one after another: that
/// takes less than a second, and the order in which Pods change is what users see of `priorityStrategy` and `scatterStrategy`.
const PODS_FOR_EACH: usize = 8;

/// How many Pods of a decision about so many are written at a time.
fn at_a_time(pods: usize) -> usize {
    (pods / PODS_FOR_EACH).clamp(1, MOST_AT_A_TIME)
}

impl Controller {
    /// Writes Pods; each begins after those before it. Gives those that had changed meanwhile. With `in_order` none begins any
    /// more as soon as there is one: the decision has counted all that are under way by then, and those behind them are decided
    /// about anew. What has begun is brought to its end, so that it is known what was written.
    ///
    /// Rule: C-UPD-9, C-UPD-19. Decision: D-32.
    pub(super) async fn write_pods<'d>(
        &self,
        set: &SetFacts,
        writes: &'d [PodWrite],
        in_order: bool,
    ) -> Result<Vec<&'d PodWrite>, ApplyError> {
        let at_a_time = at_a_time(writes.len());
        let (mut waiting, mut under_way) = (writes.iter(), FuturesUnordered::new());
        let (mut changed, mut result) = (Vec::new(), Ok(()));
        loop {
            let goes_on = result.is_ok() && (changed.is_empty() || !in_order);
            while goes_on
                && under_way.len() < at_a_time
                && let Some(write) = waiting.next()
            {
                under_way.push(async move { (write, self.write_pod(set, write).await) });
            }
            match under_way.next().await {
                None => return result.map(|()| changed),
                Some((write, Ok(true))) => changed.push(write),
                Some((_, Ok(false))) => {}
                Some((_, Err(error))) => result = result.and(Err(error)),
            }
        }
    }

    /// Writes one Pod. Only the loss of leadership ends the round. Gives whether the Pod had changed; it is read again then.
    ///
    /// Rule: C-UPD-19…22, C-HOTC-9, C-COND-4. Decision: D-32.
    async fn write_pod(&self, set: &SetFacts, write: &PodWrite) -> Result<bool, ApplyError> {
        self.leadership.check()?;
        // Whoever pauses or takes back a rollout, or deletes the set, does not wait for all Pods of a decision.
        if !self.lock().is_current(set) {
            return Err(ApplyError::Outdated);
        }
        let PodWrite { kind, pod: key, patch, .. } = write;
        let result = self.patch_pod(key, kind.subresource(), patch).await;
        self.metrics.pod_written(label(*kind), result_of(&result));
        match result {
            Ok(written) => {
                let (_, _, _, version) = written.object().identity();
                let due = {
                    let mut world = self.lock();
                    world.expect(&set.name, key.clone(), version, self.started.elapsed());
                    world.apply_pod(written.object())
                };
                for (name, delay) in due {
                    self.queue.add(&name, delay.max(DEBOUNCE));
                }
                match kind {
                    PodWriteKind::MarkNotUpgradable | PodWriteKind::MarkUpgradable => {}
                    PodWriteKind::Reset => self.tell(set, &reset_event(&set.name, key.clone(), Ok(()))),
                    PodWriteKind::Upgrade => self.mark_upgradable(set, key).await?,
                }
            }
            Err(error) => {
                // What was given up with the Lease is no failure of the Pod.
                self.leadership.check()?;
                if asked_pause(&error).is_some() {
                    return Err(ApplyError::Call { what: "Pod", error });
                }
                return self.pod_refused(set, write, &error).await;
            }
        }
        Ok(false)
    }

    /// A write of a Pod did not succeed. Gives whether that is because the Pod had changed.
    async fn pod_refused(
        &self,
        set: &SetFacts,
        write: &PodWrite,
        error: &kube::Error,
    ) -> Result<bool, ApplyError> {
        let PodWrite { pod: key, patch, takes_down, .. } = write;
        let seen = patch["metadata"]["resourceVersion"].as_str().unwrap_or_default();
        let may_be_written = match code(error) {
            Some(404) => {
                self.with_world(|world| world.remove_pod(&key.namespace, &key.name, &key.uid));
                return Ok(false);
            }
            Some(409) => {
                self.read_live(key).await?;
                // Else it is another one now, and the next look decides about it as it is. A webhook may refuse with this code too.
                if !self.lock().is_unchanged(key, seen) {
                    return Ok(true);
                }
                false
            }
            // The call is over. An API server that gave up waiting does not know whether the write is, nor do we without an answer.
            Some(500..=503 | 505..) => {
                self.read_live(key).await.is_err() || !self.lock().is_unchanged(key, seen)
            }
            None | Some(504) => true,
            Some(_) => false,
        };
        self.pod_failed(set, write, *takes_down && may_be_written, error);
        Ok(false)
    }

    pub(in crate::controller) async fn patch_pod(
        &self,
        key: &PodKey,
        subresource: Option<&str>,
        patch: &Value,
    ) -> Result<WatchedPod, kube::Error> {
        let pods = Api::<WatchedPod>::namespaced(self.clients.writes.clone(), &key.namespace);
        let patch = Patch::Strategic(patch);
        match subresource {
            None => self.write(pods.patch(&key.name, &parameters(), &patch)).await,
            Some(_) => self.write(pods.patch_status(&key.name, &parameters(), &patch)).await,
        }
    }

    /// Says in the Pod's condition that it could take the change, if it does not say so already. The kubelet writes the same status
    /// just now, so a conflict is likely: the Pod is read again and the condition made anew.
    ///
    /// Rule: C-UPD-20, C-RUST-7, C-BUG-9.
    async fn mark_upgradable(&self, set: &SetFacts, key: &PodKey) -> Result<(), ApplyError> {
        let known = self.lock().known_sets();
        for _ in 0..CONFLICT_ATTEMPTS {
            let pod = self.lock().pods.get((&key.namespace, &key.name));
            let Some(pod) = pod.filter(|pod| *pod.uid == *key.uid) else { return Ok(()) };
            let patch = match condition::set_upgradable(&pod, &set.name, true, Some(&known), self.now().unix)
            {
                Ok(Some(patch)) => patch,
                Ok(None) => return Ok(()),
                Err(error) => {
                    let (namespace, name) = pod.key();
                    tracing::warn!(pod.namespace = namespace, pod.name = name, %error, "the condition of a Pod cannot be read");
                    return Ok(());
                }
            };
            self.leadership.check()?;
            let result = self.patch_pod(key, Some("status"), &patch).await;
            self.metrics.written(WriteKind::Condition, result.is_ok());
            match result {
                Ok(written) => {
                    self.with_world(|world| world.apply_pod(written.object()));
                    return Ok(());
                }
                Err(error) if matches!(code(&error), Some(404 | 409)) => self.read_live(key).await?,
                Err(error) => {
                    let (namespace, name) = pod.key();
                    tracing::warn!(pod.namespace = namespace, pod.name = name, %error, "the condition of a Pod cannot be written");
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Takes sets that are gone out of the conditions of Pods. What fails is tried again soon. Rule: C-BUG-10.
    pub(in crate::controller) async fn prune(&self, pods: &[Arc<PodFacts>], known: &BTreeSet<String>) {
        for pod in pods {
            let Some(patch) = condition::prune(pod, known, self.now().unix) else { continue };
            if self.leadership.check().is_err() {
                return;
            }
            let written = self.patch_pod(&PodKey::from(&**pod), Some("status"), &patch).await;
            self.metrics.written(WriteKind::Condition, written.is_ok());
            match written {
                Ok(written) => self.with_world(|world| world.apply_pod(written.object())),
                // Most likely the kubelet was faster.
                Err(error) if matches!(code(&error), Some(404 | 409)) => self.lock().prune_conditions(),
                Err(error) => {
                    let (namespace, name) = pod.key();
                    tracing::warn!(pod.namespace = namespace, pod.name = name, %error, "the condition of a Pod cannot be written");
                }
            }
        }
    }

    /// Leaves the Pod alone for a while, and tells why. Decision: D-32.
    fn pod_failed(&self, set: &SetFacts, write: &PodWrite, may_be_written: bool, error: &kube::Error) {
        let PodWrite { kind, pod: key, .. } = write;
        let told = error.to_string();
        tracing::warn!(
            sidecarset.name = set.name,
            pod.namespace = key.namespace,
            pod.name = key.name,
            error = told,
            "a Pod cannot be written; the others go on"
        );
        let back_off = BackOff { may_be_written, error: told.clone() };
        let is_new = self.lock().back_off(&set.name, &key.uid, back_off, Instant::now());
        self.queue.add(&set.name.as_str().into(), FAILURE_PAUSE);
        if is_new {
            let event = match kind {
                PodWriteKind::Reset => reset_event(&set.name, key.clone(), Err(&told)),
                PodWriteKind::MarkNotUpgradable | PodWriteKind::MarkUpgradable | PodWriteKind::Upgrade => {
                    Event {
                        about: About::Pod(key.clone()),
                        is_warning: true,
                        reason: "SidecarUpgradeFailed",
                        message: format!("SidecarSet \"{}\" cannot upgrade this Pod: {told}", set.name),
                    }
                }
            };
            self.tell(set, &event);
        }
    }

    /// Reads a Pod from the API server instead of waiting for the watch. Decision: D-30.
    pub(in crate::controller) async fn read_live(&self, key: &PodKey) -> Result<(), ApplyError> {
        let pods = Api::<WatchedPod>::namespaced(self.clients.reads.clone(), &key.namespace);
        match self.read(pods.get_opt(&key.name)).await {
            Ok(Some(pod)) => self.with_world(|world| world.apply_pod(pod.object())),
            Ok(None) => self.with_world(|world| world.remove_pod(&key.namespace, &key.name, &key.uid)),
            Err(error) => return Err(ApplyError::Call { what: "Pod", error }),
        }
        Ok(())
    }

    /// Asks for a Pod's eviction, if that is still due. A PodDisruptionBudget may refuse, then the Pod is left alone for a while and
    /// others get their turn.
    ///
    /// Decision: D-32.
    pub(in crate::controller) async fn evict(&self, set: &SetFacts, key: &PodKey) -> Result<(), ApplyError> {
        self.leadership.check()?;
        let Some(owner) = self.begin_eviction(&set.name, key) else { return Ok(()) };
        let preconditions = Preconditions { uid: Some(key.uid.clone()), ..Preconditions::default() };
        let delete_options =
            Some(DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() });
        let parameters = EvictParams { delete_options, ..EvictParams::default() };
        let pods = Api::<Pod>::namespaced(self.clients.writes.clone(), &key.namespace);
        let result = self.write(pods.evict(&key.name, &parameters)).await;
        self.metrics.written(WriteKind::Eviction, result.is_ok());
        let Err(error) = result else {
            let message = "it lacks the sidecars and is replaced by its owner";
            self.tell_eviction(set, key, (false, "EvictedForInjection"), message);
            return Ok(());
        };
        self.lock().evictions.take_back(owner);
        // What was given up with the Lease is no refusal.
        self.leadership.check()?;
        if asked_pause(&error).is_some() {
            return Err(ApplyError::Call { what: "eviction", error });
        }
        match code(&error) {
            Some(404) => {
                self.with_world(|world| world.remove_pod(&key.namespace, &key.name, &key.uid));
                return Ok(());
            }
            // Another Pod of that name, if it is not a webhook that refuses with this code.
            Some(409) => {
                self.read_live(key).await?;
                let pod = self.lock().pods.get((&key.namespace, &key.name));
                if pod.is_none_or(|pod| *pod.uid != *key.uid) {
                    return Ok(());
                }
            }
            _ => {}
        }
        self.eviction_refused(set, key, &error.to_string());
        Ok(())
    }

    /// Leaves the Pod alone for a while; tells why, once.
    fn eviction_refused(&self, set: &SetFacts, key: &PodKey, error: &str) {
        let back_off = BackOff { may_be_written: false, error: error.to_owned() };
        if self.lock().back_off(&set.name, &key.uid, back_off, Instant::now()) {
            tracing::warn!(
                sidecarset.name = set.name,
                pod.namespace = key.namespace,
                pod.name = key.name,
                error,
                "a Pod that lacks the sidecars cannot be evicted; it is tried again later"
            );
            self.tell_eviction(set, key, (true, "EvictionRefused"), error);
        }
    }

    fn tell_eviction(
        &self,
        set: &SetFacts,
        key: &PodKey,
        (is_warning, reason): (bool, &'static str),
        message: &str,
    ) {
        let message = format!("SidecarSet \"{}\": {message}", set.name);
        self.tell(set, &Event { about: About::Pod(key.clone()), is_warning, reason, message });
    }
}

fn result_of(result: &Result<WatchedPod, kube::Error>) -> PodWriteResult {
    match result {
        Ok(_) => PodWriteResult::Written,
        Err(error) if code(error) == Some(409) => PodWriteResult::Conflict,
        Err(_) => PodWriteResult::Failed,
    }
}

fn label(kind: PodWriteKind) -> PodWriteLabel {
    match kind {
        PodWriteKind::MarkNotUpgradable => PodWriteLabel::MarkNotUpgradable,
        PodWriteKind::MarkUpgradable => PodWriteLabel::MarkUpgradable,
        PodWriteKind::Reset => PodWriteLabel::Reset,
        PodWriteKind::Upgrade => PodWriteLabel::Upgrade,
    }
}

#[cfg(test)]
mod tests;
