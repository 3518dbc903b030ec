//! `POST /mutate-pod`: one admission from bytes to bytes.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use sidecarset_core::admission::{self, Decision, Denial, NamespaceUnknown, Verdict};
use sidecarset_core::context::{Context, LiveNamespace};

use super::AppState;
use super::intake::{self, Call, Deadline};
use super::review::{self, Object, Review};
use super::slots::{WITH_PLACE, counted};
use super::status::Failure;
use super::weight;
use crate::clock::unix_now;
use crate::faults::{Fault, Reason};
use crate::metrics::{Operation, Outcome};
use crate::source::namespace::{LiveRead, ReadError};
use crate::spans::Span;

/// Answers one AdmissionReview. Whatever is our fault is an HTTP 5xx, never a denial. Decision: D-22.
pub async fn mutate(State(state): State<Arc<AppState>>, request: Request) -> Response {
    let started = Instant::now();
    let mut span = state.spans.start(request.headers());
    match answer(&state, request, started, &mut span).await {
        Ok(body) => intake::json(body),
        Err(failure) => {
            let outcome = if failure.is_the_requests_fault() { Outcome::BadRequest } else { Outcome::Failed };
            state.metrics.admission(Operation::Unknown, outcome, started.elapsed());
            span.fail(failure.code.as_u16(), failure.reason());
            // Not its message: that may quote the body.
            tracing::warn!(
                code = failure.code.as_u16(),
                reason = failure.reason(),
                limit = failure.limit(),
                verdict = outcome.as_str(),
                "admission request not answered"
            );
            failure.into_response()
        }
    }
}

async fn answer(
    state: &AppState,
    request: Request,
    started: Instant,
    span: &mut Span,
) -> Result<String, Failure> {
    check_content_type(request.headers())?;
    let Call { body, deadline, slot: _slot } =
        intake::receive(state, request, started, state.limits.body_bytes).await?;
    // That of a usual Pod is little, and there are few at a time: one a thread.
    let _read = match body.len() {
        0..=WITH_PLACE => None,
        length => Some(intake::hold_read(state, &body, weight::POD, counted(length))?),
    };
    let review = review::decode(&body)?;
    let decision = match decide(state, &review, None)? {
        Ok(decision) => decision,
        Err(unknown) => decide_with_live_namespace(state, &review, unknown, &deadline).await?,
    };
    deadline.check()?;
    let answer = review::encode(review.version, &review.uid, &decision);
    report(state, &review, &decision, started.elapsed(), span);
    Ok(answer)
}

/// Parameters such as `charset` are fine.
fn check_content_type(headers: &HeaderMap) -> Result<(), Failure> {
    let found = intake::content_type(headers);
    let media_type = found.split(|b| *b == b';').next().unwrap_or_default().trim_ascii();
    if media_type.eq_ignore_ascii_case(b"application/json") {
        return Ok(());
    }
    Err(Failure::unsupported_media_type(intake::wrong_content_type(found)))
}

/// Asks the core. A sub-resource or another operation is allowed unseen; what is no Pod is denied. The inner error asks for the
/// labels of the namespace.
///
/// Rule: I-CALL-7, I-CALL-11, I-DEF-44. Decision: D-22, D-23.
fn decide(
    state: &AppState,
    review: &Review<'_>,
    live_namespace: Option<LiveNamespace<'_>>,
) -> Result<Result<Decision, NamespaceUnknown>, Failure> {
    let request = review.request();
    if !request.sub_resource.is_empty() || !matches!(review.operation, Operation::Create | Operation::Update)
    {
        return Ok(Ok(Decision::default()));
    }
    let pod = match &review.object {
        Object::Pod(pod) => pod,
        Object::Missing => {
            return Ok(Ok(undecodable("there is no content to decode: request.object is missing")));
        }
        Object::Undecodable(detail) => {
            return Ok(Ok(undecodable(&format!("request.object is no Pod that can be read: {detail}"))));
        }
    };
    let snapshot = state.published.load();
    let Some(snapshot) = snapshot.as_ref() else {
        return Err(Failure::unavailable(state.published.why_not_yet()));
    };
    let context =
        Context { now_unix: unix_now(), features: state.features, draw: &*state.draw, live_namespace };
    Ok(admission::admit(&request, pod, snapshot, &context))
}

/// Reads the namespace live and asks the core again. The Snapshot is not held meanwhile.
///
/// Decision: D-22, D-23.
async fn decide_with_live_namespace(
    state: &AppState,
    review: &Review<'_>,
    unknown: NamespaceUnknown,
    deadline: &Deadline,
) -> Result<Decision, Failure> {
    let NamespaceUnknown { name } = unknown;
    let needed = format!("the labels of namespace {name:?} are needed and not known");
    let reads = state.namespaces.as_ref().ok_or_else(|| Failure::unavailable(&needed))?;
    let read = match deadline.bound(reads.read(&name)).await {
        Some(Ok(read)) => read,
        Some(Err(ReadError { message, retry: true })) => {
            return Err(Failure::unavailable(format!("{needed}: {message}")));
        }
        Some(Err(ReadError { message, retry: false })) => {
            return Err(Failure::internal(format!("{needed}: {message}")));
        }
        None => return Err(Failure::too_late(format!("{needed}: the API server did not tell them in time"))),
    };
    let live = match &read {
        LiveRead::Labels(labels) => LiveNamespace::Labels(labels),
        LiveRead::NotFound => LiveNamespace::NotFound,
    };
    decide(state, review, Some(live))?.map_err(|_unknown| Failure::internal(needed))
}

fn undecodable(message: &str) -> Decision {
    let denial = Denial { code: 400, message: message.to_owned(), rule: "I-CALL-11" };
    let audit_annotations = vec![("denied", "[I-CALL-11]".to_owned())];
    Decision { verdict: Verdict::Denied(denial), audit_annotations, ..Decision::default() }
}

/// One log line and one count for an admission that was answered; ids and verdict only. Rule: I-DEF-29.
fn report(state: &AppState, review: &Review<'_>, decision: &Decision, duration: Duration, span: &mut Span) {
    let (outcome, rule) = match &decision.verdict {
        Verdict::Unchanged => (Outcome::Unchanged, None),
        Verdict::Patch(_) => (Outcome::Patched, None),
        Verdict::Denied(denial) => (Outcome::Denied, Some(denial.rule)),
    };
    state.metrics.admission(review.operation, outcome, duration);
    state.metrics.decision(decision);
    let pod = match &review.object {
        Object::Pod(pod) => pod.display_name(),
        Object::Missing | Object::Undecodable(_) => "",
    };
    tracing::info!(
        admission.uid = &*review.uid,
        pod.namespace = review.request().namespace,
        pod.name = pod,
        sidecarset.name = %Names(decision),
        verdict = outcome.as_str(),
        rule,
        duration_ms = duration.as_micros() as f64 / 1e3,
        "admission"
    );
    span.describe(|| {
        [
            ("admission.uid", review.uid.to_string()),
            ("pod.namespace", review.request().namespace.to_owned()),
            ("pod.name", pod.to_owned()),
            ("sidecarset.name", Names(decision).to_string()),
            ("verdict", outcome.as_str().to_owned()),
            ("rule", rule.unwrap_or_default().to_owned()),
        ]
    });
    if !review.request().dry_run {
        tell_owners(state, review.request().namespace, pod, decision);
    }
}

/// Faults of sets, for those who own them. A dry run has no side effects, so it tells nobody.
fn tell_owners(state: &AppState, namespace: &str, pod: &str, decision: &Decision) {
    let fault = |set: &Arc<str>, reason, rule, text: &str| {
        let note = format!("Pod {namespace}/{pod}: {text}");
        state.faults.tell(Fault { set: Arc::clone(set), reason, rule, note });
    };
    if let (Verdict::Denied(denial), Some(set)) = (&decision.verdict, &decision.at_fault) {
        fault(set, Reason::PodDenied, denial.rule, &format!("denied: {}", denial.message));
    }
    // Other sets are skipped because the Pod or a canary wants it so, which is no fault.
    for skipped in decision.skipped.iter().filter(|skipped| skipped.rule == "D-22") {
        fault(&skipped.set, Reason::SetSkipped, skipped.rule, &format!("set skipped: {}", skipped.reason));
    }
}

/// The names of the injected sets, joined with commas while the line is written.
struct Names<'a>(&'a Decision);

impl fmt::Display for Names<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, name) in self.0.injected.iter().enumerate() {
            if n > 0 {
                f.write_str(",")?;
            }
            f.write_str(name)?;
        }
        Ok(())
    }
}
