//! What the API server's audit log says of an admission.

use std::fs;
use std::time::Duration;

use serde_json::{Value, json};

use crate::control_plane::ControlPlane;
use crate::poll;
use crate::webhook::Webhook;

/// Annotations of webhooks on the creation of Pods in a namespace, prefixes cut off, oldest first.
fn annotations(plane: &ControlPlane, namespace: &str) -> Vec<Value> {
    let log = fs::read_to_string(plane.audit_log()).unwrap_or_default();
    let events = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    events
        .filter(|event| event["objectRef"]["namespace"] == namespace)
        .map(|event| {
            let all = event["annotations"].as_object().cloned().unwrap_or_default();
            let ours = all.into_iter().filter_map(|(key, value)| {
                Some((key.strip_prefix("mpod.sidecarset.kruise.io/")?.to_owned(), value))
            });
            Value::Object(ours.collect())
        })
        .collect()
}

/// Decision: D-22, D-27.
#[test]
#[ignore = "needs a control plane: make test"]
fn the_audit_log_says_what_was_injected_and_what_was_denied_for_which_set() {
    let plane = ControlPlane::shared();
    let kubectl = plane.namespace("audited", json!({}));
    let _webhook = Webhook::for_namespace(plane, &kubectl, &["agents.yaml", "clash.yaml"]);
    kubectl.ok(&["run", "web", "--image=registry.example/cart:7", "--labels=app=shop"]);
    kubectl.refused(&["run", "cart", "--image=registry.example/cart:7", "--labels=clash=yes"], "");
    poll::until("both in the audit log", Duration::from_secs(20), || {
        let found = annotations(plane, &kubectl.namespace);
        let says = |key: &str, value: &str| found.iter().any(|annotations| annotations[key] == value);
        if says("injected", "agents") && says("denied", "clash [D-27]") {
            Ok(())
        } else {
            Err(format!("{found:?}"))
        }
    })
    .unwrap();
}
