//! Ends marked sidecars of finished Pods: reads what the decision needs, and carries it out.
//!
//! Rule: C-TERM-6…18. Decision: D-34.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Node as NodeObject;
use kube::api::{ApiResource, DynamicObject, ListParams, PostParams};
use kube::core::GroupVersionKind;
use kube::{Api, ResourceExt as _};
use sidecarset_core::control::expectations::PodKey;
use sidecarset_core::control::pod::PodFacts;
use sidecarset_core::control::terminator::{self, Action, Node, Request, Requests};

use super::Controller;
use super::apply::{self, FIELD_MANAGER, code};
use super::queue::Outcome;
use crate::metrics::WriteKind;

/// How long a Node is taken for what it was: its type does not change.
const NODE_KNOWN_FOR: Duration = Duration::from_secs(60);

/// Nodes that were asked for: what they are, how often they were missing, and when that was seen.
#[derive(Debug, Default)]
struct Nodes(Mutex<HashMap<Arc<str>, (Node, Instant)>>);

impl Controller {
    /// Notes a Pod that there may be something to end in. Rule: C-TERM-6.
    pub(super) fn note_ending(&self, pod: &PodFacts) {
        if self.settings.terminator && terminator::is_interesting(pod) {
            let (namespace, name) = pod.key();
            self.endings.add(&format!("{namespace}/{name}").into(), Duration::ZERO);
        }
    }

    /// Works on the Pods that were noted, also those from before this replica led.
    pub(super) async fn end_sidecars(&self) {
        let known: Vec<Arc<PodFacts>> = self.lock().pods.iter().map(Arc::clone).collect();
        known.iter().for_each(|pod| self.note_ending(pod));
        let nodes = Nodes::default();
        loop {
            let key = self.endings.next().await;
            let outcome = match self.end_sidecars_of(&key, &nodes).await {
                Ok(outcome) => outcome,
                Err(error) => {
                    tracing::warn!(pod = &*key, %error, "the sidecars of a finished Pod cannot be ended; it is tried again");
                    Outcome::Failed
                }
            };
            self.endings.finish(&key, outcome);
        }
    }

    async fn end_sidecars_of(&self, key: &str, nodes: &Nodes) -> Result<Outcome, apply::ApplyError> {
        let Some(key) = key.split_once('/') else { return Ok(Outcome::Done) };
        let Some(pod) = self.lock().pods.get(key) else { return Ok(Outcome::Done) };
        if !terminator::is_interesting(&pod) {
            return Ok(Outcome::Done);
        }
        let call = |what| move |error| apply::ApplyError::Call { what, error };
        let node = self.node(&pod, nodes).await.map_err(call("Node"))?;
        let requests = self.recreate_requests(&pod).await.map_err(call("ContainerRecreateRequests"))?;
        let requests = requests.as_deref().map_or(Requests::NotServed, Requests::Served);
        let mut last_succeeded = true;
        for action in terminator::decide(&pod, node, requests, self.now().unix) {
            self.leadership.check()?;
            match action {
                Action::Retry => return Ok(Outcome::Failed),
                Action::Tell(event) if last_succeeded => self.events.tell(&event, ("", "")),
                Action::Tell(_) => {}
                Action::PatchPod(patch) => {
                    last_succeeded = self.patch_ending(&pod, None, &patch).await?;
                }
                Action::PatchStatus(patch) => {
                    last_succeeded = self.patch_ending(&pod, Some("status"), &patch).await?;
                }
                Action::Recreate(request) => {
                    last_succeeded =
                        self.create_request(&pod, request).await.map_err(call("ContainerRecreateRequest"))?;
                }
            }
        }
        Ok(Outcome::Done)
    }

    /// Gives whether it was written. A conflict is looked at again when the watch shows the change.
    async fn patch_ending(
        &self,
        pod: &PodFacts,
        subresource: Option<&str>,
        patch: &serde_json::Value,
    ) -> Result<bool, apply::ApplyError> {
        let key = PodKey::from(pod);
        let result = self.patch_pod(&key, subresource, patch).await;
        self.metrics.written(WriteKind::Ending, result.is_ok());
        match result {
            Ok(written) => {
                self.with_world(|world| world.apply_pod(written.object()));
                Ok(true)
            }
            Err(error) if matches!(code(&error), Some(404 | 409)) => {
                self.read_live(&key).await?;
                Ok(false)
            }
            Err(error) => Err(apply::ApplyError::Call { what: "Pod", error }),
        }
    }

    /// Rule: C-TERM-7, C-BUG-30.
    async fn node(&self, pod: &PodFacts, nodes: &Nodes) -> Result<Node, kube::Error> {
        let Some(name) = &pod.node else { return Ok(Node::Ordinary) };
        let known = {
            let nodes = nodes.0.lock().unwrap_or_else(PoisonError::into_inner);
            nodes.get(name).copied()
        };
        let missing = match known {
            Some((Node::Missing(times), _)) => times,
            Some((node, seen)) if seen.elapsed() < NODE_KNOWN_FOR => return Ok(node),
            _ => 0,
        };
        let found = Api::<NodeObject>::all(self.client.0.clone()).get_metadata_opt(name).await?;
        let node = match found {
            None => Node::Missing(missing.saturating_add(1)),
            Some(found) if found.labels().get("type").is_some_and(|kind| kind == "virtual-kubelet") => {
                Node::VirtualKubelet
            }
            Some(_) => Node::Ordinary,
        };
        let mut nodes = nodes.0.lock().unwrap_or_else(PoisonError::into_inner);
        nodes.retain(|_, (_, seen)| seen.elapsed() < NODE_KNOWN_FOR);
        nodes.insert(Arc::clone(name), (node, Instant::now()));
        Ok(node)
    }

    /// The requests about a Pod; `None` if the kind is not served. Rule: C-TERM-12, C-TERM-18. Decision: D-34.
    async fn recreate_requests(&self, pod: &PodFacts) -> Result<Option<Vec<Request>>, kube::Error> {
        let listed = self.requests_api(&pod.namespace).list(&ListParams::default()).await;
        let listed = match listed {
            Err(error) if code(&error) == Some(404) => return Ok(None),
            other => other?,
        };
        let is_of_pod = |request: &&DynamicObject| request.data["spec"]["podName"] == *pod.name;
        let read = |request: &DynamicObject| {
            let containers = request.data["spec"]["containers"].as_array().map(Vec::as_slice);
            let name = |container: &serde_json::Value| container["name"].as_str().map(str::to_owned);
            let phase = request.data["status"]["phase"].as_str();
            Request {
                name: request.name_any(),
                containers: containers.unwrap_or_default().iter().filter_map(name).collect(),
                is_finished: matches!(phase, Some("Completed" | "Succeeded" | "Failed")),
            }
        };
        Ok(Some(listed.items.iter().filter(is_of_pod).map(read).collect()))
    }

    /// Gives whether there is one now that was not there before.
    async fn create_request(&self, pod: &PodFacts, request: serde_json::Value) -> Result<bool, kube::Error> {
        let request: DynamicObject = serde_json::from_value(request).map_err(kube::Error::SerdeError)?;
        let parameters =
            PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
        let created = self.requests_api(&pod.namespace).create(&parameters, &request).await;
        self.metrics.written(WriteKind::Ending, created.is_ok());
        match created {
            Ok(_) => Ok(true),
            Err(error) if code(&error) == Some(409) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn requests_api(&self, namespace: &str) -> Api<DynamicObject> {
        let kind = GroupVersionKind::gvk("apps.kruise.io", "v1beta1", "ContainerRecreateRequest");
        let resource = ApiResource::from_gvk_with_plural(&kind, "containerrecreaterequests");
        Api::namespaced_with(self.client.0.clone(), namespace, &resource)
    }
}
