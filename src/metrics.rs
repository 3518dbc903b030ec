//! The metrics of the process, as Prometheus reads them. Label values come from enums only, so their number is bounded.
//!
//! A new metric is a field of [`Metrics`], or of the struct of its area, a line where that registers its metrics, and a row
//! in `docs/operate.md`. A test compares the page with what is registered, another one dashboard and alerts.

mod certificates;
mod controller;
mod exposition;
mod labels;
mod process;
mod registrar;
mod watch;

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;
use sidecarset_core::admission::{Decision, Verdict};

pub use certificates::CertificateMetrics;
pub use controller::{ControllerMetrics, LookResult, PodWriteLabel, PodWriteResult, WriteKind};
pub use exposition::Format;
pub use labels::{ApiEndpoint, EventResult, Handshake, Limit, Operation, Outcome};
pub use registrar::{Described, Registrar};
pub use watch::{LiveReadResult, WatchMetrics, WatchedKind};

use labels::{AdmissionLabels, ApiLabels, EventLabels, HandshakeLabels, LimitLabels, RuleLabels};

/// Upper ends of the histogram's buckets, in seconds. A usual admission takes tens of microseconds, the API server's default
/// patience is 10 s; 1 s has an end of its own, because an alert asks for it.
const ADMISSION_BUCKETS: [f64; 17] = [
    0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 10.0,
];

/// What a process does.
#[derive(Debug, Clone, Copy)]
enum Part {
    Webhook,
    Controller,
}

/// All metrics of the process.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    of_every_process: Registry,
    described: Vec<Described>,
    admissions: Family<AdmissionLabels, Counter>,
    api_requests: Family<ApiLabels, Counter>,
    admission_seconds: Histogram,
    admissions_in_flight: Gauge,
    in_flight_limit: Gauge,
    /// Bytes that bodies of requests, what is read from them and answers take.
    pub body_bytes: Gauge,
    body_bytes_limit: Gauge,
    denied: Family<RuleLabels, Counter>,
    skipped_sets: Family<RuleLabels, Counter>,
    injected_sets: Counter,
    shed: Family<LimitLabels, Counter>,
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
    /// 1 if `/readyz` answers 200, else 0; looked at when it is scraped.
    pub ready: Gauge,
    /// Log lines that were lost because the reader of our log was too slow.
    pub log_lines_dropped: Counter,
    /// Connections of the admission port.
    pub connections: ConnectionCounts,
    /// Events on SidecarSets.
    pub events: EventCounts,
    /// The cluster as a source.
    pub watch: WatchMetrics,
    /// Managed certificates.
    pub certificates: CertificateMetrics,
    /// The controller.
    pub controller: ControllerMetrics,
}

impl Metrics {
    /// Makes all metrics and registers those of a webhook. `version` is shown as `sidecarset_build_info`.
    #[must_use]
    pub fn new(version: &'static str) -> Self {
        Self::of(Part::Webhook, version)
    }

    /// The same for a controller: what it does not do is no series with 0, which an alert could take for a fault.
    #[must_use]
    pub fn for_controller(version: &'static str) -> Self {
        Self::of(Part::Controller, version)
    }

    fn of(part: Part, version: &'static str) -> Self {
        let mut registrar = Registrar::default();
        let of_every_process = registrar.collect(process::described(), process::Process);
        let mut metrics = Self {
            registry: Registry::default(),
            of_every_process,
            described: Vec::new(),
            admissions: Family::default(),
            api_requests: Family::default(),
            admission_seconds: Histogram::new(ADMISSION_BUCKETS),
            admissions_in_flight: Gauge::default(),
            in_flight_limit: Gauge::default(),
            body_bytes: Gauge::default(),
            body_bytes_limit: Gauge::default(),
            denied: Family::default(),
            skipped_sets: Family::default(),
            injected_sets: Counter::default(),
            shed: Family::default(),
            sidecarsets: Gauge::default(),
            source_reload_failures: Counter::default(),
            source_last_success: Gauge::default(),
            certificate_expiry: Gauge::default(),
            certificate_reload_failures: Counter::default(),
            ready: Gauge::default(),
            log_lines_dropped: Counter::default(),
            connections: ConnectionCounts::default(),
            events: EventCounts::default(),
            watch: WatchMetrics::default(),
            certificates: CertificateMetrics::default(),
            controller: ControllerMetrics::default(),
        };
        registrar.register("build", "Version of the program", Info::new([("version", version)]));
        let help = "Log lines lost because the log's reader is slow";
        registrar.register("log_lines_dropped", help, metrics.log_lines_dropped.clone());
        match part {
            Part::Webhook => {
                metrics.register_admissions(&mut registrar);
                metrics.register_state(&mut registrar);
                metrics.connections.register(&mut registrar);
                metrics.events.register(&mut registrar);
                metrics.watch.register(&mut registrar);
                metrics.certificates.register(&mut registrar);
            }
            Part::Controller => metrics.controller.register(&mut registrar),
        }
        (metrics.registry, metrics.described) = registrar.finish();
        metrics.start_at_zero();
        metrics
    }

    fn register_admissions(&self, r: &mut Registrar) {
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
        r.register(
            "admission_in_flight_limit",
            "Requests that are answered at a time at most",
            self.in_flight_limit.clone(),
        );
        r.register(
            "admission_body_bytes",
            "Memory that bodies of requests, what is read from them and answers take",
            self.body_bytes.clone(),
        );
        r.register(
            "admission_body_bytes_limit",
            "Memory that bodies of requests, what is read from them and answers may take",
            self.body_bytes_limit.clone(),
        );
        r.register(
            "admission_shed",
            "Requests turned away, by the limit that was reached",
            self.shed.clone(),
        );
        r.register("admission_denied", "Denied Pods by the rule behind it", self.denied.clone());
        r.register(
            "admission_skipped_sets",
            "SidecarSets that matched a Pod and were not applied, by rule",
            self.skipped_sets.clone(),
        );
        r.register("admission_injected_sets", "SidecarSets applied to Pods", self.injected_sets.clone());
    }

    fn register_state(&self, r: &mut Registrar) {
        r.register("ready", "Whether /readyz answers 200", self.ready.clone());
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
    }

    /// A series that is there from the start shows its first increase; one that begins at 1 does not.
    fn start_at_zero(&self) {
        for verdict in Outcome::ALL {
            drop(self.admissions.get_or_create(&AdmissionLabels { operation: Operation::Create, verdict }));
            for endpoint in ApiEndpoint::ALL {
                drop(self.api_requests.get_or_create(&ApiLabels { endpoint, verdict }));
            }
        }
        for limit in Limit::ALL {
            drop(self.shed.get_or_create(&LimitLabels { limit }));
        }
        // An alert asks for the first of them.
        drop(self.skipped_sets.get_or_create(&RuleLabels { rule: "D-22" }));
        for verdict in [Outcome::BadRequest, Outcome::Failed] {
            drop(self.admissions.get_or_create(&AdmissionLabels { operation: Operation::Unknown, verdict }));
        }
    }

    /// Shows what may be answered at a time: requests, and bytes of their bodies.
    pub fn limits(&self, requests: usize, body_bytes: usize) {
        self.in_flight_limit.set(i64::try_from(requests).unwrap_or(i64::MAX));
        self.body_bytes_limit.set(i64::try_from(body_bytes).unwrap_or(i64::MAX));
    }

    /// Counts one request that was turned away.
    pub fn shed(&self, limit: Limit) {
        self.shed.get_or_create(&LimitLabels { limit }).inc();
    }

    /// Requests that were turned away because of `limit`.
    #[must_use]
    pub fn shed_by(&self, limit: Limit) -> u64 {
        self.shed.get_or_create(&LimitLabels { limit }).get()
    }

    /// Counts one admission and its duration.
    pub fn admission(&self, operation: Operation, verdict: Outcome, duration: Duration) {
        self.admissions.get_or_create(&AdmissionLabels { operation, verdict }).inc();
        self.admission_seconds.observe(duration.as_secs_f64());
    }

    /// Counts what a decision did with sets, and the rule of a denial.
    pub fn decision(&self, decision: &Decision) {
        if let Verdict::Denied(denial) = &decision.verdict {
            self.denied.get_or_create(&RuleLabels { rule: denial.rule }).inc();
        }
        for skipped in &decision.skipped {
            self.skipped_sets.get_or_create(&RuleLabels { rule: skipped.rule }).inc();
        }
        if !decision.injected.is_empty() {
            self.injected_sets.inc_by(u64::try_from(decision.injected.len()).unwrap_or(u64::MAX));
        }
    }

    /// Counts one request about SidecarSets themselves.
    pub fn api_request(&self, endpoint: ApiEndpoint, verdict: Outcome) {
        self.api_requests.get_or_create(&ApiLabels { endpoint, verdict }).inc();
    }

    /// Every metric that is registered.
    #[must_use]
    pub fn described(&self) -> &[Described] {
        &self.described
    }

    /// OpenMetrics text for `/metrics`; [`Format::of`] makes the other format of it.
    ///
    /// # Errors
    ///
    /// Writing to the text failed, which a `String` does not do.
    pub fn text(&self, in_flight: usize) -> Result<String, std::fmt::Error> {
        self.admissions_in_flight.set(i64::try_from(in_flight).unwrap_or(i64::MAX));
        let mut text = String::with_capacity(8192);
        encode_registry(&mut text, &self.registry)?;
        encode_registry(&mut text, &self.of_every_process)?;
        encode_eof(&mut text)?;
        Ok(text)
    }
}

/// Connections of the admission port. Clones count together.
#[derive(Debug, Clone)]
pub struct ConnectionCounts {
    handshakes: Family<HandshakeLabels, Counter>,
    /// Connections open now.
    pub open: Gauge,
    /// Idle connections that were closed because all places were taken.
    pub made_room: Counter,
}

impl Default for ConnectionCounts {
    fn default() -> Self {
        let metrics =
            Self { handshakes: Family::default(), open: Gauge::default(), made_room: Counter::default() };
        for result in Handshake::ALL {
            drop(metrics.handshakes.get_or_create(&HandshakeLabels { result }));
        }
        metrics
    }
}

impl ConnectionCounts {
    fn register(&self, r: &mut Registrar) {
        r.register("tls_handshakes", "TLS handshakes by how they ended", self.handshakes.clone());
        r.register("connections_open", "Open connections, handshakes under way included", self.open.clone());
        r.register(
            "connections_made_room",
            "Idle connections closed because all places were taken",
            self.made_room.clone(),
        );
    }

    /// Counts one handshake.
    pub fn handshake(&self, result: Handshake) {
        self.handshakes.get_or_create(&HandshakeLabels { result }).inc();
    }

    /// Counts a connection as open until the returned value is dropped.
    #[must_use]
    pub fn enter(&self) -> OpenConnection {
        self.open.inc();
        OpenConnection(self.open.clone())
    }
}

/// An open connection.
#[derive(Debug)]
pub struct OpenConnection(Gauge);

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// What became of Events. Clones count together.
#[derive(Debug, Clone)]
pub struct EventCounts {
    results: Family<EventLabels, Counter>,
}

impl Default for EventCounts {
    fn default() -> Self {
        let metrics = Self { results: Family::default() };
        for result in EventResult::ALL {
            drop(metrics.results.get_or_create(&EventLabels { result }));
        }
        metrics
    }
}

impl EventCounts {
    fn register(&self, r: &mut Registrar) {
        r.register("events", "Faults worth an Event by what became of them", self.results.clone());
    }

    /// Counts `number` faults.
    pub fn count(&self, result: EventResult, number: u64) {
        self.results.get_or_create(&EventLabels { result }).inc_by(number);
    }

    /// Faults counted so far.
    #[must_use]
    pub fn get(&self, result: EventResult) -> u64 {
        self.results.get_or_create(&EventLabels { result }).get()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use sidecarset_core::admission::{Denial, Skipped};

    use super::*;

    #[test]
    fn names_are_the_documented_ones() {
        let metrics = Metrics::new("1.2.3");
        metrics.admission(Operation::Create, Outcome::Patched, Duration::from_micros(30));
        metrics.api_request(ApiEndpoint::Validate, Outcome::Denied);
        metrics.shed(Limit::BodyBytes);
        metrics.limits(1024, 65_536);
        metrics.connections.handshake(Handshake::Refused);
        let _open = metrics.connections.enter();
        drop(metrics.connections.enter());
        metrics.watch.live_read(LiveReadResult::NotFound);
        metrics.watch.undecodable_objects(WatchedKind::SidecarSet, 2);
        let text = metrics.text(3).expect("text");
        for line in [
            "sidecarset_build_info{version=\"1.2.3\"} 1",
            "sidecarset_admission_requests_total{operation=\"CREATE\",verdict=\"patched\"} 1",
            "sidecarset_admission_requests_total{operation=\"CREATE\",verdict=\"failed\"} 0",
            "sidecarset_api_requests_total{endpoint=\"validate\",verdict=\"denied\"} 1",
            "sidecarset_admission_duration_seconds_count 1",
            "sidecarset_admission_duration_seconds_bucket{le=\"0.00005\"} 1",
            "sidecarset_admission_in_flight 3",
            "sidecarset_admission_in_flight_limit 1024",
            "sidecarset_admission_body_bytes 0",
            "sidecarset_admission_body_bytes_limit 65536",
            "sidecarset_admission_shed_total{limit=\"requests\"} 0",
            "sidecarset_admission_shed_total{limit=\"body_bytes\"} 1",
            "sidecarset_admission_injected_sets_total 0",
            "sidecarset_sidecarsets 0",
            "sidecarset_source_reload_failures_total 0",
            "sidecarset_source_last_success_timestamp_seconds 0.0",
            "sidecarset_certificate_expiry_timestamp_seconds 0.0",
            "sidecarset_certificate_reload_failures_total 0",
            "sidecarset_log_lines_dropped_total 0",
            "sidecarset_tls_handshakes_total{result=\"refused\"} 1",
            "sidecarset_connections_open 1",
            "sidecarset_connections_made_room_total 0",
            "sidecarset_events_total{result=\"dropped\"} 0",
            "sidecarset_snapshot_age_seconds 0.0",
            "sidecarset_source_undecodable_objects{kind=\"SidecarSet\"} 2",
            "sidecarset_source_undecodable_objects{kind=\"ConfigMap\"} 0",
            "sidecarset_namespace_live_reads_total{result=\"not_found\"} 1",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
        }
        assert!(text.ends_with("# EOF\n"));
    }

    #[test]
    fn a_decision_is_counted_by_rule() {
        let metrics = Metrics::new("1");
        let skipped = Skipped { set: Arc::from("a"), rule: "D-22", reason: String::new() };
        let denial = Denial { code: 500, message: String::new(), rule: "I-REV-9" };
        let decision = Decision {
            verdict: Verdict::Denied(denial),
            skipped: vec![skipped.clone(), skipped],
            injected: vec![Arc::from("b"), Arc::from("c"), Arc::from("d")],
            ..Decision::default()
        };
        metrics.decision(&decision);
        let text = metrics.text(0).expect("text");
        for line in [
            "sidecarset_admission_denied_total{rule=\"I-REV-9\"} 1",
            "sidecarset_admission_skipped_sets_total{rule=\"D-22\"} 2",
            "sidecarset_admission_injected_sets_total 3",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_process_is_measured() {
        let text = Metrics::new("1").text(0).expect("text");
        let value = |name: &str| -> f64 {
            let line = text.lines().find_map(|line| line.strip_prefix(name)).expect(name);
            line.trim().parse().expect("a number")
        };
        assert!(value("process_resident_memory_bytes ") > 1e6);
        assert!(value("process_virtual_memory_bytes ") >= value("process_resident_memory_bytes "));
        assert!(value("process_open_fds ") >= 1.0 && value("process_open_fds ") <= value("process_max_fds "));
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
        let age = now.as_secs_f64() - value("process_start_time_seconds ");
        assert!((-2.0..86_400.0).contains(&age), "started {age} s ago");
        assert!(value("process_cpu_seconds_total ") >= 0.0);
    }
}
