//! `sidecarset inject`: the rules of the webhook on a file, without a cluster.
//!
//! Nothing is printed to stdout unless every Pod could be injected, so that a pipe into `kubectl apply` gets all or nothing.

use std::io::Read;
use std::process::ExitCode;

use serde_json::Value;
use sidecarset_core::admission::{self, Verdict};
use sidecarset_core::context::Features;
use sidecarset_core::pod::PodLook;
use sidecarset_core::snapshot::Snapshot;

use super::FINDINGS;
use super::args::{InjectArgs, Output};
use super::offline::{self, load_snapshot, parse_input, read_input};
use super::printer::Printer;

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
    let snapshot = load_snapshot(&args.file.sidecarsets, args.file.judging.options())?;
    let text = read_input(&args.file.filename, input)?;
    let mut documents = parse_input(&args.file.filename, &text)?;
    let mut injector = Injector {
        snapshot: &snapshot,
        features: args.file.judging.feature_gates.features,
        patches: Vec::new(),
        denied: false,
        printer,
    };
    offline::for_each_pod(
        &args.file.filename,
        &mut documents,
        &args.file.namespace,
        &mut |pod, namespace, who| injector.pod(pod, namespace, who),
    )?;
    let Injector { patches, denied, .. } = injector;
    if denied { Ok(None) } else { print(args.output, &documents, &patches).map(Some) }
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
    /// One patch a Pod, in the order of the input.
    patches: Vec<String>,
    denied: bool,
    printer: &'a mut Printer,
}

impl Injector<'_> {
    fn pod(&mut self, pod: &mut Value, namespace: &str, who: &str) -> Result<(), String> {
        let text = pod.to_string();
        let look = match PodLook::from_json(&text) {
            Ok(look) => look,
            Err(error) => {
                self.deny(who, &format!("no Pod that can be read: {error}"));
                return Ok(());
            }
        };
        let request = offline::creation(namespace);
        let context = offline::context(self.features);
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
