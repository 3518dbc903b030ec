//! The manifests, as kustomize prints them and an API server takes them.

use std::fs;
use std::path::Path;
use std::process::Command;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::control_plane::ControlPlane;
use crate::injected::items;
use crate::packages::{
    assert_ca_keeps_its_key, assert_taken, by_name, judge, kustomize, kustomized, repository,
};

/// The overlay of `tests/kustomize` that needs no component.
const SELECTION: &str = "selection";
/// Where a `caBundle` can stand: pointers into the objects with these names.
const BUNDLES: [(&str, &str); 4] = [
    ("MutatingWebhookConfiguration /sidecarset", "/webhooks/0/clientConfig/caBundle"),
    ("MutatingWebhookConfiguration /sidecarset-api", "/webhooks/0/clientConfig/caBundle"),
    ("ValidatingWebhookConfiguration /sidecarset-api", "/webhooks/0/clientConfig/caBundle"),
    (
        "CustomResourceDefinition /sidecarsets.apps.kruise.io",
        "/spec/conversion/webhook/clientConfig/caBundle",
    ),
];

#[test]
#[ignore = "needs a control plane: make test"]
fn an_api_server_takes_every_manifest() {
    let all = kustomized(judge());
    assert_taken("manifests", &all);
    let text = json!(all).to_string();
    assert!(!text.contains("caBundle"), "the replicas write it, and whoever applies this must not: {text}");
}

/// What `kubectl delete -k manifests` takes away can be brought back by applying it again.
#[test]
#[ignore = "needs a control plane: make test"]
fn deleting_the_program_deletes_no_data() {
    let program = by_name(kustomize(judge(), &repository("manifests")));
    let kinds: Vec<&str> = program.keys().filter_map(|name| name.split(' ').next()).collect();
    for kind in ["CustomResourceDefinition", "Namespace", "Secret"] {
        assert!(!kinds.contains(&kind), "{kinds:?}");
    }
}

#[test]
#[ignore = "needs a control plane: make test"]
fn an_api_server_takes_the_manifests_with_each_component() {
    let overlays = repository("tests/kustomize");
    let mut seen = Vec::new();
    for entry in fs::read_dir(&overlays).unwrap() {
        let component = entry.unwrap().file_name().into_string().unwrap();
        let all = kustomize(judge(), &overlays.join(&component));
        assert_taken(&component, &all);
        seen.push(component);
    }
    seen.sort();
    let mut components: Vec<String> = fs::read_dir(repository("manifests/components"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    components.push(SELECTION.to_owned());
    components.sort();
    assert_eq!(seen, components, "each component has an overlay in tests/kustomize");
}

#[test]
#[ignore = "needs a control plane: make test"]
fn components_change_what_they_say() {
    let with = |component: &str| by_name(kustomize(judge(), &repository("tests/kustomize").join(component)));
    let pods = |component: &str| {
        let configuration = with(component).remove("MutatingWebhookConfiguration /sidecarset").unwrap();
        configuration["webhooks"][0].clone()
    };
    assert_eq!(pods("fail-open")["failurePolicy"], "Ignore");
    let selector = &pods("opt-in")["namespaceSelector"];
    assert_eq!(selector["matchLabels"], json!({"sidecarset.kruise.io/injection": "enabled"}));
    assert_eq!(items(&selector["matchExpressions"]).count(), 1, "our own namespace stays exempt");

    let cert_manager = with("cert-manager");
    let inject = "/metadata/annotations/cert-manager.io~1inject-ca-from";
    for (object, _) in BUNDLES {
        let from = cert_manager[object].pointer(inject);
        assert_eq!(from, Some(&json!("sidecarset-system/sidecarset-serving-cert")), "{object}");
    }
    assert_ca_keeps_its_key(&cert_manager);
    let rights = |component: &str| with(component).keys().filter(|name| name.contains("Role")).count();
    assert_eq!(rights("fail-open"), 16);
    assert_eq!(rights("own-certificate"), 12, "none about certificates");
    assert_eq!(rights("webhook-only"), 12, "none of the controller");
    assert_eq!(rights("folder"), 0, "a folder needs no API server");

    for component in ["webhook-only", "folder"] {
        let left: Vec<String> =
            with(component).into_keys().filter(|name| name.contains("controller")).collect();
        assert_eq!(left, Vec::<String>::new(), "{component}");
    }
    let more = |component: &str, role: &str| with(component).remove(&format!("ClusterRole /{role}")).unwrap();
    let repair = more("repair", "sidecarset-controller-repair");
    assert_eq!(
        repair["rules"],
        json!([{"apiGroups": [""], "resources": ["pods/eviction"], "verbs": ["create"]}])
    );
    assert_eq!(items(&more("terminator", "sidecarset-controller-terminator")["rules"]).count(), 3);
    let controller = &with("terminator")["Deployment sidecarset-system/sidecarset-controller"];
    let args = &controller["spec"]["template"]["spec"]["containers"][0]["args"];
    assert!(items(args).any(|arg| arg == "--terminator"), "{args}");

    let pod = &with("folder")["Deployment sidecarset-system/sidecarset-webhook"]["spec"]["template"]["spec"];
    assert_eq!(pod["automountServiceAccountToken"], false);
    let args: Vec<&str> = items(&pod["containers"][0]["args"]).filter_map(Value::as_str).collect();
    for flag in ["--sidecarsets=/etc/sidecarset/sidecarsets", "--cert-dir=/etc/sidecarset/tls"] {
        assert!(args.contains(&flag), "{args:?}");
    }
    assert_eq!(items(&pod["volumes"]).count(), 2);
}

/// Rule: C-RBAC-13.
#[test]
#[ignore = "needs a control plane: make test"]
fn roles_for_people() {
    let objects = by_name(kustomize(judge(), &repository("manifests")));
    let rules = |verbs: &[&str]| {
        let rule = |resource: &str, verbs: &[&str]| json!({"apiGroups": ["apps.kruise.io"], "resources": [resource], "verbs": verbs});
        json!([rule("sidecarsets", verbs), rule("sidecarsets/status", &["get"])])
    };
    let every = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];
    for (name, verbs) in [("editor", &every[..]), ("viewer", &["get", "list", "watch"])] {
        let role = &objects[&format!("ClusterRole /sidecarset-{name}")];
        assert_eq!(role["rules"], rules(verbs), "{name}");
        let labels = role["metadata"]["labels"].as_object().unwrap();
        assert!(
            !labels.keys().any(|label| label.contains("aggregate")),
            "a set concerns all namespaces: {labels:?}"
        );
    }
}

/// `certs/make.sh && kubectl apply -k certs`, in a copy of the folders so that no key is left here.
#[test]
#[ignore = "needs a control plane: make test"]
fn the_certificates_of_certs_become_the_secret_and_every_ca_bundle() {
    let copy = judge().cache.join("repository");
    fs::create_dir_all(&copy).unwrap();
    let folders = ["certs", "examples", "manifests"].map(repository);
    assert!(Command::new("cp").arg("-R").args(folders).arg(&copy).status().unwrap().success());
    let certs = copy.join("certs");
    let made = Command::new(certs.join("make.sh")).arg("--force").output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));

    let all = kustomize(judge(), &certs);
    assert_taken("certs", &all);
    let all = by_name(all);
    let found = |object: &str, pointer: &str| {
        // kustomize folds long lines.
        all[object].pointer(pointer).and_then(Value::as_str).map(|text| text.replace('\n', ""))
    };
    let encoded = |path: &Path| Some(STANDARD.encode(fs::read(path).unwrap()));
    for (object, pointer) in BUNDLES {
        assert_eq!(found(object, pointer), encoded(&certs.join("ca.crt")), "{object}");
    }
    let secret = "Secret sidecarset-system/sidecarset-serving-cert";
    assert_eq!(found(secret, "/data/tls.key"), encoded(&certs.join("tls.key")));
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
