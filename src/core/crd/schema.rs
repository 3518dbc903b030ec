//! The structural schema (OpenAPI v3) of one version.

use serde_json::{Map, Value, json};

use super::descriptions::{of_member, of_type};
use crate::api::types::{
    Kind, LABEL_SELECTOR, LABEL_SELECTOR_REQUIREMENT, LOCAL_OBJECT_REFERENCE, Member, OBJECT_META,
    RESOURCES_POLICY, SIDECAR_CONTAINER, SIDECAR_SET_INJECT_REVISION, SIDECAR_SET_STATUS, TRANSFER_FIELD_REF,
    Type,
};

/// Members of a sidecar container that are not core/v1 Container's, so that the schema describes them.
///
/// Rule: A-API-6.
const OWN_CONTAINER_MEMBERS: [&str; 6] = [
    "podInjectPolicy",
    "upgradeStrategy",
    "shareVolumePolicy",
    "shareVolumeDevicePolicy",
    "transferEnv",
    "resourcesPolicy",
];

/// The schema of a whole SidecarSet.
///
/// Rule: A-API-6, A-API-7, A-API-9, A-API-10, A-API-11.
pub(super) fn of(ty: &'static Type) -> Value {
    object(ty)
}

fn object(ty: &'static Type) -> Value {
    let described =
        |member: &&Member| *ty != SIDECAR_CONTAINER || OWN_CONTAINER_MEMBERS.contains(&member.name);
    let is_required = |member: &Member| (ty.completed || *ty == SIDECAR_SET_STATUS) && member.always;
    let members = ty.members.iter().filter(described);
    let mut properties: Map<String, Value> =
        members.map(|member| (member.name.to_owned(), property(ty, member, is_required(member)))).collect();
    if *ty == SIDECAR_SET_STATUS {
        properties.insert("conditions".to_owned(), conditions());
    }
    let required: Vec<&str> =
        ty.members.iter().filter(|member| is_required(member)).map(|member| member.name).collect();
    let mut schema = json!({"type": "object", "properties": properties});
    if let Some(text) = of_type(ty.name) {
        schema["description"] = text.into();
    }
    if !required.is_empty() {
        schema["required"] = required.into();
    }
    if *ty == SIDECAR_CONTAINER {
        schema["x-kubernetes-preserve-unknown-fields"] = true.into();
    }
    if [&LABEL_SELECTOR, &LOCAL_OBJECT_REFERENCE, &TRANSFER_FIELD_REF].contains(&ty) {
        schema["x-kubernetes-map-type"] = "atomic".into();
    }
    schema
}

/// What upstream does not have: conditions in Kubernetes' standard form. An API server drops what a schema does not name.
fn conditions() -> Value {
    let text = |description: &str| json!({"type": "string", "description": description});
    let mut time = text("When the status changed last.");
    time["format"] = "date-time".into();
    json!({
        "type": "array",
        "description": "What is true of the set now: RolloutComplete, InjectionComplete.",
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
        "items": {
            "type": "object",
            "required": ["type", "status"],
            "properties": {
                "type": text("What is told."),
                "status": text("True, False or Unknown."),
                "observedGeneration": {
                    "type": "integer", "format": "int64", "description": "The metadata.generation that it is about.",
                },
                "lastTransitionTime": time,
                "reason": text("Why, in one word."),
                "message": text("Why, for people."),
            },
        },
    })
}

fn property(ty: &'static Type, member: &Member, required: bool) -> Value {
    let mut schema = match (member.name, member.kind) {
        // The API server knows what metadata is.
        (_, Kind::Object(nested)) if *nested == OBJECT_META => return json!({"type": "object"}),
        ("volumes", _) => json!({"x-kubernetes-preserve-unknown-fields": true}),
        (_, kind) => of_kind(kind),
    };
    if (*ty == LABEL_SELECTOR || *ty == LABEL_SELECTOR_REQUIREMENT) && matches!(member.kind, Kind::List(_)) {
        schema["x-kubernetes-list-type"] = "atomic".into();
    }
    if let Some(allowed) = allowed(ty, member.name) {
        schema["enum"] = allowed.into();
    }
    let default = default(ty, member.name);
    if let Some(value) = default {
        schema["default"] = value.into();
    } else if !required && !["apiVersion", "kind", "volumes"].contains(&member.name) {
        // A `null` member is absent and never an error (A-API-9a); we keep it as it came (D-5).
        schema["nullable"] = true.into();
    }
    if let Some(text) = of_member(ty.name, member.name) {
        schema["description"] = text.into();
    }
    schema
}

fn of_kind(kind: Kind) -> Value {
    match kind {
        Kind::Text | Kind::Quantity => json!({"type": "string"}),
        Kind::Time => json!({"type": "string", "format": "date-time"}),
        Kind::Bool => json!({"type": "boolean"}),
        Kind::Int32 => json!({"type": "integer", "format": "int32"}),
        Kind::Int64 => json!({"type": "integer", "format": "int64"}),
        Kind::IntOrText => {
            json!({"anyOf": [{"type": "integer"}, {"type": "string"}], "x-kubernetes-int-or-string": true})
        }
        Kind::Any => json!({"x-kubernetes-preserve-unknown-fields": true}),
        Kind::Object(ty) => object(ty),
        Kind::List(item) => json!({"type": "array", "items": of_kind(*item)}),
        Kind::Map(inner) => json!({"type": "object", "additionalProperties": of_kind(*inner)}),
    }
}

/// Rule: A-API-9, A-API-11.
fn allowed(ty: &Type, member: &str) -> Option<Vec<&'static str>> {
    if *ty == RESOURCES_POLICY && member == "targetContainersMode" {
        Some(vec!["sum", "max"])
    } else if *ty == SIDECAR_SET_INJECT_REVISION && member == "policy" {
        Some(vec!["Always", "Partial"])
    } else {
        None
    }
}

/// Rule: A-API-10.
fn default(ty: &Type, member: &str) -> Option<&'static str> {
    if *ty == RESOURCES_POLICY && member == "targetContainersNameRegex" {
        Some(".*")
    } else if *ty == SIDECAR_SET_INJECT_REVISION && member == "policy" {
        Some("Always")
    } else if *ty == LOCAL_OBJECT_REFERENCE && member == "name" {
        Some("")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::types::{SIDECARSET_V1ALPHA1, SIDECARSET_V1BETA1};

    /// Every property of a schema with its path.
    fn walk(schema: &Value, path: &str, visit: &mut impl FnMut(&str, &Value)) {
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            let path = format!("{path}.{name}");
            visit(&path, property);
            walk(property, &path, visit);
            walk(&property["items"], &format!("{path}[]"), visit);
        }
    }

    fn at<'s>(schema: &'s Value, path: &str) -> &'s Value {
        path.split('.').fold(schema, |schema, name| match name.strip_suffix("[]") {
            Some(name) => &schema["properties"][name]["items"],
            None => &schema["properties"][name],
        })
    }

    #[test]
    fn every_member_can_be_learned_about() {
        for ty in [&SIDECARSET_V1BETA1, &SIDECARSET_V1ALPHA1] {
            walk(&of(ty), "", &mut |path, property| {
                let told = property["description"].as_str().unwrap_or_default();
                assert!(path == ".metadata" || told.ends_with('.'), "{path} has no description");
            });
        }
    }

    /// Rule: A-API-6.
    #[test]
    fn containers_and_volumes_are_opaque() {
        let schema = of(&SIDECARSET_V1BETA1);
        for list in ["spec.containers[]", "spec.initContainers[]"] {
            let item = at(&schema, list);
            assert_eq!(item["x-kubernetes-preserve-unknown-fields"], true);
            let mut names: Vec<&String> = item["properties"].as_object().unwrap().keys().collect();
            names.sort();
            let mut own = OWN_CONTAINER_MEMBERS;
            own.sort_unstable();
            assert_eq!(names, own);
        }
        assert!(at(&schema, "spec.volumes").get("type").is_none());
        assert_eq!(at(&schema, "spec.volumes")["x-kubernetes-preserve-unknown-fields"], true);
    }

    /// Rule: A-API-9, A-API-10, A-API-11.
    #[test]
    fn constraints_are_those_of_upstream_and_no_others() {
        let schema = of(&SIDECARSET_V1BETA1);
        let mut constrained = Vec::new();
        walk(&schema, "", &mut |path, property| {
            if property.get("required").is_some() || property.get("enum").is_some() {
                constrained.push(path.trim_start_matches('.').to_owned());
            }
            if property["items"].get("required").is_some() {
                constrained.push(format!("{}[]", path.trim_start_matches('.')));
            }
        });
        constrained.sort();
        let of_container = |list: &str| {
            [
                format!("spec.{list}[].resourcesPolicy"),
                format!("spec.{list}[].resourcesPolicy.targetContainersMode"),
                format!("spec.{list}[].transferEnv[].sourceContainerNameFrom.fieldRef"),
            ]
        };
        let others = [
            "spec.injectionStrategy.revision.policy",
            "spec.namespaceSelector.matchExpressions[]",
            "spec.selector.matchExpressions[]",
            "spec.updateStrategy.priorityStrategy.orderPriority[]",
            "spec.updateStrategy.priorityStrategy.weightPriority[]",
            "spec.updateStrategy.priorityStrategy.weightPriority[].matchSelector.matchExpressions[]",
            "spec.updateStrategy.scatterStrategy[]",
            "spec.updateStrategy.selector.matchExpressions[]",
            "status",
            // Ours.
            "status.conditions[]",
        ];
        let mut expected: Vec<String> = [of_container("containers"), of_container("initContainers")].concat();
        expected.extend(others.map(ToOwned::to_owned));
        expected.sort();
        assert_eq!(constrained, expected);

        let policy = at(&schema, "spec.containers[].resourcesPolicy");
        assert_eq!(policy["required"], json!(["targetContainersMode", "resourcesExpr"]));
        assert_eq!(policy["properties"]["targetContainersNameRegex"]["default"], ".*");
        assert_eq!(at(&schema, "spec.injectionStrategy.revision.policy")["default"], "Always");
        assert_eq!(at(&schema, "spec.imagePullSecrets[].name")["default"], "");
        assert_eq!(at(&schema, "spec.updateStrategy.partition")["x-kubernetes-int-or-string"], true);
    }

    #[test]
    fn versions_differ_in_namespace_and_custom_version() {
        let [beta, alpha] = [of(&SIDECARSET_V1BETA1), of(&SIDECARSET_V1ALPHA1)];
        let has = |schema: &Value, name: &str| schema["properties"]["spec"]["properties"].get(name).is_some();
        assert!(has(&beta, "customVersion") && !has(&beta, "namespace"));
        assert!(!has(&alpha, "customVersion") && has(&alpha, "namespace"));
    }
}
