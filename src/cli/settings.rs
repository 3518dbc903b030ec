//! From the command line of a server to its settings: run with them, print them, or tell what is wrong.

use std::process::ExitCode;

use clap::{ArgMatches, Command, FromArgMatches};

use super::printer::Printer;
use super::{controller, serve};
use crate::config::environment::unknown_variables;
use crate::config::layers::{self, Environment, Layers};
use crate::config::{ControllerConfig, ServeConfig, print};

/// Reads the settings of the subcommand that was typed and runs it with them, or prints them.
pub(super) fn run(command: &Command, typed: (&str, &ArgMatches), printer: &mut Printer) -> ExitCode {
    match typed.0 {
        layers::CONTROLLER => {
            run_with(command, typed, ControllerConfig::from_layers, controller::run, printer)
        }
        _ => run_with(command, typed, ServeConfig::from_layers, serve::run, printer),
    }
}

/// `check` makes what `work` needs of what was read; `work` is also given what there is to warn about.
fn run_with<A: FromArgMatches, C>(
    command: &Command,
    typed: (&str, &ArgMatches),
    check: impl FnOnce(Layers<A>) -> Result<C, Vec<String>>,
    work: impl FnOnce(C, &[String], &mut Printer) -> ExitCode,
    printer: &mut Printer,
) -> ExitCode {
    let environment: Environment = std::env::vars_os().collect();
    let warnings = unknown_variables(command, &environment);
    let layers = match layers::read(command, typed, &environment) {
        Ok(layers) => layers,
        Err(error) => return printer.cannot_run(&error),
    };
    let only_print = typed.1.get_flag("print_config");
    let printed = only_print.then(|| print::as_yaml(&layers.settings));
    let config = check(layers);
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
        Ok(config) => work(config, &warnings, printer),
    }
}

fn told(problems: &[String]) -> String {
    match problems {
        [one] => one.clone(),
        several => format!("{} settings are wrong\n  {}", several.len(), several.join("\n  ")),
    }
}
