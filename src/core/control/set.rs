//! What the controller reads of a SidecarSet, made ready once for each of its states.

use std::collections::BTreeMap;

use serde_json::Value;

use super::amount::Amount;
use super::revisions::revision_data;
use crate::api::keys;
use crate::content::{items, text};
use crate::field::FieldError;
use crate::hash;
use crate::injection::metadata::MetadataPatch;
use crate::selector::Selector;

/// A sidecar container of `spec.containers`.
#[derive(Debug)]
pub struct Sidecar {
    /// Its name in the set.
    pub name: String,
    /// The image that Pods should run.
    pub image: String,
    /// What a hot upgrade needs; `None` for a cold one.
    pub hot: Option<HotPair>,
}

/// The two containers that a Pod has for one hot sidecar. Rule: C-HOTC-1.
#[derive(Debug)]
pub struct HotPair {
    /// Their names, `-1` and `-2`.
    pub names: [String; 2],
    /// The image of the one that does not work.
    pub empty_image: String,
}

/// A term of `scatterStrategy`.
pub type ScatterTerm = (Box<str>, Box<str>);

/// `priorityStrategy`.
#[derive(Debug)]
pub enum Priority {
    /// `weightPriority`: selectors with their weights.
    Weight(Vec<(Selector, i64)>),
    /// `orderPriority`: label keys.
    Order(Vec<Box<str>>),
}

/// `updateStrategy`.
#[derive(Debug)]
pub struct Update {
    /// `type` is `NotUpdate`.
    pub is_off: bool,
    /// `paused`
    pub is_paused: bool,
    /// `selector`; `None` selects every Pod.
    pub selector: Option<Selector>,
    /// `partition`
    pub partition: Amount,
    /// `maxUnavailable`
    pub max_unavailable: Amount,
    /// `priorityStrategy`
    pub priority: Option<Priority>,
    /// `scatterStrategy`
    pub scatter: Vec<ScatterTerm>,
}

/// `status` as it is stored.
#[derive(Debug, Default)]
pub struct StoredStatus {
    /// Counters in the order matched, updated, ready, updated-ready; absent ones are 0.
    pub counts: [i64; 4],
    /// `observedGeneration`, 0 if absent.
    pub observed_generation: i64,
    /// `latestRevision`, empty if absent.
    pub latest_revision: String,
    /// `collisionCount`
    pub collision_count: Option<i64>,
    /// `conditions`, as they are.
    pub conditions: Vec<Value>,
}

/// A SidecarSet as the controller sees it.
#[derive(Debug)]
pub struct SetFacts {
    /// `metadata.name`
    pub name: String,
    /// `metadata.uid`
    pub uid: String,
    /// `metadata.resourceVersion`: also the version that hot sidecars are told (C-HOTC-3).
    pub resource_version: String,
    /// `metadata.generation`
    pub generation: i64,
    /// `metadata.creationTimestamp`, seconds since 1970.
    pub created_unix: Option<i64>,
    /// It has a deletionTimestamp.
    pub is_terminating: bool,
    /// `metadata.labels`
    pub labels: BTreeMap<String, String>,
    /// `metadata.annotations`
    pub annotations: BTreeMap<String, String>,
    /// H(S): the annotation, or computed if the set was stored without it (C-BUG-24).
    pub hash: String,
    /// HW(S), likewise.
    pub hash_without_image: String,
    /// `selector`; `None` matches nothing.
    pub selector: Option<Selector>,
    /// `namespaceSelector`; `None` matches every namespace.
    pub namespace_selector: Option<Selector>,
    /// `containers`
    pub sidecars: Vec<Sidecar>,
    /// Native sidecars of `initContainers`: name and image.
    pub native_sidecars: Vec<(String, String)>,
    /// Names as a record lists them (spec 30 section 0.2).
    pub sidecar_list: Vec<String>,
    /// Names of the containers in a Pod that belong to the set, sorted (C-CONS-1).
    pub targets: Vec<String>,
    /// `updateStrategy`
    pub update: Update,
    /// `patchPodMetadata`
    pub metadata_patches: Vec<MetadataPatch>,
    /// `injectionStrategy.paused`
    pub injection_paused: bool,
    /// `injectionStrategy.revision`: `revisionName`, `customVersion`.
    pub pinned: (Option<String>, Option<String>),
    /// `customVersion`, empty if absent.
    pub custom_version: String,
    /// `revisionHistoryLimit`
    pub history_limit: Option<i64>,
    /// Data of its revision, canonical bytes (C-REV-6).
    pub revision_data: String,
    /// Name of the set that this one is a canary of.
    pub canary_base: Option<String>,
    /// Pods that missed injection are to be replaced (`sidecarset.kruise.io/repair: Evict`).
    pub evicts_missed: bool,
    /// `status`
    pub status: StoredStatus,
}

impl SetFacts {
    /// Reads a set of version v1beta1 as it is stored.
    ///
    /// # Errors
    ///
    /// A set without hash annotations whose containers cannot be decoded: every finding.
    ///
    /// Rules: C-HASH-9, C-BUG-24, C-CONS-1.
    pub fn new(set: &Value) -> Result<Self, Vec<FieldError>> {
        let (metadata, spec) = (&set["metadata"], &set["spec"]);
        let annotations = texts(&metadata["annotations"]);
        let stored = |key: &str| annotations.get(key).filter(|hash| !hash.is_empty()).cloned();
        let (hash, hash_without_image) = match (stored(keys::HASH), stored(keys::HASH_WITHOUT_IMAGE)) {
            (Some(hash), Some(without_image)) => (hash, without_image),
            (hash, without_image) => {
                let computed = hash::of_sidecarset(set)?;
                (hash.unwrap_or(computed.hash), without_image.unwrap_or(computed.without_image))
            }
        };
        let owned = |value: &Value| text(value).to_owned();
        let selector = |value: &Value| value.is_object().then(|| Selector::compile(value));
        let sidecars: Vec<Sidecar> = items(&spec["containers"]).map(Sidecar::new).collect();
        let native_sidecars: Vec<_> = items(&spec["initContainers"])
            .filter(|container| container["restartPolicy"] == "Always")
            .map(|container| (owned(&container["name"]), owned(&container["image"])))
            .collect();
        let names = sidecars.iter().map(|sidecar| &sidecar.name);
        let revision = &spec["injectionStrategy"]["revision"];
        let some_text = |value: &Value| value.as_str().map(str::to_owned);
        let canary_base = annotations.get(keys::CANARY_BASE).filter(|base| !base.is_empty());
        let is_canary = annotations.get(keys::CANARY).is_some_and(|canary| canary == "true");
        Ok(Self {
            name: owned(&metadata["name"]),
            uid: owned(&metadata["uid"]),
            resource_version: owned(&metadata["resourceVersion"]),
            generation: metadata["generation"].as_i64().unwrap_or_default(),
            created_unix: crate::injection::hash_annotation::parse_rfc3339(text(
                &metadata["creationTimestamp"],
            )),
            is_terminating: metadata["deletionTimestamp"].is_string(),
            labels: texts(&metadata["labels"]),
            hash,
            hash_without_image,
            selector: selector(&spec["selector"]),
            namespace_selector: selector(&spec["namespaceSelector"]),
            sidecar_list: sorted(native_sidecars.iter().map(|(name, _)| name).chain(names).cloned()),
            targets: sorted(sidecars.iter().flat_map(Sidecar::final_names).map(str::to_owned)),
            sidecars,
            native_sidecars,
            update: Update::new(&spec["updateStrategy"]),
            metadata_patches: items(&spec["patchPodMetadata"]).map(MetadataPatch::compile).collect(),
            injection_paused: spec["injectionStrategy"]["paused"] == true,
            pinned: (some_text(&revision["revisionName"]), some_text(&revision["customVersion"])),
            custom_version: owned(&spec["customVersion"]),
            history_limit: spec["revisionHistoryLimit"].as_i64(),
            revision_data: revision_data(spec),
            canary_base: canary_base.filter(|_| is_canary).cloned(),
            evicts_missed: annotations.get(keys::REPAIR).is_some_and(|repair| repair == "Evict"),
            annotations,
            status: StoredStatus::new(&set["status"]),
        })
    }

    /// The annotations that `patchPodMetadata` names: [`super::pod::Keep`] must cover them.
    pub fn patched_keys(&self) -> impl Iterator<Item = &str> {
        self.metadata_patches.iter().flat_map(MetadataPatch::keys)
    }

    /// The hot sidecars.
    pub(super) fn hot_pairs(&self) -> impl Iterator<Item = (&Sidecar, &HotPair)> {
        self.sidecars.iter().filter_map(|sidecar| Some((sidecar, sidecar.hot.as_ref()?)))
    }
}

impl Sidecar {
    fn new(container: &Value) -> Self {
        let name = text(&container["name"]).to_owned();
        let upgrade = &container["upgradeStrategy"];
        let hot = (upgrade["upgradeType"] == "HotUpgrade").then(|| HotPair {
            names: [format!("{name}-1"), format!("{name}-2")],
            empty_image: text(&upgrade["hotUpgradeEmptyImage"]).to_owned(),
        });
        Self { name, image: text(&container["image"]).to_owned(), hot }
    }

    /// The names of its containers in a Pod. Rule: C-CONS-1.
    pub(super) fn final_names(&self) -> impl Iterator<Item = &str> {
        let names = self.hot.as_ref().map_or(std::slice::from_ref(&self.name), |hot| &hot.names);
        names.iter().map(String::as_str)
    }
}

impl Update {
    fn new(update: &Value) -> Self {
        let priority = &update["priorityStrategy"];
        let weights: Vec<_> = items(&priority["weightPriority"])
            .map(|term| {
                (Selector::compile(&term["matchSelector"]), term["weight"].as_i64().unwrap_or_default())
            })
            .collect();
        let order: Vec<Box<str>> =
            items(&priority["orderPriority"]).map(|term| text(&term["orderedKey"]).into()).collect();
        Self {
            is_off: update["type"] == "NotUpdate",
            is_paused: update["paused"] == true,
            selector: update["selector"].is_object().then(|| Selector::compile(&update["selector"])),
            partition: Amount::new(&update["partition"]),
            max_unavailable: Amount::new(&update["maxUnavailable"]),
            // Both at once: weight wins (C-SORT-5).
            priority: match (weights.is_empty(), order.is_empty()) {
                (false, _) => Some(Priority::Weight(weights)),
                (true, false) => Some(Priority::Order(order)),
                (true, true) => None,
            },
            scatter: items(&update["scatterStrategy"])
                .map(|term| (text(&term["key"]).into(), text(&term["value"]).into()))
                .collect(),
        }
    }
}

impl StoredStatus {
    fn new(status: &Value) -> Self {
        let count = |name: &str| status[name].as_i64().unwrap_or_default();
        Self {
            counts: ["matchedPods", "updatedPods", "readyPods", "updatedReadyPods"].map(count),
            observed_generation: count("observedGeneration"),
            latest_revision: text(&status["latestRevision"]).to_owned(),
            collision_count: status["collisionCount"].as_i64(),
            conditions: items(&status["conditions"]).cloned().collect(),
        }
    }
}

fn texts(map: &Value) -> BTreeMap<String, String> {
    let members = map.as_object().into_iter().flatten();
    members.map(|(key, value)| (key.clone(), text(value).to_owned())).collect()
}

fn sorted(names: impl Iterator<Item = String>) -> Vec<String> {
    let mut names: Vec<String> = names.collect();
    names.sort_unstable();
    names.dedup();
    names
}
