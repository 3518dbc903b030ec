//! `POST /convert`: SidecarSets from one version of the API into the other, as the API server asks for it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{Request, State};
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};
use sidecarset_core::set_admission;

use super::AppState;
use super::intake::{self, Call};
use super::review::shorten;
use super::status::Failure;
use crate::metrics::{ApiEndpoint, Outcome};

/// Most objects that a failed answer names.
const MOST_NAMED: usize = 20;

/// Converts the objects of a ConversionReview, v1 and v1beta1 alike.
///
/// Rule: A-CONV-10, A-CONV-11, A-CONV-12, A-CONV-13.
pub async fn convert(State(state): State<Arc<AppState>>, request: Request) -> Response {
    let started = Instant::now();
    let result = answer(&state, request, started).await;
    super::finish_api_call(&state, ApiEndpoint::Convert, result)
}

async fn answer(state: &AppState, request: Request, started: Instant) -> Result<(String, Outcome), Failure> {
    let limit = state.limits.conversion_bytes;
    let Call { body, deadline, slot: _slot } = intake::receive(state, request, started, limit).await?;
    let answer = super::off_the_pod_path(move || convert_review(&body, started)).await??;
    deadline.check()?;
    Ok(answer)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope {
    api_version: Option<String>,
    kind: Option<String>,
    request: Option<Incoming>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Incoming {
    uid: Option<String>,
    #[serde(rename = "desiredAPIVersion")]
    desired_api_version: Option<String>,
    objects: Option<Vec<Value>>,
}

/// Decision: D-22.
fn convert_review(body: &[u8], started: Instant) -> Result<(String, Outcome), Failure> {
    let wrong = |detail: &str| Failure::bad_request(format!("the body is no ConversionReview: {detail}"));
    let envelope: Envelope =
        serde_json::from_slice(body).map_err(|error| wrong(&shorten(&error.to_string())))?;
    let Envelope { api_version, kind, request } = envelope;
    let request = request.ok_or_else(|| wrong("it has no member request"))?;
    let Incoming { uid, desired_api_version, objects } = request;
    let (mut objects, desired) = (objects.unwrap_or_default(), desired_api_version.unwrap_or_default());
    let count = objects.len();

    let converted = set_admission::convert(&mut objects, &desired);
    let outcome = if converted.is_ok() { Outcome::Patched } else { Outcome::Denied };
    let (objects, result) = match converted {
        Ok(()) if objects.is_empty() => (Value::Null, json!({"metadata": {}, "status": "Success"})),
        Ok(()) => (objects.into(), json!({"metadata": {}, "status": "Success"})),
        Err(bad) => {
            let mut told: Vec<String> = bad.iter().take(MOST_NAMED).map(ToString::to_string).collect();
            if let Some(more) = bad.len().checked_sub(MOST_NAMED).filter(|more| *more > 0) {
                told.push(format!("and {more} more"));
            }
            let message = format!("cannot convert to {:?}: {}", shorten(&desired), told.join("; "));
            (Value::Null, json!({"metadata": {}, "status": "Failure", "message": message}))
        }
    };
    let mut answer =
        json!({"response": {"uid": uid.unwrap_or_default(), "convertedObjects": objects, "result": result}});
    for (name, text) in [("apiVersion", api_version), ("kind", kind)] {
        if let Some(text) = text.filter(|text| !text.is_empty()) {
            answer[name] = text.into();
        }
    }
    report(count, outcome, started.elapsed());
    Ok((answer.to_string(), outcome))
}

/// Conversions come with every read of the other version, so only those that fail are worth a line at the usual level.
fn report(objects: usize, outcome: Outcome, duration: Duration) {
    let duration_ms = duration.as_micros() as f64 / 1e3;
    if outcome == Outcome::Denied {
        tracing::warn!(objects, duration_ms, "conversion failed");
    } else {
        tracing::debug!(objects, duration_ms, "conversion");
    }
}
