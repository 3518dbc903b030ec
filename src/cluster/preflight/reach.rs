//! What the API server really does: the answers to trials.

use sidecarset_core::api::keys::HASH;

use super::Finding;
use super::facts::{Facts, Target};
use super::object::text;
use super::trial::{Answer, Calls, PodTrial, SetTrial};
use super::webhooks::{Hook, Purpose, hooks};

pub(super) fn check(facts: &Facts) -> Vec<Finding> {
    let hooks = hooks(facts);
    let pods = hooks.iter().find(|hook| hook.purpose == Purpose::Pods);
    let mut findings = Vec::new();
    if let (Some(hook), Some(trial)) = (pods, &facts.pod_trial) {
        findings.push(pod(hook, trial, facts));
    }
    if let Some(trial) = &facts.set_trial {
        findings.push(sets(trial, facts));
    }
    findings
}

/// Check `pod-trial`.
fn pod(hook: &Hook<'_>, trial: &PodTrial, facts: &Facts) -> Finding {
    const CHECK: &str = "pod-trial";
    const ELSEWHERE: &str = "name another namespace with --probe-namespace";
    let (webhook, namespace) = (text(hook.value, "/name"), &trial.namespace);
    if let Answer::Refused(_, message) = &trial.answer {
        if message.contains("failed calling webhook") && message.contains(webhook) {
            return failed_call(CHECK, message, &facts.target);
        }
        if message.contains(&format!("webhook \"{webhook}\" denied")) {
            let fix = "sidecarset explain tells which set denies a Pod";
            return Finding::warn(
                CHECK,
                format!("the webhook answers, and denies a Pod without anything: {message}"),
                fix,
            );
        }
        if message.contains("cannot create resource") {
            let found = format!("no Pod can be tried in {namespace}: {message}");
            return Finding::skipped(
                CHECK,
                found,
                format!("use an account that may create Pods, or {ELSEWHERE}"),
            );
        }
        let found = format!("something else refuses the Pod in {namespace}: {message}");
        return Finding::warn(CHECK, found, ELSEWHERE);
    }
    let excluded = hook.excluded_by(&trial.namespace_labels, &trial.labels);
    match (trial.calls, excluded) {
        // What the counters tell is about the Pods of others then.
        (_, Some(selector)) => {
            Finding::skipped(CHECK, format!("the {selector} exempts the trial Pod in {namespace}"), ELSEWHERE)
        }
        (Calls::Answered, None) => {
            Finding::ok(CHECK, format!("the API server asked about a Pod in {namespace} and got an answer"))
        }
        (Calls::FailedOpen, None) => Finding::fail(
            CHECK,
            "the API server got no answer, and failurePolicy Ignore let the Pod through without sidecars",
            format!(
                "set failurePolicy to Fail for a moment and try again: the message then tells why; {}",
                logs(&facts.target)
            ),
        ),
        (Calls::None, None) => Finding::warn(
            CHECK,
            format!("the API server did not ask about a Pod in {namespace}; matchConditions may exempt it"),
            ELSEWHERE,
        ),
        (Calls::Unknown, None) if hook.value.get("matchConditions").is_some() => Finding::skipped(
            CHECK,
            "the Pod got through, which proves nothing with matchConditions",
            "use an account that may read /metrics of the API server",
        ),
        (Calls::Unknown, None) if hook.fails_open() => Finding::skipped(
            CHECK,
            "the Pod got through, which proves nothing with failurePolicy Ignore",
            "use an account that may read /metrics of the API server",
        ),
        (Calls::Unknown, None) => Finding::ok(
            CHECK,
            format!("a Pod in {namespace} got through, which needs an answer with failurePolicy Fail"),
        ),
    }
}

/// Check `set-trial`: defaults, validation and conversion.
fn sets(trial: &SetTrial, facts: &Facts) -> Finding {
    const CHECK: &str = "set-trial";
    let hashed = |set: &serde_json::Value| {
        set.pointer("/metadata/annotations").is_some_and(|all| all.get(HASH).is_some())
    };
    match (&trial.good, &trial.bad) {
        (Answer::Refused(_, message), _) if message.contains("cannot create resource") => Finding::skipped(
            CHECK,
            format!("no set can be tried: {message}"),
            "use an account that may create SidecarSets",
        ),
        (Answer::Refused(_, message), _)
            if message.contains("conversion webhook for") || message.contains("failed calling webhook") =>
        {
            failed_call(CHECK, message, &facts.target)
        }
        (Answer::Refused(_, message), _) => {
            Finding::fail(CHECK, format!("a good set is refused: {message}"), logs(&facts.target))
        }
        (Answer::Stored(set), _) if !hashed(set) => Finding::fail(
            CHECK,
            "a set got no hash: the webhook for defaults was not asked",
            "see webhook-configurations and webhook-policy",
        ),
        (Answer::Stored(_), Answer::Stored(_)) => Finding::fail(
            CHECK,
            "a set without a selector is taken: the webhook for validation was not asked",
            "see webhook-configurations and webhook-policy",
        ),
        (Answer::Stored(_), Answer::Refused(..)) => {
            Finding::ok(CHECK, "a set is defaulted, validated and converted")
        }
    }
}

fn logs(target: &Target) -> String {
    format!("kubectl -n {} logs deployment/{}", target.namespace, target.service)
}

/// The API server tells why a call failed, in words of Go's libraries.
fn failed_call(check: &'static str, message: &str, target: &Target) -> Finding {
    let cause = [
        ("is not served", "the path is wrong: see webhook-target"),
        ("x509", "what it serves is not what the caBundle proves: see ca-bundle and certificate"),
        ("no endpoints available", "no replica is ready: see service and deployment"),
        ("service \"", "the Service is not there: see webhook-target and service"),
        ("connection refused", "nothing listens there: do --listen and the targetPort of the Service agree?"),
        ("context deadline exceeded", "no way there: a firewall or NetworkPolicy between control plane and Pods? port 10250 is open in most clusters"),
        ("i/o timeout", "no way there: a firewall or NetworkPolicy between control plane and Pods? port 10250 is open in most clusters"),
        ("could not find the requested resource", "another program answers at that path: see webhook-target"),
    ]
    .into_iter()
    .find(|(mark, _)| message.contains(mark));
    let fix = cause.map_or_else(|| logs(target), |(_, fix)| fix.to_owned());
    Finding::fail(check, format!("the API server says: {message}"), fix)
}
