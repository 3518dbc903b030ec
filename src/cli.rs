//! The command line: one module a command. Exit codes: 0 done, 1 findings (something was denied), 2 cannot run.

pub mod args;
pub mod controller;
pub mod crd;
pub mod explain;
pub mod inject;
pub mod lint;
mod offline;
mod on_cluster;
pub mod preflight;
pub mod printer;
mod process;
pub mod rollout;
pub mod serve;
mod settings;
pub mod status;

use std::io::IsTerminal as _;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};

use crate::config::layers;
use args::{Args, Command};
use printer::Printer;

/// Something was denied.
pub const FINDINGS: u8 = 1;
/// The command could not do its work.
pub const CANNOT_RUN: u8 = 2;

/// Parses the arguments of the process and runs the command.
#[must_use]
pub fn main() -> ExitCode {
    let mut printer = Printer::for_process();
    let command = Args::command();
    let typed = layers::without_judging(command.clone()).try_get_matches();
    if let Ok(typed) = &typed
        && let Some(server) = layers::typed_subcommand(typed)
    {
        return settings::run(&command, server, &mut printer);
    }
    // Whatever clap has to say about the rest, help included, it says itself.
    match Args::parse().command {
        // Not reached: what clap takes was taken above too.
        Command::Webhook(_) | Command::Controller(_) => {
            printer.cannot_run(&"the command line is not understood")
        }
        Command::Crd(args) => crd::run(&args, &mut printer),
        Command::Preflight(args) => {
            let coloured = std::io::stdout().is_terminal()
                && std::env::var_os("NO_COLOR").is_none_or(|it| it.is_empty());
            preflight::run(&args, coloured, &mut printer)
        }
        Command::Status(args) => status::run(&args, std::io::stdout().is_terminal(), &mut printer),
        Command::Rollout(args) => rollout::run(&args, &mut printer),
        Command::Explain(args) => explain::run(&args, &mut std::io::stdin().lock(), &mut printer),
        Command::Lint(args) => lint::run(&args, &mut std::io::stdin().lock(), &mut printer),
        Command::Inject(args) => inject::run(&args, &mut std::io::stdin().lock(), &mut printer),
    }
}
