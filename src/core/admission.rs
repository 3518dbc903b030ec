//! One admission of a Pod, from the request to the verdict.

use std::sync::Arc;

use crate::api::keys;
use crate::compile::CompiledSet;
use crate::context::Context;
use crate::injection::{self, Fault};
use crate::matching::{MatchError, Matches, Subject, matched_sets};
use crate::patch;
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
/// A set at fault denies the Pod, unless the set says to be skipped then: the plan is made again without it.
///
/// # Errors
///
/// [`NamespaceUnknown`] if the labels of the Pod's namespace are needed and neither the Snapshot nor `context` has them;
/// never with a Snapshot from a folder.
///
/// Rules: I-CALL-7, I-CALL-9, I-CALL-10, I-UPD-2, I-UPD-3, I-DEF-7, I-RESP-2, I-RESP-4. Decisions: D-21, D-22.
pub fn admit(
    request: &Request<'_>,
    pod: &PodLook<'_>,
    snapshot: &Snapshot,
    context: &Context<'_>,
) -> Result<Decision, NamespaceUnknown> {
    if !is_injection_point(request) {
        return Ok(Decision::default());
    }
    let mut decision = Decision::default();
    if let Some(opt_out) = opt_out(pod) {
        decision.audit_annotations.push(("skipped", opt_out.to_owned()));
        return Ok(decision);
    }
    let namespace =
        [pod.namespace(), request.namespace].into_iter().find(|name| !name.is_empty()).unwrap_or("default");
    let subject = Subject { pod, namespace, dry_run: request.dry_run };
    let mut matches = match matched_sets(&subject, snapshot, context) {
        Ok(matches) => matches,
        Err(MatchError::Namespace(unknown)) => return Err(unknown),
        Err(MatchError::Set(set, error)) => {
            return Ok(Decision::denied(set, &error.to_string(), error.rule()));
        }
    };
    skip_by_name(pod, &mut matches);
    if !matches.sets.is_empty() {
        decision = inject(&subject, &mut matches, context);
    }
    decision.warnings.splice(0..0, matches.warnings);
    decision.warnings.iter_mut().for_each(shorten);
    decision.skipped = matches.skipped;
    decision.note_for_audit();
    Ok(decision)
}

/// Plans and renders; sets that are at fault and may be skipped leave `matches`.
fn inject<'a>(subject: &Subject<'a, 'a>, matches: &mut Matches<'a>, context: &Context<'_>) -> Decision {
    if let Err(error) = subject.pod.check_quantities() {
        return Decision::undecodable(&error.to_string());
    }
    loop {
        let (set, message, rule) = match injection::plan(subject, &matches.sets, context) {
            Ok(plan) => {
                let verdict = patch::render(&plan, subject.pod).map_or(Verdict::Unchanged, Verdict::Patch);
                let injected = matches.sets.iter().map(|matched| matched.set.name.clone()).collect();
                return Decision { verdict, warnings: plan.warnings, injected, ..Decision::default() };
            }
            Err(Fault::Undecodable(message)) => return Decision::undecodable(&message),
            Err(Fault::Pod(message, rule)) => return Decision::deny(500, message, rule),
            Err(Fault::Set(set, message, rule)) => (set, message, rule),
        };
        if !set.ignores_failures {
            return Decision::denied(set, &message, rule);
        }
        matches.sets.retain(|matched| !Arc::ptr_eq(&matched.set.name, &set.name));
        matches.skip_faulty(set, message, rule);
    }
}

/// CREATE of a Pod itself is the one place where sidecars are injected. Rules: I-CALL-7, I-UPD-2, I-UPD-3, I-DEF-7.
fn is_injection_point(request: &Request<'_>) -> bool {
    let Request { operation, group, resource, sub_resource, namespace: _, dry_run: _ } = *request;
    operation == "CREATE" && group.is_empty() && resource == "pods" && sub_resource.is_empty()
}

/// The reason to leave a Pod alone altogether. Rules: I-DEF-32. Decision: D-26.
fn opt_out(pod: &PodLook<'_>) -> Option<&'static str> {
    if pod.annotations().is_some_and(|annotations| annotations.get(keys::MIRROR_POD).is_some()) {
        return Some("mirror Pod of a static Pod [I-DEF-32]");
    }
    (pod.annotation_or_label(keys::INJECT) == Some("false"))
        .then_some("the Pod opts out with sidecarset.kruise.io/inject [D-26]")
}

/// Decision: D-26.
fn skip_by_name(pod: &PodLook<'_>, matches: &mut Matches<'_>) {
    let Some(names) = pod.annotation_or_label(keys::SKIP) else { return };
    let Matches { sets, skipped, .. } = matches;
    sets.retain(|matched| {
        let is_named = names.split(',').any(|name| name.trim() == &*matched.set.name);
        if is_named {
            let reason = format!("the Pod names it in {}", keys::SKIP);
            skipped.push(Skipped { set: matched.set.name.clone(), rule: "D-26", reason });
        }
        !is_named
    });
}

impl Decision {
    fn deny(code: u16, message: String, rule: &'static str) -> Self {
        Self { verdict: Verdict::Denied(Denial { code, message, rule }), ..Self::default() }
    }

    /// Rule: I-DEF-10: the message names the set.
    fn denied(set: &CompiledSet, message: &str, rule: &'static str) -> Self {
        Self::deny(500, format!("SidecarSet \"{}\": {message} [{rule}]", set.name), rule)
    }

    /// Rule: I-CALL-11.
    fn undecodable(message: &str) -> Self {
        Self::deny(400, format!("the Pod cannot be decoded: {message} [I-CALL-11]"), "I-CALL-11")
    }

    fn note_for_audit(&mut self) {
        if !self.injected.is_empty() {
            self.audit_annotations.push(("injected", self.injected.join(",")));
        }
        if !self.skipped.is_empty() {
            let skipped: Vec<_> =
                self.skipped.iter().map(|skipped| format!("{} [{}]", skipped.set, skipped.rule)).collect();
            self.audit_annotations.push(("skipped", skipped.join(",")));
        }
    }
}

/// The API server cuts warnings at 256 bytes, hard; a cut of ours shows.
fn shorten(warning: &mut String) {
    const LIMIT: usize = 256;
    if warning.len() > LIMIT {
        let end = (0..=LIMIT - 4).rev().find(|&end| warning.is_char_boundary(end)).unwrap_or_default();
        warning.truncate(end);
        warning.push_str(" ...");
    }
}
