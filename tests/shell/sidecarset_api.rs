//! The endpoints about SidecarSets themselves, through the router.

use axum::body::Body;
use axum::http::Request;
use serde_json::{Value, json};
use sidecarset::server::{self, RequestLimits};

use crate::router::{decode_patch, send};
use crate::support::{LOG_AGENT, mk_empty_state, publish};

const MUTATE: &str = "/mutate-apps-kruise-io-sidecarset";
const VALIDATE: &str = "/validate-apps-kruise-io-sidecarset";

fn mk_set(name: &str) -> Value {
    json!({
        "apiVersion": "apps.kruise.io/v1beta1", "kind": "SidecarSet", "metadata": {"name": name},
        "spec": {
            "selector": {"matchLabels": {"app": "web"}},
            "containers": [{"name": "agent", "image": "agent:1", "futureMember": {"kept": true}}],
        },
    })
}

fn mk_review(operation: &str, object: &Value, old: &Value) -> Value {
    json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": {
            "uid": "705ab4f5-6393-11e8-b7cc-42010a800002",
            "kind": {"group": "apps.kruise.io", "version": "v1beta1", "kind": "SidecarSet"},
            "resource": {"group": "apps.kruise.io", "version": "v1beta1", "resource": "sidecarsets"},
            "operation": operation, "object": object, "oldObject": old,
        },
    })
}

/// Posts to a server that has loaded `yaml` and returns HTTP status and body.
async fn post_to(yaml: &str, path: &str, body: &Value) -> (u16, Value) {
    let state = mk_empty_state(RequestLimits::default());
    publish(&state, yaml);
    let request = Request::post(path).header("content-type", "application/json");
    let request = request.body(Body::from(body.to_string())).expect("a request");
    let answer = send(server::app(state), request).await;
    (answer.status.as_u16(), answer.json())
}

async fn admit(yaml: &str, path: &str, operation: &str, object: &Value, old: &Value) -> Value {
    let (status, answer) = post_to(yaml, path, &mk_review(operation, object, old)).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer["response"]["uid"], "705ab4f5-6393-11e8-b7cc-42010a800002");
    answer["response"].clone()
}

/// The set as the mutating endpoint leaves it.
async fn defaulted(set: &Value) -> Value {
    let response = admit("", MUTATE, "CREATE", set, &Value::Null).await;
    let patch: json_patch::Patch = serde_json::from_str(&decode_patch(&response)).expect("a patch");
    let mut set = set.clone();
    json_patch::patch(&mut set, &patch).expect("it applies");
    set
}

/// Rule: A-DEF-1, A-DEF-50, A-DEF-60. Decision: D-5.
#[tokio::test]
async fn a_set_is_defaulted_and_then_left_alone() {
    let set = defaulted(&mk_set("one")).await;
    assert_eq!(set["spec"]["updateStrategy"]["type"], "RollingUpdate");
    assert_eq!(set["spec"]["containers"][0]["futureMember"], json!({"kept": true}), "no member is lost");
    assert_eq!(set["metadata"]["annotations"]["kruise.io/sidecarset-hash"].as_str().map(str::len), Some(64));
    let again = admit("", MUTATE, "UPDATE", &set, &set).await;
    assert_eq!(again["allowed"], true);
    assert!(again.get("patch").is_none(), "{again}");
}

/// Rule: A-WIRE-15. Decision: D-10.
#[tokio::test]
async fn a_denial_names_every_finding_with_its_place() {
    let mut set = defaulted(&mk_set("one")).await;
    set["spec"]["selector"] = Value::Null;
    set["spec"]["containers"][0]["podInjectPolicy"] = "Sideways".into();
    let response = admit("", VALIDATE, "CREATE", &set, &Value::Null).await;
    assert_eq!(response["allowed"], false);
    let status = &response["status"];
    assert_eq!((&status["code"], &status["reason"]), (&json!(422), &json!("Invalid")));
    let details = &status["details"];
    assert_eq!(
        (&details["name"], &details["kind"], &details["group"]),
        (&json!("one"), &json!("SidecarSet"), &json!("apps.kruise.io"))
    );
    let causes = details["causes"].as_array().expect("a list");
    assert_eq!(causes.len(), 2, "{causes:?}");
    let fields: Vec<&str> = causes.iter().filter_map(|cause| cause["field"].as_str()).collect();
    assert!(fields.is_sorted(), "{fields:?}");
    assert!(fields.contains(&"spec.selector"), "{fields:?}");
    let message = status["message"].as_str().expect("text");
    assert!(message.starts_with("SidecarSet.apps.kruise.io \"one\" is invalid: "), "{message}");
    for cause in causes {
        let text = cause["message"].as_str().expect("text");
        assert!(message.contains(text), "{text} is not in {message}");
    }
}

/// Rules: A-VAL-1, A-VAL-4, A-VAL-84. The other sets are those of the folder.
#[tokio::test]
async fn conflicts_are_seen_against_the_loaded_sets() {
    let mut set = defaulted(&mk_set("two")).await;
    set["spec"]["containers"][0]["name"] = "log-agent".into();
    let response = admit(LOG_AGENT, VALIDATE, "CREATE", &set, &Value::Null).await;
    assert_eq!(response["status"]["details"]["causes"][0]["field"], "spec.containers", "{response}");
    assert!(
        response["status"]["message"].as_str().is_some_and(|text| text.contains("logging")),
        "{response}"
    );
    let alone = admit("", VALIDATE, "CREATE", &set, &Value::Null).await;
    assert_eq!(alone["allowed"], true, "{alone}");
}

/// Decision: D-12.
#[tokio::test]
async fn what_is_probably_not_meant_is_a_warning() {
    let mut set = defaulted(&mk_set("three")).await;
    set["spec"]["patchPodMetadata"] =
        json!([{"annotations": {"key": "no json"}, "patchPolicy": "MergePatchJson"}]);
    let allow_list = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: kruise-configuration}\ndata:\n  \
         SidecarSet_PatchPodMetadata_WhiteList: '{\"rules\":[{\"allowedAnnotationKeyExprs\":[\"key\"]}]}'\n";
    let response = admit(allow_list, VALIDATE, "CREATE", &set, &Value::Null).await;
    assert_eq!(response["allowed"], true, "{response}");
    let warning = response["warnings"][0].as_str().expect("a warning");
    assert!(warning.starts_with("spec.patchPodMetadata[0].annotations[key]: found \"no json\""), "{warning}");
    let without = admit("", VALIDATE, "CREATE", &set, &Value::Null).await;
    assert_eq!(without["status"]["details"]["causes"][0]["field"], "spec.patchPodMetadata", "{without}");
}

#[tokio::test]
async fn before_the_first_sets_are_loaded_only_validation_waits() {
    let state = mk_empty_state(RequestLimits::default());
    for (path, expected) in [(MUTATE, 200), (VALIDATE, 503)] {
        let review = mk_review("CREATE", &mk_set("one"), &Value::Null);
        let request = Request::post(path).header("content-type", "application/json");
        let request = request.body(Body::from(review.to_string())).expect("a request");
        let answer = send(server::app(state.clone()), request).await;
        assert_eq!(answer.status.as_u16(), expected, "{path}");
    }
}

fn mk_conversion(version: &str, objects: &[Value]) -> Value {
    json!({
        "apiVersion": format!("apiextensions.k8s.io/{version}"), "kind": "ConversionReview",
        "request": {"uid": "c-1", "desiredAPIVersion": "apps.kruise.io/v1alpha1", "objects": objects},
    })
}

/// Rule: A-CONV-12.
#[tokio::test]
async fn both_versions_of_a_conversion_review_are_answered() {
    for version in ["v1", "v1beta1"] {
        let review = mk_conversion(version, &[mk_set("one"), mk_set("two")]);
        let (status, answer) = post_to("", "/convert", &review).await;
        assert_eq!(status, 200);
        assert_eq!(answer["apiVersion"], format!("apiextensions.k8s.io/{version}"));
        let response = &answer["response"];
        assert_eq!(response["result"], json!({"metadata": {}, "status": "Success"}));
        let converted = response["convertedObjects"].as_array().expect("a list");
        let found: Vec<_> =
            converted.iter().map(|set| (&set["apiVersion"], &set["metadata"]["name"])).collect();
        let alpha = json!("apps.kruise.io/v1alpha1");
        assert_eq!(found, [(&alpha, &json!("one")), (&alpha, &json!("two"))]);
    }
}

/// Rule: A-CONV-13.
#[tokio::test]
async fn a_bad_object_fails_a_conversion_with_its_name() {
    let mut bad = mk_set("broken");
    bad["spec"]["containers"] = json!("none");
    let (status, answer) = post_to("", "/convert", &mk_conversion("v1", &[mk_set("good"), bad])).await;
    assert_eq!(status, 200);
    let response = &answer["response"];
    assert_eq!(response["convertedObjects"], Value::Null);
    assert_eq!(
        response["result"]["message"],
        "cannot convert to \"apps.kruise.io/v1alpha1\": objects[1], SidecarSet \"broken\": spec.containers: found the string \
         \"none\", must be a list [A-WIRE-20]"
    );
}
