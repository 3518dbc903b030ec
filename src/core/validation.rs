//! Whether a SidecarSet may be stored: every rule, every finding in one answer.
//!
//! [`create`] and [`update`] judge a set that was decoded ([`crate::api::decode::check`] is the check), converted to
//! v1beta1 and defaulted; what they read of the cluster is a [`ClusterView`]. A finding denies, a warning never does. Paths are
//! upstream's, also where they are odd (A-EDGE-16); the texts are ours and say where the member really stands (D-3).

mod allow_list;
mod canary;
mod conflicts;
mod containers;
mod core_v1;
mod expressions;
mod field_ref;
mod findings;
mod metadata;
mod overlap;
mod patches;
mod revision;
mod selector;
mod spec;
mod stored;
mod strategy;
mod update;

use serde_json::Value;

use crate::field::FieldError;
use crate::revision::Revisions;

use findings::Findings;
pub use stored::{StoredSet, StoredSets};

/// Name of the ConfigMap with the list of annotations that sets may put on Pods (A-API-P5).
pub const ALLOW_LIST_CONFIG_MAP: &str = "kruise-configuration";

/// What validation reads of the cluster. It may be slightly stale (A-VAL-4), so two sets that are created at once can both pass
/// (A-EDGE-26).
#[derive(Debug, Clone, Copy)]
pub struct ClusterView<'a> {
    /// All stored sets; the one that is judged may be among them.
    pub sets: &'a StoredSets,
    /// The ControllerRevisions of the namespace that revisions are kept in; read only for a set with `injectionStrategy.revision`.
    pub revisions: &'a Revisions<'a>,
    /// `data` of the ConfigMap [`ALLOW_LIST_CONFIG_MAP`] in the same namespace; `None` if there is no such ConfigMap.
    pub allow_list: Option<&'a Value>,
}

/// Flags that change verdicts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Stricter checks are findings instead of warnings. Decision: D-12.
    pub strict: bool,
    /// A missing allow list allows every annotation: gate `SidecarSetPatchPodMetadataDefaultsAllowed` (A-API-P2).
    pub patch_metadata_defaults_allowed: bool,
    /// Containers may be privileged: flag `--allow-privileged` (A-API-P3).
    pub allow_privileged: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { strict: false, patch_metadata_defaults_allowed: false, allow_privileged: true }
    }
}

/// The verdict: the set may be stored if there is no finding. Both lists are sorted by path and without duplicates.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Validation {
    /// What denies the request (D-10).
    pub findings: Vec<FieldError>,
    /// What is allowed and probably not meant.
    pub warnings: Vec<FieldError>,
}

/// Judges a set that is about to be created.
///
/// Rule: A-VAL-1, A-VAL-2, A-VAL-3, A-WIRE-22.
/// Decision: D-10, D-12.
#[must_use]
pub fn create(set: &Value, cluster: &ClusterView<'_>, options: Options) -> Validation {
    validate(set, None, cluster, options)
}

/// Judges a set that is about to replace `old`, which is v1beta1 too and is not judged itself. An UPDATE without the old object is
/// a broken request, not a finding: the caller refuses it.
///
/// Rule: A-VAL-1, A-VAL-3, A-VAL-72, A-WIRE-24.
/// Decision: D-10, D-12.
#[must_use]
pub fn update(old: &Value, new: &Value, cluster: &ClusterView<'_>, options: Options) -> Validation {
    validate(new, Some(old), cluster, options)
}

fn validate(set: &Value, old: Option<&Value>, cluster: &ClusterView<'_>, options: Options) -> Validation {
    let mut findings = Findings::new(options.strict);
    metadata::validate(&set["metadata"], &mut findings);
    canary::validate(set, old, cluster.sets, &mut findings);
    spec::validate(set, cluster, options, &mut findings);
    if let Some(old) = old {
        update::validate(old, set, &mut findings);
    }
    // As upstream: what is wrong in itself is not compared with others (A-VAL-3).
    if findings.is_clean() {
        conflicts::validate(set, cluster.sets, &mut findings);
    }
    findings.finish()
}
