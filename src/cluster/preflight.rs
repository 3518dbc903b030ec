//! `sidecarset preflight`: what is right and wrong about a cluster, before and after the install.
//!
//! [`fetch`] asks the API server and fills [`facts::Facts`]; each check is a function of them that calls nobody. So every
//! verdict can be tested from a table, and no check sees the cluster at another time than the others.

pub mod certificate;
mod controller;
mod definition;
pub mod facts;
pub mod fetch;
mod managers;
mod object;
mod reach;
mod rights;
#[cfg(test)]
mod tests;
pub mod trial;
mod webhooks;
mod workload;

use serde::Serialize;

use facts::{Facts, Fetched, Phase};

/// The page that says how to move between OpenKruise and us.
const MIGRATION_PAGE: &str = "docs/migration.md";
/// Oldest minor version of Kubernetes 1 that we support.
const OLDEST_MINOR: u32 = 28;
/// Oldest one in which `matchConditions` are stable.
const STABLE_MINOR: u32 = 30;
/// Newest one before it, where they are beta.
const BETA_MINOR: u32 = STABLE_MINOR - 1;
/// Newest minor version whose API our types describe.
const NEWEST_MINOR: u32 = 37;

/// How good what was found is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As it should be.
    Ok,
    /// Could not be checked.
    Skipped,
    /// Works, and probably is not meant.
    Warn,
    /// Does not work.
    Fail,
}

/// The outcome of one check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Which check; `docs/troubleshoot.md` has a section of this name.
    pub check: &'static str,
    /// The verdict.
    pub level: Level,
    /// What was found.
    pub found: String,
    /// What to do; a command where there is one. Empty if nothing is to be done.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub fix: String,
}

impl Finding {
    fn ok(check: &'static str, found: impl Into<String>) -> Self {
        Self { check, level: Level::Ok, found: found.into(), fix: String::new() }
    }

    fn warn(check: &'static str, found: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { check, level: Level::Warn, found: found.into(), fix: fix.into() }
    }

    fn fail(check: &'static str, found: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { check, level: Level::Fail, found: found.into(), fix: fix.into() }
    }

    fn skipped(check: &'static str, found: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { check, level: Level::Skipped, found: found.into(), fix: fix.into() }
    }
}

/// Every finding, in the order in which a person would look: first what others depend on.
#[must_use]
pub fn judge(facts: &Facts) -> Vec<Finding> {
    let mut findings = vec![kubernetes(facts)];
    findings.extend(definition::check(facts));
    findings.extend(managers::check(facts));
    findings.extend(rights::check(facts));
    if facts.phase == Phase::After {
        findings.extend(workload::check(facts));
        findings.extend(controller::check(facts));
        findings.extend(webhooks::check(facts));
        findings.extend(certificate::check(facts));
        findings.extend(reach::check(facts));
    }
    findings
}

/// Check `kubernetes`: whether the API server is of a version that we know.
fn kubernetes(facts: &Facts) -> Finding {
    const CHECK: &str = "kubernetes";
    let (version, minor) = (&facts.version.git_version, facts.version.minor);
    if !facts.admission_versions.iter().any(|version| version == "v1") {
        let served = facts.admission_versions.join(", ");
        return Finding::fail(
            CHECK,
            format!("{version} serves admissionregistration.k8s.io in the versions: {served}"),
            format!("v1 has to be served; use Kubernetes 1.{OLDEST_MINOR} or newer"),
        );
    }
    match minor {
        ..OLDEST_MINOR => Finding::fail(
            CHECK,
            format!("{version} is older than 1.{OLDEST_MINOR}"),
            format!("upgrade the control plane to 1.{OLDEST_MINOR} or newer"),
        ),
        OLDEST_MINOR..=BETA_MINOR => Finding::warn(
            CHECK,
            format!("{version} is older than 1.{STABLE_MINOR}: matchConditions of webhooks are beta there"),
            format!(
                "upgrade to 1.{STABLE_MINOR}, or see to it that the API server has the feature gate AdmissionWebhookMatchConditions"
            ),
        ),
        STABLE_MINOR..=NEWEST_MINOR => Finding::ok(CHECK, version),
        _ => Finding::warn(
            CHECK,
            format!("{version} is newer than 1.{NEWEST_MINOR}, the newest that this version knows"),
            "look for a newer sidecarset",
        ),
    }
}

/// What was fetched, or the finding that it could not be.
fn fetched<'f, T>(check: &'static str, what: &str, fact: &'f Fetched<T>) -> Result<Option<&'f T>, Finding> {
    match fact {
        Fetched::Found(found) => Ok(Some(found)),
        Fetched::Absent => Ok(None),
        Fetched::Refused(why) => Err(Finding::skipped(
            check,
            format!("cannot read {what}: {why}"),
            "use an account that may read it",
        )),
    }
}
