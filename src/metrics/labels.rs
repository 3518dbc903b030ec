//! Label values: each an enum, so that the number of series is fixed.

use std::fmt::Write as _;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};

/// How one admission request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Allowed as it is.
    Unchanged,
    /// Allowed with a patch.
    Patched,
    /// Denied with a message.
    Denied,
    /// The request was no usable AdmissionReview: HTTP 4xx (D-22.3).
    BadRequest,
    /// We failed: HTTP 5xx, the failure policy decides (D-22.1).
    Failed,
}

impl Outcome {
    pub(super) const ALL: [Self; 5] =
        [Self::Unchanged, Self::Patched, Self::Denied, Self::BadRequest, Self::Failed];

    /// The word in labels and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unchanged => "unchanged",
            Self::Patched => "patched",
            Self::Denied => "denied",
            Self::BadRequest => "bad_request",
            Self::Failed => "failed",
        }
    }
}

/// Operation of an AdmissionRequest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    /// An object is made.
    Create,
    /// An object changes.
    Update,
    /// An object goes.
    Delete,
    /// A connection to an object, for example `exec`.
    Connect,
    /// The request did not get far enough to tell.
    Unknown,
}

impl Operation {
    /// The word in requests and labels.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Create => "CREATE",
            Self::Update => "UPDATE",
            Self::Delete => "DELETE",
            Self::Connect => "CONNECT",
            Self::Unknown => "unknown",
        }
    }
}

/// Endpoints about SidecarSets themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ApiEndpoint {
    /// Defaulting.
    Mutate,
    /// Validation.
    Validate,
    /// Conversion between versions.
    Convert,
}

impl ApiEndpoint {
    pub(super) const ALL: [Self; 3] = [Self::Mutate, Self::Validate, Self::Convert];

    /// The word in labels and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Mutate => "mutate",
            Self::Validate => "validate",
            Self::Convert => "convert",
        }
    }
}

/// A limit on what is answered at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Limit {
    /// Requests in flight.
    Requests,
    /// Bytes of their bodies.
    BodyBytes,
}

impl Limit {
    pub(super) const ALL: [Self; 2] = [Self::Requests, Self::BodyBytes];

    /// The word in labels and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::BodyBytes => "body_bytes",
        }
    }
}

/// How a TLS handshake ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Handshake {
    /// With a connection.
    Ok,
    /// The client does not trust our certificate: its CA bundle or the name it calls us by does not fit.
    Refused,
    /// Otherwise: a scanner, a plain HTTP request, a probe that hangs up.
    Failed,
    /// Not within the time for it.
    Timeout,
}

impl Handshake {
    pub(super) const ALL: [Self; 4] = [Self::Ok, Self::Refused, Self::Failed, Self::Timeout];

    /// The word in labels.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::Timeout => "timeout",
        }
    }
}

/// What became of something worth an Event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EventResult {
    /// It is in the cluster, as an Event of its own or in the count of one.
    Written,
    /// The API server did not take it; tried again.
    Failed,
    /// The queue was full, too many different faults were going on, or one was over before its turn came.
    Dropped,
}

impl EventResult {
    pub(super) const ALL: [Self; 3] = [Self::Written, Self::Failed, Self::Dropped];

    /// The word in labels.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Written => "written",
            Self::Failed => "failed",
            Self::Dropped => "dropped",
        }
    }
}

macro_rules! label_values {
    ($($name:ident),+) => {$(
        impl EncodeLabelValue for $name {
            fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
                encoder.write_str(self.as_str())
            }
        }
    )+};
}

label_values!(Outcome, Operation, ApiEndpoint, Limit, Handshake, EventResult);

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ApiLabels {
    pub(super) endpoint: ApiEndpoint,
    pub(super) verdict: Outcome,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct AdmissionLabels {
    pub(super) operation: Operation,
    pub(super) verdict: Outcome,
}

/// A rule's id is a literal of the core, so there are as many as the specification has. The name of a set would be no
/// label: users make as many of them as they like.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct RuleLabels {
    pub(super) rule: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct LimitLabels {
    pub(super) limit: Limit,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct HandshakeLabels {
    pub(super) result: Handshake,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct EventLabels {
    pub(super) result: EventResult,
}
