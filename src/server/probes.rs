//! The port for the kubelet and Prometheus: its own, so that a full admission queue cannot fail liveness.

use std::fmt::Write as _;
use std::sync::Arc;

use axum::Router;
use axum::extract::{RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::AppState;
use super::status::Failure;

/// A condition of readiness: a name, and whether it holds now.
pub type Check = (&'static str, Box<dyn Fn() -> bool + Send + Sync>);

struct ProbeState {
    app: Arc<AppState>,
    checks: Vec<Check>,
}

/// The routes of the probe port. Ready means: a Snapshot is loaded, no drain has started, and each of `checks` holds.
pub fn app(state: Arc<AppState>, checks: Vec<Check>) -> Router {
    let mut all: Vec<Check> = Vec::with_capacity(checks.len() + 2);
    let for_snapshot = Arc::clone(&state);
    all.push(("snapshot", Box::new(move || for_snapshot.published.load().is_some())));
    let for_drain = Arc::clone(&state);
    all.push(("not-draining", Box::new(move || !for_drain.draining.started())));
    all.extend(checks);
    Router::new()
        .route("/healthz", get(async || "ok"))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .fallback(async || Failure::not_found("served here: /healthz, /readyz, /readyz?verbose, /metrics"))
        .with_state(Arc::new(ProbeState { app: state, checks: all }))
}

/// Answers in the form of the API server's own `/readyz`.
async fn ready(State(state): State<Arc<ProbeState>>, RawQuery(query): RawQuery) -> Response {
    let verbose = query.is_some_and(|query| query.split('&').any(|part| part.starts_with("verbose")));
    let mut text = String::new();
    let mut all_hold = true;
    for (name, holds) in &state.checks {
        let holds = holds();
        all_hold &= holds;
        if verbose || !holds {
            // Writing to a String does not fail.
            let _ = writeln!(text, "[{}]{name} {}", sign(holds), if holds { "ok" } else { "failed" });
        }
    }
    match (all_hold, verbose) {
        (true, false) => "ok".into_response(),
        (true, true) => (text + "readyz check passed\n").into_response(),
        (false, _) => (StatusCode::SERVICE_UNAVAILABLE, text + "readyz check failed\n").into_response(),
    }
}

fn sign(holds: bool) -> char {
    if holds { '+' } else { '-' }
}

async fn metrics(State(state): State<Arc<ProbeState>>) -> Response {
    const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    match state.app.metrics.text(state.app.in_flight()) {
        Ok(text) => ([(header::CONTENT_TYPE, OPEN_METRICS)], text).into_response(),
        Err(error) => Failure::internal(format!("cannot write the metrics: {error}")).into_response(),
    }
}
