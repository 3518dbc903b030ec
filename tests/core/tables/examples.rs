//! I-EX-1, I-EX-2, I-EX-3: whole requests.

use serde_json::{Value, json};
use sidecarset_core::admission::Verdict;

use super::{annotation, column, container, env, mk_set, mount, pod_a};
use crate::world::{CONTEXT, World, apply, decide};

/// A container as defaulting completes it when its set is loaded.
fn defaulted(mut container: Value) -> Value {
    container["imagePullPolicy"] = json!("IfNotPresent");
    container["terminationMessagePath"] = json!("/dev/termination-log");
    container["terminationMessagePolicy"] = json!("File");
    container
}

/// Rules: I-CONST-1, I-CONST-2, I-CONST-3, I-CONST-8.
#[test]
fn i_ex_1_a_cold_sidecar() {
    let mut set = mk_set(
        "agents",
        "H1",
        json!({
            "containers": [{
                "name": "log-agent", "image": "log-agent:1.0", "podInjectPolicy": "AfterAppContainer",
                "shareVolumePolicy": {"type": "enabled"}, "volumeMounts": [mount("spool", "/spool")],
                "transferEnv": [{"sourceContainerName": "nginx", "envNames": ["hello2", "missing"]}],
            }],
            "volumes": [{"name": "spool", "emptyDir": {}}],
            "imagePullSecrets": [{"name": "agents-pull"}],
            "patchPodMetadata": [{"patchPolicy": "MergePatchJson", "annotations": {"oom-score": "{\"log-agent\": 1}"}}],
        }),
    );
    set["metadata"]["annotations"]["kruise.io/sidecarset-hash-without-image"] = json!("W1");
    set["status"] = json!({"latestRevision": "agents-5b8f"});
    let mut pod = pod_a();
    pod["spec"].as_object_mut().unwrap().remove("initContainers");
    let decision = decide(&World::of([set]).snapshot(), &CONTEXT, &pod.to_string());

    let Verdict::Patch(text) = &decision.verdict else { panic!("{decision:?}") };
    let operations: Value = serde_json::from_str(text).unwrap();
    let paths = ["/metadata/annotations", "/spec/containers/-", "/spec/volumes/-", "/spec/imagePullSecrets"];
    assert_eq!(column(&operations, "op"), ["add"; 4]);
    assert_eq!(column(&operations, "path"), paths);

    let mut expected = pod.clone();
    expected["metadata"]["annotations"] = json!({
        "oom-score": "{\"log-agent\": 1}",
        "kruise.io/sidecarset-hash": "{\"agents\":{\"updateTimestamp\":\"2023-11-14T22:13:20Z\",\"hash\":\"H1\",\
            \"sidecarSetName\":\"agents\",\"sidecarList\":[\"log-agent\"],\"controllerRevision\":\"agents-5b8f\"}}",
        "kruise.io/sidecarset-hash-without-image": "{\"agents\":{\"updateTimestamp\":\"2023-11-14T22:13:20Z\",\"hash\":\"W1\",\
            \"sidecarSetName\":\"agents\",\"sidecarList\":[\"log-agent\"]}}",
        "kruise.io/sidecarset-injected-list": "agents",
    });
    expected["spec"]["containers"] = json!([
        pod["spec"]["containers"][0],
        defaulted(json!({
            "name": "log-agent", "image": "log-agent:1.0",
            "env": [{"name": "IS_INJECTED", "value": "true"}, {"name": "hello2", "value": "world2"}],
            "volumeMounts": [mount("spool", "/spool"), mount("volume-a", "/a/b"), mount("volume-b", "/e/f")],
        }))
    ]);
    expected["spec"]["volumes"] =
        json!([{"name": "volume-a"}, {"name": "volume-b"}, {"name": "spool", "emptyDir": {}}]);
    expected["spec"]["imagePullSecrets"] = json!([{"name": "agents-pull"}]);
    assert_eq!(apply(&pod, &decision), expected);
}

fn mk_mesh(image: &str) -> World {
    World::of([mk_set(
        "mesh",
        image,
        json!({"containers": [{
        "name": "envoy", "image": image, "env": [{"name": "A", "value": "1"}], "podInjectPolicy": "BeforeAppContainer",
        "upgradeStrategy": {"upgradeType": "HotUpgrade", "hotUpgradeEmptyImage": "empty:1"}}]}),
    )])
}

fn mk_app() -> Value {
    json!({"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "app", "image": "app:1"}]}})
}

/// Rules: I-CONST-6, I-CONST-7, I-CONST-8, I-CONST-9, I-CONST-10, I-CONST-11.
#[test]
fn i_ex_2_a_hot_sidecar() {
    let pod = mk_mesh("envoy:1").inject(&mk_app());
    assert_eq!(column(&pod["spec"]["containers"], "name"), ["envoy-1", "envoy-2", "app"]);
    assert_eq!(column(&pod["spec"]["containers"], "image"), ["envoy:1", "empty:1", "app:1"]);
    for name in ["envoy-1", "envoy-2"] {
        let expected = [
            "A=1".to_owned(),
            "IS_INJECTED=true".to_owned(),
            format!("SIDECARSET_VERSION<-metadata.annotations['version.sidecarset.kruise.io/{name}']"),
            format!("SIDECARSET_VERSION_ALT<-metadata.annotations['versionalt.sidecarset.kruise.io/{name}']"),
        ];
        assert_eq!(env(&pod, name), expected);
    }
}

/// Rules: I-CONST-4, I-CONST-6, I-CONST-7.
#[test]
fn i_ex_3_a_pod_that_was_hot_upgraded() {
    let mut pod = mk_mesh("envoy:1").inject(&mk_app());
    pod["spec"]["containers"][0]["image"] = json!("empty:1");
    pod["spec"]["containers"][1]["image"] = json!("envoy:2");
    let annotations = &mut pod["metadata"]["annotations"];
    annotations["kruise.io/sidecarset-working-hotupgrade-container"] = json!("{\"envoy\":\"envoy-2\"}");
    for (name, version) in [("envoy-1", "5"), ("envoy-2", "7")] {
        annotations[format!("version.sidecarset.kruise.io/{name}")] = json!(version);
    }
    let pod = mk_mesh("envoy:3").inject(&pod);
    assert_eq!(column(&pod["spec"]["containers"], "name"), ["envoy-1", "envoy-2", "app"]);
    assert_eq!(container(&pod, "envoy-1")["image"], "envoy:3");
    assert_eq!(container(&pod, "envoy-2")["image"], "empty:1");
    for (key, value) in [
        ("kruise.io/sidecarset-working-hotupgrade-container", "{\"envoy\":\"envoy-1\"}"),
        ("version.sidecarset.kruise.io/envoy-1", "1"),
        ("versionalt.sidecarset.kruise.io/envoy-1", "0"),
        ("version.sidecarset.kruise.io/envoy-2", "0"),
        ("versionalt.sidecarset.kruise.io/envoy-2", "1"),
    ] {
        assert_eq!(annotation(&pod, key), value, "{key}");
    }
    let hash = super::annotation_json(&pod, "kruise.io/sidecarset-hash");
    assert_eq!(hash["mesh"]["hash"], "envoy:3", "the entry was written anew");
}
