//! `POST /mutate-apps-kruise-io-sidecarset` and `/validate-apps-kruise-io-sidecarset`: admission of SidecarSets themselves.
//!
//! Rare, so clarity wins over speed here, and the work is done away from the threads that answer for Pods.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};
use sidecarset_core::api::decode::KIND;
use sidecarset_core::field::FieldError;
use sidecarset_core::set_admission::{self, Mutation, Objects, Operation};
use sidecarset_core::validation::Validation;

use super::AppState;
use super::intake::{self, Call};
use super::review::{self, ReviewVersion};
use super::slots::counted;
use super::status::Failure;
use super::weight;
use crate::metrics::{ApiEndpoint, Outcome};

/// How long a refusal is held back in case it is judged anew: who applies a base and its canary, or a set after the one that it
/// replaces, sends the second a few milliseconds after the first, sooner than a watch tells. Longer than a change usually takes to
/// get into use.
const CATCH_UP: Duration = Duration::from_millis(500);

/// Fills in defaults and hashes.
pub async fn mutate(State(state): State<Arc<AppState>>, request: Request) -> Response {
    respond(state, request, ApiEndpoint::Mutate).await
}

/// Allows or denies.
pub async fn validate(State(state): State<Arc<AppState>>, request: Request) -> Response {
    respond(state, request, ApiEndpoint::Validate).await
}

async fn respond(state: Arc<AppState>, request: Request, endpoint: ApiEndpoint) -> Response {
    let started = Instant::now();
    let result = answer(&state, request, started, endpoint).await;
    super::finish_api_call(&state, endpoint, result)
}

async fn answer(
    state: &Arc<AppState>,
    request: Request,
    started: Instant,
    endpoint: ApiEndpoint,
) -> Result<(String, Outcome), Failure> {
    check_content_type(request.headers())?;
    // Upstream's limit is one byte smaller than ours for Pods (A-WIRE-4).
    let limit = state.limits.body_bytes.saturating_sub(1);
    let Call { body, deadline, slot } = intake::receive(state, request, started, limit).await?;
    // Whoever hangs up does not end the thread that judges, so it keeps the place.
    let slot = Arc::new(slot);
    let patience = tokio::time::Instant::now() + CATCH_UP;
    loop {
        let (for_thread, body, slot) = (Arc::clone(state), body.clone(), Arc::clone(&slot));
        let seen = state.published.count();
        let judging = super::off_the_pod_path(move || {
            let _slot = slot;
            judge(&for_thread, &body, endpoint, started)
        });
        let (answer, outcome) = judging.await??;
        deadline.check()?;
        let may_be_early = outcome == Outcome::Denied && state.reads_a_cluster();
        if !may_be_early || tokio::time::timeout_at(patience, state.published.more_than(seen)).await.is_err()
        {
            return Ok((answer, outcome));
        }
    }
}

/// Upstream takes nothing else, not even a parameter.
///
/// Rule: A-WIRE-4.
/// Decision: D-22.
fn check_content_type(headers: &HeaderMap) -> Result<(), Failure> {
    let found = intake::content_type(headers);
    if found == b"application/json" {
        return Ok(());
    }
    Err(Failure::bad_request(intake::wrong_content_type(found)))
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
    resource: Option<Resource>,
    operation: Option<String>,
    object: Option<Value>,
    old_object: Option<Value>,
}

#[derive(Deserialize)]
struct Resource {
    version: Option<String>,
}

/// A review that passed every check of its envelope.
struct Review {
    api_version: String,
    kind: String,
    uid: String,
    version: &'static str,
    operation: Operation,
    object: Option<Value>,
    old_object: Option<Value>,
}

/// Reads the envelope as tolerantly as upstream does: `apiVersion` and `kind` are repeated, not judged.
///
/// Rule: A-WIRE-4, A-WIRE-5, A-WIRE-6, A-WIRE-7.
/// Decision: D-22.
fn decode(body: &[u8]) -> Result<Review, Failure> {
    let wrong = |detail: &str| Failure::bad_request(format!("the body is no AdmissionReview: {detail}"));
    let envelope: Envelope =
        serde_json::from_slice(body).map_err(|error| wrong(&review::shorten(&error.to_string())))?;
    let Envelope { api_version, kind, request } = envelope;
    let (mut api_version, mut kind) = (api_version.unwrap_or_default(), kind.unwrap_or_default());
    if api_version.matches('/').count() > 1 {
        let found = review::shorten(&api_version);
        return Err(wrong(&format!("apiVersion is {found:?}; it has to be a group, one '/' and a version")));
    }
    if api_version.is_empty() && kind.is_empty() {
        ReviewVersion::V1.as_str().clone_into(&mut api_version);
        "AdmissionReview".clone_into(&mut kind);
    }
    let request = request.ok_or_else(|| wrong("it has no member request"))?;
    let version = request.resource.and_then(|resource| resource.version).unwrap_or_default();
    let version = set_admission::served_version(&version).ok_or_else(|| {
        let found = review::shorten(&version);
        Failure::bad_request(format!(
            "request.resource.version is {found:?}; it has to be v1beta1 or v1alpha1"
        ))
    })?;
    Ok(Review {
        api_version,
        kind,
        uid: request.uid.unwrap_or_default(),
        version,
        operation: Operation::parse(&request.operation.unwrap_or_default()),
        object: request.object,
        old_object: request.old_object,
    })
}

/// The answer to one review, before it is wrapped.
struct Reply {
    outcome: Outcome,
    /// Members of `response` besides `uid`.
    response: Value,
}

fn judge(
    state: &AppState,
    body: &Bytes,
    endpoint: ApiEndpoint,
    started: Instant,
) -> Result<(String, Outcome), Failure> {
    let _read = intake::hold_read(state, body, weight::SET, counted(body.len()))?;
    let review = decode(body)?;
    let Reply { outcome, mut response } = match endpoint {
        ApiEndpoint::Validate => judge_set(state, &review)?,
        ApiEndpoint::Mutate | ApiEndpoint::Convert => default_set(&review)?,
    };
    response["uid"] = review.uid.clone().into();
    let mut answer = json!({"response": response});
    for (name, text) in [("apiVersion", &review.api_version), ("kind", &review.kind)] {
        if !text.is_empty() {
            answer[name] = text.clone().into();
        }
    }
    report(&review, endpoint, outcome, started.elapsed());
    Ok((answer.to_string(), outcome))
}

/// Rule: A-DEF-60, A-DEF-61, A-WIRE-10, A-WIRE-11, A-WIRE-12.
fn default_set(review: &Review) -> Result<Reply, Failure> {
    use base64::Engine as _;
    let Mutation { before, after } =
        match set_admission::mutate(review.version, review.operation, review.objects()) {
            Ok(mutation) => mutation,
            Err(findings) => return Ok(undecodable(&findings)),
        };
    if before == after {
        return Ok(Reply { outcome: Outcome::Unchanged, response: allowed(&[]) });
    }
    let patch = serde_json::to_string(&json_patch::diff(&before, &after))
        .map_err(|error| Failure::internal(format!("the patch cannot be written: {error}")))?;
    let mut response = allowed(&[]);
    response["patchType"] = "JSONPatch".into();
    response["patch"] = base64::engine::general_purpose::STANDARD.encode(patch).into();
    Ok(Reply { outcome: Outcome::Patched, response })
}

/// Rule: A-WIRE-12, A-WIRE-14, A-WIRE-15.
/// Decision: D-10, D-12.
fn judge_set(state: &AppState, review: &Review) -> Result<Reply, Failure> {
    let cluster =
        state.published.cluster().ok_or_else(|| Failure::unavailable(state.published.why_not_yet()))?;
    let set = review.object.as_ref().unwrap_or(&Value::Null);
    let judged = cluster.view(set, |view| {
        set_admission::validate(review.version, review.operation, review.objects(), view, state.validation)
    });
    let Validation { findings, warnings } = match judged {
        Ok(validation) => validation,
        Err(findings) => return Ok(undecodable(&findings)),
    };
    if findings.is_empty() {
        return Ok(Reply { outcome: Outcome::Unchanged, response: allowed(&warnings) });
    }
    let mut response = denied(422, "Invalid", invalid_message(review.name(), &findings));
    let causes = findings.iter().map(|finding| {
        let message = format!("{} [{}]", finding.detail, finding.rule);
        json!({"reason": finding.kind.as_str(), "message": message, "field": finding.path})
    });
    response["status"]["details"] = json!({
        "name": review.name(), "group": "apps.kruise.io", "kind": KIND, "causes": causes.collect::<Vec<_>>(),
    });
    add_warnings(&mut response, &warnings);
    Ok(Reply { outcome: Outcome::Denied, response })
}

/// The text of the answer as Kubernetes words its own.
fn invalid_message(name: &str, findings: &[FieldError]) -> String {
    let told: Vec<String> = findings.iter().map(ToString::to_string).collect();
    format!("{KIND}.apps.kruise.io {name:?} is invalid: {}", told.join("; "))
}

/// Rule: A-WIRE-12. Decision: D-10.
fn undecodable(findings: &[FieldError]) -> Reply {
    let told: Vec<String> = findings.iter().map(ToString::to_string).collect();
    let message = format!("the object cannot be read as a {KIND}: {}", told.join("; "));
    Reply { outcome: Outcome::Denied, response: denied(400, "BadRequest", message) }
}

fn allowed(warnings: &[FieldError]) -> Value {
    let mut response = json!({"allowed": true, "status": {"metadata": {}, "code": 200}});
    add_warnings(&mut response, warnings);
    response
}

fn denied(code: u16, reason: &str, message: String) -> Value {
    let status =
        json!({"metadata": {}, "status": "Failure", "message": message, "reason": reason, "code": code});
    json!({"allowed": false, "status": status})
}

fn add_warnings(response: &mut Value, warnings: &[FieldError]) {
    if !warnings.is_empty() {
        response["warnings"] = warnings.iter().map(ToString::to_string).collect();
    }
}

impl Review {
    fn objects(&self) -> Objects<'_> {
        Objects { new: self.object.as_ref(), old: self.old_object.as_ref() }
    }

    fn name(&self) -> &str {
        let object = self.object.as_ref().and_then(|object| object.pointer("/metadata/name"));
        object.and_then(Value::as_str).unwrap_or_default()
    }
}

/// One log line for an answer.
fn report(review: &Review, endpoint: ApiEndpoint, outcome: Outcome, duration: Duration) {
    let uid: Cow<'_, str> = review::shorten(&review.uid).into();
    tracing::info!(
        admission.uid = &*uid,
        sidecarset.name = &*review::shorten(review.name()),
        endpoint = endpoint.as_str(),
        verdict = outcome.as_str(),
        duration_ms = duration.as_micros() as f64 / 1e3,
        "admission of a SidecarSet"
    );
}
