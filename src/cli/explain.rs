//! `sidecarset explain`: which sets a Pod gets and why, told to a person or a program.

use std::io::Read;
use std::process::ExitCode;

use sidecarset_core::explain::{Explanation, explain};
use sidecarset_core::pod::PodLook;

use super::FINDINGS;
use super::args::{ExplainArgs, ExplainOutput};
use super::offline::{self, load_snapshot, parse_input, read_input};
use super::printer::Printer;

/// Explains every Pod and Pod template of a file. Exit code 1 tells that one of them would be denied.
pub fn run(args: &ExplainArgs, input: &mut dyn Read, printer: &mut Printer) -> ExitCode {
    let result = explanations(args, input).and_then(|explanations| {
        let denied = explanations.iter().any(|explanation| explanation.verdict == "denied");
        Ok((text(args.output, &explanations)?, denied))
    });
    match result {
        Ok((text, denied)) => match printer.data(&text) {
            Ok(()) if denied => ExitCode::from(FINDINGS),
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => printer.cannot_run(&format_args!("cannot write to standard output: {error}")),
        },
        Err(why) => printer.cannot_run(&why),
    }
}

fn explanations(args: &ExplainArgs, input: &mut dyn Read) -> Result<Vec<Explanation>, String> {
    let snapshot = load_snapshot(&args.file.sidecarsets, args.file.judging.options())?;
    let text = read_input(&args.file.filename, input)?;
    let mut documents = parse_input(&args.file.filename, &text)?;
    let mut explanations = Vec::new();
    offline::for_each_pod(
        &args.file.filename,
        &mut documents,
        &args.file.namespace,
        &mut |pod, namespace, who| {
            let text = pod.to_string();
            let look = PodLook::from_json(&text)
                .map_err(|error| format!("{who}: no Pod that can be read: {error}"))?;
            let (request, context) =
                (offline::creation(namespace), offline::context(args.file.judging.feature_gates.features));
            let mut explanation = explain(&request, &look, &snapshot, &context)
                .map_err(|_| format!("namespace {namespace:?} is not in the folder; add it"))?;
            who.clone_into(&mut explanation.pod);
            explanations.push(explanation);
            Ok(())
        },
    )?;
    if explanations.is_empty() {
        return Err(format!("{}: found no Pod and no Pod template", args.file.filename.display()));
    }
    Ok(explanations)
}

fn text(output: ExplainOutput, explanations: &[Explanation]) -> Result<String, String> {
    match output {
        ExplainOutput::Text => {
            let texts: Vec<String> = explanations.iter().map(ToString::to_string).collect();
            Ok(texts.join("\n"))
        }
        ExplainOutput::Json => serde_json::to_string_pretty(explanations)
            .map(|json| json + "\n")
            .map_err(|error| format!("cannot write JSON: {error}")),
    }
}
