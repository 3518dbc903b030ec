//! The recorded scenarios of upstream's controller, replayed in memory: every observation equal, or its deviation met.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::scenario::Run;
use super::verdict::Verdict;

/// Needs a StatefulSet controller and a scheduler; replayed on the real control plane.
const NEEDS_A_CLUSTER: [&str; 1] = ["workload-4"];
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
    let verdict = Verdict::new(scenario);
    let mut run = Run::new(scenario);
    let replayed = steps.iter().enumerate().map(|(index, step)| {
        let (observed, orders) = run.step(step);
        verdict.of_step(index, &observed, &orders)
    });
    replayed.flatten().collect()
}
