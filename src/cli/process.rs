//! What the servers have in common as processes: log, threads, sockets.

use std::net::SocketAddr;

use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tracing::level_filters::LevelFilter;

use crate::metrics::Metrics;
use crate::telemetry::{self, LogFormat, LogGuard};

/// Starts logging; `warnings` about the settings come first. The log is complete only once the returned guard was dropped.
pub(super) fn start_log(
    format: LogFormat,
    level: LevelFilter,
    metrics: &Metrics,
    warnings: &[String],
) -> Result<LogGuard, String> {
    let log = telemetry::start(format, level, metrics.log_lines_dropped.clone())
        .map_err(|error| format!("cannot start logging: {error}"))?;
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    Ok(log)
}

/// So many threads of that name, and as many for work that takes milliseconds. By default those could be hundreds, and each keeps
/// memory for itself: with several, 1,000 SidecarSets needed 8 MB more after some changes.
pub(super) fn runtime(name: &str, threads: usize) -> Result<Runtime, String> {
    Builder::new_multi_thread()
        .thread_name(name)
        .worker_threads(threads)
        .max_blocking_threads(threads)
        .enable_all()
        .build()
        .map_err(|error| format!("cannot start the {name} threads: {error}"))
}

/// Listens, and gives the address where: port 0 is any that is free. `flag` is named where that does not work.
pub(super) async fn bind(flag: &str, address: SocketAddr) -> Result<(TcpListener, SocketAddr), String> {
    let wrong = |error| format!("{flag} {address}: {error}; name a free port on an address of this machine");
    let listener = TcpListener::bind(address).await.map_err(wrong)?;
    let bound = listener.local_addr().map_err(wrong)?;
    Ok((listener, bound))
}
