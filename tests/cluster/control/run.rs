//! Runs scenarios: does their operations, waits until everything has settled, and judges what is there.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use regex::Regex;
use serde_json::{Value, json};
use sidecarset_core::api::keys;

use super::api::{SYSTEM, at_once, path};
use super::observation::text;
use super::scene::Scene;
use super::verdict::Verdict;
use super::world::World;

/// How often it is looked whether nothing happens any more.
const GLANCE: Duration = Duration::from_millis(100);
/// After how much time without a change the webhook knows of it: the scenarios leave it as much before they create Pods.
pub(super) const SEEN: Duration = Duration::from_secs(3);

/// What is judged of a run.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Judge {
    /// Every observation when everything has settled, and the order of writes.
    Steps,
    /// That after every step there comes to be what was recorded, and in the end stays.
    States,
}

/// How scenarios are run.
#[derive(Clone, Copy)]
pub(super) struct Manner {
    /// How many at a time.
    pub(super) jobs: usize,
    /// After how much time without a change a step has settled, where the scenario does not say otherwise; of [`Judge::States`] the last.
    pub(super) quiet: Duration,
    /// How long a step may take.
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

/// The recorded scenarios that are run: those that `usual` names, or all with `CONTROL_SCENARIOS=all`, or those that it names with commas
/// between them. In any case only what `can_be` run.
pub(super) fn chosen(usual: impl Fn(&str) -> bool, can_be: impl Fn(&str) -> bool) -> Vec<Value> {
    let asked = std::env::var("CONTROL_SCENARIOS").unwrap_or_default();
    let is_asked = |name: &str| match asked.as_str() {
        "" => usual(name),
        "all" => true,
        names => names.split(',').any(|wanted| wanted == name),
    };
    let chosen = scenarios(|name| is_asked(name) && can_be(name));
    assert!(!chosen.is_empty(), "CONTROL_SCENARIOS={asked} names no scenario that can be run here");
    chosen
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

/// Prints the counts; panics if any scenario came out differently.
#[track_caller]
pub(super) fn report(outcomes: &[Outcome], took: Duration) {
    let is_different = |outcome: &&Outcome| !outcome.problems.is_empty();
    let different: Vec<&str> = outcomes.iter().filter(is_different).map(|o| o.name.as_str()).collect();
    let deviations = outcomes.iter().filter(|o| o.problems.is_empty() && o.has_deviations).count();
    let longest = outcomes.iter().max_by_key(|outcome| outcome.took).expect("at least one");
    eprintln!(
        "{} equal, {deviations} with a deviation that is met, {} different; {} s, the longest {} with {} s",
        outcomes.len() - deviations - different.len(),
        different.len(),
        took.as_secs(),
        longest.name,
        longest.took.as_secs()
    );
    assert_eq!(different, Vec::<&str>::new(), "the lines above say what differs");
}

async fn run(world: &Arc<World>, scenario: &Value, manner: Manner) -> Result<Vec<String>, String> {
    let scene = Arc::new(Scene::new(scenario));
    world.enter(&scene);
    let steps = scenario["steps"].as_array().ok_or("no steps")?;
    let verdict = Verdict::new(scenario);
    let mut problems = Vec::new();
    for (index, step) in steps.iter().enumerate() {
        let told = |error| format!("step {index} {error}");
        operate_all(world, &scene, step).await.map_err(told)?;
        if manner.judge == Judge::Steps {
            let quiet = step["quiet"].as_f64().map_or(manner.quiet, Duration::from_secs_f64);
            settle(&scene, quiet, manner.limit).await.map_err(told)?;
            let observed = scene.observe(&world.objects());
            let orders = scene.seen().log.end();
            problems.extend(verdict.of_step(index, &observed, &orders));
            continue;
        }
        await_state(world, &scene, &verdict, index, manner.limit).await?;
        if index + 1 == steps.len() {
            settle(&scene, manner.quiet, manner.limit).await.map_err(told)?;
            problems = verdict.of_end(index, &scene.observe(&world.objects()));
        }
    }
    clean(world, &scene).await.map_err(|error| format!("cannot be cleaned up: {error}"))?;
    world.leave(&scene);
    Ok(problems)
}

/// Does what a step says.
pub(super) async fn operate_all(world: &Arc<World>, scene: &Arc<Scene>, step: &Value) -> Result<(), String> {
    scene.seen().log.begin();
    for operation in step["do"].as_array().into_iter().flatten() {
        operate(world, scene, operation).await.map_err(|error| format!("{operation}: {error}"))?;
    }
    scene.touch();
    Ok(())
}

/// Waits until there is what was recorded after a step, and the webhook knows it.
async fn await_state(
    world: &World,
    scene: &Scene,
    verdict: &Verdict<'_>,
    step: usize,
    limit: Duration,
) -> Result<(), String> {
    let start = Instant::now();
    loop {
        let problems = verdict.of_end(step, &scene.observe(&world.objects()));
        if problems.is_empty() && scene.is_quiet(SEEN) {
            return Ok(());
        }
        if start.elapsed() > limit {
            return Err(format!("after {} s: {}", limit.as_secs(), problems.join("; ")));
        }
        tokio::time::sleep(GLANCE).await;
    }
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
