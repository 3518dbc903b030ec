//! What replacing Pods that missed injection depends on: a webhook that is asked and answers, and a rate.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::Api;
use kube::api::ListParams;
use sidecarset_core::control::missed::{Repair, WebhookHealth};
use sidecarset_core::selector::Selector;

use super::Controller;

/// How often the webhook is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// Time between two evictions: sidecars that are missing now were missing before, nobody is in a hurry.
const EVICTION_EVERY: Duration = Duration::from_secs(5);

/// What was seen last.
#[derive(Debug)]
pub struct RepairView {
    health: WebhookHealth,
    excluded_namespaces: BTreeSet<String>,
    next_eviction: Option<Instant>,
}

impl Default for RepairView {
    fn default() -> Self {
        Self { health: WebhookHealth::Unhealthy, excluded_namespaces: BTreeSet::new(), next_eviction: None }
    }
}

/// A copy of what one decision needs.
#[derive(Debug)]
pub(super) struct RepairFacts {
    health: WebhookHealth,
    excluded_namespaces: BTreeSet<String>,
    next_eviction: Option<Instant>,
}

impl RepairFacts {
    /// What repair may do at `now`.
    pub(super) fn repair<'a>(&'a self, canaries: &'a BTreeSet<String>, now: Instant) -> Repair<'a> {
        Repair {
            webhook: self.health,
            evictions_allowed: usize::from(self.next_eviction.is_none_or(|next| next <= now)),
            excluded_namespaces: &self.excluded_namespaces,
            canaries,
        }
    }
}

impl Controller {
    pub(super) fn repair_view(&self) -> RepairFacts {
        let view = self.repair.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let RepairView { health, excluded_namespaces, next_eviction } = &*view;
        RepairFacts {
            health: *health,
            excluded_namespaces: excluded_namespaces.clone(),
            next_eviction: *next_eviction,
        }
    }

    /// Whether an eviction is due; the next one is after a pause.
    pub(super) fn take_eviction(&self) -> bool {
        let mut view = self.repair.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let now = Instant::now();
        let is_due = view.next_eviction.is_none_or(|next| next <= now);
        if is_due {
            view.next_eviction = Some(now + EVICTION_EVERY);
        }
        is_due
    }

    /// Looks at the webhook again and again.
    pub(super) async fn watch_webhook(&self) {
        let mut ticks = tokio::time::interval(LOOK_EVERY);
        loop {
            ticks.tick().await;
            let seen = self.look_at_webhook().await;
            let wants_repair = self.lock().wants_repair();
            let unix = self.now().unix;
            let mut view = self.repair.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            match seen {
                Ok((answers, excluded)) => {
                    view.health = next_health(view.health, answers && wants_repair, unix);
                    view.excluded_namespaces = excluded;
                }
                Err(error) => {
                    view.health = WebhookHealth::Unhealthy;
                    tracing::debug!(%error, "the webhook cannot be looked at; no Pod is replaced");
                }
            }
        }
    }

    /// Whether it is registered and somebody answers for it, and the namespaces in which it is not asked.
    async fn look_at_webhook(&self) -> Result<(bool, BTreeSet<String>), kube::Error> {
        let client = &self.client.0;
        let configurations = Api::<MutatingWebhookConfiguration>::all(client.clone());
        let Some(configuration) = configurations.get_opt(&self.settings.webhook_configuration).await? else {
            return Ok((false, BTreeSet::new()));
        };
        let slices = Api::<EndpointSlice>::namespaced(client.clone(), &self.settings.namespace);
        let of_service =
            ListParams::default().labels(&format!("kubernetes.io/service-name={}", self.settings.service));
        let slices = slices.list(&of_service).await?;
        let is_ready =
            slices.items.iter().flat_map(|slice| slice.endpoints.iter().flatten()).any(|endpoint| {
                endpoint.conditions.as_ref().and_then(|conditions| conditions.ready).unwrap_or(true)
            });
        let webhooks = configuration.webhooks.unwrap_or_default();
        let is_trusted =
            !webhooks.is_empty() && webhooks.iter().all(|webhook| webhook.client_config.ca_bundle.is_some());
        let selectors: Vec<Selector> = webhooks
            .iter()
            .filter_map(|webhook| serde_json::to_value(webhook.namespace_selector.as_ref()?).ok())
            .map(|selector| Selector::compile(&selector))
            .collect();
        let world = self.lock();
        let is_excluded = |labels: &&Vec<(String, String)>| {
            !selectors.is_empty() && !selectors.iter().any(|selector| selector.matches(labels.as_slice()))
        };
        let excluded = world.namespaces().iter().filter(|(_, labels)| is_excluded(labels));
        Ok((is_ready && is_trusted, excluded.map(|(name, _)| name.clone()).collect()))
    }
}

/// Healthy since it was first seen to be, without a break.
fn next_health(before: WebhookHealth, answers: bool, unix: i64) -> WebhookHealth {
    match (answers, before) {
        (false, _) => WebhookHealth::Unhealthy,
        (true, WebhookHealth::Unhealthy) => WebhookHealth::HealthySince(unix),
        (true, since) => since,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_webhook_is_healthy_since_its_last_break() {
        let first = next_health(WebhookHealth::Unhealthy, true, 10);
        assert_eq!(first, WebhookHealth::HealthySince(10));
        assert_eq!(next_health(first, true, 20), first);
        assert_eq!(next_health(first, false, 30), WebhookHealth::Unhealthy);
        assert_eq!(next_health(WebhookHealth::Unhealthy, true, 40), WebhookHealth::HealthySince(40));
    }

    #[test]
    fn one_eviction_at_a_time() {
        let now = Instant::now();
        let canaries = BTreeSet::new();
        let facts = |next_eviction| RepairFacts {
            health: WebhookHealth::HealthySince(1),
            excluded_namespaces: BTreeSet::new(),
            next_eviction,
        };
        assert_eq!(facts(None).repair(&canaries, now).evictions_allowed, 1);
        assert_eq!(facts(Some(now + EVICTION_EVERY)).repair(&canaries, now).evictions_allowed, 0);
    }
}
