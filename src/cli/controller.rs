//! `sidecarset controller`: wires client, watches, election, probes and logs together.

use std::process::ExitCode;
use std::sync::Arc;

use super::printer::Printer;
use super::process::{bind, runtime, start_log};
use crate::clock::since_1970;
use crate::cluster::client::{self, MayWrite};
use crate::cluster::identity::Identity;
use crate::config::{ClusterConfig, ControllerConfig};
use crate::controller::leader::{Leadership, Terms};
use crate::controller::{Controller, Settings};
use crate::metrics::Metrics;
use crate::server::probes::{self, Check, Health};
use crate::shutdown::Signals;
use crate::tls::accept::{self, ConnectionLimits};

/// Works until it is told to stop. `warnings` about the settings are logged first. Exit code: 0 stopped, 1 it ended by itself, mostly
/// because the Lease was lost, 2 cannot run.
pub fn run(config: ControllerConfig, warnings: &[String], printer: &mut Printer) -> ExitCode {
    match start(config, warnings) {
        Ok(code) => code,
        Err(error) => printer.cannot_run(&error),
    }
}

fn start(config: ControllerConfig, warnings: &[String]) -> Result<ExitCode, String> {
    let metrics = Arc::new(Metrics::for_controller(env!("CARGO_PKG_VERSION")));
    let log = start_log(config.log_format, config.log_level, &metrics, warnings)?;
    let runtime = runtime("controller", 2)?;
    let result = runtime.block_on(work(config, metrics));
    runtime.shutdown_background();
    drop(log);
    result
}

async fn work(config: ControllerConfig, metrics: Arc<Metrics>) -> Result<ExitCode, String> {
    let mut signals = Signals::listen().map_err(|error| format!("cannot handle signals: {error}"))?;
    let leadership = Arc::<Leadership>::default();
    let asked = Arc::clone(&leadership);
    let may_write: MayWrite = Arc::new(move || asked.check().map_err(Into::into));
    let clients = client::connect_for_leader(config.cluster.kubeconfig.as_deref(), "controller", may_write);
    let clients = clients.await.map_err(|error| error.to_string())?;
    let (probe_listener, address) = bind("--probe-listen", config.probe_listen).await?;
    let controller = Controller::new(clients, leadership, settings(config), metrics.controller.clone());
    let for_check = Arc::clone(&controller);
    // A replica that waits for the Lease is ready too: it is what a rolling restart waits for.
    let synced = Check::new("watches", move || {
        let leads = if for_check.leads() { "this replica leads" } else { "this replica does not lead" };
        Health { holds: for_check.is_synced(), detail: leads.to_owned() }
    });
    let app = probes::without_admissions(metrics, vec![synced]);
    tokio::spawn(accept::serve_plain(probe_listener, app, ConnectionLimits::of_probes()));
    tracing::info!("started; probes and metrics: http://{address}/readyz?verbose");
    let stop = async {
        let signal = signals.next().await;
        tracing::info!(signal, "ending");
    };
    match controller.run(stop).await {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(_told) => Ok(ExitCode::from(super::FINDINGS)),
    }
}

fn settings(config: ControllerConfig) -> Settings {
    let ControllerConfig {
        cluster: ClusterConfig { kubeconfig: _, identity: Identity { namespace, pod }, revision_namespace },
        lease,
        lease_duration,
        workers,
        kube_api_qps,
        kube_api_burst,
        resync,
        service,
        webhook_configuration,
        terminator,
        probe_listen: _,
        log_format: _,
        log_level: _,
    } = config;
    let terms =
        Terms { lease: lease_duration, renew_deadline: lease_duration * 2 / 3, retry: lease_duration / 10 };
    Settings {
        revision_namespace,
        // Two processes on one machine are two candidates, and so is an earlier one with the same number.
        identity: format!("{pod}_{}_{:x}", std::process::id(), since_1970().as_nanos()),
        namespace,
        lease,
        terms,
        workers,
        qps: kube_api_qps,
        burst: kube_api_burst,
        resync,
        service,
        webhook_configuration,
        terminator,
    }
}
