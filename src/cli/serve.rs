//! `sidecarset webhook`: the one place that wires server, source, certificates and logs together.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;

use super::printer::Printer;
use crate::config::{CertificateConfig, ServeConfig};
use crate::draw::CountingDraw;
use crate::metrics::Metrics;
use crate::server::probes::Check;
use crate::server::{self, AppState, RequestLimits, probes};
use crate::shutdown::{Draining, Signals};
use crate::source::publish::Published;
use crate::source::reload::{Change, FolderSource};
use crate::telemetry;
use crate::tls::accept::ConnectionLimits;
use crate::tls::resolver::CurrentCertificate;
use crate::tls::self_made::SelfMade;
use crate::tls::source::{CertificateSource, Keeper, PairFolder};
use crate::tls::{self, accept};

/// How often the folder of SidecarSets is compared with the Snapshot.
const FOLDER_POLL: Duration = Duration::from_secs(1);
/// How often the serving certificate is compared with its source.
const CERTIFICATE_POLL: Duration = Duration::from_secs(5);
/// Longest wait for requests in flight at the end; the API server waits no longer for an answer.
const DRAIN_LIMIT: Duration = Duration::from_secs(30);

/// Serves until it is told to stop.
pub fn run(config: ServeConfig, printer: &mut Printer) -> ExitCode {
    match serve(config) {
        Ok(code) => code,
        Err(error) => printer.cannot_run(&error),
    }
}

fn serve(config: ServeConfig) -> Result<ExitCode, String> {
    let metrics = Arc::new(Metrics::new(env!("CARGO_PKG_VERSION")));
    let log = telemetry::start(config.log_format, config.log_level, metrics.log_lines_dropped.clone())
        .map_err(|error| format!("cannot start logging: {error}"))?;
    // Admissions have threads of their own, so that loading SidecarSets or a scrape cannot delay one.
    let admissions = runtime("admission", config.workers)?;
    let background = runtime("background", 1)?;
    let result = background.block_on(serve_until_signal(config, metrics, &admissions));
    admissions.shutdown_background();
    background.shutdown_background();
    drop(log);
    result
}

fn runtime(name: &str, threads: usize) -> Result<Runtime, String> {
    Builder::new_multi_thread()
        .thread_name(name)
        .worker_threads(threads)
        .enable_all()
        .build()
        .map_err(|error| format!("cannot start the {name} threads: {error}"))
}

async fn serve_until_signal(
    config: ServeConfig,
    metrics: Arc<Metrics>,
    admissions: &Runtime,
) -> Result<ExitCode, String> {
    let mut signals = Signals::listen().map_err(|error| format!("cannot handle signals: {error}"))?;
    let published = Arc::new(Published::default());
    let certificate = Arc::new(CurrentCertificate::default());
    let draining = Arc::new(Draining::default());

    let source = load_source(&config, &published, &metrics)?;
    let keeper = load_certificate(&config.certificate, &certificate, &metrics)?;
    let tls = tls::server_config(Arc::clone(&certificate) as Arc<_>)
        .map_err(|error| format!("cannot set up TLS: {error}"))?;

    let limits = RequestLimits { in_flight: config.max_in_flight, ..RequestLimits::default() };
    let draw = Box::new(CountingDraw::default());
    let state = Arc::new(AppState::new(
        published,
        Arc::clone(&metrics),
        Arc::clone(&draining),
        draw,
        config.features,
        config.validation,
        limits,
    ));

    let (probe_listener, probe_address) = bind("--probe-listen", config.probe_listen).await?;
    let (stop_tx, stop_rx) = oneshot::channel();
    let (address, mut server) = {
        // Sockets belong to the runtime that they are made in.
        let _in_admissions = admissions.enter();
        let (listener, address) = bind("--listen", config.listen).await?;
        let stop = async move { _ = stop_rx.await };
        let app = server::app(Arc::clone(&state));
        (address, admissions.spawn(accept::serve(listener, tls, app, ConnectionLimits::default(), stop)))
    };

    let checks: Vec<Check> = vec![("certificate", Box::new(move || certificate.is_loaded()))];
    let probe_app = probes::app(state, checks);
    tokio::spawn(async move { axum::serve(probe_listener, probe_app).await });
    let for_source = Arc::clone(&metrics);
    tokio::spawn(every(FOLDER_POLL, source, move |source| look_at_source(source, &for_source)));
    tokio::spawn(every(CERTIFICATE_POLL, keeper, move |keeper| look_at_certificate(keeper, &metrics)));
    announce(&config.certificate, address, probe_address);

    let signal = signals.next().await;
    tracing::info!(signal, delay = ?config.shutdown_delay, "draining; a second signal ends at once");
    draining.start();
    let drain = async {
        tokio::time::sleep(config.shutdown_delay).await;
        // The server is gone only if it has ended by itself, and then there is nothing to stop.
        let _ = stop_tx.send(());
        tokio::time::timeout(DRAIN_LIMIT, &mut server).await
    };
    tokio::select! {
        ended = drain => match ended {
            Ok(_) => tracing::info!("drained"),
            Err(_elapsed) => tracing::warn!(limit = ?DRAIN_LIMIT, "requests were still in flight at the end of the drain"),
        },
        signal = signals.next() => {
            tracing::warn!(signal, "second signal: ending at once");
            return Ok(ExitCode::from(super::FINDINGS));
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn bind(flag: &str, address: SocketAddr) -> Result<(TcpListener, SocketAddr), String> {
    let wrong = |error| format!("{flag} {address}: {error}; name a free port on an address of this machine");
    let listener = TcpListener::bind(address).await.map_err(wrong)?;
    let bound = listener.local_addr().map_err(wrong)?;
    Ok((listener, bound))
}

/// Loads the folder for the first time: what does not load now is an error, not a state to keep.
fn load_source(
    config: &ServeConfig,
    published: &Arc<Published>,
    metrics: &Metrics,
) -> Result<FolderSource, String> {
    let dir = &config.sidecarsets;
    let mut source = FolderSource::new(dir.clone(), Arc::clone(published), config.validation);
    match source.check() {
        Change::Published(sets) => note_published(sets, metrics),
        Change::Failed(problems) => {
            let mut text = format!("--sidecarsets {}: {} problem(s)", dir.display(), problems.len());
            for problem in problems {
                // Writing to a String does not fail.
                let _ = write!(text, "\n  {problem}");
            }
            return Err(text);
        }
        Change::None | Change::StillFailed => {}
    }
    Ok(source)
}

fn look_at_source(source: &mut FolderSource, metrics: &Metrics) {
    match source.check() {
        Change::None => {
            metrics.source_last_success.set(now());
        }
        Change::Published(sets) => note_published(sets, metrics),
        Change::Failed(problems) => {
            metrics.source_reload_failures.inc();
            for problem in problems {
                tracing::error!(%problem, "the folder of SidecarSets does not load; the last good state stays");
            }
        }
        Change::StillFailed => {}
    }
}

fn note_published(sets: usize, metrics: &Metrics) {
    metrics.sidecarsets.set(i64::try_from(sets).unwrap_or(i64::MAX));
    metrics.source_last_success.set(now());
    if sets == 0 {
        tracing::warn!("the folder holds no SidecarSet: no Pod will be changed");
    } else {
        tracing::info!(sets, "SidecarSets loaded");
    }
}

fn load_certificate(
    config: &CertificateConfig,
    current: &Arc<CurrentCertificate>,
    metrics: &Metrics,
) -> Result<Keeper, String> {
    let (flag, source): (_, Box<dyn CertificateSource>) = match config {
        CertificateConfig::Folder(dir) => ("--cert-dir", Box::new(PairFolder::new(dir))),
        CertificateConfig::SelfMade { hosts, ca_out } => {
            let made = SelfMade::new(hosts.clone()).map_err(|error| format!("--cert-host: {error}"))?;
            if let Some(file) = ca_out {
                std::fs::write(file, made.ca_pem())
                    .map_err(|error| format!("--ca-out {}: cannot write: {error}", file.display()))?;
            }
            ("--cert-host", Box::new(made))
        }
    };
    let mut keeper = Keeper::new(source, Arc::clone(current));
    match keeper.check() {
        Ok(Some(not_after)) => note_certificate(not_after, metrics),
        Ok(None) => {}
        Err(error) => return Err(format!("{flag}: {error}")),
    }
    Ok(keeper)
}

fn look_at_certificate(keeper: &mut Keeper, metrics: &Metrics) {
    match keeper.check() {
        Ok(Some(not_after)) => {
            note_certificate(not_after, metrics);
            tracing::info!(not_after_unix = not_after, "serving certificate replaced");
        }
        Ok(None) => {}
        Err(error) => {
            metrics.certificate_reload_failures.inc();
            tracing::error!(%error, "the serving certificate does not load; the last good one stays");
        }
    }
}

fn note_certificate(not_after_unix: i64, metrics: &Metrics) {
    metrics.certificate_expiry.set(not_after_unix as f64);
    if (not_after_unix as f64) < now() {
        tracing::warn!(not_after_unix, "the serving certificate has ended: clients will refuse it");
    }
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
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

/// One line that says where we are: what a person needs for curl, and what scripts wait for.
fn announce(certificate: &CertificateConfig, address: SocketAddr, probe_address: SocketAddr) {
    let trust = match certificate {
        CertificateConfig::SelfMade { ca_out: Some(file), .. } => format!("CA in {}", file.display()),
        CertificateConfig::SelfMade { ca_out: None, .. } => "self-made CA, write it with --ca-out".to_owned(),
        CertificateConfig::Folder(dir) => format!("certificate from {}", dir.display()),
    };
    tracing::info!(
        "ready: https://{address}/mutate-pod ({trust}); probes and metrics: http://{probe_address}/readyz?verbose"
    );
}
