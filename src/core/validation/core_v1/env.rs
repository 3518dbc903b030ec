//! Environment variables of a container.

use super::at::At;
use super::references::{self, Reader};
use super::report::Report;
use crate::api::names::{is_config_key, is_dns_subdomain, is_env_name, is_strict_env_name};

/// What a reference to another object has to be.
pub(super) const OBJECT_NAME: &str =
    "a name of lower-case letters, digits, '-' and '.', at most 253, with a letter or digit at both ends";
const ENV_NAME: &str = "a name of printable ASCII characters without '='";
const CONFIG_KEY: &str = "a key of at most 253 letters, digits, '-', '_', '.', not beginning with \"..\"";
const SOURCES: [&str; 4] = ["fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef"];

/// Checks the list `env`.
///
/// Rule: A-CORE-40, A-CORE-41.
pub(super) fn check(env: &At<'_, '_>, report: &mut Report) {
    for variable in env.items() {
        let name = variable.child("name");
        if report.need(&name, ENV_NAME, "A-CORE-40") {
            check_name(&name, "A-CORE-40", report);
        }
        let source = variable.child("valueFrom");
        if source.is_present() {
            check_source(&source, variable.text_at("value").is_empty(), report);
        }
    }
}

/// Checks the list `envFrom`.
///
/// Rule: A-CORE-47, A-CORE-48, A-CORE-49.
pub(super) fn check_from(list: &At<'_, '_>, report: &mut Report) {
    for entry in list.items() {
        let prefix = entry.child("prefix");
        if !prefix.text().is_empty() {
            check_name(&prefix, "A-CORE-47", report);
        }
        let mut sources = 0;
        for source in ["configMapRef", "secretRef"] {
            let source = entry.child(source);
            if source.is_present() {
                sources += 1;
                report.need_text(&source.child("name"), is_dns_subdomain, OBJECT_NAME, "A-CORE-49");
            }
        }
        if sources != 1 {
            let detail = format!("an entry has {sources} sources, must have configMapRef or secretRef");
            report.conflict(list, detail, "A-CORE-48");
        }
    }
}

/// Newer Kubernetes takes more names than the strict form; older ones then refuse the Pod.
///
/// Decision: D-16.
fn check_name(name: &At<'_, '_>, rule: &'static str, report: &mut Report) {
    if !is_env_name(name.text()) {
        report.invalid(name, ENV_NAME, rule);
    } else if !is_strict_env_name(name.text()) {
        let detail =
            format!("the variable name {:?} is refused by older versions of Kubernetes", name.text());
        report.warn(name, detail, rule);
    }
}

/// Checks `valueFrom`. A source that only a newer Kubernetes knows is left to the API server.
///
/// Rule: A-CORE-41, A-CORE-42, A-CORE-43, A-CORE-44.
/// Decision: D-17.
fn check_source(source: &At<'_, '_>, value_is_empty: bool, report: &mut Report) {
    const RULE: &str = "A-CORE-41";
    let sources = SOURCES.iter().filter(|name| source.child(name).is_present()).count();
    let unknown = source.member_names().find(|name| !SOURCES.contains(name));
    match (sources, unknown) {
        (0, Some(unknown)) => {
            report.warn(source, format!("the source {unknown:?} is not known here and not checked"), RULE);
        }
        (0, None) => {
            report.conflict(source, format!("has no source, must have one of {}", SOURCES.join(", ")), RULE)
        }
        _ if !value_is_empty => {
            report.conflict(source, "may not be given together with value; remove one of them", RULE)
        }
        (1, _) => {}
        _ => report.conflict(source, format!("has {sources} sources, must have one"), RULE),
    }
    let field = source.child("fieldRef");
    if field.is_present() {
        references::check_field(&field, Reader::Env, report);
    }
    let resource = source.child("resourceFieldRef");
    if resource.is_present() {
        references::check_resource(&resource, Reader::Env, report);
    }
    for name in ["configMapKeyRef", "secretKeyRef"] {
        let reference = source.child(name);
        if reference.is_present() {
            report.expect(&reference.child("name"), is_dns_subdomain, OBJECT_NAME, "A-CORE-44");
            report.need_text(&reference.child("key"), is_config_key, CONFIG_KEY, "A-CORE-44");
        }
    }
}
