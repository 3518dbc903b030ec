//! Laws of defaulting, hashes and conversion, on SidecarSets drawn at random from the type tables.

use proptest::prelude::*;
use proptest::strategy::Union;
use serde_json::{Map, Value, json};
use sidecarset_core::api::complete::complete;
use sidecarset_core::api::types::{Kind, SIDECARSET_V1ALPHA1, SIDECARSET_V1BETA1, Type};
use sidecarset_core::api::{convert, decode, keys};
use sidecarset_core::{defaulting, hash};

/// Whether values of a wrong type are drawn too.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Draw {
    Decodable,
    Wild,
}

fn one_of(values: &[Value]) -> BoxedStrategy<Value> {
    prop::sample::select(values.to_vec()).boxed()
}

fn value(kind: Kind, draw: Draw) -> BoxedStrategy<Value> {
    let good = match kind {
        Kind::Text => one_of(&[
            json!(""),
            json!("Always"),
            json!("nginx"),
            json!("reg.io/a:1.0"),
            json!("<é\u{2028}\"\\\n&"),
            json!("x".repeat(70)),
        ]),
        Kind::Bool => any::<bool>().prop_map(Value::from).boxed(),
        Kind::Int32 => prop_oneof![Just(0), any::<i32>()].prop_map(Value::from).boxed(),
        Kind::Int64 => prop_oneof![Just(0), any::<i64>()].prop_map(Value::from).boxed(),
        Kind::IntOrText => one_of(&[json!(0), json!(80), json!(""), json!("30%")]),
        Kind::Quantity => {
            one_of(&[json!("100u"), json!("1.500"), json!(" 1536Mi "), json!(0.25), json!(3), json!("-1e3")])
        }
        Kind::Time => one_of(&[Value::Null, json!("2026-01-02T15:04:05Z")]),
        Kind::Any => unknown(),
        Kind::Object(ty) => object(ty, draw),
        Kind::List(item) => prop::collection::vec(value(*item, draw), 0..3).prop_map(Value::from).boxed(),
        Kind::Map(inner) => {
            let key =
                prop::sample::select(vec![keys::CUSTOM_VERSION, keys::CUSTOM_VERSION_ANNOTATION, "b/c", "a"]);
            let map = prop::collection::btree_map(key.prop_map(str::to_owned), value(*inner, draw), 0..3);
            map.prop_map(|map| map.into_iter().collect()).boxed()
        }
    };
    let mut choices = vec![(40, good), (1, Just(Value::Null).boxed())];
    if draw == Draw::Wild {
        choices.push((1, unknown()));
    }
    Union::new_weighted(choices).boxed()
}

/// A value whose shape nobody knows.
fn unknown() -> BoxedStrategy<Value> {
    one_of(&[
        json!({"z": [null, {"b": 1, "a": "<"}], "a": -0.5}),
        json!("text"),
        json!([]),
        json!(true),
        json!(7),
    ])
}

/// An object with some of its known members, in any order, and now and then one that is not known.
fn object(ty: &'static Type, draw: Draw) -> BoxedStrategy<Value> {
    let share = (3.0 / ty.members.len() as f64).min(0.5);
    let members: Vec<_> = ty
        .members
        .iter()
        .map(|member| {
            let value = prop::option::weighted(share, value(member.kind, draw));
            value.prop_map(|value| value.map(|value| (member.name, value))).boxed()
        })
        .chain([prop::option::weighted(0.1, unknown())
            .prop_map(|value| value.map(|value| ("futureMember", value)))
            .boxed()])
        .collect();
    let shuffled =
        members.prop_map(|members| members.into_iter().flatten().collect::<Vec<_>>()).prop_shuffle();
    shuffled
        .prop_map(|members| members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
        .boxed()
}

fn set_of(ty: &'static Type, version: &'static str, draw: Draw) -> BoxedStrategy<Value> {
    let member = |name: &str| {
        let kind = ty.member(name).map(|member| member.kind);
        prop::option::weighted(0.95, value(kind.unwrap_or(Kind::Any), draw))
    };
    (member("metadata"), member("spec"), member("status"))
        .prop_map(move |(metadata, spec, status)| {
            let mut set = json!({"apiVersion": version, "kind": decode::KIND});
            for (name, value) in [("metadata", metadata), ("spec", spec), ("status", status)] {
                if let Some(value) = value {
                    set[name] = value;
                }
            }
            set
        })
        .boxed()
}

fn beta() -> BoxedStrategy<Value> {
    set_of(&SIDECARSET_V1BETA1, decode::V1BETA1, Draw::Decodable)
}

pub(crate) fn any_set(draw: Draw) -> BoxedStrategy<Value> {
    prop_oneof![
        set_of(&SIDECARSET_V1BETA1, decode::V1BETA1, draw),
        set_of(&SIDECARSET_V1ALPHA1, decode::V1ALPHA1, draw),
    ]
    .boxed()
}

fn defaulted(set: &Value) -> Value {
    let mut set = set.clone();
    defaulting::apply(&mut set);
    set
}

fn hashes(set: &Value) -> hash::Hashes {
    hash::of_sidecarset(set).unwrap()
}

/// Every container and init container of a set.
fn containers(set: &mut Value) -> impl Iterator<Item = &mut Map<String, Value>> {
    let spec = set.get_mut("spec").and_then(Value::as_object_mut);
    let lists = spec.into_iter().flatten().filter(|(name, _)| name.ends_with("ontainers"));
    lists.filter_map(|(_, list)| list.as_array_mut()).flatten().filter_map(Value::as_object_mut)
}

/// Fails if something of `before` is missing in `after`: an empty value may have got its default, a quantity may be rounded.
fn assert_kept(before: &Value, after: &Value, path: &str) {
    match (before, after) {
        (Value::Null, _) => {}
        (Value::Object(left), Value::Object(right)) => {
            for (name, value) in left {
                assert_kept(value, right.get(name).unwrap_or(&Value::Null), &format!("{path}.{name}"));
            }
        }
        (Value::Array(left), Value::Array(right)) => {
            assert_eq!(left.len(), right.len(), "{path}");
            left.iter().zip(right).for_each(|(left, right)| assert_kept(left, right, &format!("{path}[]")));
        }
        (left, right) => {
            let empty = *left == "" || *left == 0;
            let rounded = path.contains(".resources.") && *left == "100u" && *right == "1m";
            assert!(left == right || empty || rounded, "{path}: {left} became {right}");
        }
    }
}

/// The same value with the members of every object in reverse order.
fn reversed(value: &Value) -> Value {
    match value {
        Value::Object(map) => map.iter().rev().map(|(name, value)| (name.clone(), reversed(value))).collect(),
        Value::Array(list) => list.iter().map(reversed).collect(),
        scalar => scalar.clone(),
    }
}

/// What a v1beta1 set looks like after a way through v1alpha1: its label and annotation for the custom version are gone, and the
/// first of the three that is not empty is its custom version (A-CONV-7, D-18).
fn through_v1alpha1(set: &Value) -> Value {
    let mut expected = set.clone();
    complete(&mut expected);
    let mut versions = vec![expected["spec"]["customVersion"].clone()];
    for (place, key) in [("labels", keys::CUSTOM_VERSION), ("annotations", keys::CUSTOM_VERSION_ANNOTATION)] {
        let Some(metadata) = expected.get_mut("metadata").and_then(Value::as_object_mut) else { continue };
        let Some(map) = metadata.get_mut(place).and_then(Value::as_object_mut) else { continue };
        versions.extend(map.shift_remove(key));
    }
    if let Some(spec) = expected.get_mut("spec").and_then(Value::as_object_mut) {
        spec.shift_remove("customVersion");
    }
    if let Some(version) = versions.into_iter().find(|version| !version.is_null() && *version != "") {
        expected["spec"]["customVersion"] = version;
    }
    expected
}

/// The same set: empty labels, annotations and metadata may come and go.
fn without_empty_metadata(mut set: Value) -> Value {
    let is_empty = |value: &Value| value.is_null() || value.as_object().is_some_and(Map::is_empty);
    if let Some(metadata) = set.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata
            .retain(|name, value| !(matches!(name.as_str(), "labels" | "annotations") && is_empty(value)));
    }
    if let Some(set) = set.as_object_mut() {
        set.retain(|name, value| !(name == "metadata" && is_empty(value)));
    }
    set
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_drawn_from_the_tables_can_be_decoded(set in any_set(Draw::Decodable)) {
        prop_assert_eq!(decode::check(&set), []);
    }

    #[test]
    fn defaulting_twice_is_defaulting_once(set in any_set(Draw::Wild)) {
        let once = defaulted(&set);
        prop_assert_eq!(&defaulted(&once), &once);
    }

    #[test]
    fn defaulting_loses_nothing_and_keeps_the_set_decodable(set in any_set(Draw::Decodable)) {
        let after = defaulted(&set);
        assert_kept(&set, &after, "");
        prop_assert_eq!(decode::check(&after), []);
    }

    #[test]
    fn a_set_that_carries_its_hashes_is_done(set in any_set(Draw::Decodable)) {
        let mut set = defaulted(&set);
        defaulting::set_hash_annotations(&mut set).unwrap();
        let mut again = defaulted(&set);
        defaulting::set_hash_annotations(&mut again).unwrap();
        prop_assert_eq!(&again, &set);
        defaulting::ensure_hash_annotations(&mut again).unwrap();
        prop_assert_eq!(&again, &set);
    }

    #[test]
    fn data_of_any_type_is_named_or_handled(mut set in any_set(Draw::Wild)) {
        let findings = decode::check(&set);
        let converted = convert::convert(&mut set.clone(), decode::V1ALPHA1).is_ok();
        prop_assert!(!converted || findings.is_empty());
        defaulting::apply(&mut set);
        let hashed = defaulting::set_hash_annotations(&mut set).is_ok();
        prop_assert!(hashed || !findings.is_empty(), "refused without a finding");
    }

    #[test]
    fn a_hash_ignores_order_and_what_completion_adds(set in any_set(Draw::Decodable)) {
        prop_assert_eq!(hashes(&reversed(&set)), hashes(&set));
        let mut completed = set.clone();
        complete(&mut completed);
        prop_assert_eq!(hashes(&completed), hashes(&set));
    }

    #[test]
    fn a_hash_ignores_everything_but_containers(set in beta(), other in beta()) {
        let mut mixed = other;
        if !mixed["spec"].is_object() {
            mixed["spec"] = json!({});
        }
        for name in ["containers", "initContainers"] {
            mixed["spec"][name] = set["spec"][name].clone();
        }
        prop_assert_eq!(hashes(&mixed), hashes(&set));
    }

    #[test]
    fn only_one_hash_sees_images(set in beta()) {
        let mut changed = set.clone();
        let count = containers(&mut changed).map(|map| map.insert("image".to_owned(), json!("other:9"))).count();
        prop_assert_eq!(&hashes(&changed).without_image, &hashes(&set).without_image);
        let mut renamed = changed.clone();
        containers(&mut renamed).for_each(|map| { map.insert("image".to_owned(), json!("other:10")); });
        let hashed = set["spec"]["containers"].as_array().is_some_and(|list| !list.iter().all(Value::is_null));
        prop_assert!(count == 0 || !hashed || hashes(&renamed).hash != hashes(&changed).hash);
    }

    /// Rule: A-HASH-4.
    #[test]
    fn conversion_there_and_back_loses_nothing(set in beta()) {
        let mut converted = set.clone();
        convert::convert(&mut converted, decode::V1ALPHA1).unwrap();
        prop_assert_eq!(decode::check(&converted), []);
        prop_assert_eq!(hashes(&converted), hashes(&set));
        convert::convert(&mut converted, decode::V1BETA1).unwrap();
        prop_assert_eq!(without_empty_metadata(converted), without_empty_metadata(through_v1alpha1(&set)));
    }
}
