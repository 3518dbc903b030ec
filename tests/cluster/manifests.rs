//! The manifests, as an API server takes them.

use std::path::Path;

use serde_json::json;

use crate::control_plane::ControlPlane;
use crate::injected::{items, names};
use crate::kubectl::list;

/// `kubectl apply --dry-run=server` of what `kubectl kustomize manifests` prints.
#[test]
#[ignore = "needs a control plane: make test"]
fn an_api_server_takes_every_manifest() {
    let kubectl = ControlPlane::shared().kubectl.in_namespace("sidecarset-system");
    let manifests = Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests");
    let rendered = kubectl.ok(&["kustomize", &manifests.display().to_string()]);
    let objects =
        kubectl.run_with_input(&["create", "--dry-run=client", "-o", "json", "-f", "-"], &rendered).unwrap();
    // A dry run does not store the Namespace, and without it nothing else in it is taken: that one is really made.
    let objects: Vec<serde_json::Value> =
        serde_json::Deserializer::from_str(&objects).into_iter().collect::<Result<_, _>>().unwrap();
    let namespaces: Vec<_> = objects.iter().filter(|object| object["kind"] == "Namespace").cloned().collect();
    assert_eq!(
        names(&json!(namespaces.iter().map(|object| &object["metadata"]).collect::<Vec<_>>())),
        ["sidecarset-system"]
    );
    kubectl.create(&namespaces);

    let output = kubectl.output(&["apply", "--dry-run=server", "--filename=-"], &list(&objects)).unwrap();
    let (told, warned) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{warned}");
    assert_eq!(
        told.lines().filter(|line| line.ends_with("(server dry run)")).count(),
        objects.len(),
        "{told}"
    );
    for kind in [
        "namespace/",
        "serviceaccount/",
        "service/",
        "deployment.apps/",
        "poddisruptionbudget.policy/",
        "configmap/",
        "mutatingwebhookconfiguration.admissionregistration.k8s.io/",
        "validatingwebhookconfiguration.admissionregistration.k8s.io/",
        "customresourcedefinition.apiextensions.k8s.io/",
    ] {
        assert!(told.lines().any(|line| line.starts_with(kind)), "no {kind} in:\n{told}");
    }
    // The namespace asks for Pod Security `restricted` and for warnings: our own Pods must not cause one.
    assert!(!warned.contains("violate"), "{warned}");
}

/// What the other tests rely on when they register the webhook of `manifests/` (I-CALL-1, I-CALL-2, I-DEF-31).
#[test]
#[ignore = "needs a control plane: make test"]
fn the_registration_asks_for_every_pod_outside_the_system() {
    let configuration = crate::webhook::registration(&ControlPlane::shared().kubectl);
    let webhooks: Vec<_> = items(&configuration["webhooks"]).collect();
    assert_eq!(webhooks.len(), 1);
    assert_eq!(webhooks[0]["admissionReviewVersions"], json!(["v1", "v1beta1"]));
    assert_eq!(webhooks[0]["failurePolicy"], "Fail");
    assert_eq!(webhooks[0]["sideEffects"], "None");
    assert_eq!(webhooks[0]["clientConfig"]["service"]["path"], "/mutate-pod");
    assert_eq!(webhooks[0]["rules"][0]["resources"], json!(["pods"]));
    assert_eq!(webhooks[0]["rules"][0]["operations"], json!(["CREATE"]));
    let expressions = &webhooks[0]["namespaceSelector"]["matchExpressions"];
    assert_eq!(
        items(expressions).find(|expression| expression["key"] == "kubernetes.io/metadata.name"),
        Some(
            &json!({"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": ["kube-system", "sidecarset-system"]})
        )
    );
}
