//! Another mutating webhook changes the Pod after us, and the API server asks us again (`reinvocationPolicy: IfNeeded`).

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::control_plane::ControlPlane;
use crate::injected::{await_ready, items, named, names};
use crate::injection::mk_set;
use crate::poll;
use crate::recorder::Recorder;
use crate::webhook::Webhook;

/// The second call sees what the other webhook added, and otherwise changes nothing: sidecars are there once, with the
/// bookkeeping of the first call.
///
/// Rule: I-UPD-4, I-UPD-6, I-DEF-33, I-DEF-34. Decision: D-24.
#[test]
#[ignore = "needs a control plane: make test"]
fn what_another_webhook_adds_is_seen_and_nothing_is_added_twice() {
    let plane = ControlPlane::shared();
    let kubectl = plane.namespace("reinvocation", json!({}));
    let set = mk_set(
        "agents",
        json!({
            "initContainers": [{
                "name": "proxy", "image": "registry.example/proxy:2", "restartPolicy": "Always",
                "upgradeStrategy": {"upgradeType": "HotUpgrade", "hotUpgradeEmptyImage": "registry.example/empty:1"},
            }],
            "containers": [{
                "name": "log-agent", "image": "registry.example/agent:1", "podInjectPolicy": "BeforeAppContainer",
                "shareVolumePolicy": {"type": "enabled"},
                "volumeMounts": [{"name": "spool", "mountPath": "/spool"}],
                "transferEnv": [{"sourceContainerName": "cart", "envNames": ["REGION", "MESH"]}],
            }],
            "volumes": [{"name": "spool", "emptyDir": {}}],
            "patchPodMetadata": [{"patchPolicy": "MergePatchJson", "annotations": {"owners": "{\"agents\":1}"}}],
            "updateStrategy": {"type": "NotUpdate"},
        }),
    );
    let allow_list = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "kruise-configuration", "namespace": "kruise-system"},
        "data": {"SidecarSet_PatchPodMetadata_WhiteList": r#"{"rules":[{"allowedAnnotationKeyExprs":["owners"]}]}"#},
    });
    let webhook = Webhook::start_with(plane, "reinvocation", |folder| {
        std::fs::write(folder.join("agents.json"), set.to_string()).unwrap();
        std::fs::write(folder.join("allow-list.json"), allow_list.to_string()).unwrap();
    });
    webhook.register_changed(&kubectl, |webhook| webhook["reinvocationPolicy"] = json!("IfNeeded"));
    let other = Recorder::answering(plane, "other-webhook", mesh);
    other.register_as(&kubectl, "z-mesh", |_| {});
    other.await_registered(&kubectl);

    kubectl.create(&[json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "cart", "labels": {"app": "shop"}},
        "spec": {"containers": [{
            "name": "cart", "image": "registry.example/cart:7", "env": [{"name": "REGION", "value": "north"}]}]},
    })]);
    let pod = await_ready(&kubectl, "cart");
    poll::until("the log to tell both calls", Duration::from_secs(10), || match webhook.admissions("cart") {
        2 => Ok(()),
        calls => Err(format!("{calls} calls")),
    })
    .unwrap();
    let first = other.last(|request| request["name"] == "cart").expect("the other webhook was asked");
    let first: Value = serde_json::from_slice::<Value>(&first).unwrap()["request"]["object"].clone();

    assert_eq!(pod["metadata"]["labels"]["mesh"], "on");
    assert_eq!(pod["metadata"]["annotations"], first["metadata"]["annotations"], "as after the first call");
    let containers = &pod["spec"]["containers"];
    assert_eq!(names(containers), ["log-agent", "cart"]);
    assert_eq!(names(&pod["spec"]["initContainers"]), ["proxy-1", "proxy-2"]);
    assert_eq!(pod["spec"]["initContainers"], first["spec"]["initContainers"]);
    let env = |name: &str| {
        let env = items(&named(containers, name)["env"]);
        env.map(|env| format!("{}={}", env["name"], env["value"]).replace('"', "")).collect::<Vec<_>>()
    };
    assert_eq!(env("cart"), ["REGION=north", "MESH=on"]);
    assert_eq!(env("log-agent"), ["IS_INJECTED=true", "MESH=on", "REGION=north"]);
    let paths = |name: &str| {
        let mounts = items(&named(containers, name)["volumeMounts"]);
        let paths = mounts.filter_map(|mount| mount["mountPath"].as_str());
        paths.filter(|path| !path.starts_with("/var/run/secrets")).collect::<Vec<_>>()
    };
    assert_eq!(paths("cart"), ["/mesh"]);
    assert_eq!(paths("log-agent"), ["/spool", "/mesh"]);
    let volumes = names(&pod["spec"]["volumes"]);
    assert_eq!(volumes.iter().filter(|name| ["spool", "mesh"].contains(name)).count(), 2, "{volumes:?}");
}

/// Adds a label, a volume, and env and a mount to the container `cart`.
fn mesh(request: &Value) -> Value {
    let containers = &request["object"]["spec"]["containers"];
    let mut patch = vec![
        json!({"op": "add", "path": "/metadata/labels/mesh", "value": "on"}),
        json!({"op": "add", "path": "/spec/volumes/-", "value": {"name": "mesh", "emptyDir": {}}}),
    ];
    if let Some(cart) = items(containers).position(|container| container["name"] == "cart") {
        let mut container = containers[cart].clone();
        container["env"].as_array_mut().unwrap().push(json!({"name": "MESH", "value": "on"}));
        container["volumeMounts"].as_array_mut().unwrap().push(json!({"name": "mesh", "mountPath": "/mesh"}));
        patch.push(json!({"op": "replace", "path": format!("/spec/containers/{cart}"), "value": container}));
    }
    json!({"patchType": "JSONPatch", "patch": STANDARD.encode(Value::from(patch).to_string())})
}
