//! One recorded scenario on the cluster in memory: its operations, the passing of time, and what is there after each step.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};
use sidecarset_core::api::keys;

use super::cluster::{Cluster, text};
use super::controller::Controller;
use super::node::{Kubelet, containers};

/// What the API server takes for one operation.
const LATENCY_MS: u64 = 5;
/// A step that has not settled after this time never will.
const LIMIT_MS: u64 = 90_000;
/// How long nothing may happen after a step.
const QUIET_MS: u64 = 6500;
const EPOCH: &str = "1970-01-01T00:00:00Z";

/// The order in which Pods were written, by set, and the most Pods in the middle of it.
#[derive(Debug, Default)]
pub(crate) struct Orders {
    pub(crate) updated: BTreeMap<String, Vec<String>>,
    pub(crate) peak: usize,
}

/// A scenario under way.
#[derive(Debug, Default)]
pub(crate) struct Run {
    pub(crate) cluster: Cluster,
    pub(crate) controller: Controller,
    kubelet: Kubelet,
    orders: Orders,
    in_flight: BTreeSet<String>,
    sets: BTreeSet<String>,
    transitions: BTreeMap<(String, String), String>,
}

impl Run {
    /// A run in which all SidecarSets of the scenario are known by name.
    pub(crate) fn new(scenario: &Value) -> Self {
        let steps = scenario["steps"].as_array().into_iter().flatten();
        let operations = steps.flat_map(|step| step["do"].as_array().into_iter().flatten());
        let sets = operations.filter(|operation| operation["object"]["kind"] == "SidecarSet");
        let mut run = Self {
            sets: sets
                .map(|operation| text(&operation["object"], &["metadata", "name"]).to_owned())
                .collect(),
            ..Self::default()
        };
        run.controller.terminates = scenario["gate"] == "SidecarTerminator";
        run.cluster.namespaces.insert("default".to_owned(), Vec::new());
        run
    }

    /// Does the operations of a step and lets everything settle.
    pub(crate) fn step(&mut self, step: &Value) -> (Value, Orders) {
        self.orders = Orders::default();
        self.in_flight.clear();
        for operation in step["do"].as_array().into_iter().flatten() {
            self.operate(operation);
            self.pass(LATENCY_MS);
        }
        let end = self.cluster.now_ms + LIMIT_MS;
        while let Some(due) = self.next_due_ms() {
            assert!(due <= end, "does not settle: {}", self.observe());
            self.pass(due.saturating_sub(self.cluster.now_ms));
        }
        self.pass(QUIET_MS);
        let mut orders = std::mem::take(&mut self.orders);
        if let Some(list) = orders.updated.get_mut("-") {
            list.sort();
        }
        (self.observe(), orders)
    }

    fn next_due_ms(&self) -> Option<u64> {
        [self.controller.next_due_ms(), self.kubelet.next_due_ms()].into_iter().flatten().min()
    }

    /// Lets time pass, with everything that happens in it.
    fn pass(&mut self, duration_ms: u64) {
        let end = self.cluster.now_ms + duration_ms;
        loop {
            self.deliver();
            self.kubelet.fire(&mut self.cluster);
            self.deliver();
            self.controller.run_due(&mut self.cluster);
            if !self.cluster.changes.is_empty() {
                continue;
            }
            match self.next_due_ms().filter(|due| *due <= end) {
                Some(due) => self.cluster.now_ms = due.max(self.cluster.now_ms),
                None => break,
            }
        }
        self.cluster.now_ms = end;
    }

    /// Tells node and controller what changed.
    fn deliver(&mut self) {
        self.controller.see_sets(&mut self.cluster);
        while !self.cluster.changes.is_empty() {
            for change in std::mem::take(&mut self.cluster.changes) {
                self.note_order(&change.key, change.old.as_ref(), change.new.as_ref());
                change.new.iter().for_each(|pod| self.kubelet.notice(pod));
                self.controller.see(&self.cluster, &change);
                self.kubelet.wake(self.cluster.now_ms, &change.key);
                self.controller.terminate(&mut self.cluster, &change.key);
            }
        }
    }

    fn note_order(&mut self, key: &str, old: Option<&Value>, new: Option<&Value>) {
        let (Some(old), Some(new)) = (old, new) else {
            self.in_flight.remove(key);
            return;
        };
        let (before, after) = (images(old, "containers"), images(new, "containers"));
        let hashed: Vec<&String> =
            self.sets.iter().filter(|set| record_hash(old, set) != record_hash(new, set)).collect();
        if !hashed.is_empty() || before != after {
            let sets =
                if hashed.is_empty() { vec!["-".to_owned()] } else { hashed.into_iter().cloned().collect() };
            for set in sets {
                self.orders.updated.entry(set).or_default().push(key.to_owned());
            }
            self.in_flight.insert(key.to_owned());
        }
        let statuses = new["status"]["containerStatuses"].as_array().cloned().unwrap_or_default();
        let runs = |(name, image): (&String, &Value)| {
            let status = statuses.iter().find(|status| status["name"] == name.as_str());
            status.is_some_and(|status| status["image"] == *image && status["ready"] == true)
        };
        if after.iter().all(runs) {
            self.in_flight.remove(key);
        }
        self.orders.peak = self.orders.peak.max(self.in_flight.len());
    }

    fn operate(&mut self, operation: &Value) {
        let (kind, name) = (text(operation, &["kind"]), text(operation, &["name"]));
        let key = format!("{}/{name}", text(operation, &["namespace"]));
        match text(operation, &["op"]) {
            "create" => {
                let object = self.filled(&operation["object"]);
                self.cluster.create(&object).expect("a new name");
                if object["kind"] == "Namespace" {
                    self.controller.see_namespaces(&self.cluster);
                }
            }
            "patch" => {
                let patch = self.filled(&operation["patch"]);
                match kind {
                    "SidecarSet" => self.cluster.edit_set(name, &patch),
                    "Pod" => self.cluster.edit_pod(&key, &patch),
                    "Namespace" => self.label_namespace(name, &patch["metadata"]["labels"]),
                    other => panic!("cannot patch a {other}"),
                }
            }
            "delete" => match kind {
                "SidecarSet" => self.cluster.delete_set(name),
                "Pod" => self.cluster.delete_pod(&key),
                "ControllerRevision" => drop(self.cluster.revisions.remove(name)),
                other => panic!("cannot delete a {other}"),
            },
            "node" => {
                let mut settings = operation.as_object().expect("an object").clone();
                settings.retain(|name, _| name != "op" && name != "pods");
                self.kubelet.set(&operation["pods"], &settings);
                for key in self.cluster.pods.keys() {
                    self.kubelet.wake(self.cluster.now_ms, key);
                }
            }
            "wait" => {
                let seconds = operation["seconds"].as_f64().expect("a number");
                self.pass(std::time::Duration::from_secs_f64(seconds).as_millis() as u64);
            }
            other => panic!("unknown operation {other}"),
        }
    }

    fn label_namespace(&mut self, name: &str, patch: &Value) {
        let labels = self.cluster.namespaces.get_mut(name).expect("a known namespace");
        for (key, value) in patch.as_object().into_iter().flatten() {
            labels.retain(|(known, _)| known != key);
            labels.extend(value.as_str().map(|value| (key.clone(), value.to_owned())));
        }
        self.controller.see_namespaces(&self.cluster);
    }

    /// `{{hash NAME}}` and its kind stand for what the set has now.
    fn filled(&self, value: &Value) -> Value {
        match value {
            Value::Object(map) => {
                map.iter().map(|(key, value)| (key.clone(), self.filled(value))).collect::<Map<_, _>>().into()
            }
            Value::Array(list) => list.iter().map(|value| self.filled(value)).collect(),
            Value::String(text) => self.filled_text(text).into(),
            other => other.clone(),
        }
    }

    fn filled_text(&self, found: &str) -> String {
        let Some((before, rest)) = found.split_once("{{") else { return found.to_owned() };
        let (place, after) = rest.split_once("}}").expect("closed");
        let (what, name) = place.split_once(' ').expect("two words");
        let set = self.cluster.sets.get(name).expect("a known set");
        let value = match what {
            "revision" => text(set, &["status", "latestRevision"]),
            "hash" => text(set, &["metadata", "annotations", keys::HASH]),
            _ => text(set, &["metadata", "annotations", keys::HASH_WITHOUT_IMAGE]),
        };
        format!("{before}{value}{}", self.filled_text(after))
    }

    /// Everything that a recorded observation holds, in its normal form.
    fn observe(&mut self) -> Value {
        let sets: Map<String, Value> =
            self.cluster.sets.iter().map(|(name, set)| (name.clone(), observed_set(set))).collect();
        let mut pods = Map::new();
        for (key, pod) in self.cluster.pods.clone() {
            let observed = self.observed_pod(&pod);
            pods.insert(key, observed);
        }
        let revisions: Map<String, Value> = self
            .cluster
            .revisions
            .iter()
            .map(|(name, body)| (name.clone(), observed_revision(&serde_json::from_str(body).expect("JSON"))))
            .collect();
        let mut requests = Map::new();
        for (key, request) in &self.cluster.requests {
            let pods = self.cluster.pods.values();
            let key = pods.fold(key.clone(), |key, pod| {
                let (uid, name) = (text(pod, &["metadata", "uid"]), text(pod, &["metadata", "name"]));
                // The number in an uid of ours may begin that of another.
                match key.split_once(uid) {
                    Some((before, after)) if !after.starts_with(|c: char| c.is_ascii_digit()) => {
                        format!("{before}<uid of {name}>{after}")
                    }
                    _ => key,
                }
            });
            requests.insert(key, observed_request(request));
        }
        let events: Map<String, Value> =
            self.controller.events.iter().map(|event| (event.clone(), true.into())).collect();
        json!({
            "sidecarSets": sets, "pods": pods, "revisions": revisions, "recreateRequests": requests,
            "events": events,
        })
    }

    fn observed_pod(&mut self, pod: &Value) -> Value {
        let uid = text(pod, &["metadata", "uid"]);
        let mut conditions = Map::new();
        for condition in pod["status"]["conditions"].as_array().into_iter().flatten() {
            let kind = text(condition, &["type"]);
            if kind == "Ready" {
                conditions.insert(kind.to_owned(), json!({"status": condition["status"]}));
            }
            if ![keys::CONDITION_UPGRADABLE, keys::CONDITION_TERMINATED].contains(&kind) {
                continue;
            }
            let mut observed = json!({"status": condition["status"], "reason": condition["reason"]});
            if kind == keys::CONDITION_UPGRADABLE {
                observed["message"] = normal_text(text(condition, &["message"])).into();
            }
            let time = text(condition, &["lastTransitionTime"]).to_owned();
            let old = self.transitions.insert((uid.to_owned(), kind.to_owned()), time.clone());
            if old != Some(time) {
                observed["moved"] = true.into();
            }
            conditions.insert(kind.to_owned(), observed);
        }
        let updated: Map<String, Value> = Cluster::injected_list(pod)
            .into_iter()
            .filter_map(|name| Some((name, self.cluster.sets.get(name)?)))
            .map(|(name, set)| {
                let hash = text(set, &["metadata", "annotations", keys::HASH]);
                (name.to_owned(), (record_hash(pod, name) == hash).into())
            })
            .collect();
        let or_empty = |value: &Value| if value.is_null() { json!({}) } else { value.clone() };
        let mut observed = json!({
            "containers": images(pod, "containers"), "labels": or_empty(&pod["metadata"]["labels"]),
            "annotations": observed_annotations(&pod["metadata"]["annotations"]),
            "conditions": conditions, "phase": pod["status"]["phase"], "updated": updated,
        });
        if containers(pod, "initContainers").next().is_some() {
            observed["initContainers"] = images(pod, "initContainers").into();
        }
        if !pod["metadata"]["deletionTimestamp"].is_null() {
            observed["terminating"] = true.into();
        }
        observed
    }
}

fn images(pod: &Value, list: &str) -> Map<String, Value> {
    containers(pod, list)
        .map(|container| (text(container, &["name"]).to_owned(), container["image"].clone()))
        .collect()
}

fn record_hash(pod: &Value, set: &str) -> String {
    let found = text(pod, &["metadata", "annotations", keys::HASH]);
    let records: Value = serde_json::from_str(found).unwrap_or_default();
    records[set]["hash"].as_str().or_else(|| records[set].as_str()).unwrap_or_default().to_owned()
}

/// Sorted members without blanks, times replaced, if the text is an object or a list.
pub(crate) fn normal_text(text: &str) -> String {
    fn fixed(value: Value) -> Value {
        match value {
            Value::Object(map) => {
                let member = |(key, value): (String, Value)| {
                    let is_time = key == "updateTimestamp" && value.is_string();
                    (key, if is_time { EPOCH.into() } else { fixed(value) })
                };
                let mut map: Map<String, Value> = map.into_iter().map(member).collect();
                map.sort_keys();
                map.into()
            }
            Value::Array(list) => list.into_iter().map(fixed).collect(),
            other => other,
        }
    }
    match serde_json::from_str::<Value>(text) {
        Ok(value @ (Value::Object(_) | Value::Array(_))) => fixed(value).to_string(),
        _ => text.to_owned(),
    }
}

fn observed_annotations(annotations: &Value) -> Map<String, Value> {
    let mut map: Map<String, Value> = annotations
        .as_object()
        .into_iter()
        .flatten()
        .map(|(key, value)| (key.clone(), normal_text(value.as_str().unwrap_or_default()).into()))
        .collect();
    let number = |value: &Value| value.as_str()?.parse::<u64>().ok().filter(|number| *number > 1);
    let is_version =
        |key: &str| key.starts_with(keys::VERSION_PREFIX) || key.starts_with(keys::VERSION_ALT_PREFIX);
    let numbers: BTreeSet<u64> =
        map.iter().filter(|(key, _)| is_version(key)).filter_map(|(_, value)| number(value)).collect();
    for (_, value) in map.iter_mut().filter(|(key, _)| is_version(key)) {
        if let Some(index) = number(value).and_then(|found| numbers.iter().position(|known| *known == found))
        {
            *value = format!("rv{}", index + 1).into();
        }
    }
    map
}

fn observed_set(set: &Value) -> Value {
    let mut status = if set["status"].is_null() { json!({}) } else { set["status"].clone() };
    // Upstream has none.
    status.as_object_mut().expect("an object").remove("conditions");
    json!({
        "generation": set["metadata"]["generation"], "status": status,
        "hash": set["metadata"]["annotations"][keys::HASH],
        "hashWithoutImage": set["metadata"]["annotations"][keys::HASH_WITHOUT_IMAGE],
    })
}

fn owners(object: &Value) -> Vec<Value> {
    let owners = object["metadata"]["ownerReferences"].as_array().into_iter().flatten();
    let members = ["apiVersion", "kind", "name", "controller", "blockOwnerDeletion"];
    owners.map(|owner| members.iter().map(|m| ((*m).to_owned(), owner[*m].clone())).collect()).collect()
}

fn observed_revision(revision: &Value) -> Value {
    let metadata = &revision["metadata"];
    let labels = if metadata["labels"].is_null() { json!({}) } else { metadata["labels"].clone() };
    json!({
        "revision": revision["revision"], "labels": labels, "data": revision["data"],
        "annotations": observed_annotations(&metadata["annotations"]), "owners": owners(revision),
    })
}

fn observed_request(request: &Value) -> Value {
    let containers = request["spec"]["containers"].as_array().into_iter().flatten();
    let mut names: Vec<&str> = containers.map(|container| text(container, &["name"])).collect();
    names.sort_unstable();
    json!({
        "podName": request["spec"]["podName"], "containers": names, "strategy": request["spec"]["strategy"],
        "owners": owners(request),
    })
}
