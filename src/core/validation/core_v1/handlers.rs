//! What the kubelet does for a probe or a lifecycle hook.

use super::at::At;
use super::ports::{PORT_NAME, PORT_NUMBER};
use super::report::Report;
use crate::api::names::{is_header_name, is_port_name, is_port_number};

/// The handlers of a probe, in the order in which the first one counts.
pub(super) const PROBE_HANDLERS: [&str; 4] = ["exec", "httpGet", "tcpSocket", "grpc"];
/// The same for a lifecycle hook.
const HOOK_HANDLERS: [&str; 4] = ["exec", "httpGet", "tcpSocket", "sleep"];
const SCHEMES: [&str; 2] = ["HTTP", "HTTPS"];
/// The longest sleep of a hook: the default grace period of a Pod, in seconds.
const MAX_SLEEP_SECONDS: i64 = 30;

/// Checks `lifecycle`.
///
/// Rule: A-CORE-70.
pub(super) fn check_lifecycle(lifecycle: &At<'_, '_>, report: &mut Report) {
    for hook in ["postStart", "preStop"] {
        let hook = lifecycle.child(hook);
        if hook.is_present() {
            check(&hook, &HOOK_HANDLERS, false, report);
        }
    }
}

/// Checks that there is one of `handlers`, and this one. `defaulted`: an empty path and scheme of `httpGet` count as filled.
///
/// Rule: A-CORE-70.
pub(super) fn check(at: &At<'_, '_>, handlers: &[&str], defaulted: bool, report: &mut Report) {
    let mut first = None;
    for name in handlers {
        let handler = at.child(name);
        if !handler.is_present() {
            continue;
        }
        if let Some(first) = first {
            let detail = format!("may not be given beside {first}; there must be one handler");
            report.forbidden(&handler, detail, "A-CORE-70");
        } else {
            first = Some(*name);
            check_one(&handler, name, defaulted, report);
        }
    }
    if first.is_none() {
        report.required(at, &format!("one of {}", handlers.join(", ")), "A-CORE-70");
    }
}

/// Rule: A-CORE-71, A-CORE-73, A-CORE-74.
fn check_one(handler: &At<'_, '_>, name: &str, defaulted: bool, report: &mut Report) {
    match name {
        "exec" => {
            report.need(&handler.child("command"), "the command and its arguments", "A-CORE-71");
        }
        "httpGet" => check_http(handler, defaulted, report),
        "tcpSocket" => check_port(&handler.child("port"), "A-CORE-73", report),
        "grpc" => report.expect_number(&handler.child("port"), is_port_number, PORT_NUMBER, "A-CORE-73"),
        _ => check_sleep(handler, report),
    }
}

/// Rule: A-CORE-72.
fn check_http(http: &At<'_, '_>, defaulted: bool, report: &mut Report) {
    const RULE: &str = "A-CORE-72";
    let (path, scheme) = (http.child("path"), http.child("scheme"));
    if !defaulted {
        report.need(&path, "the path of the request, such as \"/\"", RULE);
    }
    if !defaulted || !scheme.text().is_empty() {
        report.one_of(&scheme, &SCHEMES, RULE);
    }
    check_port(&http.child("port"), RULE, report);
    let headers = http.child("httpHeaders");
    for header in headers.items() {
        if !is_header_name(header.text_at("name")) {
            let detail =
                format!("found the name {:?}, must be letters, digits and '-'", header.text_at("name"));
            report.conflict(&headers, detail, RULE);
        }
    }
}

/// A port by number or by name.
fn check_port(port: &At<'_, '_>, rule: &'static str, report: &mut Report) {
    if port.value().is_some_and(serde_json::Value::is_string) {
        report.expect(port, is_port_name, PORT_NAME, rule);
    } else {
        report.expect_number(port, is_port_number, PORT_NUMBER, rule);
    }
}

/// A sleep of no time is fine for newer Kubernetes.
///
/// Rule: A-CORE-74.
/// Decision: D-16.
fn check_sleep(sleep: &At<'_, '_>, report: &mut Report) {
    const RULE: &str = "A-CORE-74";
    match sleep.child("seconds").number() {
        1..=MAX_SLEEP_SECONDS => {}
        0 => report.warn(sleep, "a sleep of 0 seconds is refused by older versions of Kubernetes", RULE),
        found => {
            let detail = format!("found {found} seconds, must be from 0 to {MAX_SLEEP_SECONDS}");
            report.conflict(sleep, detail, RULE);
        }
    }
}
