//! Failures of a request as HTTP status with a Kubernetes `Status` body. An API server shows its message to the user.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::metrics::Limit;

/// A request that gets no AdmissionReview back. Rule: I-RESP-5. Decision: D-22.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// HTTP status.
    pub code: StatusCode,
    reason: &'static str,
    message: String,
    retry: bool,
    limit: Option<Limit>,
}

impl Failure {
    fn new(code: StatusCode, reason: &'static str, message: impl Into<String>) -> Self {
        Self { code, reason, message: message.into(), retry: false, limit: None }
    }

    /// The request is not what we serve.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BadRequest", message)
    }

    /// The client may not ask this.
    pub fn forbidden(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "Forbidden", message)
    }

    /// Nothing is served at this path.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "NotFound", message)
    }

    /// The path is right, the method is not.
    pub fn method_not_allowed(message: impl Into<String>) -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", message)
    }

    /// The client did not send its body in time.
    pub fn body_too_slow(message: impl Into<String>) -> Self {
        Self::new(StatusCode::REQUEST_TIMEOUT, "Timeout", message)
    }

    /// The body is larger than we take.
    pub fn too_large(message: impl Into<String>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLarge", message)
    }

    /// The body is no JSON by its own account.
    pub fn unsupported_media_type(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UnsupportedMediaType", message)
    }

    /// We failed and trying again would not help.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "InternalError", message)
    }

    /// We cannot answer now; the API server tries again after a second, within its own timeout.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self { retry: true, ..Self::new(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable", message) }
    }

    /// We have reached `limit`; the API server tries again as above.
    pub fn overloaded(limit: Limit, message: impl Into<String>) -> Self {
        Self { limit: Some(limit), ..Self::unavailable(message) }
    }

    /// The caller's time is over.
    pub fn too_late(message: impl Into<String>) -> Self {
        Self::new(StatusCode::GATEWAY_TIMEOUT, "Timeout", message)
    }

    /// Whether the request is at fault (4xx), not we.
    #[must_use]
    pub fn is_the_requests_fault(&self) -> bool {
        self.code.is_client_error()
    }

    /// The limit of ours that was reached, for the log.
    #[must_use]
    pub fn limit(&self) -> Option<&'static str> {
        self.limit.map(Limit::as_str)
    }

    /// The Kubernetes word for it; safe to log, which the message is not.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        self.reason
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct StatusBody<'a> {
    kind: &'static str,
    api_version: &'static str,
    metadata: serde_json::Map<String, serde_json::Value>,
    status: &'static str,
    message: &'a str,
    reason: &'static str,
    code: u16,
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let body = StatusBody {
            kind: "Status",
            api_version: "v1",
            metadata: serde_json::Map::new(),
            status: "Failure",
            message: &self.message,
            reason: self.reason,
            code: self.code.as_u16(),
        };
        // Plain text and numbers always serialise; without a body the status still says enough.
        let body = serde_json::to_string(&body).unwrap_or_default();
        let json = [(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))];
        let mut response = (self.code, json, body).into_response();
        if self.retry {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}
