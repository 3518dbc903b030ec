//! `POST /mutate-pod`: one admission from bytes to bytes.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use sidecarset_core::admission::{self, Decision, Denial, Verdict};
use sidecarset_core::context::Context;

use super::AppState;
use super::review::{self, Object, Review};
use super::status::Failure;
use crate::duration;
use crate::metrics::{Operation, Outcome};

/// Answers one AdmissionReview. Whatever is our fault is an HTTP 5xx, never a denial. Decision: D-22.
pub async fn mutate(State(state): State<Arc<AppState>>, request: Request) -> Response {
    let started = Instant::now();
    match answer(&state, request, started).await {
        Ok(body) => {
            ([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], body).into_response()
        }
        Err(failure) => {
            let outcome = if failure.is_the_requests_fault() { Outcome::BadRequest } else { Outcome::Failed };
            state.metrics.admission(Operation::Unknown, outcome, started.elapsed());
            // Not its message: that may quote the body.
            tracing::warn!(
                code = failure.code.as_u16(),
                reason = failure.reason(),
                verdict = outcome.as_str(),
                "admission request not answered"
            );
            failure.into_response()
        }
    }
}

async fn answer(state: &AppState, request: Request, started: Instant) -> Result<String, Failure> {
    let Ok(_slot) = state.slots.try_acquire() else {
        state.metrics.shed.inc();
        return Err(Failure::unavailable(format!(
            "{} requests are being answered, which is the limit (--max-in-flight)",
            state.limits.in_flight
        )));
    };
    check_content_type(request.headers())?;
    let deadline = Deadline::new(started, request.uri().query(), state.limits.answer_time)?;
    let body = read_body(state, request.into_body(), &deadline).await?;
    let review = review::decode(&body)?;
    let decision = decide(state, &review)?;
    deadline.check()?;
    let answer = review::encode(review.version, &review.uid, &decision);
    report(state, &review, &decision, started.elapsed());
    Ok(answer)
}

/// Parameters such as `charset` are fine.
fn check_content_type(headers: &HeaderMap) -> Result<(), Failure> {
    let found = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    let media_type = found.split(|b| *b == b';').next().unwrap_or_default().trim_ascii();
    if media_type.eq_ignore_ascii_case(b"application/json") {
        return Ok(());
    }
    let found = String::from_utf8_lossy(found.get(..100).unwrap_or(found));
    Err(Failure::unsupported_media_type(format!(
        "the Content-Type is {found:?}; it has to be application/json"
    )))
}

/// When the caller stops waiting.
struct Deadline {
    at: Instant,
    timeout: Duration,
}

impl Deadline {
    /// The API server tells its patience in the query: `?timeout=10s`. A tenth of it, at most half a second, is left for
    /// the way back.
    fn new(started: Instant, query: Option<&str>, default: Duration) -> Result<Self, Failure> {
        let asked = query.unwrap_or_default().split('&').find_map(|part| part.strip_prefix("timeout="));
        let timeout = match asked {
            Some(text) => duration::parse(text)
                .map_err(|wrong| Failure::bad_request(format!("query parameter timeout: {wrong}")))?,
            None => default,
        };
        let margin = (timeout / 10).min(Duration::from_millis(500));
        Ok(Self { at: started + (timeout - margin), timeout })
    }

    fn check(&self) -> Result<(), Failure> {
        if Instant::now() < self.at { Ok(()) } else { Err(self.missed()) }
    }

    fn missed(&self) -> Failure {
        Failure::too_late(format!("no answer within the timeout of {:?}", self.timeout))
    }
}

async fn read_body(state: &AppState, body: Body, deadline: &Deadline) -> Result<Bytes, Failure> {
    let limit = state.limits.body_bytes;
    let too_large = || {
        Failure::too_large(format!("the body is larger than {limit} bytes, which is the most that is taken"))
    };
    let announced = HttpBody::size_hint(&body).lower();
    if announced > u64::try_from(limit).unwrap_or(u64::MAX) {
        return Err(too_large());
    }
    let body_limit = Instant::now() + state.limits.body_time;
    let until = deadline.at.min(body_limit);
    match tokio::time::timeout_at(until.into(), Limited::new(body, limit).collect()).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.downcast_ref::<LengthLimitError>().is_some() => Err(too_large()),
        Ok(Err(error)) => Err(Failure::bad_request(format!("the body did not arrive whole: {error}"))),
        Err(_elapsed) if until < body_limit => Err(deadline.missed()),
        Err(_elapsed) => {
            let seconds = state.limits.body_time.as_secs_f64();
            Err(Failure::body_too_slow(format!("the body did not arrive within {seconds} s")))
        }
    }
}

/// Asks the core. A sub-resource or another operation is allowed unseen; what is no Pod is denied.
///
/// Rule: I-CALL-7, I-CALL-11, I-DEF-44. Decision: D-22, D-23.
fn decide(state: &AppState, review: &Review<'_>) -> Result<Decision, Failure> {
    let request = review.request();
    if !request.sub_resource.is_empty() || !matches!(review.operation, Operation::Create | Operation::Update)
    {
        return Ok(Decision::default());
    }
    let pod = match &review.object {
        Object::Pod(pod) => pod,
        Object::Missing => {
            return Ok(undecodable("there is no content to decode: request.object is missing"));
        }
        Object::Undecodable(detail) => {
            return Ok(undecodable(&format!("request.object is no Pod that can be read: {detail}")));
        }
    };
    let snapshot = state.published.load();
    let Some(snapshot) = snapshot.as_ref() else {
        return Err(Failure::unavailable("the SidecarSets are not loaded yet"));
    };
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let context = Context {
        now_unix: i64::try_from(since_1970).unwrap_or_default(),
        features: state.features,
        draw: &*state.draw,
        live_namespace: None,
    };
    admission::admit(&request, pod, snapshot, &context).map_err(|_namespace_unknown| {
        Failure::unavailable(format!("the labels of namespace {:?} are not known yet", request.namespace))
    })
}

fn undecodable(message: &str) -> Decision {
    let denial = Denial { code: 400, message: message.to_owned(), rule: "I-CALL-11" };
    Decision { verdict: Verdict::Denied(denial), ..Decision::default() }
}

/// One log line and one count for an admission that was answered; ids and verdict only. Rule: I-DEF-29.
fn report(state: &AppState, review: &Review<'_>, decision: &Decision, duration: Duration) {
    let (outcome, rule) = match &decision.verdict {
        Verdict::Unchanged => (Outcome::Unchanged, None),
        Verdict::Patch(_) => (Outcome::Patched, None),
        Verdict::Denied(denial) => (Outcome::Denied, Some(denial.rule)),
    };
    state.metrics.admission(review.operation, outcome, duration);
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
