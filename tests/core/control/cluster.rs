//! An API server in memory: objects as JSON, admission by the core, optimistic locking, a log of changes to Pods.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use sidecarset_core::api::convert;
use sidecarset_core::api::decode::V1ALPHA1;
use sidecarset_core::api::json::write_value;
use sidecarset_core::context::Context;
use sidecarset_core::defaulting;
use sidecarset_core::snapshot::{Snapshot, SnapshotParts, UnlistedNamespaces};
use sidecarset_core::source::SidecarSet;

pub(crate) use super::kubelet::time;
use super::observation::injected_list;
pub(crate) use super::observation::text;
use crate::world;

/// The moment at which every cluster begins, in seconds since 1970: 2026-11-21T00:00:00Z.
const START_UNIX: i64 = 1_795_219_200;
/// Where revisions are.
pub(crate) const SYSTEM: &str = "kruise-system";

/// Why a write was refused.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    NotFound,
    Conflict,
    Exists,
}

/// A Pod before and after a change.
#[derive(Debug, Clone)]
pub(crate) struct PodChange {
    pub(crate) key: String,
    pub(crate) old: Option<Value>,
    pub(crate) new: Option<Value>,
}

/// All that is stored.
#[derive(Debug, Default)]
pub(crate) struct Cluster {
    /// Time since the start.
    pub(crate) now_ms: u64,
    /// By namespace/name.
    pub(crate) pods: BTreeMap<String, Value>,
    pub(crate) sets: BTreeMap<String, Value>,
    /// JSON texts, because the bytes of their data count.
    pub(crate) revisions: BTreeMap<String, String>,
    pub(crate) namespaces: BTreeMap<String, Vec<(String, String)>>,
    pub(crate) requests: BTreeMap<String, Value>,
    /// What a watch of Pods would tell.
    pub(crate) changes: Vec<PodChange>,
    version: u64,
}

/// Sorted members, no blanks, as the recorded objects were sent.
pub(crate) fn canonical(value: &Value) -> String {
    let mut text = String::new();
    write_value(&mut text, value);
    text
}

impl Cluster {
    pub(crate) fn now_unix(&self) -> i64 {
        START_UNIX + i64::try_from(self.now_ms / 1000).expect("a short run")
    }

    fn next_version(&mut self) -> String {
        self.version += 1;
        self.version.to_string()
    }

    fn stamp(&mut self, object: &mut Value) {
        let version = self.next_version();
        let metadata = &mut object["metadata"];
        metadata["uid"] = format!("uid-{version}").into();
        metadata["resourceVersion"] = version.into();
        metadata["creationTimestamp"] = time(self.now_unix()).into();
    }

    /// Creates what a scenario creates; Pods and SidecarSets pass our admission.
    pub(crate) fn create(&mut self, object: &Value) -> Result<(), Refused> {
        let name = text(object, &["metadata", "name"]).to_owned();
        match text(object, &["kind"]) {
            "Namespace" => {
                let labels = object["metadata"]["labels"].as_object().into_iter().flatten();
                let labels = labels.map(|(k, v)| (k.clone(), v.as_str().unwrap_or_default().to_owned()));
                self.namespaces.insert(name, labels.collect());
            }
            "SidecarSet" => {
                let mut set = object.clone();
                if text(&set, &["apiVersion"]) == V1ALPHA1 {
                    convert::to_v1beta1(&mut set);
                }
                defaulting::apply(&mut set);
                defaulting::set_hash_annotations(&mut set).expect("a set that can be decoded");
                self.stamp(&mut set);
                set["metadata"]["generation"] = 1.into();
                self.sets.insert(name, set);
            }
            "Pod" => self.create_pod(object),
            "ControllerRevision" => {
                // The garbage collector takes what belongs to an object that is not there.
                if !object["metadata"]["ownerReferences"].is_null() {
                    return Ok(());
                }
                let mut revision = object.clone();
                self.stamp(&mut revision);
                self.store_revision(&canonical(&revision))?;
            }
            "ContainerRecreateRequest" => {
                let key = format!("{}/{name}", text(object, &["metadata", "namespace"]));
                if self.requests.contains_key(&key) {
                    return Err(Refused::Exists);
                }
                self.requests.insert(key, object.clone());
            }
            other => panic!("cannot create a {other}"),
        }
        Ok(())
    }

    fn create_pod(&mut self, object: &Value) {
        let mut pod = object.clone();
        let namespace = text(&pod, &["metadata", "namespace"]).to_owned();
        let sets: Vec<SidecarSet> =
            self.sets.values().filter_map(|set| SidecarSet::from_stored(set.clone()).ok()).collect();
        let revisions = self.revisions.values().map(|text| serde_json::from_str(text).expect("stored"));
        let snapshot = Snapshot::new(SnapshotParts {
            sets,
            namespaces: self.namespaces.clone().into_iter().collect(),
            revisions: revisions.collect(),
            revision_namespace: Some(SYSTEM.to_owned()),
            unlisted_namespaces: UnlistedNamespaces::HaveNameLabel,
        });
        let context = Context { now_unix: self.now_unix(), ..world::CONTEXT };
        let mut request = world::create();
        request.namespace = &namespace;
        let decision = world::decide_request(&request, &snapshot, &context, &pod.to_string());
        pod = world::apply(&pod, &decision);
        self.stamp(&mut pod);
        if pod["spec"]["restartPolicy"].is_null() {
            pod["spec"]["restartPolicy"] = "Always".into();
        }
        pod["status"] = json!({"phase": "Pending"});
        let key = format!("{namespace}/{}", text(&pod, &["metadata", "name"]));
        self.store_pod(&key, Some(pod));
    }

    /// Stores a Pod, or removes it, and tells the watch.
    fn store_pod(&mut self, key: &str, new: Option<Value>) {
        let old = match &new {
            Some(new) => self.pods.insert(key.to_owned(), new.clone()),
            None => self.pods.remove(key),
        };
        self.changes.push(PodChange { key: key.to_owned(), old, new });
    }

    /// Creates a revision of a body that the controller made, or that a scenario has.
    pub(crate) fn store_revision(&mut self, body: &str) -> Result<(), Refused> {
        let object: Value = serde_json::from_str(body).expect("JSON");
        let name = text(&object, &["metadata", "name"]).to_owned();
        if self.revisions.contains_key(&name) {
            return Err(Refused::Exists);
        }
        self.revisions.insert(name, body.to_owned());
        Ok(())
    }

    /// Merge patch of a revision; of its bytes only those of the patched members change.
    pub(crate) fn patch_revision(&mut self, name: &str, patch: &Value) {
        let stored = self.revisions.get(name).expect("it was seen");
        let mut object: Value = serde_json::from_str(stored).expect("JSON");
        json_patch::merge(&mut object, patch);
        let body = canonical(&object);
        self.revisions.insert(name.to_owned(), body);
    }

    /// What a person does to a SidecarSet: merge patch, then admission; a new generation if the spec changed.
    pub(crate) fn edit_set(&mut self, name: &str, patch: &Value) {
        let mut set = self.sets.get(name).expect("a known set").clone();
        let before = set["spec"].clone();
        json_patch::merge(&mut set, patch);
        defaulting::apply(&mut set);
        defaulting::set_hash_annotations(&mut set).expect("a set that can be decoded");
        if set["spec"] != before {
            let generation = set["metadata"]["generation"].as_i64().unwrap_or_default();
            set["metadata"]["generation"] = (generation + 1).into();
        }
        set["metadata"]["resourceVersion"] = self.next_version().into();
        self.sets.insert(name.to_owned(), set);
    }

    /// Merge patch of a set's status, bound to what was seen.
    pub(crate) fn patch_set_status(&mut self, name: &str, patch: &Value) -> Result<(), Refused> {
        let mut set = self.sets.get(name).ok_or(Refused::NotFound)?.clone();
        check(&set, patch)?;
        set["metadata"]["resourceVersion"] = self.next_version().into();
        if set["status"].is_null() {
            set["status"] = json!({});
        }
        json_patch::merge(&mut set["status"], &patch["status"]);
        self.sets.insert(name.to_owned(), set);
        Ok(())
    }

    /// What a person does to a Pod. One that is being deleted goes when its last finalizer does.
    pub(crate) fn edit_pod(&mut self, key: &str, patch: &Value) {
        let mut pod = self.pods.get(key).expect("a known Pod").clone();
        json_patch::merge(&mut pod, patch);
        let has_finalizers = pod["metadata"]["finalizers"].as_array().is_some_and(|list| !list.is_empty());
        if !pod["metadata"]["deletionTimestamp"].is_null() && !has_finalizers {
            return self.store_pod(key, None);
        }
        pod["metadata"]["resourceVersion"] = self.next_version().into();
        self.store_pod(key, Some(pod));
    }

    /// Strategic merge patch of a Pod or of its status, bound to what was seen. Returns the Pod.
    pub(crate) fn patch_pod(&mut self, key: &str, patch: &Value, is_status: bool) -> Result<Value, Refused> {
        let mut pod = self.pods.get(key).ok_or(Refused::NotFound)?.clone();
        check(&pod, patch)?;
        let before = pod.clone();
        if is_status {
            strategic_merge(&mut pod["status"], &patch["status"]);
        } else {
            let metadata = json!({"annotations": patch["metadata"]["annotations"]});
            strategic_merge(&mut pod["metadata"], &metadata);
            strategic_merge(&mut pod["spec"], &patch["spec"]);
        }
        if pod != before {
            pod["metadata"]["resourceVersion"] = self.next_version().into();
            self.store_pod(key, Some(pod.clone()));
        }
        Ok(pod)
    }

    /// What the kubelet says about a Pod.
    pub(crate) fn set_pod_status(&mut self, key: &str, status: &Value) {
        let Some(mut pod) = self.pods.get(key).cloned() else { return };
        let before = pod["status"].clone();
        for member in ["phase", "containerStatuses", "initContainerStatuses"] {
            if let Some(value) = status.get(member) {
                pod["status"][member] = value.clone();
            }
        }
        strategic_merge(&mut pod["status"], &json!({"conditions": status["conditions"]}));
        if pod["status"] != before {
            pod["metadata"]["resourceVersion"] = self.next_version().into();
            self.store_pod(key, Some(pod));
        }
    }

    /// Deletes a Pod: marked first, removed at once unless something holds it.
    pub(crate) fn delete_pod(&mut self, key: &str) {
        let Some(mut pod) = self.pods.get(key).cloned() else { return };
        pod["metadata"]["deletionTimestamp"] = time(self.now_unix()).into();
        pod["metadata"]["resourceVersion"] = self.next_version().into();
        let is_held = pod["metadata"]["finalizers"].as_array().is_some_and(|list| !list.is_empty());
        self.store_pod(key, Some(pod));
        if !is_held {
            self.store_pod(key, None);
        }
    }

    /// Deletes a set, and what belongs to it.
    pub(crate) fn delete_set(&mut self, name: &str) {
        let Some(set) = self.sets.remove(name) else { return };
        let uid = text(&set, &["metadata", "uid"]);
        self.revisions.retain(|_, body| {
            let revision: Value = serde_json::from_str(body).expect("JSON");
            text(&revision["metadata"]["ownerReferences"][0], &["uid"]) != uid
        });
    }

    /// The sets that a Pod's annotation names.
    pub(crate) fn injected_list(pod: &Value) -> Vec<&str> {
        injected_list(pod)
    }
}

/// Uid and resourceVersion of a patch must be those of the object.
fn check(object: &Value, patch: &Value) -> Result<(), Refused> {
    for member in ["uid", "resourceVersion"] {
        let wanted = &patch["metadata"][member];
        assert!(wanted.is_string(), "a patch without {member}: {patch}");
        if *wanted != object["metadata"][member] {
            return Err(Refused::Conflict);
        }
    }
    Ok(())
}

/// Strategic merge as core/v1 declares it, for the members that are patched here. An entry that is not there is no new one:
/// nothing of ours adds containers.
fn strategic_merge(target: &mut Value, patch: &Value) {
    let Value::Object(members) = patch else { return };
    for (name, value) in members {
        if let Some(list) = name.strip_prefix("$setElementOrder/") {
            // Without this the patched ones change places, and the API server refuses that.
            let order: Vec<&str> =
                target[list].as_array().into_iter().flatten().map(|item| text(item, &["name"])).collect();
            let wanted: Vec<&str> =
                value.as_array().into_iter().flatten().map(|item| text(item, &["name"])).collect();
            assert_eq!(order, wanted, "the order of {list}");
            let patched: Vec<&str> =
                patch[list].as_array().into_iter().flatten().map(|item| text(item, &["name"])).collect();
            assert!(patched.is_sorted_by_key(|name| order.iter().position(|known| known == name)), "{patch}");
            continue;
        }
        let key = match name.as_str() {
            "containers" | "containerStatuses" => Some("name"),
            "conditions" => Some("type"),
            _ => None,
        };
        match (key, value) {
            (_, Value::Null) => {}
            (Some(key), Value::Array(items)) => {
                if target[name].is_null() {
                    target[name] = json!([]);
                }
                let list = target[name].as_array_mut().expect("a list");
                for item in items {
                    match list.iter_mut().find(|known| known[key] == item[key]) {
                        Some(known) => json_patch::merge(known, item),
                        None if name == "conditions" => list.push(item.clone()),
                        None => panic!("the patch adds {item} to {name}"),
                    }
                }
            }
            _ => {
                if target[name].is_null() {
                    target[name] = Value::Object(Map::new());
                }
                json_patch::merge(&mut target[name], value);
            }
        }
    }
}
