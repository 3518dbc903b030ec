//! `/debug` on the probe port, off unless `--debug-endpoints` asks for it: what the process believes. Names and numbers only;
//! no content of a set or a Pod.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::json;
use sidecarset_core::snapshot::IndexStatistics;

use super::AppState;
use super::intake;
use super::status::Failure;

/// The routes, to be merged with those of the probes. `configuration` is what `--print-config` prints.
pub fn routes(state: Arc<AppState>, configuration: String) -> Router {
    let configuration = Arc::<str>::from(configuration);
    let config = async move || ([(header::CONTENT_TYPE, "application/yaml")], configuration.to_string());
    Router::new()
        .route("/debug/config", get(config))
        .route("/debug/snapshot", get(snapshot).with_state(state))
}

async fn snapshot(State(state): State<Arc<AppState>>) -> Response {
    let loaded = state.published.load();
    let Some(snapshot) = loaded.as_ref() else {
        return Failure::unavailable("the SidecarSets are not loaded yet").into_response();
    };
    let IndexStatistics { label_values, label_keys, namespaces, largest, residue } =
        snapshot.index_statistics();
    let names = |keep: fn(&sidecarset_core::compile::CompiledSet) -> bool| -> Vec<&str> {
        snapshot.sets().iter().filter(|set| keep(set)).map(|set| &*set.name).collect()
    };
    let body = json!({
        "sets": {
            "count": snapshot.set_count(),
            "names": names(|_| true),
            "injectionPaused": names(|set| set.injection_paused),
            "canaries": names(|set| set.canary_base.is_some()),
            "ignoreFailures": names(|set| set.ignores_failures),
        },
        "index": {
            "labelValues": label_values,
            "labelKeys": label_keys,
            "namespaces": namespaces,
            "largestAnchor": largest,
            "triedByEveryPod": residue,
        },
        "namespaces": snapshot.namespace_count(),
        "inFlight": state.in_flight(),
    });
    intake::json(body.to_string())
}
