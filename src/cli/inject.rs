//! `sidecarset inject`: the rules of the webhook on a file, without a cluster.
//!
//! Nothing is printed to stdout unless every Pod could be injected, so that a pipe into `kubectl apply` gets all or nothing.

use std::io::Read;
use std::path::Path;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value};
use sidecarset_core::admission::{self, Request, Verdict};
use sidecarset_core::context::{Context, Features, FirstPod};
use sidecarset_core::pod::PodLook;
use sidecarset_core::snapshot::Snapshot;

use super::FINDINGS;
use super::args::{InjectArgs, Output};
use super::printer::Printer;
use crate::source::documents::{self, kind_of};
use crate::source::folder::{self, Files, Problem};

/// Reads documents, injects into every Pod and Pod template in them, and prints the result.
pub fn run(args: &InjectArgs, input: &mut dyn Read, printer: &mut Printer) -> ExitCode {
    match inject(args, input, printer) {
        Ok(Some(text)) => match printer.data(&text) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => printer.cannot_run(&format_args!("cannot write to standard output: {error}")),
        },
        Ok(None) => ExitCode::from(FINDINGS),
        Err(why) => printer.cannot_run(&why),
    }
}

/// The text to print, or `None` if a Pod was denied, which has been said by then.
fn inject(args: &InjectArgs, input: &mut dyn Read, printer: &mut Printer) -> Result<Option<String>, String> {
    let snapshot = load_snapshot(&args.sidecarsets)?;
    let text = read_input(&args.filename, input)?;
    let mut documents = parse_input(&args.filename, &text)?;
    let mut injector = Injector {
        snapshot: &snapshot,
        features: args.feature_gates,
        default_namespace: &args.namespace,
        now_unix: now_unix(),
        patches: Vec::new(),
        denied: false,
        printer,
    };
    for (n, document) in documents.iter_mut().enumerate() {
        injector
            .document(document)
            .map_err(|why| format!("{}: document {}: {why}", args.filename.display(), n + 1))?;
    }
    let Injector { patches, denied, .. } = injector;
    if denied { Ok(None) } else { print(args.output, &documents, &patches).map(Some) }
}

fn load_snapshot(dir: &Path) -> Result<Snapshot, String> {
    let parts = Files::read(dir).and_then(|files| folder::load(&files));
    let parts =
        parts.map_err(|problems| format!("--sidecarsets {}:{}", dir.display(), list_problems(&problems)))?;
    Ok(Snapshot::new(parts))
}

fn list_problems(problems: &[Problem]) -> String {
    problems.iter().map(|problem| format!("\n  {problem}")).collect()
}

fn read_input(file: &Path, input: &mut dyn Read) -> Result<String, String> {
    let wrong = |error| format!("--filename {}: cannot read: {error}", file.display());
    if file == Path::new("-") {
        let mut text = String::new();
        input.read_to_string(&mut text).map_err(wrong)?;
        return Ok(text);
    }
    std::fs::read_to_string(file).map_err(wrong)
}

fn parse_input(file: &Path, text: &str) -> Result<Vec<Value>, String> {
    let mut good = Vec::new();
    let mut problems = Vec::new();
    for document in documents::parse(text) {
        match document {
            Ok(value) => good.push(value),
            Err(error) => problems.push(Problem {
                file: file.to_owned(),
                document: Some(error.document),
                detail: error.detail,
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

fn now_unix() -> i64 {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    i64::try_from(since_1970).unwrap_or_default()
}

fn print(output: Output, documents: &[Value], patches: &[String]) -> Result<String, String> {
    match output {
        Output::Yaml => {
            serde_saphyr::to_string_multiple(documents).map_err(|error| format!("cannot write YAML: {error}"))
        }
        Output::Json => documents.iter().map(|document| Ok(format!("{}\n", pretty(document)?))).collect(),
        Output::Patch => Ok(patches.iter().map(|patch| format!("{patch}\n")).collect()),
    }
}

fn pretty(document: &Value) -> Result<String, String> {
    serde_json::to_string_pretty(document).map_err(|error| format!("cannot write JSON: {error}"))
}

struct Injector<'a> {
    snapshot: &'a Snapshot,
    features: Features,
    default_namespace: &'a str,
    now_unix: i64,
    /// One patch a Pod, in the order of the input.
    patches: Vec<String>,
    denied: bool,
    printer: &'a mut Printer,
}

impl Injector<'_> {
    /// Injects in place. A document without Pods stays as it is.
    fn document(&mut self, document: &mut Value) -> Result<(), String> {
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
            ("", "List") => return self.list(document),
            _ => return Ok(()),
        };
        let text = |pointer| document.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let namespace = match text("/metadata/namespace") {
            "" => self.default_namespace.to_owned(),
            named => named.to_owned(),
        };
        let name =
            if text("/metadata/name").is_empty() { "/metadata/generateName" } else { "/metadata/name" };
        let who = format!("{kind} {namespace}/{}", text(name));
        let pod = document.pointer_mut(template).filter(|found| found.is_object()).ok_or_else(|| {
            format!(
                "{}: not found; a {who} has its Pods there",
                template.trim_start_matches('/').replace('/', ".")
            )
        })?;
        if template.is_empty() {
            return self.pod(pod, &namespace, &who);
        }
        let mut whole = pod_of_template(pod);
        self.pod(&mut whole, &namespace, &who)?;
        copy_back(&mut whole, pod);
        Ok(())
    }

    fn list(&mut self, list: &mut Value) -> Result<(), String> {
        let items = list.get_mut("items").and_then(Value::as_array_mut).map(Vec::as_mut_slice);
        for (n, item) in items.unwrap_or_default().iter_mut().enumerate() {
            self.document(item).map_err(|why| format!("items[{n}]: {why}"))?;
        }
        Ok(())
    }

    fn pod(&mut self, pod: &mut Value, namespace: &str, who: &str) -> Result<(), String> {
        let text = pod.to_string();
        let look = match PodLook::from_json(&text) {
            Ok(look) => look,
            Err(error) => {
                self.deny(who, &format!("no Pod that can be read: {error}"));
                return Ok(());
            }
        };
        let request = Request {
            operation: "CREATE",
            group: "",
            resource: "pods",
            sub_resource: "",
            namespace,
            dry_run: true,
        };
        let context = Context {
            now_unix: self.now_unix,
            features: self.features,
            draw: &FirstPod,
            live_namespace: None,
        };
        let decision = admission::admit(&request, &look, self.snapshot, &context)
            .map_err(|_| format!("namespace {namespace:?} is not in the folder; add it"))?;
        for warning in &decision.warnings {
            self.printer.note(format_args!("warning: {who}: {warning}"));
        }
        match decision.verdict {
            Verdict::Unchanged => self.patches.push("[]".to_owned()),
            Verdict::Denied(denial) => self.deny(who, &denial.message),
            Verdict::Patch(patch) => {
                apply(&patch, pod).map_err(|error| {
                    format!("{who}: the patch does not apply, which is a defect of sidecarset: {error}")
                })?;
                self.patches.push(patch);
            }
        }
        Ok(())
    }

    fn deny(&mut self, who: &str, message: &str) {
        self.denied = true;
        self.printer.note(format_args!("denied: {who}: {message}"));
    }
}

fn apply(patch: &str, document: &mut Value) -> Result<(), String> {
    let patch: json_patch::Patch = serde_json::from_str(patch).map_err(|error| error.to_string())?;
    json_patch::patch(document, &patch).map_err(|error| error.to_string())
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
