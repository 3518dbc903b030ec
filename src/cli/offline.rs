//! What the commands without a cluster share: reading sets and documents, and finding the Pods in them.

use std::io::Read;
use std::path::Path;

use serde_json::{Map, Value};
use sidecarset_core::admission::Request;
use sidecarset_core::context::{Context, Features, FirstPod};
use sidecarset_core::snapshot::Snapshot;
use sidecarset_core::validation::Options;

use crate::clock::unix_now;
use crate::source::documents::{self, kind_of};
use crate::source::folder::{self, Files, Problem};

/// Loads the folder of sets.
///
/// # Errors
///
/// Every finding in every file, a line each.
pub(super) fn load_snapshot(dir: &Path, options: Options) -> Result<Snapshot, String> {
    let loaded = Files::read(dir).and_then(|files| folder::load(&files, options));
    let loaded =
        loaded.map_err(|problems| format!("--sidecarsets {}:{}", dir.display(), list_problems(&problems)))?;
    Ok(Snapshot::new(loaded.parts))
}

pub(super) fn list_problems(problems: &[Problem]) -> String {
    problems.iter().map(|problem| format!("\n  {problem}")).collect()
}

/// Reads a file, or standard input for `-`.
///
/// # Errors
///
/// It cannot be read.
pub(super) fn read_input(file: &Path, input: &mut dyn Read) -> Result<String, String> {
    let wrong = |error| format!("--filename {}: cannot read: {error}", file.display());
    if file == Path::new("-") {
        let mut text = String::new();
        input.read_to_string(&mut text).map_err(wrong)?;
        return Ok(text);
    }
    std::fs::read_to_string(file).map_err(wrong)
}

/// The documents of a text.
///
/// # Errors
///
/// Every document that is no YAML, or that there is none.
pub(super) fn parse_input(file: &Path, text: &str) -> Result<Vec<Value>, String> {
    let mut good = Vec::new();
    let mut problems = Vec::new();
    for document in documents::parse(text) {
        match document {
            Ok(value) => good.push(value),
            Err(error) => problems.push(Problem {
                file: file.to_owned(),
                document: Some(error.document),
                detail: error.detail,
                ..Problem::default()
            }),
        }
    }
    if !problems.is_empty() {
        return Err(format!("the input cannot be read:{}", list_problems(&problems)));
    }
    if good.is_empty() {
        return Err(format!("{}: found no document; give Pods or workloads as YAML or JSON", file.display()));
    }
    Ok(good)
}

/// The request that creates a Pod, as a dry run.
pub(super) fn creation(namespace: &str) -> Request<'_> {
    Request { operation: "CREATE", group: "", resource: "pods", sub_resource: "", namespace, dry_run: true }
}

/// What an admission here and now may know.
pub(super) fn context(features: Features) -> Context<'static> {
    Context { now_unix: unix_now(), features, draw: &FirstPod, live_namespace: None }
}

/// What is done with a Pod: itself, its namespace, and how people call it.
pub(super) type Visit<'v> = dyn FnMut(&mut Value, &str, &str) -> Result<(), String> + 'v;

/// Visits every Pod and every Pod template in documents. A document without Pods stays as it is.
///
/// # Errors
///
/// A document that is no object of the API, or what `visit` returns, with file and document.
pub(super) fn for_each_pod(
    file: &Path,
    documents: &mut [Value],
    default_namespace: &str,
    visit: &mut Visit<'_>,
) -> Result<(), String> {
    for (n, document) in documents.iter_mut().enumerate() {
        visit_document(document, default_namespace, visit)
            .map_err(|why| format!("{}: document {}: {why}", file.display(), n + 1))?;
    }
    Ok(())
}

fn visit_document(
    document: &mut Value,
    default_namespace: &str,
    visit: &mut Visit<'_>,
) -> Result<(), String> {
    let (version, kind) = kind_of(document);
    if kind.is_empty() {
        return Err("kind: not found; every object has one".to_owned());
    }
    let group = version.split_once('/').map_or("", |(group, _)| group);
    let template = match (group, kind) {
        ("", "Pod") => "",
        ("apps", "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet") | ("batch", "Job") => {
            "/spec/template"
        }
        ("batch", "CronJob") => "/spec/jobTemplate/spec/template",
        ("", "List") => return visit_list(document, default_namespace, visit),
        _ => return Ok(()),
    };
    let text = |pointer| document.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let namespace = match text("/metadata/namespace") {
        "" => default_namespace.to_owned(),
        named => named.to_owned(),
    };
    let name = if text("/metadata/name").is_empty() { "/metadata/generateName" } else { "/metadata/name" };
    let who = format!("{kind} {namespace}/{}", text(name));
    let pod = document.pointer_mut(template).filter(|found| found.is_object()).ok_or_else(|| {
        format!(
            "{}: not found; a {who} has its Pods there",
            template.trim_start_matches('/').replace('/', ".")
        )
    })?;
    if template.is_empty() {
        return visit(pod, &namespace, &who);
    }
    let mut whole = pod_of_template(pod);
    visit(&mut whole, &namespace, &who)?;
    copy_back(&mut whole, pod);
    Ok(())
}

fn visit_list(list: &mut Value, default_namespace: &str, visit: &mut Visit<'_>) -> Result<(), String> {
    let items = list.get_mut("items").and_then(Value::as_array_mut).map(Vec::as_mut_slice);
    for (n, item) in items.unwrap_or_default().iter_mut().enumerate() {
        visit_document(item, default_namespace, visit).map_err(|why| format!("items[{n}]: {why}"))?;
    }
    Ok(())
}

/// A template has a Pod's `metadata` and `spec` and nothing else of it.
fn pod_of_template(template: &Value) -> Value {
    let mut pod = Map::new();
    pod.insert("apiVersion".to_owned(), "v1".into());
    pod.insert("kind".to_owned(), "Pod".into());
    for member in ["metadata", "spec"] {
        if let Some(value) = template.get(member) {
            pod.insert(member.to_owned(), value.clone());
        }
    }
    Value::Object(pod)
}

fn copy_back(pod: &mut Value, template: &mut Value) {
    let Some(template) = template.as_object_mut() else { return };
    for member in ["metadata", "spec"] {
        if let Some(value) = pod.get_mut(member) {
            template.insert(member.to_owned(), value.take());
        }
    }
}
