//! `POST /convert`: SidecarSets from one version of the API into the other, as the API server asks for it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::response::Response;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use sidecarset_core::json::push_string;
use sidecarset_core::set_admission;

use super::AppState;
use super::body::with_share;
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

async fn answer(state: &AppState, request: Request, started: Instant) -> Result<(Bytes, Outcome), Failure> {
    let limit = state.limits.conversion_bytes;
    let Call { body, deadline, slot } = intake::receive(state, request, started, limit).await?;
    // The list of converted objects, and the answer with a copy of it.
    let share = intake::hold(state, 2 * body.len(), &body)?;
    let answer = super::off_the_pod_path(move || {
        // Whoever hangs up does not end this thread, so what it holds stays with it.
        let _slot = slot;
        let (answer, outcome) = convert_review(&body, started)?;
        // A client that does not read its answer keeps that memory.
        Ok((with_share(answer, share), outcome))
    });
    let answer = answer.await??;
    deadline.check()?;
    Ok(answer)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope<'a> {
    api_version: Option<String>,
    kind: Option<String>,
    #[serde(borrow)]
    request: Option<Incoming<'a>>,
}

/// The objects stay text: a list of ten thousand sets as trees would take twenty-five times its size in memory.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Incoming<'a> {
    uid: Option<String>,
    #[serde(rename = "desiredAPIVersion")]
    desired_api_version: Option<String>,
    #[serde(borrow)]
    objects: Option<Vec<&'a RawValue>>,
}

/// Decision: D-22.
fn convert_review(body: &[u8], started: Instant) -> Result<(String, Outcome), Failure> {
    let wrong = |error: String| Failure::bad_request(format!("the body is no ConversionReview: {error}"));
    let unreadable = |error: serde_json::Error| wrong(shorten(&error.to_string()));
    let envelope: Envelope<'_> = serde_json::from_slice(body).map_err(unreadable)?;
    let Envelope { api_version, kind, request } = envelope;
    let request = request.ok_or_else(|| wrong("it has no member request".to_owned()))?;
    let Incoming { uid, desired_api_version, objects } = request;
    let (objects, desired) = (objects.unwrap_or_default(), desired_api_version.unwrap_or_default());

    let converted = convert_all(&objects, &desired, body.len()).map_err(unreadable)?;
    let (outcome, list, result) = match converted {
        Ok(list) => (Outcome::Patched, list, json!({"metadata": {}, "status": "Success"})),
        Err(message) => {
            let result = json!({"metadata": {}, "status": "Failure", "message": message});
            (Outcome::Denied, "null".to_owned(), result)
        }
    };
    let mut answer = String::with_capacity(list.len() + 512);
    answer.push('{');
    for (name, text) in [("apiVersion", api_version), ("kind", kind)] {
        if let Some(text) = text.filter(|text| !text.is_empty()) {
            push_string(&mut answer, name);
            answer.push(':');
            push_string(&mut answer, &text);
            answer.push(',');
        }
    }
    answer.push_str(r#""response":{"uid":"#);
    push_string(&mut answer, &uid.unwrap_or_default());
    answer.push_str(r#","result":"#);
    answer.push_str(&result.to_string());
    answer.push_str(r#","convertedObjects":"#);
    answer.push_str(&list);
    answer.push_str("}}");
    report(objects.len(), outcome, started.elapsed());
    Ok((answer, outcome))
}

/// The converted objects as the text of a list, `null` if there is none; or why some cannot be converted.
///
/// # Errors
///
/// An object whose text cannot be read, for example because it nests too deep.
fn convert_all(
    objects: &[&RawValue],
    desired: &str,
    size: usize,
) -> serde_json::Result<Result<String, String>> {
    if objects.is_empty() {
        return Ok(Ok("null".to_owned()));
    }
    let (mut list, mut bad) = (String::with_capacity(size), Vec::new());
    for (index, text) in objects.iter().enumerate() {
        let mut object: Value = serde_json::from_str(text.get())?;
        match set_admission::convert(index, &mut object, desired) {
            Ok(()) => {
                list.push(if index == 0 { '[' } else { ',' });
                list.push_str(&object.to_string());
            }
            Err(error) => bad.push(error),
        }
    }
    if bad.is_empty() {
        list.push(']');
        return Ok(Ok(list));
    }
    let mut told: Vec<String> = bad.iter().take(MOST_NAMED).map(ToString::to_string).collect();
    if let Some(more) = bad.len().checked_sub(MOST_NAMED).filter(|more| *more > 0) {
        told.push(format!("and {more} more"));
    }
    Ok(Err(format!("cannot convert to {:?}: {}", shorten(desired), told.join("; "))))
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
