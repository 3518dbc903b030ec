//! One admission of a Pod, from the request to the verdict.

use std::sync::Arc;

use crate::context::Context;
use crate::pod::PodLook;
use crate::snapshot::Snapshot;

/// What rules read of an AdmissionRequest besides the Pod; everything is borrowed from the request body.
#[derive(Debug, Clone, Copy, Default)]
pub struct Request<'a> {
    /// `CREATE`, `UPDATE`, `DELETE` or `CONNECT`.
    pub operation: &'a str,
    /// Group of the resource, empty for Pods.
    pub group: &'a str,
    /// Resource name: `pods`.
    pub resource: &'a str,
    /// Sub-resource, empty for the Pod itself.
    pub sub_resource: &'a str,
    /// Namespace of the request.
    pub namespace: &'a str,
    /// A dry run must leave no trace: it does not count in the draw (D-25).
    pub dry_run: bool,
}

/// The answer of the core to one admission.
#[derive(Debug, Default)]
pub struct Decision {
    /// What happens to the Pod.
    pub verdict: Verdict,
    /// Shown to the person who made the Pod; at most a few, each at most 256 characters.
    pub warnings: Vec<String>,
    /// Written to the API server's audit log; keys without prefix (`injected`, `skipped`).
    pub audit_annotations: Vec<(&'static str, String)>,
    /// Names of the sets that were injected or patched metadata, in the order in which they were applied.
    pub injected: Vec<Arc<str>>,
    /// Matched sets that were not applied, each with the rule that stopped it.
    pub skipped: Vec<Skipped>,
}

/// A matched set that was not applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// Name of the SidecarSet.
    pub set: Arc<str>,
    /// The rule that stopped it, for example `I-MATCH-13`.
    pub rule: &'static str,
    /// For people: why.
    pub reason: String,
}

/// What happens to the Pod.
#[derive(Debug, Default, PartialEq, Eq)]
pub enum Verdict {
    /// Allowed as it is.
    #[default]
    Unchanged,
    /// Allowed with this JSON Patch (RFC 6902), as JSON text.
    Patch(String),
    /// Denied.
    Denied(Denial),
}

/// Why a Pod was denied (D-22.2, I-RESP-4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    /// Status code of the answer: 400 for a Pod that cannot be decoded, 500 for everything that a set is at fault for.
    pub code: u16,
    /// For people: set, container or key, what was found, what would be right.
    pub message: String,
    /// The rule behind it.
    pub rule: &'static str,
}

/// The Snapshot does not know the Pod's namespace and a set asks for its labels: read it live and call again with
/// [`Context::live_namespace`]. Decision: D-23.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamespaceUnknown;

/// Decides about one Pod.
///
/// # Errors
///
/// [`NamespaceUnknown`] if the labels of the Pod's namespace are needed and neither the Snapshot nor `context` has them;
/// never with a Snapshot from a folder.
pub fn admit(
    request: &Request<'_>,
    pod: &PodLook<'_>,
    snapshot: &Snapshot,
    context: &Context<'_>,
) -> Result<Decision, NamespaceUnknown> {
    let _ = (request, pod, snapshot, context);
    Ok(Decision::default())
}
