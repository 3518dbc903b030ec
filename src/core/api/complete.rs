//! Members that upstream's re-encoding adds and the CRD's schema requires: without them the API server refuses what it
//! accepts from upstream.

use serde_json::Value;

use super::decode;
use super::json::Object;
use super::types::Kind;

/// Gives a whole SidecarSet of either version the members that the CRD's schema requires, and `null` list items and map values
/// the zero of their kind. Upstream does so whenever it writes the object again, which is when it changes or converts it; here
/// it never depends on another member (A-DEF-60).
///
/// Rule: A-API-9a, A-DEF-61, A-CONV-6.
/// Decision: D-5.
pub fn complete(object: &mut Value) {
    if let Some(ty) = decode::sidecarset_type(object) {
        complete_value(object, Kind::Object(ty));
    }
}

fn complete_value(value: &mut Value, kind: Kind) {
    match (kind, value) {
        (Kind::Object(ty), Value::Object(map)) => {
            for required in ty.members.iter().filter(|member| ty.completed && member.always) {
                if map.get(required.name).is_none_or(Value::is_null) {
                    map.insert(required.name.to_owned(), zero(required.kind));
                }
            }
            for (name, value) in map {
                if let Some(member) = ty.member(name) {
                    complete_value(value, member.kind);
                }
            }
        }
        (Kind::List(item), Value::Array(list)) => {
            list.iter_mut().for_each(|value| complete_item(value, *item))
        }
        (Kind::Map(inner), Value::Object(map)) => {
            map.values_mut().for_each(|value| complete_item(value, *inner));
        }
        _ => {}
    }
}

fn complete_item(value: &mut Value, kind: Kind) {
    if value.is_null() {
        *value = zero(kind);
    }
    complete_value(value, kind);
}

/// What upstream writes where nothing was given.
fn zero(kind: Kind) -> Value {
    match kind {
        Kind::Text => "".into(),
        Kind::Quantity => "0".into(),
        Kind::Bool => false.into(),
        Kind::Int32 | Kind::Int64 | Kind::IntOrText => 0.into(),
        Kind::Object(_) | Kind::Map(_) => Object::new().into(),
        Kind::List(_) => Vec::<Value>::new().into(),
        Kind::Time | Kind::Any => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn required_members_and_null_items_are_completed() {
        let mut set = json!({"apiVersion": "apps.kruise.io/v1alpha1", "spec": {
            "updateStrategy": {
                "scatterStrategy": [{"key": "a"}, null], "selector": {"matchExpressions": [{}]},
                "priorityStrategy": {"orderPriority": [{}], "weightPriority": [{"weight": null}]},
            },
            "imagePullSecrets": [null],
            "containers": [{
                "args": [null], "resources": {"limits": {"cpu": null}}, "resourcesPolicy": {},
                "env": [{"valueFrom": {"fieldRef": {}}}], "transferEnv": [{"sourceContainerNameFrom": {"fieldRef": {}}}],
            }],
        }});
        complete(&mut set);
        let spec = &set["spec"];
        let update = &spec["updateStrategy"];
        assert_eq!(update["scatterStrategy"], json!([{"key": "a", "value": ""}, {"key": "", "value": ""}]));
        assert_eq!(update["selector"], json!({"matchExpressions": [{"key": "", "operator": ""}]}));
        let priority = json!({"orderPriority": [{"orderedKey": ""}], "weightPriority": [{"weight": 0, "matchSelector": {}}]});
        assert_eq!(update["priorityStrategy"], priority);
        assert_eq!(spec["imagePullSecrets"], json!([{}]));
        let container = &spec["containers"][0];
        assert_eq!(container["args"], json!([""]));
        assert_eq!(container["resources"], json!({"limits": {"cpu": "0"}}));
        assert_eq!(container["resourcesPolicy"], json!({"targetContainersMode": "", "resourcesExpr": {}}));
        assert_eq!(container["env"], json!([{"valueFrom": {"fieldRef": {}}}]));
        let from = json!([{"sourceContainerNameFrom": {"fieldRef": {"fieldPath": ""}}}]);
        assert_eq!(container["transferEnv"], from);
    }
}
