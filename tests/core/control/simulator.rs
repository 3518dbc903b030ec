//! Random rollouts without a cluster: Pods become ready, fail, appear and vanish while the set changes under way.
//!
//! The watch lags behind the API server, the controller is restarted now and then, and other parties write to the Pods. At
//! every write the laws are checked; in the end everything heals, and every rollout that can end has ended.

use std::collections::{BTreeMap, BTreeSet};

use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Value, json};
use sidecarset_core::api::keys;
use sidecarset_core::control::Amount;
use sidecarset_core::control::pod::PodFacts;
use sidecarset_core::selector::Labels;

use super::cluster::{Cluster, PodChange, text};
use super::controller::Controller;

/// Choices from bytes; when they are used up, every choice is the first.
struct Choices<'b> {
    bytes: std::slice::Iter<'b, u8>,
}

impl Choices<'_> {
    fn below(&mut self, limit: usize) -> usize {
        self.bytes.next().map_or(0, |byte| usize::from(*byte)) % limit
    }

    fn of<'v, T>(&mut self, values: &'v [T]) -> &'v T {
        &values[self.below(values.len())]
    }
}

const SETS: [&str; 2] = ["cold", "hot"];
/// How many looks a rollout may need after everything has healed.
const PATIENCE: usize = 400;

/// A simulation under way.
struct Simulation {
    cluster: Cluster,
    controller: Controller,
    /// Changes that the watch has not delivered yet.
    unseen: Vec<PodChange>,
    made: usize,
    /// Pods that were serving when the rollout to a hash of a set took them down, and are not back: set, hash, Pod. After another
    /// change of the set they are old ones that are down, and cost nothing (C-UPD-8, C-BUG-17).
    taken: BTreeSet<(String, String, String)>,
}

fn set_object(name: &str, image: &str, update: &Value) -> Value {
    let mut container =
        json!({"name": name, "image": format!("{name}:{image}"), "imagePullPolicy": "IfNotPresent"});
    if name == "hot" {
        container["upgradeStrategy"] =
            json!({"upgradeType": "HotUpgrade", "hotUpgradeEmptyImage": "empty:1"});
    }
    json!({
        "apiVersion": "apps.kruise.io/v1beta1", "kind": "SidecarSet", "metadata": {"name": name},
        "spec": {"selector": {"matchLabels": {"app": "shop"}}, "containers": [container], "updateStrategy": update},
    })
}

/// A strategy of any kind.
fn strategy(choices: &mut Choices<'_>) -> Value {
    let mut update = json!({
        "maxUnavailable": choices.of(&[json!(1), json!(2), json!("30%"), json!(0)]),
        "partition": choices.of(&[json!(0), json!(1), json!("50%"), json!("100%")]),
        "paused": *choices.of(&[false, false, false, true]),
    });
    match choices.below(4) {
        1 => update["scatterStrategy"] = json!([{"key": "zone", "value": "*"}]),
        2 => {
            let term = json!({"weight": 9, "matchSelector": {"matchLabels": {"zone": "b"}}});
            update["priorityStrategy"] = json!({"weightPriority": [term]});
        }
        3 => update["priorityStrategy"] = json!({"orderPriority": [{"orderedKey": "zone"}]}),
        _ => {}
    }
    update
}

impl Simulation {
    fn new(choices: &mut Choices<'_>) -> Self {
        let mut cluster = Cluster::default();
        cluster.namespaces.insert("shop".to_owned(), Vec::new());
        for name in SETS.iter().take(1 + choices.below(2)) {
            cluster.create(&set_object(name, "1", &strategy(choices))).expect("a new name");
        }
        let controller = Controller::start(&cluster);
        let mut simulation =
            Self { cluster, controller, unseen: Vec::new(), made: 0, taken: BTreeSet::new() };
        for _ in 0..1 + choices.below(7) {
            simulation.make_pod(choices);
        }
        simulation
    }

    fn make_pod(&mut self, choices: &mut Choices<'_>) {
        let labels = json!({"app": "shop", "zone": choices.of(&["a", "b", "c-2"])});
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"namespace": "shop", "name": format!("p{}", self.made), "labels": labels},
            "spec": {"nodeName": "n", "containers": [{"name": "app", "image": "app:1"}]},
        });
        self.made += 1;
        self.cluster.create(&pod).expect("a new name");
    }

    /// What a kubelet says: every container runs its image, or those that cannot start wait.
    fn report(&mut self, key: &str, is_up: bool, is_broken: &dyn Fn(&str) -> bool) {
        let Some(pod) = self.cluster.pods.get(key).cloned() else { return };
        let old = pod["status"]["containerStatuses"].as_array().cloned().unwrap_or_default();
        let mut all_ready = is_up;
        let mut statuses = Vec::new();
        for container in pod["spec"]["containers"].as_array().into_iter().flatten() {
            let (name, image) = (text(container, &["name"]), text(container, &["image"]));
            let before = old.iter().find(|status| status["name"] == name);
            if is_broken(image) {
                all_ready = false;
                let mut status =
                    before.cloned().unwrap_or_else(|| json!({"name": name, "image": image, "imageID": ""}));
                status["ready"] = false.into();
                status["state"] = json!({"waiting": {}});
                statuses.push(status);
                continue;
            }
            // Tags 3 and 4 are the same content, and the runtime has its own name for it.
            let content = image.replace(":4", ":3");
            let is_same = before.is_some_and(|status| status["ran"] == image);
            let restarts = before.map_or(0, |status| status["restartCount"].as_i64().unwrap_or(0));
            statuses.push(json!({
                "name": name, "image": format!("mirror.io/{content}"), "imageID": format!("id-{content}"), "ran": image,
                "ready": is_up, "restartCount": if is_same { restarts } else { restarts + 1 }, "state": {"running": {}},
            }));
        }
        let word = if all_ready { "True" } else { "False" };
        let status = json!({
            "phase": "Running", "containerStatuses": statuses,
            "conditions": [{"type": "Ready", "status": word}],
        });
        self.cluster.set_pod_status(key, &status);
    }

    /// One thing happens.
    fn happen(&mut self, choices: &mut Choices<'_>) {
        self.cluster.now_ms += 50 * (1 + choices.below(40) as u64);
        let keys: Vec<String> = self.cluster.pods.keys().cloned().collect();
        let key = keys.get(choices.below(keys.len().max(1))).cloned().unwrap_or_default();
        let sets: Vec<String> = self.cluster.sets.keys().cloned().collect();
        let set = choices.of(&sets).clone();
        match choices.below(16) {
            0..=5 => self.report(&key, true, &|_| false),
            6 => self.report(&key, false, &|_| false),
            7 => self.report(&key, true, &|image| image.ends_with(":2")),
            8 => self.make_pod(choices),
            9 => self.cluster.delete_pod(&key),
            10 => {
                let image = format!("{set}:{}", choices.below(5));
                let mut spec = self.cluster.sets[&set]["spec"]["containers"].clone();
                spec[0]["image"] = image.into();
                self.cluster.edit_set(&set, &json!({"spec": {"containers": spec}}));
            }
            11 => {
                let update = strategy(choices);
                self.cluster.edit_set(&set, &json!({"spec": {"updateStrategy": null}}));
                self.cluster.edit_set(&set, &json!({"spec": {"updateStrategy": update}}));
            }
            12 if self.cluster.pods.contains_key(&key) => {
                let app = *choices.of(&["shop", "gone", "shop"]);
                self.cluster.edit_pod(&key, &json!({"metadata": {"labels": {"app": app}}}));
            }
            13 => {
                // A new leader knows nothing, and sees everything that is there.
                self.unseen.clear();
                self.cluster.changes.clear();
                self.controller = Controller::start(&self.cluster);
            }
            _ => self.deliver(),
        }
        self.unseen.append(&mut self.cluster.changes);
        self.look();
        if choices.below(3) == 0 {
            self.deliver();
        }
    }

    /// The watch catches up.
    fn deliver(&mut self) {
        for change in std::mem::take(&mut self.unseen) {
            self.controller.see(&self.cluster, &change);
        }
    }

    /// The controller does what is due; every write is checked.
    fn look(&mut self) {
        self.controller.see_sets(&mut self.cluster);
        let before = self.cluster.pods.clone();
        self.controller.taken_down.clear();
        self.controller.decided_on.clear();
        self.controller.run_due(&mut self.cluster);
        self.unseen.append(&mut self.cluster.changes);
        for set in self.cluster.sets.keys().cloned().collect::<Vec<_>>() {
            self.check_budget(&set, &before);
        }
    }

    /// Matched Pods of a set as the API server has them: key and whether it is updated.
    fn matched(&self, set: &str) -> Vec<(String, bool)> {
        let hash = text(&self.cluster.sets[set], &["metadata", "annotations", keys::HASH]).to_owned();
        let counts = |pod: &&Value| {
            text(pod, &["metadata", "labels", "app"]) == "shop" && Cluster::injected_list(pod).contains(&set)
        };
        let pods = self.cluster.pods.iter().filter(|(_, pod)| counts(pod));
        pods.map(|(key, pod)| (key.clone(), record_hash(pod, set) == hash)).collect()
    }

    /// Never more than maxUnavailable Pods are down because of us, and never more than all but the partition are updated.
    ///
    /// Rules: C-UPD-6, C-UPD-8, C-UPD-9, C-UPD-10, C-CTL-17.
    fn check_budget(&mut self, set: &str, before: &BTreeMap<String, Value>) {
        let update = &self.cluster.sets[set]["spec"]["updateStrategy"];
        let is_ready = |pod: &Value| {
            pod["status"]["conditions"].as_array().is_some_and(|list| {
                list.iter().any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
            })
        };
        let runs = |pod: &Value, container: &Value| {
            let image = text(container, &["image"]);
            let statuses = pod["status"]["containerStatuses"].as_array();
            statuses.is_some_and(|list| {
                list.iter().any(|status| status["name"] == container["name"] && status["ran"] == image)
            })
        };
        // What another set does to the Pod is not on this one's account.
        let is_up = |pod: &Value, set: &str| {
            let containers = pod["spec"]["containers"].as_array().into_iter().flatten();
            let mut own = containers.filter(|container| text(container, &["name"]).starts_with(set));
            is_ready(pod) && own.all(|container| runs(pod, container))
        };
        // Nor is a Pod that was down when it was taken on to another version, should the set go back to this one.
        let is_taken = |pod: &Value, set: &str, hash: &str| record_hash(pod, set) == hash && !is_up(pod, set);
        self.taken.retain(|(set, hash, key)| {
            self.cluster.pods.get(key).is_some_and(|pod| is_taken(pod, set, hash))
        });
        let hash = text(&self.cluster.sets[set], &["metadata", "annotations", keys::HASH]).to_owned();
        let taken = self.controller.taken_down.iter().filter(|(of, _)| of == set);
        let taken: Vec<String> = taken.map(|(_, pod)| format!("{}/{}", pod.namespace, pod.name)).collect();
        let touched = !taken.is_empty();
        self.taken.extend(taken.into_iter().map(|key| (set.to_owned(), hash.clone(), key)));
        // What counts is what the controller could know when it decided.
        let counts = |pod: &PodFacts| {
            pod.value("app") == Some("shop") && pod.injected_sets().any(|name| name == set) && pod.is_active()
        };
        let seen = self.controller.decided_on.get(set).into_iter().flatten();
        let counted: BTreeSet<&String> = seen.filter(|(_, pod)| counts(pod)).map(|(key, _)| key).collect();
        let of_now =
            |(of, to, key): &&(String, String, String)| of == set && *to == hash && counted.contains(key);
        let down = self.taken.iter().filter(of_now).count();
        let budget = Amount::new(&update["maxUnavailable"]).max_unavailable(counted.len());
        assert!(!touched || down <= budget, "{set}: {down} Pods are down, {budget} may be: {:?}", self.taken);
        let is_new = |pods: &BTreeMap<String, Value>, key: &String| {
            pods.get(key).is_some_and(|pod| record_hash(pod, set) == hash)
        };
        let written = counted.iter().any(|key| is_new(&self.cluster.pods, key) && !is_new(before, key));
        let old = counted.iter().filter(|key| !is_new(&self.cluster.pods, key)).count();
        let partition = Amount::new(&update["partition"]).partition(counted.len());
        assert!(!written || old >= partition, "{set}: {old} stay old, {partition} should");
    }

    /// Everything heals: images can be pulled, every Pod comes up, the watch catches up, nothing holds a rollout back.
    ///
    /// Rules: C-CTL-21, C-HOTC-11, C-BUG-1, C-BUG-5. Decision: D-30.
    fn heal(&mut self) {
        for set in self.cluster.sets.keys().cloned().collect::<Vec<_>>() {
            self.cluster.edit_set(
                &set,
                &json!({"spec": {"updateStrategy": {
                "maxUnavailable": 1, "partition": null, "paused": null}}}),
            );
        }
        for _ in 0..PATIENCE {
            self.cluster.now_ms += 1000;
            for key in self.cluster.pods.keys().cloned().collect::<Vec<_>>() {
                self.report(&key, true, &|_| false);
            }
            self.unseen.append(&mut self.cluster.changes);
            self.deliver();
            let looks = self.controller.looks;
            self.look();
            if looks == self.controller.looks
                && self.unseen.is_empty()
                && self.controller.next_due_ms().is_none()
            {
                return self.check_end();
            }
        }
        panic!("the rollout does not end: {:#?}", self.cluster.sets);
    }

    /// All Pods are updated, run what they should, and there is nothing left to do.
    fn check_end(&self) {
        for (name, set) in &self.cluster.sets {
            let matched = self.matched(name);
            let old: Vec<&String> =
                matched.iter().filter(|(_, updated)| !updated).map(|(key, _)| key).collect();
            assert!(old.is_empty(), "{name}: {old:?} stayed old");
            let wanted = text(&set["spec"]["containers"][0], &["image"]);
            for (key, _) in &matched {
                let pod = &self.cluster.pods[key];
                let images: Vec<&str> = pod["spec"]["containers"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .filter(|container| text(container, &["name"]).starts_with(name.as_str()))
                    .map(|container| text(container, &["image"]))
                    .collect();
                assert!(images.contains(&wanted), "{key} runs {images:?}, {name} wants {wanted}");
                assert!(name == "cold" || images.contains(&"empty:1"), "{key}: {images:?}");
            }
            let status = &set["status"];
            let counts = ["matchedPods", "updatedPods", "readyPods", "updatedReadyPods"];
            let counts = counts.map(|count| status[count].as_u64().unwrap_or(0) as usize);
            assert_eq!(counts, [matched.len(); 4], "{name}");
            assert_eq!(status["conditions"][0]["status"], "True", "{name}: {status}");
            let (_, again) = self.controller.decide(&self.cluster, name).expect("it is there");
            assert!(
                again.pods.is_empty() && again.status.is_none() && again.revisions.writes.is_empty(),
                "{again:?}"
            );
            assert!(again.look_again.is_none() && again.failures.is_empty() && again.events.is_empty());
        }
    }
}

fn record_hash(pod: &Value, set: &str) -> String {
    let records: Value =
        serde_json::from_str(text(pod, &["metadata", "annotations", keys::HASH])).unwrap_or_default();
    records[set]["hash"].as_str().unwrap_or_default().to_owned()
}

/// Runs one rollout; tells how many writes to Pods it took.
fn simulate(bytes: &[u8]) -> usize {
    let mut choices = Choices { bytes: bytes.iter() };
    let mut simulation = Simulation::new(&mut choices);
    while choices.bytes.len() > 0 {
        simulation.happen(&mut choices);
    }
    simulation.heal();
    simulation.controller.pod_writes
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, max_shrink_iters: 100, failure_persistence: None, ..ProptestConfig::default() })]

    /// Budget and partition hold at every write, every rollout ends, and a finished one has nothing left to do.
    #[test]
    fn rollouts_end(bytes in vec(any::<u8>(), 0..250)) {
        simulate(&bytes);
    }
}

/// More of them, the same every time, from a generator that costs nothing. `SIDECARSET_ROLLOUTS` says how many,
/// `SIDECARSET_ROLLOUT` which is the first.
#[test]
fn many_rollouts() {
    let count: u64 =
        std::env::var("SIDECARSET_ROLLOUTS").map_or(100, |count| count.parse().expect("a number"));
    let first = std::env::var("SIDECARSET_ROLLOUT").map_or(0, |first| first.parse().expect("a number"));
    let (mut writes, mut broken) = (0, Vec::new());
    for rollout in first..first + count {
        let mut state = rollout + 1;
        let bytes: Vec<u8> = std::iter::repeat_with(|| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        })
        .take(200)
        .collect();
        match std::panic::catch_unwind(|| simulate(&bytes)) {
            Ok(count) => writes += count,
            Err(_) => broken.push(rollout),
        }
    }
    assert_eq!(broken, Vec::<u64>::new(), "these rollouts broke a law");
    assert!(writes > 0, "the rollouts write nothing");
}
