//! What replacing Pods that missed injection depends on: a webhook that is asked and answers, and a rate.

use std::collections::BTreeSet;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::Api;
use kube::api::ListParams;
use sidecarset_core::control::missed::{EVICTION_EVERY, Outcomes, Reach, Repair, WebhookHealth};

use super::Controller;
use super::world::{Due, World};
use crate::causes;

/// How often the webhook is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// How long one look may take.
const LOOK_LIMIT: Duration = Duration::from_secs(10);
/// For how long a look holds. What is older says nothing about the webhook any more.
const LOOK_HOLDS: Duration = Duration::from_secs(30);
/// How many absences of the webhook are remembered.
const MOST_ABSENCES: usize = 16;

/// When the webhook answered. Times are the creation times of Pods, in seconds since 1970: only the API server's clock decides
/// which Pods were made while it was away.
#[derive(Debug, Clone, Default)]
struct History {
    answers: bool,
    /// When it was last seen to answer; before that is seen, the first look: nobody knows when an absence began that it meets.
    good_unix: i64,
    /// Absences, each until it was seen to answer again.
    away: Vec<(i64, i64)>,
    was_seen: bool,
}

impl History {
    /// Notes what was seen when the newest Pod was of `newest_unix`.
    fn see(&mut self, answers: bool, newest_unix: i64) {
        if answers && self.was_seen && !self.answers {
            self.away.push((self.good_unix, newest_unix));
            let excess = self.away.len().saturating_sub(MOST_ABSENCES);
            self.away.drain(..excess);
        }
        if answers || !self.was_seen {
            self.good_unix = newest_unix;
        }
        (self.answers, self.was_seen) = (answers, true);
    }
}

/// What was seen last.
#[derive(Debug, Default)]
pub struct RepairView {
    history: History,
    registered_unix: i64,
    /// `None` before the first look.
    reach: Option<Arc<Reach>>,
    left_out: BTreeSet<String>,
    /// When the last look succeeded.
    seen: Option<Instant>,
    /// The last look failed, and that was told.
    is_failing: bool,
    next_eviction: Option<Instant>,
}

/// What one look at the webhook shows.
#[derive(Debug)]
struct Seen {
    /// It is registered, and somebody answers for it.
    answers: bool,
    registered_unix: i64,
    reach: Reach,
}

impl RepairView {
    fn is_healthy(&self, now: Instant) -> bool {
        self.history.answers && self.seen.is_some_and(|seen| now.saturating_duration_since(seen) < LOOK_HOLDS)
    }

    /// Takes what was seen; gives the sets which that concerns: all, if it is about other Pods now; if it answers again or no more,
    /// those that ask for repair.
    fn take(&mut self, seen: Seen, world: &World, now: Instant) -> Vec<Due> {
        let Seen { answers, registered_unix, reach } = seen;
        let was_healthy = self.is_healthy(now);
        let newest = world.pods.iter().filter_map(|pod| pod.created_unix).max();
        self.history.see(answers, newest.unwrap_or_default());
        self.registered_unix = registered_unix;
        self.seen = Some(now);
        let left_out = reach.left_out(world.namespaces());
        if self.reach.as_deref() != Some(&reach) || self.left_out != left_out {
            (self.reach, self.left_out) = (Some(Arc::new(reach)), left_out);
            return world.all_due();
        }
        if was_healthy == self.is_healthy(now) { Vec::new() } else { world.repair_due() }
    }
}

/// A copy of what one decision needs.
#[derive(Debug)]
pub(super) struct RepairFacts {
    is_healthy: bool,
    registered_unix: i64,
    away: Vec<(i64, i64)>,
    reach: Option<Arc<Reach>>,
    pause: Duration,
}

impl RepairFacts {
    /// What repair may do. `relatives`: sets whose sidecars a Pod may have in place of those of the set.
    pub(super) fn repair<'a>(
        &'a self,
        relatives: &'a BTreeSet<String>,
        outcomes: &'a Outcomes,
    ) -> Repair<'a> {
        let Self { is_healthy, registered_unix, away, reach, pause } = self;
        let webhook = if *is_healthy {
            WebhookHealth::Answers { registered_unix: *registered_unix, away }
        } else {
            WebhookHealth::Unhealthy
        };
        Repair { webhook, reach: reach.as_deref(), pause: *pause, relatives, outcomes }
    }
}

impl Controller {
    fn repair_lock(&self) -> MutexGuard<'_, RepairView> {
        self.repair.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn repair_view(&self, now: Instant) -> RepairFacts {
        let view = self.repair_lock();
        RepairFacts {
            is_healthy: view.is_healthy(now),
            registered_unix: view.registered_unix,
            away: view.history.away.clone(),
            reach: view.reach.clone(),
            pause: view.next_eviction.map(|next| next.saturating_duration_since(now)).unwrap_or_default(),
        }
    }

    /// Whether an eviction is due; the next one is after a pause.
    pub(super) fn take_eviction(&self) -> bool {
        let mut view = self.repair_lock();
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
            match tokio::time::timeout(LOOK_LIMIT, self.look_at_webhook()).await {
                Ok(Ok(seen)) => self.take_look(seen),
                Ok(Err(error)) => self.look_failed(&causes::told(&error)),
                Err(_elapsed) => self.look_failed("the API server does not answer"),
            }
        }
    }

    fn take_look(&self, seen: Seen) {
        self.with_world(|world| {
            let mut view = self.repair_lock();
            if std::mem::take(&mut view.is_failing) {
                tracing::info!("the webhook can be looked at again");
            }
            if !view.history.was_seen || view.history.answers != seen.answers {
                let configuration = &self.settings.webhook_configuration;
                tracing::info!(configuration, answers = seen.answers, "the webhook was looked at");
            }
            view.take(seen, world, Instant::now())
        });
    }

    /// What was seen before holds for a while. It is told once.
    fn look_failed(&self, problem: &str) {
        if !std::mem::replace(&mut self.repair_lock().is_failing, true) {
            let configuration = &self.settings.webhook_configuration;
            tracing::warn!(
                problem,
                configuration,
                "the webhook cannot be looked at: Pods that missed injection are not judged anew, and none is replaced"
            );
        }
    }

    /// Whether it is registered and somebody answers for it, and which Pods it is asked about.
    async fn look_at_webhook(&self) -> Result<Seen, kube::Error> {
        let client = &self.clients.reads;
        let configurations = Api::<MutatingWebhookConfiguration>::all(client.clone());
        let Some(configuration) = configurations.get_opt(&self.settings.webhook_configuration).await? else {
            return Ok(Seen { answers: false, registered_unix: 0, reach: Reach::default() });
        };
        let slices = Api::<EndpointSlice>::namespaced(client.clone(), &self.settings.namespace);
        let of_service =
            ListParams::default().labels(&format!("kubernetes.io/service-name={}", self.settings.service));
        let slices = slices.list(&of_service).await?;
        let is_ready =
            slices.items.iter().flat_map(|slice| slice.endpoints.iter().flatten()).any(|endpoint| {
                endpoint.conditions.as_ref().and_then(|conditions| conditions.ready).unwrap_or(true)
            });
        let reach = Reach::new(&serde_json::to_value(&configuration).unwrap_or_default());
        let created = configuration.metadata.creation_timestamp.as_ref();
        let webhooks = configuration.webhooks.unwrap_or_default();
        let is_trusted =
            !webhooks.is_empty() && webhooks.iter().all(|webhook| webhook.client_config.ca_bundle.is_some());
        let registered_unix = created.map_or(0, |created| created.0.as_second());
        Ok(Seen { answers: is_ready && is_trusted, registered_unix, reach })
    }
}

#[cfg(test)]
mod tests;
