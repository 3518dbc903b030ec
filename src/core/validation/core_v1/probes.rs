//! Probes of a container.

use super::at::At;
use super::handlers::{self, PROBE_HANDLERS};
use super::report::Report;

const NUMBERS: [&str; 5] =
    ["initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"];

/// Checks the three probes of a container. A startup probe counts as defaulted, which defaulting itself does not do: what it would
/// store would change hashes.
///
/// Rule: A-CORE-70, A-CORE-75, A-CORE-76, A-CORE-77, A-EDGE-2.
/// Decision: D-14.
pub(super) fn check(container: &At<'_, '_>, report: &mut Report) {
    let liveness = container.child("livenessProbe");
    if liveness.is_present() {
        check_probe(&liveness, false, report);
        check_success_threshold(&liveness, false, report);
    }
    let readiness = container.child("readinessProbe");
    if readiness.is_present() {
        check_probe(&readiness, false, report);
        let grace = readiness.child("terminationGracePeriodSeconds");
        if grace.is_present() {
            report.conflict(
                &grace,
                "may not be given for a readiness probe: it never ends a container",
                "A-CORE-76",
            );
        }
    }
    let startup = container.child("startupProbe");
    if startup.is_present() {
        check_probe(&startup, true, report);
        check_success_threshold(&startup, true, report);
    }
}

fn check_probe(probe: &At<'_, '_>, defaulted: bool, report: &mut Report) {
    handlers::check(probe, &PROBE_HANDLERS, defaulted, report);
    for name in NUMBERS {
        report.expect_number(&probe.child(name), |number| number >= 0, "0 or more", "A-CORE-75");
    }
    let grace = probe.child("terminationGracePeriodSeconds");
    if grace.is_present() {
        report.expect_number(&grace, |seconds| seconds > 0, "more than 0", "A-CORE-76");
    }
}

fn check_success_threshold(probe: &At<'_, '_>, defaulted: bool, report: &mut Report) {
    let threshold = probe.child("successThreshold");
    let is_right = |number| number == 1 || (defaulted && number == 0);
    report.expect_number(&threshold, is_right, "1: one success is enough here", "A-CORE-77");
}
