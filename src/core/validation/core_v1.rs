//! The rules of Kubernetes for the containers and volumes of a SidecarSet: what the API server would say about a Pod that has them.
//!
//! The input is a `spec` that [`crate::api::decode`] found readable and that is defaulted; what has the wrong type anyway counts as
//! absent. Names stay unique and mounts find their volumes within the set alone: the Pods are not known yet.

mod at;
mod claim_template;
mod containers;
mod env;
mod handlers;
mod mounts;
mod ports;
mod probes;
mod references;
mod report;
mod resources;
mod security;
mod selectors;
mod volumes;
mod windows;

use serde_json::Value;

use crate::field::FieldError;
use at::At;
use containers::Setting;
use report::Report;

/// What [`validate`] has to say, in no particular order.
#[derive(Debug, Default)]
pub(crate) struct Output {
    /// What keeps the set from being accepted.
    pub(crate) findings: Vec<FieldError>,
    /// What is accepted and may yet fail on some clusters.
    pub(crate) warnings: Vec<FieldError>,
}

/// Checks volumes, containers and init containers of a defaulted `spec` in v1beta1. A set without containers of either list is not
/// looked at (A-VAL-24). `allow_privileged` is the flag of that name (A-API-P3).
///
/// No stand-in container called `test` takes part, and no Pod called `test` owns volume claims: what is legal in the set is accepted.
///
/// Rule: A-CORE-1, A-CORE-2, A-CORE-3, A-CORE-4.
/// Decision: D-16, D-19.
pub(crate) fn validate(spec: &Value, allow_privileged: bool) -> Output {
    let mut report = Report::default();
    let spec = At::root("spec", spec);
    let (containers, init_containers) = (spec.child("containers"), spec.child("initContainers"));
    if !containers.list().is_empty() || !init_containers.list().is_empty() {
        let volumes = volumes::check(&spec.child("volumes"), &mut report);
        let setting = Setting { volumes: &volumes, allow_privileged };
        let names = containers::check(&containers, &setting, &mut report);
        containers::check_init(&init_containers, names, &setting, &mut report);
        windows::check_host_process(&spec, allow_privileged, &mut report);
        containers::check_images(&containers, &mut report);
        containers::check_images(&init_containers, &mut report);
    }
    let Report { findings, warnings } = report;
    Output { findings, warnings }
}

/// What is wrong with a label selector at `path`; the empty one is fine here.
///
/// Rule: A-VAL-25.
pub(super) fn check_selector(selector: &Value, path: &str, rule: &'static str) -> Vec<FieldError> {
    let mut report = Report::default();
    selectors::check(&At::root(path, selector), rule, &mut report);
    report.findings
}

#[cfg(test)]
mod tests;
