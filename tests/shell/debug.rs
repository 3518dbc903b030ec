//! `/debug`: off by default, and names and numbers only.

use std::sync::Arc;

use axum::body::Body;
use axum::http::Request;
use serde_json::json;
use sidecarset::server::probes::{self, Readiness};
use sidecarset::server::{RequestLimits, debug};

use crate::router::{Answer, send};
use crate::support::{LOG_AGENT, mk_empty_state, publish};

async fn get(yaml: Option<&str>, debugging: bool, path: &str) -> Answer {
    let state = mk_empty_state(RequestLimits::default());
    if let Some(yaml) = yaml {
        publish(&state, yaml);
    }
    let mut app = probes::app(Arc::clone(&state), Readiness::new(&state, Vec::new()));
    if debugging {
        app = app.merge(debug::routes(state, "workers: 2\n".to_owned()));
    }
    send(app, Request::get(path).body(Body::empty()).expect("a request")).await
}

#[tokio::test]
async fn it_is_off_by_default_and_the_answer_says_how_to_turn_it_on() {
    for path in ["/debug/config", "/debug/snapshot", "/debug"] {
        get(Some(LOG_AGENT), false, path).await.assert_status(404, "NotFound", "--debug-endpoints");
    }
}

#[tokio::test]
async fn the_configuration_is_what_print_config_prints() {
    assert_eq!(get(None, true, "/debug/config").await.text, "workers: 2\n");
}

#[tokio::test]
async fn the_snapshot_is_told_in_names_and_numbers() {
    get(None, true, "/debug/snapshot").await.assert_status(503, "ServiceUnavailable", "not loaded yet");
    let paused = LOG_AGENT
        .replace("logging", "paused")
        .replace("spec:", "spec:\n  injectionStrategy:\n    paused: true");
    let answer = get(Some(&format!("{LOG_AGENT}---\n{paused}")), true, "/debug/snapshot").await;
    let expected = json!({
        "sets": {
            "count": 2, "names": ["logging", "paused"], "injectionPaused": ["paused"], "canaries": [],
            "ignoreFailures": [],
        },
        "index": {"labelValues": 1, "labelKeys": 0, "namespaces": 0, "largestAnchor": 1, "triedByEveryPod": 0},
        "namespaces": 0,
        "inFlight": 0,
    });
    assert_eq!(answer.json(), expected);
    assert!(!answer.text.contains("fluent-bit"), "no content");
}
