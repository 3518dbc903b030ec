//! From the command line of `sidecarset webhook` to its settings: run with them, print them, or tell what is wrong.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{ArgMatches, Command};

use super::printer::Printer;
use super::serve;
use crate::config::environment::unknown_variables;
use crate::config::layers::{self, Environment};
use crate::config::{ServeConfig, print};

/// Reads the settings and serves with them, or prints them.
pub(super) fn run(command: &Command, typed: &ArgMatches, printer: &mut Printer) -> ExitCode {
    let environment: Environment =
        std::env::vars_os().collect::<std::collections::BTreeMap<OsString, OsString>>();
    let warnings = unknown_variables(command, &environment);
    let layers = match layers::read(command, typed, &environment) {
        Ok(layers) => layers,
        Err(error) => return printer.cannot_run(&error),
    };
    let only_print = layers.args.print_config;
    let printed = only_print.then(|| print::as_yaml(&layers.settings));
    let config = ServeConfig::from_layers(layers);
    if let Some(text) = printed
        && let Err(error) = printer.data(&text)
    {
        return printer.cannot_run(&format_args!("cannot write to standard output: {error}"));
    }
    match config {
        Err(problems) => printer.cannot_run(&told(&problems)),
        Ok(_) if only_print => {
            for warning in warnings {
                printer.note(format_args!("warning: {warning}"));
            }
            ExitCode::SUCCESS
        }
        Ok(config) => serve::run(config, &warnings, printer),
    }
}

fn told(problems: &[String]) -> String {
    match problems {
        [one] => one.clone(),
        several => format!("{} settings are wrong\n  {}", several.len(), several.join("\n  ")),
    }
}
