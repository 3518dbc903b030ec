//! Metrics of managed certificates.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

use super::Registrar;

/// What is done about certificates that replicas manage together. Clones count together.
#[derive(Debug, Clone, Default)]
pub struct CertificateMetrics {
    /// When the CA that signs ends, in seconds since 1970.
    pub authority_expiry: Gauge<f64, AtomicU64>,
    steps: Family<StepLabels, Counter>,
    /// Bundles that somebody had changed and that were written again.
    pub bundle_repairs: Counter,
}

/// The words of an enum of the module `tls`, which is not known here.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StepLabels {
    step: &'static str,
}

impl CertificateMetrics {
    pub(super) fn register(&self, r: &mut Registrar) {
        r.register(
            "certificate_authority_expiry_timestamp_seconds",
            "When the CA that signs managed certificates ends",
            self.authority_expiry.clone(),
        );
        r.register(
            "certificate_rotation_steps",
            "Steps of managed certificates that this replica has taken",
            self.steps.clone(),
        );
        r.register(
            "ca_bundle_repairs",
            "Changed CA bundles that were written again",
            self.bundle_repairs.clone(),
        );
    }

    /// Shows these steps as not taken yet.
    pub fn know(&self, steps: impl IntoIterator<Item = &'static str>) {
        for step in steps {
            drop(self.steps.get_or_create(&StepLabels { step }));
        }
    }

    /// Counts one step.
    pub fn step(&self, step: &'static str) {
        self.steps.get_or_create(&StepLabels { step }).inc();
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn steps_are_there_before_they_are_taken() {
        let metrics = super::super::Metrics::new("1");
        metrics.certificates.know(["swap_leaf", "drop_ca"]);
        metrics.certificates.step("swap_leaf");
        let text = metrics.text(0).expect("text");
        for line in [
            "sidecarset_certificate_authority_expiry_timestamp_seconds 0.0",
            "sidecarset_certificate_rotation_steps_total{step=\"swap_leaf\"} 1",
            "sidecarset_certificate_rotation_steps_total{step=\"drop_ca\"} 0",
            "sidecarset_ca_bundle_repairs_total 0",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
        }
    }
}
