//! What the commands have in common that a person runs against a cluster.

use std::process::ExitCode;

use kube::Client;

use super::args::ConnectArgs;
use super::printer::Printer;
use crate::cluster::client;

/// Connects as kubectl does and lets `work` do the rest. `command` is what API servers see in the user agent. Exit code 2 tells that
/// no cluster can be asked.
pub(super) fn on_cluster(
    args: &ConnectArgs,
    command: &str,
    printer: &mut Printer,
    work: impl AsyncFnOnce(Client, &mut Printer) -> ExitCode,
) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return printer.cannot_run(&format_args!("cannot start: {error}")),
    };
    runtime.block_on(async {
        let ConnectArgs { kubeconfig, context } = args;
        match client::connect_as_kubectl(kubeconfig.as_deref(), context.as_deref(), command).await {
            Ok(client) => work(client, printer).await,
            Err(error) => printer.cannot_run(&error),
        }
    })
}
