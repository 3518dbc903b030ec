//! The recorded scenarios of upstream's controller, replayed in memory: every observation equal, or its deviation met.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};
use sidecarset_core::api::keys;

use super::scenario::{Orders, Run, normal_text};

/// Needs a StatefulSet controller and a scheduler; replayed on the real control plane.
const NEEDS_A_CLUSTER: [&str; 1] = ["workload-4"];
/// The reasons of events that are compared (spec 30 section 10.1).
const REASONS: [&str; 4] =
    ["NotUpgradablePods", "ResetContainerFailed", "ResetContainerSucceed", "SidecarTerminator"];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/conformance/control")
}

fn scenarios() -> Vec<Value> {
    let mut files: Vec<PathBuf> =
        fs::read_dir(folder()).expect("a folder").map(|entry| entry.expect("readable").path()).collect();
    files.sort();
    files
        .iter()
        .filter(|file| file.extension().is_some_and(|extension| extension == "json"))
        .map(|file| serde_json::from_str(&fs::read_to_string(file).expect("readable")).expect("JSON"))
        .collect()
}

/// Rules: C-STAT-9, C-CTL-21, C-HASH-7, C-MATCH-7, C-EVT-3, C-EVT-6. Decision: D-33, D-37, C-BUG-40.
#[test]
fn recorded_scenarios() {
    let only = std::env::var("SIDECARSET_SCENARIO").ok();
    let (mut judged, mut problems) = (0, Vec::new());
    for scenario in scenarios() {
        let name = scenario["name"].as_str().expect("a name");
        if NEEDS_A_CLUSTER.contains(&name) || only.as_ref().is_some_and(|only| only != name) {
            continue;
        }
        judged += 1;
        problems.extend(judge(&scenario).into_iter().map(|problem| format!("{name} {problem}")));
    }
    assert!(problems.is_empty(), "{} problems:\n{}", problems.len(), problems.join("\n"));
    assert!(only.is_some() || judged == 112, "{judged} scenarios were judged");
}

/// Replays one scenario; returns what differs.
fn judge(scenario: &Value) -> Vec<String> {
    let steps = scenario["steps"].as_array().expect("steps");
    let expected = expected_states(scenario);
    let mut run = Run::new(scenario);
    let mut problems = Vec::new();
    for (index, step) in steps.iter().enumerate() {
        let (observed, orders) = run.step(step);
        let at: Vec<&Value> = deviations_at(scenario, index);
        let is_free = |member: &str| at.iter().any(|deviation| deviation[member] == "free");
        let judge = |pointer: &str, expected: &Value, found: &Value, problems: &mut Vec<String>| {
            let mut found_here = Vec::new();
            differences(pointer, expected, found, &mut found_here);
            problems.extend(found_here.into_iter().map(|text| format!("step {index} {text}")));
        };
        if at.iter().any(|deviation| deviation["only"] == true) {
            for deviation in at.iter().filter(|deviation| deviation["pointer"].is_string()) {
                let pointer = deviation["pointer"].as_str().unwrap_or_default();
                let found = observed.pointer(pointer).cloned().unwrap_or_default();
                judge(pointer, &deviation["expected"], &found, &mut problems);
            }
            continue;
        }
        let (wanted, wanted_moves) = (compared(&expected[index]), moves(&scenario["observations"][index]));
        judge("", &wanted, &compared(&observed), &mut problems);
        if !is_free("moves") {
            judge("moves", &wanted_moves, &moves(&observed), &mut problems);
        }
        if !is_free("order") {
            problems.extend(
                judge_orders(&scenario["orders"][index], &orders).map(|text| format!("step {index} {text}")),
            );
        }
    }
    problems
}

fn judge_orders(expected: &Value, found: &Orders) -> Option<String> {
    let empty = json!({});
    let wanted = expected.get("updated").unwrap_or(&empty);
    let peak = expected["peak"].as_u64().unwrap_or_default();
    if *wanted != json!(found.updated) {
        return Some(format!("order: expected {wanted}, found {:?}", found.updated));
    }
    (found.peak as u64 > peak).then(|| format!("peak: expected at most {peak}, found {}", found.peak))
}

fn deviations_at(scenario: &Value, step: usize) -> Vec<&Value> {
    let deviations = scenario["deviations"].as_array().into_iter().flatten();
    let step = step as u64;
    let covers = |deviation: &&Value| {
        let first = deviation["step"].as_u64().expect("a step");
        (first..=deviation["until"].as_u64().unwrap_or(first)).contains(&step)
    };
    deviations.filter(covers).collect()
}

/// The full state after every step: observations laid over each other, deviations put in.
fn expected_states(scenario: &Value) -> Vec<Value> {
    let observations = scenario["observations"].as_array().expect("observations");
    let mut state =
        json!({"sidecarSets": {}, "pods": {}, "revisions": {}, "recreateRequests": {}, "events": {}});
    let mut states = Vec::new();
    for (index, observation) in observations.iter().enumerate() {
        for (kind, objects) in observation.as_object().expect("an object") {
            for (key, object) in objects.as_object().into_iter().flatten() {
                match object {
                    Value::Null => drop(state[kind].as_object_mut().expect("a kind").remove(key)),
                    object => state[kind][key] = object.clone(),
                }
            }
        }
        let mut expected = state.clone();
        for deviation in deviations_at(scenario, index) {
            if let Some(pointer) = deviation["pointer"].as_str() {
                set(&mut expected, pointer, &deviation["expected"]);
            }
        }
        states.push(expected);
    }
    states
}

fn set(state: &mut Value, pointer: &str, value: &Value) {
    let parts: Vec<String> =
        pointer.split('/').skip(1).map(|part| part.replace("~1", "/").replace("~0", "~")).collect();
    let (last, parents) = parts.split_last().expect("a pointer");
    let place = parents.iter().fold(state, |place, part| {
        if place[part].is_null() {
            place[part] = json!({});
        }
        &mut place[part]
    });
    match value {
        Value::Null => drop(place.as_object_mut().expect("an object").remove(last)),
        value => place[last] = value.clone(),
    }
}

/// Without what is not compared: marks of moved times, our own annotations, other events, the revision of an in-place state.
fn compared(state: &Value) -> Value {
    let mut state = state.clone();
    for pod in state["pods"].as_object_mut().into_iter().flatten().map(|(_, pod)| pod) {
        for (_, condition) in pod["conditions"].as_object_mut().into_iter().flatten() {
            condition.as_object_mut().expect("an object").remove("moved");
        }
        if let Some(annotations) = pod["annotations"].as_object_mut() {
            annotations.retain(|key, _| !key.starts_with("sidecarset.kruise.io/"));
            if let Some(state) = annotations.get_mut(keys::IN_PLACE_STATE) {
                *state = without_revision(state.as_str().unwrap_or_default()).into();
            }
        }
    }
    if let Some(events) = state["events"].as_object_mut() {
        events.retain(|event, _| REASONS.iter().any(|reason| event.contains(&format!(" {reason} "))));
    }
    state
}

fn without_revision(text: &str) -> String {
    let Ok(Value::Object(mut states)) = serde_json::from_str::<Value>(text) else { return text.to_owned() };
    for (_, state) in &mut states {
        let has_one = state["revision"].as_str().is_some_and(|revision| !revision.is_empty());
        if let Some(state) = state.as_object_mut() {
            state.insert("revision".to_owned(), has_one.into());
        }
    }
    normal_text(&Value::Object(states).to_string())
}

/// The conditions of Pods whose time moved in this step.
fn moves(observation: &Value) -> Value {
    let pods = observation["pods"].as_object().into_iter().flatten();
    let mut moved: Vec<String> = pods
        .flat_map(|(key, pod)| {
            let conditions = pod["conditions"].as_object().cloned().unwrap_or_default();
            let conditions = conditions.into_iter().filter(|(_, condition)| condition["moved"] == true);
            conditions.map(|(kind, _)| format!("{key} {kind}")).collect::<Vec<_>>()
        })
        .collect();
    moved.sort();
    json!(moved)
}

fn differences(pointer: &str, expected: &Value, found: &Value, problems: &mut Vec<String>) {
    if let (Value::Object(wanted), Value::Object(have)) = (expected, found) {
        let empty = Map::new();
        let keys = wanted.keys().chain(have.keys().filter(|key| !wanted.contains_key(*key)));
        for key in keys {
            let (a, b) = (wanted.get(key), have.get(key));
            let missing = Value::Object(empty.clone());
            match (a, b) {
                (Some(a), Some(b)) => differences(&format!("{pointer}/{key}"), a, b, problems),
                (a, b) if a.unwrap_or(&missing) == b.unwrap_or(&missing) => {}
                (a, b) => problems.push(format!("{pointer}/{key}: expected {a:?}, found {b:?}")),
            }
        }
    } else if expected != found {
        problems.push(format!("{pointer}: expected {expected}, found {found}"));
    }
}
