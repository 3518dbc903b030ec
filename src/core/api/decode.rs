//! Whether JSON can be read as what it claims to be: every value against the kind that its table names.
//!
//! The CRD's schema does not look into containers and volumes, so this is where their type errors surface (A-WIRE-20).
//! Unknown members are no error, and `null` is absent everywhere.

use serde_json::Value;

use super::json::Object;
use super::quantity::Quantity;
use super::types::{Kind, SIDECAR_CONTAINER, SIDECARSET_V1ALPHA1, SIDECARSET_V1BETA1, Type};
use crate::field::{FieldError, FieldErrorKind};

/// The group and version that is stored, and the hub of conversion (A-API-2, A-CONV-1).
pub const V1BETA1: &str = "apps.kruise.io/v1beta1";
/// The other group and version that is served (A-API-2).
pub const V1ALPHA1: &str = "apps.kruise.io/v1alpha1";
/// The kind (A-API-1).
pub const KIND: &str = "SidecarSet";
/// A list of sidecar containers: `spec.containers`, `spec.initContainers`.
pub const SIDECAR_CONTAINERS: Kind = Kind::List(&Kind::Object(&SIDECAR_CONTAINER));

const RULE: &str = "A-WIRE-20";

/// The members of a whole SidecarSet in the version that it names; `None` if we do not serve that version. Without
/// `apiVersion` it is read as v1beta1.
#[must_use]
pub fn sidecarset_type(object: &Value) -> Option<&'static Type> {
    match object.get("apiVersion").and_then(Value::as_str) {
        None | Some("" | V1BETA1) => Some(&SIDECARSET_V1BETA1),
        Some(V1ALPHA1) => Some(&SIDECARSET_V1ALPHA1),
        Some(_) => None,
    }
}

/// Everything that keeps a whole SidecarSet of either version from being decoded, sorted by path; empty if nothing does.
///
/// Rule: A-WIRE-20.
#[must_use]
pub fn check(object: &Value) -> Vec<FieldError> {
    let mut findings = Vec::new();
    let kind = object.get("kind").and_then(Value::as_str).unwrap_or_default();
    if !kind.is_empty() && kind != KIND {
        let detail = format!("found {kind:?}, must be {KIND:?}");
        findings.push(FieldError::new("kind", FieldErrorKind::TypeInvalid, detail, RULE));
    }
    let ty = sidecarset_type(object).unwrap_or_else(|| {
        let found = object.get("apiVersion").and_then(Value::as_str).unwrap_or_default();
        let detail = format!("found {found:?}, must be {V1BETA1:?} or {V1ALPHA1:?}");
        findings.push(FieldError::new("apiVersion", FieldErrorKind::TypeInvalid, detail, RULE));
        &SIDECARSET_V1BETA1
    });
    if object.is_null() {
        findings.push(finding("", "a SidecarSet", object));
    }
    walk(object, Kind::Object(ty), "", &mut findings);
    findings.sort();
    findings
}

/// The same for one value below `path`, which is to hold `kind`: a container list, a `spec`.
///
/// Rule: A-WIRE-20, I-REV-13.
#[must_use]
pub fn check_value(value: &Value, kind: Kind, path: &str) -> Vec<FieldError> {
    let mut findings = Vec::new();
    walk(value, kind, path, &mut findings);
    findings.sort();
    findings
}

/// The text of a quantity: that of the string without blanks around it, or the literal of the number. `None` for anything else.
///
/// Tabs and line breaks do not count as blanks: upstream trims the string as it stands in JSON, where they are escaped.
///
/// Rule: A-HASH-8.
#[must_use]
pub fn quantity_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => {
            let is_blank = |c: char| c.is_whitespace() && !c.is_ascii_control();
            Some(text.trim_matches(is_blank).to_owned())
        }
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

fn walk(value: &Value, kind: Kind, path: &str, findings: &mut Vec<FieldError>) {
    if value.is_null() {
        return;
    }
    match (kind, value) {
        (Kind::Object(ty), Value::Object(map)) => walk_members(map, ty, path, findings),
        (Kind::List(item), Value::Array(list)) => {
            for (index, value) in list.iter().enumerate() {
                walk(value, *item, &format!("{path}[{index}]"), findings);
            }
        }
        (Kind::Map(inner), Value::Object(map)) => {
            for (key, value) in map {
                walk(value, *inner, &format!("{path}[{key}]"), findings);
            }
        }
        _ => {
            if let Some(expected) = wrong_leaf(kind, value) {
                findings.push(finding(path, expected, value));
            }
        }
    }
}

fn walk_members(map: &Object, ty: &Type, path: &str, findings: &mut Vec<FieldError>) {
    for (name, value) in map {
        if let Some(member) = ty.member(name) {
            let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            walk(value, member.kind, &path, findings);
        }
    }
}

/// What `value` should have been to hold `kind`, `None` if it does.
fn wrong_leaf(kind: Kind, value: &Value) -> Option<&'static str> {
    let is_int32 = || value.as_i64().is_some_and(|number| i32::try_from(number).is_ok());
    let (good, expected) = match kind {
        Kind::Text => (value.is_string(), "a string"),
        Kind::Bool => (value.is_boolean(), "true or false"),
        Kind::Int32 => (is_int32(), "a whole number of 32 bits"),
        Kind::Int64 => (value.is_i64(), "a whole number of 64 bits"),
        Kind::IntOrText => (value.is_string() || is_int32(), "a whole number of 32 bits or a string"),
        Kind::Quantity => (
            quantity_text(value).is_some_and(|text| Quantity::parse(&text).is_ok()),
            "a quantity such as \"100m\" or \"1Gi\"",
        ),
        Kind::Time => (value.as_str().is_some_and(is_time), "a time such as \"2026-01-02T15:04:05Z\""),
        Kind::Any => (true, ""),
        Kind::Object(_) | Kind::Map(_) => (false, "an object"),
        Kind::List(_) => (false, "a list"),
    };
    (!good).then_some(expected)
}

fn finding(path: &str, expected: &str, value: &Value) -> FieldError {
    let found = match value {
        Value::Null => "null".to_owned(),
        Value::Bool(flag) => flag.to_string(),
        Value::Number(number) => format!("the number {number}"),
        Value::String(text) => format!("the string {:?}", shortened(text)),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
    };
    FieldError::new(path, FieldErrorKind::TypeInvalid, format!("found {found}, must be {expected}"), RULE)
}

/// The first characters of a text that may be of any length.
pub(crate) fn shortened(text: &str) -> String {
    const LIMIT: usize = 60;
    if text.chars().count() <= LIMIT {
        return text.to_owned();
    }
    text.chars().take(LIMIT).chain(['…']).collect()
}

/// Whether `text` has the form of RFC 3339: date, `T`, time with an optional fraction, `Z` or an offset.
fn is_time(text: &str) -> bool {
    let Some((head, tail)) = text.split_at_checked("2006-01-02T15:04:05".len()) else { return false };
    let mut parts = head.split(['-', 'T', ':']).map(|digits| (digits.len(), digits.parse::<u16>().ok()));
    let limits = [(4, 0, 9999), (2, 1, 12), (2, 1, 31), (2, 0, 23), (2, 0, 59), (2, 0, 59)];
    let fields_fit = limits.iter().all(|(length, least, most)| {
        parts.next().is_some_and(|(len, number)| {
            len == *length && number.is_some_and(|number| (*least..=*most).contains(&number))
        })
    });
    let separators = head.chars().filter(|c| !c.is_ascii_digit()).eq("--T::".chars());
    let offset = tail.strip_prefix(['.', ',']).map_or(tail, |rest| {
        let digits = rest.trim_start_matches(|c: char| c.is_ascii_digit());
        // A point without a digit behind it stays part of what is left, which then is no offset.
        if digits.len() < rest.len() { digits } else { tail }
    });
    fields_fit && separators && parts.next().is_none() && is_offset(offset)
}

/// `Z`, or `+hh:mm` and `-hh:mm`.
fn is_offset(text: &str) -> bool {
    let Some(rest) = text.strip_prefix(['+', '-']) else { return text == "Z" };
    let in_range = |digits: &str, most: u8| {
        digits.len() == 2
            && digits.bytes().all(|b| b.is_ascii_digit())
            && digits.parse::<u8>().is_ok_and(|number| number <= most)
    };
    rest.split_once(':').is_some_and(|(hours, minutes)| in_range(hours, 23) && in_range(minutes, 59))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn paths(object: &Value) -> Vec<String> {
        check(object).into_iter().map(|finding| finding.path).collect()
    }

    #[test]
    fn every_finding_is_told_with_its_path() {
        let object = json!({
            "apiVersion": "apps.kruise.io/v1beta1", "kind": "SidecarSet",
            "metadata": {"labels": {"a/b": 1}, "creationTimestamp": "yesterday"},
            "spec": {
                "selector": [],
                "containers": [
                    {"name": "a", "image": 5, "resources": {"limits": {"cpu": "x y", "memory": "1Gi"}}},
                    {"name": "b", "ports": [{"containerPort": 4_294_967_296_i64}, {"containerPort": 80.0}]},
                ],
                "volumes": [{"name": "v", "secret": {"defaultMode": "0644"}}],
                "updateStrategy": {"partition": 1.5, "maxUnavailable": true},
            },
        });
        let expected = [
            "metadata.creationTimestamp",
            "metadata.labels[a/b]",
            "spec.containers[0].image",
            "spec.containers[0].resources.limits[cpu]",
            "spec.containers[1].ports[0].containerPort",
            "spec.containers[1].ports[1].containerPort",
            "spec.selector",
            "spec.updateStrategy.maxUnavailable",
            "spec.updateStrategy.partition",
            "spec.volumes[0].secret.defaultMode",
        ];
        assert_eq!(paths(&object), expected);
        let first = check(&object).swap_remove(2);
        assert_eq!(first.detail, "found the number 5, must be a string");
        assert_eq!((first.rule, first.kind), ("A-WIRE-20", FieldErrorKind::TypeInvalid));
    }

    #[test]
    fn null_and_unknown_members_are_fine() {
        let object = json!({
            "kind": null, "metadata": null, "extra": 1,
            "spec": {
                "selector": null, "containers": [null, {"name": null, "Image": 5, "future": {"image": 5}}],
                "volumes": null, "patchPodMetadata": [{"annotations": {"a": null}}],
            },
        });
        assert_eq!(check(&object), []);
    }

    #[test]
    fn only_sidecarsets_of_the_two_versions_are_decoded() {
        assert_eq!(paths(&json!({"kind": "Foo", "apiVersion": "apps.kruise.io/v2"})), ["apiVersion", "kind"]);
        assert_eq!(paths(&json!({"kind": 5})), ["kind"]);
        assert_eq!(paths(&json!([])), [""]);
        assert_eq!(paths(&Value::Null), [""]);
    }

    #[test]
    fn a_container_list_is_checked_below_its_path() {
        let findings = check_value(&json!([{"name": 7}]), SIDECAR_CONTAINERS, "spec.initContainers");
        assert_eq!(findings.len(), 1);
        assert_eq!(findings[0].path, "spec.initContainers[0].name");
        assert_eq!(
            check_value(&json!("x"), SIDECAR_CONTAINERS, "c")[0].detail,
            "found the string \"x\", must be a list"
        );
    }

    #[test]
    fn quantities_may_be_numbers_and_have_blanks_around() {
        for good in [json!("1"), json!(1), json!(0.5), json!(" 1Gi "), json!("."), json!("e5")] {
            assert_eq!(check_value(&good, Kind::Quantity, "q"), [], "{good}");
        }
        for bad in
            [json!(""), json!("1 Gi"), json!("1GB"), json!("\t1\n"), json!(true), json!({}), json!("1.2.3.x")]
        {
            assert_eq!(check_value(&bad, Kind::Quantity, "q").len(), 1, "{bad}");
        }
    }

    #[test]
    fn times_are_rfc_3339() {
        for good in ["2026-01-02T15:04:05Z", "2026-01-02T15:04:05.123456Z", "2026-12-31T23:59:59+05:30"] {
            assert!(is_time(good), "{good}");
        }
        for bad in [
            "",
            "2026-01-02",
            "2026-01-02 15:04:05Z",
            "2026-13-02T15:04:05Z",
            "2026-01-02T24:04:05Z",
            "2026-01-02T15:04:05",
            "2026-01-02T15:04:05.Z",
            "2026-01-02T15:04:05+5:30",
            "2026-01-02T15:04:05Zé",
            "+026-01-02T15:04:05Z",
        ] {
            assert!(!is_time(bad), "{bad}");
        }
    }
}
