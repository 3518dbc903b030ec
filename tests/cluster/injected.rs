//! What a Pod must look like after `agents.yaml` was injected, asserted on the object that the API server stored.

use serde_json::{Value, json};

use crate::kubectl::Kubectl;

/// Asserts that the set `agents` was injected once, around these init and app containers of the Pod's author.
#[track_caller]
pub(crate) fn assert_agents(pod: &Value, own_init: &[&str], own: &[&str]) {
    assert_eq!(names(&pod["spec"]["containers"]), [&["log-agent"], own, &["metrics-agent"]].concat());
    assert_eq!(names(&pod["spec"]["initContainers"]), [&["proxy"], own_init, &["prepare-spool"]].concat());
    for list in ["containers", "initContainers"] {
        for container in items(&pod["spec"][list]) {
            let name = container["name"].as_str().unwrap_or_default();
            let marks = items(&container["env"])
                .filter(|env| **env == json!({"name": "IS_INJECTED", "value": "true"}));
            let expected = usize::from(!own.contains(&name) && !own_init.contains(&name));
            assert_eq!(marks.count(), expected, "IS_INJECTED of {name}");
        }
    }
    assert_eq!(named(&pod["spec"]["initContainers"], "proxy")["restartPolicy"], "Always");
    assert_eq!(named(&pod["spec"]["initContainers"], "prepare-spool").get("restartPolicy"), None);
    let log_agent = named(&pod["spec"]["containers"], "log-agent");
    assert_eq!(log_agent["image"], "registry.example/log-agent:3.1");
    assert_eq!(log_agent["env"][0], json!({"name": "SPOOL", "value": "/spool"}));
    assert_eq!(log_agent["resources"], json!({"requests": {"cpu": "10m", "memory": "24Mi"}}));
    assert_eq!(log_agent["volumeMounts"][0], json!({"name": "spool", "mountPath": "/spool"}));

    let volumes = &pod["spec"]["volumes"];
    assert_eq!(named(volumes, "spool")["emptyDir"], json!({"sizeLimit": "64Mi"}));
    assert_eq!(named(volumes, "proxy-config")["configMap"]["name"], "proxy");
    assert!(!names(volumes).contains(&"not-used"), "nothing mounts it: {volumes}");
    assert_eq!(pod["spec"]["imagePullSecrets"], json!([{"name": "registry-agents"}]));
    assert_annotations(pod);
}

#[track_caller]
fn assert_annotations(pod: &Value) {
    assert_eq!(annotation(pod, "kruise.io/sidecarset-injected-list"), "agents");
    // Of the set with its defaults, computed apart from this program in the way that I-REV-11 describes.
    for (key, hash) in [
        ("kruise.io/sidecarset-hash", "44wbvxdfdf52z244wxdbfx45f8x4fd6v558b89dbv57cdx6dzf2d4w54c4wz4592"),
        (
            "kruise.io/sidecarset-hash-without-image",
            "f24xw88w6vcd4zvxx6v497dbxv6d92dfwzwxxzc54fc44xx59ww574bz8798777v",
        ),
    ] {
        let entries: Value = serde_json::from_str(annotation(pod, key)).unwrap();
        assert_eq!(entries.as_object().map(|entries| entries.len()), Some(1), "{key}");
        let entry = &entries["agents"];
        assert_eq!(entry["sidecarSetName"], "agents");
        assert_eq!(entry["sidecarList"], json!(["log-agent", "metrics-agent", "proxy"]));
        let time = entry["updateTimestamp"].as_str().unwrap_or_default();
        assert!(time.starts_with("20") && time.ends_with('Z') && time.len() == 20, "{key}: {entries}");
        assert_eq!(entry["hash"], hash, "{key}");
    }
}

/// Asserts that the webhook did nothing to a Pod with these containers.
#[track_caller]
pub(crate) fn assert_untouched(pod: &Value, own: &[&str]) {
    assert_eq!(names(&pod["spec"]["containers"]), own);
    assert_eq!(pod["spec"].get("initContainers"), None);
    assert_eq!(pod["spec"].get("imagePullSecrets"), None);
    let text = pod.to_string();
    assert!(!text.contains("kruise.io") && !text.contains("IS_INJECTED"), "{text}");
}

/// Waits until the Pod is Ready, also in the kubelet's view of every container.
#[track_caller]
pub(crate) fn await_ready(kubectl: &Kubectl, pod: &str) -> Value {
    kubectl.ok(&["wait", "--for=condition=Ready", &format!("pod/{pod}"), "--timeout=90s"]);
    let pod = kubectl.json(&["get", "pod", pod]);
    assert_eq!(
        names(&pod["status"]["containerStatuses"]).len(),
        names(&pod["spec"]["containers"]).len(),
        "the kubelet runs every container"
    );
    pod
}

/// The value of a Pod's annotation, empty if it has none.
pub(crate) fn annotation<'a>(pod: &'a Value, key: &str) -> &'a str {
    pod["metadata"]["annotations"][key].as_str().unwrap_or_default()
}

/// The element of a list with this name, null if there is none.
pub(crate) fn named<'a>(list: &'a Value, name: &str) -> &'a Value {
    items(list).find(|item| item["name"] == name).unwrap_or(&Value::Null)
}

/// The names of a list's elements, in order.
pub(crate) fn names(list: &Value) -> Vec<&str> {
    items(list).filter_map(|item| item["name"].as_str()).collect()
}

/// The elements of a list; none if it is no list.
pub(crate) fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}
