//! The HTTP side: `app(state)` answers the API server, [`probes::app`] the kubelet and Prometheus.

mod body;
pub mod convert;
pub mod debug;
mod intake;
pub mod pod;
pub mod probes;
pub mod review;
pub mod sidecarset;
mod slots;
pub mod status;
mod weight;

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, Version, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, post};
use sidecarset_core::context::{Draw, Features};
use sidecarset_core::validation::Options;
use tower_http::catch_panic::CatchPanicLayer;

use crate::faults::{Faults, Unheard};
use crate::metrics::{ApiEndpoint, Metrics, Operation, Outcome};
use crate::shutdown::Draining;
use crate::source::namespace::SharedReads;
use crate::source::publish::Published;
use crate::spans::Spans;

use slots::Slots;
use status::Failure;

/// What one request may cost.
#[derive(Debug, Clone, Copy)]
pub struct RequestLimits {
    /// Largest body, in bytes. Upstream takes 7 MiB, and an UPDATE carries two objects.
    pub body_bytes: usize,
    /// Largest body of a conversion, in bytes: a list of all sets comes in one.
    pub conversion_bytes: usize,
    /// Time for a body to arrive.
    pub body_time: Duration,
    /// Time after which a request whose body is still arriving may lose its place in flight, or its memory, to another one.
    pub body_patience: Duration,
    /// Time for the whole answer if the request names none; the API server's longest is 30 s.
    pub answer_time: Duration,
    /// Requests at a time; more are answered with 503 at once.
    pub in_flight: usize,
    /// Bytes of bodies at a time, beyond the first 32 KiB of each, and of what is read from them; what needs more is answered with 503.
    /// A body that is alone is always taken, if it can be read in so many.
    pub body_bytes_in_flight: usize,
}

impl Default for RequestLimits {
    fn default() -> Self {
        Self {
            body_bytes: 7 << 20,
            conversion_bytes: 32 << 20,
            body_time: Duration::from_secs(10),
            // The whole review of an API server arrives within milliseconds.
            body_patience: Duration::from_secs(1),
            answer_time: Duration::from_secs(30),
            in_flight: 1024,
            body_bytes_in_flight: 64 << 20,
        }
    }
}

/// Everything that answering needs.
#[derive(Debug)]
pub struct AppState {
    /// The Snapshot that admissions read.
    pub published: Arc<Published>,
    /// Where admissions are counted.
    pub metrics: Arc<Metrics>,
    /// Whether the process is on its way out.
    pub draining: Arc<Draining>,
    /// Source of the `Partial` draw (D-25).
    pub draw: Box<dyn Draw + Send + Sync>,
    /// Switches that change what is injected.
    pub features: Features,
    /// Flags that change verdicts on SidecarSets.
    pub validation: Options,
    /// What one request may cost.
    pub limits: RequestLimits,
    /// Where a namespace is read that the Snapshot does not know; a folder as source knows them all (D-23).
    namespaces: Option<SharedReads>,
    /// What makes spans of admissions.
    pub spans: Spans,
    /// Who hears what the owner of a set should know.
    pub faults: Box<dyn Faults>,
    slots: Arc<Slots>,
}

impl AppState {
    /// State with free slots for `limits.in_flight` requests.
    #[must_use]
    pub fn new(
        published: Arc<Published>,
        metrics: Arc<Metrics>,
        draining: Arc<Draining>,
        draw: Box<dyn Draw + Send + Sync>,
        features: Features,
        validation: Options,
        limits: RequestLimits,
    ) -> Self {
        let taken = metrics.body_bytes.clone();
        let slots = Slots::new(limits.in_flight, limits.body_bytes_in_flight, limits.body_patience, taken);
        metrics.limits(limits.in_flight, limits.body_bytes_in_flight);
        Self {
            published,
            metrics,
            draining,
            draw,
            features,
            validation,
            limits,
            namespaces: None,
            spans: Spans::none(),
            faults: Box::new(Unheard),
            slots,
        }
    }

    /// The same, with live reads of unknown namespaces. Decision: D-23.
    #[must_use]
    pub fn with_live_namespaces(mut self, namespaces: Option<SharedReads>) -> Self {
        self.namespaces = namespaces;
        self
    }

    /// The same, with spans of admissions.
    #[must_use]
    pub fn tracing(mut self, spans: Spans) -> Self {
        self.spans = spans;
        self
    }

    /// The same, with somebody who tells the owners of sets about faults.
    #[must_use]
    pub fn telling(mut self, faults: impl Faults + 'static) -> Self {
        self.faults = Box::new(faults);
        self
    }

    /// Whether SidecarSets come from a cluster, which tells about its changes a moment after they were made.
    #[must_use]
    pub fn reads_a_cluster(&self) -> bool {
        self.namespaces.is_some()
    }

    /// Requests being answered now.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.limits.in_flight.saturating_sub(self.slots.free())
    }
}

/// The routes of the admission port. Rule: I-CONST-18.
pub fn app(state: Arc<AppState>) -> Router {
    let routes = Router::new()
        .route("/mutate-pod", post(pod::mutate).fallback(wrong_method))
        // Upstream does not look at the method of these (A-WIRE-1).
        .route("/mutate-apps-kruise-io-sidecarset", any(sidecarset::mutate))
        .route("/validate-apps-kruise-io-sidecarset", any(sidecarset::validate))
        .route("/convert", any(convert::convert))
        .route("/healthz", any(|| async { StatusCode::OK }))
        .fallback(unknown_path)
        .with_state(Arc::clone(&state));
    protect(routes, state)
}

/// What every route gets: a panic becomes an HTTP 500, and a drain closes the connection behind each answer.
/// Decision: D-22.
pub fn protect(routes: Router, state: Arc<AppState>) -> Router {
    let metrics = Arc::clone(&state.metrics);
    let on_panic = move |_panic: Box<dyn Any + Send>| {
        // The panic hook has logged where it was.
        metrics.admission(Operation::Unknown, Outcome::Failed, Duration::ZERO);
        Failure::internal("a defect in sidecarset stopped this request; its log says where").into_response()
    };
    routes
        .layer(CatchPanicLayer::custom(on_panic))
        .layer(middleware::from_fn_with_state(state, close_when_draining))
}

/// Runs `work`, which may take milliseconds, where it cannot delay the answer for a Pod.
///
/// # Errors
///
/// HTTP 500 if it panicked; the panic hook has logged where.
async fn off_the_pod_path<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Failure> {
    tokio::task::spawn_blocking(work).await.map_err(|_panicked| {
        Failure::internal("a defect in sidecarset stopped this request; its log says where")
    })
}

/// Counts a call of the SidecarSet API and makes its response. Decision: D-22.
fn finish_api_call(
    state: &AppState,
    endpoint: ApiEndpoint,
    result: Result<(impl Into<Body>, Outcome), Failure>,
) -> Response {
    match result {
        Ok((body, outcome)) => {
            state.metrics.api_request(endpoint, outcome);
            intake::json(body)
        }
        Err(failure) => {
            let outcome = if failure.is_the_requests_fault() { Outcome::BadRequest } else { Outcome::Failed };
            state.metrics.api_request(endpoint, outcome);
            // Not its message: that may quote the body.
            tracing::warn!(
                code = failure.code.as_u16(),
                reason = failure.reason(),
                limit = failure.limit(),
                endpoint = endpoint.as_str(),
                "request about SidecarSets not answered"
            );
            failure.into_response()
        }
    }
}

/// HTTP/2 has no such header: there the server's GOAWAY at the end of the drain does the same.
async fn close_when_draining(State(state): State<Arc<AppState>>, request: Request, next: Next) -> Response {
    let version = request.version();
    let mut response = next.run(request).await;
    if state.draining.started() && version < Version::HTTP_2 {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

async fn wrong_method(request: Request) -> Response {
    let message = format!("{} is not answered here; post an AdmissionReview", request.method());
    let mut response = Failure::method_not_allowed(message).into_response();
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST"));
    response
}

async fn unknown_path(request: Request) -> Response {
    Failure::not_found(format!("{:?} is not served; Pods are reviewed at /mutate-pod, SidecarSets at /mutate-apps-kruise-io-sidecarset and \
         /validate-apps-kruise-io-sidecarset and converted at /convert", request.uri().path()))
        .into_response()
}
