//! Which revision of a set a Pod receives, and how a stored one is restored.

use std::sync::Arc;

use rustc_hash::FxHashMap;
use serde_json::{Map, Value};

use crate::api::{decode, keys};
use crate::content::{Content, text};
use crate::field::FieldError;
use crate::hash;
use crate::selector::{Labels, Selector};

/// Why a set cannot be injected: the set is at fault (D-22.2). The text does not name the set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RevisionError {
    /// No revision of that name, or none with that custom version (I-REV-6, I-REV-7).
    #[error("ControllerRevision.apps \"{0}\" not found")]
    NotFound(String),
    /// The revision belongs to another set (I-DEF-6).
    #[error(
        "ControllerRevision \"{name}\" belongs to {owner}: it must have the label kruise.io/sidecarset-name={set}"
    )]
    Foreign {
        /// The revision.
        name: String,
        /// Whom it belongs to.
        owner: String,
        /// The set that names it.
        set: String,
    },
    /// The stored data is no SidecarSet (I-REV-13).
    #[error("ControllerRevision \"{name}\" cannot be decoded: {detail}")]
    Undecodable {
        /// The revision.
        name: String,
        /// Field and reason.
        detail: String,
    },
    /// An operator that label selectors do not know (I-MATCH-8, I-REV-5).
    #[error("\"{0}\" is not a valid pod selector operator; use In, NotIn, Exists or DoesNotExist")]
    UnknownOperator(String),
    /// `updateStrategy.partition` is text and no percentage (I-REV-5).
    #[error(
        "updateStrategy.partition \"{0}\": invalid type: string is not a percentage; write a number followed by %, such as 50%"
    )]
    Partition(String),
}

impl RevisionError {
    /// The rule behind the error.
    #[must_use]
    pub fn rule(&self) -> &'static str {
        match self {
            Self::NotFound(_) => "I-REV-6",
            Self::Foreign { .. } => "I-DEF-6",
            Self::Undecodable { .. } => "I-REV-13",
            Self::UnknownOperator(_) => "I-MATCH-8",
            Self::Partition(_) => "I-REV-5",
        }
    }
}

/// ControllerRevisions by name, and by set and custom version.
#[derive(Debug, Default)]
pub struct Revisions<'a> {
    by_name: FxHashMap<&'a str, &'a Value>,
    by_version: FxHashMap<(&'a str, &'a str), Vec<&'a Value>>,
}

impl<'a> Revisions<'a> {
    /// Indexes revisions; all are of the namespace in which revisions are kept (I-CONST-15).
    #[must_use]
    pub fn new(revisions: impl IntoIterator<Item = &'a Value>) -> Self {
        let mut index = Self::default();
        for revision in revisions {
            let labels = &revision["metadata"]["labels"];
            index.by_name.insert(text(&revision["metadata"]["name"]), revision);
            if let (Some(set), Some(version)) =
                (labels[keys::REVISION_SET_NAME].as_str(), labels[keys::CUSTOM_VERSION].as_str())
            {
                index.by_version.entry((set, version)).or_default().push(revision);
            }
        }
        index
    }

    /// The revision of that name, whomever it belongs to. Rules: I-REV-6, A-VAL-40.
    pub(crate) fn named(&self, name: &str) -> Option<&'a Value> {
        self.by_name.get(name).copied()
    }

    /// The newest revision of a set with that custom version. Rules: I-REV-7, A-VAL-41.
    pub(crate) fn newest(&self, set: &str, version: &str) -> Option<&'a Value> {
        self.by_version
            .get(&(set, version))
            .into_iter()
            .flatten()
            .copied()
            .max_by_key(|revision| rank(revision))
    }

    /// Rules: I-REV-6, I-REV-7, I-DEF-6.
    fn find(&self, set: &str, wanted: &Wanted<'_>) -> Result<&'a Value, RevisionError> {
        match wanted {
            Wanted::Name(name) => {
                let found = self.named(name).ok_or_else(|| RevisionError::NotFound((*name).to_owned()))?;
                match found["metadata"]["labels"][keys::REVISION_SET_NAME].as_str() {
                    Some(owner) if owner == set => Ok(found),
                    owner => Err(RevisionError::Foreign {
                        name: (*name).to_owned(),
                        owner: owner
                            .map_or("no SidecarSet".to_owned(), |owner| format!("SidecarSet \"{owner}\"")),
                        set: set.to_owned(),
                    }),
                }
            }
            Wanted::CustomVersion(version) => {
                self.newest(set, version).ok_or_else(|| RevisionError::NotFound(set.to_owned()))
            }
        }
    }
}

/// The newest of several revisions is the greatest: number, then creation time, then name. Rule: I-REV-7.
fn rank(revision: &Value) -> (i64, &str, &str) {
    let metadata = &revision["metadata"];
    (
        revision["revision"].as_i64().unwrap_or_default(),
        text(&metadata["creationTimestamp"]),
        text(&metadata["name"]),
    )
}

/// The stored revision that a set asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted<'a> {
    /// The one of this name.
    Name(&'a str),
    /// The newest of the set with this custom version.
    CustomVersion(&'a str),
}

impl<'a> Wanted<'a> {
    /// What `injectionStrategy.revision` of a set asks for; `None` for the live set. Rules: I-REV-1, I-REV-6, I-REV-7.
    #[must_use]
    pub fn of(set: &'a Value) -> Option<Self> {
        let revision = &set["spec"]["injectionStrategy"]["revision"];
        match (revision["revisionName"].as_str(), revision["customVersion"].as_str()) {
            (Some(name), _) => Some(Self::Name(name)),
            (None, Some(version)) => Some(Self::CustomVersion(version)),
            (None, None) => None,
        }
    }
}

/// How a set chooses between what it is now and a stored revision.
#[derive(Debug)]
pub enum RevisionChoice {
    /// No revision is asked for: the live set (I-REV-1).
    Live,
    /// A revision is asked for, for all or a part of the Pods.
    Stored(StoredChoice),
}

/// The parts of a choice with a stored revision.
#[derive(Debug)]
pub struct StoredChoice {
    /// The restored revision, or why there is none.
    restored: Result<Arc<Content>, RevisionError>,
    /// Every Pod gets the stored revision: update paused, or a policy other than `Partial` (I-REV-3, I-REV-4).
    always: bool,
    /// `updateStrategy.selector`: Pods that it does not match get the stored revision.
    update_selector: Option<Selector>,
    partition: Partition,
}

/// `updateStrategy.partition` as the `Partial` policy reads it. Rule: I-REV-5.
#[derive(Debug, Clone, PartialEq)]
enum Partition {
    /// Absent or a number: all Pods get the live set.
    None,
    /// This share of the Pods, 0 to 1, gets the stored revision.
    Share(f64),
    /// Text that is no percentage.
    Invalid(String),
}

/// What a Pod receives.
#[derive(Debug)]
pub enum Selected<'a> {
    /// This content in any case.
    Content(&'a Arc<Content>),
    /// The stored revision for a share of the Pods, else the live set; the draw decides (D-25).
    Draw {
        /// 0 to 1, both excluded.
        share: f64,
        /// For that share of the Pods.
        stored: &'a Arc<Content>,
    },
}

impl RevisionChoice {
    /// Compiles `injectionStrategy.revision` of a set and restores the revision that it asks for.
    ///
    /// Rules: I-REV-1, I-REV-2, I-REV-6, I-REV-7.
    pub(crate) fn compile(set: &Value, revisions: &Revisions<'_>) -> Self {
        let revision = &set["spec"]["injectionStrategy"]["revision"];
        let Some(wanted) = Wanted::of(set) else { return Self::Live };
        let update = &set["spec"]["updateStrategy"];
        let name = text(&set["metadata"]["name"]);
        let restored =
            revisions.find(name, &wanted).and_then(|revision| restore(set, revision)).map(Arc::new);
        Self::Stored(StoredChoice {
            restored,
            always: update["paused"] == true || text(&revision["policy"]) != "Partial",
            update_selector: update["selector"].is_object().then(|| Selector::compile(&update["selector"])),
            partition: Partition::compile(&update["partition"]),
        })
    }

    /// The revision for a Pod with these labels.
    ///
    /// # Errors
    ///
    /// The set asks for a revision that cannot be had, or its strategy cannot be read; also when the live set would have
    /// been chosen in the end (I-REV-2).
    ///
    /// Rules: I-REV-2, I-REV-3, I-REV-4, I-REV-5.
    pub fn select<'a>(
        &'a self,
        live: &'a Arc<Content>,
        labels: &(impl Labels + ?Sized),
    ) -> Result<Selected<'a>, RevisionError> {
        let Self::Stored(choice) = self else { return Ok(Selected::Content(live)) };
        let stored = choice.restored.as_ref().map_err(Clone::clone)?;
        if choice.always {
            return Ok(Selected::Content(stored));
        }
        if let Some(selector) = &choice.update_selector {
            if let Some(operator) = selector.unknown_operator() {
                return Err(RevisionError::UnknownOperator(operator.to_owned()));
            }
            if !selector.matches(labels) {
                return Ok(Selected::Content(stored));
            }
        }
        match &choice.partition {
            Partition::None => Ok(Selected::Content(live)),
            Partition::Invalid(text) => Err(RevisionError::Partition(text.clone())),
            Partition::Share(share) if *share >= 1.0 => Ok(Selected::Content(stored)),
            Partition::Share(share) if *share > 0.0 => Ok(Selected::Draw { share: *share, stored }),
            Partition::Share(_) => Ok(Selected::Content(live)),
        }
    }
}

impl Partition {
    fn compile(partition: &Value) -> Self {
        let Some(text) = partition.as_str() else { return Self::None };
        let number = text.strip_suffix('%').unwrap_or_default();
        match number.parse::<f64>() {
            // The word for infinity is a number, digits that overflow are not.
            Ok(percent) if !percent.is_infinite() || !number.contains(|c: char| c.is_ascii_digit()) => {
                Self::Share(percent / 100.0)
            }
            _ => Self::Invalid(text.to_owned()),
        }
    }
}

/// The set as the revision has it: the live set with its `spec` replaced by the five members of the stored data.
///
/// Rules: I-REV-9, I-REV-10, I-REV-13, I-META-11.
fn restore(set: &Value, revision: &Value) -> Result<Content, RevisionError> {
    let name = text(&revision["metadata"]["name"]);
    let undecodable = |detail: String| RevisionError::Undecodable { name: name.to_owned(), detail };
    let data = revision["data"].as_object().ok_or_else(|| undecodable("data is not an object".to_owned()))?;
    let spec = match data.get("spec") {
        // Data without a spec leaves the live one in place.
        None => set["spec"].clone(),
        Some(Value::Null) => Value::Object(Map::new()),
        Some(Value::Object(stored)) => {
            let members = ["containers", "imagePullSecrets", "initContainers", "patchPodMetadata", "volumes"];
            let kept = members.iter().filter_map(|key| Some(((*key).to_owned(), stored.get(*key)?.clone())));
            Value::Object(kept.filter(|(_, value)| !value.is_null()).collect())
        }
        Some(_) => return Err(undecodable("spec is not an object".to_owned())),
    };
    let mut restored = set.clone();
    restored["spec"] = spec;
    if let Some(finding) = decode::check(&restored).first() {
        return Err(undecodable(finding.to_string()));
    }
    let first = |findings: Vec<FieldError>| findings.first().map(ToString::to_string).unwrap_or_default();
    let hashes = hash::of_sidecarset(&restored).map_err(|findings| undecodable(first(findings)))?;
    let annotations = &revision["metadata"]["annotations"];
    let stored_or = |key: &str, computed: String| match text(&annotations[key]) {
        "" => computed,
        stored => stored.to_owned(),
    };
    Ok(Content::compile(
        &restored["spec"],
        &stored_or(keys::HASH, hashes.hash),
        &stored_or(keys::HASH_WITHOUT_IMAGE, hashes.without_image),
        name,
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Rule: I-REV-5.
    #[test]
    fn partitions() {
        let cases = [
            (json!(null), Partition::None),
            (json!(5), Partition::None),
            (json!("50%"), Partition::Share(0.5)),
            (json!("100%"), Partition::Share(1.0)),
            (json!("1e1%"), Partition::Share(0.1)),
            (json!("abc%"), Partition::Invalid("abc%".to_owned())),
            (json!("50"), Partition::Invalid("50".to_owned())),
            (json!("%"), Partition::Invalid("%".to_owned())),
            (json!("1e999%"), Partition::Invalid("1e999%".to_owned())),
        ];
        for (partition, expected) in cases {
            assert_eq!(Partition::compile(&partition), expected, "{partition}");
        }
    }
}
