//! Writes what was decided, in the order in which it was decided. What the API server returns goes into the World at once, so that
//! the next look sees it although the watch has not shown it yet.
//!
//! Rule: C-RUST-6, C-RUST-8. Decision: D-32.

mod pods;

use std::time::Instant;

use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use serde_json::Value;
use sidecarset_core::control::revisions::{RevisionFacts, RevisionWrite};
use sidecarset_core::control::rollout::BackOff;
use sidecarset_core::control::set::SetFacts;
use sidecarset_core::control::{Decisions, Event, PodWrite};

use super::Controller;
use super::leader::NotLeading;
use crate::cluster::objects;
use crate::metrics::WriteKind;
use crate::source::watch::object::RawObject;

/// Who writes, in `managedFields`.
pub(super) const FIELD_MANAGER: &str = "sidecarset-controller";

/// Why the rest of a decision was not applied.
#[derive(Debug, thiserror::Error)]
pub(super) enum ApplyError {
    /// The name of a new revision is taken by this one.
    #[error("the name of the revision is taken")]
    NameTaken(Box<RevisionFacts>),
    /// Something that the decision was made of has changed, and a write met that.
    #[error("the object has changed")]
    Changed,
    /// The set was changed or deleted since the decision.
    #[error("the SidecarSet has changed")]
    Outdated,
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
    /// writes of Pods that had changed meanwhile: then the set is worth another look at once. With `in_order` no Pod behind the
    /// first of them is begun after that.
    pub(super) async fn apply<'d>(
        &self,
        set: &SetFacts,
        decisions: &'d Decisions,
        in_order: bool,
    ) -> Result<Vec<&'d PodWrite>, ApplyError> {
        let Decisions { revisions, status, pods, evictions, events, failures, read_live, look_again: _ } =
            decisions;
        for write in &revisions.writes {
            self.write_revision(write).await?;
        }
        if let Some(too_long) = revisions.too_long.as_ref().filter(|_| !revisions.writes.is_empty()) {
            tracing::warn!(
                sidecarset.name = set.name,
                reason = too_long,
                "the history of a SidecarSet is longer than its limit"
            );
        }
        if let Some(status) = status {
            self.write_status(set, status).await?;
        }
        for event in events {
            self.tell(set, event);
        }
        for failure in failures.iter().filter(|failure| failure.is_new) {
            let back_off = BackOff { may_be_written: false, error: failure.error.clone() };
            self.lock().back_off(&set.name, &failure.pod.uid, back_off, Instant::now());
        }
        for key in read_live {
            if let Err(error) = self.read_live(key).await {
                let back_off = BackOff { may_be_written: false, error: error.to_string() };
                self.lock().back_off(&set.name, &key.uid, back_off, Instant::now());
            }
        }
        let mut changed = Vec::new();
        // No upgrade begins while marks are under way (C-COND-5).
        for writes in pods.chunk_by(|one, next| one.kind == next.kind) {
            changed.extend(self.write_pods(set, writes, in_order).await?);
            if in_order && !changed.is_empty() {
                return Ok(changed);
            }
        }
        for pod in evictions {
            self.evict(set, pod).await?;
        }
        Ok(changed)
    }

    /// Rule: C-STAT-12, C-RUST-7, C-RUST-8.
    async fn write_status(&self, set: &SetFacts, status: &Value) -> Result<(), ApplyError> {
        let sets = objects::sidecar_sets(self.clients.writes.clone());
        let written = self.write(sets.patch_status(&set.name, &parameters(), &Patch::Merge(status))).await;
        self.metrics.written(WriteKind::Status, written.is_ok());
        let written = written.map_err(call("status"))?;
        let document = serde_json::to_value(&written).unwrap_or_default();
        let had_conditions = status["status"]["conditions"].is_array();
        if let Err(reason) = self.lock().apply_written_set(&document, had_conditions) {
            tracing::warn!(
                sidecarset.name = set.name,
                reason,
                "the SidecarSet that was written cannot be read back"
            );
        }
        Ok(())
    }

    /// Rule: C-REV-13, C-REV-14, C-REV-20.
    async fn write_revision(&self, write: &RevisionWrite) -> Result<(), ApplyError> {
        let namespace = &self.settings.revision_namespace;
        let resource = objects::revision_resource();
        let api = Api::<RawObject>::namespaced_with(self.clients.writes.clone(), namespace, &resource);
        let written = match write {
            RevisionWrite::Create { name, body } => match self.write(self.create_revision(body)).await {
                Ok(created) => created,
                Err(error) if code(&error) == Some(409) => {
                    let taken = self.read(api.get(name)).await.map_err(call("revision"))?;
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
                let patched = self.write(api.patch(name, &parameters(), &Patch::Merge(patch))).await;
                patched.map_err(call("revision"))?
            }
            RevisionWrite::Delete { name, resource_version } => {
                let seen = Preconditions { uid: None, resource_version: Some(resource_version.clone()) };
                let parameters = DeleteParams { preconditions: Some(seen), ..DeleteParams::default() };
                match self.write(api.delete(name, &parameters)).await {
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
        self.clients.writes.request(request).await
    }

    pub(super) fn tell(&self, set: &SetFacts, event: &Event) {
        self.events.tell(event, (&set.name, &set.uid));
    }
}
