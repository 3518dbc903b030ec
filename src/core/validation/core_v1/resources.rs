//! Resources of a container and how they may be resized.

use std::collections::HashSet;

use super::at::At;
use super::report::Report;
use crate::api::names::{is_dns_label, is_qualified_name};

const HUGE_PAGES: &str = "hugepages-";
const CPU_AND_MEMORY: [&str; 2] = ["cpu", "memory"];
const RESIZE_POLICIES: [&str; 2] = ["NotRequired", "RestartContainer"];
const RESOURCE_NAME: &str =
    "must be cpu, memory, ephemeral-storage, hugepages-<size> or one with a domain such as example.com/gpu";

/// Checks `resources`.
///
/// Rule: A-CORE-63, A-CORE-64, A-CORE-65.
pub(super) fn check(resources: &At<'_, '_>, report: &mut Report) {
    let (limits, requests) = (resources.child("limits"), resources.child("requests"));
    check_entries(&limits, report);
    check_entries(&requests, report);
    for (name, request) in requests.entries() {
        let limit = limits.value().and_then(|limits| limits.get(name)).map(|_| limits.key(name).quantity());
        let request = request.quantity();
        match limit {
            Some(limit) if !may_exceed(name) && request != limit => {
                let detail = format!("{name} is {request} and its limit {limit}, both must be equal");
                report.conflict(&requests, detail, "A-CORE-63");
            }
            Some(limit) if request > limit => {
                let detail = format!("{name} is {request}, must be at most its limit, which is {limit}");
                report.conflict(&requests, detail, "A-CORE-63");
            }
            None if !may_exceed(name) => {
                report.required(
                    &limits,
                    &format!("{name}, which is requested and needs a limit"),
                    "A-CORE-64",
                );
            }
            Some(_) | None => {}
        }
    }
    let has = |is_wanted: fn(&str) -> bool| {
        limits.entries().chain(requests.entries()).any(|(name, _)| is_wanted(name))
    };
    if has(|name| name.starts_with(HUGE_PAGES)) && !has(|name| CPU_AND_MEMORY.contains(&name)) {
        report.forbidden(resources, "huge pages need cpu or memory beside them", "A-CORE-65");
    }
    check_claims(&resources.child("claims"), report);
}

/// Checks `resizePolicy`; only a repeated resource is reported with its index.
///
/// Rule: A-CORE-67.
pub(super) fn check_resize_policy(policies: &At<'_, '_>, report: &mut Report) {
    const RULE: &str = "A-CORE-67";
    let mut seen = HashSet::new();
    for policy in policies.items() {
        let (resource, restart) = (policy.child("resourceName"), policy.child("restartPolicy"));
        if !seen.insert(resource.text()) {
            report.duplicate(&policy, "the resources of resizePolicy", RULE);
        }
        for (word, allowed) in [(&resource, &CPU_AND_MEMORY), (&restart, &RESIZE_POLICIES)] {
            report.need_one_of(&policies.holding(word), allowed, RULE);
        }
    }
}

/// Rule: A-CORE-61, A-CORE-62.
fn check_entries(list: &At<'_, '_>, report: &mut Report) {
    for (name, entry) in list.entries() {
        if !is_resource_name(name) {
            report.conflict(&entry, format!("found {name:?}, {RESOURCE_NAME}"), "A-CORE-61");
        }
        let quantity = entry.quantity();
        if quantity.is_negative() {
            report.invalid(&entry, "0 or more", "A-CORE-62");
        }
        if is_extended(name) && quantity.milli_rounded_up() % 1000 != 0 {
            report.invalid(&entry, "a whole number", "A-CORE-62");
        }
    }
}

/// A set declares no claims, so each of them names nothing.
///
/// Rule: A-CORE-66.
fn check_claims(claims: &At<'_, '_>, report: &mut Report) {
    const RULE: &str = "A-CORE-66";
    let mut seen = HashSet::new();
    for claim in claims.items() {
        let (name, request) = (claim.text_at("name"), claim.child("request"));
        if name.is_empty() {
            report.required(&claim, "the name of a resource claim of the Pod", RULE);
            continue;
        }
        if !request.text().is_empty() {
            report.expect(&request, is_dns_label, super::containers::DNS_LABEL, RULE);
        }
        if !seen.insert((name, request.text())) {
            report.duplicate(&claim, "the claims of the container", RULE);
        }
        report.not_found(&claim, "left out: a SidecarSet cannot declare resource claims", RULE);
    }
}

/// Whether a request may be below its limit or have none.
fn may_exceed(name: &str) -> bool {
    is_native(name) && !name.starts_with(HUGE_PAGES)
}

/// Whether Kubernetes itself defines the resource.
fn is_native(name: &str) -> bool {
    !name.contains('/') || name.contains("kubernetes.io/")
}

/// Whether a plugin defines the resource: a domain of its own, and short enough to be put under quota as `requests.<name>`.
fn is_extended(name: &str) -> bool {
    !is_native(name) && !name.starts_with("requests.") && is_qualified_name(&format!("requests.{name}"))
}

fn is_resource_name(name: &str) -> bool {
    if !is_qualified_name(name) {
        return false;
    }
    if name.contains('/') {
        return is_native(name) || is_extended(name);
    }
    CPU_AND_MEMORY.contains(&name) || name == "ephemeral-storage" || name.starts_with(HUGE_PAGES)
}
