//! What is written to a Pod that is upgraded: images and annotations, in one patch.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::consistency::{Before, RunningBefore};
use super::hot;
use super::pod::{PodFacts, StatusFact};
use super::records::{self, NewRecord};
use super::set::SetFacts;
use crate::api::json::write_value;
use crate::api::keys;
use crate::injection::annotations::Annotations;
use crate::injection::hash_annotation::format_rfc3339;
use crate::injection::metadata::MetadataError;
use crate::json::{Str, StrMap};

/// Why a Pod cannot be written. Decision: D-32.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// `patchPodMetadata` cannot be merged into what the Pod has (C-META-4).
    #[error("patchPodMetadata of SidecarSet \"{set}\": {error}; both texts must be JSON")]
    Metadata {
        /// The set.
        set: String,
        /// What failed.
        error: MetadataError,
    },
    /// The Pod was decoded before the set named this annotation: it has to be read again.
    #[error("annotation `{0}` was not read yet")]
    NotRead(String),
    /// The message of the condition is no JSON object (C-COND-1).
    #[error("condition SidecarSetUpgradable: expected a JSON object as message, found {0:?}")]
    Condition(String),
}

/// Changed images and annotations of a Pod.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PodChange {
    /// New images by name of the container.
    pub images: BTreeMap<String, String>,
    /// New values of annotations.
    pub annotations: BTreeMap<String, String>,
    working: BTreeMap<String, String>,
}

impl PodChange {
    pub(super) fn set_image(&mut self, container: &str, image: &str) {
        self.images.insert(container.to_owned(), image.to_owned());
    }

    pub(super) fn set_working(&mut self, sidecar: &str, container: &str) {
        self.working.insert(sidecar.to_owned(), container.to_owned());
    }

    pub(super) fn annotate(&mut self, key: String, value: &str) {
        self.annotations.insert(key, value.to_owned());
    }

    /// The change as a strategic merge patch, bound to the Pod as it was seen: the API server refuses it if the Pod changed
    /// since, or is another one of the same name.
    ///
    /// Rules: C-UPD-12, C-UPD-19, C-RUST-7, C-BUG-25.
    #[must_use]
    pub fn patch(&self, pod: &PodFacts) -> Value {
        let mut patch = json!({"metadata": {"uid": pod.uid, "resourceVersion": pod.resource_version}});
        if !self.annotations.is_empty() {
            patch["metadata"]["annotations"] = json!(self.annotations);
        }
        if !self.images.is_empty() {
            let images = self.images.iter().map(|(name, image)| (name.as_str(), image.as_str()));
            patch["spec"] = containers_patch(pod, images);
        }
        patch
    }

    /// Completes a change: what was running before, and which containers work now.
    ///
    /// Rules: C-UPD-15, C-BUG-14.
    fn finish(&mut self, set: &SetFacts, pod: &PodFacts, before: &Before, now_unix: i64) {
        if !self.working.is_empty() {
            let text = hot::working_text(pod, &self.working);
            self.annotations.insert(keys::WORKING_HOT_UPGRADE_CONTAINER.to_owned(), text);
        }
        let changed: Vec<(&str, Option<&StatusFact>)> =
            self.images.keys().map(|name| (name.as_str(), pod.status(name))).collect();
        let state = in_place_state(set, pod, &changed, now_unix);
        self.annotations.insert(keys::IN_PLACE_STATE.to_owned(), state);
        if !self.images.is_empty() {
            let text = running_before(set, pod, before, self.images.keys());
            self.annotations.insert(keys::IN_PLACE_BEFORE.to_owned(), text);
        }
    }
}

/// The part `spec` of a strategic merge patch with new images. It names all containers in their order: without that, the patched ones
/// are put into the order of the patch, and the API server refuses a Pod whose containers change places. The images are in that
/// order too, which the API server insists on.
pub(super) fn containers_patch<'c>(
    pod: &PodFacts,
    images: impl Iterator<Item = (&'c str, &'c str)>,
) -> Value {
    let order: Vec<Value> = pod.regular().map(|container| json!({"name": &*container.name})).collect();
    let images: BTreeMap<&str, &str> = images.collect();
    let image_of = |name: &str| Some(json!({"name": name, "image": images.get(name)?}));
    let images: Vec<Value> = pod.regular().filter_map(|container| image_of(&container.name)).collect();
    json!({"$setElementOrder/containers": order, "containers": images})
}

/// The upgrade of one Pod to what the set says now; `revision` is the latest one.
///
/// # Errors
///
/// Why the Pod cannot be written; other Pods can.
///
/// Rules: C-UPD-12, C-UPD-13, C-UPD-14, C-UPD-15, C-UPD-17.
pub(super) fn upgrade(
    set: &SetFacts,
    pod: &PodFacts,
    before: &Before,
    revision: &str,
    now_unix: i64,
) -> Result<PodChange, PlanError> {
    let mut change = PodChange::default();
    for sidecar in &set.sidecars {
        match &sidecar.hot {
            Some(pair) => hot::upgrade(set, pod, before, sidecar, pair, &mut change),
            None if pod.image(&sidecar.name).is_some_and(|image| image != sidecar.image) => {
                change.set_image(&sidecar.name, &sidecar.image);
            }
            None => {}
        }
    }
    patch_metadata(set, pod, &mut change)?;
    let record = NewRecord { set: &set.name, hash: &set.hash, sidecar_list: &set.sidecar_list, revision };
    let (full, without_image) = records::renew(&pod.records, &pod.records_without_image, &record, now_unix);
    change.annotations.insert(keys::HASH.to_owned(), full);
    if let Some(without_image) = without_image {
        change.annotations.insert(keys::HASH_WITHOUT_IMAGE.to_owned(), without_image);
    }
    change.finish(set, pod, before, now_unix);
    Ok(change)
}

/// The change that ends a hot upgrade. Hash, condition and metadata stay. Rule: C-HOTC-8.
pub(super) fn reset(set: &SetFacts, pod: &PodFacts, before: &Before, now_unix: i64) -> PodChange {
    let mut change = hot::reset(set, pod);
    change.finish(set, pod, before, now_unix);
    change
}

/// Rules: C-META-1…4, C-UPD-17.
fn patch_metadata(set: &SetFacts, pod: &PodFacts, change: &mut PodChange) -> Result<(), PlanError> {
    if let Some(key) = set.patched_keys().find(|key| !pod.keep.covers(key)) {
        return Err(PlanError::NotRead(key.to_owned()));
    }
    let own = pod.annotations.iter().map(|(key, value)| (Str((&**key).into()), Str((&**value).into())));
    let own = StrMap::from_pairs(own.collect());
    let mut annotations = Annotations::new(Some(&own));
    for patch in &set.metadata_patches {
        patch
            .apply(&mut annotations)
            .map_err(|error| PlanError::Metadata { set: set.name.clone(), error })?;
    }
    change.annotations.extend(annotations.changes().map(|(key, value)| (key.to_owned(), value.to_owned())));
    Ok(())
}

/// The annotation with the in-place states: the entry of the set renewed, everything else as it was. A text that is no object is
/// started afresh.
///
/// Rules: C-UPD-15, C-CONS-8, C-BUG-14, C-RUST-12.
fn in_place_state(
    set: &SetFacts,
    pod: &PodFacts,
    changed: &[(&str, Option<&StatusFact>)],
    now_unix: i64,
) -> String {
    let found = pod.annotation(keys::IN_PLACE_STATE).and_then(|text| serde_json::from_str(text).ok());
    let mut states: Map<String, Value> = found.unwrap_or_default();
    let old = states.remove(&set.name);
    let mut time = String::new();
    format_rfc3339(now_unix, &mut time);
    let mut state = Map::new();
    state.insert("revision".to_owned(), set.hash.as_str().into());
    state.insert("updateTimestamp".to_owned(), time.into());
    let mut last =
        old.as_ref().and_then(|old| old["lastContainerStatuses"].as_object()).cloned().unwrap_or_default();
    for (name, status) in changed {
        let image_id = status.map(|status| &*status.image_id).filter(|id| !id.is_empty());
        last.insert((*name).to_owned(), image_id.map_or_else(|| json!({}), |id| json!({"imageID": id})));
    }
    last.sort_keys();
    state.insert("lastContainerStatuses".to_owned(), last.into());
    for (member, value) in old.as_ref().and_then(Value::as_object).into_iter().flatten() {
        if !state.contains_key(member) {
            state.insert(member.clone(), value.clone());
        }
    }
    states.insert(set.name.clone(), state.into());
    states.sort_keys();
    go_text(&Value::Object(states))
}

/// Our own annotation: what the changed containers run until now. Rule: C-BUG-13.
fn running_before<'n>(
    set: &SetFacts,
    pod: &PodFacts,
    before: &Before,
    changed: impl Iterator<Item = &'n String>,
) -> String {
    let found = pod.annotation(keys::IN_PLACE_BEFORE).and_then(|text| serde_json::from_str(text).ok());
    let mut sets: RunningBefore = found.unwrap_or_default();
    let running = sets.entry(set.name.clone()).or_default();
    for name in changed {
        running.insert(name.clone(), before.running(pod, name));
    }
    let mut text = String::new();
    write_value(&mut text, &json!(sets));
    text
}

/// JSON with the members in their order and upstream's escapes.
fn go_text(value: &Value) -> String {
    use crate::api::json::{write_list, write_object, write_text};
    fn write(out: &mut String, value: &Value) {
        match value {
            Value::Object(map) => {
                write_object(out, map.iter().map(|(name, value)| (name.as_str(), value)), write);
            }
            Value::Array(list) => write_list(out, list, write),
            Value::String(text) => write_text(out, text),
            scalar => out.push_str(&scalar.to_string()),
        }
    }
    let mut out = String::new();
    write(&mut out, value);
    out
}

#[cfg(test)]
mod tests;
