//! Ends marked sidecars of finished Pods: reads what the decision needs, and carries it out.
//!
//! Rule: C-TERM-6…18. Decision: D-34.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Node as NodeObject;
use kube::api::{ApiResource, DynamicObject, ListParams, PostParams};
use kube::core::GroupVersionKind;
use kube::{Api, Client, ResourceExt as _};
use sidecarset_core::control::expectations::PodKey;
use sidecarset_core::control::pod::PodFacts;
use sidecarset_core::control::terminator::{self, Action, Node, Request, RequestKind, Requests};
use tokio::task::JoinSet;

use super::Controller;
use super::apply::{self, FIELD_MANAGER, code};
use super::queue::Outcome;
use crate::metrics::WriteKind;

/// Pods that are worked on at a time. Rule: C-TERM-6.
const WORKERS: usize = 3;
/// Pause after a Pod changed before it could be written.
const CONFLICT_PAUSE: Duration = Duration::from_millis(100);
/// How many Pods are remembered for which nothing can be done. When there are more, they are told again.
const MOST_TOLD: usize = 10_000;
/// How long a Node is taken for what it was: its type does not change.
const NODE_KNOWN_FOR: Duration = Duration::from_secs(60);

/// Nodes that were asked for: what they are, how often they were missing, and when that was seen.
type Nodes = HashMap<Arc<str>, (Node, Instant)>;

/// What the workers have in common.
#[derive(Debug, Default)]
struct Known {
    nodes: Mutex<Nodes>,
    /// Uids of Pods of which a warning told that nothing can be done.
    told: Mutex<HashSet<Box<str>>>,
}

impl Known {
    /// Whether this is the first warning about the Pod. Rule: C-BUG-31.
    fn is_first_warning(&self, pod: &PodFacts) -> bool {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.len() >= MOST_TOLD {
            told.clear();
        }
        told.insert(pod.uid.clone())
    }
}

impl Controller {
    /// Notes a Pod that there may be something to end in. While another replica leads nothing is: when this one comes to lead it
    /// looks at all Pods. Rule: C-TERM-6.
    pub(super) fn note_ending(&self, pod: &PodFacts) {
        if self.settings.terminator && self.leads() && terminator::is_interesting(pod) {
            let (namespace, name) = pod.key();
            self.endings.add(&format!("{namespace}/{name}").into(), Duration::ZERO);
        }
    }

    /// Starts to work on the Pods that are noted, and on those from before this replica led.
    pub(super) fn start_terminator(self: &Arc<Self>, tasks: &mut JoinSet<()>) {
        let pods: Vec<Arc<PodFacts>> = self.lock().pods.iter().map(Arc::clone).collect();
        pods.iter().for_each(|pod| self.note_ending(pod));
        let known = Arc::<Known>::default();
        for _ in 0..WORKERS {
            let (controller, known) = (Arc::clone(self), Arc::clone(&known));
            tasks.spawn(async move { controller.end_sidecars(&known).await });
        }
    }

    async fn end_sidecars(&self, known: &Known) {
        loop {
            let key = self.endings.next().await;
            let outcome = match self.end_sidecars_of(&key, known).await {
                Ok(outcome) => outcome,
                Err(error) => {
                    tracing::warn!(pod = &*key, %error, "the sidecars of a finished Pod cannot be ended; it is tried again");
                    Outcome::Failed
                }
            };
            self.endings.finish(&key, outcome);
        }
    }

    /// Rule: C-TERM-9, C-TERM-13.
    async fn end_sidecars_of(&self, key: &str, known: &Known) -> Result<Outcome, apply::ApplyError> {
        let Some(key) = key.split_once('/') else { return Ok(Outcome::Done) };
        let Some(pod) = self.lock().pods.get(key) else { return Ok(Outcome::Done) };
        if !terminator::is_interesting(&pod) {
            return Ok(Outcome::Done);
        }
        let call = |what| move |error| apply::ApplyError::Call { what, error };
        let node = self.node(&pod, &known.nodes).await.map_err(call("Node"))?;
        let requests = self.recreate_requests(&pod).await.map_err(call("ContainerRecreateRequests"))?;
        let requests = requests.as_deref().map_or(Requests::NotServed, Requests::Served);
        let mut is_new = true;
        for action in terminator::decide(&pod, node, requests, self.now().unix) {
            self.leadership.check()?;
            match action {
                Action::Retry => return Ok(Outcome::Failed),
                Action::Tell(event) => {
                    if is_new && (!event.is_warning || known.is_first_warning(&pod)) {
                        self.events.tell(&event, ("", ""));
                    }
                }
                Action::PatchPod(patch) => {
                    if !self.patch_ending(&pod, None, &patch).await? {
                        return Ok(Outcome::Again(CONFLICT_PAUSE));
                    }
                    is_new = true;
                }
                Action::PatchStatus(patch) => {
                    if !self.patch_ending(&pod, Some("status"), &patch).await? {
                        return Ok(Outcome::Again(CONFLICT_PAUSE));
                    }
                    is_new = true;
                }
                Action::Recreate(request) => {
                    is_new =
                        self.create_request(&pod, request).await.map_err(call("ContainerRecreateRequest"))?;
                }
            }
        }
        Ok(Outcome::Done)
    }

    /// Gives whether it was written. If not, the Pod has changed or is gone, and was read again.
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
    async fn node(&self, pod: &PodFacts, nodes: &Mutex<Nodes>) -> Result<Node, kube::Error> {
        let Some(name) = &pod.node else { return Ok(Node::Ordinary) };
        let known = {
            let nodes = nodes.lock().unwrap_or_else(PoisonError::into_inner);
            nodes.get(name).copied()
        };
        let missing = match known {
            Some((Node::Missing(times), _)) => times,
            Some((node, seen)) if seen.elapsed() < NODE_KNOWN_FOR => return Ok(node),
            _ => 0,
        };
        let found = Api::<NodeObject>::all(self.clients.reads.clone()).get_metadata_opt(name).await?;
        let node = match found {
            None => Node::Missing(missing.saturating_add(1)),
            Some(found) if found.labels().get("type").is_some_and(|kind| kind == "virtual-kubelet") => {
                Node::VirtualKubelet
            }
            Some(_) => Node::Ordinary,
        };
        let mut nodes = nodes.lock().unwrap_or_else(PoisonError::into_inner);
        nodes.retain(|_, (_, seen)| seen.elapsed() < NODE_KNOWN_FOR);
        nodes.insert(Arc::clone(name), (node, Instant::now()));
        Ok(node)
    }

    /// The requests for a Pod, by the names that they have; `None` if the kind is not served.
    ///
    /// Rule: C-TERM-12, C-TERM-18. Decision: D-34.
    async fn recreate_requests(&self, pod: &PodFacts) -> Result<Option<Vec<Request>>, kube::Error> {
        let mut requests = match self.recreate_request(pod, RequestKind::Kill, 1).await {
            Err(error) if code(&error) == Some(404) => return Ok(None),
            Ok(Some(first)) => vec![first],
            // The first request has this name, whatever it is for.
            Ok(None) => return Ok(Some(Vec::new())),
            Err(error) => return Err(error),
        };
        for (kind, from) in [(RequestKind::Kill, 2), (RequestKind::Ignore, 1)] {
            for number in from.. {
                let Some(request) = self.recreate_request(pod, kind, number).await? else { break };
                requests.push(request);
            }
        }
        Ok(Some(requests))
    }

    /// Reads one request. As a list of at most one: that tells a kind that is not served from a request that is not there.
    async fn recreate_request(
        &self,
        pod: &PodFacts,
        kind: RequestKind,
        number: usize,
    ) -> Result<Option<Request>, kube::Error> {
        let name = terminator::request_name(pod, kind, number);
        let by_name = ListParams::default().fields(&format!("metadata.name={name}"));
        let listed = requests_api(&self.clients.reads, &pod.namespace).list(&by_name).await?;
        let found = listed.items.iter().find(|request| request.name_any() == name);
        Ok(found.map(|request| {
            let containers = request.data["spec"]["containers"].as_array().map(Vec::as_slice);
            let name_of = |container: &serde_json::Value| container["name"].as_str().map(str::to_owned);
            let phase = request.data["status"]["phase"].as_str();
            Request {
                containers: containers.unwrap_or_default().iter().filter_map(name_of).collect(),
                is_finished: matches!(phase, Some("Completed" | "Succeeded" | "Failed")),
                name,
            }
        }))
    }

    /// Gives whether there is one now that was not there before.
    async fn create_request(&self, pod: &PodFacts, request: serde_json::Value) -> Result<bool, kube::Error> {
        let request: DynamicObject = serde_json::from_value(request).map_err(kube::Error::SerdeError)?;
        let parameters =
            PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
        let created = requests_api(&self.clients.writes, &pod.namespace).create(&parameters, &request).await;
        self.metrics.written(WriteKind::Ending, created.is_ok());
        match created {
            Ok(_) => Ok(true),
            Err(error) if code(&error) == Some(409) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

fn requests_api(client: &Client, namespace: &str) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk("apps.kruise.io", "v1beta1", "ContainerRecreateRequest");
    let resource = ApiResource::from_gvk_with_plural(&kind, "containerrecreaterequests");
    Api::namespaced_with(client.clone(), namespace, &resource)
}

#[cfg(test)]
mod tests;
