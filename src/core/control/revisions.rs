//! The history of a set: ControllerRevisions, byte for byte as upstream makes them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::pod::PodFacts;
use super::set::SetFacts;
use crate::api::decode::V1BETA1;
use crate::api::json::{sorted, write_list, write_object, write_text};
use crate::api::keys;
use crate::api::types::SPEC_V1BETA1;
use crate::hash;

/// The members of a spec that a revision holds, sorted. Rule: C-REV-5.
const MEMBERS: [&str; 5] =
    ["containers", "imagePullSecrets", "initContainers", "patchPodMetadata", "volumes"];
/// Longest part of the set's name in that of a revision, in bytes. Rule: C-REV-8.
const LONGEST_NAME: usize = 223;
/// How many revisions are kept if the set says nothing. Rule: C-REV-18.
const DEFAULT_LIMIT: usize = 10;
/// How many names are tried before giving up: no one has so many collisions.
const MOST_COLLISIONS: i64 = 1000;

/// The `data` of the revision of a spec: canonical bytes. What is copied is what upstream's types would print.
///
/// Rules: C-REV-5, C-REV-6. Decision: D-36.
#[must_use]
pub fn revision_data(spec: &Value) -> String {
    let mut members: Vec<(&str, Value)> = vec![("$patch", "replace".into())];
    for name in MEMBERS {
        let found = spec.get(name).filter(|value| value.as_array().is_some_and(|list| !list.is_empty()));
        let kind = SPEC_V1BETA1.member(name).map(|member| member.kind);
        let value = found.zip(kind).and_then(|(value, kind)| hash::typed(value, kind));
        members.push((name, value.unwrap_or_default()));
    }
    let mut out = String::from("{\"spec\":");
    write_object(&mut out, members.iter().map(|(name, value)| (*name, value)), write_canonical);
    out.push('}');
    out
}

/// Keys sorted at every level, numbers as upstream prints what it read into a double. Rule: C-REV-6.
fn write_canonical(out: &mut String, value: &Value) {
    match value {
        Value::Object(map) => write_object(out, sorted(map), write_canonical),
        Value::Array(list) => write_list(out, list, write_canonical),
        Value::String(text) => write_text(out, text),
        Value::Number(number) => write_number(out, number.as_f64().unwrap_or_default()),
        scalar => {
            // Writing to a String cannot fail.
            let _ = write!(out, "{scalar}");
        }
    }
}

fn write_number(out: &mut String, number: f64) {
    let size = number.abs();
    let _ = if size != 0.0 && !(1e-6..1e21).contains(&size) {
        let text = format!("{number:e}");
        // Go writes the sign of a positive exponent.
        write!(out, "{}", if text.contains("e-") { text } else { text.replace('e', "e+") })
    } else {
        write!(out, "{number}")
    };
}

/// 32-bit FNV-1 of data and collision count, in the alphabet of the hashes. Rule: C-REV-7.
fn hash_string(data: &str, collisions: i64) -> String {
    let count = collisions.to_string();
    let hash = data
        .bytes()
        .chain(count.bytes())
        .fold(2_166_136_261_u32, |hash, byte| hash.wrapping_mul(16_777_619) ^ u32::from(byte));
    hash.to_string().bytes().map(|digit| hash::safe_digit(digit - b'0')).collect()
}

/// Rule: C-REV-8.
fn revision_name(set: &str, hash: &str) -> String {
    let end = (0..=LONGEST_NAME.min(set.len())).rev().find(|end| set.is_char_boundary(*end)).unwrap_or(0);
    format!("{}-{hash}", set.get(..end).unwrap_or(set))
}

/// A stored ControllerRevision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RevisionFacts {
    /// `metadata.name`
    pub name: String,
    /// `metadata.resourceVersion`
    pub resource_version: String,
    /// `metadata.creationTimestamp` as text, which sorts like the time.
    pub created: String,
    /// `metadata.labels`
    pub labels: BTreeMap<String, String>,
    /// Uid of the controller that owns it.
    pub owner_uid: Option<String>,
    /// `revision`
    pub number: i64,
    /// `data`, the bytes as stored.
    pub data: String,
}

#[derive(Deserialize)]
struct RevisionObject<'a> {
    metadata: RevisionMetadata,
    #[serde(default)]
    revision: i64,
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RevisionMetadata {
    name: String,
    #[serde(default)]
    resource_version: String,
    #[serde(default)]
    creation_timestamp: Option<String>,
    #[serde(default)]
    labels: Option<BTreeMap<String, String>>,
    #[serde(default)]
    owner_references: Option<Vec<Owner>>,
}

#[derive(Deserialize)]
struct Owner {
    #[serde(default)]
    uid: String,
    #[serde(default)]
    controller: Option<bool>,
}

impl RevisionFacts {
    /// Reads a ControllerRevision from the JSON that the API server sent: the bytes of `data` count.
    ///
    /// # Errors
    ///
    /// Text that is no ControllerRevision.
    ///
    /// Rules: C-REV-12, C-RUST-2. Decision: D-36.
    pub fn from_json(text: &str) -> Result<Self, serde_json::Error> {
        let RevisionObject { metadata, revision, data } = serde_json::from_str(text)?;
        let owners = metadata.owner_references.unwrap_or_default();
        Ok(Self {
            name: metadata.name,
            resource_version: metadata.resource_version,
            created: metadata.creation_timestamp.unwrap_or_default(),
            labels: metadata.labels.unwrap_or_default(),
            owner_uid: owners.into_iter().find(|owner| owner.controller == Some(true)).map(|owner| owner.uid),
            number: revision,
            data: data.map(|data| data.get().to_owned()).unwrap_or_default(),
        })
    }

    fn rank(&self) -> (i64, &str, &str) {
        (self.number, &self.created, &self.name)
    }

    /// The label as a number, which it is only if the safe alphabet left nothing but digits. Rule: C-REV-12.
    fn hash_number(&self) -> Option<i32> {
        self.labels.get(keys::REVISION_HASH)?.parse().ok()
    }
}

/// What has to be written to bring the history up to date.
#[derive(Debug, Clone, PartialEq)]
pub enum RevisionWrite {
    /// Create it with this JSON body. If the name is taken, read what has it, add it to the observed revisions and decide again.
    Create {
        /// Its name.
        name: String,
        /// The whole object.
        body: String,
    },
    /// A merge patch: an old revision becomes the latest again, or gets another custom version.
    Patch {
        /// Its name.
        name: String,
        /// The patch, bound to the resourceVersion that was seen.
        patch: Value,
    },
    /// Delete it as it was seen; that it is gone is as good.
    Delete {
        /// Its name.
        name: String,
        /// `metadata.resourceVersion` for the precondition.
        resource_version: String,
    },
}

/// The latest revision and the writes that lead there, in their order.
#[derive(Debug, Clone, PartialEq)]
pub struct RevisionPlan {
    /// Name of the latest revision.
    pub latest: String,
    /// `status.collisionCount`
    pub collision_count: i64,
    /// Until one fails; deletions may fail, they only trim.
    pub writes: Vec<RevisionWrite>,
    /// Why the history is longer than its limit, for the log.
    pub too_long: Option<String>,
}

/// Brings the history up to date. `revisions` are all that may be of the set, and any that have a name which it wants.
///
/// A set that is being deleted gets no new revision: its revisions are deleted before it (`blockOwnerDeletion`), and one that is
/// made again after each of them would keep it for ever.
///
/// Rules: C-REV-1, C-REV-2, C-REV-9…17.
pub(super) fn plan(
    set: &SetFacts,
    revisions: &[RevisionFacts],
    matched: &[&PodFacts],
    namespace: &str,
) -> RevisionPlan {
    let is_ours = |revision: &&RevisionFacts| {
        revision.labels.get(keys::REVISION_SET_NAME) == Some(&set.name)
            && revision.owner_uid.as_ref().is_none_or(|uid| *uid == set.uid)
    };
    let mut own: Vec<&RevisionFacts> = revisions.iter().filter(is_ours).collect();
    own.sort_by_key(|revision| revision.rank());
    let number = own.last().map_or(1, |newest| newest.number.saturating_add(1));
    let mut collision_count = set.status.collision_count.unwrap_or_default();
    let candidate = Candidate::new(set, collision_count, number);
    let mut writes = Vec::new();
    let mut is_older = false;
    let (latest, found) = match own.iter().rposition(|revision| candidate.equals(revision)) {
        Some(position) => {
            let equal = own.remove(position);
            is_older = position < own.len();
            own.push(equal);
            (equal.name.clone(), Some(equal))
        }
        None if set.is_terminating => {
            let (latest, writes) = (set.status.latest_revision.clone(), Vec::new());
            return RevisionPlan { latest, collision_count, writes, too_long: None };
        }
        None => {
            let (name, existing) = candidate.free_name(set, revisions, &mut collision_count);
            if existing.is_none() {
                writes.push(RevisionWrite::Create {
                    name: name.clone(),
                    body: candidate.body(set, &name, namespace),
                });
            }
            (name, existing)
        }
    };
    writes.extend(found.and_then(|found| brought_up(set, found, is_older.then_some(number))));
    let mut names: Vec<(&str, Option<&RevisionFacts>)> =
        own.iter().map(|revision| (revision.name.as_str(), Some(*revision))).collect();
    if names.last().is_none_or(|(name, _)| *name != latest) {
        names.push((&latest, found));
    }
    let (deleted, too_long) = trim(set, &names, matched);
    writes.extend(deleted.into_iter().map(|revision| RevisionWrite::Delete {
        name: revision.name.clone(),
        resource_version: revision.resource_version.clone(),
    }));
    RevisionPlan { latest, collision_count, writes, too_long }
}

/// The patch of the revision that is the latest one again, or has another custom version than the set.
fn brought_up(set: &SetFacts, latest: &RevisionFacts, number: Option<i64>) -> Option<RevisionWrite> {
    let version = latest.labels.get(keys::CUSTOM_VERSION).map_or("", |version| version);
    let is_renamed = !set.custom_version.is_empty() && version != set.custom_version;
    if number.is_none() && !is_renamed {
        return None;
    }
    let mut patch = json!({"metadata": {"resourceVersion": latest.resource_version}});
    if let Some(number) = number {
        patch["revision"] = number.into();
    }
    if is_renamed {
        patch["metadata"]["labels"] = json!({(keys::CUSTOM_VERSION): set.custom_version});
    }
    Some(RevisionWrite::Patch { name: latest.name.clone(), patch })
}

/// The revision that the set would have.
struct Candidate<'a> {
    data: &'a str,
    hash: String,
    number: i64,
}

impl<'a> Candidate<'a> {
    fn new(set: &'a SetFacts, collision_count: i64, number: i64) -> Self {
        Self { data: &set.revision_data, hash: hash_string(&set.revision_data, collision_count), number }
    }

    /// Rule: C-REV-12. Decision: D-36.
    fn equals(&self, revision: &RevisionFacts) -> bool {
        let numbers = self.hash.parse::<i32>().ok().zip(revision.hash_number());
        self.data == revision.data && numbers.is_none_or(|(own, other)| own == other)
    }

    /// The first name that is free, or taken by a revision of the same data. Rules: C-REV-14, C-BUG-36.
    fn free_name<'r>(
        &self,
        set: &SetFacts,
        revisions: &'r [RevisionFacts],
        collision_count: &mut i64,
    ) -> (String, Option<&'r RevisionFacts>) {
        let first = *collision_count;
        loop {
            let name = revision_name(&set.name, &hash_string(self.data, *collision_count));
            let taken = revisions.iter().find(|revision| revision.name == name);
            let is_different = taken.is_some_and(|taken| taken.data != self.data);
            if !is_different || *collision_count - first >= MOST_COLLISIONS {
                return (name, taken);
            }
            *collision_count += 1;
        }
    }

    /// Rules: C-REV-1…4, C-REV-9, C-REV-14: the label keeps the hash of the first name.
    fn body(&self, set: &SetFacts, name: &str, namespace: &str) -> String {
        let mut labels = set.labels.clone();
        labels.insert(keys::REVISION_HASH.to_owned(), self.hash.clone());
        labels.insert(keys::REVISION_SET_NAME.to_owned(), set.name.clone());
        if !set.custom_version.is_empty() {
            labels.insert(keys::CUSTOM_VERSION.to_owned(), set.custom_version.clone());
        }
        let metadata = json!({
            "name": name, "namespace": namespace, "labels": labels, "annotations": set.annotations,
            "ownerReferences": [{
                "apiVersion": V1BETA1, "kind": "SidecarSet", "name": set.name, "uid": set.uid,
                "controller": true, "blockOwnerDeletion": true,
            }],
        });
        format!(
            r#"{{"apiVersion":"apps/v1","kind":"ControllerRevision","metadata":{metadata},"data":{},"revision":{}}}"#,
            self.data, self.number
        )
    }
}

/// Which revisions to delete, oldest first, and why that is not enough. `revisions` are sorted, the latest is the last one.
///
/// Rules: C-REV-18…21, C-BUG-26.
fn trim<'r>(
    set: &SetFacts,
    revisions: &[(&str, Option<&'r RevisionFacts>)],
    matched: &[&PodFacts],
) -> (Vec<&'r RevisionFacts>, Option<String>) {
    let limit = set.history_limit.map_or(DEFAULT_LIMIT, |limit| usize::try_from(limit).unwrap_or(1).max(1));
    let excess = revisions.len().saturating_sub(limit);
    if excess == 0 {
        return (Vec::new(), None);
    }
    let mut protected: BTreeSet<&str> =
        matched.iter().map(|pod| pod.records.revision(&set.name)).filter(|name| !name.is_empty()).collect();
    let (name, version) = &set.pinned;
    protected.extend(name.as_deref());
    let older = revisions.split_last().map_or(&[][..], |(_, older)| older);
    let has = |revision: &RevisionFacts, version: &str| {
        revision.labels.get(keys::CUSTOM_VERSION).is_some_and(|label| label == version)
    };
    // The latest one has the set's own custom version by now, else keeps what it had. If it is the pinned one, no older one is.
    let latest = revisions.last().and_then(|(_, revision)| *revision);
    let latest_has = |version: &str| match set.custom_version.as_str() {
        "" => latest.is_some_and(|latest| has(latest, version)),
        own => own == version,
    };
    if let Some(version) = version.as_ref().filter(|version| !latest_has(version)) {
        let newest = older.iter().rev().find(|(_, old)| old.is_some_and(|old| has(old, version)));
        protected.extend(newest.map(|(name, _)| *name));
    }
    let unprotected =
        older.iter().filter(|(name, _)| !protected.contains(name)).filter_map(|(_, revision)| *revision);
    let deleted: Vec<&RevisionFacts> = unprotected.take(excess).collect();
    let left = revisions.len() - deleted.len();
    let too_long = (left > limit).then(|| {
        format!("SidecarSet \"{}\" keeps {left} revisions, more than its limit of {limit}: Pods or injectionStrategy use them", set.name)
    });
    (deleted, too_long)
}

#[cfg(test)]
mod tests;
