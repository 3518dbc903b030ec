//! Trials: objects that are sent as a dry run and stored nowhere, to see whether the API server reaches the webhook.

use serde_json::{Value, json};

/// Label that our trial Pod carries and that no set should ask for.
pub const LABEL: &str = "sidecarset.kruise.io/preflight";

/// What the API server answered to a dry run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It would store this.
    Stored(Value),
    /// It would not: HTTP status and message.
    Refused(u16, String),
}

/// A Pod that was tried.
#[derive(Debug, Clone)]
pub struct PodTrial {
    /// Where.
    pub namespace: String,
    /// The labels of that namespace, empty if they could not be read.
    pub namespace_labels: Value,
    /// The labels of the Pod.
    pub labels: Value,
    /// What the API server said.
    pub answer: Answer,
    /// What its counters said.
    pub calls: Calls,
}

/// Whether the API server has called a webhook, from its own metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Calls {
    /// Its metrics cannot be read.
    Unknown,
    /// It did not.
    None,
    /// It did, and got an answer.
    Answered,
    /// It did, and went on without an answer.
    FailedOpen,
}

/// Counters of one webhook in the API server's metrics.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Counters {
    /// Calls, whatever came out.
    pub calls: f64,
    /// Calls without an answer that `failurePolicy: Ignore` let pass.
    pub failed_open: f64,
}

impl Counters {
    /// Reads them from the text of `/metrics`.
    #[must_use]
    pub fn read(metrics: &str, webhook: &str) -> Self {
        let label = format!("name=\"{webhook}\"");
        let sum = |metric: &str| {
            metrics
                .lines()
                .filter_map(|line| line.strip_prefix(metric)?.strip_prefix('{')?.split_once('}'))
                .filter(|(labels, _)| labels.contains(&label))
                .filter_map(|(_, value)| value.trim().parse::<f64>().ok())
                .sum()
        };
        Self {
            calls: sum("apiserver_admission_webhook_admission_duration_seconds_count"),
            failed_open: sum("apiserver_admission_webhook_fail_open_count"),
        }
    }

    /// What happened between two readings.
    #[must_use]
    pub fn until(self, later: Self) -> Calls {
        if later.failed_open > self.failed_open {
            Calls::FailedOpen
        } else if later.calls > self.calls {
            Calls::Answered
        } else {
            Calls::None
        }
    }
}

/// SidecarSets that were tried, in the version that is not stored, so that the API server has to convert.
#[derive(Debug, Clone)]
pub struct SetTrial {
    /// What became of one that nothing is wrong with.
    pub good: Answer,
    /// What became of one that has to be refused.
    pub bad: Answer,
}

/// The Pod to try. It meets every Pod Security standard and asks for little, so that nothing but webhooks can be in its way.
#[must_use]
pub fn pod(labels: &Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "sidecarset-preflight", "labels": labels},
        "spec": {
            "automountServiceAccountToken": false,
            "securityContext": {"runAsNonRoot": true, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{
                "name": "none", "image": "none.invalid/none:none",
                "resources": {"requests": {"cpu": "1m", "memory": "1Mi"}, "limits": {"cpu": "1m", "memory": "1Mi"}},
                "securityContext": {
                    "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]},
                },
            }],
        },
    })
}

/// A set to try, that matches no Pod; or, without a selector, one that has to be refused.
#[must_use]
pub fn set(selects: bool) -> Value {
    let selector = if selects { json!({"matchLabels": {LABEL: "none"}}) } else { Value::Null };
    json!({
        "apiVersion": "apps.kruise.io/v1alpha1", "kind": "SidecarSet", "metadata": {"name": "sidecarset-preflight"},
        "spec": {
            "selector": selector,
            "containers": [{"name": "none", "image": "none.invalid/none:none"}],
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const METRICS: &str = "\
# HELP apiserver_admission_webhook_admission_duration_seconds [STABLE] Latency
apiserver_admission_webhook_admission_duration_seconds_bucket{name=\"a\",le=\"0.005\"} 90
apiserver_admission_webhook_admission_duration_seconds_count{name=\"a\",operation=\"CREATE\",rejected=\"false\",type=\"admit\"} 3
apiserver_admission_webhook_admission_duration_seconds_count{name=\"a\",operation=\"CREATE\",rejected=\"true\",type=\"admit\"} 4
apiserver_admission_webhook_admission_duration_seconds_count{name=\"ab\",operation=\"CREATE\",rejected=\"false\",type=\"admit\"} 50
apiserver_admission_webhook_fail_open_count{name=\"a\",type=\"admit\"} 2
";

    #[test]
    fn counters_are_those_of_one_webhook() {
        let counters = |calls, failed_open| Counters { calls, failed_open };
        assert_eq!(Counters::read(METRICS, "a"), counters(7.0, 2.0));
        assert_eq!(Counters::read(METRICS, "ab"), counters(50.0, 0.0));
        assert_eq!(Counters::read(METRICS, "b"), counters(0.0, 0.0));
        for (before, after, expected) in [
            ((7.0, 2.0), (7.0, 2.0), Calls::None),
            ((7.0, 2.0), (8.0, 2.0), Calls::Answered),
            ((7.0, 2.0), (8.0, 3.0), Calls::FailedOpen),
        ] {
            assert_eq!(counters(before.0, before.1).until(counters(after.0, after.1)), expected);
        }
    }
}
