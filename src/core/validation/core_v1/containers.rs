//! Containers and init containers: what both have, and what only one kind has.

use std::collections::HashSet;

use super::at::At;
use super::ports::{self, HostPorts};
use super::report::Report;
use super::volumes::Volumes;
use super::{env, handlers, mounts, probes, resources, security};
use crate::api::names::is_dns_label;

/// What a name of a container, a volume or a namespace has to be.
pub(super) const DNS_LABEL: &str =
    "at most 63 lower-case letters, digits and hyphens, with a letter or digit at both ends";
/// When a node fetches an image.
pub(super) const PULL_POLICIES: [&str; 3] = ["Always", "IfNotPresent", "Never"];
const TERMINATION_POLICIES: [&str; 2] = ["File", "FallbackToLogsOnError"];
const RESTART_POLICIES: [&str; 3] = ["Always", "OnFailure", "Never"];
/// What only native sidecars among the init containers may have.
const SIDECAR_MEMBERS: [&str; 4] = ["lifecycle", "livenessProbe", "readinessProbe", "startupProbe"];

/// What the containers of one set have around them.
#[derive(Debug)]
pub(super) struct Setting<'s, 'v> {
    /// The valid volumes of the set.
    pub(super) volumes: &'s Volumes<'v>,
    /// Whether a container may be privileged (A-API-P3).
    pub(super) allow_privileged: bool,
}

/// Checks `containers` and returns their names.
///
/// Rule: A-CORE-38, A-CORE-80, A-CORE-81.
pub(super) fn check<'v>(
    containers: &At<'v, '_>,
    setting: &Setting<'_, '_>,
    report: &mut Report,
) -> HashSet<&'v str> {
    let mut names = HashSet::new();
    let mut host_ports = HostPorts::new();
    for container in containers.items() {
        check_common(&container, setting, report);
        let name = container.child("name");
        if !names.insert(name.text()) {
            report.duplicate(&name, "the containers", "A-CORE-80");
        }
        let lifecycle = container.child("lifecycle");
        handlers::check_lifecycle(&lifecycle, report);
        probes::check(&container, report);
        check_restart_policy(&container, report);
        ports::check_host_ports(&container.child("ports"), &mut host_ports, report);
    }
    names
}

/// Checks `initContainers`; `names` are those of the containers.
///
/// Rule: A-CORE-38, A-CORE-82, A-CORE-83, A-CORE-91, A-CORE-92, A-CORE-93.
pub(super) fn check_init<'v>(
    containers: &At<'v, '_>,
    mut names: HashSet<&'v str>,
    setting: &Setting<'_, '_>,
    report: &mut Report,
) {
    for container in containers.items() {
        check_common(&container, setting, report);
        let restart_policy = container.child("restartPolicy");
        if restart_policy.is_present() {
            check_init_restart_policy(&restart_policy, report);
        }
        let is_sidecar = restart_policy.text() == "Always";
        let name = container.child("name");
        if names.contains(name.text()) {
            report.duplicate(&name, "the containers and init containers", "A-CORE-83");
        } else if !name.text().is_empty() {
            names.insert(name.text());
        }
        // Init containers run one after the other, so each has the ports of the node to itself; upstream reports on the first.
        let first = container.numbered(0);
        ports::check_host_ports(&first.child("ports"), &mut HostPorts::new(), report);
        if is_sidecar {
            handlers::check_lifecycle(&container.child("lifecycle"), report);
            probes::check(&container, report);
        } else {
            for member in SIDECAR_MEMBERS {
                let member = container.child(member);
                if member.is_present() {
                    report.forbidden(
                        &member,
                        "needs restartPolicy: Always on the init container",
                        "A-CORE-91",
                    );
                }
            }
        }
        check_init_resize_policy(&container.child("resizePolicy"), is_sidecar, report);
    }
}

/// Checks that no image has white space around it; upstream does so last.
///
/// Rule: A-CORE-32.
pub(super) fn check_images(containers: &At<'_, '_>, report: &mut Report) {
    for container in containers.items() {
        let image = container.child("image");
        report.expect(&image, |text| text.trim() == text, "without white space around it", "A-CORE-32");
    }
}

/// Rule: A-CORE-31, A-CORE-32, A-CORE-33, A-CORE-60.
fn check_common(container: &At<'_, '_>, setting: &Setting<'_, '_>, report: &mut Report) {
    report.need_text(&container.child("name"), is_dns_label, DNS_LABEL, "A-CORE-31");
    report.need(&container.child("image"), "the image to run", "A-CORE-32");
    report.need_one_of(&container.child("terminationMessagePolicy"), &TERMINATION_POLICIES, "A-CORE-33");
    ports::check(&container.child("ports"), report);
    env::check(&container.child("env"), report);
    env::check_from(&container.child("envFrom"), report);
    mounts::check(container, setting.volumes, report);
    report.need_one_of(&container.child("imagePullPolicy"), &PULL_POLICIES, "A-CORE-60");
    resources::check(&container.child("resources"), report);
    resources::check_resize_policy(&container.child("resizePolicy"), report);
    security::check(&container.child("securityContext"), setting.allow_privileged, report);
}

/// Newer Kubernetes lets a plain container have a restart policy.
///
/// Rule: A-CORE-81.
/// Decision: D-16.
fn check_restart_policy(container: &At<'_, '_>, report: &mut Report) {
    const RULE: &str = "A-CORE-81";
    let policy = container.child("restartPolicy");
    if !policy.is_present() {
        return;
    }
    if RESTART_POLICIES.contains(&policy.text()) {
        report.warn(
            &policy,
            "a restartPolicy of a plain container is refused by older versions of Kubernetes",
            RULE,
        );
    } else {
        let detail =
            format!("found {:?}, must be one of {}, or none", policy.text(), RESTART_POLICIES.join(", "));
        report.forbidden(&policy, detail, RULE);
    }
}

/// Older Kubernetes knows only `Always`.
///
/// Rule: A-CORE-82.
/// Decision: D-16.
fn check_init_restart_policy(policy: &At<'_, '_>, report: &mut Report) {
    const RULE: &str = "A-CORE-82";
    report.one_of(policy, &RESTART_POLICIES, RULE);
    if matches!(policy.text(), "OnFailure" | "Never") {
        let detail = format!("restartPolicy {} is refused by older versions of Kubernetes", policy.text());
        report.warn(policy, detail, RULE);
    }
}

/// Newer Kubernetes resizes native sidecars too.
///
/// Rule: A-CORE-93.
/// Decision: D-16.
fn check_init_resize_policy(policies: &At<'_, '_>, is_sidecar: bool, report: &mut Report) {
    const RULE: &str = "A-CORE-93";
    if policies.list().is_empty() {
        return;
    }
    if is_sidecar {
        report.warn(
            policies,
            "resizePolicy of a native sidecar is refused by older versions of Kubernetes",
            RULE,
        );
    } else {
        report.conflict(policies, "may be given for an init container only with restartPolicy: Always", RULE);
    }
}
