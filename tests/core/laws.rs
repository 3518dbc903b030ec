//! What holds for every admission, whatever the sets and the Pod are. Checked on generated worlds, and by the fuzz targets.

use serde_json::{Map, Value, json};
use sidecarset_core::admission::{Decision, Verdict};
use sidecarset_core::api::keys;
use sidecarset_core::context::Context;
use sidecarset_core::pod::PodLook;
use sidecarset_core::snapshot::Snapshot;

use crate::world::{CONTEXT, NOW, World, apply, decide};

/// How an admission went, for tests that ask whether a generator reaches everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The Pod cannot be read.
    Unreadable,
    /// No change.
    Unchanged,
    /// Changed, and the second admission changed nothing.
    Changed,
    /// Changed, and the second admission was one of those that may change something.
    ChangedAgain,
    /// Denied.
    Denied,
}

/// Admits a Pod in a world and checks every law.
pub(crate) fn check(world: &World, pod: &str) -> Outcome {
    let snapshot = world.snapshot();
    if let Err(error) = PodLook::from_json(pod) {
        assert!(!error.detail.is_empty());
        return Outcome::Unreadable;
    }
    let raw = decide(&snapshot, &CONTEXT, pod);
    // An API server sends what it decoded and encoded again: no member twice, no number out of range.
    let Ok(before) = serde_json::from_str::<Value>(pod) else { return Outcome::Unreadable };
    let pod = before.to_string();
    let decision = decide(&snapshot, &CONTEXT, &pod);
    if let Verdict::Denied(denial) = &decision.verdict {
        assert!(matches!(denial.code, 400 | 500), "{denial:?}");
        assert!(denial.message.contains(denial.rule), "the message names its rule: {denial:?}");
        return Outcome::Denied;
    }
    if let Verdict::Patch(text) = &raw.verdict {
        serde_json::from_str::<json_patch::Patch>(text).unwrap_or_else(|error| panic!("{error}: {text}"));
    }
    let after = apply(&before, &decision);
    let sources = Sources::new(world);
    sources.check_nothing_lost(&before, &after);
    if decision.verdict == Verdict::Unchanged {
        return Outcome::Unchanged;
    }
    assert_ne!(before, after, "a patch that changes nothing is none (I-RESP-2)");
    check_order_of_sets(world, &pod, &decision);
    if sources.check_repeated(&snapshot, &after, sources.is_repeatable(&before, &after, &decision)) {
        Outcome::Changed
    } else {
        Outcome::ChangedAgain
    }
}

/// The order in which a source lists sets and revisions is no input.
fn check_order_of_sets(world: &World, pod: &str, decision: &Decision) {
    let mut turned = world.clone();
    turned.sets.reverse();
    turned.revisions.reverse();
    let other = decide(&turned.snapshot(), &CONTEXT, pod);
    assert_eq!(format!("{decision:?}"), format!("{other:?}"));
}

/// Everything that may come into a Pod: what the sets are and what their revisions hold.
struct Sources {
    specs: Vec<Value>,
}

/// Members of a set's container that stay behind (I-INJ-7).
const SET_ONLY: [&str; 6] = [
    "podInjectPolicy",
    "upgradeStrategy",
    "shareVolumePolicy",
    "shareVolumeDevicePolicy",
    "transferEnv",
    "resourcesPolicy",
];

/// The two lists that containers go into.
const LISTS: [&str; 2] = ["initContainers", "containers"];

impl Sources {
    fn new(world: &World) -> Self {
        let live = world.loaded().into_iter().map(|set| set.document()["spec"].clone());
        let stored = world.revisions.iter().map(|revision| revision["data"]["spec"].clone());
        Self { specs: live.chain(stored).collect() }
    }

    /// All items of one list of all specs.
    fn items<'s>(&'s self, list: &'s str) -> impl Iterator<Item = &'s Value> {
        self.specs.iter().flat_map(move |spec| spec[list].as_array().into_iter().flatten())
    }

    /// The Pod is still there, each entry at its place among the Pod's own; what is new comes whole from a set.
    fn check_nothing_lost(&self, before: &Value, after: &Value) {
        check_same_but(before, after, &["metadata", "spec"]);
        check_same_but(&before["metadata"], &after["metadata"], &["annotations"]);
        self.check_annotations(&before["metadata"]["annotations"], &after["metadata"]["annotations"]);
        let (own, now) = (&before["spec"], &after["spec"]);
        check_same_but(own, now, &["containers", "initContainers", "volumes", "imagePullSecrets"]);
        for kind in LISTS {
            self.check_containers(kind, own, now);
        }
        self.check_appended("volumes", list(own, "volumes"), list(now, "volumes"));
        let secrets = list(now, "imagePullSecrets");
        if secrets != list(own, "imagePullSecrets") {
            let mut unique: Vec<Value> = Vec::new();
            for secret in list(own, "imagePullSecrets") {
                if unique.iter().all(|kept| name(kept) != name(secret)) {
                    unique.push(secret.clone());
                }
            }
            self.check_appended("imagePullSecrets", &unique, secrets);
        }
    }

    fn check_annotations(&self, before: &Value, after: &Value) {
        let may_change = |key: &str| is_reserved(key) || self.patches().any(|(_, patched, _)| patched == key);
        let empty = Map::new();
        let (own, now) = (before.as_object().unwrap_or(&empty), after.as_object().unwrap_or(&empty));
        for (key, value) in own {
            assert!(now.get(key).is_some_and(|now| now == value || may_change(key)), "annotation {key}");
        }
        assert!(now.keys().all(|key| own.contains_key(key) || may_change(key)), "{before}\n{after}");
        assert!(own.keys().eq(now.keys().take(own.len())), "{before}\n{after}");
    }

    /// All `patchPodMetadata`: policy, key, text.
    fn patches(&self) -> impl Iterator<Item = (&str, &str, &str)> {
        self.items("patchPodMetadata").flat_map(|entry| {
            let policy = entry["patchPolicy"].as_str().unwrap_or_default();
            let annotations = entry["annotations"].as_object().into_iter().flatten();
            annotations.map(move |(key, value)| (policy, &**key, value.as_str().unwrap_or_default()))
        })
    }

    /// Own entries stay in their order, identical unless a sidecar of the same name replaces them; all others are sidecars.
    fn check_containers(&self, kind: &str, own: &Value, now: &Value) {
        let (before, after) = (list(own, kind), list(now, kind));
        let is_kept =
            |(own, now): (&Value, &Value)| own == now || (name(own) == name(now) && self.has_built(now));
        let start = (0..=after.len().saturating_sub(before.len()))
            .find(|&start| before.iter().zip(after.iter().skip(start)).all(is_kept));
        let start = start.unwrap_or_else(|| panic!("own {kind} were lost:\n{own}\n{now}"));
        assert!(start + before.len() <= after.len(), "own {kind} were lost:\n{own}\n{now}");
        for (position, container) in after.iter().enumerate() {
            let is_own = position.checked_sub(start).and_then(|index| before.get(index)) == Some(container);
            if !is_own {
                self.check_injected(kind, container, own, now);
            }
        }
    }

    fn has_built(&self, container: &Value) -> bool {
        LISTS.iter().any(|kind| self.items(kind).any(|source| is_built_from(container, source, kind)))
    }

    /// A sidecar carries all members of what the set says, its name is taken once, its volumes exist.
    fn check_injected(&self, kind: &str, container: &Value, own: &Value, now: &Value) {
        let mut sources = self.items(kind).filter(|source| is_built_from(container, source, kind));
        let source = sources.next();
        let source =
            source.unwrap_or_else(|| panic!("no set has {container}\n{}", Value::from(self.specs.clone())));
        let of_name = |spec: &Value| {
            LISTS
                .iter()
                .flat_map(|kind| list(spec, kind))
                .filter(|other| name(other) == name(container))
                .count()
        };
        assert!(of_name(now) == 1 || of_name(own) > 1, "container {} twice:\n{now}", name(container));
        let refs = ["volumeMounts", "volumeDevices"].into_iter().flat_map(|member| list(source, member));
        for item in refs {
            let is_defined = list(now, "volumes").iter().any(|volume| name(volume) == name(item));
            assert!(is_defined, "volume {} of container {}: {now}", name(item), name(container));
        }
    }

    /// `after` is `before` and then entries of sets, each name once.
    fn check_appended(&self, member: &str, before: &[Value], after: &[Value]) {
        assert_eq!(Some(before), after.get(..before.len()), "{member}");
        for (position, entry) in after.iter().enumerate().skip(before.len()) {
            let is_of_set = self.items(member).any(|source| source == entry || source.is_null());
            assert!(is_of_set, "{member}: {entry} is of no set");
            assert!(after.iter().take(position).all(|other| name(other) != name(entry)), "{member}: {entry}");
        }
    }

    /// Admission of the result, later: nothing changes but what D-24 excepts, and then the third admission changes nothing.
    /// Tells whether nothing changed.
    fn check_repeated(&self, snapshot: &Snapshot, after: &Value, is_repeatable: bool) -> bool {
        let later = Context { now_unix: NOW + 3_600, ..CONTEXT };
        let second = decide(snapshot, &later, &after.to_string());
        if second.verdict == Verdict::Unchanged {
            return true;
        }
        if !is_repeatable || has_faulty_sets(&second) {
            return false;
        }
        if let Verdict::Denied(denial) = &second.verdict {
            // Text that is no JSON was written as it is, and cannot be merged now (I-DEF-36).
            assert_eq!(denial.rule, "I-META-8", "{denial:?}");
            return false;
        }
        let again = apply(after, &second);
        let (mut left, mut right) = (after.clone(), again.clone());
        for (policy, key, _) in self.patches() {
            let path = format!("/metadata/annotations/{}", key.replace('~', "~0").replace('/', "~1"));
            if policy == "MergePatchJson"
                && let (Some(left), Some(right)) = (left.pointer_mut(&path), right.pointer_mut(&path))
                && left != right
            {
                let value = |text: &Value| serde_json::from_str(text.as_str().unwrap_or_default());
                let [old, new]: [Value; 2] =
                    [value(left), value(right)].map(|value| without_nulls(&value.unwrap()));
                assert_eq!(old, new, "{key}: re-encoding changed the value (D-24)");
                right.clone_from(left);
            }
        }
        assert!(left == right, "a second admission changed more than D-24 excepts:\n{left}\n{right}");
        let third = decide(snapshot, &later, &again.to_string());
        assert_eq!(third.verdict, Verdict::Unchanged, "the third admission of {again}");
        false
    }

    /// Whether the law of repeated admission speaks of this one: no sidecar took the place of another container, which may
    /// have been a source and is gone (I-ORD-6, I-DEF-13); no set was skipped because of a clash that is none once the other
    /// container is there (I-ORD-6); no set writes into the bookkeeping (I-DEF-37, validation refuses that).
    fn is_repeatable(&self, before: &Value, after: &Value, decision: &Decision) -> bool {
        let containers = |pod: &Value| LISTS.map(|kind| list(&pod["spec"], kind).to_vec()).concat();
        let after = containers(after);
        containers(before).iter().all(|own| after.contains(own))
            && !has_faulty_sets(decision)
            && !self.patches().any(|(_, key, _)| is_reserved(key) || key.starts_with("sidecarset.kruise.io/"))
    }
}

/// Whether a set was at fault and skipped (D-22).
fn has_faulty_sets(decision: &Decision) -> bool {
    decision.skipped.iter().any(|skipped| skipped.rule == "D-22")
}

fn is_reserved(key: &str) -> bool {
    [keys::HASH, keys::HASH_WITHOUT_IMAGE, keys::INJECTED_LIST, keys::WORKING_HOT_UPGRADE_CONTAINER]
        .contains(&key)
        || key.starts_with(keys::VERSION_PREFIX)
        || key.starts_with(keys::VERSION_ALT_PREFIX)
}

/// Members of an object, in order; `null` and absent are empty.
fn check_same_but(before: &Value, after: &Value, except: &[&str]) {
    let members = |value: &Value| {
        let members = value.as_object().cloned().unwrap_or_default().into_iter();
        members.filter(|(key, _)| !except.contains(&&**key)).collect::<Vec<_>>()
    };
    assert_eq!(members(before), members(after));
}

fn list<'v>(object: &'v Value, member: &str) -> &'v [Value] {
    object[member].as_array().map_or(&[], |list| list)
}

fn name(item: &Value) -> &str {
    item["name"].as_str().unwrap_or_default()
}

/// Whether a container of a Pod is what a set's container becomes: every member is there, nothing else is. Rule: I-INJ-7.
fn is_built_from(container: &Value, source: &Value, kind: &str) -> bool {
    let upgrade = &source["upgradeStrategy"];
    let is_hot = upgrade["upgradeType"] == "HotUpgrade"
        && (kind == "containers" || source["restartPolicy"] == "Always");
    let suffixes: &[&str] = if is_hot { &["-1", "-2"] } else { &[""] };
    let Some(suffix) = suffixes.iter().find(|suffix| name(container) == format!("{}{suffix}", name(source)))
    else {
        return false;
    };
    let image = if *suffix == "-2" { &upgrade["hotUpgradeEmptyImage"] } else { &source["image"] };
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    if text(&container["image"]) != text(image) {
        return false;
    }
    let starts_with_own = |member: &str| {
        let own =
            list(source, member).iter().map(|item| if item.is_null() { json!({}) } else { item.clone() });
        own.enumerate().all(|(index, own)| list(container, member).get(index) == Some(&own))
    };
    let marker = json!({"name": "IS_INJECTED", "value": "true"});
    let empty = Map::new();
    let members = source.as_object().unwrap_or(&empty);
    let with_holes = ["name", "image", "env", "volumeMounts", "volumeDevices", "resources"];
    starts_with_own("env")
        && list(container, "env").get(list(source, "env").len()) == Some(&marker)
        && starts_with_own("volumeMounts")
        && starts_with_own("volumeDevices")
        && has_resources_of(&container["resources"], source)
        && members
            .iter()
            .filter(|(key, value)| {
                !SET_ONLY.contains(&&***key) && !with_holes.contains(&&***key) && !value.is_null()
            })
            .all(|(key, value)| container.get(key) == Some(value))
        && container.as_object().is_some_and(|own| {
            own.keys().all(|key| {
                with_holes.contains(&&**key) || (members.contains_key(key) && !SET_ONLY.contains(&&**key))
            })
        })
}

fn has_resources_of(resources: &Value, source: &Value) -> bool {
    let is_computed =
        |key: &str| source["resourcesPolicy"].is_object() && matches!(key, "limits" | "requests");
    let own = source["resources"].as_object().into_iter().flatten();
    own.filter(|(key, value)| !is_computed(key) && !value.is_null())
        .all(|(key, value)| resources.get(key) == Some(value))
}

fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            let kept = members.iter().filter(|(_, value)| !value.is_null());
            let mut kept: Value = kept.map(|(key, value)| (key.clone(), without_nulls(value))).collect();
            kept.sort_all_objects();
            kept
        }
        Value::Array(items) => items.iter().map(without_nulls).collect(),
        other => other.clone(),
    }
}
