//! How far a rollout is and what it waits for, read from a SidecarSet as its controller has written it.

use kube::ResourceExt as _;
use kube::api::DynamicObject;
use serde::Serialize;
use serde_json::Value;
use sidecarset_core::control::status::{INJECTION_COMPLETE, ROLLOUT_COMPLETE};

use super::pods::PodsSeen;
use crate::cli::printer::one_line;

/// Where a rollout stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum State {
    /// Every Pod runs what the set says.
    Done,
    /// Every Pod that partition and updateStrategy.selector let go does; the others are kept on purpose.
    Held,
    /// It goes on by itself.
    Progressing,
    /// Somebody has to do something.
    Blocked,
}

/// Whether Pods missed injection.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Injection {
    /// None did.
    pub(super) complete: bool,
    /// Which did, for people.
    pub(super) message: String,
}

/// One rollout.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Report {
    pub(super) name: String,
    pub(super) state: State,
    /// A word for programs: the reason of the condition, or `NotSeen` or `NoCondition`.
    pub(super) reason: String,
    /// The same for people.
    pub(super) message: String,
    /// What to do about it; empty if nothing is to be done.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(super) advice: &'static str,
    pub(super) matched_pods: i64,
    pub(super) updated_pods: i64,
    pub(super) ready_pods: i64,
    pub(super) updated_ready_pods: i64,
    pub(super) latest_revision: String,
    /// Absent if the controller does not tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) injection: Option<Injection>,
    /// Absent if nothing is to be told about them, or they may not be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) pods: Option<PodsSeen>,
}

impl Report {
    /// Reads the status of a set.
    ///
    /// Rule: C-STAT-1…13.
    pub(super) fn new(set: &DynamicObject) -> Self {
        let status = &set.data["status"];
        let count = |member: &str| status[member].as_i64().unwrap_or_default();
        let [matched, updated, ready, updated_ready] =
            ["matchedPods", "updatedPods", "readyPods", "updatedReadyPods"].map(count);
        let progress = format!("{updated} of {matched} Pods updated, {updated_ready} of these ready");
        let generation = set.metadata.generation.unwrap_or_default();
        let condition = |kind: &str| {
            let conditions = status["conditions"].as_array();
            let of_kind = conditions.into_iter().flatten().find(|condition| condition["type"] == kind);
            // What it said about the set before its last change does not count.
            of_kind.filter(|condition| {
                condition["observedGeneration"].as_i64().is_none_or(|seen| seen >= generation)
            })
        };
        let (state, reason, message) = if count("observedGeneration") < generation {
            let message = format!("{progress}; the controller has not seen the last change of the set yet");
            (State::Progressing, "NotSeen", message)
        } else if let Some(condition) = condition(ROLLOUT_COMPLETE) {
            let reason = condition["reason"].as_str().unwrap_or_default();
            (state(condition["status"] == "True", reason), reason, text(&condition["message"]))
        } else if updated == matched && updated_ready == matched {
            (State::Done, "NoCondition", progress)
        } else {
            (State::Progressing, "NoCondition", progress)
        };
        let injection = condition(INJECTION_COMPLETE).map(|condition| Injection {
            complete: condition["status"] == "True",
            message: text(&condition["message"]),
        });
        Self {
            name: set.name_any(),
            state,
            reason: one_line(reason),
            message,
            advice: advice(reason),
            matched_pods: matched,
            updated_pods: updated,
            ready_pods: ready,
            updated_ready_pods: updated_ready,
            latest_revision: text(&status["latestRevision"]),
            injection,
            pods: None,
        }
    }
}

/// The reasons are those of `core::control::status`. One that we do not know may go away by itself.
fn state(is_true: bool, reason: &str) -> State {
    match reason {
        _ if is_true => State::Done,
        "Partition" | "NotSelected" => State::Held,
        "InvalidSelector" | "MaxUnavailable" | "NotUpdate" | "NotUpgradable" | "Paused" | "PodsStuck" => {
            State::Blocked
        }
        _ => State::Progressing,
    }
}

fn advice(reason: &str) -> &'static str {
    match reason {
        "Paused" => "sidecarset rollout resume NAME",
        "NotUpdate" => {
            "set updateStrategy.type to RollingUpdate, or make the Pods again (kubectl rollout restart)"
        }
        "Partition" => "lower updateStrategy.partition to go on",
        "NotSelected" => "widen updateStrategy.selector to go on",
        "MaxUnavailable" => "raise updateStrategy.maxUnavailable: it comes to 0 Pods",
        "NotUpgradable" => "make the Pods again (kubectl rollout restart of their workloads)",
        "InvalidSelector" => "correct the selector",
        "PodsStuck" => "correct what the message names, or sidecarset rollout undo NAME",
        "WriteFailed" => "look at what refuses the write; it is tried again by itself",
        "NotSeen" => "if this stays so, look at the controller: kubectl -n sidecarset-system get pods",
        _ => "",
    }
}

fn text(value: &Value) -> String {
    one_line(value.as_str().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A set of generation 3 with this condition RolloutComplete.
    fn set(condition: &Value, observed: i64) -> DynamicObject {
        let mut conditions = vec![json!({
            "type": INJECTION_COMPLETE, "status": "False", "observedGeneration": 3,
            "reason": "PodsMissedInjection", "message": "2 Pods lack the sidecars",
        })];
        if condition.is_object() {
            conditions.push(condition.clone());
        }
        serde_json::from_value(json!({
            "apiVersion": "apps.kruise.io/v1beta1", "kind": "SidecarSet",
            "metadata": {"name": "log-agent", "generation": 3}, "spec": {},
            "status": {
                "observedGeneration": observed, "matchedPods": 10, "updatedPods": 7, "readyPods": 9,
                "updatedReadyPods": 6, "latestRevision": "log-agent-5d", "conditions": conditions,
            },
        }))
        .expect("a set")
    }

    fn condition(status: &str, reason: &str, generation: i64) -> Value {
        json!({
            "type": ROLLOUT_COMPLETE, "status": status, "reason": reason, "message": "a\nb",
            "observedGeneration": generation,
        })
    }

    #[test]
    fn the_condition_tells_the_state() {
        for (status, reason, expected) in [
            ("True", "AllPodsUpdated", State::Done),
            ("False", "Partition", State::Held),
            ("False", "NotSelected", State::Held),
            ("False", "Paused", State::Blocked),
            ("False", "NotUpgradable", State::Blocked),
            ("False", "MaxUnavailable", State::Blocked),
            ("False", "PodsStuck", State::Blocked),
            ("False", "WaitingForPods", State::Progressing),
            ("False", "WriteFailed", State::Progressing),
            ("False", "OfTheFuture", State::Progressing),
        ] {
            let report = Report::new(&set(&condition(status, reason, 3), 3));
            assert_eq!(
                (report.state, report.reason.as_str(), report.message.as_str()),
                (expected, reason, "a b")
            );
        }
        let report = Report::new(&set(&condition("True", "AllPodsUpdated", 3), 3));
        let counts = [report.matched_pods, report.updated_pods, report.ready_pods, report.updated_ready_pods];
        assert_eq!(counts, [10, 7, 9, 6]);
        assert_eq!(report.injection.map(|injection| injection.complete), Some(false));
    }

    /// After a change, everything that the status says is about the set as it was.
    #[test]
    fn what_was_said_before_the_last_change_does_not_count() {
        let report = Report::new(&set(&condition("True", "AllPodsUpdated", 2), 2));
        assert_eq!((report.state, report.reason.as_str()), (State::Progressing, "NotSeen"));
        // The counters are of now and the condition is not yet: the controller waits for what it wrote.
        let report = Report::new(&set(&condition("True", "AllPodsUpdated", 2), 3));
        assert_eq!((report.state, report.reason.as_str()), (State::Progressing, "NoCondition"));
    }

    /// The status that OpenKruise's controller leaves has no conditions.
    #[test]
    fn without_conditions_the_counters_tell() {
        let mut all = set(&Value::Null, 3);
        assert_eq!(Report::new(&all).state, State::Progressing);
        all.data["status"]["updatedPods"] = json!(10);
        all.data["status"]["updatedReadyPods"] = json!(10);
        assert_eq!(Report::new(&all).state, State::Done);
    }
}
