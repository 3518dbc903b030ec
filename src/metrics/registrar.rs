//! Registering a metric, and the list of all that were: what the documentation is compared with.

use prometheus_client::collector::Collector;
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Metric, Registry};

/// Prefix of every metric that is ours.
const PREFIX: &str = "sidecarset";

/// A metric as it is scraped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Described {
    /// Its name with prefix and suffix, for example `sidecarset_admission_shed_total`; of a histogram without the suffix.
    pub name: String,
    /// `counter`, `gauge`, `histogram` or `info`.
    pub kind: &'static str,
}

/// A registry which remembers what was registered.
#[derive(Debug)]
pub struct Registrar {
    ours: Registry,
    described: Vec<Described>,
}

impl Default for Registrar {
    fn default() -> Self {
        Self { ours: Registry::with_prefix(PREFIX), described: Vec::new() }
    }
}

impl Registrar {
    /// Registers `sidecarset_NAME`. Leave out `_total` of a counter and `_info`, which follow from the type. `help` is a
    /// sentence without its full stop.
    pub fn register(&mut self, name: &str, help: &str, metric: impl Metric) {
        let (kind, suffix) = match metric.metric_type() {
            MetricType::Counter => ("counter", "_total"),
            MetricType::Gauge => ("gauge", ""),
            MetricType::Histogram => ("histogram", ""),
            MetricType::Info => ("info", "_info"),
            MetricType::Unknown => ("unknown", ""),
        };
        self.described.push(Described { name: format!("{PREFIX}_{name}{suffix}"), kind });
        self.ours.register(name, help, metric);
    }

    /// Registers metrics whose names every process has, without our prefix.
    pub(super) fn collect(&mut self, described: Vec<Described>, collector: impl Collector) -> Registry {
        self.described.extend(described);
        let mut registry = Registry::default();
        registry.register_collector(Box::new(collector));
        registry
    }

    pub(super) fn finish(self) -> (Registry, Vec<Described>) {
        (self.ours, self.described)
    }
}
