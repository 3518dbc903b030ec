//! Which sets a Pod receives, in which order, in which revision.

use std::sync::Arc;

use crate::admission::{NamespaceUnknown, Skipped};
use crate::api::keys;
use crate::compile::CompiledSet;
use crate::content::Content;
use crate::context::{Context, LiveNamespace};
use crate::draw;
use crate::explain::Because;
use crate::pod::PodLook;
use crate::revision::{RevisionError, Selected};
use crate::selector::{Labels, Requirement, Selector};
use crate::snapshot::{NamespaceLabels, Snapshot};

/// The Pod of a request, with what the request says about it.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'p, 'a> {
    /// The Pod.
    pub pod: &'p PodLook<'a>,
    /// Its namespace, after I-CALL-10.
    pub namespace: &'p str,
    /// A dry run must leave no trace: it does not count in the draw (D-25).
    pub dry_run: bool,
}

/// A set that applies to the Pod, with the revision that the Pod receives.
#[derive(Debug, Clone, Copy)]
pub struct Matched<'s> {
    /// The set.
    pub set: &'s CompiledSet,
    /// The live content, or a restored one.
    pub content: &'s Content,
}

/// What matching found.
#[derive(Debug, Default)]
pub struct Matches<'s> {
    /// Sets that apply, in the order in which they apply: those pinned to the Pod's namespace, then cluster-wide ones, each
    /// group sorted by name (I-MATCH-1, I-ORD-1, D-20).
    pub sets: Vec<Matched<'s>>,
    /// Sets that matched and do not apply.
    pub skipped: Vec<Skipped>,
    /// For the person who made the Pod.
    pub warnings: Vec<String>,
}

/// Why matching cannot go on.
#[derive(Debug)]
pub enum MatchError<'s> {
    /// The namespace has to be read live first (D-23).
    Namespace(NamespaceUnknown),
    /// A set is at fault (D-22.2).
    Set(&'s CompiledSet, RevisionError),
}

/// The Pod's namespace with what is known about its labels.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NamespaceView<'a> {
    pub(crate) name: &'a str,
    labels: Known<'a>,
}

#[derive(Debug, Clone, Copy)]
enum Known<'a> {
    Labels(&'a [(String, String)]),
    NameOnly,
    NotFound,
    No,
}

impl<'a> NamespaceView<'a> {
    /// Looks the namespace up in the Snapshot, then in what a live read said. Rule: I-DEF-5. Decision: D-23.
    pub(crate) fn new(name: &'a str, snapshot: &'a Snapshot, context: &Context<'a>) -> Self {
        let labels = match (snapshot.namespace(name), context.live_namespace) {
            (NamespaceLabels::Listed(labels), _) | (_, Some(LiveNamespace::Labels(labels))) => {
                Known::Labels(labels)
            }
            (_, Some(LiveNamespace::NotFound)) => Known::NotFound,
            (NamespaceLabels::NameOnly, None) => Known::NameOnly,
            (NamespaceLabels::Unknown, None) => Known::No,
        };
        Self { name, labels }
    }

    /// Whether a namespace selector holds. A selector that is broken holds nowhere, an empty one everywhere.
    ///
    /// Rule: I-MATCH-6. Decision: D-23.
    pub(crate) fn meets(&self, selector: &Selector) -> Result<bool, NamespaceUnknown> {
        match self.labels {
            Known::No => Err(self.unknown()),
            Known::NotFound => Ok(false),
            Known::Labels(_) | Known::NameOnly => Ok(selector.matches(self)),
        }
    }

    fn unknown(&self) -> NamespaceUnknown {
        NamespaceUnknown { name: self.name.to_owned() }
    }

    fn is_unknown(&self) -> bool {
        matches!(self.labels, Known::No)
    }

    pub(crate) fn is_missing(&self) -> bool {
        matches!(self.labels, Known::NotFound)
    }
}

impl Labels for NamespaceView<'_> {
    fn value(&self, key: &str) -> Option<&str> {
        match self.labels {
            Known::Labels(labels) => labels.value(key),
            Known::NameOnly => (key == keys::NAMESPACE_NAME).then_some(self.name),
            Known::NotFound | Known::No => None,
        }
    }
}

/// The sets that apply to a Pod.
///
/// # Errors
///
/// The labels of the namespace are needed and unknown, or a set is at fault.
///
/// Rules: I-MATCH-1, I-MATCH-4, I-MATCH-5, I-MATCH-13, I-MATCH-14, I-MATCH-15,
/// I-DEF-3. Decision: D-20.
pub fn matched_sets<'s>(
    subject: &Subject<'_, '_>,
    snapshot: &'s Snapshot,
    context: &Context<'_>,
) -> Result<Matches<'s>, MatchError<'s>> {
    let Subject { pod, namespace, .. } = *subject;
    let mut matches = Matches::default();
    let view = NamespaceView::new(namespace, snapshot, context);
    let candidates: Vec<&CompiledSet> = snapshot
        .index()
        .candidates(namespace, pod.labels())
        .into_iter()
        .filter_map(|position| snapshot.sets().get(position as usize).map(Arc::as_ref))
        .collect();
    if view.is_unknown() && candidates.iter().any(|set| asks_for_labels(set, subject)) {
        // Before any draw: the caller asks again with the labels, and a Pod counts once (D-25).
        return Err(MatchError::Namespace(view.unknown()));
    }
    let pinned = candidates.iter().filter(|set| set.pinned_namespaces.is_some());
    let cluster_wide = candidates.iter().filter(|set| set.pinned_namespaces.is_none());
    for set in pinned.chain(cluster_wide) {
        match decide(set, subject, &view, context) {
            Ok(Some(matched)) => matches.sets.push(matched),
            Ok(None) => {}
            Err(MatchError::Set(set, error)) if set.ignores_failures => {
                matches.skip_faulty(set, error.to_string(), error.rule());
            }
            Err(error) => return Err(error),
        }
    }
    if view.is_missing() && candidates.iter().any(|set| set.namespace_selector.is_some()) {
        matches.warnings.push(format!(
            "namespace \"{namespace}\" does not exist: no SidecarSet with a namespaceSelector matches [D-23]"
        ));
    }
    matches.remove_bases();
    Ok(matches)
}

/// The selector of a set that matches the Pod as far as that shows without the labels of its namespace.
///
/// The Pod's labels come first, although upstream asks for the namespace first: they are at hand, and a live read of a namespace is
/// saved. A broken selector is an error only where the namespace matches.
///
/// Rules: I-MATCH-5, I-MATCH-7, I-MATCH-8, I-MATCH-11.
fn selects<'s>(set: &'s CompiledSet, subject: &Subject<'_, '_>) -> Option<&'s Selector> {
    let selector = set.selector.as_ref().filter(|_| set.can_match())?;
    let labels = subject.pod.labels();
    if selector.unknown_operator().is_none() && !selector.matches(&labels) {
        return None;
    }
    let pins = set.pinned_namespaces.as_deref();
    let is_elsewhere = pins.is_some_and(|pins| !pins.iter().any(|pin| &**pin == subject.namespace));
    (!is_elsewhere).then_some(selector)
}

/// Whether only the labels of the namespace can tell if a set matches. Decision: D-23.
fn asks_for_labels(set: &CompiledSet, subject: &Subject<'_, '_>) -> bool {
    set.namespace_selector.is_some() && selects(set, subject).is_some()
}

/// Whether one set matches, and in which revision. Neither a set's deletion nor the Pod's missing name matters.
///
/// Rules: I-MATCH-6, I-MATCH-8, I-MATCH-9, I-MATCH-10.
fn decide<'s>(
    set: &'s CompiledSet,
    subject: &Subject<'_, '_>,
    namespace: &NamespaceView<'_>,
    context: &Context<'_>,
) -> Result<Option<Matched<'s>>, MatchError<'s>> {
    let Some(selector) = selects(set, subject) else { return Ok(None) };
    let labels = subject.pod.labels();
    if let Some(namespace_selector) = &set.namespace_selector
        && !namespace.meets(namespace_selector).map_err(MatchError::Namespace)?
    {
        return Ok(None);
    }
    if let Some(operator) = selector.unknown_operator() {
        return Err(MatchError::Set(set, RevisionError::UnknownOperator(operator.to_owned())));
    }
    let content =
        match set.revision_choice.select(&set.live, &labels) {
            Ok(Selected::Content(content)) => content,
            Ok(Selected::Draw { share, stored }) => {
                if draw::takes_stored(set, stored, share, subject, context) { stored } else { &set.live }
            }
            Err(error) => return Err(MatchError::Set(set, error)),
        };
    Ok(Some(Matched { set, content }))
}

/// Why a set does not match a Pod, with the exact condition that failed; `None` if it matches.
///
/// # Errors
///
/// The labels of the namespace are needed and unknown.
///
/// Rules: I-MATCH-5, I-MATCH-6, I-MATCH-7.
pub(crate) fn why_not(
    set: &CompiledSet,
    subject: &Subject<'_, '_>,
    namespace: &NamespaceView<'_>,
) -> Result<Option<Because>, NamespaceUnknown> {
    let because = |rule, text: String| Ok(Some(Because { rule, text }));
    if set.injection_paused {
        return because("I-MATCH-5", "injection paused: spec.injectionStrategy.paused is true".to_owned());
    }
    let Some(selector) = set.selector.as_ref().filter(|selector| !selector.is_empty()) else {
        return because("I-MATCH-7", "spec.selector is absent or empty, which matches no Pod".to_owned());
    };
    if let Some(namespace_selector) = &set.namespace_selector
        && !namespace.meets(namespace_selector)?
    {
        let name = namespace.name;
        let text = match (namespace_selector.unknown_operator(), namespace_selector.first_unmet(namespace)) {
            _ if namespace.is_missing() => format!("namespace {name} does not exist"),
            (Some(operator), _) => format!("spec.namespaceSelector has the unknown operator \"{operator}\""),
            (None, Some(unmet)) => {
                format!("namespace {name} does not meet {unmet}: {}", found(unmet, namespace))
            }
            (None, None) => format!("namespace {name} does not match"),
        };
        return because("I-MATCH-6", text);
    }
    let labels = subject.pod.labels();
    match selector.first_unmet(&labels).filter(|_| selector.unknown_operator().is_none()) {
        Some(unmet) => {
            because("I-MATCH-7", format!("the Pod does not meet {unmet}: {}", found(unmet, &labels)))
        }
        None => Ok(None),
    }
}

fn found(unmet: &Requirement, labels: &(impl Labels + ?Sized)) -> String {
    match labels.value(&unmet.key) {
        Some(value) => format!("its label {} is \"{value}\"", unmet.key),
        None => format!("it has no label {}", unmet.key),
    }
}

impl Matches<'_> {
    /// Removes every set that is the base of a matched canary. Rules: I-MATCH-13, I-MATCH-14, I-MATCH-16.
    fn remove_bases(&mut self) {
        if self.sets.iter().all(|matched| matched.set.canary_base.is_none()) {
            return;
        }
        let canaries: Vec<_> =
            self.sets.iter().filter_map(|m| Some((m.set.canary_base.clone()?, m.set.name.clone()))).collect();
        let canary_of =
            |name: &str| canaries.iter().find(|(base, _)| &**base == name).map(|(_, canary)| canary);
        self.sets.retain(|matched| {
            let Some(canary) = canary_of(&matched.set.name) else { return true };
            self.skipped.push(Skipped {
                set: matched.set.name.clone(),
                rule: "I-MATCH-13",
                reason: format!("its canary \"{canary}\" matches the Pod"),
            });
            false
        });
    }

    /// Notes a set that is at fault and asks to be skipped then. Decision: D-22.
    pub(crate) fn skip_faulty(&mut self, set: &CompiledSet, reason: String, rule: &'static str) {
        self.warnings.push(format!("SidecarSet \"{}\" was skipped: {reason} [{rule}]", set.name));
        self.skipped.push(Skipped { set: set.name.clone(), rule: "D-22", reason });
    }
}
