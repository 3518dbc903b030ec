//! What belongs to one scenario while it runs, and its observation.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};
use sidecarset_core::api::keys::REVISION_SET_NAME;

use super::kubelet::{PodState, Settings};
use super::observation::{
    OrderLog, Transitions, observed_pod, observed_request, observed_revision, observed_set, text,
};
use super::world::Objects;

/// Who tells the events that are compared.
const TELLERS: [&str; 2] = ["sidecarset-controller", "sidecarterminator-controller"];

pub(super) struct Scene {
    pub(super) namespaces: BTreeSet<String>,
    pub(super) sets: BTreeSet<String>,
    /// Revisions that it creates itself.
    pub(super) leftovers: BTreeSet<String>,
    seen: Mutex<Seen>,
}

/// What was seen so far.
pub(super) struct Seen {
    last_change: Instant,
    /// Containers that are about to start.
    pub(super) starts_due: usize,
    pub(super) log: OrderLog,
    transitions: Transitions,
    events: BTreeSet<String>,
    /// Names of Pods by uid, and which was created first.
    uids: BTreeMap<String, (String, usize)>,
    pub(super) settings: Settings,
    /// What the node remembers of Pods, by key, with their uid.
    pub(super) pods: BTreeMap<String, (String, PodState)>,
}

impl Scene {
    pub(super) fn new(scenario: &Value) -> Self {
        let steps = scenario["steps"].as_array().into_iter().flatten();
        let objects: Vec<&Value> = steps
            .flat_map(|step| step["do"].as_array().into_iter().flatten())
            .map(|operation| &operation["object"])
            .collect();
        let names = |kind: &str| -> BTreeSet<String> {
            let of_kind = objects.iter().filter(|object| object["kind"] == kind);
            of_kind.map(|object| text(object, &["metadata", "name"]).to_owned()).collect()
        };
        let leftovers = scenario["leftovers"].as_array().into_iter().flatten();
        let sets = names("SidecarSet");
        let mut log = OrderLog::default();
        log.sets.clone_from(&sets);
        let seen = Seen {
            last_change: Instant::now(),
            starts_due: 0,
            log,
            transitions: Transitions::default(),
            events: BTreeSet::new(),
            uids: BTreeMap::new(),
            settings: Settings::default(),
            pods: BTreeMap::new(),
        };
        Self {
            namespaces: names("Namespace"),
            sets,
            leftovers: leftovers.map(|name| text(name, &[]).to_owned()).collect(),
            seen: Mutex::new(seen),
        }
    }

    pub(super) fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether an object is of this scene.
    pub(super) fn owns(&self, kind: &str, object: &Value) -> bool {
        let metadata = &object["metadata"];
        match kind {
            "Pod" | "ContainerRecreateRequest" => self.namespaces.contains(text(metadata, &["namespace"])),
            "SidecarSet" => self.sets.contains(text(metadata, &["name"])),
            "ControllerRevision" => {
                self.sets.contains(text(metadata, &["labels", REVISION_SET_NAME]))
                    || self.leftovers.contains(text(metadata, &["name"]))
            }
            _ => {
                let about = &object["involvedObject"];
                let is_of_set = about["kind"] == "SidecarSet" && self.sets.contains(text(about, &["name"]));
                is_of_set || self.namespaces.contains(text(about, &["namespace"]))
            }
        }
    }

    /// Something of this scene has changed.
    pub(super) fn see(&self, kind: &str, key: &str, old: Option<&Value>, new: Option<&Value>) {
        let mut seen = self.seen();
        seen.last_change = Instant::now();
        let Some(object) = new.or(old) else { return };
        match kind {
            "Event" => seen.events.extend(event(object)),
            "Pod" => {
                seen.notice(object);
                seen.log.note(key, old, new);
            }
            _ => {}
        }
    }

    /// The step begins now.
    pub(super) fn touch(&self) {
        self.seen().last_change = Instant::now();
    }

    /// Whether nothing has happened for this time and nothing is about to.
    pub(super) fn is_quiet(&self, quiet: Duration) -> bool {
        let seen = self.seen();
        seen.last_change.elapsed() >= quiet && seen.starts_due == 0
    }

    /// Everything that a recorded observation holds, in its normal form.
    pub(super) fn observe(&self, objects: &Objects) -> Value {
        let owned =
            |kind: &'static str| objects[kind].iter().filter(move |(_, object)| self.owns(kind, object));
        let stored: BTreeMap<String, Value> =
            owned("SidecarSet").map(|(name, set)| (name.clone(), set.clone())).collect();
        let sets: Map<String, Value> =
            stored.iter().map(|(name, set)| (name.clone(), observed_set(set))).collect();
        let revisions: Map<String, Value> = owned("ControllerRevision")
            .map(|(_, revision)| {
                (text(revision, &["metadata", "name"]).to_owned(), observed_revision(revision))
            })
            .collect();
        let mut seen = self.seen();
        let requests: Map<String, Value> = owned("ContainerRecreateRequest")
            .map(|(key, request)| (seen.with_names(key), observed_request(request)))
            .collect();
        let transitions = &mut seen.transitions;
        let pods: Map<String, Value> =
            owned("Pod").map(|(key, pod)| (key.clone(), observed_pod(pod, &stored, transitions))).collect();
        let events: Map<String, Value> =
            seen.events.iter().map(|event| (event.clone(), true.into())).collect();
        json!({
            "sidecarSets": sets, "pods": pods, "revisions": revisions, "recreateRequests": requests,
            "events": events,
        })
    }
}

impl Seen {
    fn notice(&mut self, pod: &Value) {
        let count = self.uids.len();
        let name = text(pod, &["metadata", "name"]).to_owned();
        self.uids.entry(text(pod, &["metadata", "uid"]).to_owned()).or_insert((name, count));
    }

    /// How many Pods were created before this one.
    pub(super) fn index(&self, uid: &str) -> usize {
        self.uids.get(uid).map_or(0, |(_, index)| *index)
    }

    fn with_names(&self, key: &str) -> String {
        let uids = self.uids.iter();
        uids.fold(key.to_owned(), |key, (uid, (name, _))| key.replace(uid, &format!("<uid of {name}>")))
    }
}

fn event(event: &Value) -> Option<String> {
    let sources = [text(event, &["source", "component"]), text(event, &["reportingComponent"])];
    let teller = sources.into_iter().find(|teller| TELLERS.contains(teller))?;
    let about = &event["involvedObject"];
    let (kind, name) = (text(about, &["kind"]), text(about, &["name"]));
    let namespace = text(about, &["namespace"]);
    let name = if namespace.is_empty() { name.to_owned() } else { format!("{namespace}/{name}") };
    Some(format!("{teller}: {} {} {kind} {name}", text(event, &["type"]), text(event, &["reason"])))
}
