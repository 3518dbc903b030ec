//! SidecarTerminator: ends marked sidecars once the main containers of a finished Pod have ended.
//!
//! It knows nothing of SidecarSets; only environment variables in the Pod count, whoever put them there.

use serde_json::{Value, json};

use super::expectations::PodKey;
use super::pod::{ContainerFact, Phase, PodFacts, RestartPolicy, State, StatusFact};
use super::update::containers_patch;
use super::{About, Event};
use crate::api::keys;
use crate::injection::hash_annotation::format_rfc3339;

/// How often a Node that is not there is asked for before the Pod counts as one of an ordinary node. Rule: C-BUG-30.
const NODE_ATTEMPTS: u32 = 3;

/// What is known about the Pod's node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Node {
    /// It has no label `type=virtual-kubelet`.
    Ordinary,
    /// It has.
    VirtualKubelet,
    /// It was not found this many times.
    Missing(u32),
}

/// A ContainerRecreateRequest of the Pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Its name.
    pub name: String,
    /// The containers that it names.
    pub containers: Vec<String>,
    /// It was carried out, or given up.
    pub is_finished: bool,
}

/// What a request is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestKind {
    /// Ordinary sidecars.
    Kill,
    /// Those whose exit code must not count, after the Pod is marked as ended.
    Ignore,
}

/// What kind of requests there are.
#[derive(Debug, Clone, Copy)]
pub enum Requests<'a> {
    /// The kind is not served: containers cannot be killed (D-34).
    NotServed,
    /// Those of the Pod.
    Served(&'a [Request]),
}

/// One step; in the order of the list. After a patch that was not written the rest is left: it holds for the Pod as patched. Above all
/// nothing is killed whose exit code must not count before the Pod is marked (C-TERM-9).
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Strategic merge patch of the Pod.
    PatchPod(Value),
    /// Create this ContainerRecreateRequest; that it exists is as good.
    Recreate(Value),
    /// Strategic merge patch of `/status`.
    PatchStatus(Value),
    /// Send this event once the step before it succeeded.
    Tell(Event),
    /// Look again: something is not there yet.
    Retry,
}

/// The sidecars of a Pod by how they are ended.
#[derive(Debug, Default, PartialEq, Eq)]
struct Groups<'p> {
    in_place: Vec<&'p ContainerFact>,
    kill: Vec<&'p ContainerFact>,
    ignore: Vec<&'p ContainerFact>,
}

/// Rule: C-TERM-3.
fn is_sidecar(container: &ContainerFact) -> bool {
    container.exit.by_kill || container.exit.image.is_some()
}

fn mains(pod: &PodFacts) -> impl Iterator<Item = &ContainerFact> {
    pod.regular().filter(|container| !is_sidecar(container))
}

/// Whether all of these containers have ended, and well if asked for.
///
/// Rule: C-TERM-4.
fn are_ended<'p>(
    pod: &PodFacts,
    containers: impl IntoIterator<Item = &'p ContainerFact>,
    well: bool,
) -> bool {
    let is_ended = |status: &StatusFact| match status.state {
        State::Terminated(code) => !well || code == 0,
        State::Waiting(_) | State::Running => false,
    };
    pod.regular().count() == pod.regular_statuses().count()
        && containers.into_iter().all(|container| pod.status(&container.name).is_some_and(is_ended))
}

/// Whether there is something to end in a Pod: asked for every Pod that is made or changes.
///
/// Rules: C-TERM-5, C-TERM-6, C-TERM-14.
#[must_use]
pub fn is_interesting(pod: &PodFacts) -> bool {
    let sidecars = || pod.regular().filter(|container| is_sidecar(container));
    let mains_are_over = match pod.restart_policy {
        RestartPolicy::Always => return false,
        RestartPolicy::Never => are_ended(pod, mains(pod), false),
        RestartPolicy::OnFailure => are_ended(pod, mains(pod), true),
    };
    !pod.is_terminating
        // An empty phase counts as one of a Pod that runs; it has statuses, else nothing had ended.
        && (pod.phase != Phase::Pending || pod.has_no_phase)
        && sidecars().next().is_some()
        && !are_ended(pod, sidecars(), false)
        && mains_are_over
}

/// On a virtual kubelet images are replaced. Elsewhere containers are killed, also those that only name an image.
///
/// Rules: C-TERM-8, C-BUG-27.
fn groups(pod: &PodFacts, is_virtual: bool) -> Groups<'_> {
    let mut groups = Groups::default();
    for container in pod.regular().filter(|container| is_sidecar(container)) {
        match (is_virtual, &container.exit) {
            (true, exit) if exit.image.is_some() => groups.in_place.push(container),
            (true, _) => {}
            (false, exit) if exit.ignores_exit_code => groups.ignore.push(container),
            (false, _) => groups.kill.push(container),
        }
    }
    groups
}

/// What to do about a Pod; nothing if it is not interesting.
///
/// Rules: C-TERM-7…10, C-BUG-30. Decision: D-34.
#[must_use]
pub fn decide(pod: &PodFacts, node: Node, requests: Requests<'_>, now_unix: i64) -> Vec<Action> {
    if !is_interesting(pod) {
        return Vec::new();
    }
    if matches!(node, Node::Missing(attempts) if attempts < NODE_ATTEMPTS) {
        return vec![Action::Retry];
    }
    let Groups { in_place, kill, ignore } = groups(pod, node == Node::VirtualKubelet);
    let mut actions = replace_images(pod, &in_place);
    actions.extend(recreate(pod, &kill, requests, RequestKind::Kill));
    let are_over = are_ended(pod, in_place.iter().chain(&kill).copied(), false);
    if !ignore.is_empty() && are_over {
        actions.extend(mark_terminated(pod, now_unix));
        actions.extend(recreate(pod, &ignore, requests, RequestKind::Ignore));
    }
    actions
}

/// The containers that have not ended. Rule: C-TERM-10.
fn running<'p>(pod: &PodFacts, group: &[&'p ContainerFact]) -> Vec<&'p ContainerFact> {
    let has_ended = |container: &ContainerFact| {
        pod.status(&container.name).is_some_and(|status| matches!(status.state, State::Terminated(_)))
    };
    group.iter().copied().filter(|container| !has_ended(container)).collect()
}

/// Rules: C-TERM-11, C-TERM-17, C-EVT-5, C-BUG-31: nothing is told when nothing changes.
fn replace_images(pod: &PodFacts, group: &[&ContainerFact]) -> Vec<Action> {
    let left: Vec<(&str, &str)> = running(pod, group)
        .into_iter()
        .filter_map(|container| Some((&*container.name, container.exit.image.as_deref()?)))
        .filter(|(name, image)| pod.image(name) != Some(image))
        .collect();
    if left.is_empty() {
        return Vec::new();
    }
    let names: Vec<&str> = left.iter().map(|(name, _)| *name).collect();
    let patch = json!({
        "metadata": {"uid": pod.uid, "resourceVersion": pod.resource_version},
        "spec": containers_patch(pod, left.iter().copied()),
    });
    let message = format!("ends sidecars by an image that exits: {}", names.join(", "));
    vec![Action::PatchPod(patch), tell(pod, message)]
}

/// A request for all that run and that no open request names. A container that runs again after its request was carried out gets
/// another one. The first request of a Pod has upstream's name, each later one another.
///
/// Rules: C-TERM-12, C-TERM-15, C-TERM-16, C-TERM-18, C-EVT-6, C-BUG-28, C-BUG-29. Decision: D-34.
fn recreate(
    pod: &PodFacts,
    group: &[&ContainerFact],
    requests: Requests<'_>,
    kind: RequestKind,
) -> Vec<Action> {
    let mut names: Vec<&str> = running(pod, group).into_iter().map(|container| &*container.name).collect();
    if let Requests::Served(requests) = requests {
        let is_open = |name: &&str| {
            requests
                .iter()
                .any(|request| !request.is_finished && request.containers.iter().any(|c| c == name))
        };
        names.retain(|name| !is_open(name));
    }
    if names.is_empty() {
        return Vec::new();
    }
    let Requests::Served(requests) = requests else {
        let message = format!(
            "sidecars keep running, because this cluster has no ContainerRecreateRequest to kill them with: {}",
            names.join(", ")
        );
        return vec![Action::Tell(Event { is_warning: true, ..event(pod, message) })];
    };
    let name = free_name(pod, kind, requests);
    let request = json!({
        "apiVersion": "apps.kruise.io/v1beta1", "kind": "ContainerRecreateRequest",
        "metadata": {
            "namespace": &*pod.namespace, "name": name,
            "ownerReferences": [{
                "apiVersion": "v1", "kind": "Pod", "name": pod.name, "uid": pod.uid,
                "controller": true, "blockOwnerDeletion": true,
            }],
        },
        "spec": {
            "podName": pod.name,
            "containers": names.iter().map(|name| json!({"name": name})).collect::<Vec<_>>(),
            "strategy": {"forceRecreate": true, "failurePolicy": "Ignore"},
        },
    });
    let message = format!("ends sidecars by a ContainerRecreateRequest: {}", names.join(", "));
    vec![Action::Recreate(request), tell(pod, message)]
}

/// The name of the first, second and so on request of one kind for a Pod. Requests of a former Pod of the same name have others.
///
/// Rule: C-TERM-12.
#[must_use]
pub fn request_name(pod: &PodFacts, kind: RequestKind, number: usize) -> String {
    let suffix = match kind {
        RequestKind::Kill => "",
        RequestKind::Ignore => "-ignore",
    };
    match number {
        0 | 1 => format!("sidecar-termination-{}{suffix}", pod.uid),
        number => format!("sidecar-termination-{}{suffix}-{number}", pod.uid),
    }
}

/// The first name that no request of the Pod has; the very first one is upstream's, whatever it is for.
fn free_name(pod: &PodFacts, kind: RequestKind, requests: &[Request]) -> String {
    let is_free = |name: &String| requests.iter().all(|request| request.name != *name);
    let base = request_name(pod, RequestKind::Kill, 1);
    // One of so many numbers is free.
    let numbered = (1..=requests.len() + 2).map(|number| request_name(pod, kind, number));
    std::iter::once(base.clone()).chain(numbered).find(is_free).unwrap_or(base)
}

/// The Pod counts as ended, so that the exit code of a sidecar does not.
///
/// Rule: C-TERM-13.
fn mark_terminated(pod: &PodFacts, now_unix: i64) -> Option<Action> {
    if pod.has_ended() {
        return None;
    }
    let phase = if are_ended(pod, mains(pod), true) { "Succeeded" } else { "Failed" };
    let mut time = String::new();
    format_rfc3339(now_unix, &mut time);
    Some(Action::PatchStatus(json!({
        "metadata": {"uid": pod.uid, "resourceVersion": pod.resource_version},
        "status": {
            "phase": phase,
            "conditions": [{
                "type": keys::CONDITION_TERMINATED, "status": "True", "lastTransitionTime": time,
                "message": "the SidecarTerminator ended the Pod: its main containers have ended",
            }],
        },
    })))
}

fn event(pod: &PodFacts, message: String) -> Event {
    Event { about: About::Pod(PodKey::from(pod)), is_warning: false, reason: "SidecarTerminator", message }
}

fn tell(pod: &PodFacts, message: String) -> Action {
    Action::Tell(event(pod, message))
}

#[cfg(test)]
mod tests;
