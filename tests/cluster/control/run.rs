//! Runs scenarios: does their operations, waits until everything has settled, and judges what is there.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use regex::Regex;
use serde_json::{Value, json};
use sidecarset_core::api::keys;

use super::api::{SYSTEM, at_once, path};
use super::observation::{Orders, text};
use super::scene::Scene;
use super::verdict::Verdict;
use super::world::World;

/// How often it is looked whether nothing happens any more.
const GLANCE: Duration = Duration::from_millis(100);

/// What is judged of a run.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Judge {
    /// Every observation, and the order of writes.
    Steps,
    /// What is there in the end.
    End,
}

/// How scenarios are run.
#[derive(Clone, Copy)]
pub(super) struct Manner {
    /// How many at a time.
    pub(super) jobs: usize,
    /// After how much time without a change a step has settled. The scenario may say otherwise, but not less than this.
    pub(super) quiet: Duration,
    /// How long a step may take to settle.
    pub(super) limit: Duration,
    pub(super) judge: Judge,
}

/// What came of a scenario.
pub(super) struct Outcome {
    pub(super) name: String,
    pub(super) has_deviations: bool,
    pub(super) problems: Vec<String>,
    pub(super) took: Duration,
}

/// All recorded scenarios that `wanted` names.
pub(super) fn scenarios(wanted: impl Fn(&str) -> bool) -> Vec<Value> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance/control");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let is_wanted = |file: &&std::path::PathBuf| {
        file.extension().is_some_and(|extension| extension == "json")
            && file.file_stem().is_some_and(|name| wanted(&name.to_string_lossy()))
    };
    let read = |file: &std::path::PathBuf| {
        serde_json::from_str(&std::fs::read_to_string(file).unwrap()).expect("a recorded scenario")
    };
    files.iter().filter(is_wanted).map(read).collect()
}

/// Runs them, and prints each result as soon as it is there.
pub(super) async fn run_all(world: &Arc<World>, scenarios: &[Value], manner: Manner) -> Vec<Outcome> {
    let one = |scenario| async move {
        let start = Instant::now();
        let problems = run(world, scenario, manner).await.unwrap_or_else(|error| vec![error]);
        let outcome = Outcome {
            name: text(scenario, &["name"]).to_owned(),
            has_deviations: scenario["deviations"].as_array().is_some_and(|list| !list.is_empty()),
            problems,
            took: start.elapsed(),
        };
        for problem in &outcome.problems {
            eprintln!("{}: {problem}", outcome.name);
        }
        outcome
    };
    futures_util::stream::iter(scenarios).map(one).buffer_unordered(manner.jobs).collect().await
}

async fn run(world: &Arc<World>, scenario: &Value, manner: Manner) -> Result<Vec<String>, String> {
    let scene = Arc::new(Scene::new(scenario));
    world.enter(&scene);
    let steps = scenario["steps"].as_array().ok_or("no steps")?;
    let verdict = Verdict::new(scenario);
    let mut problems = Vec::new();
    for (index, step) in steps.iter().enumerate() {
        let (observed, orders) =
            do_step(world, &scene, step, manner).await.map_err(|error| format!("step {index} {error}"))?;
        if manner.judge == Judge::Steps {
            problems.extend(verdict.of_step(index, &observed, &orders));
        } else if index + 1 == steps.len() {
            problems.extend(verdict.of_end(index, &observed));
        }
    }
    clean(world, &scene).await.map_err(|error| format!("cannot be cleaned up: {error}"))?;
    world.leave(&scene);
    Ok(problems)
}

async fn do_step(
    world: &Arc<World>,
    scene: &Arc<Scene>,
    step: &Value,
    manner: Manner,
) -> Result<(Value, Orders), String> {
    scene.seen().log.begin();
    for operation in step["do"].as_array().into_iter().flatten() {
        operate(world, scene, operation).await.map_err(|error| format!("{operation}: {error}"))?;
    }
    scene.touch();
    let asked = step["quiet"].as_f64().map(Duration::from_secs_f64);
    let quiet = match manner.judge {
        Judge::Steps => asked.unwrap_or(manner.quiet),
        Judge::End => manner.quiet.max(asked.unwrap_or_default()),
    };
    settle(scene, quiet, manner.limit).await?;
    let observed = scene.observe(&world.objects());
    let orders = scene.seen().log.end();
    Ok((observed, orders))
}

/// Waits until nothing has happened for `quiet`.
pub(super) async fn settle(scene: &Scene, quiet: Duration, limit: Duration) -> Result<(), String> {
    let start = Instant::now();
    while !scene.is_quiet(quiet) {
        if start.elapsed() > limit {
            return Err(format!("does not settle within {} s", limit.as_secs()));
        }
        tokio::time::sleep(GLANCE).await;
    }
    Ok(())
}

async fn operate(world: &Arc<World>, scene: &Arc<Scene>, operation: &Value) -> Result<(), kube::Error> {
    let at = path_of(operation);
    match text(operation, &["op"]) {
        "create" => create(world, &filled(world, &operation["object"]).await?).await,
        "patch" => {
            let patch = filled(world, &operation["patch"]).await?;
            let form = operation["type"].as_str().unwrap_or("merge");
            let at = operation["sub"].as_str().map_or(at.clone(), |part| format!("{at}/{part}"));
            world.api.patch(&at, form, &patch).await.map(|_| ())
        }
        "delete" => {
            let options = if operation["force"] == true { at_once() } else { Value::Null };
            world.api.delete(&at, &options).await
        }
        "node" => {
            scene.seen().settings.set(operation);
            let keys: Vec<String> = world.objects()["Pod"]
                .iter()
                .filter(|(_, pod)| scene.owns("Pod", pod))
                .map(|(key, _)| key.clone())
                .collect();
            keys.iter().for_each(|key| world.wake(scene, key));
            Ok(())
        }
        "wait" => {
            let seconds = operation["seconds"].as_f64().expect("a number");
            tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
            Ok(())
        }
        other => panic!("unknown operation {other}"),
    }
}

fn path_of(operation: &Value) -> String {
    match operation["kind"].as_str() {
        Some(kind) => path(kind, text(operation, &["namespace"]), text(operation, &["name"])),
        None => String::new(),
    }
}

/// Creates an object in the version that it names. In a new Namespace Pods can be created at once.
pub(super) async fn create(world: &World, object: &Value) -> Result<(), kube::Error> {
    let (kind, name) = (text(object, &["kind"]), text(object, &["metadata", "name"]));
    if kind == "Namespace" && ["default", SYSTEM].contains(&name) {
        return Ok(());
    }
    let version = text(object, &["apiVersion"]).rsplit('/').next().unwrap_or_default();
    let at = path(kind, text(object, &["metadata", "namespace"]), "");
    let at = if kind == "SidecarSet" { at.replace("v1beta1", version) } else { at };
    world.api.create(&at, object).await?;
    if kind == "Namespace" {
        let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}});
        world.api.ensure(&path("ServiceAccount", name, ""), &account).await?;
    }
    Ok(())
}

/// `{{hash NAME}}` and its kind stand for what the set has now.
async fn filled(world: &World, object: &Value) -> Result<Value, kube::Error> {
    let mut filled = object.to_string();
    let place = Regex::new(r"\{\{(hash|hash-without-image|revision) ([^}]+)\}\}").expect("a pattern");
    while let Some(found) = place.captures(&filled) {
        let (whole, what, name) = (&found[0], &found[1], &found[2]);
        let set = world.api.get(&path("SidecarSet", "", name)).await?;
        let value = match what {
            "revision" => text(&set, &["status", "latestRevision"]),
            "hash" => text(&set, &["metadata", "annotations", keys::HASH]),
            _ => text(&set, &["metadata", "annotations", keys::HASH_WITHOUT_IMAGE]),
        };
        filled = filled.replace(whole, value);
    }
    Ok(serde_json::from_str(&filled).expect("it was JSON before"))
}

/// Removes what a scenario made, without waiting until it is gone.
pub(super) async fn clean(world: &World, scene: &Scene) -> Result<(), kube::Error> {
    for namespace in &scene.namespaces {
        world.api.delete(&path("StatefulSet", namespace, ""), &Value::Null).await?;
    }
    for set in &scene.sets {
        world.api.delete(&path("SidecarSet", "", set), &Value::Null).await?;
    }
    for revision in &scene.leftovers {
        world.api.delete(&path("ControllerRevision", SYSTEM, revision), &Value::Null).await?;
    }
    let pods: Vec<Value> =
        world.objects()["Pod"].values().filter(|pod| scene.owns("Pod", pod)).cloned().collect();
    for pod in pods {
        let at = path("Pod", text(&pod, &["metadata", "namespace"]), text(&pod, &["metadata", "name"]));
        if !pod["metadata"]["finalizers"].is_null() {
            world.api.patch(&at, "merge", &json!({"metadata": {"finalizers": null}})).await?;
        }
        world.api.delete(&at, &at_once()).await?;
    }
    for namespace in &scene.namespaces {
        world.api.delete(&path("Namespace", "", namespace), &Value::Null).await?;
    }
    Ok(())
}

/// Waits until nothing of it is left, so that it can be made again.
pub(super) async fn await_gone(world: &World, scene: &Scene, limit: Duration) {
    let start = Instant::now();
    loop {
        let mut left = Vec::new();
        for namespace in &scene.namespaces {
            left.extend(world.api.get(&path("Namespace", "", namespace)).await.ok());
        }
        {
            let objects = world.objects();
            for kind in ["SidecarSet", "ControllerRevision"] {
                left.extend(objects[kind].values().filter(|object| scene.owns(kind, object)).cloned());
            }
        }
        if left.is_empty() {
            return;
        }
        assert!(start.elapsed() < limit, "still there: {left:?}");
        tokio::time::sleep(GLANCE).await;
    }
}
