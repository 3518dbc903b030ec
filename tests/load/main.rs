//! The yardstick: load as an API server makes it (`load`), a server with a fixed answer on our own stack (`fixed`), and
//! the two of them with `sidecarset webhook` in one interleaved run (`compare`). `docs/performance.md` says how to read it.

mod args;
#[allow(dead_code, reason = "the soak of tests/cluster has this module too and uses another part of it")]
mod client;
mod compare;
mod fixed;
mod load;
mod process;
mod statistics;

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;

use args::{Args, Command};

/// A gate was missed, or an answer was not what it has to be.
const FINDINGS: u8 = 1;
/// The command could not do its work.
const CANNOT_RUN: u8 = 2;

fn main() -> ExitCode {
    let result = match Args::parse().command {
        Command::Fixed(args) => fixed::run(&args).map(|()| true),
        Command::Load(args) => load::run(&args),
        Command::Compare(args) => compare::run(&args),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(FINDINGS),
        Err(error) => {
            // If stderr is closed, the exit code says it alone.
            let _ = writeln!(std::io::stderr(), "error: {error}");
            ExitCode::from(CANNOT_RUN)
        }
    }
}
