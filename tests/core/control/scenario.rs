//! One recorded scenario on the cluster in memory: its operations, the passing of time, and what is there after each step.

use serde_json::{Map, Value, json};
use sidecarset_core::api::keys;

use super::cluster::{Cluster, text};
use super::controller::Controller;
use super::node::Kubelet;
use super::observation::{
    OrderLog, Orders, Transitions, observed_pod, observed_request, observed_revision, observed_set,
};

/// What the API server takes for one operation.
const LATENCY_MS: u64 = 5;
/// A step that has not settled after this time never will.
const LIMIT_MS: u64 = 90_000;
/// How long nothing may happen after a step.
const QUIET_MS: u64 = 6500;

/// A scenario under way.
#[derive(Debug, Default)]
pub(crate) struct Run {
    pub(crate) cluster: Cluster,
    pub(crate) controller: Controller,
    kubelet: Kubelet,
    log: OrderLog,
    transitions: Transitions,
}

impl Run {
    /// A run in which all SidecarSets of the scenario are known by name.
    pub(crate) fn new(scenario: &Value) -> Self {
        let steps = scenario["steps"].as_array().into_iter().flatten();
        let operations = steps.flat_map(|step| step["do"].as_array().into_iter().flatten());
        let sets = operations.filter(|operation| operation["object"]["kind"] == "SidecarSet");
        let mut run = Self::default();
        run.log.sets =
            sets.map(|operation| text(&operation["object"], &["metadata", "name"]).to_owned()).collect();
        run.controller.terminates = scenario["gate"] == "SidecarTerminator";
        run.cluster.namespaces.insert("default".to_owned(), Vec::new());
        run
    }

    /// Does the operations of a step and lets everything settle.
    pub(crate) fn step(&mut self, step: &Value) -> (Value, Orders) {
        self.log.begin();
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
        (self.observe(), self.log.end())
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
                self.log.note(&change.key, change.old.as_ref(), change.new.as_ref());
                change.new.iter().for_each(|pod| self.kubelet.notice(pod));
                self.controller.see(&self.cluster, &change);
                self.kubelet.wake(self.cluster.now_ms, &change.key);
                self.controller.terminate(&mut self.cluster, &change.key);
            }
        }
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
                self.kubelet.set(operation);
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
        let (sets_there, transitions) = (&self.cluster.sets, &mut self.transitions);
        let pods: Map<String, Value> = self
            .cluster
            .pods
            .iter()
            .map(|(key, pod)| (key.clone(), observed_pod(pod, sets_there, transitions)))
            .collect();
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
}
