//! The controller's decisions, from observed state to writes. Nothing here reads or writes anything.
//!
//! ```text
//! Pods (JSON) ── pod::PodFacts ─┐                        ┌─► RevisionPlan   create, renumber, trim
//! SidecarSet ─── set::SetFacts ─┼─► decide ─► Decisions ─┼─► status         one merge patch of /status, if anything changed
//! ControllerRevisions ──────────┤    (pure)              ├─► pods           one patch a Pod, bound to what was seen
//! Namespaces, expectations ─────┘                        └─► events, evictions, when to look again
//! ```
//!
//! The shell fetches, calls [`decide`], applies in the order of the members of [`Decisions`], and looks again when
//! [`trigger`] says so. Whatever fails is left out and seen again at the next look: every decision is made from state alone.
//! The terminator of sidecars in finished Jobs is apart from all this: [`terminator::decide`].

mod amount;
pub mod condition;
mod consistency;
pub mod expectations;
mod hot;
mod image;
pub mod interner;
pub mod matching;
pub mod missed;
mod object;
mod order;
pub mod pod;
pub mod records;
pub mod revisions;
pub mod rollout;
mod scatter;
pub mod set;
pub mod status;
pub mod terminator;
pub mod trigger;
pub mod update;

use std::time::Duration;

use serde_json::Value;

use condition::KnownSets;
use expectations::{Expectations, PodKey, Unmet};
use matching::Namespaces;
use missed::Repair;
use pod::PodFacts;
use revisions::{RevisionFacts, RevisionPlan};
use rollout::{BackOffs, Failure, PodView, Round};
use set::SetFacts;

pub use amount::Amount;
pub use object::PodObject;

/// How long to wait for our own writes before the next look. Rule: C-CTL-13.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// The moment of a decision.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// Seconds since 1970, for what is written.
    pub unix: i64,
    /// Time since any fixed moment, for waiting.
    pub monotonic: Duration,
}

/// All that one look at a set may know.
#[derive(Debug, Clone, Copy)]
pub struct Observed<'a> {
    /// The set.
    pub set: &'a SetFacts,
    /// At least the Pods that name the set or that it selects, in any order.
    pub pods: &'a [&'a PodFacts],
    /// All Namespaces; empty will do for a set without a `namespaceSelector`.
    pub namespaces: &'a Namespaces,
    /// At least the revisions labelled with the set's name, and those that were found to have a wanted name.
    pub revisions: &'a [RevisionFacts],
    /// Namespace of the revisions (C-REV-1).
    pub revision_namespace: &'a str,
    /// Names of all sets.
    pub known_sets: KnownSets<'a>,
    /// Our own writes that may not be visible yet.
    pub expectations: &'a Expectations,
    /// Pods whose last write failed.
    pub back_offs: &'a BackOffs,
    /// What repair of missed injection may do.
    pub repair: Repair<'a>,
    /// The API server does not keep conditions of a set: its resource definition is still upstream's.
    pub drops_conditions: bool,
    /// The moment.
    pub now: Now,
}

/// What a write to a Pod is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PodWriteKind {
    /// Its condition says that it cannot take the change in place; goes to `/status` (C-COND-5).
    MarkNotUpgradable,
    /// Its condition lacks an upgrade that has happened: the write after it was lost. Goes to `/status` (C-UPD-20).
    MarkUpgradable,
    /// Its old containers of hot pairs are emptied. Then: event, expectation.
    Reset,
    /// It gets the new images. Then: condition by [`condition::set_upgradable`] on the Pod that the API server returned,
    /// expectation (C-UPD-20, C-UPD-21). No readiness gate, no grace period: the kubelet sees the image (C-UPD-23).
    Upgrade,
}

impl PodWriteKind {
    /// The subresource that is patched.
    #[must_use]
    pub fn subresource(self) -> Option<&'static str> {
        matches!(self, Self::MarkNotUpgradable | Self::MarkUpgradable).then_some("status")
    }
}

/// One strategic merge patch of one Pod. A conflict means that the Pod changed: leave it for the next look. A denial by a budget or
/// a webhook is an error like others (C-UPD-22).
#[derive(Debug, Clone, PartialEq)]
pub struct PodWrite {
    /// What for.
    pub kind: PodWriteKind,
    /// The Pod.
    pub pod: PodKey,
    /// The patch; it carries uid and resourceVersion.
    pub patch: Value,
    /// The write uses the budget: the Pod serves now, or would but for another set.
    pub takes_down: bool,
}

/// What an event is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum About {
    /// The set.
    Set,
    /// A Pod.
    Pod(PodKey),
}

/// An event to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The object.
    pub about: About,
    /// `Warning`, else `Normal`.
    pub is_warning: bool,
    /// Why, in one word.
    pub reason: &'static str,
    /// For people.
    pub message: String,
}

/// What to do, in this order.
#[derive(Debug, Clone, PartialEq)]
pub struct Decisions {
    /// First the history; an error ends the look, but for deletions.
    pub revisions: RevisionPlan,
    /// Then a merge patch of the set's `/status`; an error ends the look.
    pub status: Option<Value>,
    /// Then the Pods, in this order. One that fails is left out and backs off (D-32).
    pub pods: Vec<PodWrite>,
    /// Pods to replace through the Eviction API.
    pub evictions: Vec<PodKey>,
    /// Events that do not depend on the outcome of a write.
    pub events: Vec<Event>,
    /// Pods that cannot be written, with the reason; they back off.
    pub failures: Vec<Failure>,
    /// Pods to read from the API server before the next look (D-30).
    pub read_live: Vec<PodKey>,
    /// When to look again at the latest.
    pub look_again: Option<Duration>,
}

/// Decides what to do about one set.
///
/// Our own writes are waited for first; a set that does not update or is paused only gets its history and status; old containers
/// of hot pairs are emptied before anything is upgraded.
///
/// Rules: C-CTL-21, C-STAT-12, C-HOTC-12, C-EVT-4. Decision: D-32, D-33.
#[must_use]
pub fn decide(observed: &Observed<'_>) -> Decisions {
    let Observed { set, pods, namespaces, revisions, revision_namespace, now, .. } = *observed;
    let matched = matching::matched(set, pods, namespaces);
    let views: Vec<PodView<'_>> = matched.iter().map(|pod| PodView::new(set, pod)).collect();
    let plan = revisions::plan(set, revisions, &matched, revision_namespace);
    let missed = missed::find(set, pods, namespaces, observed.back_offs, &observed.repair);
    let unmet = observed.expectations.unmet(&matched, now.monotonic);
    let counts = status::counts(&views);
    let mut decisions = Decisions {
        revisions: plan,
        status: None,
        pods: Vec::new(),
        evictions: missed.as_ref().map(|missed| missed.evictions.clone()).unwrap_or_default(),
        events: Vec::new(),
        failures: Vec::new(),
        read_live: Vec::new(),
        look_again: missed.as_ref().and_then(|missed| missed.look_again),
    };
    let step = if unmet.count > 0 {
        Step::Wait(unmet)
    } else {
        next_step(observed, &views, &decisions.revisions.latest)
    };
    let verdicts = match &step {
        Step::Wait(_) => None,
        Step::Nothing | Step::Reset(_) => Some(status::rollout(set, &views, None)),
        Step::Upgrade(round) => Some(status::rollout(set, &views, Some(round))),
    };
    let verdicts = verdicts.map(|rollout| {
        let injection = missed.as_ref().map(status::injection);
        let injection = injection.map(|injection| (status::INJECTION_COMPLETE, injection));
        std::iter::once((status::ROLLOUT_COMPLETE, rollout)).chain(injection).collect()
    });
    decisions.status =
        status::write(set, counts, &decisions.revisions, verdicts, observed.drops_conditions, now.unix);
    if let Some(missed) = missed.filter(|missed| decisions.status.is_some() && !missed.pods.is_empty()) {
        let message =
            format!("{} Pods lack the sidecars: {}", missed.pods.len(), status::names(&missed.pods));
        decisions.warn("PodsMissedInjection", message);
    }
    if !matches!(step, Step::Wait(_)) {
        decisions.add_lost_marks(observed, &views);
    }
    match step {
        Step::Nothing => {}
        Step::Wait(Unmet { overdue, .. }) => {
            decisions.read_live = overdue;
            decisions.look_again = Some(decisions.look_again.map_or(LOOK_AGAIN, |at| at.min(LOOK_AGAIN)));
        }
        Step::Reset(resets) => decisions.pods.extend(resets.into_iter().map(|(pod, change)| PodWrite {
            kind: PodWriteKind::Reset,
            pod: pod.into(),
            patch: change.patch(pod),
            takes_down: false,
        })),
        Step::Upgrade(round) => decisions.add_round(observed, &views, round),
    }
    decisions
}

/// What comes after history and status.
enum Step<'p> {
    Nothing,
    Wait(Unmet),
    Reset(Vec<(&'p PodFacts, update::PodChange)>),
    Upgrade(Round<'p>),
}

/// Rules: C-CTL-21, C-HOTC-10.
fn next_step<'p>(observed: &Observed<'_>, views: &[PodView<'p>], revision: &str) -> Step<'p> {
    let Observed { set, back_offs, now, .. } = *observed;
    if set.update.is_off || set.update.is_paused {
        return Step::Nothing;
    }
    let resets = rollout::resets(set, views, back_offs, now.unix);
    if !resets.is_empty() {
        return Step::Reset(resets);
    }
    if views.iter().all(|view| view.is_updated) {
        return Step::Nothing;
    }
    Step::Upgrade(rollout::choose(set, views, back_offs, revision, now.unix))
}

impl Decisions {
    fn warn(&mut self, reason: &'static str, message: String) {
        self.events.push(Event { about: About::Set, is_warning: true, reason, message });
    }

    /// The condition of Pods that were upgraded by a process which ended before it could write that.
    ///
    /// Rules: C-UPD-20, C-RUST-6.
    fn add_lost_marks(&mut self, observed: &Observed<'_>, views: &[PodView<'_>]) {
        let Observed { set, known_sets, back_offs, now, .. } = *observed;
        let lost = views.iter().filter(|view| {
            view.is_updated
                && view.before.is_ours()
                && !back_offs.contains_key(&*view.pod.uid)
                && condition::lacks_upgrade(view.pod, &set.name)
        });
        for PodView { pod, .. } in lost {
            if let Ok(Some(patch)) = condition::set_upgradable(pod, &set.name, true, known_sets, now.unix) {
                self.pods.push(PodWrite {
                    kind: PodWriteKind::MarkUpgradable,
                    pod: (*pod).into(),
                    patch,
                    takes_down: false,
                });
            }
        }
    }

    /// Marks, upgrades, failures and the event about Pods that cannot be upgraded.
    ///
    /// Rules: C-COND-5, C-EVT-1, C-BUG-22, C-BUG-37. Decision: D-32.
    fn add_round(&mut self, observed: &Observed<'_>, views: &[PodView<'_>], round: Round<'_>) {
        let Observed { set, known_sets, back_offs, now, .. } = *observed;
        let Round { chosen, not_upgradable, mut failures, read_live, .. } = round;
        let is_due = |pod: &&&PodFacts| {
            !condition::is_marked(pod, &set.name, known_sets) && !back_offs.contains_key(&*pod.uid)
        };
        for pod in not_upgradable.iter().filter(is_due) {
            match condition::set_upgradable(pod, &set.name, false, known_sets, now.unix) {
                Ok(None) => {}
                Ok(Some(patch)) => self.pods.push(PodWrite {
                    kind: PodWriteKind::MarkNotUpgradable,
                    pod: (*pod).into(),
                    patch,
                    takes_down: false,
                }),
                Err(error) => {
                    failures.push(Failure { pod: (*pod).into(), error: error.to_string(), is_new: true });
                }
            }
        }
        if !not_upgradable.is_empty() && (!self.pods.is_empty() || self.status.is_some()) {
            let message = format!(
                "{} Pods cannot be upgraded in place and are skipped, because more than images of containers changed: {}",
                not_upgradable.len(),
                status::names(&not_upgradable)
            );
            self.events.push(Event {
                about: About::Set,
                is_warning: false,
                reason: "NotUpgradablePods",
                message,
            });
        }
        for failure in failures.iter().filter(|failure| failure.is_new) {
            self.events.push(Event {
                about: About::Pod(failure.pod.clone()),
                is_warning: true,
                reason: "SidecarUpgradeFailed",
                message: format!("SidecarSet \"{}\" cannot upgrade this Pod: {}", set.name, failure.error),
            });
        }
        for (pod, change) in chosen {
            let takes_down = views.iter().any(|view| view.pod.key() == pod.key() && view.takes_down);
            self.pods.push(PodWrite {
                kind: PodWriteKind::Upgrade,
                pod: pod.into(),
                patch: change.patch(pod),
                takes_down,
            });
        }
        self.failures = failures;
        if !read_live.is_empty() {
            self.look_again = Some(Duration::ZERO);
        }
        self.read_live = read_live;
    }
}

/// What is told about a Pod after its old containers were emptied, or could not be.
///
/// Rules: C-EVT-2, C-EVT-3, C-HOTC-9.
#[must_use]
pub fn reset_event(set: &str, pod: PodKey, result: Result<(), &str>) -> Event {
    let (reason, message) = match result {
        Ok(()) => (
            "ResetContainerSucceed",
            format!("the old hot upgrade container of SidecarSet \"{set}\" got the empty image"),
        ),
        Err(error) => (
            "ResetContainerFailed",
            format!("the old hot upgrade container of SidecarSet \"{set}\" keeps its image: {error}"),
        ),
    };
    Event { about: About::Pod(pod), is_warning: result.is_err(), reason, message }
}

#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod tests;
