//! One admission of a Pod, from the request to the verdict.

use std::sync::Arc;

use crate::api::keys;
use crate::compile::CompiledSet;
use crate::context::Context;
use crate::explain::Because;
use crate::injection::{self, Fault, InjectionPlan};
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
    /// Written to the API server's audit log; keys without prefix (`injected`, `skipped`, `denied`).
    pub audit_annotations: Vec<(&'static str, String)>,
    /// Names of the sets that were injected or patched metadata, in the order in which they were applied.
    pub injected: Vec<Arc<str>>,
    /// Matched sets that were not applied, each with the rule that stopped it.
    pub skipped: Vec<Skipped>,
    /// The set that a denial is the fault of; `None` if it is the Pod's own.
    pub at_fault: Option<Arc<str>>,
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
pub struct NamespaceUnknown {
    /// Name of the namespace.
    pub name: String,
}

/// Decides about one Pod.
///
/// # Errors
///
/// [`NamespaceUnknown`] if the labels of the Pod's namespace are needed and neither the Snapshot nor `context` has them;
/// never with a Snapshot from a folder.
///
/// Rules: I-RESP-2, I-RESP-3, I-RESP-4.
pub fn admit(
    request: &Request<'_>,
    pod: &PodLook<'_>,
    snapshot: &Snapshot,
    context: &Context<'_>,
) -> Result<Decision, NamespaceUnknown> {
    let subject = match scope(request, pod) {
        Ok(subject) => subject,
        // Nobody expects sidecars of another request, so there is nothing to tell.
        Err(reason) if reason.rule == "I-CALL-7" => return Ok(Decision::default()),
        Err(reason) => {
            let audit_annotations = vec![("skipped", reason.to_string())];
            return Ok(Decision { audit_annotations, ..Decision::default() });
        }
    };
    let Settled { matches, plan, at_fault } = settle(&subject, snapshot, context)?;
    let mut decision =
        Decision { warnings: matches.warnings, skipped: matches.skipped, at_fault, ..Decision::default() };
    match plan {
        Ok(None) => {}
        Ok(Some(plan)) => {
            decision.verdict = patch::render(&plan, pod).map_or(Verdict::Unchanged, Verdict::Patch);
            decision.warnings.extend(plan.warnings);
            decision.injected = matches.sets.iter().map(|matched| matched.set.name.clone()).collect();
        }
        Err(denial) => decision.verdict = Verdict::Denied(denial),
    }
    decision.warnings.iter_mut().for_each(shorten);
    decision.note_for_audit();
    Ok(decision)
}

/// The Pod of a request in which sidecars are injected, or why nothing is looked at.
///
/// Rules: I-CALL-7, I-CALL-8, I-CALL-9, I-CALL-10, I-UPD-2, I-UPD-3, I-DEF-4, I-DEF-7, I-DEF-32. Decisions: D-21, D-26.
pub(crate) fn scope<'p, 'a>(request: &Request<'p>, pod: &'p PodLook<'a>) -> Result<Subject<'p, 'a>, Because> {
    if !is_injection_point(request) {
        let text = "sidecars are injected when a Pod is created, and at no other request".to_owned();
        return Err(Because { rule: "I-CALL-7", text });
    }
    if let Some(reason) = opt_out(pod) {
        return Err(reason);
    }
    let names = [pod.namespace(), request.namespace];
    let namespace = names.into_iter().find(|name| !name.is_empty()).unwrap_or("default");
    Ok(Subject { pod, namespace, dry_run: request.dry_run })
}

/// What was settled for a Pod.
#[derive(Debug)]
pub(crate) struct Settled<'a> {
    /// The sets that apply, and those that do not although they matched.
    pub(crate) matches: Matches<'a>,
    /// The plan, `None` if no set applies; or why the Pod is denied.
    pub(crate) plan: Result<Option<InjectionPlan<'a>>, Denial>,
    /// The set behind a denial.
    pub(crate) at_fault: Option<Arc<str>>,
}

/// Matches and plans. A set at fault denies the Pod, unless the set says to be skipped then: the plan is made again without
/// it.
///
/// Decision: D-22.
pub(crate) fn settle<'a>(
    subject: &Subject<'a, 'a>,
    snapshot: &'a Snapshot,
    context: &Context<'_>,
) -> Result<Settled<'a>, NamespaceUnknown> {
    let mut matches = match matched_sets(subject, snapshot, context) {
        Ok(matches) => matches,
        Err(MatchError::Namespace(unknown)) => return Err(unknown),
        Err(MatchError::Set(set, error)) => {
            return Ok(Settled::denied(Matches::default(), set, &error.to_string(), error.rule()));
        }
    };
    skip_by_name(subject.pod, &mut matches);
    if matches.sets.is_empty() {
        return Ok(Settled { matches, plan: Ok(None), at_fault: None });
    }
    if let Err(error) = subject.pod.check_quantities() {
        return Ok(Settled { matches, plan: Err(Denial::undecodable(&error.to_string())), at_fault: None });
    }
    loop {
        let denial = match injection::plan(subject, &matches.sets, context) {
            Ok(plan) => return Ok(Settled { matches, plan: Ok(Some(plan)), at_fault: None }),
            Err(Fault::Set(set, message, rule)) if set.ignores_failures => {
                matches.sets.retain(|matched| !Arc::ptr_eq(&matched.set.name, &set.name));
                matches.skip_faulty(set, message, rule);
                continue;
            }
            Err(Fault::Set(set, message, rule)) => return Ok(Settled::denied(matches, set, &message, rule)),
            Err(Fault::Undecodable(message)) => Denial::undecodable(&message),
            Err(Fault::Pod(message, rule)) => Denial { code: 500, message, rule },
        };
        return Ok(Settled { matches, plan: Err(denial), at_fault: None });
    }
}

impl<'a> Settled<'a> {
    /// Rule: I-DEF-10: the message names the set.
    fn denied(matches: Matches<'a>, set: &CompiledSet, message: &str, rule: &'static str) -> Self {
        let message = format!("SidecarSet \"{}\": {message} [{rule}]", set.name);
        Self { matches, plan: Err(Denial { code: 500, message, rule }), at_fault: Some(set.name.clone()) }
    }
}

impl Denial {
    /// Rule: I-CALL-11.
    fn undecodable(message: &str) -> Self {
        Self {
            code: 400,
            message: format!("the Pod cannot be decoded: {message} [I-CALL-11]"),
            rule: "I-CALL-11",
        }
    }
}

/// CREATE of a Pod itself is the one place where sidecars are injected. Rules: I-CALL-7, I-UPD-2, I-UPD-3, I-DEF-7.
fn is_injection_point(request: &Request<'_>) -> bool {
    let Request { operation, group, resource, sub_resource, namespace: _, dry_run: _ } = *request;
    operation == "CREATE" && group.is_empty() && resource == "pods" && sub_resource.is_empty()
}

/// The reason to leave a Pod alone altogether. Rule: I-DEF-32. Decision: D-26.
fn opt_out(pod: &PodLook<'_>) -> Option<Because> {
    if pod.annotations().is_some_and(|annotations| annotations.get(keys::MIRROR_POD).is_some()) {
        return Some(Because { rule: "I-DEF-32", text: "the Pod is the mirror of a static Pod".to_owned() });
    }
    (pod.annotation_or_label(keys::INJECT) == Some("false"))
        .then(|| Because { rule: "D-26", text: format!("the Pod opts out with {}", keys::INJECT) })
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
    fn note_for_audit(&mut self) {
        if !self.injected.is_empty() {
            self.audit_annotations.push(("injected", self.injected.join(",")));
        }
        if !self.skipped.is_empty() {
            let skipped: Vec<_> =
                self.skipped.iter().map(|skipped| format!("{} [{}]", skipped.set, skipped.rule)).collect();
            self.audit_annotations.push(("skipped", skipped.join(",")));
        }
        if let Verdict::Denied(denial) = &self.verdict {
            let set = self.at_fault.as_deref().map(|set| format!("{set} ")).unwrap_or_default();
            self.audit_annotations.push(("denied", format!("{set}[{}]", denial.rule)));
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
