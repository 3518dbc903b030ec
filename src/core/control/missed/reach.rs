//! Which Pods the webhook is asked about at all.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::content::items;
use crate::control::matching::{NamespaceLabels, Namespaces};
use crate::control::pod::PodFacts;
use crate::selector::Selector;

/// What the configuration of the webhook says about that. Without any webhook in it, it is about every Pod.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reach {
    webhooks: Vec<Webhook>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Webhook {
    /// `namespaceSelector`; `None` matches every Namespace.
    namespaces: Option<Selector>,
    /// `objectSelector`; `None` matches every Pod.
    objects: Option<Selector>,
    /// It has `matchConditions`, which only the API server can evaluate: they see the whole request.
    is_conditional: bool,
}

/// Whether the webhook was asked about a Pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Asked {
    No,
    Perhaps,
    Yes,
}

impl Reach {
    /// Reads a MutatingWebhookConfiguration.
    #[must_use]
    pub fn new(configuration: &Value) -> Self {
        let selector = |value: &Value| value.is_object().then(|| Selector::compile(value));
        let webhooks = items(&configuration["webhooks"]).map(|webhook| Webhook {
            namespaces: selector(&webhook["namespaceSelector"]),
            objects: selector(&webhook["objectSelector"]),
            is_conditional: items(&webhook["matchConditions"]).next().is_some(),
        });
        Self { webhooks: webhooks.collect() }
    }

    pub(super) fn asks(&self, pod: &PodFacts, namespaces: &Namespaces) -> Asked {
        let labels = namespaces.get(&*pod.namespace).map_or(&[][..], Vec::as_slice);
        let of_namespace = NamespaceLabels { name: &pod.namespace, labels };
        let selects_pod =
            |webhook: &&Webhook| webhook.objects.as_ref().is_none_or(|objects| objects.matches(pod));
        let asked = self
            .webhooks
            .iter()
            .filter(|webhook| webhook.selects(&of_namespace))
            .filter(selects_pod)
            .map(|webhook| if webhook.is_conditional { Asked::Perhaps } else { Asked::Yes })
            .max();
        asked.unwrap_or(if self.webhooks.is_empty() { Asked::Yes } else { Asked::No })
    }

    /// The Namespaces that are left out whatever is in them.
    #[must_use]
    pub fn left_out(&self, namespaces: &Namespaces) -> BTreeSet<String> {
        let is_left_out = |name: &str, labels: &[(String, String)]| {
            let labels = NamespaceLabels { name, labels };
            !self.webhooks.is_empty() && !self.webhooks.iter().any(|webhook| webhook.selects(&labels))
        };
        let left_out = namespaces.iter().filter(|(name, labels)| is_left_out(name, labels));
        left_out.map(|(name, _)| name.clone()).collect()
    }
}

impl Webhook {
    fn selects(&self, labels: &NamespaceLabels<'_>) -> bool {
        self.namespaces.as_ref().is_none_or(|namespaces| namespaces.matches(labels))
    }
}
