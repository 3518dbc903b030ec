//! `patchPodMetadata`: annotations that a set puts on its Pods.

use serde_json::Value;

use crate::content::text;
use crate::injection::annotations::Annotations;
use crate::injection::merge_patch::{self, MergeError};

/// One entry of `patchPodMetadata`.
#[derive(Debug)]
pub struct MetadataPatch {
    policy: PatchPolicy,
    annotations: Vec<(Box<str>, Box<str>)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PatchPolicy {
    /// Set only what is absent (I-META-1).
    Retain,
    /// Set in any case (I-META-2).
    Overwrite,
    /// Merge the texts as JSON (I-META-3).
    MergePatchJson,
    /// A policy that does not exist: the entry is ignored (I-META-4).
    Unknown,
}

/// A text that cannot be merged. Rule: I-META-8.
#[derive(Debug, thiserror::Error)]
#[error("annotation `{key}`: {error}")]
pub struct MetadataError {
    /// The annotation.
    pub key: Box<str>,
    /// What is wrong with one of the texts.
    pub error: MergeError,
}

impl MetadataPatch {
    /// Compiles the JSON form.
    pub(crate) fn compile(entry: &Value) -> Self {
        let policy = match text(&entry["patchPolicy"]) {
            "" | "Retain" => PatchPolicy::Retain,
            "Overwrite" => PatchPolicy::Overwrite,
            "MergePatchJson" => PatchPolicy::MergePatchJson,
            _ => PatchPolicy::Unknown,
        };
        let annotations = entry["annotations"].as_object().into_iter().flatten();
        Self {
            policy,
            annotations: annotations.map(|(key, value)| (key.as_str().into(), text(value).into())).collect(),
        }
    }

    /// The annotations that the entry names.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.annotations.iter().map(|(key, _)| &**key)
    }

    /// Applies the entry to the Pod's annotations; keys are independent of each other.
    ///
    /// # Errors
    ///
    /// A text that cannot be merged.
    ///
    /// Rules: I-META-1, I-META-2, I-META-3, I-META-4, I-META-5.
    pub(crate) fn apply<'a>(&'a self, annotations: &mut Annotations<'a>) -> Result<(), MetadataError> {
        for (key, value) in &self.annotations {
            match (self.policy, annotations.get(key)) {
                (PatchPolicy::Unknown, _) | (PatchPolicy::Retain, Some(_)) => {}
                (PatchPolicy::MergePatchJson, Some(existing)) if !existing.is_empty() => {
                    let merged = merge_patch::merge(existing, value);
                    let merged = merged.map_err(|error| MetadataError { key: key.clone(), error })?;
                    annotations.set(&**key, merged);
                }
                (PatchPolicy::Retain | PatchPolicy::Overwrite | PatchPolicy::MergePatchJson, _) => {
                    annotations.set(&**key, &**value);
                }
            }
        }
        Ok(())
    }
}
