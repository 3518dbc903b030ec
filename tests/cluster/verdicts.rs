//! What a person sees of the webhook's verdicts through kubectl.

use std::fs;
use std::time::Duration;

use serde_json::{Value, json};

use crate::control_plane::ControlPlane;
use crate::injected::{assert_agents, assert_untouched, await_ready, named, names};
use crate::poll;
use crate::webhook::Webhook;

#[test]
#[ignore = "needs a control plane: make test"]
fn a_pod_that_no_set_matches_is_stored_as_it_was_sent() {
    let plane = ControlPlane::shared();
    let kubectl = plane.namespace("untouched", json!({}));
    let _webhook = Webhook::for_namespace(plane, &kubectl, &["agents.yaml"]);
    kubectl.ok(&["run", "other", "--image=registry.example/other:2", "--labels=app=bank"]);
    assert_untouched(&await_ready(&kubectl, "other"), &["other"]);
}

#[test]
#[ignore = "needs a control plane: make test"]
fn a_dry_run_shows_the_injected_pod_and_stores_none() {
    let plane = ControlPlane::shared();
    let kubectl = plane.namespace("dry-run", json!({}));
    let _webhook = Webhook::for_namespace(plane, &kubectl, &["agents.yaml"]);
    let pod = kubectl.json(&[
        "run",
        "cart",
        "--image=registry.example/cart:7",
        "--labels=app=shop",
        "--dry-run=server",
    ]);
    assert_agents(&pod, &[], &["cart"]);
    let answer = kubectl.refused(&["get", "pod", "cart"], "");
    assert!(answer.contains(r#"pods "cart" not found"#), "{answer}");
}

/// Decision: D-27. Rule: I-DEF-14, I-RESP-6.
#[test]
#[ignore = "needs a control plane: make test"]
fn the_text_of_a_denial_reaches_the_person() {
    let plane = ControlPlane::shared();
    let kubectl = plane.namespace("denial", json!({}));
    let _webhook = Webhook::for_namespace(plane, &kubectl, &["agents.yaml", "clash.yaml"]);
    let answer =
        kubectl.refused(&["run", "cart", "--image=registry.example/cart:7", "--labels=clash=yes"], "");
    assert!(
        answer.contains("admission webhook \"mpod.sidecarset.kruise.io\" denied the request"),
        "{answer}"
    );
    assert!(answer.contains("clash") && answer.contains("cart"), "set and container are named: {answer}");
    let answer = kubectl.refused(&["get", "pod", "cart"], "");
    assert!(answer.contains("not found"), "{answer}");
}

#[test]
#[ignore = "needs a control plane: make test"]
fn the_next_pod_has_what_the_folder_says_now() {
    let plane = ControlPlane::shared();
    let kubectl = plane.namespace("reload", json!({}));
    let webhook = Webhook::for_namespace(plane, &kubectl, &["agents.yaml"]);
    let run = |name: &str, more: &[&str]| {
        let image = "--image=registry.example/cart:7";
        kubectl.json(&[&["run", name, image, "--labels=app=shop"], more].concat())
    };
    let image = |pod: &Value| named(&pod["spec"]["containers"], "log-agent")["image"].clone();
    assert_eq!(image(&run("before", &[])), "registry.example/log-agent:3.1");

    let file = webhook.sidecarsets.join("agents.yaml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace("log-agent:3.1", "log-agent:3.2")).unwrap();
    poll::until("a Pod with the new image", Duration::from_secs(2), || {
        match image(&run("probe", &["--dry-run=server"])) {
            new if new == "registry.example/log-agent:3.2" => Ok(()),
            old => Err(old.to_string()),
        }
    })
    .unwrap();
    assert_eq!(image(&run("after", &[])), "registry.example/log-agent:3.2");
    assert_eq!(image(&kubectl.json(&["get", "pod", "before"])), "registry.example/log-agent:3.1");
}

/// Rule: I-UPD-4, I-DEF-34. Decision: D-24.
#[test]
#[ignore = "needs a control plane: make test"]
fn an_exported_pod_made_again_is_injected_once() {
    let plane = ControlPlane::shared();
    let kubectl = plane.namespace("made-again", json!({}));
    let _webhook = Webhook::for_namespace(plane, &kubectl, &["agents.yaml"]);
    kubectl.ok(&["run", "cart", "--image=registry.example/cart:7", "--labels=app=shop"]);
    let first = await_ready(&kubectl, "cart");
    let mut export = first.clone();
    export.as_object_mut().unwrap().remove("status");
    export["spec"].as_object_mut().unwrap().remove("nodeName");
    for key in ["uid", "resourceVersion", "creationTimestamp", "managedFields"] {
        export["metadata"].as_object_mut().unwrap().remove(key);
    }
    kubectl.ok(&["delete", "pod", "cart", "--timeout=60s"]);
    kubectl.create(&[export]);
    let second = await_ready(&kubectl, "cart");
    assert_ne!(second["metadata"]["uid"], first["metadata"]["uid"]);
    assert_agents(&second, &[], &["cart"]);
    assert_eq!(second["spec"], first["spec"]);
    assert_eq!(second["metadata"]["annotations"], first["metadata"]["annotations"]);
}

/// Rule: I-MATCH-6.
#[test]
#[ignore = "needs a control plane: make test"]
fn a_set_may_choose_by_a_label_of_the_namespace() {
    let plane = ControlPlane::shared();
    let labels = json!({"team": "payments"});
    let (ours, theirs) =
        (plane.namespace("team-payments", labels.clone()), plane.namespace("team-stock", json!({})));
    let webhook = Webhook::start(plane, "team-payments", &["agents.yaml", "payments.yaml"]);
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "team-payments", "labels": labels}});
    fs::write(webhook.sidecarsets.join("namespaces.yaml"), namespace.to_string()).unwrap();
    webhook.register(&ours);
    webhook.register(&theirs);
    let run = ["run", "till", "--image=registry.example/till:4", "--labels=app=bank"];
    let sidecars = |kubectl: &crate::kubectl::Kubectl| {
        let pod = kubectl.json(&[&run[..], &["--dry-run=server"]].concat());
        names(&pod["spec"]["containers"]).join(" ")
    };
    poll::until("the Namespace to be read", Duration::from_secs(5), || match sidecars(&ours).as_str() {
        "till audit-agent" => Ok(()),
        other => Err(other.to_owned()),
    })
    .unwrap();
    assert_eq!(sidecars(&theirs), "till");
}
