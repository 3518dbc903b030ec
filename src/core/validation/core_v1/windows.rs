//! What only concerns containers on Windows.

use super::at::At;
use super::env::OBJECT_NAME;
use super::report::Report;
use crate::api::names::is_dns_subdomain;

/// The longest GMSA credential spec, in bytes.
const MAX_CREDENTIAL_SPEC: usize = 64 * 1024;
/// The longest domain of a user name, in bytes.
const MAX_DOMAIN: usize = 255;
/// The longest user name without its domain, in bytes.
const MAX_USER: usize = 104;
/// The longest NetBIOS domain, in characters.
const MAX_NET_BIOS: usize = 15;
const USER_NAME: &str = "a user, or domain and user with one \"\\\" between, as Windows writes them";

/// Checks `securityContext.windowsOptions`.
///
/// Rule: A-CORE-89.
pub(super) fn check_options(options: &At<'_, '_>, report: &mut Report) {
    const RULE: &str = "A-CORE-89";
    let name = options.child("gmsaCredentialSpecName");
    if name.is_present() {
        report.expect(&name, is_dns_subdomain, OBJECT_NAME, RULE);
    }
    let spec = options.child("gmsaCredentialSpec");
    if spec.is_present() {
        let fits = |text: &str| !text.is_empty() && text.len() <= MAX_CREDENTIAL_SPEC;
        report.expect(&spec, fits, "a text of 1 to 65536 bytes", RULE);
    }
    let user = options.child("runAsUserName");
    if user.is_present() {
        report.expect(&user, is_user_name, USER_NAME, RULE);
    }
}

/// Checks that no container is a host process: it would need all containers of the Pod to be one, and the network of the host.
///
/// Rule: A-CORE-94, A-CORE-95.
pub(super) fn check_host_process(spec: &At<'_, '_>, allow_privileged: bool, report: &mut Report) {
    const RULE: &str = "A-CORE-94";
    let is_host_process = |container: At<'_, '_>| {
        container.child("securityContext").child("windowsOptions").child("hostProcess").flag()
    };
    let (containers, init) = (spec.child("containers"), spec.child("initContainers"));
    let host_processes = containers.items().chain(init.items()).filter(|at| is_host_process(*at)).count();
    if host_processes == 0 {
        return;
    }
    // A Pod has at least one container of its own, of which nothing is known here.
    if host_processes != containers.list().len().max(1) + init.list().len() {
        report.conflict(spec, "windowsOptions.hostProcess must be true for all containers or for none", RULE);
    }
    let network = spec.child("hostNetwork");
    let detail =
        "windowsOptions.hostProcess needs a Pod with hostNetwork: true, which a SidecarSet cannot ask for";
    report.conflict(&network, detail, RULE);
    if !allow_privileged {
        let detail = "host-process containers are switched off; --allow-privileged allows them";
        report.forbidden(spec, detail, "A-CORE-95");
    }
}

/// Whether `text` can be `runAsUserName`.
fn is_user_name(text: &str) -> bool {
    let (domain, user) = match text.split_once('\\') {
        Some((domain, user)) => (Some(domain), user),
        None => (None, text),
    };
    let is_forbidden = |c: char| c.is_ascii_control() || "\"/\\:;|=,+*?<>@[]".contains(c);
    let is_blank = user.chars().all(|c| matches!(c, '.' | ' '));
    !is_blank && user.len() <= MAX_USER && !user.contains(is_forbidden) && domain.is_none_or(is_domain)
}

/// Whether `text` is a NetBIOS name or a DNS name.
fn is_domain(text: &str) -> bool {
    let is_forbidden = |c: char| c.is_ascii_control() || "\\/:*?\"<>|".contains(c);
    let is_net_bios = (1..=MAX_NET_BIOS).contains(&text.chars().count())
        && !text.starts_with('.')
        && !text.contains(is_forbidden);
    let alphanumeric = |c: char| c.is_ascii_alphanumeric();
    let is_dns = text.starts_with(alphanumeric)
        && text.ends_with(alphanumeric)
        && text.chars().all(|c| alphanumeric(c) || matches!(c, '.' | '-'));
    text.len() <= MAX_DOMAIN && (is_net_bios || is_dns)
}
