//! `sidecarset lint`: the defaulting and validation of the webhook on files, without a cluster.

mod place;
mod report;

use std::io::Read;
use std::path::Path;
use std::process::ExitCode;

use sidecarset_core::lint;

use super::args::{LintArgs, LintOutput};
use super::printer::Printer;
use super::{FINDINGS, offline};
use crate::source::folder::{self, Files, Loaded, OtherKinds, Problem};
use place::Placed;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Severity {
    /// An API server would refuse the set, or a program could not read the file.
    Error,
    /// It is allowed and probably not meant.
    Warning,
}

impl Severity {
    fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

/// Checks the files and prints what was found. Exit code: 0 no error, 1 errors, 2 cannot run.
pub fn run(args: &LintArgs, input: &mut dyn Read, printer: &mut Printer) -> ExitCode {
    let files = match read(&args.filename, input) {
        Ok(files) => files,
        Err(why) => return printer.cannot_run(&why),
    };
    let found = findings(&files, args);
    let text = match args.output {
        LintOutput::Text => report::text(&found),
        LintOutput::Json => report::json(&found),
        LintOutput::Sarif => report::sarif(&found),
    };
    if let Err(error) = printer.data(&text) {
        return printer.cannot_run(&format_args!("cannot write to standard output: {error}"));
    }
    let errors = found.iter().filter(|placed| placed.severity == Severity::Error).count();
    let warnings = found.len() - errors;
    let files = files.count();
    printer.note(format_args!("{errors} error(s), {warnings} warning(s) in {files} file(s)"));
    if errors == 0 { ExitCode::SUCCESS } else { ExitCode::from(FINDINGS) }
}

fn read(name: &Path, input: &mut dyn Read) -> Result<Files, String> {
    let files = if name.is_dir() {
        Files::read(name).map_err(|problems| offline::list_problems(&problems))
    } else {
        offline::read_input(name, input).map(|text| Files::of_text(name, text.into_bytes()))
    };
    let files = files.map_err(|why| format!("cannot read what --filename names: {why}"))?;
    if files.count() == 0 {
        return Err(format!("--filename {}: found no *.yaml, *.yml or *.json in it", name.display()));
    }
    Ok(files)
}

/// Everything that is wrong, in the order of files and lines.
fn findings(files: &Files, args: &LintArgs) -> Vec<Placed> {
    let (Loaded { parts, cluster: _, warnings, origins }, problems) =
        folder::inspect(files, args.judging.options(), OtherKinds::AreSkipped);
    let own = origins.iter().zip(&parts.sets).flat_map(|(origin, set)| {
        lint::warnings(set.document()).into_iter().map(|finding| origin.about(set.name(), &finding))
    });
    let errors = problems.into_iter().map(|problem| (Severity::Error, problem));
    let warnings = warnings.into_iter().chain(own).map(|problem| (Severity::Warning, problem));
    let all: Vec<(Severity, Problem)> = errors.chain(warnings).collect();
    place::all(files, all)
}
