//! Every recorded Pod admission of the real upstream, answered by the core: `tests/conformance/injection/*.jsonl`.
//!
//! Judged as `tests/conformance/README.md` says: by `expected` where a decision deviates, else by `upstream`.

use serde_json::{Value, json};
use sidecarset_core::admission::{Decision, Request, Verdict, admit};
use sidecarset_core::context::{Context, Features, FirstPod};
use sidecarset_core::explain::{Explanation, explain};
use sidecarset_core::pod::PodLook;
use sidecarset_core::snapshot::{DEFAULT_REVISION_NAMESPACE, Snapshot, SnapshotParts, UnlistedNamespaces};
use sidecarset_core::source::SidecarSet;

const NOW: i64 = 1_700_000_000;

/// The worlds of one file: its name and its lines.
macro_rules! worlds {
    ($file:literal) => {
        (
            $file,
            include_str!(concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/../../tests/conformance/injection/",
                $file,
                ".jsonl"
            )),
        )
    };
}

fn mk_snapshot(world: &Value) -> Snapshot {
    let list = |key: &str| world[key].as_array().cloned().unwrap_or_default();
    let labels = |namespace: &Value| {
        let labels = namespace["metadata"]["labels"].as_object().into_iter().flatten();
        labels.map(|(key, value)| (key.clone(), value.as_str().unwrap().to_owned())).collect()
    };
    Snapshot::new(SnapshotParts {
        sets: list("sidecarSets").into_iter().map(|set| SidecarSet::from_stored(set).unwrap()).collect(),
        namespaces: list("namespaces")
            .iter()
            .map(|namespace| (namespace["metadata"]["name"].as_str().unwrap().to_owned(), labels(namespace)))
            .collect(),
        revisions: list("controllerRevisions"),
        revision_namespace: Some(DEFAULT_REVISION_NAMESPACE.to_owned()),
        unlisted_namespaces: UnlistedNamespaces::HaveNameLabel,
    })
}

/// Our answer in the form of the records: `allowed`, `code`, `message`, `document` (not yet in normal form).
fn answer(world: &Value, snapshot: &Snapshot, request: &Value) -> Value {
    let text = |key: &str| request[key].as_str().unwrap_or_default();
    let denied = |code: u16, message: &str| json!({"allowed": false, "code": code, "message": message});
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
    let gates = &world["featureGates"];
    let features =
        Features { sort_sidecar_containers: gates.to_string().contains("EnableSortSidecarContainerByName") };
    let context = Context { now_unix: NOW, features, draw: &FirstPod, live_namespace: None };
    let decision = admit(&admission, &pod, snapshot, &context).unwrap();
    check_explanation(&explain(&admission, &pod, snapshot, &context).unwrap(), &decision);
    match decision.verdict {
        Verdict::Unchanged => json!({"allowed": true, "document": request["object"]}),
        Verdict::Patch(patch) => {
            let patch: json_patch::Patch = serde_json::from_str(&patch).unwrap();
            let mut document = request["object"].clone();
            json_patch::patch(&mut document, &patch).unwrap();
            json!({"allowed": true, "document": document})
        }
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
    let unexplained =
        explanation.sets.iter().find(|set| set.outcome == "not matched" && set.reason.is_none());
    assert!(unexplained.is_none() || verdict == "denied" || explanation.reason.is_some(), "{explanation}");
}

/// The records' normal form, section "Injection" of `tests/conformance/README.md`.
fn normal_form(document: &Value) -> Value {
    let mut document = without_nulls(document);
    if document["status"] == json!({}) {
        document.as_object_mut().unwrap().remove("status");
    }
    for list in ["containers", "initContainers", "ephemeralContainers"] {
        let Some(containers) = document.pointer_mut(&format!("/spec/{list}")).and_then(Value::as_array_mut)
        else {
            continue;
        };
        for container in containers.iter_mut().filter_map(Value::as_object_mut) {
            remove_if(container, "resources", &json!({}));
            let items = |container: &mut serde_json::Map<String, Value>, key: &str| {
                container.get_mut(key).and_then(Value::as_array_mut).map(std::mem::take)
            };
            for (member, zeros) in [
                ("env", vec![("value", json!(""))]),
                (
                    "volumeMounts",
                    vec![("readOnly", json!(false)), ("subPath", json!("")), ("subPathExpr", json!(""))],
                ),
            ] {
                let Some(mut list) = items(container, member) else { continue };
                for item in list.iter_mut().filter_map(Value::as_object_mut) {
                    zeros.iter().for_each(|(key, zero)| remove_if(item, key, zero));
                }
                container.insert(member.to_owned(), Value::Array(list));
            }
        }
    }
    for volume in document.pointer_mut("/spec/volumes").and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(template) =
            volume.pointer_mut("/ephemeral/volumeClaimTemplate").and_then(Value::as_object_mut)
        {
            remove_if(template, "metadata", &json!({}));
        }
    }
    for key in ["kruise.io/sidecarset-hash", "kruise.io/sidecarset-hash-without-image"] {
        let Some(annotations) = document.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut)
        else {
            continue;
        };
        let parsed =
            annotations.get(key).and_then(Value::as_str).and_then(|text| serde_json::from_str(text).ok());
        if let Some(Value::Object(mut entries)) = parsed {
            for entry in entries.values_mut().filter_map(Value::as_object_mut) {
                if entry.get("updateTimestamp").is_some_and(Value::is_string) {
                    entry.insert("updateTimestamp".to_owned(), json!("1970-01-01T00:00:00Z"));
                }
            }
            let mut sorted = Value::Object(entries);
            sorted.sort_all_objects();
            annotations.insert(key.to_owned(), json!(sorted.to_string()));
        }
    }
    document.sort_all_objects();
    document
}

fn remove_if(object: &mut serde_json::Map<String, Value>, key: &str, zero: &Value) {
    if object.get(key) == Some(zero) {
        object.remove(key);
    }
}

fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            let kept = members.iter().filter(|(_, value)| !value.is_null());
            Value::Object(kept.map(|(key, value)| (key.clone(), without_nulls(value))).collect())
        }
        Value::Array(items) => Value::Array(items.iter().map(without_nulls).collect()),
        other => other.clone(),
    }
}

/// What differs between our answer and the recorded one; `None` if nothing.
fn difference(ours: &Value, theirs: &Value) -> Option<String> {
    if ours["allowed"] != theirs["allowed"] {
        return Some(format!(
            "allowed {} ({}), recorded {}",
            ours["allowed"], ours["message"], theirs["allowed"]
        ));
    }
    if ours["allowed"] == false {
        let has_code = !theirs["code"].is_null();
        return (has_code && ours["code"] != theirs["code"])
            .then(|| format!("code {} ({}), recorded {}", ours["code"], ours["message"], theirs["code"]));
    }
    let (ours, theirs) = (normal_form(&ours["document"]), normal_form(&theirs["document"]));
    (ours != theirs).then(|| first_difference("", &ours, &theirs))
}

fn first_difference(path: &str, ours: &Value, theirs: &Value) -> String {
    match (ours, theirs) {
        (Value::Object(a), Value::Object(b)) => {
            for key in a.keys().chain(b.keys()) {
                let (a, b) = (&ours[key], &theirs[key]);
                if a != b {
                    return first_difference(&format!("{path}/{key}"), a, b);
                }
            }
            format!("{path}: equal?")
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            let differing = a.iter().zip(b).enumerate().find(|(_, (a, b))| a != b);
            differing.map_or_else(String::new, |(index, (a, b))| {
                first_difference(&format!("{path}/{index}"), a, b)
            })
        }
        _ => format!("{path}:\n      ours     {ours}\n      recorded {theirs}"),
    }
}

fn run((file, lines): (&str, &str)) {
    let (mut judged, mut open, mut failures) = (0, 0, Vec::new());
    for line in lines.lines() {
        let world: Value = serde_json::from_str(line).unwrap();
        let snapshot = mk_snapshot(&world);
        for request in world["requests"].as_array().unwrap() {
            let ours = answer(&world, &snapshot, request);
            let theirs =
                if request["deviation"].is_null() { &request["upstream"] } else { &request["expected"] };
            if theirs.is_null() {
                // A decision leaves the answer open: the record only documents upstream.
                open += 1;
                continue;
            }
            judged += 1;
            if let Some(difference) = difference(&ours, theirs) {
                failures.push(format!(
                    "{} {} {}: {difference}",
                    world["world"], request["name"], request["deviation"]
                ));
            }
        }
    }
    println!("{file}: {judged} judged, {open} without an agreed answer, {} differ", failures.len());
    assert!(judged > 0);
    assert!(failures.is_empty(), "{} of {judged} differ:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn hand() {
    run(worlds!("hand"));
}

#[test]
fn random() {
    run(worlds!("random"));
}

#[test]
fn fuzz() {
    run(worlds!("fuzz"));
}

#[test]
fn gates() {
    run(worlds!("gates"));
}
