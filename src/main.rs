//! Entry point of the `sidecarset` binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    sidecarset::cli::main()
}
