//! Judges a replayed scenario: every observation equal to the recorded one, or its deviation met.
//!
//! The rules are those of `tests/conformance/README.md`, section "Control". The cluster tests have this module too.

use serde_json::{Map, Value, json};
use sidecarset_core::api::keys;

use super::observation::{Orders, normal_text};

/// The reasons of events that are compared (spec 30 section 10.1).
const REASONS: [&str; 4] =
    ["NotUpgradablePods", "ResetContainerFailed", "ResetContainerSucceed", "SidecarTerminator"];

/// What is expected of a scenario.
pub(crate) struct Verdict<'s> {
    scenario: &'s Value,
    expected: Vec<Value>,
}

impl<'s> Verdict<'s> {
    pub(crate) fn new(scenario: &'s Value) -> Self {
        Self { scenario, expected: expected_states(scenario) }
    }

    /// Differences after a step, in what is there and in how it came there.
    pub(crate) fn of_step(&self, index: usize, observed: &Value, orders: &Orders) -> Vec<String> {
        let mut problems = self.of_state(index, observed);
        let at = deviations_at(self.scenario, index);
        let is_free = |member: &str| at.iter().any(|deviation| deviation[member] == "free");
        if at.iter().any(|deviation| deviation["only"] == true) {
            return problems;
        }
        let mut found = Vec::new();
        if !is_free("moves") {
            differences("moves", &moves(&self.scenario["observations"][index]), &moves(observed), &mut found);
        }
        if !is_free("order") {
            found.extend(judge_orders(&self.scenario["orders"][index], orders));
        }
        problems.extend(found.into_iter().map(|problem| format!("step {index} {problem}")));
        problems
    }

    /// Differences after a step in what is there, without what was told about it: who is killed may not have told yet.
    #[allow(dead_code, reason = "the core's tests have no use for it")]
    pub(crate) fn of_end(&self, index: usize, observed: &Value) -> Vec<String> {
        let about_events = format!("step {index} /events");
        self.of_state(index, observed).into_iter().filter(|text| !text.starts_with(&about_events)).collect()
    }

    /// Differences after a step in what is there, however it came there.
    pub(crate) fn of_state(&self, index: usize, observed: &Value) -> Vec<String> {
        let mut problems = Vec::new();
        let at = deviations_at(self.scenario, index);
        if at.iter().any(|deviation| deviation["only"] == true) {
            for deviation in at.iter().filter(|deviation| deviation["pointer"].is_string()) {
                let pointer = deviation["pointer"].as_str().unwrap_or_default();
                let found = observed.pointer(pointer).cloned().unwrap_or_default();
                differences(pointer, &deviation["expected"], &found, &mut problems);
            }
        } else {
            differences("", &compared(&self.expected[index]), &compared(observed), &mut problems);
        }
        problems.into_iter().map(|problem| format!("step {index} {problem}")).collect()
    }
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

/// The full state after every step: observations laid over each other.
pub(crate) fn recorded_states(scenario: &Value) -> Vec<Value> {
    let observations = scenario["observations"].as_array().expect("observations");
    let mut state =
        json!({"sidecarSets": {}, "pods": {}, "revisions": {}, "recreateRequests": {}, "events": {}});
    let mut states = Vec::new();
    for observation in observations {
        for (kind, objects) in observation.as_object().expect("an object") {
            for (key, object) in objects.as_object().into_iter().flatten() {
                match object {
                    Value::Null => drop(state[kind].as_object_mut().expect("a kind").remove(key)),
                    object => state[kind][key] = object.clone(),
                }
            }
        }
        states.push(state.clone());
    }
    states
}

/// The same with deviations put in.
fn expected_states(scenario: &Value) -> Vec<Value> {
    let mut states = recorded_states(scenario);
    for (index, expected) in states.iter_mut().enumerate() {
        for deviation in deviations_at(scenario, index) {
            if let Some(pointer) = deviation["pointer"].as_str() {
                set(expected, pointer, &deviation["expected"]);
            }
        }
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
