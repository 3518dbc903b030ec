//! The node of the recorded scenarios: what a kubelet does to the status of Pods, on a clock that only moves when told.
//!
//! The rules are those of `tests/conformance/README.md`, section "The node".

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::cluster::{Cluster, text, time};

/// How long the node takes to notice a change of a Pod.
const NOTICE_MS: u64 = 20;
/// How long a container takes to start with a new image.
const START_MS: u64 = 600;
/// 2026-01-01T00:00:00Z, from which ready times count.
const EPOCH: i64 = 1_767_225_600;

/// What the node remembers of one Pod.
#[derive(Debug, Default)]
struct PodState {
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

/// A container that starts later.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Timer {
    due_ms: u64,
    key: String,
    container: String,
    image: String,
}

/// All nodes.
#[derive(Debug, Default)]
pub(crate) struct Kubelet {
    pods: BTreeMap<String, (String, PodState)>,
    indexes: BTreeMap<String, i64>,
    timers: BTreeSet<Timer>,
    /// Pods to look at, and when.
    wakes: BTreeMap<String, u64>,
    for_all: Map<String, Value>,
    for_pod: BTreeMap<String, Map<String, Value>>,
}

fn names(list: &Value) -> Vec<String> {
    list.as_array().into_iter().flatten().map(|name| name.as_str().unwrap_or_default().to_owned()).collect()
}

pub(crate) fn containers<'p>(pod: &'p Value, list: &str) -> impl Iterator<Item = &'p Value> {
    pod["spec"][list].as_array().into_iter().flatten()
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

impl Kubelet {
    /// Takes the settings of an operation `node`; `null` takes one back.
    pub(crate) fn set(&mut self, pods: &Value, settings: &Map<String, Value>) {
        let keys = names(pods);
        let mut maps: Vec<&mut Map<String, Value>> = if pods == "*" {
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

    fn setting(&self, key: &str, name: &str) -> Value {
        let own = self.for_pod.get(key).and_then(|map| map.get(name));
        own.or_else(|| self.for_all.get(name)).cloned().unwrap_or_default()
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
            let Timer { key, container, image, .. } = timer;
            if let Some((_, state)) = self.pods.get_mut(&key)
                && let Some(starting) = state.starting.get_mut(&container)
                && starting.0 == image
            {
                starting.1 = true;
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
        let count = i64::try_from(self.indexes.len()).expect("few Pods");
        self.indexes.entry(text(pod, &["metadata", "uid"]).to_owned()).or_insert(count);
    }

    /// Brings the status of one Pod up to date.
    fn sync(&mut self, cluster: &mut Cluster, key: &str) {
        let Some(pod) = cluster.pods.get(key).cloned() else {
            self.pods.remove(key);
            return;
        };
        let is_ours = ["node-1", "node-vk"].contains(&text(&pod, &["spec", "nodeName"]));
        if !is_ours || self.setting(key, "freeze") == true || !pod["metadata"]["deletionTimestamp"].is_null()
        {
            return;
        }
        let uid = text(&pod, &["metadata", "uid"]).to_owned();
        if self.pods.get(key).is_none_or(|(known, _)| *known != uid) {
            let index = self.indexes.get(&uid).copied().unwrap_or_default();
            self.pods.insert(key.to_owned(), (uid, PodState { index, ..PodState::default() }));
        }
        let phase_setting = self.setting(key, "phase");
        if ["Succeeded", "Failed"].contains(&text(&pod, &["status", "phase"])) && phase_setting.is_null() {
            return;
        }
        let missing = names(&self.setting(key, "missing"));
        let mut statuses = Vec::new();
        for container in containers(&pod, "containers") {
            let status = self.container_status(cluster.now_ms, key, container);
            if !missing.contains(&text(container, &["name"]).to_owned()) {
                statuses.push(status);
            }
        }
        let Some((_, state)) = self.pods.get(key) else { return };
        let mut phase = state.phase(&pod);
        if let Some(wanted) = phase_setting.as_str() {
            phase = wanted;
        }
        let ready = phase == "Running" && statuses.iter().all(|status| status["ready"] == true);
        let at_setting = self.setting(key, "readyAt").as_i64();
        let restarts = self.setting(key, "restarts");
        let Some((_, state)) = self.pods.get_mut(key) else { return };
        state.note_ready(ready);
        let at = time(EPOCH + at_setting.unwrap_or(state.ready_at));
        let word = if ready { "True" } else { "False" };
        let condition = |kind: &str| json!({"type": kind, "status": word, "lastTransitionTime": at});
        let mut status = json!({
            "phase": phase, "containerStatuses": statuses,
            "conditions": [condition("ContainersReady"), condition("Ready")],
        });
        let inits: Vec<Value> =
            containers(&pod, "initContainers").map(|container| init_status(container, &restarts)).collect();
        if !inits.is_empty() {
            status["initContainerStatuses"] = inits.into();
        }
        cluster.set_pod_status(key, &status);
    }

    fn container_status(&mut self, now_ms: u64, key: &str, container: &Value) -> Value {
        let (name, want) = (text(container, &["name"]).to_owned(), text(container, &["image"]).to_owned());
        let hold = self.setting(key, "hold");
        let cannot_pull = names(&self.setting(key, "badImages")).contains(&want);
        let is_held = cannot_pull || hold == true || names(&hold).contains(&name);
        let is_slow = self.setting(key, "slow") == true;
        let is_not_ready = names(&self.setting(key, "notReady")).contains(&name);
        let exit = self.setting(key, "exit")[&name].as_i64();
        let (images, restarts) = (self.setting(key, "images"), self.setting(key, "restarts"));
        let (_, state) = self.pods.get_mut(key).expect("made before");
        let mut is_waiting = false;
        match state.running.get(&name) {
            None if is_held => is_waiting = true,
            None => {
                state.running.insert(name.clone(), want.clone());
            }
            Some(have) if *have != want && !is_slow => {
                let can_start = state.starting.get(&name) == Some(&(want.clone(), true));
                if is_held {
                    state.starting.remove(&name);
                    is_waiting = true;
                } else if can_start {
                    state.starting.remove(&name);
                    state.running.insert(name.clone(), want.clone());
                    *state.restarts.entry(name.clone()).or_default() += 1;
                    state.ended.remove(&name);
                } else {
                    if state.starting.get(&name).is_none_or(|(image, _)| *image != want) {
                        state.starting.insert(name.clone(), (want.clone(), false));
                        let due_ms = now_ms + START_MS;
                        let (key, container) = (key.to_owned(), name.clone());
                        self.timers.insert(Timer { due_ms, key, container, image: want.clone() });
                    }
                    is_waiting = true;
                }
            }
            Some(_) => {}
        }
        let have = state.running.get(&name);
        if let Some(code) = exit.filter(|_| have == Some(&want)) {
            state.ended.insert(name.clone(), code);
        }
        let (what, ready) = match state.ended.get(&name) {
            Some(code) => (json!({"terminated": {"exitCode": code}}), false),
            None if is_waiting => (json!({"waiting": {}}), false),
            None => (json!({"running": {}}), !is_not_ready),
        };
        let counted = state.restarts.get(&name).copied().unwrap_or_default();
        let mut status = json!({
            "name": name, "image": have.unwrap_or(&want), "ready": ready, "state": what,
            "imageID": have.map(|have| image_id(have)).unwrap_or_default(),
            "restartCount": restarts[&name].as_i64().unwrap_or(counted),
        });
        json_patch::merge(&mut status, &images[&name].as_object().map_or(json!({}), |own| json!(own)));
        status
    }
}

impl PodState {
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
