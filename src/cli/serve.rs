//! `sidecarset webhook`: the one place that wires server, source, certificates and logs together.

mod announce;
mod certificate;
mod client_ca;
mod source;

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use rustls::server::NoClientAuth;
use rustls::server::danger::ClientCertVerifier;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::printer::Printer;
use super::process::{bind, runtime, start_log};
use crate::config::{CertificateConfig, ServeConfig};
use crate::draw::CountingDraw;
use crate::metrics::Metrics;
use crate::server::probes::{self, Check, Readiness};
use crate::server::{self, AppState, RequestLimits};
use crate::shutdown::{Draining, Signals};
use crate::source::publish::Published;
use crate::spans::Spans;
use crate::tls::accept::ConnectionLimits;
use crate::tls::resolver::CurrentCertificate;
use crate::tls::{self, accept};

/// Longest wait for requests in flight at the end; the API server waits no longer for an answer.
const DRAIN_LIMIT: Duration = Duration::from_secs(30);

/// Serves until it is told to stop. `warnings` about the settings are logged first.
pub fn run(config: ServeConfig, warnings: &[String], printer: &mut Printer) -> ExitCode {
    match serve(config, warnings) {
        Ok(code) => code,
        Err(error) => printer.cannot_run(&error),
    }
}

fn serve(config: ServeConfig, warnings: &[String]) -> Result<ExitCode, String> {
    let metrics = Arc::new(Metrics::new(env!("CARGO_PKG_VERSION")));
    let log = start_log(config.log_format, config.log_level, &metrics, warnings)?;
    // Admissions have threads of their own, so that loading SidecarSets or a scrape cannot delay one.
    let admissions = runtime("admission", config.workers)?;
    let background = runtime("background", 1)?;
    let result = background.block_on(serve_until_signal(config, metrics, &admissions));
    admissions.shutdown_background();
    background.shutdown_background();
    drop(log);
    result
}

async fn serve_until_signal(
    config: ServeConfig,
    metrics: Arc<Metrics>,
    admissions: &Runtime,
) -> Result<ExitCode, String> {
    let mut signals = Signals::listen().map_err(|error| format!("cannot handle signals: {error}"))?;
    let draining = Arc::new(Draining::default());
    let (state, mut checks) = state(&config, &metrics, &draining).await?;
    let current = Arc::new(CurrentCertificate::default());
    checks.extend(certificate::start(&config, &current, &metrics).await?);
    let server = listen(&config, &state, current, checks, &metrics, admissions).await?;

    let signal = signals.next().await;
    tracing::info!(
        signal,
        delay_ms = config.shutdown_delay.as_millis() as u64,
        "draining; a second signal ends at once"
    );
    draining.start();
    tokio::select! {
        () = drain(server, config.shutdown_delay, state) => Ok(ExitCode::SUCCESS),
        signal = signals.next() => {
            tracing::warn!(signal, "second signal: ending at once");
            Ok(ExitCode::from(super::FINDINGS))
        }
    }
}

/// What admissions read, kept up to date from now on, and the checks of its source for `/readyz`.
async fn state(
    config: &ServeConfig,
    metrics: &Arc<Metrics>,
    draining: &Arc<Draining>,
) -> Result<(Arc<AppState>, Vec<Check>), String> {
    let published = Arc::new(Published::default());
    let source::Started { checks, namespaces, events } = source::start(config, &published, metrics).await?;
    let spans = match &config.otlp_endpoint {
        Some(endpoint) => Spans::export(endpoint, tokio::runtime::Handle::current())
            .map_err(|error| format!("--otlp-endpoint: {error}"))?,
        None => Spans::none(),
    };
    let mut state = AppState::new(
        published,
        Arc::clone(metrics),
        Arc::clone(draining),
        Box::new(CountingDraw::default()),
        config.features,
        config.validation,
        RequestLimits {
            in_flight: config.max_in_flight,
            body_bytes_in_flight: config.max_body_bytes_in_flight,
            ..RequestLimits::default()
        },
    );
    if let Some(events) = events {
        state = state.telling(events);
    }
    Ok((Arc::new(state.with_live_namespaces(namespaces).tracing(spans)), checks))
}

/// The server of admissions, and how to stop it.
struct Server {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

/// Starts both servers: admissions on threads of their own, probes on the current runtime.
async fn listen(
    config: &ServeConfig,
    state: &Arc<AppState>,
    current: Arc<CurrentCertificate>,
    checks: Vec<Check>,
    metrics: &Arc<Metrics>,
    admissions: &Runtime,
) -> Result<Server, String> {
    let clients: Arc<dyn ClientCertVerifier> = match &config.client_ca {
        Some(file) => client_ca::start(file, metrics)?,
        None => Arc::new(NoClientAuth),
    };
    let tls =
        tls::server_config_with(current, clients).map_err(|error| format!("cannot set up TLS: {error}"))?;
    let (probe_listener, probe_address) = bind("--probe-listen", config.probe_listen).await?;
    let (stop, stop_rx) = oneshot::channel();
    let (address, task) = {
        // Sockets belong to the runtime that they are made in.
        let _in_admissions = admissions.enter();
        let (listener, address) = bind("--listen", config.listen).await?;
        let stop = async move { _ = stop_rx.await };
        let app = server::app(Arc::clone(state));
        let app = if config.client_ca.is_some() { client_ca::guard(app) } else { app };
        let connections = metrics.connections.clone();
        let limits = ConnectionLimits { age: config.connection_age, ..ConnectionLimits::default() };
        let serving = accept::serve(listener, tls, app, limits, connections, stop);
        (address, admissions.spawn(serving))
    };
    let readiness = Readiness::new(state, checks);
    let mut probe_app = probes::app(Arc::clone(state), Arc::clone(&readiness));
    if let Some(configuration) = &config.debug {
        probe_app = probe_app.merge(server::debug::routes(Arc::clone(state), configuration.clone()));
    }
    tokio::spawn(accept::serve_plain(probe_listener, probe_app, ConnectionLimits::of_probes()));
    let place = place(&config.certificate, address, probe_address);
    tokio::spawn(announce::run(place, readiness, Arc::clone(state)));
    Ok(Server { stop, task })
}

/// Goes on for `delay`, as API servers take a while to look elsewhere, then lets requests in flight end.
async fn drain(mut server: Server, delay: Duration, state: Arc<AppState>) {
    tokio::time::sleep(delay).await;
    // The server is gone only if it has ended by itself, and then there is nothing to stop.
    let _ = server.stop.send(());
    let ended = tokio::time::timeout(DRAIN_LIMIT, &mut server.task).await;
    // A panic was reported by its hook, and ending is what is wanted.
    let _ = tokio::task::spawn_blocking(move || state.spans.flush()).await;
    match ended {
        Ok(_) => tracing::info!("drained"),
        Err(_elapsed) => {
            tracing::warn!(limit = ?DRAIN_LIMIT, "requests were still in flight at the end of the drain")
        }
    }
}

/// Calls `step` on a thread that may block, again and again, for as long as the runtime lives. A panic in it is logged by
/// the panic hook and does not end the series.
async fn every<T: Send + 'static>(
    period: Duration,
    subject: T,
    step: impl Fn(&mut T) + Clone + Send + 'static,
) {
    let subject = Arc::new(std::sync::Mutex::new(subject));
    loop {
        tokio::time::sleep(period).await;
        let (subject, step) = (Arc::clone(&subject), step.clone());
        let run = move || {
            step(&mut subject.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
        };
        if tokio::task::spawn_blocking(run).await.is_err() {
            tracing::error!("a periodic task failed; it is tried again");
        }
    }
}

/// Where we are: what a person needs for curl, and what scripts look for.
fn place(certificate: &CertificateConfig, address: SocketAddr, probe_address: SocketAddr) -> String {
    let trust = match certificate {
        CertificateConfig::SelfMade { ca_out: Some(file), .. } => format!("CA in {}", file.display()),
        CertificateConfig::SelfMade { ca_out: None, .. } => "self-made CA, write it with --ca-out".to_owned(),
        CertificateConfig::Managed(managed) => format!("certificate in Secret {}", managed.secret),
        CertificateConfig::Folder(dir) => format!("certificate from {}", dir.display()),
    };
    format!(
        "https://{address}/mutate-pod ({trust}); probes and metrics: http://{probe_address}/readyz?verbose"
    )
}
