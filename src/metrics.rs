//! The metrics of the process, as Prometheus reads them. Label values come from enums only, so their number is bounded.

use std::fmt::Write as _;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

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

impl EncodeLabelValue for Outcome {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
        encoder.write_str(self.as_str())
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

impl EncodeLabelValue for Operation {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
        encoder.write_str(self.as_str())
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

impl EncodeLabelValue for ApiEndpoint {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
        encoder.write_str(self.as_str())
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ApiLabels {
    endpoint: ApiEndpoint,
    verdict: Outcome,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AdmissionLabels {
    operation: Operation,
    verdict: Outcome,
}

/// All metrics of the process.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    admissions: Family<AdmissionLabels, Counter>,
    api_requests: Family<ApiLabels, Counter>,
    admission_seconds: Histogram,
    admissions_in_flight: Gauge,
    /// Requests that were turned away because too many were in flight.
    pub shed: Counter,
    /// SidecarSets in the Snapshot.
    pub sidecarsets: Gauge,
    /// Reloads of the source that failed; the last good state stayed.
    pub source_reload_failures: Counter,
    /// When the source was last seen to be equal to the Snapshot, in seconds since 1970.
    pub source_last_success: Gauge<f64, AtomicU64>,
    /// When the serving certificate ends, in seconds since 1970.
    pub certificate_expiry: Gauge<f64, AtomicU64>,
    /// Reloads of the serving certificate that failed; the last good pair stayed.
    pub certificate_reload_failures: Counter,
    /// Log lines that were lost because the reader of our log was too slow.
    pub log_lines_dropped: Counter,
}

impl Metrics {
    /// Makes and registers all metrics. `version` is shown as `sidecarset_build_info`.
    #[must_use]
    pub fn new(version: &'static str) -> Self {
        // From 25 µs to 3.7 s: a usual admission takes tens of microseconds, the API server gives up after 10 s.
        let buckets = prometheus_client::metrics::histogram::exponential_buckets(0.000_025, 2.5, 14);
        let mut metrics = Self {
            registry: Registry::with_prefix("sidecarset"),
            admissions: Family::default(),
            api_requests: Family::default(),
            admission_seconds: Histogram::new(buckets),
            admissions_in_flight: Gauge::default(),
            shed: Counter::default(),
            sidecarsets: Gauge::default(),
            source_reload_failures: Counter::default(),
            source_last_success: Gauge::default(),
            certificate_expiry: Gauge::default(),
            certificate_reload_failures: Counter::default(),
            log_lines_dropped: Counter::default(),
        };
        metrics.register(version);
        metrics
    }

    fn register(&mut self, version: &'static str) {
        let r = &mut self.registry;
        r.register("build", "Version of the program", Info::new([("version", version)]));
        r.register("admission_requests", "Admission requests by how they ended", self.admissions.clone());
        r.register(
            "api_requests",
            "Requests about SidecarSets themselves by how they ended",
            self.api_requests.clone(),
        );
        r.register(
            "admission_duration_seconds",
            "Time from the request's head to the answer",
            self.admission_seconds.clone(),
        );
        r.register("admission_in_flight", "Requests being answered", self.admissions_in_flight.clone());
        r.register("admission_shed", "Requests turned away by the in-flight limit", self.shed.clone());
        r.register("sidecarsets", "SidecarSets in the Snapshot", self.sidecarsets.clone());
        r.register(
            "source_reload_failures",
            "Failed reloads of the source of SidecarSets",
            self.source_reload_failures.clone(),
        );
        r.register(
            "source_last_success_timestamp_seconds",
            "When the source was last seen equal to the Snapshot",
            self.source_last_success.clone(),
        );
        r.register(
            "certificate_expiry_timestamp_seconds",
            "When the serving certificate ends",
            self.certificate_expiry.clone(),
        );
        r.register(
            "certificate_reload_failures",
            "Failed reloads of the serving certificate",
            self.certificate_reload_failures.clone(),
        );
        r.register(
            "log_lines_dropped",
            "Log lines lost because the log's reader is slow",
            self.log_lines_dropped.clone(),
        );
    }

    /// Counts one admission and its duration.
    pub fn admission(&self, operation: Operation, verdict: Outcome, duration: Duration) {
        self.admissions.get_or_create(&AdmissionLabels { operation, verdict }).inc();
        self.admission_seconds.observe(duration.as_secs_f64());
    }

    /// Counts one request about SidecarSets themselves.
    pub fn api_request(&self, endpoint: ApiEndpoint, verdict: Outcome) {
        self.api_requests.get_or_create(&ApiLabels { endpoint, verdict }).inc();
    }

    /// Text in the OpenMetrics format, for `/metrics`.
    ///
    /// # Errors
    ///
    /// Writing to the text failed, which a `String` does not do.
    pub fn text(&self, in_flight: usize) -> Result<String, std::fmt::Error> {
        self.admissions_in_flight.set(i64::try_from(in_flight).unwrap_or(i64::MAX));
        let mut text = String::with_capacity(4096);
        prometheus_client::encoding::text::encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_documented_ones() {
        let metrics = Metrics::new("1.2.3");
        metrics.admission(Operation::Create, Outcome::Patched, Duration::from_micros(30));
        metrics.api_request(ApiEndpoint::Validate, Outcome::Denied);
        metrics.shed.inc();
        let text = metrics.text(3).expect("text");
        for line in [
            "sidecarset_build_info{version=\"1.2.3\"} 1",
            "sidecarset_admission_requests_total{operation=\"CREATE\",verdict=\"patched\"} 1",
            "sidecarset_api_requests_total{endpoint=\"validate\",verdict=\"denied\"} 1",
            "sidecarset_admission_duration_seconds_count 1",
            "sidecarset_admission_in_flight 3",
            "sidecarset_admission_shed_total 1",
            "sidecarset_sidecarsets 0",
            "sidecarset_source_reload_failures_total 0",
            "sidecarset_source_last_success_timestamp_seconds 0.0",
            "sidecarset_certificate_expiry_timestamp_seconds 0.0",
            "sidecarset_certificate_reload_failures_total 0",
            "sidecarset_log_lines_dropped_total 0",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
        }
    }
}
