//! The set's status: counters, and conditions that tell what a rollout waits for.

use serde_json::{Value, json};

use super::condition;
use super::hot;
use super::matching::broken_operator;
use super::missed::Missed;
use super::pod::PodFacts;
use super::revisions::RevisionPlan;
use super::rollout::{PodView, Round};
use super::set::SetFacts;
use crate::content::text;
use crate::injection::hash_annotation::format_rfc3339;

/// How many Pods a message names.
const NAMED: usize = 3;
/// Condition: every matched Pod runs what the set says.
pub const ROLLOUT_COMPLETE: &str = "RolloutComplete";
/// Condition: every Pod that should have the sidecars has them.
pub const INJECTION_COMPLETE: &str = "InjectionComplete";

/// The four counters in the order matched, updated, ready, updated-ready.
///
/// Rules: C-STAT-1…4, C-STAT-13. Decision: D-33.
pub(super) fn counts(views: &[PodView<'_>]) -> [usize; 4] {
    let count = |counts: &dyn Fn(&PodView<'_>) -> bool| views.iter().filter(|view| counts(view)).count();
    [
        views.len(),
        count(&|view| view.is_updated),
        count(&|view| view.is_ready),
        count(&|view| view.is_updated && view.is_ready),
    ]
}

/// What a condition says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Verdict {
    /// `None`: it cannot be known.
    is_true: Option<bool>,
    reason: &'static str,
    message: String,
}

fn verdict(is_true: bool, reason: &'static str, message: impl Into<String>) -> Verdict {
    Verdict { is_true: Some(is_true), reason, message: message.into() }
}

/// Whether the rollout is over, else the one thing that it waits for.
///
/// Rules: C-UPD-11, C-HOTC-12, C-BUG-18, C-BUG-21, C-BUG-22, C-BUG-39, C-BUG-40. Decision: D-32, D-37.
pub(super) fn rollout(set: &SetFacts, views: &[PodView<'_>], round: Option<&Round<'_>>) -> Verdict {
    let [matched, updated, _, updated_ready] = counts(views);
    if let Some(operator) = broken_operator(set) {
        let message = format!(
            "a selector has the unknown operator \"{operator}\" and selects nothing; use In, NotIn, Exists or DoesNotExist"
        );
        return verdict(false, "InvalidSelector", message);
    }
    if updated == matched && updated_ready == matched {
        return match matched {
            0 => verdict(true, "NoPods", "no Pod carries this set"),
            _ => {
                let all = format!("all {matched} Pods are updated and ready");
                verdict(true, "AllPodsUpdated", all + &stale_marks(set, views))
            }
        };
    }
    let progress = format!("{updated} of {matched} Pods updated, {updated_ready} of these ready");
    let down: Vec<&PodFacts> =
        views.iter().filter(|view| view.is_updated && !view.is_ready).map(|view| view.pod).collect();
    // What is updated needs one more step of ours if it is in the middle of a hot upgrade.
    let has_work = updated < matched || down.iter().any(|pod| hot::is_in_the_middle(set, pod));
    if has_work && set.update.is_off {
        return verdict(false, "NotUpdate", format!("{progress}; updateStrategy.type is NotUpdate"));
    }
    if has_work && set.update.is_paused {
        return verdict(false, "Paused", format!("{progress}; updateStrategy.paused is true"));
    }
    match round {
        Some(round) if round.chosen.is_empty() && updated < matched => blocked(set, round, &down, &progress),
        Some(round) if !round.chosen.is_empty() => verdict(false, "Progressing", progress),
        _ => waiting(&down, &progress),
    }
}

/// Updated Pods whose condition still says that they cannot be upgraded: of a change of the set that was taken back. It goes with their
/// next upgrade.
///
/// Rule: C-BUG-40. Decision: D-37.
fn stale_marks(set: &SetFacts, views: &[PodView<'_>]) -> String {
    let pods: Vec<&PodFacts> =
        views.iter().map(|view| view.pod).filter(|pod| condition::says_no(pod, &set.name)).collect();
    if pods.is_empty() {
        return String::new();
    }
    format!(
        "; nothing hinders {}, whose condition SidecarSetUpgradable still is False for this set, from before the last change",
        names(&pods)
    )
}

/// Nothing is upgraded now although Pods are old: the reason that goes first is the one that goes away by itself.
fn blocked(set: &SetFacts, round: &Round<'_>, down: &[&PodFacts], progress: &str) -> Verdict {
    let kept = round.kept_by_partition;
    if !round.failures.is_empty() {
        let failures = round.failures.iter().take(NAMED);
        let texts: Vec<String> = failures
            .map(|failure| format!("{}/{}: {}", failure.pod.namespace, failure.pod.name, failure.error))
            .collect();
        let count = round.failures.len();
        return verdict(
            false,
            "WriteFailed",
            format!("{progress}; {count} Pods cannot be written: {}", texts.join("; ")),
        );
    }
    if round.over_budget > 0 && down.is_empty() {
        let message = format!("{progress}; updateStrategy.maxUnavailable allows no ready Pod to be updated");
        return verdict(false, "MaxUnavailable", message);
    }
    if round.over_budget > 0 || !down.is_empty() {
        return waiting(down, progress);
    }
    if round.inconsistent > 0 {
        let message =
            format!("{progress}; {} Pods have not started their last image yet", round.inconsistent);
        return verdict(false, "WaitingForPods", message);
    }
    if !round.not_upgradable.is_empty() {
        let message = format!(
            "{progress}; {} cannot take the change in place, because more than images of containers changed (an absent \
             imagePullPolicy follows the tag); they change when they are made again",
            names(&round.not_upgradable)
        );
        return verdict(false, "NotUpgradable", message);
    }
    if round.not_selected > 0 {
        let message = format!("{progress}; updateStrategy.selector leaves out {} Pods", round.not_selected);
        return verdict(false, "NotSelected", message);
    }
    if kept > 0 {
        let message = format!("{progress}; updateStrategy.partition keeps {kept} Pods of {}", set.name);
        return verdict(false, "Partition", message);
    }
    verdict(false, "Progressing", progress.to_owned())
}

/// The rollout waits for updated Pods to become ready. If none of them will by itself, it stands still: the first bad image.
fn waiting(down: &[&PodFacts], progress: &str) -> Verdict {
    let stuck: Vec<String> = down
        .iter()
        .map_while(|pod| {
            let (container, reason) = pod.stuck()?;
            Some(format!("{}/{}: container \"{container}\": {reason:?}", pod.namespace, pod.name))
        })
        .collect();
    if stuck.is_empty() || stuck.len() < down.len() {
        return verdict(false, "WaitingForPods", format!("{progress}; waits for {}", names(down)));
    }
    let message = format!("{progress}; Pods do not become ready: {}", some_of(stuck));
    verdict(false, "PodsStuck", message)
}

/// Whether Pods missed injection.
pub(super) fn injection(missed: &Missed<'_>) -> Verdict {
    if missed.pods.is_empty() && !missed.unclear.is_empty() {
        let count = missed.unclear.len();
        let message = format!(
            "{count} Pods lack the sidecars, maybe because of matchConditions of the webhook, which only the API server can \
             evaluate; they are not replaced: {}",
            names(&missed.unclear)
        );
        return Verdict { is_true: None, reason: "MatchConditions", message };
    }
    if missed.pods.is_empty() {
        return verdict(true, "AllPodsInjected", "no Pod that the set selects lacks its sidecars");
    }
    let count = missed.pods.len();
    let message = format!(
        "{count} Pods lack the sidecars and get them when they are made again: {}",
        names(&missed.pods)
    );
    verdict(false, "PodsMissedInjection", message)
}

/// The first names of a list of Pods.
pub(super) fn names(pods: &[&PodFacts]) -> String {
    some_of(pods.iter().map(|pod| format!("{}/{}", pod.namespace, pod.name)))
}

/// The first of a list.
fn some_of(told: impl IntoIterator<Item = String, IntoIter: ExactSizeIterator>) -> String {
    let told = told.into_iter();
    let more = told.len().saturating_sub(NAMED);
    let first: Vec<String> = told.take(NAMED).collect();
    match more {
        0 => first.join(", "),
        more => format!("{} and {more} more", first.join(", ")),
    }
}

/// The merge patch of `/status`, bound to the set as it was seen; `None` if nothing changed. `verdicts` is `None` while writes are
/// waited for: then the conditions stay as they are. `are_dropped`: the API server did not keep the conditions of an earlier write.
///
/// Rules: C-STAT-5…12, C-RUST-8, C-BUG-8, C-BUG-36.
pub(super) fn write(
    set: &SetFacts,
    counts: [usize; 4],
    revisions: &RevisionPlan,
    verdicts: Option<Vec<(&'static str, Verdict)>>,
    are_dropped: bool,
    now_unix: i64,
) -> Option<Value> {
    let stored = &set.status;
    let counts = counts.map(|count| i64::try_from(count).unwrap_or(i64::MAX));
    let conditions = verdicts.map(|verdicts| conditions(set, verdicts, now_unix));
    // Where the resource definition is still upstream's, the API server drops conditions: they alone are no reason to write there.
    let are_kept = !are_dropped || !stored.conditions.is_empty();
    let is_same = set.generation <= stored.observed_generation
        && counts == stored.counts
        && revisions.latest == stored.latest_revision
        && Some(revisions.collision_count) == stored.collision_count
        && conditions.as_ref().is_none_or(|conditions| !are_kept || *conditions == stored.conditions);
    if is_same {
        return None;
    }
    let [matched, updated, ready, updated_ready] = counts;
    let or_null = |count: i64| if count == 0 { Value::Null } else { count.into() };
    let mut status = json!({
        "observedGeneration": or_null(set.generation), "matchedPods": matched, "updatedPods": updated,
        "readyPods": ready, "updatedReadyPods": or_null(updated_ready), "latestRevision": revisions.latest,
        "collisionCount": revisions.collision_count,
    });
    if let Some(conditions) = conditions {
        status["conditions"] = conditions.into();
    }
    Some(json!({"metadata": {"uid": set.uid, "resourceVersion": set.resource_version}, "status": status}))
}

/// The stored conditions with ours renewed: the time moves only if the status does, other parties' conditions stay.
fn conditions(set: &SetFacts, verdicts: Vec<(&'static str, Verdict)>, now_unix: i64) -> Vec<Value> {
    let mut conditions = set.status.conditions.clone();
    for (kind, Verdict { is_true, reason, message }) in verdicts {
        let status = match is_true {
            Some(true) => "True",
            Some(false) => "False",
            None => "Unknown",
        };
        let old = conditions.iter().position(|condition| condition["type"] == kind);
        let old_time = old.and_then(|old| conditions.get(old)).filter(|old| old["status"] == status);
        let mut now = String::new();
        format_rfc3339(now_unix, &mut now);
        let time = old_time.map(|old| text(&old["lastTransitionTime"])).filter(|time| !time.is_empty());
        let condition = json!({
            "type": kind, "status": status, "observedGeneration": set.generation,
            "lastTransitionTime": time.unwrap_or(&now), "reason": reason, "message": message,
        });
        match old.and_then(|old| conditions.get_mut(old)) {
            Some(old) => *old = condition,
            None => conditions.push(condition),
        }
    }
    conditions
}

#[cfg(test)]
mod tests;
