//! The port for the kubelet and Prometheus: its own, so that a full admission queue cannot fail liveness.

use std::fmt::Write as _;
use std::sync::Arc;

use axum::Router;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::AppState;
use super::status::Failure;
use crate::metrics::{Format, Metrics};

/// A condition of readiness.
pub struct Check {
    name: &'static str,
    look: Box<dyn Fn() -> Health + Send + Sync>,
}

/// What a look at a condition found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Health {
    /// Whether the condition holds.
    pub holds: bool,
    /// For people, what is behind it: shown by `/readyz?verbose` and where the condition does not hold. May have several lines.
    pub detail: String,
}

impl Check {
    /// The condition `name`, which `look` finds out about at every probe.
    pub fn new(name: &'static str, look: impl Fn() -> Health + Send + Sync + 'static) -> Self {
        Self { name, look: Box::new(look) }
    }
}

impl Health {
    /// With nothing more to tell.
    #[must_use]
    pub fn when(holds: bool) -> Self {
        Self { holds, detail: String::new() }
    }
}

/// For people who mistype, and for those who wonder where /debug is.
const NOTHING_HERE: &str = "served here: /healthz, /readyz, /readyz?verbose, /metrics, and with --debug-endpoints \
                            /debug/config and /debug/snapshot";

/// All conditions of readiness of a process.
pub struct Readiness(Vec<Check>);

impl Readiness {
    /// Of a server of admissions: a Snapshot is loaded, no drain has started, and each of `checks` holds.
    #[must_use]
    pub fn new(state: &Arc<AppState>, checks: Vec<Check>) -> Arc<Self> {
        let (for_snapshot, for_drain) = (Arc::clone(state), Arc::clone(state));
        let mut all = vec![
            Check::new("snapshot", move || Health::when(for_snapshot.published.load().is_some())),
            Check::new("not-draining", move || Health::when(!for_drain.draining.started())),
        ];
        all.extend(checks);
        Arc::new(Self(all))
    }

    /// The conditions that do not hold, with what is behind each.
    #[must_use]
    pub fn missing(&self) -> Vec<(&'static str, String)> {
        let looked = self.0.iter().map(|Check { name, look }| (*name, look()));
        looked.filter(|(_, health)| !health.holds).map(|(name, health)| (name, health.detail)).collect()
    }
}

struct ProbeState {
    metrics: Arc<Metrics>,
    in_flight: Box<dyn Fn() -> usize + Send + Sync>,
    readiness: Arc<Readiness>,
}

/// The routes of the probe port of a server of admissions.
pub fn app(state: Arc<AppState>, readiness: Arc<Readiness>) -> Router {
    let (metrics, in_flight) = (Arc::clone(&state.metrics), Box::new(move || state.in_flight()));
    routes(ProbeState { metrics, in_flight, readiness })
}

/// The same routes for a process without admissions: ready means that each of `checks` holds.
pub fn without_admissions(metrics: Arc<Metrics>, checks: Vec<Check>) -> Router {
    routes(ProbeState { metrics, in_flight: Box::new(|| 0), readiness: Arc::new(Readiness(checks)) })
}

fn routes(state: ProbeState) -> Router {
    Router::new()
        .route("/healthz", get(async || "ok"))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .fallback(async || Failure::not_found(NOTHING_HERE))
        .with_state(Arc::new(state))
}

/// Answers in the form of the API server's own `/readyz`.
async fn ready(State(state): State<Arc<ProbeState>>, RawQuery(query): RawQuery) -> Response {
    let verbose = query.is_some_and(|query| query.split('&').any(|part| part.starts_with("verbose")));
    let mut text = String::new();
    let mut all_hold = true;
    for Check { name, look } in &state.readiness.0 {
        let Health { holds, detail } = look();
        all_hold &= holds;
        if verbose || !holds {
            let (sign, word) = if holds { ('+', "ok") } else { ('-', "failed") };
            // Writing to a String does not fail.
            let _ = writeln!(text, "[{sign}]{name} {word}");
            for line in detail.lines() {
                let _ = writeln!(text, "    {line}");
            }
        }
    }
    match (all_hold, verbose) {
        (true, false) => "ok".into_response(),
        (true, true) => (text + "readyz check passed\n").into_response(),
        (false, _) => (StatusCode::SERVICE_UNAVAILABLE, text + "readyz check failed\n").into_response(),
    }
}

async fn metrics(State(state): State<Arc<ProbeState>>, headers: HeaderMap) -> Response {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let format = Format::negotiate(accept);
    state.metrics.ready.set(state.readiness.missing().is_empty().into());
    match state.metrics.text((state.in_flight)()) {
        Ok(text) => ([(header::CONTENT_TYPE, format.content_type())], format.of(text)).into_response(),
        Err(error) => Failure::internal(format!("cannot write the metrics: {error}")).into_response(),
    }
}
