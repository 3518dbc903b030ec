//! The CustomResourceDefinition, made from the tables of [`crate::api::types`].
//!
//! The schema is upstream's where it decides something: what is opaque, required, an enum, a default, an atomic list. It has no
//! CEL rules on purpose: the API server checks a schema before it asks the validating webhook, so a rule here would hide
//! all other findings of a request, and it would keep sets that were stored before the rule from being updated.

mod descriptions;
mod schema;

use serde_json::{Value, json};

use crate::api::types::{SIDECARSET_V1ALPHA1, SIDECARSET_V1BETA1};

/// Where the API server finds the conversion endpoint.
#[derive(Debug, Clone, Copy)]
pub struct ConversionService<'a> {
    /// Namespace of the Service.
    pub namespace: &'a str,
    /// Its name.
    pub name: &'a str,
}

/// The CustomResourceDefinition `sidecarsets.apps.kruise.io` as JSON: both versions served, v1beta1 stored. The CA bundle of the
/// conversion webhook is left out; whoever installs it adds it.
///
/// Rule: A-API-1, A-API-2, A-API-3, A-API-4, A-API-5, A-API-7.
/// Decision: D-1.
#[must_use]
pub fn definition(service: ConversionService<'_>) -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "sidecarsets.apps.kruise.io"},
        "spec": {
            "group": "apps.kruise.io",
            "names": {
                "kind": "SidecarSet", "listKind": "SidecarSetList", "plural": "sidecarsets", "singular": "sidecarset",
            },
            "scope": "Cluster",
            "conversion": {
                "strategy": "Webhook",
                "webhook": {
                    "clientConfig": {"service": {
                        "namespace": service.namespace, "name": service.name, "port": 443, "path": "/convert",
                    }},
                    "conversionReviewVersions": ["v1", "v1beta1"],
                },
            },
            "versions": [
                version("v1alpha1", false, schema::of(&SIDECARSET_V1ALPHA1), &SELECTABLE),
                version("v1beta1", true, schema::of(&SIDECARSET_V1BETA1), &[&SELECTABLE[..], &[".spec.customVersion"]].concat()),
            ],
        },
    })
}

/// What to read about a field, for whoever has it wrong: the description of the nearest member that has one, or where `kubectl explain`
/// describes what is core/v1's. `None` if there is nothing to say.
#[must_use]
pub fn hint(path: &str) -> Option<String> {
    let names: Vec<&str> = path.split('.').map(|step| step.split('[').next().unwrap_or_default()).collect();
    let mut schema = &schema::of(&SIDECARSET_V1BETA1);
    let mut told = None;
    for (depth, name) in names.iter().enumerate() {
        if schema["type"] == "array" {
            schema = &schema["items"];
        }
        let member = &schema["properties"][*name];
        let opaque = schema["x-kubernetes-preserve-unknown-fields"] == true;
        if member.is_null() && opaque {
            let list = names.get(1..depth)?.join(".");
            let rest = names.get(depth..)?.join(".");
            return Some(format!("kubectl explain pod.spec.{list}.{rest}"));
        }
        let Some(description) = member["description"].as_str() else { break };
        told = Some((names.get(..=depth)?.join("."), description));
        schema = member;
    }
    // `spec` alone says nothing that helps.
    told.filter(|(member, _)| member != "spec")
        .map(|(member, description)| format!("{member}: {description}"))
}

/// What `kubectl get --field-selector` can ask for, besides the name. Upstream has none of them.
const SELECTABLE: [&str; 4] = [
    ".spec.updateStrategy.type",
    ".spec.updateStrategy.paused",
    ".spec.injectionStrategy.paused",
    ".status.latestRevision",
];

fn version(name: &str, storage: bool, schema: Value, selectable: &[&str]) -> Value {
    let column = |name: &str, ty: &str, path: &str, description: &str| json!({"name": name, "type": ty, "jsonPath": path, "description": description});
    json!({
        "name": name,
        "served": true,
        "storage": storage,
        "subresources": {"status": {}},
        "additionalPrinterColumns": [
            column("MATCHED", "integer", ".status.matchedPods", "Pods that the set matches"),
            column("UPDATED", "integer", ".status.updatedPods", "Matched Pods that carry the current revision"),
            column("READY", "integer", ".status.readyPods", "Matched Pods that are ready"),
            column("AGE", "date", ".metadata.creationTimestamp", "Time since the set was created"),
        ],
        "selectableFields": selectable.iter().map(|path| json!({"jsonPath": path})).collect::<Vec<_>>(),
        "schema": {"openAPIV3Schema": schema},
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mk_definition() -> Value {
        definition(ConversionService { namespace: "ns", name: "svc" })
    }

    #[test]
    fn both_versions_are_served_and_the_new_one_is_stored() {
        let definition = mk_definition();
        let versions = definition["spec"]["versions"].as_array().unwrap();
        let told: Vec<_> = versions
            .iter()
            .map(|v| (v["name"].as_str().unwrap(), v["served"] == true, v["storage"] == true))
            .collect();
        assert_eq!(told, [("v1alpha1", true, false), ("v1beta1", true, true)]);
        let service = &definition["spec"]["conversion"]["webhook"]["clientConfig"]["service"];
        assert_eq!(service, &json!({"namespace": "ns", "name": "svc", "port": 443, "path": "/convert"}));
    }

    #[test]
    fn hints_tell_about_the_nearest_member() {
        let starts = |path: &str, start: &str| {
            let hint = hint(path).unwrap_or_default();
            assert!(hint.starts_with(start), "{path}: {hint}");
        };
        starts(
            "spec.selector.matchExpressions[0].operator",
            "spec.selector.matchExpressions.operator: In, NotIn",
        );
        starts(
            "spec.containers[0].resourcesPolicy.unknown",
            "spec.containers.resourcesPolicy: Compute its resources",
        );
        starts("spec.containers[0].ports[1].name", "kubectl explain pod.spec.containers.ports.name");
        starts("spec.volumes[0].secret.secretName", "kubectl explain pod.spec.volumes.secret.secretName");
        assert_eq!(hint("spec"), None);
        assert_eq!(hint("metadata.name"), None);
    }

    #[test]
    fn selectable_fields_are_in_the_schema() {
        for version in mk_definition()["spec"]["versions"].as_array().unwrap() {
            for field in version["selectableFields"].as_array().unwrap() {
                let path = field["jsonPath"].as_str().unwrap();
                let mut schema = &version["schema"]["openAPIV3Schema"];
                for name in path.split('.').skip(1) {
                    schema = &schema["properties"][name];
                }
                assert!(["string", "boolean"].iter().any(|ty| schema["type"] == *ty), "{path}: {schema}");
            }
        }
    }
}
