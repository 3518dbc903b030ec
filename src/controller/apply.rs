//! Writes what was decided, in the order in which it was decided. What the API server returns goes into the World at once, so that
//! the next look sees it although the watch has not shown it yet.
//!
//! Rule: C-RUST-6, C-RUST-7, C-RUST-8, C-RUST-9, C-UPD-19…22. Decision: D-32.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{DeleteParams, EvictParams, Patch, PatchParams, PostParams, Preconditions};
use serde_json::Value;
use sidecarset_core::control::expectations::PodKey;
use sidecarset_core::control::pod::PodFacts;
use sidecarset_core::control::revisions::{RevisionFacts, RevisionWrite};
use sidecarset_core::control::rollout::BackOff;
use sidecarset_core::control::set::SetFacts;
use sidecarset_core::control::{About, Decisions, Event, PodWrite, PodWriteKind, condition, reset_event};

use super::Controller;
use super::leader::NotLeading;
use super::watch::WatchedPod;
use crate::cluster::objects;
use crate::metrics::{PodWriteLabel, PodWriteResult, WriteKind};
use crate::source::watch::object::RawObject;

/// Who writes, in `managedFields`.
pub(super) const FIELD_MANAGER: &str = "sidecarset-controller";

/// How often a write is tried that others may get in the way of.
const CONFLICT_ATTEMPTS: usize = 4;

/// Why the rest of a decision was not applied.
#[derive(Debug, thiserror::Error)]
pub(super) enum ApplyError {
    /// The name of a new revision is taken by this one.
    #[error("the name of the revision is taken")]
    NameTaken(Box<RevisionFacts>),
    /// Something that the decision was made of has changed.
    #[error("the object has changed")]
    Changed,
    /// This process must not write.
    #[error(transparent)]
    NotLeading(#[from] NotLeading),
    /// A call failed.
    #[error("{what}: {error}")]
    Call {
        /// What was written.
        what: &'static str,
        /// What the API server says.
        error: kube::Error,
    },
}

/// The status code of an answer that is an error.
pub(super) fn code(error: &kube::Error) -> Option<u16> {
    match error {
        kube::Error::Api(status) => Some(status.code),
        _ => None,
    }
}

fn call(what: &'static str) -> impl Fn(kube::Error) -> ApplyError {
    move |error| match code(&error) {
        Some(409) => ApplyError::Changed,
        _ => ApplyError::Call { what, error },
    }
}

fn parameters() -> PatchParams {
    PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() }
}

impl Controller {
    /// Applies all of it. An error in history or status ends the look; one Pod that cannot be written does not. Gives the
    /// write of a Pod that had changed meanwhile: then the set is worth another look at once, with `in_order` before any Pod behind
    /// that one is written.
    pub(super) async fn apply<'d>(
        &self,
        set: &SetFacts,
        decisions: &'d Decisions,
        in_order: bool,
    ) -> Result<Option<&'d PodWrite>, ApplyError> {
        let Decisions { revisions, status, pods, evictions, events, failures: _, read_live, look_again: _ } =
            decisions;
        for write in &revisions.writes {
            self.write_revision(write).await?;
        }
        if let Some(too_long) = &revisions.too_long {
            tracing::warn!(
                sidecarset.name = set.name,
                reason = too_long,
                "the history of a SidecarSet is longer than its limit"
            );
        }
        if let Some(status) = status {
            self.leadership.check()?;
            let sets = objects::sidecar_sets(self.client.0.clone());
            let written = sets.patch_status(&set.name, &parameters(), &Patch::Merge(status)).await;
            self.metrics.written(WriteKind::Status, written.is_ok());
            let written = written.map_err(call("status"))?;
            let document = serde_json::to_value(&written).unwrap_or_default();
            if let Err(reason) = self.lock().apply_set(&document) {
                tracing::warn!(
                    sidecarset.name = set.name,
                    reason,
                    "the SidecarSet that was written cannot be read back"
                );
            }
        }
        for event in events {
            self.tell(set, event);
        }
        for key in read_live {
            self.read_live(key).await?;
        }
        let mut conflict = None;
        for write in pods {
            if self.write_pod(set, write).await? {
                conflict = Some(write);
                if in_order {
                    return Ok(conflict);
                }
            }
        }
        for pod in evictions {
            self.evict(set, pod).await?;
        }
        Ok(conflict)
    }

    /// Rule: C-REV-13, C-REV-14, C-REV-20.
    async fn write_revision(&self, write: &RevisionWrite) -> Result<(), ApplyError> {
        self.leadership.check()?;
        let namespace = &self.settings.revision_namespace;
        let resource = objects::revision_resource();
        let api = Api::<RawObject>::namespaced_with(self.client.0.clone(), namespace, &resource);
        let written = match write {
            RevisionWrite::Create { name, body } => match self.create_revision(body).await {
                Ok(created) => created,
                Err(error) if code(&error) == Some(409) => {
                    let taken = api.get(name).await.map_err(call("revision"))?;
                    let taken = RevisionFacts::from_json(taken.text()).map_err(|error| ApplyError::Call {
                        what: "revision",
                        error: kube::Error::SerdeError(error),
                    })?;
                    self.lock().apply_revision(taken.clone());
                    return Err(ApplyError::NameTaken(Box::new(taken)));
                }
                Err(error) => return Err(call("revision")(error)),
            },
            RevisionWrite::Patch { name, patch } => {
                api.patch(name, &parameters(), &Patch::Merge(patch)).await.map_err(call("revision"))?
            }
            RevisionWrite::Delete { name } => {
                match api.delete(name, &DeleteParams::default()).await {
                    Ok(_) => {}
                    Err(error) if code(&error) == Some(404) => {}
                    // It only trims: the next look tries again.
                    Err(error) => {
                        tracing::warn!(revision.name = name, %error, "an old revision cannot be deleted");
                        return Ok(());
                    }
                }
                self.metrics.written(WriteKind::Revision, true);
                self.lock().remove_revision(name);
                return Ok(());
            }
        };
        self.metrics.written(WriteKind::Revision, true);
        if let Ok(revision) = RevisionFacts::from_json(written.text()) {
            self.lock().apply_revision(revision);
        }
        Ok(())
    }

    /// Posts the body as it is: its bytes count (D-36).
    async fn create_revision(&self, body: &str) -> Result<RawObject, kube::Error> {
        let namespace = &self.settings.revision_namespace;
        let resource = objects::revision_resource();
        let url = <RawObject as kube::Resource>::url_path(&resource, Some(namespace));
        let parameters =
            PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
        let request = kube::core::Request::new(url)
            .create(&parameters, body.as_bytes().to_vec())
            .map_err(kube::Error::BuildRequest)?;
        self.client.0.request(request).await
    }

    /// Writes one Pod. Only the loss of leadership ends the round. Gives whether the Pod had changed; it is read again then.
    ///
    /// Rule: C-UPD-19…22, C-HOTC-9, C-COND-4. Decision: D-32.
    async fn write_pod(&self, set: &SetFacts, write: &PodWrite) -> Result<bool, ApplyError> {
        self.leadership.check()?;
        let PodWrite { kind, pod: key, patch, takes_down } = write;
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
                    self.queue.add(&name, delay.max(super::DEBOUNCE));
                }
                match kind {
                    PodWriteKind::MarkNotUpgradable => {}
                    PodWriteKind::Reset => self.tell(set, &reset_event(&set.name, key.clone(), Ok(()))),
                    PodWriteKind::Upgrade => self.mark_upgradable(set, key).await?,
                }
            }
            // It changed, or is another one now: the next look decides about it as it is.
            Err(error) if code(&error) == Some(409) => {
                self.read_live(key).await?;
                return Ok(true);
            }
            Err(error) => self.pod_failed(set, key, *kind, *takes_down, &error),
        }
        Ok(false)
    }

    pub(super) async fn patch_pod(
        &self,
        key: &PodKey,
        subresource: Option<&str>,
        patch: &Value,
    ) -> Result<WatchedPod, kube::Error> {
        let pods = Api::<WatchedPod>::namespaced(self.client.0.clone(), &key.namespace);
        let patch = Patch::Strategic(patch);
        match subresource {
            None => pods.patch(&key.name, &parameters(), &patch).await,
            Some(_) => pods.patch_status(&key.name, &parameters(), &patch).await,
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
    pub(super) async fn prune(&self, pods: &[Arc<PodFacts>], known: &BTreeSet<String>) {
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
                Err(_) => self.lock().prune_conditions(),
            }
        }
    }

    /// Decision: D-30, D-32.
    fn pod_failed(
        &self,
        set: &SetFacts,
        key: &PodKey,
        kind: PodWriteKind,
        takes_down: bool,
        error: &kube::Error,
    ) {
        if code(error) == Some(404) {
            return self.with_world(|world| world.remove_pod(&key.namespace, &key.name, &key.uid));
        }
        // Without an answer the write may have happened.
        let may_be_written = takes_down && code(error).is_none_or(|code| code >= 500);
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
        self.queue.add(&set.name.as_str().into(), std::time::Duration::from_secs(1));
        if is_new {
            let event = match kind {
                PodWriteKind::Reset => reset_event(&set.name, key.clone(), Err(&told)),
                PodWriteKind::MarkNotUpgradable | PodWriteKind::Upgrade => Event {
                    about: About::Pod(key.clone()),
                    is_warning: true,
                    reason: "SidecarUpgradeFailed",
                    message: format!("SidecarSet \"{}\" cannot upgrade this Pod: {told}", set.name),
                },
            };
            self.tell(set, &event);
        }
    }

    /// Reads a Pod from the API server instead of waiting for the watch. Decision: D-30.
    pub(super) async fn read_live(&self, key: &PodKey) -> Result<(), ApplyError> {
        let pods = Api::<WatchedPod>::namespaced(self.client.0.clone(), &key.namespace);
        match pods.get_opt(&key.name).await {
            Ok(Some(pod)) => self.with_world(|world| world.apply_pod(pod.object())),
            Ok(None) => self.with_world(|world| world.remove_pod(&key.namespace, &key.name, &key.uid)),
            Err(error) => return Err(ApplyError::Call { what: "Pod", error }),
        }
        Ok(())
    }

    /// Asks for a Pod's eviction: a PodDisruptionBudget may refuse, then the next look asks again.
    async fn evict(&self, set: &SetFacts, key: &PodKey) -> Result<(), ApplyError> {
        self.leadership.check()?;
        if !self.take_eviction() {
            return Ok(());
        }
        let preconditions = Preconditions { uid: Some(key.uid.clone()), ..Preconditions::default() };
        let delete_options =
            Some(DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() });
        let parameters = EvictParams { delete_options, ..EvictParams::default() };
        let pods = Api::<Pod>::namespaced(self.client.0.clone(), &key.namespace);
        let result = pods.evict(&key.name, &parameters).await;
        self.metrics.written(WriteKind::Eviction, result.is_ok());
        let (is_warning, reason, message) = match result {
            Ok(_) => (
                false,
                "EvictedForInjection",
                "it lacks the sidecars and is replaced by its owner".to_owned(),
            ),
            Err(error) if code(&error) == Some(404) => return Ok(()),
            Err(error) => (true, "EvictionRefused", error.to_string()),
        };
        let message = format!("SidecarSet \"{}\": {message}", set.name);
        self.tell(set, &Event { about: About::Pod(key.clone()), is_warning, reason, message });
        Ok(())
    }

    pub(super) fn tell(&self, set: &SetFacts, event: &Event) {
        self.events.tell(event, (&set.name, &set.uid));
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
        PodWriteKind::Reset => PodWriteLabel::Reset,
        PodWriteKind::Upgrade => PodWriteLabel::Upgrade,
    }
}
