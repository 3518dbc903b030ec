//! The stored SidecarSets as the conflict rules ask for them: by the names that sets may share or fight over.
//!
//! A new set is compared with those sets only that use one of its names, and where many do, with those whose selectors can
//! overlap with its own: the sets of one name hang under what they require of Pods and of namespaces. So a check costs as
//! much among 50,000 sets as among ten.

mod group;

use std::sync::Arc;

use rustc_hash::FxHashMap;
use serde_json::Value;

use super::canary;
use super::overlap::{can_both_match, overlap};
use crate::api::json::{Object, write_value};
use crate::api::types::{Kind, Type, VOLUME};
use crate::api::{decode, json};
use crate::content::{items, text};
use crate::selector::Selector;

use group::Group;

/// What a name in a set is the name of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Named {
    /// An init container.
    InitContainer,
    /// A container.
    Container,
    /// A volume.
    Volume,
    /// An annotation of `patchPodMetadata`.
    Annotation,
}

impl Named {
    /// All of them, in the order in which [`StoredSets`] keeps them.
    pub(super) const ALL: [Self; 4] = [Self::InitContainer, Self::Container, Self::Volume, Self::Annotation];

    /// The names in a set, each with its definition: what decides whether two of one name go together.
    pub(super) fn entries(self, set: &Value) -> Vec<(&str, String)> {
        let spec = &set["spec"];
        let containers = |list: &str| {
            items(&spec[list]).map(|container| (text(&container["name"]), String::new())).collect()
        };
        match self {
            Self::InitContainer => containers("initContainers"),
            Self::Container => containers("containers"),
            Self::Volume => {
                items(&spec["volumes"]).map(|volume| (text(&volume["name"]), definition(volume))).collect()
            }
            Self::Annotation => items(&spec["patchPodMetadata"])
                .flat_map(|patch| {
                    let keys = patch["annotations"].as_object().into_iter().flatten().map(|(key, _)| &**key);
                    keys.map(|key| (key, text(&patch["patchPolicy"]).to_owned()))
                })
                .collect(),
        }
    }

    /// Whether two sets may use one name at all.
    fn can_be_shared(self) -> bool {
        matches!(self, Self::Volume | Self::Annotation)
    }

    /// Whether two definitions of one name exclude each other. Rule: A-VAL-83, A-VAL-84, A-VAL-85, A-VAL-86.
    fn excludes(self, one: &str, other: &str) -> bool {
        match self {
            Self::InitContainer | Self::Container => true,
            Self::Volume => one != other,
            Self::Annotation => {
                let both = [one, other];
                !both.contains(&"Retain") && both.contains(&"Overwrite")
            }
        }
    }
}

/// One stored set, as the conflict rules see it. Made once for each set, however often the others change.
#[derive(Debug)]
pub struct StoredSet {
    name: Box<str>,
    canary_base: Option<Box<str>>,
    reach: Reach,
    /// Names with their definitions, in the order of [`Named::ALL`].
    entries: [Box<[Entry]>; 4],
}

/// A name with its definition.
type Entry = (Box<str>, Arc<str>);

impl StoredSet {
    /// Reads a set, which is v1beta1 as it is stored.
    #[must_use]
    pub fn of(set: &Value) -> Self {
        // Most definitions of a set are the empty one.
        let empty: Arc<str> = "".into();
        let shared = |text: String| if text.is_empty() { Arc::clone(&empty) } else { text.into() };
        let entries = |kind: Named| {
            let entries = kind.entries(set).into_iter();
            entries.map(|(name, definition)| (name.into(), shared(definition))).collect()
        };
        Self {
            name: text(&set["metadata"]["name"]).into(),
            canary_base: canary::canary_base(set).map(Into::into),
            reach: Reach::of(set),
            entries: Named::ALL.map(entries),
        }
    }

    /// A set, its base and the base's other canaries are one family. Decision: D-13.
    fn family(&self) -> &str {
        self.canary_base.as_deref().unwrap_or(&self.name)
    }
}

/// The Pods that a set may choose.
#[derive(Debug)]
pub(super) struct Reach {
    /// `spec.selector`; `None` if absent, which matches nothing (A-EDGE-3).
    selector: Option<Selector>,
    /// `spec.namespaceSelector`; `None` if absent, which matches every namespace.
    namespace_selector: Option<Selector>,
}

impl Reach {
    pub(super) fn of(set: &Value) -> Self {
        let selector = |value: &Value| value.is_object().then(|| Selector::compile(value));
        Self {
            selector: selector(&set["spec"]["selector"]),
            namespace_selector: selector(&set["spec"]["namespaceSelector"]),
        }
    }

    /// Rule: A-VAL-80, A-VAL-81, A-EDGE-3.
    fn meets(&self, other: &Self, test: impl Fn(&Selector, &Selector) -> bool) -> bool {
        let (Some(one), Some(two)) = (&self.selector, &other.selector) else { return false };
        let namespaces = self.namespace_selector.as_ref().zip(other.namespace_selector.as_ref());
        namespaces.is_none_or(|(one, two)| test(one, two)) && test(one, two)
    }
}

/// What a search for sets with one name found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Conflict<'s> {
    /// A set that overlaps and whose definition excludes the own one.
    pub(super) certain: Option<&'s str>,
    /// Whether another set overlaps and its definition goes together with the own one.
    pub(super) others_agree: bool,
    /// A set that excludes the own definition and overlaps only by a more exact test than upstream's (A-EDGE-6).
    pub(super) possible: Option<&'s str>,
}

/// All stored sets, indexed for the conflict rules. Immutable; built off the hot path.
#[derive(Debug, Default)]
pub struct StoredSets {
    sets: Vec<Arc<StoredSet>>,
    by_name: FxHashMap<Box<str>, u32>,
    /// In the order of [`Named::ALL`].
    groups: [FxHashMap<Box<str>, Group>; 4],
}

impl StoredSets {
    /// Indexes sets, which are v1beta1 as they are stored; of several with one name the last counts.
    #[must_use]
    pub fn new<'v>(sets: impl IntoIterator<Item = &'v Value>) -> Self {
        Self::of_sets(sets.into_iter().map(|set| Arc::new(StoredSet::of(set))).collect())
    }

    /// As [`StoredSets::new`], of sets that were read before.
    #[must_use]
    pub fn of_sets(mut sets: Vec<Arc<StoredSet>>) -> Self {
        sets.sort_by(|a, b| a.name.cmp(&b.name));
        sets.reverse();
        sets.dedup_by(|later, kept| later.name == kept.name);
        sets.reverse();
        let mut stored = Self { sets, ..Self::default() };
        for (set, position) in stored.sets.iter().zip(0..) {
            stored.by_name.insert(set.name.clone(), position);
            for (entries, groups) in set.entries.iter().zip(&mut stored.groups) {
                for (name, definition) in entries {
                    groups.entry(name.clone()).or_default().push(position, Arc::clone(definition));
                }
            }
        }
        for group in stored.groups.iter_mut().flat_map(|groups| groups.values_mut()) {
            group.index(&stored.sets);
        }
        stored
    }

    /// Number of sets.
    #[must_use]
    pub fn len(&self) -> usize {
        self.sets.len()
    }

    /// Whether there is no set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sets.is_empty()
    }

    /// The base of the stored set `name` if that is a canary; `None` if there is no such set.
    pub(super) fn canary_base_of(&self, name: &str) -> Option<Option<&str>> {
        let set = self.sets.get(*self.by_name.get(name)? as usize)?;
        Some(set.canary_base.as_deref())
    }

    /// Looks among the sets that use `name` for those in conflict with `set`, whose definition of the name is `definition`.
    ///
    /// Rule: A-VAL-80, A-EDGE-3, A-EDGE-6, A-EDGE-7.
    /// Decision: D-13.
    pub(super) fn conflict(
        &self,
        kind: Named,
        name: &str,
        definition: &str,
        set: &Value,
        reach: &Reach,
    ) -> Conflict<'_> {
        let mut conflict = Conflict::default();
        let group = Named::ALL.iter().zip(&self.groups).find(|(other, _)| **other == kind);
        let Some(group) = group.and_then(|(_, groups)| groups.get(name)) else { return conflict };
        if group.only_definition().is_some_and(|other| !kind.excludes(definition, other)) {
            return conflict;
        }
        let own_name = text(&set["metadata"]["name"]);
        let family = canary::canary_base(set).unwrap_or(own_name);
        for member in group.candidates(reach) {
            let Some(other) = self.sets.get(member.set as usize) else { continue };
            if &*other.name == own_name || other.family() == family {
                continue;
            }
            let is_excluded = kind.excludes(definition, &member.definition);
            if reach.meets(&other.reach, overlap) {
                if is_excluded {
                    conflict.certain.get_or_insert(&other.name);
                } else {
                    conflict.others_agree = true;
                }
            } else if is_excluded && conflict.possible.is_none() && reach.meets(&other.reach, can_both_match)
            {
                conflict.possible = Some(&other.name);
            }
            if conflict.certain.is_some() && (conflict.others_agree || !kind.can_be_shared()) {
                break;
            }
        }
        conflict
    }
}

/// A volume as text, so that two are equal exactly if upstream's decoded ones are: absent members and zeros are the same
/// where the type cannot tell them apart, empty lists and absent ones are not, and quantities are compared as written.
///
/// Rule: A-VAL-85, A-EDGE-43.
fn definition(volume: &Value) -> String {
    let mut out = String::new();
    write_value(&mut out, &comparable(volume, Kind::Object(&VOLUME)));
    out
}

fn comparable(value: &Value, kind: Kind) -> Value {
    match (kind, value) {
        (Kind::Object(ty), Value::Object(map)) => comparable_object(map, ty).into(),
        (Kind::Object(_), Value::Null) => Object::new().into(),
        (Kind::List(item), Value::Array(list)) => list.iter().map(|value| comparable(value, *item)).collect(),
        (Kind::Map(inner), Value::Object(map)) => {
            map.iter().map(|(key, value)| (key.clone(), comparable(value, *inner))).collect()
        }
        (Kind::Quantity, value) => decode::quantity_text(value).map_or(Value::Null, Value::from),
        (_, value) => value.clone(),
    }
}

fn comparable_object(map: &Object, ty: &Type) -> json::Object {
    let members = map.iter().filter(|(_, value)| !value.is_null());
    let members = members.filter_map(|(name, value)| {
        let Some(member) = ty.member(name) else { return Some((name.clone(), value.clone())) };
        let value = comparable(value, member.kind);
        let is_zero = match &value {
            Value::Bool(flag) => !flag,
            Value::Number(number) => number.as_i64() == Some(0),
            Value::String(text) => text.is_empty(),
            Value::Object(map) => map.is_empty() && matches!(member.kind, Kind::Object(_)),
            Value::Null | Value::Array(_) => false,
        };
        (member.pointer || !is_zero).then(|| (name.clone(), value))
    });
    members.collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn mk_set(number: usize, selector: Value, namespace: Value) -> Value {
        json!({"metadata": {"name": format!("s{number}")}, "spec": {
            "selector": {"matchLabels": selector}, "namespaceSelector": {"matchLabels": namespace},
            "containers": [{"name": "agent"}],
            "volumes": [{"name": "v", "hostPath": {"path": format!("/{number}")}}, {"name": "w", "emptyDir": {}}],
        }})
    }

    /// How many of 2,000 sets with the same names are compared with one more: by what tells them apart.
    #[test]
    fn few_sets_of_many_are_compared() {
        let by_label =
            |n: usize| mk_set(n, json!({"app": format!("a{n}"), "tier": "x"}), json!({"env": "prod"}));
        let by_namespace = |n: usize| {
            mk_set(n, json!({"app": "web"}), json!({"kubernetes.io/metadata.name": format!("n{n}")}))
        };
        let by_both = |n: usize| {
            mk_set(n, json!({"app": format!("a{}", n % 50)}), json!({"team": format!("t{}", n / 50)}))
        };
        let mut everywhere = mk_set(3000, json!({"app": "other"}), Value::Null);
        everywhere["spec"]["namespaceSelector"] = Value::Null;
        type Row<'t> = (&'t str, &'t dyn Fn(usize) -> Value, Value, usize);
        let worlds: [Row<'_>; 6] = [
            ("other label", &by_label, by_label(3000), 0),
            ("same label", &by_label, by_label(7), 1),
            ("other namespace", &by_namespace, by_namespace(3000), 0),
            ("same namespace", &by_namespace, by_namespace(7), 1),
            ("every namespace, other label", &by_namespace, everywhere, 0),
            ("label and namespace", &by_both, by_both(7), 40),
        ];
        for (what, mk, new, most) in worlds {
            let sets: Vec<Value> = (0..2000).map(mk).collect();
            let stored = StoredSets::new(&sets);
            assert_eq!(stored.len(), 2000);
            for groups in stored.groups.iter().filter(|groups| !groups.is_empty()) {
                for group in groups.values() {
                    let compared = group.candidates(&Reach::of(&new)).count();
                    assert!(compared <= most, "{what}: {compared}");
                }
            }
        }
    }

    /// Rule: A-VAL-85, A-EDGE-43.
    #[test]
    fn volumes_are_equal_as_upstream_decodes_them() {
        let same = [
            (json!({"emptyDir": {}}), json!({"emptyDir": {"medium": ""}})),
            (json!({"emptyDir": {}}), json!({"emptyDir": {"sizeLimit": null}, "hostPath": null})),
            (json!({"secret": {"secretName": "s", "items": null}}), json!({"secret": {"secretName": "s"}})),
            (
                json!({"nfs": {"server": "s", "path": "/"}}),
                json!({"nfs": {"path": "/", "readOnly": false, "server": "s"}}),
            ),
        ];
        let different = [
            (json!({"emptyDir": {}}), json!({"hostPath": {"path": "/"}})),
            (json!({"hostPath": {"path": "/"}}), json!({"hostPath": {"path": "/", "type": ""}})),
            (json!({"emptyDir": {"sizeLimit": "1G"}}), json!({"emptyDir": {"sizeLimit": "1000M"}})),
            (json!({"secret": {"items": []}}), json!({"secret": {}})),
            (json!({"future": {"a": 1}}), json!({"future": {"a": 2}})),
        ];
        for (one, other) in same {
            assert_eq!(definition(&one), definition(&other));
        }
        for (one, other) in different {
            assert_ne!(definition(&one), definition(&other));
        }
    }
}
