//! One Pod on the node of the recorded scenarios: which status a kubelet gives it, and which containers are about to start.
//!
//! The rules are those of `tests/conformance/README.md`, section "The node". Clock and API server are somebody else's: in memory
//! here, real ones in the cluster tests, which have this module too.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use sidecarset_core::injection::hash_annotation::format_rfc3339;

use super::observation::{containers, text};

/// Names of the nodes.
pub(crate) const NODES: [&str; 2] = ["node-1", "node-vk"];
/// How long a container takes to start with a new image.
pub(crate) const START_MS: u64 = 600;
/// 2026-01-01T00:00:00Z, from which ready times count.
const EPOCH: i64 = 1_767_225_600;

/// What a scenario sets for its Pods: for all, and for single ones, which wins.
#[derive(Debug, Default)]
pub(crate) struct Settings {
    for_all: Map<String, Value>,
    for_pod: BTreeMap<String, Map<String, Value>>,
}

impl Settings {
    /// Takes the settings of an operation `node`; `null` takes one back.
    pub(crate) fn set(&mut self, operation: &Value) {
        let mut settings = operation.as_object().cloned().unwrap_or_default();
        settings.retain(|name, _| name != "op" && name != "pods");
        let keys = names(&operation["pods"]);
        let mut maps: Vec<&mut Map<String, Value>> = if operation["pods"] == "*" {
            vec![&mut self.for_all]
        } else {
            for key in &keys {
                self.for_pod.entry(key.clone()).or_default();
            }
            self.for_pod.iter_mut().filter(|(key, _)| keys.contains(key)).map(|(_, map)| map).collect()
        };
        for map in &mut maps {
            map.extend(settings.clone());
            map.retain(|_, value| !value.is_null());
        }
    }

    /// What is set for a Pod.
    pub(crate) fn of(&self, key: &str) -> PodSettings {
        let mut all = self.for_all.clone();
        all.extend(self.for_pod.get(key).cloned().unwrap_or_default());
        PodSettings(all.into())
    }
}

/// What is set for one Pod.
#[derive(Debug)]
pub(crate) struct PodSettings(Value);

impl PodSettings {
    /// One setting, null if there is none.
    pub(crate) fn of(&self, name: &str) -> &Value {
        &self.0[name]
    }
}

/// What the node remembers of one Pod.
#[derive(Debug, Default)]
pub(crate) struct PodState {
    index: i64,
    running: BTreeMap<String, String>,
    restarts: BTreeMap<String, i64>,
    /// The image that a container is about to start with, and whether it can.
    starting: BTreeMap<String, (String, bool)>,
    ended: BTreeMap<String, i64>,
    ready_count: i64,
    was_ready: Option<bool>,
    ready_at: i64,
}

/// A container that starts a while after its image changed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Start {
    pub(crate) container: String,
    pub(crate) image: String,
}

fn names(list: &Value) -> Vec<String> {
    list.as_array().into_iter().flatten().map(|name| name.as_str().unwrap_or_default().to_owned()).collect()
}

/// `docker-pullable://<name>@<digest>`: what is pulled for an image.
fn image_id(image: &str) -> String {
    let (rest, digest) = image.split_once('@').unwrap_or((image, ""));
    let name = rest.rsplit_once(':').filter(|(_, tag)| !tag.contains('/')).map_or(rest, |(name, _)| name);
    if !digest.is_empty() {
        return format!("docker-pullable://{name}@{digest}");
    }
    let hex: String = Sha256::digest(image).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("docker-pullable://{name}@sha256:{hex}")
}

/// A time as the API server writes it, of seconds since 1970.
pub(crate) fn time(unix: i64) -> String {
    let mut text = String::new();
    format_rfc3339(unix, &mut text);
    text
}

impl PodState {
    /// A Pod that was the `index`th to be created, from 0.
    pub(crate) fn new(index: usize) -> Self {
        Self { index: i64::try_from(index).expect("few Pods"), ..Self::default() }
    }

    /// The time has come for a container to start, unless its image has changed since.
    pub(crate) fn start(&mut self, start: &Start) {
        if let Some(starting) = self.starting.get_mut(&start.container)
            && starting.0 == start.image
        {
            starting.1 = true;
        }
    }

    /// The Pod's status; `None` if it is left alone. `starts` gets the containers that from now on are about to start.
    pub(crate) fn status(
        &mut self,
        pod: &Value,
        settings: &PodSettings,
        starts: &mut Vec<Start>,
    ) -> Option<Value> {
        let is_ours = NODES.contains(&text(pod, &["spec", "nodeName"]));
        let is_leaving = !pod["metadata"]["deletionTimestamp"].is_null();
        let phase_setting = settings.of("phase");
        let is_over =
            ["Succeeded", "Failed"].contains(&text(pod, &["status", "phase"])) && phase_setting.is_null();
        if !is_ours || is_leaving || is_over || *settings.of("freeze") == true {
            return None;
        }
        let missing = names(settings.of("missing"));
        let mut statuses = Vec::new();
        for container in containers(pod, "containers") {
            let status = self.container_status(container, settings, starts);
            if !missing.iter().any(|name| name == text(container, &["name"])) {
                statuses.push(status);
            }
        }
        let phase = phase_setting.as_str().unwrap_or_else(|| self.phase(pod)).to_owned();
        let ready = phase == "Running" && statuses.iter().all(|status| status["ready"] == true);
        self.note_ready(ready);
        let at = time(EPOCH + settings.of("readyAt").as_i64().unwrap_or(self.ready_at));
        let condition = |kind: &str, status: &str, at: &str| json!({"type": kind, "status": status, "lastTransitionTime": at});
        let word = if ready { "True" } else { "False" };
        let mut status = json!({
            "phase": phase, "containerStatuses": statuses,
            "conditions": [
                condition("Initialized", "True", &time(EPOCH)), condition("PodScheduled", "True", &time(EPOCH)),
                condition("ContainersReady", word, &at), condition("Ready", word, &at),
            ],
        });
        let inits: Vec<Value> = containers(pod, "initContainers")
            .map(|container| init_status(container, settings.of("restarts")))
            .collect();
        if !inits.is_empty() {
            status["initContainerStatuses"] = inits.into();
        }
        Some(status)
    }

    fn container_status(
        &mut self,
        container: &Value,
        settings: &PodSettings,
        starts: &mut Vec<Start>,
    ) -> Value {
        let (name, want) = (text(container, &["name"]).to_owned(), text(container, &["image"]).to_owned());
        let hold = settings.of("hold");
        let cannot_pull = names(settings.of("badImages")).contains(&want);
        let is_held = cannot_pull || *hold == true || names(hold).contains(&name);
        let is_waiting = self.run(&name, &want, is_held, *settings.of("slow") == true, starts);
        let have = self.running.get(&name);
        if let Some(code) = settings.of("exit")[&name].as_i64().filter(|_| have == Some(&want)) {
            self.ended.insert(name.clone(), code);
        }
        let is_not_ready = names(settings.of("notReady")).contains(&name);
        let (state, ready) = match self.ended.get(&name) {
            Some(code) => (json!({"terminated": {"exitCode": code}}), false),
            None if is_waiting => {
                let reason = if cannot_pull { "ErrImagePull" } else { "ContainerCreating" };
                (json!({"waiting": {"reason": reason}}), false)
            }
            None => (json!({"running": {}}), !is_not_ready),
        };
        let counted = self.restarts.get(&name).copied().unwrap_or_default();
        let mut status = json!({
            "name": name, "image": have.unwrap_or(&want), "ready": ready, "state": state,
            "imageID": have.map(|have| image_id(have)).unwrap_or_default(),
            "restartCount": settings.of("restarts")[&name].as_i64().unwrap_or(counted),
        });
        let reported = settings.of("images")[&name].as_object().cloned().unwrap_or_default();
        json_patch::merge(&mut status, &reported.into());
        status
    }

    /// Brings the running image nearer to the wanted one; gives whether the container waits for it.
    fn run(&mut self, name: &str, want: &str, is_held: bool, is_slow: bool, starts: &mut Vec<Start>) -> bool {
        let running = self.running.get(name).map(String::as_str);
        if running == Some(want) || (running.is_some() && is_slow) {
            return false;
        }
        if is_held {
            self.starting.remove(name);
            return true;
        }
        let starting = self.starting.get(name).filter(|(image, _)| image == want);
        match (running, starting) {
            (None, _) => drop(self.running.insert(name.to_owned(), want.to_owned())),
            (Some(_), Some((_, true))) => {
                self.starting.remove(name);
                self.running.insert(name.to_owned(), want.to_owned());
                *self.restarts.entry(name.to_owned()).or_default() += 1;
                self.ended.remove(name);
            }
            (Some(_), Some((_, false))) => return true,
            (Some(_), None) => {
                self.starting.insert(name.to_owned(), (want.to_owned(), false));
                starts.push(Start { container: name.to_owned(), image: want.to_owned() });
                return true;
            }
        }
        false
    }

    fn phase(&self, pod: &Value) -> &'static str {
        let list = || containers(pod, "containers").map(|container| text(container, &["name"]));
        if list().any(|name| !self.running.contains_key(name)) {
            return "Pending";
        }
        let is_over = list().all(|name| self.ended.contains_key(name));
        if !is_over || text(pod, &["spec", "restartPolicy"]) == "Always" {
            return "Running";
        }
        if self.ended.values().all(|code| *code == 0) { "Succeeded" } else { "Failed" }
    }

    fn note_ready(&mut self, ready: bool) {
        if self.was_ready != Some(ready) {
            self.ready_count += i64::from(ready);
            self.was_ready = Some(ready);
            self.ready_at = 3600 * self.ready_count + 60 * self.index;
        }
    }
}

/// Ordinary init containers have ended well, native sidecars run.
fn init_status(container: &Value, restarts: &Value) -> Value {
    let (name, image) = (text(container, &["name"]), text(container, &["image"]));
    let is_native = container["restartPolicy"] == "Always";
    json!({
        "name": name, "image": image, "imageID": image_id(image), "ready": true,
        "restartCount": restarts[name].as_i64().unwrap_or_default(),
        "state": if is_native { json!({"running": {}}) } else { json!({"terminated": {"exitCode": 0}}) },
    })
}
