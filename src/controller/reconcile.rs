//! One look at one set: what is seen, what is decided, and what came of it.
//!
//! Rule: C-CTL-21.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sidecarset_core::control::expectations::PodKey;
use sidecarset_core::control::pod::{Owner, PodFacts};
use sidecarset_core::control::revisions::RevisionFacts;
use sidecarset_core::control::{Decisions, Now, Observed, decide};

use super::Controller;
use super::apply::ApplyError;
use super::queue::Outcome;
use super::world::Look;
use crate::clock::unix_now;

/// How often a look is made anew because a name for a revision was taken. Upstream has no limit (C-REV-14); the queue has.
const NAME_ATTEMPTS: usize = 16;
/// How often a Pod that others write too is tried before those behind it get their turn. Rule: C-UPD-19. Decision: D-32.
const POD_ATTEMPTS: usize = 4;
/// Pause after that.
const CONFLICT_PAUSE: Duration = Duration::from_millis(100);

impl Controller {
    /// Looks at the set and does what is to be done.
    pub(super) async fn reconcile(&self, name: &Arc<str>) -> Outcome {
        let mut others: Vec<RevisionFacts> = Vec::new();
        let mut conflicts = 0;
        for _ in 0..NAME_ATTEMPTS {
            let Some(look) = self.lock().look(name, Instant::now()) else { return Outcome::Done };
            let decisions = self.decide(&look, &others);
            let in_order = conflicts + 1 < POD_ATTEMPTS;
            match self.apply(&look.set, &decisions, in_order).await {
                Ok(changed) if changed.is_empty() => return after(&look, &decisions),
                Ok(_) if in_order => conflicts += 1,
                Ok(_) => return Outcome::Again(CONFLICT_PAUSE),
                Err(ApplyError::NameTaken(taken)) => others.push(*taken),
                Err(ApplyError::Outdated) => return Outcome::Again(Duration::ZERO),
                // The watch shows the change, mostly at once.
                Err(ApplyError::Changed) => return Outcome::Conflict,
                Err(ApplyError::NotLeading(error)) => {
                    tracing::warn!(sidecarset.name = &**name, %error, "nothing more is written");
                    return Outcome::Failed;
                }
                Err(ApplyError::Call { what, error }) => {
                    tracing::warn!(sidecarset.name = &**name, what, %error, "a SidecarSet cannot be brought up to date; it is tried again");
                    return Outcome::Failed;
                }
            }
        }
        Outcome::Failed
    }

    /// Begins the eviction of the Pod if that is decided now as well: the writes before it may have taken minutes, in which the webhook,
    /// the set, or the owner's other Pods have changed. Gives the owner.
    pub(super) fn begin_eviction(&self, set: &str, key: &PodKey) -> Option<Owner> {
        let look = self.lock().look(set, Instant::now())?;
        if !self.decide(&look, &[]).evictions.contains(key) {
            return None;
        }
        let world = &mut *self.lock();
        let pod = world.pods.get((&key.namespace, &key.name)).filter(|pod| *pod.uid == *key.uid)?;
        let owner = pod.owner.filter(|_| self.take_eviction())?;
        world.evictions.begin(owner, &world.pods);
        Some(owner)
    }

    pub(super) fn decide(&self, look: &Look, others: &[RevisionFacts]) -> Decisions {
        let pods: Vec<&PodFacts> = look.pods.iter().map(|pod| &**pod).collect();
        let mut revisions = look.revisions.clone();
        revisions.extend_from_slice(others);
        let view = self.repair_view(Instant::now());
        decide(&Observed {
            set: &look.set,
            pods: &pods,
            namespaces: &look.namespaces,
            revisions: &revisions,
            revision_namespace: &self.settings.revision_namespace,
            known_sets: Some(&look.known_sets),
            expectations: &look.expectations,
            back_offs: &look.back_offs,
            repair: view.repair(&look.relatives, &look.outcomes),
            drops_conditions: look.drops_conditions,
            now: self.now(),
        })
    }

    /// The moment, on both clocks.
    pub(super) fn now(&self) -> Now {
        Now { unix: unix_now(), monotonic: self.started.elapsed() }
    }
}

/// When to look again: when the decision says so, or a Pod that could not be written may be tried again.
fn after(look: &Look, decisions: &Decisions) -> Outcome {
    let attempt = look.next_attempt.map(|at| at.saturating_duration_since(Instant::now()));
    match decisions.look_again.into_iter().chain(attempt).min() {
        Some(delay) => Outcome::Again(delay),
        None => Outcome::Done,
    }
}
