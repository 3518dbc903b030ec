//! Which Pods belong to a set.

use std::collections::BTreeMap;

use super::hot::working_entry;
use super::pod::PodFacts;
use super::set::SetFacts;
use crate::api::keys;
use crate::selector::{Labels, Selector};

/// Namespaces by name, with their labels.
pub type Namespaces = BTreeMap<String, Vec<(String, String)>>;

/// The label that every Namespace has, also when it is not known yet.
pub(super) struct NamespaceLabels<'a> {
    pub(super) name: &'a str,
    pub(super) labels: &'a [(String, String)],
}

impl Labels for NamespaceLabels<'_> {
    fn value(&self, key: &str) -> Option<&str> {
        self.labels.value(key).or((key == keys::NAMESPACE_NAME).then_some(self.name))
    }
}

/// Whether the set looks into a namespace. A selector with an operator that does not exist looks into none.
///
/// Rule: C-MATCH-1.
fn selects_namespace(set: &SetFacts, name: &str, namespaces: &Namespaces) -> bool {
    let Some(selector) = &set.namespace_selector else { return true };
    let labels = namespaces.get(name);
    labels.is_some_and(|labels| selector.matches(&NamespaceLabels { name, labels }))
}

/// Whether selector and namespace fit, whatever was injected.
///
/// Rules: C-MATCH-1, C-MATCH-2, C-MATCH-9.
pub(super) fn selects(set: &SetFacts, pod: &PodFacts, namespaces: &Namespaces) -> bool {
    set.selector.as_ref().is_some_and(|selector| selector.matches(pod))
        && selects_namespace(set, &pod.namespace, namespaces)
}

/// Whether the Pod says that the set was injected.
///
/// Rule: C-MATCH-4.
#[must_use]
pub fn is_injected(set: &str, pod: &PodFacts) -> bool {
    pod.injected_sets().any(|name| name == set)
}

/// Whether the Pod has every container of the set, in the form of its upgrade type.
///
/// Rule: C-MATCH-5.
fn containers_agree(set: &SetFacts, pod: &PodFacts) -> bool {
    set.sidecars.iter().all(|sidecar| {
        sidecar.final_names().all(|name| pod.container(name).is_some())
            && (sidecar.hot.is_none() || working_entry(pod, &sidecar.name).is_some())
    })
}

/// Whether a Pod counts for a set. When it was made does not matter, nor which revision it has.
///
/// Rules: C-MATCH-1…6.
#[must_use]
pub fn matches(set: &SetFacts, pod: &PodFacts, namespaces: &Namespaces) -> bool {
    is_injected(&set.name, pod)
        && pod.is_active()
        && selects(set, pod, namespaces)
        && containers_agree(set, pod)
}

/// The matched Pods by namespace and name; nothing depends on the order of `pods`.
///
/// Rules: C-MATCH-6, C-MATCH-8, C-RUST-4, C-RUST-11. Decision: D-31.
pub(super) fn matched<'p>(
    set: &SetFacts,
    pods: &[&'p PodFacts],
    namespaces: &Namespaces,
) -> Vec<&'p PodFacts> {
    let mut matched: Vec<&PodFacts> =
        pods.iter().copied().filter(|pod| matches(set, pod, namespaces)).collect();
    matched.sort_by(|a, b| a.key().cmp(&b.key()));
    matched.dedup_by(|a, b| a.key() == b.key());
    matched
}

/// Whether the selector of a set is one that asks for an operator that does not exist, which matches nothing.
pub(super) fn broken_operator(set: &SetFacts) -> Option<&str> {
    let selectors = [&set.selector, &set.namespace_selector, &set.update.selector];
    selectors.into_iter().flatten().find_map(Selector::unknown_operator)
}

#[cfg(test)]
mod tests;
