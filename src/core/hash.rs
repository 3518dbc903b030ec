//! The two hashes of a SidecarSet: its identity on running Pods, byte-identical to upstream's.
//!
//! The containers are written as upstream's encoder would write them from its own types, by walking their JSON along the
//! tables of [`crate::api::types`], and the text is digested.

use std::fmt::Write;

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::api::decode::{self, SIDECAR_CONTAINERS};
use crate::api::json::{Object, sorted, write_list, write_object, write_text, write_value};
use crate::api::quantity::{Precision, stored_text};
use crate::api::types::{Kind, Member, SIDECAR_CONTAINER, SPEC_V1BETA1, Type};
use crate::field::FieldError;

/// Both hashes of a set, 64 characters each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hashes {
    /// Changes with any member of a container that is hashed.
    pub hash: String,
    /// The same, blind to `image`.
    pub without_image: String,
}

/// The hashes of a set with these `containers` and `initContainers`, as JSON (`None` and `null`: absent). Defaulting comes
/// before; nothing is defaulted here.
///
/// Init containers count only if one of them is a native sidecar. An absent list of containers and an empty one differ.
/// Members that we do not know follow the known ones, sorted by name.
///
/// # Errors
///
/// What cannot be decoded, each with its path.
///
/// Rule: A-HASH-1, A-HASH-2, A-HASH-3, A-HASH-4, A-HASH-9a, I-REV-11, I-REV-13.
/// Decision: D-11.
pub fn hashes(
    containers: Option<&Value>,
    init_containers: Option<&Value>,
) -> Result<Hashes, Vec<FieldError>> {
    let lists = [("spec.containers", containers), ("spec.initContainers", init_containers)];
    let findings: Vec<FieldError> = lists
        .iter()
        .filter_map(|(path, list)| Some(decode::check_value((*list)?, SIDECAR_CONTAINERS, path)))
        .flatten()
        .collect();
    if !findings.is_empty() {
        return Err(findings);
    }
    let init_containers = init_containers.filter(|list| has_native_sidecar(list));
    let hash = |image: Image| digest(&hashed_text(containers, init_containers, image));
    Ok(Hashes { hash: hash(Image::Kept), without_image: hash(Image::Blank) })
}

/// The hashes of a whole SidecarSet of either version.
///
/// # Errors
///
/// As [`hashes`]; `spec` itself has to be an object as well.
pub fn of_sidecarset(object: &Value) -> Result<Hashes, Vec<FieldError>> {
    let spec = object.get("spec").unwrap_or(&Value::Null);
    if !spec.is_object() {
        let findings = decode::check_value(spec, Kind::Object(&SPEC_V1BETA1), "spec");
        if !findings.is_empty() {
            return Err(findings);
        }
    }
    hashes(spec.get("containers"), spec.get("initContainers"))
}

/// Whether images are part of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Image {
    Kept,
    Blank,
}

fn has_native_sidecar(init_containers: &Value) -> bool {
    let always = |container: &Value| container.get("restartPolicy").is_some_and(|policy| policy == "Always");
    init_containers.as_array().is_some_and(|list| list.iter().any(always))
}

/// The text that is digested.
///
/// Rule: A-HASH-6, A-HASH-9a.
fn hashed_text(containers: Option<&Value>, init_containers: Option<&Value>, image: Image) -> String {
    let write_containers = |out: &mut String, list: &Value| match list {
        Value::Array(list) => write_list(out, list, |out, container| {
            let skipped = (image == Image::Blank).then_some("image");
            write_typed_object(out, container.as_object(), &SIDECAR_CONTAINER, skipped);
        }),
        _ => out.push_str("null"),
    };
    let mut members = vec![("containers", containers.unwrap_or(&Value::Null))];
    members.extend(init_containers.map(|list| ("initContainers", list)));
    let mut out = String::new();
    write_object(&mut out, members, write_containers);
    out
}

/// SHA-256 in lower-case hex, each digit replaced by a letter or digit that spells no word.
///
/// Rule: A-HASH-5, A-HASH-7.
fn digest(text: &str) -> String {
    let bytes = Sha256::digest(text.as_bytes());
    bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]).map(safe_digit).collect()
}

/// The letter or digit that stands for a hex digit, 0 to 15. Rules: A-HASH-5, C-REV-7.
pub(crate) fn safe_digit(digit: u8) -> char {
    /// The safe alphabet at (ASCII code of the hex digit) mod 27, for `0` to `f`.
    const SAFE: [char; 16] = ['4', '5', '6', '7', '8', '9', 'b', 'c', 'd', 'f', 'v', 'w', 'x', 'z', '2', '4'];
    SAFE[usize::from(digit & 15)]
}

/// A value as upstream's types print it: members that are always printed are there, empty ones are not. `None` if the text
/// cannot be read again, which does not happen.
///
/// Rule: C-REV-5.
pub(crate) fn typed(value: &Value, kind: Kind) -> Option<Value> {
    let mut out = String::new();
    write_kind(&mut out, Some(value), kind);
    serde_json::from_str(&out).ok()
}

/// Appends an object as its type declares it; an absent one has its always-printed members only.
///
/// Rule: A-HASH-9, A-HASH-10.
fn write_typed_object(out: &mut String, map: Option<&Object>, ty: &Type, skipped: Option<&str>) {
    out.push('{');
    let start = out.len();
    let name_and_comma = |out: &mut String, name: &str| {
        if out.len() > start {
            out.push(',');
        }
        write_text(out, name);
        out.push(':');
    };
    for member in ty.members {
        let value = map.and_then(|map| map.get(member.name)).filter(|value| !value.is_null());
        if skipped != Some(member.name) && is_printed(member, value) {
            name_and_comma(out, member.name);
            match value {
                None if member.pointer => out.push_str("null"),
                _ => write_kind(out, value, member.kind),
            }
        }
    }
    let unknown = |(name, value): &(&str, &Value)| ty.member(name).is_none() && !value.is_null();
    for (name, value) in map.map(sorted).unwrap_or_default().into_iter().filter(unknown) {
        name_and_comma(out, name);
        write_value(out, value);
    }
    out.push('}');
}

/// Whether the member appears in the text. Objects, quantities and times do even when absent, unless that can be told from
/// zero.
///
/// Rule: A-HASH-9.
fn is_printed(member: &Member, value: Option<&Value>) -> bool {
    if member.always {
        return true;
    }
    if member.pointer {
        return value.is_some();
    }
    match member.kind {
        Kind::Object(_) | Kind::Quantity | Kind::Time => true,
        _ => value.is_some_and(|value| !is_zero(value)),
    }
}

fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(flag) => !flag,
        Value::Number(number) => number.as_i64() == Some(0),
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
    }
}

/// Appends a value of `kind`; `None` and `null` are its zero.
///
/// Rule: A-HASH-6, A-HASH-8.
fn write_kind(out: &mut String, value: Option<&Value>, kind: Kind) {
    let value = value.unwrap_or(&Value::Null);
    match (kind, value) {
        (Kind::Object(ty), value) => write_typed_object(out, value.as_object(), ty, None),
        (Kind::List(item), Value::Array(list)) => {
            write_list(out, list, |out, value| write_kind(out, Some(value), *item));
        }
        (Kind::Map(inner), Value::Object(map)) => {
            write_object(out, sorted(map), |out, value| write_kind(out, Some(value), *inner));
        }
        (Kind::Quantity, value) => {
            let text = decode::quantity_text(value).unwrap_or_else(|| "0".to_owned());
            // What does not parse was refused before the text is written.
            write_text(out, &stored_text(&text, Precision::Nano).unwrap_or(text));
        }
        (Kind::Text, Value::Null) => out.push_str("\"\""),
        (Kind::Bool, Value::Null) => out.push_str("false"),
        (Kind::Int32 | Kind::Int64 | Kind::IntOrText, Value::Null) => out.push('0'),
        (Kind::IntOrText | Kind::Int32 | Kind::Int64, Value::Number(number)) => {
            // Writing to a String cannot fail.
            let _ = write!(out, "{number}");
        }
        (_, value) => write_value(out, value),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn text(containers: &Value, init_containers: Option<&Value>, image: Image) -> String {
        hashed_text(Some(containers), init_containers, image)
    }

    #[test]
    fn vectors_of_the_specification() {
        let plain = json!([{"name": "container1", "image": "test-image"}]);
        let native = json!([{"name": "container1", "image": "test-image", "restartPolicy": "Always"}]);
        let one = Hashes {
            hash: "w26c4x8fz245642fdv499b464248f974xddx4x55z5dw55bc6x66464fxz77dc78".to_owned(),
            without_image: "8wzddb4dvv9c6x8zdc77z4z75987424f457dfv6724ddw6zbdx467wz5x24fc759".to_owned(),
        };
        assert_eq!(hashes(Some(&plain), None).as_ref(), Ok(&one));
        assert_eq!(hashes(Some(&plain), Some(&plain)).as_ref(), Ok(&one));
        let both = Hashes {
            hash: "4xwx4d4844vd4v9x79wb4xbxf4xb29475cc4446v8cz2c2f2f5c5bw448vd42z8w".to_owned(),
            without_image: "5725fw8bwbx249bw57v5892c847dzf48bww9zb7c86xb95264fdz26654847b2c8".to_owned(),
        };
        assert_eq!(hashes(Some(&plain), Some(&native)), Ok(both));
    }

    #[test]
    fn absent_and_empty_lists_of_containers_differ() {
        let absent = "x5vwx9w6vv4dv72c9w4c2f6v74fbwx545b45bbfz6z2dvf8w887xw86fvcb4cf48";
        let empty = "5662x672v59974vdzvf4bdfwc4v526wx5w7884vx5c7fc2f246v484v5988xb9z7";
        assert_eq!(hashes(None, None).unwrap().hash, absent);
        assert_eq!(hashes(Some(&Value::Null), Some(&json!([{"name": "i"}]))).unwrap().hash, absent);
        assert_eq!(hashes(Some(&json!([])), None).unwrap().hash, empty);
    }

    /// A-T-HASH-10 and 11, one of every kind of member.
    #[test]
    fn the_long_vector_of_the_specification() {
        let container = json!({
            "transferEnv": [{"envNames": ["A", "B"], "sourceContainerName": "main"}],
            "name": "envoy", "image": "envoy:1.17.0", "command": ["/bin/sh"], "args": ["-c", "run"],
            "ports": [{"protocol": "TCP", "containerPort": 15001, "name": "http"}],
            "env": [
                {"name": "MODE", "value": "mesh"},
                {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName", "apiVersion": "v1"}}},
                {"name": "LIM", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}},
                {"name": "PW", "valueFrom": {"secretKeyRef": {"key": "k", "name": "s"}}},
            ],
            "resources": {"limits": {"memory": "1024Mi", "cpu": 0.5}, "requests": {"cpu": "100m"}},
            "volumeMounts": [{"mountPath": "/var/log", "name": "log", "readOnly": false}],
            "livenessProbe": {
                "httpGet": {"path": "/", "port": 8080, "scheme": "HTTP"}, "timeoutSeconds": 1,
                "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3,
            },
            "lifecycle": {"postStart": {"exec": {"command": ["/migrate.sh"]}}},
            "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
            "imagePullPolicy": "IfNotPresent", "securityContext": {"privileged": false},
            "podInjectPolicy": "BeforeAppContainer", "tty": false, "workingDir": null,
            "upgradeStrategy": {"hotUpgradeEmptyImage": "empty:1.0", "upgradeType": "HotUpgrade"},
            "shareVolumePolicy": {"type": "enabled"},
        });
        let expected = Hashes {
            hash: "w494vffvz465z2852dbbc84876z7v84fz7v2d7zf4xcdw2fdwdzc7zf694vx9fc6".to_owned(),
            without_image: "zwv88cwb64dzcc46696452c8zwv529x7dxwbw7xd5757zbbdf8f87f8449f92547".to_owned(),
        };
        assert_eq!(hashes(Some(&json!([container])), None), Ok(expected));
    }

    #[test]
    fn null_is_the_zero_of_its_place() {
        let containers = json!([null, {
            "args": [null, "x"], "resources": {"limits": {"cpu": null}, "requests": null},
            "readinessProbe": {"httpGet": {"port": null}, "grpc": {}}, "securityContext": {"runAsUser": 0},
        }]);
        let empty = r#""resources":{},"upgradeStrategy":{},"shareVolumePolicy":{}"#;
        let expected = format!(
            r#"{{"containers":[{{"name":"",{empty}}},{{"name":"","args":["","x"],"resources":{{"limits":{{"cpu":"0"}}}},{}"#,
            concat!(
                r#""readinessProbe":{"httpGet":{"port":0},"grpc":{"port":0,"service":null}},"#,
                r#""securityContext":{"runAsUser":0},"upgradeStrategy":{},"shareVolumePolicy":{}}]}"#
            )
        );
        assert_eq!(text(&containers, None, Image::Kept), expected);
    }

    /// Rule: A-HASH-13. Decision: D-11.
    #[test]
    fn unknown_members_follow_the_known_ones_sorted_by_name() {
        let containers = json!([{
            "zFuture": {"b": 1, "a": [null]}, "Image": "x", "gone": null, "image": "i", "name": "n",
            "securityContext": {"new": true, "runAsUser": 7},
        }]);
        let known = r#""resources":{},"securityContext":{"runAsUser":7,"new":true},"upgradeStrategy":{},"shareVolumePolicy":{}"#;
        let unknown = r#""Image":"x","zFuture":{"a":[null],"b":1}"#;
        let kept = format!(r#"{{"containers":[{{"name":"n","image":"i",{known},{unknown}}}]}}"#);
        assert_eq!(text(&containers, None, Image::Kept), kept);
        assert_eq!(text(&containers, None, Image::Blank), kept.replace(r#""image":"i","#, ""));
    }

    #[test]
    fn what_cannot_be_decoded_is_named() {
        let findings = hashes(Some(&json!([{"name": 1}])), Some(&json!({}))).unwrap_err();
        let paths: Vec<_> = findings.iter().map(|finding| finding.path.as_str()).collect();
        assert_eq!(paths, ["spec.containers[0].name", "spec.initContainers"]);
        assert_eq!(of_sidecarset(&json!({"spec": 5})).unwrap_err()[0].path, "spec");
        assert!(of_sidecarset(&json!({})).is_ok());
    }
}
