//! The recorded Pod admissions of this folder, and how an answer is judged by them: for each test binary that has answers.
//! Judged as `../README.md` says: by `expected` where a decision deviates, else by `upstream`. Decision: D-1, D-2.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a panic is how a test fails; clippy sees only the functions marked #[test]"
)]

use serde_json::{Value, json};
use sidecarset_core::context::Features;
use sidecarset_core::snapshot::{DEFAULT_REVISION_NAMESPACE, Snapshot, SnapshotParts, UnlistedNamespaces};
use sidecarset_core::source::SidecarSet;

/// One file of records: its name and its lines, one world each.
pub(crate) struct Records {
    name: &'static str,
    lines: &'static str,
}

/// Written by hand along the specification.
pub(crate) const HAND: Records = Records { name: "hand", lines: include_str!("hand.jsonl") };
/// Drawn at random from all features together.
pub(crate) const RANDOM: Records = Records { name: "random", lines: include_str!("random.jsonl") };
/// Expressions and merge patches, well-formed and broken.
pub(crate) const FUZZ: Records = Records { name: "fuzz", lines: include_str!("fuzz.jsonl") };
/// With feature gates on.
pub(crate) const GATES: Records = Records { name: "gates", lines: include_str!("gates.jsonl") };

impl Records {
    /// The worlds, each as it was recorded.
    pub(crate) fn worlds(&self) -> impl Iterator<Item = Value> {
        self.lines.lines().map(|line| serde_json::from_str(line).unwrap())
    }
}

/// The requests of a world.
pub(crate) fn requests(world: &Value) -> &[Value] {
    world["requests"].as_array().unwrap()
}

/// What a world's server knows.
pub(crate) fn mk_snapshot(world: &Value) -> Snapshot {
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

/// The switches that were on in a world.
pub(crate) fn features(world: &Value) -> Features {
    let gate = &world["featureGates"]["EnableSortSidecarContainerByName"];
    Features { sort_sidecar_containers: *gate == true }
}

/// An answer that changes nothing or changes the Pod by this JSON Patch, in the form of the records.
pub(crate) fn allowed(request: &Value, patch: Option<&str>) -> Value {
    let mut document = request["object"].clone();
    if let Some(patch) = patch {
        let patch: json_patch::Patch = serde_json::from_str(patch).unwrap();
        json_patch::patch(&mut document, &patch).unwrap();
    }
    json!({"allowed": true, "document": document})
}

/// An answer that denies the Pod, in the form of the records.
pub(crate) fn denied(code: impl Into<Value>, message: &str) -> Value {
    json!({"allowed": false, "code": code.into(), "message": message})
}

/// What one file's records say about our answers.
#[derive(Default)]
pub(crate) struct Tally {
    judged: usize,
    open: usize,
    failures: Vec<String>,
}

impl Tally {
    /// Judges our answer to one request of a world, given by [`allowed`] or [`denied`].
    pub(crate) fn judge(&mut self, world: &Value, request: &Value, ours: &Value) {
        let theirs = if request["deviation"].is_null() { &request["upstream"] } else { &request["expected"] };
        if theirs.is_null() {
            // A decision leaves the answer open: the record only documents upstream.
            self.open += 1;
            return;
        }
        self.judged += 1;
        if let Some(difference) = difference(ours, theirs) {
            let (world, name, deviation) = (&world["world"], &request["name"], &request["deviation"]);
            self.failures.push(format!("{world} {name} {deviation}: {difference}"));
        }
    }

    /// Fails the test if any answer differs, and if there was none.
    pub(crate) fn finish(self, records: &Records) {
        let Self { judged, open, failures } = self;
        let name = records.name;
        println!("{name}: {judged} judged, {open} without an agreed answer, {} differ", failures.len());
        assert!(judged > 0, "{name}: no record was judged");
        assert!(failures.is_empty(), "{} of {judged} differ:\n{}", failures.len(), failures.join("\n"));
    }
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
