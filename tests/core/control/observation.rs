//! What is compared of a cluster: the recorded form of sets, Pods and revisions, and the order in which Pods were written.
//!
//! The rules are those of `tests/conformance/README.md`, section "Observation". The cluster tests have this module too.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};
use sidecarset_core::api::keys;

const EPOCH: &str = "1970-01-01T00:00:00Z";

/// The order in which Pods were written, by set, and the most Pods in the middle of it.
#[derive(Debug, Default)]
pub(crate) struct Orders {
    pub(crate) updated: BTreeMap<String, Vec<String>>,
    pub(crate) peak: usize,
}

/// Writes down the order of writes as a watch tells them.
#[derive(Debug, Default)]
pub(crate) struct OrderLog {
    /// All sets of the scenario.
    pub(crate) sets: BTreeSet<String>,
    orders: Orders,
    in_flight: BTreeSet<String>,
}

impl OrderLog {
    /// A Pod before and after a change.
    pub(crate) fn note(&mut self, key: &str, old: Option<&Value>, new: Option<&Value>) {
        let (Some(old), Some(new)) = (old, new) else {
            self.in_flight.remove(key);
            return;
        };
        if old["metadata"]["uid"] != new["metadata"]["uid"] {
            self.in_flight.remove(key);
            return;
        }
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

    /// A new step begins.
    pub(crate) fn begin(&mut self) {
        self.orders = Orders::default();
        self.in_flight.clear();
    }

    /// What was written down since the step began.
    pub(crate) fn end(&mut self) -> Orders {
        let mut orders = std::mem::take(&mut self.orders);
        // Their order is undefined.
        if let Some(list) = orders.updated.get_mut("-") {
            list.sort();
        }
        orders
    }
}

/// Reads the string at a path of members, empty if there is none.
pub(crate) fn text<'v>(value: &'v Value, path: &[&str]) -> &'v str {
    path.iter().fold(value, |value, member| &value[*member]).as_str().unwrap_or_default()
}

pub(crate) fn containers<'p>(pod: &'p Value, list: &str) -> impl Iterator<Item = &'p Value> {
    pod["spec"][list].as_array().into_iter().flatten()
}

/// The sets that a Pod's annotation names.
pub(crate) fn injected_list(pod: &Value) -> Vec<&str> {
    let list = text(pod, &["metadata", "annotations", keys::INJECTED_LIST]);
    if list.is_empty() { Vec::new() } else { list.split(',').collect() }
}

/// When conditions of Pods were last seen to change, by the Pod's uid and the condition's type.
pub(crate) type Transitions = BTreeMap<(String, String), String>;

/// A Pod, told from the sets that there are.
pub(crate) fn observed_pod(
    pod: &Value,
    sets: &BTreeMap<String, Value>,
    transitions: &mut Transitions,
) -> Value {
    let updated: Map<String, Value> = injected_list(pod)
        .into_iter()
        .filter_map(|name| Some((name, sets.get(name)?)))
        .map(|(name, set)| {
            let hash = text(set, &["metadata", "annotations", keys::HASH]);
            (name.to_owned(), (record_hash(pod, name) == hash).into())
        })
        .collect();
    let or_empty = |value: &Value| if value.is_null() { json!({}) } else { value.clone() };
    let mut observed = json!({
        "containers": images(pod, "containers"), "labels": or_empty(&pod["metadata"]["labels"]),
        "annotations": observed_annotations(&pod["metadata"]["annotations"]),
        "conditions": observed_conditions(pod, transitions), "phase": pod["status"]["phase"], "updated": updated,
    });
    if containers(pod, "initContainers").next().is_some() {
        observed["initContainers"] = images(pod, "initContainers").into();
    }
    if !pod["metadata"]["deletionTimestamp"].is_null() {
        observed["terminating"] = true.into();
    }
    observed
}

fn observed_conditions(pod: &Value, transitions: &mut Transitions) -> Map<String, Value> {
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
        let old = transitions.insert((uid.to_owned(), kind.to_owned()), time.clone());
        if old != Some(time) {
            observed["moved"] = true.into();
        }
        conditions.insert(kind.to_owned(), observed);
    }
    conditions
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

pub(crate) fn observed_set(set: &Value) -> Value {
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

pub(crate) fn observed_revision(revision: &Value) -> Value {
    let metadata = &revision["metadata"];
    let labels = if metadata["labels"].is_null() { json!({}) } else { metadata["labels"].clone() };
    json!({
        "revision": revision["revision"], "labels": labels, "data": revision["data"],
        "annotations": observed_annotations(&metadata["annotations"]), "owners": owners(revision),
    })
}

pub(crate) fn observed_request(request: &Value) -> Value {
    let containers = request["spec"]["containers"].as_array().into_iter().flatten();
    let mut names: Vec<&str> = containers.map(|container| text(container, &["name"])).collect();
    names.sort_unstable();
    json!({
        "podName": request["spec"]["podName"], "containers": names, "strategy": request["spec"]["strategy"],
        "owners": owners(request),
    })
}
