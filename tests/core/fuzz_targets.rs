//! What the fuzz targets do with their input; also run by ordinary tests over the seeds in `fuzz/seeds/`.

use serde_json::{Value, json};
use sidecarset_core::api::{decode, keys, names};
use sidecarset_core::json::{Cursor, MAX_DEPTH, Raw};
use sidecarset_core::pod::PodLook;
use sidecarset_core::revision::Revisions;
use sidecarset_core::set_admission::{self, Objects, Operation};
use sidecarset_core::validation::{ClusterView, Options, StoredSets};

use crate::generate::{Choices, world};
use crate::laws::check;
use crate::world::World;

/// The look at a Pod agrees with a general parser on what is JSON, and on what it reads; it always returns, and so does the
/// admission of what it read.
pub(crate) fn review(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let is_json = serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok();
    let is_flat = is_json && depth(text) <= MAX_DEPTH;
    assert_eq!(Cursor::read_all::<Raw<'_>>(text).is_ok(), is_flat, "what is JSON: {text:?}");
    let look = PodLook::from_json(text);
    assert!(is_flat || look.is_err(), "{text:?} is no JSON");
    if let Ok(value) = serde_json::from_str::<Value>(text)
        && is_flat
    {
        // A member that stands twice may be of a wrong type where it does not count; there is none in what was written again.
        let again = value.to_string();
        let same = PodLook::from_json(&again);
        assert_eq!(same.is_ok(), is_pod(&value), "{again}: {:?}", same.err());
        assert!(look.is_err() || same.is_ok(), "{text:?}: {:?}", same.err());
        if let Ok(look) = look {
            check_same(&look, &value);
        }
    }
    let all = json!({
    "apiVersion": "apps.kruise.io/v1beta1", "kind": "SidecarSet", "metadata": {"name": "all"}, "spec": {
        "selector": {"matchExpressions": [{"key": "none", "operator": "DoesNotExist"}]},
        "containers": [{
            "name": "side", "shareVolumePolicy": {"type": "enabled"}, "shareVolumeDevicePolicy": {"type": "enabled"},
            "transferEnv": [{"sourceContainerName": "app", "envNames": ["A", "B", ""]}],
        }]}});
    check(&World::of([all]), text);
}

/// A world and a Pod: as JSON `{"sets": [...], "revisions": [...], "pod": {...}}`, else made from the bytes. Every law holds.
pub(crate) fn inject(bytes: &[u8]) {
    if bytes.first() != Some(&b'{') {
        let (world, pod) = world(&mut Choices::new(bytes));
        check(&world, &pod.to_string());
        return;
    }
    let Ok(input) = serde_json::from_slice::<Value>(bytes) else { return };
    let list = |key: &str| input[key].as_array().cloned().unwrap_or_default();
    let world = World { sets: list("sets"), revisions: list("revisions"), ..World::default() };
    // Of several sets with one name the last counts, so the order would matter.
    let name = |set: &Value| set["metadata"]["name"].as_str().map(str::to_owned);
    for list in [&world.sets, &world.revisions] {
        let mut names: Vec<_> = list.iter().map(name).collect();
        names.sort_unstable();
        names.dedup();
        if names.len() < list.len() {
            return;
        }
    }
    check(&world, &input["pod"].to_string());
}

/// The three endpoints about SidecarSets: an old and a new object as JSON `{"old": ..., "new": ..., "others": [...]}`, else the
/// whole input as the new one. Whatever arrives, there is an answer; defaulting twice is defaulting once, and converting
/// there and back changes nothing.
pub(crate) fn set_api(bytes: &[u8]) {
    let Ok(input) = serde_json::from_slice::<Value>(bytes) else { return };
    let new = input.get("new").unwrap_or(&input);
    let others = input["others"].as_array().map(Vec::as_slice).unwrap_or_default();
    let readable = others.iter().filter(|set| decode::check(set).is_empty());
    let stored = StoredSets::new(readable);
    let revisions = Revisions::default();
    let cluster = ClusterView { sets: &stored, revisions: &revisions, allow_list: None };
    for version in [decode::V1BETA1, decode::V1ALPHA1] {
        let objects = Objects { new: Some(new), old: input.get("old") };
        for operation in [Operation::Create, Operation::Update, Operation::Other] {
            for strict in [false, true] {
                let options = Options { strict, ..Options::default() };
                let verdict = set_admission::validate(version, operation, objects, &cluster, options);
                let again = set_admission::validate(version, operation, objects, &cluster, options);
                assert_eq!(verdict, again, "the answer is a function of the request");
            }
        }
        let Ok(mutation) = set_admission::mutate(version, Operation::Create, objects) else { continue };
        let defaulted = Objects { new: Some(&mutation.after), old: None };
        let twice = set_admission::mutate(version, Operation::Create, defaulted).expect("decoded before");
        assert_eq!(twice.after, mutation.after, "defaulting twice is defaulting once");
        check_conversion(&mutation.after, version);
    }
}

fn check_conversion(set: &Value, version: &str) {
    let other = if version == decode::V1BETA1 { decode::V1ALPHA1 } else { decode::V1BETA1 };
    // No API server lets a label through whose value is none (D-18 moves such a version to an annotation).
    let label = set["metadata"]["labels"][keys::CUSTOM_VERSION].as_str().unwrap_or_default();
    let mut there = set.clone();
    if !names::is_label_value(label) || set_admission::convert(0, &mut there, other).is_err() {
        return;
    }
    // What v1alpha1 says twice is said once afterwards (I-DEF-35), so the way back is compared from v1beta1 on.
    let mut back = there.clone();
    set_admission::convert(0, &mut back, version).expect("converted before");
    let mut again = back.clone();
    set_admission::convert(0, &mut again, other).expect("converted before");
    assert_eq!(again, there, "converting there and back loses nothing");
}

/// How deep a JSON text nests.
fn depth(text: &str) -> u32 {
    let (mut depth, mut deepest, mut in_string, mut is_escaped) = (0_u32, 0, false, false);
    for byte in text.bytes() {
        if in_string {
            in_string = is_escaped || byte != b'"';
            is_escaped = !is_escaped && byte == b'\\';
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth -= 1,
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest
}

/// Whether all that the look reads has its type (I-CALL-11). Where `null` stands nothing stands.
fn is_pod(pod: &Value) -> bool {
    let is_text = |value: &Value| value.is_null() || value.is_string();
    let is_object = |value: &Value| value.is_null() || value.is_object();
    let is_list_of = |value: &Value, is_item: &dyn Fn(&Value) -> bool| match value {
        Value::Null => true,
        Value::Array(items) => items.iter().all(|item| item.is_null() || is_item(item)),
        _ => false,
    };
    let is_map =
        |value: &Value| is_object(value) && value.as_object().into_iter().flatten().all(|(_, v)| is_text(v));
    let is_named = |value: &Value| value.is_object() && is_text(&value["name"]);
    let is_container = |value: &Value| {
        let resources = &value["resources"];
        is_named(value)
            && is_text(&value["restartPolicy"])
            && is_object(resources)
            && is_object(&resources["limits"])
            && is_object(&resources["requests"])
    };
    let is_owner = |owner: &Value| {
        owner.is_object()
            && is_text(&owner["uid"])
            && (owner["controller"].is_null() || owner["controller"].is_boolean())
    };
    let (meta, spec) = (&pod["metadata"], &pod["spec"]);
    let is_one_of = |value: &Value, expected: &str| value.is_null() || value == "" || value == expected;
    pod.is_object()
        && is_one_of(&pod["apiVersion"], "v1")
        && is_one_of(&pod["kind"], "Pod")
        && is_object(meta)
        && ["name", "generateName", "namespace"].iter().all(|member| is_text(&meta[member]))
        && is_map(&meta["labels"])
        && is_map(&meta["annotations"])
        && is_list_of(&meta["ownerReferences"], &is_owner)
        && is_object(spec)
        && ["containers", "initContainers"].iter().all(|list| is_list_of(&spec[list], &is_container))
        && ["volumes", "imagePullSecrets"].iter().all(|list| is_list_of(&spec[list], &is_named))
}

/// The look reads what the general parser reads.
fn check_same(look: &PodLook<'_>, pod: &Value) {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (meta, spec) = (&pod["metadata"], &pod["spec"]);
    assert_eq!(look.name(), text(&meta["name"]));
    assert_eq!(look.generate_name(), text(&meta["generateName"]));
    assert_eq!(look.namespace(), text(&meta["namespace"]));
    for (map, expected) in [(look.labels(), &meta["labels"]), (look.annotations(), &meta["annotations"])] {
        assert_eq!(map.is_some(), expected.is_object());
        for (key, value) in expected.as_object().into_iter().flatten() {
            assert_eq!(map.and_then(|map| map.get(key)), Some(&*text(value)), "{key}");
        }
    }
    let names = |list: &Value| {
        list.as_array().map(|list| list.iter().map(|item| text(&item["name"])).collect::<Vec<_>>())
    };
    let own =
        |list: Option<Vec<&str>>| list.map(|list| list.into_iter().map(str::to_owned).collect::<Vec<_>>());
    let containers = look.spec().containers().iter().map(|item| item.value.name()).collect();
    assert_eq!(own(Some(containers)), Some(names(&spec["containers"]).unwrap_or_default()));
    let volumes = look.spec().volumes().map(|list| list.iter().map(|item| item.value.name()).collect());
    assert_eq!(own(volumes), names(&spec["volumes"]));
}
