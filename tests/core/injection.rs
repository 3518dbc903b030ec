//! Every recorded Pod admission of the real upstream, answered by the core: `tests/conformance/injection/*.jsonl`.

use serde_json::Value;
use sidecarset_core::admission::{Decision, Request, Verdict, admit};
use sidecarset_core::context::{Context, FirstPod};
use sidecarset_core::explain::{Explanation, explain};
use sidecarset_core::pod::PodLook;
use sidecarset_core::snapshot::Snapshot;

use crate::judge::{self, Records, Tally, allowed, denied};
use crate::world::NOW;

/// Our answer in the form of the records: `allowed`, `code`, `message`, `document` (not yet in normal form).
fn answer(world: &Value, snapshot: &Snapshot, request: &Value) -> Value {
    let text = |key: &str| request[key].as_str().unwrap_or_default();
    if request["object"].is_null() {
        return denied(400, "there is no content to decode");
    }
    let object = request["object"].to_string();
    let pod = match PodLook::from_json(&object) {
        Ok(pod) => pod,
        Err(error) => return denied(400, &error.to_string()),
    };
    let admission = Request {
        operation: text("operation"),
        group: "",
        resource: request["resource"]["resource"].as_str().or(request["resource"].as_str()).unwrap_or("pods"),
        sub_resource: text("subResource"),
        namespace: text("namespace"),
        dry_run: request["dryRun"] == true,
    };
    let features = judge::features(world);
    let context = Context { now_unix: NOW, features, draw: &FirstPod, live_namespace: None };
    let decision = admit(&admission, &pod, snapshot, &context).unwrap();
    check_explanation(&explain(&admission, &pod, snapshot, &context).unwrap(), &decision);
    match decision.verdict {
        Verdict::Unchanged => allowed(request, None),
        Verdict::Patch(patch) => allowed(request, Some(&patch)),
        Verdict::Denied(denial) => denied(denial.code, &denial.message),
    }
}

/// The explanation of an admission and its answer say the same.
fn check_explanation(explanation: &Explanation, decision: &Decision) {
    let verdict = match decision.verdict {
        Verdict::Unchanged => "unchanged",
        Verdict::Patch(_) => "patched",
        Verdict::Denied(_) => "denied",
    };
    assert_eq!(explanation.verdict, verdict, "{explanation}");
    let of_outcome = |outcome: &str| -> Vec<&str> {
        let sets = explanation.sets.iter().filter(|set| set.outcome == outcome);
        sets.map(|set| &*set.set).collect()
    };
    let mut injected: Vec<&str> = decision.injected.iter().map(|name| &**name).collect();
    injected.sort_unstable();
    assert_eq!(of_outcome("applied"), injected, "{explanation}");
    let mut skipped: Vec<&str> = decision.skipped.iter().map(|skipped| &*skipped.set).collect();
    skipped.sort_unstable();
    assert_eq!(of_outcome("skipped"), skipped, "{explanation}");
    for set in &explanation.sets {
        assert_eq!(set.reason.is_none(), matches!(set.outcome, "applied" | "matched"), "{explanation}");
        assert!(set.outcome != "matched" || verdict == "denied", "{explanation}");
    }
}

fn run(records: &Records) {
    let mut tally = Tally::default();
    for world in records.worlds() {
        let snapshot = judge::mk_snapshot(&world);
        for request in judge::requests(&world) {
            tally.judge(&world, request, &answer(&world, &snapshot, request));
        }
    }
    tally.finish(records);
}

#[test]
fn hand() {
    run(&judge::HAND);
}

#[test]
fn random() {
    run(&judge::RANDOM);
}

#[test]
fn fuzz() {
    run(&judge::FUZZ);
}

#[test]
fn gates() {
    run(&judge::GATES);
}
