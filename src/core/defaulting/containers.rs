//! Defaults of one container or init container of a set.

use serde_json::Value;

use super::{for_each, image, set_if_empty};
use crate::api::decode::quantity_text;
use crate::api::json::{Object, created, member};
use crate::api::quantity::{Precision, Quantity, stored_text};

/// Applies the defaults of one container; `inject_policy` is the one of its list.
///
/// A startup probe gets none (A-DEF-41).
///
/// Rule: A-DEF-16, A-DEF-17, A-DEF-18, A-DEF-19, A-DEF-30, A-DEF-32, A-DEF-33, A-DEF-34,
/// A-DEF-41.
/// Decision: D-14.
pub(super) fn default_container(container: &mut Object, inject_policy: &str) {
    set_if_empty(container, "podInjectPolicy", inject_policy);
    if let Some(upgrade) = created(container, "upgradeStrategy") {
        set_if_empty(upgrade, "upgradeType", "ColdUpgrade");
    }
    if let Some(share) = created(container, "shareVolumePolicy") {
        set_if_empty(share, "type", "disabled");
    }
    let pull_policy = image::pull_policy(container.get("image").and_then(Value::as_str).unwrap_or_default());
    set_if_empty(container, "imagePullPolicy", pull_policy);
    set_if_empty(container, "terminationMessagePath", "/dev/termination-log");
    set_if_empty(container, "terminationMessagePolicy", "File");
    for_each(container, "ports", |port| set_if_empty(port, "protocol", "TCP"));
    default_field_references(container);
    if let Some(resources) = member(container, "resources") {
        for name in ["limits", "requests"] {
            member(resources, name).into_iter().flat_map(Object::values_mut).for_each(round_up);
        }
    }
    for name in ["livenessProbe", "readinessProbe"] {
        if let Some(probe) = member(container, name) {
            default_probe(probe);
        }
    }
    if let Some(lifecycle) = member(container, "lifecycle") {
        for name in ["postStart", "preStop"] {
            if let Some(handler) = member(lifecycle, name) {
                default_http_get(handler);
            }
        }
    }
}

/// Rule: A-DEF-35, A-DEF-36, A-EDGE-1.
fn default_field_references(container: &mut Object) {
    let default = |item: &mut Object, source: &str| {
        if let Some(field) = member(item, source).and_then(|source| member(source, "fieldRef")) {
            set_if_empty(field, "apiVersion", "v1");
        }
    };
    for_each(container, "env", |env| default(env, "valueFrom"));
    for_each(container, "transferEnv", |env| default(env, "sourceContainerNameFrom"));
}

/// Replaces a quantity finer than 1/1000; any other keeps its text.
///
/// Rule: A-DEF-37.
fn round_up(value: &mut Value) {
    let Some(text) = quantity_text(value) else { return };
    let Ok(quantity) = Quantity::parse(&text) else { return };
    if quantity.round_up_to_milli() != quantity
        && let Ok(rounded) = stored_text(&text, Precision::Milli)
    {
        *value = rounded.into();
    }
}

/// Rule: A-DEF-38, A-DEF-39.
fn default_probe(probe: &mut Object) {
    for (name, default) in
        [("timeoutSeconds", 1), ("periodSeconds", 10), ("successThreshold", 1), ("failureThreshold", 3)]
    {
        set_if_empty(probe, name, default);
    }
    default_http_get(probe);
}

/// Rule: A-DEF-39, A-DEF-40.
fn default_http_get(handler: &mut Object) {
    if let Some(http) = member(handler, "httpGet") {
        set_if_empty(http, "path", "/");
        set_if_empty(http, "scheme", "HTTP");
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn defaulted(container: Value) -> Value {
        let Value::Object(mut container) = container else { panic!("not an object: {container}") };
        default_container(&mut container, "AfterAppContainer");
        container.into()
    }

    #[test]
    fn probes_and_handlers_are_filled_except_the_startup_probe() {
        let container = defaulted(json!({
            "livenessProbe": {"httpGet": {"port": 80}, "timeoutSeconds": 0},
            "readinessProbe": {"failureThreshold": 9, "periodSeconds": null},
            "startupProbe": {"httpGet": {"port": 81}},
            "lifecycle": {"preStop": {"httpGet": {"path": "/q"}}, "postStart": {"exec": {}}},
        }));
        let http = json!({"port": 80, "path": "/", "scheme": "HTTP"});
        let numbers = |failures: u32| json!({"timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": failures});
        let mut liveness = numbers(3);
        liveness["httpGet"] = http;
        assert_eq!(container["livenessProbe"], liveness);
        assert_eq!(container["readinessProbe"], numbers(9));
        assert_eq!(container["startupProbe"], json!({"httpGet": {"port": 81}}));
        let lifecycle =
            json!({"preStop": {"httpGet": {"path": "/q", "scheme": "HTTP"}}, "postStart": {"exec": {}}});
        assert_eq!(container["lifecycle"], lifecycle);
        assert_eq!(container["podInjectPolicy"], "AfterAppContainer");
    }

    #[test]
    fn only_quantities_finer_than_a_thousandth_change() {
        let resources = json!({
            "limits": {"a": "100u", "b": "1.500", "c": 0.0001, "d": 2, "e": "0100m", "f": "bad", "g": "1m"},
            "requests": {"h": "-100u", "i": " 1500u "}, "claims": [],
        });
        let rounded = json!({
            "limits": {"a": "1m", "b": "1.500", "c": "1m", "d": 2, "e": "0100m", "f": "bad", "g": "1m"},
            "requests": {"h": "-1m", "i": "2m"}, "claims": [],
        });
        assert_eq!(defaulted(json!({"resources": resources}))["resources"], rounded);
    }

    /// A-EDGE-1: upstream crashes on an empty source.
    #[test]
    fn a_transfer_without_a_field_reference_is_no_reference() {
        let transfer = json!([{"sourceContainerNameFrom": {}}, {"sourceContainerNameFrom": null}, {}]);
        assert_eq!(defaulted(json!({"transferEnv": transfer}))["transferEnv"], transfer);
    }
}
