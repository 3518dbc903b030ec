//! What every endpoint does with a request before it looks into it: a free slot, a deadline, a body of bounded size.

use std::time::{Duration, Instant};

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};

use super::AppState;
use super::body::{self, Broken};
use super::slots::{NoRoom, Share, Slot};
use super::status::Failure;
use super::weight::Weight;
use crate::duration;
use crate::metrics::Limit;

/// A request that arrived whole.
#[derive(Debug)]
pub(super) struct Call {
    /// Its body.
    pub(super) body: Bytes,
    /// Until when an answer is of use.
    pub(super) deadline: Deadline,
    /// Its place among the requests in flight.
    pub(super) slot: Slot,
}

/// Receives a request with a body of at most `limit` bytes. While the body is on its way for longer than
/// [`super::RequestLimits::body_patience`], its place and its memory may go to other requests.
///
/// # Errors
///
/// Too many requests in flight, no memory for the body, a body that is too large, too slow or broken, or a timeout that is none.
pub(super) async fn receive(
    state: &AppState,
    request: Request,
    started: Instant,
    limit: usize,
) -> Result<Call, Failure> {
    let Some(slot) = state.slots.take() else {
        let most = state.limits.in_flight;
        let what = format!("{most} requests are being answered, which is the limit (--max-in-flight)");
        // Whoever comes again needs no new connection then, whose handshake would cost more than the answer.
        body::discard(request.into_body(), state.slots.patience()).await;
        return Err(shed(state, Limit::Requests, what));
    };
    let deadline = Deadline::new(started, request.uri().query(), state.limits.answer_time)?;
    let (body, slot) = read_body(state, slot, request.into_body(), &deadline, limit).await?;
    Ok(Call { body, deadline, slot })
}

/// Memory for `bytes` that a request needs besides the `own` ones that it has.
///
/// # Errors
///
/// Other requests take it all.
pub(super) fn hold(state: &AppState, bytes: usize, own: usize) -> Result<Share, Failure> {
    state.slots.hold(bytes, own).ok_or_else(|| no_memory(state))
}

/// Memory for what `text` becomes when it is read, besides the `own` bytes that its request has.
///
/// # Errors
///
/// It is more than there is, or other requests take it.
pub(super) fn hold_read(state: &AppState, text: &[u8], weight: Weight, own: usize) -> Result<Share, Failure> {
    let (bytes, most) = (weight.of(text), state.limits.body_bytes_in_flight);
    if bytes > most {
        return Err(Failure::too_large(format!(
            "reading so many values may take {bytes} bytes, and {most} are the most that is taken (--max-body-bytes-in-flight)"
        )));
    }
    hold(state, bytes, own)
}

fn no_memory(state: &AppState) -> Failure {
    let most = state.limits.body_bytes_in_flight;
    let what = format!(
        "bodies of requests that are being answered take {most} bytes, which is the limit (--max-body-bytes-in-flight)"
    );
    shed(state, Limit::BodyBytes, what)
}

fn shed(state: &AppState, limit: Limit, message: String) -> Failure {
    state.metrics.shed(limit);
    Failure::overloaded(limit, message)
}

/// The `Content-Type`, empty if there is none.
pub(super) fn content_type(headers: &HeaderMap) -> &[u8] {
    headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default()
}

/// What is said about any other.
pub(super) fn wrong_content_type(found: &[u8]) -> String {
    let found = String::from_utf8_lossy(found.get(..100).unwrap_or(found));
    format!("the Content-Type is {found:?}; it has to be application/json")
}

/// HTTP 200 with a JSON text.
pub(super) fn json(body: impl Into<Body>) -> Response {
    let body: Body = body.into();
    ([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], body).into_response()
}

/// When the caller stops waiting.
#[derive(Debug)]
pub(super) struct Deadline {
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

    /// Whether an answer would still be read.
    pub(super) fn check(&self) -> Result<(), Failure> {
        if Instant::now() < self.at { Ok(()) } else { Err(self.missed()) }
    }

    /// The output of `work`, unless the deadline comes first.
    pub(super) async fn bound<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        tokio::time::timeout_at(self.at.into(), work).await.ok()
    }

    fn missed(&self) -> Failure {
        Failure::too_late(format!("no answer within the timeout of {:?}", self.timeout))
    }
}

async fn read_body(
    state: &AppState,
    slot: Slot,
    body: Body,
    deadline: &Deadline,
    limit: usize,
) -> Result<(Bytes, Slot), Failure> {
    let too_large = || {
        Failure::too_large(format!("the body is larger than {limit} bytes, which is the most that is taken"))
    };
    let announced = HttpBody::size_hint(&body).lower();
    if announced > u64::try_from(limit).unwrap_or(u64::MAX) {
        return Err(too_large());
    }
    let body_limit = Instant::now() + state.limits.body_time;
    let until = deadline.at.min(body_limit);
    let arrival = body::receive(&state.slots, slot, body, limit);
    match tokio::time::timeout_at(until.into(), arrival).await {
        Ok(Ok(arrived)) => Ok(arrived),
        Ok(Err(Broken::TooLarge)) => Err(too_large()),
        Ok(Err(Broken::Client(error))) => {
            Err(Failure::bad_request(format!("the body did not arrive whole: {error}")))
        }
        Ok(Err(Broken::NoRoom(NoRoom::Spent))) => Err(no_memory(state)),
        Ok(Err(Broken::NoRoom(NoRoom::Lost))) => Err(Failure::body_too_slow(
            "the body did not arrive, and another request needed its place in flight or its memory",
        )),
        Err(_elapsed) if until < body_limit => Err(deadline.missed()),
        Err(_elapsed) => {
            let seconds = state.limits.body_time.as_secs_f64();
            Err(Failure::body_too_slow(format!("the body did not arrive within {seconds} s")))
        }
    }
}
