//! The normal form of a SidecarSet in which documents are compared, and a compact account of what differs
//! (tests/conformance/README.md, "Normal form").

use serde_json::{Map, Value};
use sidecarset_core::api::decode::{quantity_text, sidecarset_type};
use sidecarset_core::api::quantity::{Format, Quantity};
use sidecarset_core::api::types::{Kind, Member, Type};

/// A whole SidecarSet of either version in normal form; `null` in any other version.
pub(crate) fn normal_form(object: &Value) -> Value {
    sidecarset_type(object).map_or(Value::Null, |ty| normalised(object, Kind::Object(ty)))
}

fn normalised(value: &Value, kind: Kind) -> Value {
    match (kind, value) {
        (Kind::Object(ty), Value::Null) => object(&Map::new(), ty),
        (Kind::Object(ty), Value::Object(map)) => object(map, ty),
        (Kind::List(item), Value::Array(list)) => list.iter().map(|value| normalised(value, *item)).collect(),
        (Kind::Map(inner), Value::Object(map)) => {
            map.iter().map(|(key, value)| (key.clone(), normalised(value, *inner))).collect()
        }
        (Kind::Text, Value::Null) => "".into(),
        // Quantities are compared by value.
        (Kind::Quantity, Value::Null) => "0".into(),
        (Kind::Quantity, value) => match quantity_text(value).map(|text| Quantity::parse(&text)) {
            Some(Ok(quantity)) => quantity.with_format(Format::DecimalSi).to_string().into(),
            _ => value.clone(),
        },
        _ => value.clone(),
    }
}

fn object(map: &Map<String, Value>, ty: &'static Type) -> Value {
    let known = ty.members.iter().filter_map(|member| {
        let value = map.get(member.name).filter(|value| !value.is_null())?;
        let value = normalised(value, member.kind);
        let kept = member.pointer || (ty.completed && member.always) || !is_zero(&value, member);
        kept.then(|| (member.name.to_owned(), value))
    });
    let unknown = map.iter().filter(|(name, _)| ty.member(name).is_none());
    known.chain(unknown.map(|(name, value)| (name.clone(), value.clone()))).collect()
}

fn is_zero(value: &Value, member: &Member) -> bool {
    match value {
        Value::String(text) => text.is_empty() || (member.kind == Kind::Quantity && text == "0"),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        other => *other == 0 || *other == false,
    }
}

/// Each place where `found` is other than `expected`, one a line; empty if they are equal.
pub(crate) fn differences(expected: &Value, found: &Value) -> String {
    let mut lines = String::new();
    compare(Some(expected), Some(found), "", &mut lines);
    lines
}

fn compare(expected: Option<&Value>, found: Option<&Value>, path: &str, lines: &mut String) {
    match (expected, found) {
        (Some(Value::Object(left)), Some(Value::Object(right))) => {
            let added = right.keys().filter(|name| !left.contains_key(*name));
            for name in left.keys().chain(added) {
                compare(left.get(name), right.get(name), &format!("{path}/{name}"), lines);
            }
        }
        (Some(Value::Array(left)), Some(Value::Array(right))) => {
            for index in 0..left.len().max(right.len()) {
                compare(left.get(index), right.get(index), &format!("{path}/{index}"), lines);
            }
        }
        (left, right) if left != right => {
            let text = |value: Option<&Value>| value.map_or("absent".to_owned(), Value::to_string);
            lines.push_str(&format!("    {path}: expected {}, found {}\n", text(left), text(right)));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn zeros_go_unless_they_can_be_told_from_absent() {
        let given = json!({
            "metadata": {"creationTimestamp": null, "labels": {"a": null}, "name": ""}, "status": {"matchedPods": 0},
            "spec": {
                "updateStrategy": {"partition": 0, "paused": false, "scatterStrategy": [{"key": ""}]},
                "injectionStrategy": {}, "imagePullSecrets": [null],
                "containers": [{
                    "name": "", "resources": {"limits": {"cpu": "1000m", "memory": 1024}}, "securityContext": {},
                    "env": [{"valueFrom": {"resourceFieldRef": {"divisor": "0"}}}], "args": [], "future": null,
                }],
                "volumes": [{"hostPath": {"type": ""}}, {"emptyDir": {"sizeLimit": "1Ki"}}],
            },
        });
        let expected = json!({
            "metadata": {"labels": {"a": ""}},
            "spec": {
                "updateStrategy": {"partition": 0, "scatterStrategy": [{"key": ""}]}, "imagePullSecrets": [{}],
                "containers": [{
                    "resources": {"limits": {"cpu": "1", "memory": "1024"}}, "securityContext": {},
                    "env": [{"valueFrom": {"resourceFieldRef": {}}}], "future": null,
                }],
                "volumes": [{"hostPath": {"type": ""}}, {"emptyDir": {"sizeLimit": "1024"}}],
            },
        });
        assert_eq!(differences(&expected, &normal_form(&given)), "");
    }

    #[test]
    fn a_difference_is_told_with_its_place() {
        let text = differences(&json!({"a": [1, {"b": 2}], "c": 3}), &json!({"a": [1], "c": 4, "d": null}));
        let expected = [
            "    /a/1: expected {\"b\":2}, found absent\n",
            "    /c: expected 3, found 4\n",
            "    /d: expected absent, found null\n",
        ];
        assert_eq!(text, expected.concat());
    }
}
