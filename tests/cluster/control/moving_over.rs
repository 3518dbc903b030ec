//! Clusters as upstream left them: its revisions, hashes and Pods are taken over as they are, and its rollouts go on.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::api::{SYSTEM, path};
use super::observation::text;
use super::program::Program;
use super::run::{create, operate_all, scenarios, settle};
use super::scene::Scene;
use super::stage::{self, Stage};
use super::verdict::{Verdict, recorded_states};
use super::world::World;

/// Finished rollouts: with a partition, paused, several revisions, hot upgrade, two sets, scatter, custom version.
const FINISHED: [&str; 12] = [
    "change-image-3",
    "field-env",
    "hot-cycle-1",
    "metadata",
    "multi-container",
    "order-weight",
    "rev-custom-version",
    "rev-limit-3",
    "roll-partition-5-2",
    "scatter-even",
    "switch-type",
    "two-sets",
];
/// Rollouts that are taken over after their first Pod, the step which begins them, and the order in which they go on: that of upstream's
/// recorded writes, except where it is decided anew. Scattering looks at the Pods that still wait (C-SORT-8 to 10): with `p04` and `p05`
/// matching two of three, `p00` leads, then come one matching and two others, then the last matching one.
const UNDER_WAY: [(&str, usize, Option<[&str; 5]>); 4] = [
    ("order-weight", 2, None),
    ("roll-default-3", 4, None),
    ("roll-partition-5-2", 2, None),
    ("scatter-even", 3, Some(["p00", "p04", "p01", "p02", "p05"])),
];
/// A hot upgrade that is taken over after this step: all Pods have both images, and the new one is not ready, which the reset waits for.
const HOT_UNDER_WAY: (&str, usize) = ("hot-stages", 3);
const QUIET: Duration = Duration::from_millis(6500);
const LIMIT: Duration = Duration::from_secs(90);
/// The normal form has `rv1` in the place of a number.
const VERSION: u64 = 1000;

/// One scenario as upstream left it after a step.
struct Left<'s> {
    scenario: &'s Value,
    step: usize,
    scene: Arc<Scene>,
    /// The recorded state, which is created.
    state: Value,
}

impl<'s> Left<'s> {
    fn new(scenario: &'s Value, step: usize) -> Self {
        let state = recorded_states(scenario).swap_remove(step);
        Self { scenario, step, scene: Arc::new(Scene::new(scenario)), state }
    }

    /// The operations up to the step, in their order.
    fn operations(&self) -> impl Iterator<Item = &'s Value> {
        let steps = self.scenario["steps"].as_array().into_iter().flatten().take(self.step + 1);
        steps.flat_map(|step| step["do"].as_array().into_iter().flatten())
    }

    /// Creates everything that was recorded. No controller runs, and no webhook injects.
    async fn create(&self, world: &Arc<World>) {
        world.enter(&self.scene);
        let mut pods = Vec::new();
        for operation in self.operations() {
            let object = &operation["object"];
            match (text(operation, &["op"]), text(object, &["kind"]), text(operation, &["kind"])) {
                ("create", "Pod", _) => {
                    let (namespace, name) =
                        (text(object, &["metadata", "namespace"]), text(object, &["metadata", "name"]));
                    pods.push((format!("{namespace}/{name}"), object));
                }
                ("create", "Namespace" | "SidecarSet", _) => create(world, object).await.unwrap(),
                ("patch", _, "SidecarSet") => {
                    let at = path("SidecarSet", "", text(operation, &["name"]));
                    world.api.patch(&at, "merge", &operation["patch"]).await.unwrap();
                }
                ("node", ..) => self.scene.seen().settings.set(operation),
                _ => {}
            }
        }
        let mut uids = BTreeMap::new();
        for (name, recorded) in self.state["sidecarSets"].as_object().unwrap() {
            let at = path("SidecarSet", "", name);
            let status = json!({"status": recorded["status"]});
            let stored = world.api.patch(&format!("{at}/status"), "merge", &status).await.unwrap();
            assert_eq!(stored["metadata"]["generation"], recorded["generation"], "{name}");
            for (annotation, hash) in
                [("hash", &recorded["hash"]), ("hash-without-image", &recorded["hashWithoutImage"])]
            {
                let annotation = format!("kruise.io/sidecarset-{annotation}");
                assert_eq!(stored["metadata"]["annotations"][&annotation], *hash, "{name}");
            }
            uids.insert(name.as_str(), stored["metadata"]["uid"].clone());
        }
        for (name, recorded) in self.state["revisions"].as_object().unwrap() {
            let revision = revision(name, recorded, &uids);
            world.api.create(&path("ControllerRevision", SYSTEM, ""), &revision).await.unwrap();
        }
        // In the order in which they were created, which the node's times follow.
        for (key, created) in &pods {
            let recorded = &self.state["pods"][key];
            let (namespace, name) = key.split_once('/').unwrap();
            let pod = pod(created, recorded);
            world.api.create(&path("Pod", namespace, ""), &pod).await.unwrap();
            let status = json!({"status": {"conditions": conditions(recorded)}});
            let at = format!("{}/status", path("Pod", namespace, name));
            world.api.patch(&at, "strategic-merge", &status).await.unwrap();
        }
    }

    /// The resourceVersions of its Pods and revisions, when the node has said what it has to say.
    async fn settled(&self, world: &World) -> BTreeMap<String, String> {
        settle(&self.scene, Duration::from_secs(2), LIMIT).await.unwrap();
        self.versions(world).await
    }

    async fn versions(&self, world: &World) -> BTreeMap<String, String> {
        let mut versions = BTreeMap::new();
        for kind in ["Pod", "ControllerRevision"] {
            let list = world.api.get(&path(kind, "", "")).await.unwrap();
            let owned = list["items"].as_array().into_iter().flatten().filter(|o| self.scene.owns(kind, o));
            versions.extend(owned.map(|object| {
                let metadata = |name: &str| text(object, &["metadata", name]).to_owned();
                (format!("{kind} {}", metadata("name")), metadata("resourceVersion"))
            }));
        }
        versions
    }

    fn problems(&self, world: &World) -> Vec<String> {
        let observed = self.scene.observe(&world.objects());
        let problems = Verdict::new(self.scenario).of_end(self.step, &observed);
        problems.into_iter().map(|problem| format!("{}: {problem}", self.scenario["name"])).collect()
    }
}

fn revision(name: &str, recorded: &Value, uids: &BTreeMap<&str, Value>) -> Value {
    let owner = |owner: &Value| {
        let mut owner = owner.clone();
        owner["uid"] = uids[text(&owner, &["name"])].clone();
        owner
    };
    json!({
        "apiVersion": "apps/v1", "kind": "ControllerRevision", "revision": recorded["revision"],
        "metadata": {
            "name": name, "namespace": SYSTEM, "labels": recorded["labels"],
            "annotations": recorded["annotations"],
            "ownerReferences": recorded["owners"].as_array().unwrap().iter().map(owner).collect::<Vec<_>>(),
        },
        "data": recorded["data"],
    })
}

/// The Pod as it was created, with the images and the metadata that it came to have.
fn pod(created: &Value, recorded: &Value) -> Value {
    let mut pod = created.clone();
    let annotations: Map<String, Value> = recorded["annotations"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(key, value)| {
            match value.as_str().and_then(|text| text.strip_prefix("rv")?.parse::<u64>().ok()) {
                Some(number) => (key.clone(), (VERSION + number).to_string().into()),
                None => (key.clone(), value.clone()),
            }
        })
        .collect();
    pod["metadata"]["annotations"] = annotations.into();
    pod["metadata"]["labels"] = recorded["labels"].clone();
    let own = created["spec"]["containers"].as_array().unwrap();
    let containers: Vec<Value> = recorded["containers"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(name, image)| {
            let known = own.iter().find(|container| container["name"] == name.as_str()).cloned();
            let mut container = known.unwrap_or_else(|| json!({"name": name}));
            container["image"] = image.clone();
            container
        })
        .collect();
    pod["spec"]["containers"] = containers.into();
    pod
}

/// What the controller said about the Pod.
fn conditions(recorded: &Value) -> Vec<Value> {
    let all = recorded["conditions"].as_object().unwrap().iter();
    all.filter(|(kind, _)| *kind != "Ready")
        .map(|(kind, condition)| {
            json!({
                "type": kind, "status": condition["status"], "reason": condition["reason"],
                "message": condition["message"], "lastTransitionTime": "2026-01-01T00:00:00Z",
            })
        })
        .collect()
}

/// Rule: C-REV-12, C-REV-13, C-UPD-1, C-STAT-9. Decision: D-1, D-36.
#[test]
#[ignore = "needs a control plane: make test"]
fn what_upstream_finished_is_left_alone() {
    let plane = stage::plane("control-moved");
    let _webhook = stage::webhook(&plane, false);
    let stage = Stage::new(&plane);
    let scenarios = scenarios(|name| FINISHED.contains(&name));
    assert_eq!(scenarios.len(), FINISHED.len());
    let world = &stage.world;
    let last = |scenario: &Value| scenario["steps"].as_array().unwrap().len() - 1;
    let all: Vec<Left<'_>> = scenarios.iter().map(|s| Left::new(s, last(s))).collect();
    stage.runtime.block_on(async {
        let mut before = Vec::new();
        for left in &all {
            left.create(world).await;
        }
        for left in &all {
            before.push(left.settled(world).await);
        }
        let controller = Program::start(&plane, "controller", &plane.kubectl.kubeconfig, &[]);
        controller.await_lead(LIMIT).await;
        for (left, before) in all.iter().zip(before) {
            left.scene.touch();
            settle(&left.scene, QUIET, LIMIT).await.unwrap();
            assert_eq!(left.problems(world), Vec::<String>::new());
            assert_eq!(left.versions(world).await, before, "{}", left.scenario["name"]);
        }
    });
}

/// A rollout of which upstream has written one Pod.
struct Begun<'s> {
    left: Left<'s>,
    /// The Pod that is written, and the others in the order in which they have to be.
    first: String,
    others: Vec<String>,
}

impl<'s> Begun<'s> {
    fn new(scenario: &'s Value, step: usize, others: Option<[&str; 5]>) -> Self {
        let mut left = Left::new(scenario, step);
        let before = recorded_states(scenario).swap_remove(step - 1);
        let order = scenario["orders"][step]["updated"].as_object().unwrap().values().next().unwrap();
        let order: Vec<String> = serde_json::from_value(order.clone()).unwrap();
        let (first, recorded) = order.split_first().unwrap();
        for key in recorded {
            left.state["pods"][key] = before["pods"][key].clone();
        }
        let (namespace, _) = first.split_once('/').unwrap();
        let others = match others {
            Some(names) => names.map(|name| format!("{namespace}/{name}")).into(),
            None => recorded.to_vec(),
        };
        Self { left, first: first.clone(), others }
    }

    async fn check(&self, world: &World, before: &BTreeMap<String, String>) {
        let name = &self.left.scenario["name"];
        assert_eq!(self.left.problems(world), Vec::<String>::new());
        let orders = self.left.scene.seen().log.end();
        assert_eq!(orders.updated.values().collect::<Vec<_>>(), [&self.others], "{name}");
        let after = self.left.versions(world).await;
        let (_, first) = self.first.split_once('/').unwrap();
        let pod = format!("Pod {first}");
        assert_eq!(after[&pod], before[&pod], "{name}: upstream had written {first} already");
        assert!(after.keys().eq(before.keys()), "{name}: no revision more, none less");
    }
}

/// The steps that are left, each as recorded.
async fn finish(left: &Left<'_>, world: &Arc<World>) {
    let (verdict, steps) = (Verdict::new(left.scenario), left.scenario["steps"].as_array().unwrap());
    for (index, step) in steps.iter().enumerate().skip(left.step + 1) {
        operate_all(world, &left.scene, step).await.unwrap();
        settle(&left.scene, QUIET, LIMIT).await.unwrap();
        let orders = left.scene.seen().log.end();
        let problems = verdict.of_step(index, &left.scene.observe(&world.objects()), &orders);
        assert_eq!(problems, Vec::<String>::new(), "step {index}");
    }
}

/// Rule: C-UPD-5, C-UPD-8, C-UPD-15, C-SORT-9, C-HOTC-7, C-HOTC-8. Decision: D-1.
#[test]
#[ignore = "needs a control plane: make test"]
fn what_upstream_began_goes_on() {
    let plane = stage::plane("control-under-way");
    let _webhook = stage::webhook(&plane, false);
    let stage = Stage::new(&plane);
    let world = &stage.world;
    let scenarios = scenarios(|name| UNDER_WAY.iter().any(|(wanted, ..)| *wanted == name));
    let begun = scenarios.iter().zip(UNDER_WAY).map(|(scenario, (name, step, others))| {
        assert_eq!(scenario["name"], name, "both are sorted by name");
        Begun::new(scenario, step, others)
    });
    let begun: Vec<Begun<'_>> = begun.collect();
    let hot = self::scenarios(|name| name == HOT_UNDER_WAY.0);
    let hot = Left::new(&hot[0], HOT_UNDER_WAY.1);
    stage.runtime.block_on(async {
        hot.create(world).await;
        for begun in &begun {
            begun.left.create(world).await;
        }
        let mut before = Vec::new();
        for begun in &begun {
            before.push(begun.left.settled(world).await);
            begun.left.scene.seen().log.begin();
        }
        let hot_before = hot.settled(world).await;
        let controller = Program::start(&plane, "controller", &plane.kubectl.kubeconfig, &[]);
        controller.await_lead(LIMIT).await;
        begun.iter().for_each(|begun| begun.left.scene.touch());
        for (begun, before) in begun.iter().zip(&before) {
            settle(&begun.left.scene, QUIET, LIMIT).await.unwrap();
            begun.check(world, before).await;
        }
        assert_eq!(hot.versions(world).await, hot_before, "no reset before the new container is ready");
        // What moves from here on is told by the next look.
        hot.scene.observe(&world.objects());
        finish(&hot, world).await;
    });
}
