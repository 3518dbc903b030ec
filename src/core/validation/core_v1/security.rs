//! The security context of a container.

use super::at::At;
use super::report::Report;
use super::windows;
use crate::api::names::{is_relative_path, is_user_id};

const PROC_MOUNTS: [&str; 2] = ["Default", "Unmasked"];
const PROFILE_TYPES: [&str; 3] = ["Localhost", "RuntimeDefault", "Unconfined"];
const USER_ID: &str = "from 0 to 2147483647";
/// The longest path of an AppArmor profile, in bytes.
const MAX_PROFILE_PATH: usize = 4095;

/// Checks `securityContext`.
///
/// Rule: A-CORE-84, A-CORE-85, A-CORE-86.
pub(super) fn check(context: &At<'_, '_>, allow_privileged: bool, report: &mut Report) {
    if !context.is_present() {
        return;
    }
    let privileged = context.child("privileged");
    if privileged.flag() && !allow_privileged {
        let detail = "privileged containers are switched off; --allow-privileged allows them";
        report.forbidden(&privileged, detail, "A-CORE-84");
    }
    for id in ["runAsUser", "runAsGroup"] {
        report.expect_number(&context.child(id), is_user_id, USER_ID, "A-CORE-85");
    }
    let proc_mount = context.child("procMount");
    if proc_mount.is_present() {
        report.one_of(&proc_mount, &PROC_MOUNTS, "A-CORE-86");
        if proc_mount.text() == "Unmasked" {
            report.invalid(&proc_mount, "Default: Unmasked needs a Pod with a user namespace", "A-CORE-86");
        }
    }
    check_seccomp(&context.child("seccompProfile"), report);
    check_escalation(context, report);
    windows::check_options(&context.child("windowsOptions"), report);
    check_app_armor(&context.child("appArmorProfile"), report);
}

/// Rule: A-CORE-87.
fn check_seccomp(profile: &At<'_, '_>, report: &mut Report) {
    const RULE: &str = "A-CORE-87";
    if !profile.is_present() {
        return;
    }
    report.need_one_of(&profile.child("type"), &PROFILE_TYPES, RULE);
    let path = profile.child("localhostProfile");
    if profile.text_at("type") != "Localhost" {
        refuse_localhost_profile(&path, RULE, report);
    } else if path.is_present() {
        report.expect(&path, is_relative_path, "a relative path without \"..\"", RULE);
    } else {
        report.required(&path, "the profile, as the type is Localhost", RULE);
    }
}

/// Rule: A-CORE-88.
fn check_escalation(context: &At<'_, '_>, report: &mut Report) {
    const RULE: &str = "A-CORE-88";
    let escalation = context.child("allowPrivilegeEscalation");
    if !escalation.is_present() || escalation.flag() {
        return;
    }
    if context.child("privileged").flag() {
        report.conflict(context, "allowPrivilegeEscalation: false does not go with privileged: true", RULE);
    }
    let capabilities = context.child("capabilities");
    if capabilities.child("add").items().any(|capability| capability.text() == "CAP_SYS_ADMIN") {
        let detail = "allowPrivilegeEscalation: false does not go with the capability CAP_SYS_ADMIN";
        report.conflict(context, detail, RULE);
    }
}

/// Rule: A-CORE-90.
fn check_app_armor(profile: &At<'_, '_>, report: &mut Report) {
    const RULE: &str = "A-CORE-90";
    if !profile.is_present() {
        return;
    }
    report.need_one_of(&profile.child("type"), &PROFILE_TYPES, RULE);
    let path = profile.child("localhostProfile");
    if profile.text_at("type") != "Localhost" {
        return refuse_localhost_profile(&path, RULE, report);
    }
    let trimmed = path.text().trim();
    if trimmed.is_empty() {
        report.required(&path, "the profile, as the type is Localhost", RULE);
    }
    if trimmed != path.text() {
        report.invalid(&path, "without white space around it", RULE);
    }
    if path.text().len() > MAX_PROFILE_PATH {
        report.too_long(&path, MAX_PROFILE_PATH, RULE);
    }
}

fn refuse_localhost_profile(path: &At<'_, '_>, rule: &'static str, report: &mut Report) {
    if path.is_present() {
        report.invalid(path, "left out, as the type is not Localhost", rule);
    }
}
