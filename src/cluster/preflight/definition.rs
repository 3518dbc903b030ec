//! The CustomResourceDefinition: is it there, does it serve both versions, who owns it, does its conversion point to us.

use serde_json::Value;

use super::facts::{Facts, Phase};
use super::object::{condition, items, text};
use super::{Finding, MIGRATION_PAGE, fetched};

/// Name of the definition.
pub(super) const NAME: &str = "sidecarsets.apps.kruise.io";
/// Version that objects are stored in. Decision: D-1.
const STORAGE: &str = "v1beta1";
/// Versions that have to be served. Decision: D-1.
const SERVED: [&str; 2] = ["v1alpha1", STORAGE];
/// What brings or repairs the definition.
const APPLY: &str = "sidecarset crd | kubectl apply --server-side -f -";

pub(super) fn check(facts: &Facts) -> Vec<Finding> {
    let definition = match (fetched("crd", "the definition of SidecarSet", &facts.definition), facts.phase) {
        (Err(finding), _) => return vec![finding],
        (Ok(None), Phase::Before) => {
            return vec![Finding::ok("crd", format!("no {NAME} yet: the install brings it"))];
        }
        (Ok(None), Phase::After) => return vec![Finding::fail("crd", format!("there is no {NAME}"), APPLY)],
        (Ok(Some(definition)), _) => definition,
    };
    let mut findings = vec![state(definition, facts)];
    findings.extend(owner(definition, facts));
    if facts.phase == Phase::After {
        findings.push(conversion(definition, facts));
    }
    findings
}

/// Check `crd`.
fn state(definition: &Value, facts: &Facts) -> Finding {
    const CHECK: &str = "crd";
    for kind in ["NamesAccepted", "Established"] {
        if condition(definition, kind) != "True" {
            let message = items(definition, "/status/conditions")
                .find(|condition| text(condition, "/type") == kind)
                .map_or("", |condition| text(condition, "/message"));
            let found = format!("condition {kind} is not True: {message}");
            return Finding::fail(CHECK, found, format!("kubectl describe crd {NAME}"));
        }
    }
    let versions = |member: &str| -> Vec<&str> {
        items(definition, "/spec/versions")
            .filter(|version| version.get(member).and_then(Value::as_bool) == Some(true))
            .map(|version| text(version, "/name"))
            .collect()
    };
    let (served, storage) = (versions("served"), versions("storage"));
    let is_served =
        |version: &&str| served.contains(version) && facts.set_versions.iter().any(|v| v == version);
    if !SERVED.iter().all(is_served) || storage != [STORAGE] {
        let found = format!("served are {}, stored is {}", served.join(", "), storage.join(", "));
        // The install applies the definition.
        return match facts.phase {
            Phase::Before => Finding::warn(CHECK, found, "the install changes it; nothing to do"),
            Phase::After => Finding::fail(CHECK, found, APPLY),
        };
    }
    let stored: Vec<&str> = items(definition, "/status/storedVersions").filter_map(Value::as_str).collect();
    if stored != [STORAGE] {
        return Finding::warn(
            CHECK,
            format!(
                "some objects may be stored in another version: status.storedVersions is {}",
                stored.join(", ")
            ),
            format!(
                "write every set once more, then drop the old version from status.storedVersions ({MIGRATION_PAGE})"
            ),
        );
    }
    Finding::ok(CHECK, format!("serves {}, stores {STORAGE}", SERVED.join(" and ")))
}

/// Check `crd-owner`: a definition that another install owns goes away with that install, and all sets with it.
fn owner(definition: &Value, facts: &Facts) -> Option<Finding> {
    const CHECK: &str = "crd-owner";
    let annotation = |key: &str| {
        let annotations = definition.pointer("/metadata/annotations")?;
        annotations.get(key).and_then(Value::as_str).filter(|value| !value.is_empty())
    };
    let release = annotation("meta.helm.sh/release-name").unwrap_or_default();
    let place = annotation("meta.helm.sh/release-namespace").unwrap_or_default();
    // Helm looks for the policy in the release that it has stored: an annotation that somebody put on the object is no help.
    let by_hand = "/fieldsV1/f:metadata/f:annotations/f:helm.sh~1resource-policy";
    let is_by_hand = items(definition, "/metadata/managedFields")
        .any(|entry| text(entry, "/manager") != "helm" && entry.pointer(by_hand).is_some());
    let keeps = annotation("helm.sh/resource-policy") == Some("keep") && !is_by_hand;
    if !release.is_empty() && place != facts.target.namespace && !keeps {
        return Some(Finding::warn(
            CHECK,
            format!(
                "belongs to the Helm release {release} in namespace {place}: uninstalling that deletes every SidecarSet"
            ),
            format!(
                "do not uninstall it; delete its records, the Secrets owner=helm,name={release} ({MIGRATION_PAGE})"
            ),
        ));
    }
    let service = converter(definition);
    if service.ends_with("/kruise-webhook-service") && facts.phase == Phase::Before {
        return Some(Finding::warn(
            CHECK,
            format!("its conversion is done by OpenKruise's Service {service}"),
            format!("move as {MIGRATION_PAGE} says: the install changes the conversion for OpenKruise too"),
        ));
    }
    Some(Finding::ok(CHECK, "no other install owns the definition"))
}

fn converter(definition: &Value) -> String {
    let at = "/spec/conversion/webhook/clientConfig/service";
    format!("{}/{}", text(definition, &format!("{at}/namespace")), text(definition, &format!("{at}/name")))
}

/// Check `conversion`: whether the definition asks us to convert.
fn conversion(definition: &Value, facts: &Facts) -> Finding {
    const CHECK: &str = "conversion";
    let fix = format!(
        "sidecarset crd --service {} | kubectl apply --server-side -f -",
        facts.target.service_name()
    );
    let strategy = text(definition, "/spec/conversion/strategy");
    if strategy != "Webhook" {
        return Finding::fail(CHECK, format!("the strategy is {strategy:?}; sets need a webhook"), fix);
    }
    let (service, expected) = (converter(definition), facts.target.service_name());
    let path = text(definition, "/spec/conversion/webhook/clientConfig/service/path");
    if let Some(url) = definition.pointer("/spec/conversion/webhook/clientConfig/url") {
        return Finding::warn(
            CHECK,
            format!("converts by the URL {url}, not by the Service {expected}"),
            fix,
        );
    }
    if service != expected || path != "/convert" {
        let found = format!("is done by Service {service} at {path:?}, not by {expected} at \"/convert\"");
        return Finding::fail(CHECK, found, fix);
    }
    let reviews: Vec<&str> = items(definition, "/spec/conversion/webhook/conversionReviewVersions")
        .filter_map(Value::as_str)
        .collect();
    if !reviews.contains(&"v1") {
        let found = format!("conversionReviewVersions is {}; v1 is not in it", reviews.join(", "));
        return Finding::fail(CHECK, found, fix);
    }
    Finding::ok(CHECK, format!("by Service {service} at {path}"))
}
