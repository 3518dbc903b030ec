//! Our own objects in their namespace: is somebody there to answer.

use serde_json::Value;
use sidecarset_core::api::quantity::Quantity;

use super::facts::Facts;
use super::object::{container, items, option, text};
use super::webhooks::{Purpose, hooks};
use super::{Finding, fetched};

/// Memory of a webhook without sets, measured: docs/reliability.md.
const BASE_BYTES: i128 = 20_000_000;
/// Memory of one set, measured with 50,000 of 1.4 KB while they are listed again: docs/reliability.md.
const BYTES_OF_SET: i128 = 10_000;

pub(super) fn check(facts: &Facts) -> Vec<Finding> {
    vec![namespaces(facts), deployment(facts), memory(facts), service(facts)]
}

/// Check `namespaces`: ours, and the one of stored revisions.
fn namespaces(facts: &Facts) -> Finding {
    const CHECK: &str = "namespaces";
    let (revisions, revisions_found) = &facts.revision_namespace;
    let own = facts.target.namespace.as_str();
    for (name, namespace) in [(own, &facts.namespace), (revisions.as_str(), revisions_found)] {
        match fetched(CHECK, &format!("the namespace {name}"), namespace) {
            Err(finding) => return finding,
            Ok(None) if name == own => {
                let fix = "install, or name the right one with --namespace";
                return Finding::fail(CHECK, format!("there is no namespace {name}"), fix);
            }
            Ok(None) => {
                let fix = "correct --revision-namespace of the webhook: sets cannot be pinned to a revision";
                return Finding::fail(
                    CHECK,
                    format!("there is no namespace {name} for stored revisions"),
                    fix,
                );
            }
            Ok(Some(found)) if text(found, "/status/phase") == "Terminating" => {
                let fix = format!("kubectl get namespace {name} -o yaml, and see what it waits for");
                return Finding::fail(CHECK, format!("the namespace {name} is being deleted"), fix);
            }
            Ok(Some(_)) => {}
        }
    }
    let same = if own == revisions {
        "also for stored revisions".to_owned()
    } else {
        format!("stored revisions in {revisions}")
    };
    Finding::ok(CHECK, format!("{own}, {same}"))
}

/// Check `deployment`.
fn deployment(facts: &Facts) -> Finding {
    const CHECK: &str = "deployment";
    let (name, namespace) = (&facts.target.service, &facts.target.namespace);
    let deployment = match fetched(CHECK, "the Deployment", &facts.deployment) {
        Err(finding) => return finding,
        Ok(None) => {
            let found = format!("there is no Deployment {name} in namespace {namespace}");
            return Finding::warn(CHECK, found, "install, or name it with --namespace and --service");
        }
        Ok(Some(deployment)) => deployment,
    };
    let (available, wanted) = available(deployment);
    let found = format!("{available} of {wanted} replicas are available");
    let fix = format!(
        "kubectl -n {namespace} describe deployment {name}; kubectl -n {namespace} logs deployment/{name}"
    );
    let fails_closed = hooks(facts).iter().any(|hook| hook.purpose == Purpose::Pods && !hook.fails_open());
    match (available, wanted) {
        (0, _) => Finding::fail(CHECK, found, fix),
        (1, 1) if fails_closed => Finding::warn(
            CHECK,
            format!(
                "{found}, and failurePolicy is Fail: no Pod starts while that one restarts on another node"
            ),
            format!("kubectl -n {namespace} scale deployment {name} --replicas=2"),
        ),
        (available, wanted) if available < wanted => Finding::warn(CHECK, found, fix),
        _ => Finding::ok(CHECK, found),
    }
}

/// Replicas of a Deployment that are available, and that are wanted.
pub(super) fn available(deployment: &Value) -> (i64, i64) {
    let number = |pointer: &str| deployment.pointer(pointer).and_then(Value::as_i64).unwrap_or(0);
    (number("/status/availableReplicas"), number("/spec/replicas"))
}

/// Check `memory`: whether a replica may use what the sets of the cluster need.
fn memory(facts: &Facts) -> Finding {
    const CHECK: &str = "memory";
    let deployment = match fetched(CHECK, "the Deployment", &facts.deployment) {
        Err(finding) => return finding,
        Ok(None) => return Finding::skipped(CHECK, "there is no Deployment", "see deployment"),
        Ok(Some(deployment)) => deployment,
    };
    if option(deployment, "sidecarsets").is_some() {
        return Finding::ok(CHECK, "the sets come from a folder");
    }
    let limit = container(deployment).map_or("", |it| text(it, "/resources/limits/memory"));
    let Ok(bytes) = Quantity::parse(limit).map(|limit| limit.milli_rounded_up() / 1000) else {
        return Finding::ok(CHECK, "a replica has no limit");
    };
    let sets = match fetched(CHECK, "how many SidecarSets there are", &facts.sets) {
        Err(finding) => return finding,
        Ok(sets) => sets.copied().unwrap_or_default(),
    };
    let megabytes = (BASE_BYTES + BYTES_OF_SET * i128::from(sets)).div_euclid(1_000_000);
    let found = format!("{sets} sets need about {megabytes} MB, the limit of a replica is {limit}");
    if megabytes * 1_000_000 <= bytes {
        return Finding::ok(CHECK, found);
    }
    let fix = format!(
        "raise resources.limits.memory of the Deployment {} (Helm: resources.limits.memory) to {}M, with half as much again for what comes",
        facts.target.service,
        megabytes * 3 / 2
    );
    Finding::warn(CHECK, found, fix)
}

/// Check `service`: the address that the API server calls leads to a Pod that is ready.
fn service(facts: &Facts) -> Finding {
    const CHECK: &str = "service";
    let target = facts.target.service_name();
    let (name, namespace) = (&facts.target.service, &facts.target.namespace);
    match fetched(CHECK, "the Service", &facts.service) {
        Err(finding) => return finding,
        Ok(None) => {
            return Finding::fail(
                CHECK,
                format!("there is no Service {target}"),
                "apply the manifests or the chart again",
            );
        }
        Ok(Some(_)) => {}
    }
    let slices = match fetched(CHECK, "the EndpointSlices of the Service", &facts.endpoint_slices) {
        Err(finding) => return finding,
        Ok(slices) => slices.map(Vec::as_slice).unwrap_or_default(),
    };
    let endpoints: Vec<&Value> = slices.iter().flat_map(|slice| items(slice, "/endpoints")).collect();
    let is_ready = |endpoint: &&&Value| endpoint.pointer("/conditions/ready") != Some(&Value::Bool(false));
    let ready = endpoints.iter().filter(is_ready).count();
    let fix = format!(
        "kubectl -n {namespace} get pods; are they ready, and does the selector of the Service {name} fit their labels?"
    );
    match (ready, endpoints.len()) {
        (0, 0) => Finding::fail(CHECK, format!("the Service {target} has no endpoint"), fix),
        (0, all) => Finding::fail(CHECK, format!("none of the {all} endpoints of {target} is ready"), fix),
        (ready, all) => Finding::ok(CHECK, format!("{ready} of {all} endpoints of {target} are ready")),
    }
}
