//! The controller, where there is one: whether it runs, what it may do, and where it keeps revisions.

use serde_json::Value;

use super::facts::{CONTROLLER, Facts};
use super::object::option;
use super::rights::{ControllerSettings, verdict};
use super::workload::available;
use super::{Finding, fetched};

pub(super) fn check(facts: &Facts) -> Vec<Finding> {
    const CHECK: &str = "controller-deployment";
    let namespace = &facts.target.namespace;
    let controller = match fetched(CHECK, "the Deployment of the controller", &facts.controller) {
        Err(finding) => return vec![finding],
        Ok(None) => {
            let found = format!(
                "there is no Deployment {CONTROLLER} in namespace {namespace}: no status, no revisions and no rollouts from us"
            );
            let fix = "none if that is meant (component webhook-only; Helm: controller.enabled=false); otherwise apply the manifests or the chart again";
            return vec![Finding::skipped(CHECK, found, fix)];
        }
        Ok(Some(controller)) => controller,
    };
    vec![deployment(CHECK, controller, namespace), rights(facts), revisions(controller, facts)]
}

/// Check `controller-deployment`. One replica is enough: nobody waits for it.
fn deployment(check: &'static str, controller: &Value, namespace: &str) -> Finding {
    let (available, wanted) = available(controller);
    let found = format!("{available} of {wanted} replicas are available");
    let fix = format!(
        "kubectl -n {namespace} describe deployment {CONTROLLER}; kubectl -n {namespace} logs deployment/{CONTROLLER}"
    );
    match available {
        0 => Finding::fail(check, format!("{found}: status and rollouts of sets stand still"), fix),
        _ if available < wanted => Finding::warn(check, found, fix),
        _ => Finding::ok(check, found),
    }
}

/// Check `controller-rights`.
fn rights(facts: &Facts) -> Finding {
    let account = format!("the ServiceAccount of {CONTROLLER}");
    let fix = format!(
        "apply the ClusterRoles and Roles {CONTROLLER} and their bindings of the manifests or the chart again"
    );
    verdict("controller-rights", &account, &facts.controller_rights, &fix)
}

/// Check `revision-namespace`: what the controller writes is what the webhook reads.
fn revisions(controller: &Value, facts: &Facts) -> Finding {
    const CHECK: &str = "revision-namespace";
    let webhook = match fetched(CHECK, "the Deployment of the webhook", &facts.deployment) {
        Err(finding) => return finding,
        Ok(None) => return Finding::skipped(CHECK, "there is no webhook to compare with", "see deployment"),
        Ok(Some(webhook)) => webhook,
    };
    if option(webhook, "sidecarsets").is_some() {
        return Finding::ok(CHECK, "the webhook reads a folder and no revisions");
    }
    let read = facts.revision_namespace.0.as_str();
    let written = ControllerSettings::of(controller, &facts.target.namespace).revisions;
    if read == written {
        return Finding::ok(CHECK, format!("webhook and controller use {read}"));
    }
    Finding::fail(
        CHECK,
        format!(
            "the controller keeps revisions in {written}, the webhook reads them in {read}: sets that are pinned to a revision do not find it"
        ),
        format!(
            "give the Deployments {} and {CONTROLLER} the same --revision-namespace (Helm: revisionNamespace, which sets both) and the right there",
            facts.target.service
        ),
    )
}
