//! Another manager of SidecarSets in the same cluster: two of them inject twice and overwrite each other's status.

use serde_json::Value;

use super::facts::{Facts, Phase};
use super::object::{items, name, text};
use super::{Finding, MIGRATION_PAGE, fetched};

const CHECK: &str = "other-manager";
/// Service that all webhooks of OpenKruise are called by.
const KRUISE_SERVICE: &str = "kruise-webhook-service";

pub(super) fn check(facts: &Facts) -> Vec<Finding> {
    let (mutating, managers) = match (
        fetched(CHECK, "the mutating webhook configurations", &facts.mutating),
        fetched(CHECK, "the Deployments", &facts.kruise_managers),
    ) {
        (Err(finding), _) => return vec![finding],
        (Ok(mutating), managers) => (mutating, managers.ok().flatten()),
    };
    let hooks: Vec<String> = mutating
        .into_iter()
        .flatten()
        .filter(|configuration| {
            !facts.target.webhook_configurations.iter().any(|own| own == name(configuration))
        })
        .flat_map(|configuration| {
            items(configuration, "/webhooks").map(move |hook| (name(configuration), hook))
        })
        .filter(|(_, hook)| is_kruise_pod_webhook(hook))
        .map(|(configuration, hook)| format!("{} of {configuration}", text(hook, "/name")))
        .collect();
    let managers: Vec<String> = managers
        .into_iter()
        .flatten()
        .map(|deployment| format!("{}/{}", text(deployment, "/metadata/namespace"), name(deployment)))
        .collect();
    let fix = format!("move as {MIGRATION_PAGE} says, step by step");
    vec![match (hooks.is_empty(), managers.is_empty(), facts.phase) {
        (true, true, _) => Finding::ok(CHECK, "none"),
        (false, _, Phase::After) => Finding::fail(
            CHECK,
            format!("OpenKruise injects into Pods too, by its webhook {}", hooks.join(", ")),
            fix,
        ),
        (false, _, Phase::Before) => Finding::warn(
            CHECK,
            format!(
                "OpenKruise injects into Pods by its webhook {}; both must not at a time",
                hooks.join(", ")
            ),
            fix,
        ),
        (true, false, _) => Finding::warn(
            CHECK,
            format!(
                "OpenKruise's manager runs ({}) and may write the status of SidecarSets",
                managers.join(", ")
            ),
            fix,
        ),
    }]
}

/// The name `mpod.kb.io` alone is not enough: it is what a common tool gives to every webhook for Pods.
fn is_kruise_pod_webhook(hook: &Value) -> bool {
    let for_pods = items(hook, "/rules").any(|rule| {
        items(rule, "/resources").any(|resource| resource == "pods" || resource == "*" || resource == "*/*")
    });
    let service = text(hook, "/clientConfig/service/name");
    let path = text(hook, "/clientConfig/service/path");
    for_pods && (service == KRUISE_SERVICE || (text(hook, "/name") == "mpod.kb.io" && path == "/mutate-pod"))
}
