//! The command line: one module a command. Exit codes: 0 done, 1 findings (something was denied), 2 cannot run.

pub mod args;
pub mod crd;
pub mod explain;
pub mod inject;
pub mod lint;
mod offline;
pub mod printer;
pub mod serve;

use std::process::ExitCode;

use clap::Parser;

use crate::config::ServeConfig;
use args::{Args, Command};
use printer::Printer;

/// Something was denied.
pub const FINDINGS: u8 = 1;
/// The command could not do its work.
pub const CANNOT_RUN: u8 = 2;

/// Parses the arguments of the process and runs the command.
#[must_use]
pub fn main() -> ExitCode {
    let args = Args::parse();
    let mut printer = Printer::for_process();
    match args.command {
        Command::Webhook(args) => match ServeConfig::from_args(*args) {
            Ok(config) => serve::run(config, &mut printer),
            Err(error) => printer.cannot_run(&error),
        },
        Command::Crd(args) => crd::run(&args, &mut printer),
        Command::Explain(args) => explain::run(&args, &mut std::io::stdin().lock(), &mut printer),
        Command::Lint(args) => lint::run(&args, &mut std::io::stdin().lock(), &mut printer),
        Command::Inject(args) => inject::run(&args, &mut std::io::stdin().lock(), &mut printer),
    }
}
