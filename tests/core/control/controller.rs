//! A shell for the pure decisions, as small as it can be: it keeps what it has seen, asks, and applies in the stated order.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use serde_json::Value;
use sidecarset_core::control::condition::{prune, set_upgradable};
use sidecarset_core::control::expectations::{Expectations, PodKey};
use sidecarset_core::control::interner::Interner;
use sidecarset_core::control::missed::{Outcomes, Reach, Repair, WebhookHealth};
use sidecarset_core::control::pod::{Keep, PodFacts};
use sidecarset_core::control::revisions::{RevisionFacts, RevisionWrite};
use sidecarset_core::control::rollout::{BackOff, BackOffs};
use sidecarset_core::control::set::SetFacts;
use sidecarset_core::control::terminator::{self, Action, Node, Request, Requests};
use sidecarset_core::control::{
    About, Decisions, Event, Now, Observed, PodWrite, PodWriteKind, decide, reset_event, trigger,
};

use super::cluster::{Cluster, PodChange, Refused, SYSTEM, text};

/// How long a Pod that could not be written is left alone.
const BACK_OFF_MS: u64 = 1000;

/// What the controller remembers.
#[derive(Debug, Default)]
pub(crate) struct Controller {
    interner: Interner,
    /// Pods as the watch showed them.
    pub(crate) seen: BTreeMap<String, PodFacts>,
    expectations: BTreeMap<String, Expectations>,
    back_offs: BTreeMap<String, BTreeMap<String, (u64, BackOff)>>,
    /// Sets to look at, and when.
    queue: BTreeMap<String, u64>,
    /// Sets as they were seen last, with their resourceVersion.
    known: BTreeMap<String, (String, Rc<SetFacts>)>,
    keep: Keep,
    pub(crate) events: BTreeSet<String>,
    pub(crate) terminates: bool,
    /// Looks so far, and writes to Pods so far.
    pub(crate) looks: usize,
    pub(crate) pod_writes: usize,
    /// Pods as they were seen when writes to Pods were last decided, by set.
    pub(crate) decided_on: BTreeMap<String, BTreeMap<String, PodFacts>>,
    /// Writes that took a serving Pod down.
    pub(crate) taken_down: Vec<(String, PodKey)>,
}

impl Controller {
    /// A controller that starts on a cluster that is there already.
    pub(crate) fn start(cluster: &Cluster) -> Self {
        let mut controller = Self::default();
        controller.read_sets(cluster);
        for (key, pod) in &cluster.pods {
            controller.see(cluster, &PodChange { key: key.clone(), old: None, new: Some(pod.clone()) });
        }
        controller.resync(cluster);
        controller
    }

    /// Looks at every set soon: what a periodic resync does.
    pub(crate) fn resync(&mut self, cluster: &Cluster) {
        for name in cluster.sets.keys() {
            self.enqueue(name, cluster.now_ms);
        }
    }

    fn enqueue(&mut self, set: &str, due_ms: u64) {
        let due = self.queue.entry(set.to_owned()).or_insert(due_ms);
        *due = due_ms.min(*due);
    }

    pub(crate) fn next_due_ms(&self) -> Option<u64> {
        self.queue.values().min().copied()
    }

    /// Reads the sets that changed; returns those of which the change counts.
    fn read_sets(&mut self, cluster: &Cluster) -> Vec<String> {
        let mut changed = Vec::new();
        for (name, set) in &cluster.sets {
            let version = text(set, &["metadata", "resourceVersion"]);
            if self.known.get(name).is_some_and(|(known, _)| known == version) {
                continue;
            }
            let new = Rc::new(SetFacts::new(set).expect("a set that can be decoded"));
            let old = self.known.insert(name.clone(), (version.to_owned(), new.clone()));
            if old.is_none_or(|(_, old)| trigger::after_set(&old, &new)) {
                changed.push(name.clone());
            }
        }
        let keys: Vec<&str> = self.known.values().flat_map(|(_, set)| set.patched_keys()).collect();
        self.keep = Keep::new(keys);
        changed
    }

    fn set(&self, name: &str) -> Option<Rc<SetFacts>> {
        self.known.get(name).map(|(_, set)| set.clone())
    }

    fn decode(&mut self, pod: &Value) -> PodFacts {
        PodFacts::from_json(&pod.to_string(), &self.keep, &mut self.interner).expect("a Pod")
    }

    /// The watch shows a change of a Pod.
    pub(crate) fn see(&mut self, cluster: &Cluster, change: &PodChange) {
        let new = change.new.as_ref().map(|pod| self.decode(pod));
        let old = match &new {
            Some(new) => self.seen.insert(change.key.clone(), new.clone()),
            None => self.seen.remove(&change.key),
        };
        for expectations in self.expectations.values_mut() {
            match &new {
                Some(new) => expectations.observe(new),
                None => old.iter().for_each(|old| expectations.forget(&old.uid)),
            }
        }
        let sets: Vec<String> =
            trigger::sets_of(old.as_ref(), new.as_ref()).into_iter().map(str::to_owned).collect();
        for name in sets {
            let Some(set) = self.set(&name) else { continue };
            if let Some(delay) = trigger::after_pod(&set, old.as_ref(), new.as_ref()) {
                let delay = u64::try_from(delay.as_millis()).expect("short");
                self.enqueue(&name, cluster.now_ms + delay);
                self.back_offs.remove(&name);
            }
        }
    }

    /// The watch of sets and namespaces shows what is there now.
    pub(crate) fn see_sets(&mut self, cluster: &mut Cluster) {
        let before = self.known.len();
        self.known.retain(|name, _| cluster.sets.contains_key(name));
        if self.known.len() < before {
            self.prune(cluster);
        }
        for name in self.read_sets(cluster) {
            self.enqueue(&name, cluster.now_ms);
            self.back_offs.remove(&name);
        }
    }

    /// Sets are gone: their names go from the conditions of Pods.
    fn prune(&self, cluster: &mut Cluster) {
        let known: BTreeSet<String> = cluster.sets.keys().cloned().collect();
        for (key, pod) in &self.seen {
            if let Some(patch) = prune(pod, &known, cluster.now_unix()) {
                // One that changed meanwhile is pruned at the next resync.
                let _ = cluster.patch_pod(key, &patch, true);
            }
        }
    }

    pub(crate) fn see_namespaces(&mut self, cluster: &Cluster) {
        let sets: Vec<Rc<SetFacts>> = self.known.values().map(|(_, set)| set.clone()).collect();
        for set in sets.iter().filter(|set| trigger::after_namespace(set)) {
            self.enqueue(&set.name, cluster.now_ms);
        }
    }

    /// Looks at every set that is due.
    pub(crate) fn run_due(&mut self, cluster: &mut Cluster) {
        let due: Vec<String> = self
            .queue
            .iter()
            .filter(|(_, due)| **due <= cluster.now_ms)
            .map(|(name, _)| name.clone())
            .collect();
        for name in due {
            self.queue.remove(&name);
            self.read_sets(cluster);
            self.look(cluster, &name);
        }
    }

    /// Decides about one set from what was seen. Rules: C-MATCH-8, C-RUST-11. Decision: D-31.
    pub(crate) fn decide(&self, cluster: &Cluster, name: &str) -> Option<(Rc<SetFacts>, Decisions)> {
        let set = self.set(name)?;
        let pods: Vec<&PodFacts> = self.seen.values().collect();
        let revisions: Vec<RevisionFacts> = cluster
            .revisions
            .values()
            .map(|text| RevisionFacts::from_json(text).expect("a revision"))
            .collect();
        let known_sets: BTreeSet<String> = cluster.sets.keys().cloned().collect();
        let none = BTreeSet::new();
        let back_offs: BackOffs = self
            .back_offs
            .get(name)
            .into_iter()
            .flatten()
            .filter(|(_, (until_ms, _))| *until_ms > cluster.now_ms)
            .map(|(uid, (_, back_off))| (uid.clone(), back_off.clone()))
            .collect();
        let expectations = self.expectations.get(name).cloned().unwrap_or_default();
        let observed = Observed {
            set: &set,
            pods: &pods,
            namespaces: &cluster.namespaces,
            revisions: &revisions,
            revision_namespace: SYSTEM,
            known_sets: Some(&known_sets),
            expectations: &expectations,
            back_offs: &back_offs,
            repair: Repair {
                webhook: WebhookHealth::Unhealthy,
                reach: Some(&Reach::default()),
                pause: Duration::ZERO,
                relatives: &none,
                outcomes: &Outcomes::default(),
            },
            drops_conditions: false,
            now: Now { unix: cluster.now_unix(), monotonic: Duration::from_millis(cluster.now_ms) },
        };
        let decisions = decide(&observed);
        let (mut pods, mut revisions) = (pods.clone(), revisions.clone());
        pods.reverse();
        revisions.reverse();
        let again = decide(&Observed { pods: &pods, revisions: &revisions, ..observed });
        assert_eq!(decisions, again, "the order of what is observed is no input");
        Some((set, decisions))
    }

    fn look(&mut self, cluster: &mut Cluster, name: &str) {
        let Some((set, decisions)) = self.decide(cluster, name) else { return };
        self.looks += 1;
        let Decisions { revisions, status, pods, evictions, events, failures, read_live, look_again } =
            decisions;
        assert!(evictions.is_empty(), "no set of these tests asks for repair");
        for write in revisions.writes {
            match write {
                RevisionWrite::Create { name, body } => {
                    cluster.store_revision(&body).unwrap_or_else(|error| panic!("{name}: {error:?}"));
                }
                RevisionWrite::Patch { name, patch } => cluster.patch_revision(&name, &patch),
                RevisionWrite::Delete { name, .. } => {
                    cluster.revisions.remove(&name);
                }
            }
        }
        if let Some(status) = status {
            cluster.patch_set_status(name, &status).expect("nobody else writes the set");
        }
        events.iter().for_each(|event| self.tell("sidecarset-controller", name, event));
        for failure in failures.into_iter().filter(|failure| failure.is_new) {
            let back_off = BackOff { may_be_written: false, error: failure.error };
            let until_ms = cluster.now_ms + BACK_OFF_MS;
            self.back_offs.entry(name.to_owned()).or_default().insert(failure.pod.uid, (until_ms, back_off));
        }
        if !pods.is_empty() {
            self.decided_on.insert(name.to_owned(), self.seen.clone());
        }
        for write in pods {
            self.write(cluster, &set, write);
        }
        for pod in read_live {
            let key = format!("{}/{}", pod.namespace, pod.name);
            let new = cluster.pods.get(&key).cloned();
            self.see(cluster, &PodChange { key, old: None, new });
        }
        if let Some(delay) = look_again {
            self.enqueue(name, cluster.now_ms + u64::try_from(delay.as_millis()).expect("short"));
        }
    }

    fn write(&mut self, cluster: &mut Cluster, set: &SetFacts, write: PodWrite) {
        let PodWrite { kind, pod, patch, takes_down } = write;
        let key = format!("{}/{}", pod.namespace, pod.name);
        self.pod_writes += 1;
        let written = match cluster.patch_pod(&key, &patch, kind.subresource().is_some()) {
            Ok(written) => written,
            // What the API server has now counts, and everything is decided again.
            Err(Refused::Conflict | Refused::NotFound) => {
                let new = cluster.pods.get(&key).cloned();
                self.see(cluster, &PodChange { key, old: None, new });
                return self.enqueue(&set.name, cluster.now_ms);
            }
            Err(error) => panic!("{error:?}"),
        };
        let now = Duration::from_millis(cluster.now_ms);
        if kind.subresource().is_none() {
            let version = text(&written, &["metadata", "resourceVersion"]);
            self.expectations.entry(set.name.clone()).or_default().expect(pod.clone(), version, now);
        }
        match kind {
            PodWriteKind::MarkNotUpgradable | PodWriteKind::MarkUpgradable => {}
            PodWriteKind::Reset => {
                self.tell("sidecarset-controller", &set.name, &reset_event(&set.name, pod, Ok(())))
            }
            PodWriteKind::Upgrade => {
                if takes_down {
                    self.taken_down.push((set.name.clone(), pod));
                }
                let facts = self.decode(&written);
                let known: BTreeSet<String> = cluster.sets.keys().cloned().collect();
                let condition = set_upgradable(&facts, &set.name, true, Some(&known), cluster.now_unix());
                if let Ok(Some(patch)) = condition {
                    cluster.patch_pod(&key, &patch, true).expect("nobody came between");
                }
            }
        }
    }

    /// `set` is what an event about the set is about.
    fn tell(&mut self, component: &str, set: &str, event: &Event) {
        let Event { about, is_warning, reason, message } = event;
        assert!(!message.is_empty());
        let kind = if *is_warning { "Warning" } else { "Normal" };
        let object = match about {
            About::Set => format!("SidecarSet {set}"),
            About::Pod(pod) => format!("Pod {}/{}", pod.namespace, pod.name),
        };
        self.events.insert(format!("{component}: {kind} {reason} {object}"));
    }

    /// The terminator looks at a Pod that was made or changed.
    pub(crate) fn terminate(&mut self, cluster: &mut Cluster, key: &str) {
        let Some(pod) = cluster.pods.get(key).cloned().filter(|_| self.terminates) else { return };
        let facts = self.decode(&pod);
        let is_virtual = facts.node.as_deref() == Some("node-vk");
        let node = if is_virtual { Node::VirtualKubelet } else { Node::Ordinary };
        let requests: Vec<Request> = cluster
            .requests
            .values()
            .filter(|request| request["metadata"]["ownerReferences"][0]["uid"] == pod["metadata"]["uid"])
            .map(|request| Request {
                name: text(request, &["metadata", "name"]).to_owned(),
                containers: request["spec"]["containers"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .map(|container| text(container, &["name"]).to_owned())
                    .collect(),
                is_finished: false,
            })
            .collect();
        for action in terminator::decide(&facts, node, Requests::Served(&requests), cluster.now_unix()) {
            match action {
                Action::PatchPod(patch) => drop(cluster.patch_pod(key, &patch, false).expect("just read")),
                Action::PatchStatus(patch) => drop(cluster.patch_pod(key, &patch, true).expect("just read")),
                Action::Recreate(request) => cluster.create(&request).expect("a new name"),
                Action::Tell(event) => self.tell("sidecarterminator-controller", "", &event),
                Action::Retry => panic!("every node is known"),
            }
        }
    }
}
