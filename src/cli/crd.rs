//! `sidecarset crd`: the CustomResourceDefinition, for `kubectl apply`.

use std::process::ExitCode;

use sidecarset_core::crd::{self, ConversionService};

use super::args::CrdArgs;
use super::printer::Printer;

/// Prints it as YAML.
pub fn run(args: &CrdArgs, printer: &mut Printer) -> ExitCode {
    let (namespace, name) = (&args.service.namespace, &args.service.name);
    let definition = crd::definition(ConversionService { namespace, name });
    let text = match serde_saphyr::to_string(&definition) {
        Ok(text) => text,
        Err(error) => return printer.cannot_run(&format_args!("cannot write YAML: {error}")),
    };
    match printer.data(&text) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => printer.cannot_run(&format_args!("cannot write to standard output: {error}")),
    }
}
