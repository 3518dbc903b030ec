//! I-T-ENV, I-T-FLD, I-T-HOT: environment and hot pairs.

use serde_json::{Value, json};

use super::{annotation, annotation_json, column, container, env, mk_set, pod_a, s1};
use crate::world::World;

/// A Pod whose container `main` has this env.
fn mk_pod(labels: Value, annotations: Value, env: &[(&str, &str)]) -> Value {
    let env: Value = env.iter().map(|(name, value)| json!({"name": name, "value": value})).collect();
    let mut pod = json!({
        "metadata": {"labels": {"app": "web"}, "annotations": annotations},
        "spec": {"containers": [{"name": "main", "env": env}]},
    });
    for (key, value) in labels.as_object().unwrap() {
        pod["metadata"]["labels"][key] = value.clone();
    }
    pod
}

/// Env of a sidecar with this `transferEnv`.
fn transferred(pod: &Value, own: Value, transfer: Value) -> Vec<String> {
    let set =
        mk_set("s", "h", json!({"containers": [{"name": "side", "env": own, "transferEnv": transfer}]}));
    env(&World::of([set]).inject(pod), "side")
}

fn from_field(path: &str, names: &[&str]) -> Value {
    json!([{"sourceContainerNameFrom": {"fieldRef": {"fieldPath": path}}, "envNames": names}])
}

#[test]
fn i_t_env() {
    let one = [("test-env", "test-value")];
    let many = [("POD_NAME", "bar"), ("OD_NAME", "od_name"), ("PROXY_IP", "127.0.0.1")];
    let own = json!([{"name": "OD_NAME", "value": "sidecar_name"}, {"name": "SidecarName", "value": "X"}]);
    let entry = |name: &str| json!({"sourceContainerName": "main", "envName": name});
    let all = ["POD_NAME", "OD_NAME", "PROXY_IP"];
    let both = json!([{
        "sourceContainerName": "main", "envName": "POD_NAME",
        "sourceContainerNameFrom": {"fieldRef": {"fieldPath": "metadata.labels['biz']"}}}]);
    let none = || json!([]);
    let rows: [(&str, Value, Value, Value, &[&str]); 8] = [
        (
            "by name",
            mk_pod(json!({}), json!({}), &one),
            none(),
            json!([entry("test-env")]),
            &["IS_INJECTED=true", "test-env=test-value"],
        ),
        (
            "by label",
            mk_pod(json!({"name": "main"}), json!({}), &one),
            none(),
            from_field("metadata.labels['name']", &["test-env"]),
            &["IS_INJECTED=true", "test-env=test-value"],
        ),
        (
            "by annotation",
            mk_pod(json!({"name": "main"}), json!({"app": "main"}), &one),
            none(),
            from_field("metadata.annotations['app']", &["test-env"]),
            &["IS_INJECTED=true", "test-env=test-value"],
        ),
        (
            "own env first",
            mk_pod(json!({}), json!({}), &many),
            own.clone(),
            all.iter().map(|name| entry(name)).collect(),
            &[
                "OD_NAME=sidecar_name",
                "SidecarName=X",
                "IS_INJECTED=true",
                "POD_NAME=bar",
                "PROXY_IP=127.0.0.1",
            ],
        ),
        (
            "one entry by label",
            mk_pod(json!({"biz": "main"}), json!({}), &many),
            own.clone(),
            from_field("metadata.labels['biz']", &all),
            &[
                "OD_NAME=sidecar_name",
                "SidecarName=X",
                "IS_INJECTED=true",
                "POD_NAME=bar",
                "PROXY_IP=127.0.0.1",
            ],
        ),
        (
            "one entry by annotation",
            mk_pod(json!({}), json!({"biz": "main"}), &many),
            own.clone(),
            from_field("metadata.annotations['biz']", &all),
            &[
                "OD_NAME=sidecar_name",
                "SidecarName=X",
                "IS_INJECTED=true",
                "POD_NAME=bar",
                "PROXY_IP=127.0.0.1",
            ],
        ),
        (
            "label missing, no fallback",
            mk_pod(json!({}), json!({}), &many),
            none(),
            both,
            &["IS_INJECTED=true"],
        ),
        (
            "another field",
            mk_pod(json!({}), json!({}), &many),
            none(),
            from_field("metadata.name", &all),
            &["IS_INJECTED=true"],
        ),
    ];
    for (row, pod, own, transfer, expected) in rows {
        assert_eq!(transferred(&pod, own, transfer), expected, "{row}");
    }
}

/// The name of the source container that a field path gives, seen by what is transferred.
#[test]
fn i_t_fld() {
    let env = [("A", "1")];
    let label = from_field("metadata.labels['test-label']", &["A"]);
    let anno = from_field("metadata.annotations['test-anno']", &["A"]);
    let rows: [(Value, Value, &Value, bool); 3] = [
        (json!({"test-label": "main"}), json!({}), &label, true),
        (json!({}), json!({}), &label, false),
        (json!({}), json!({"test-anno": "main"}), &anno, true),
    ];
    for (labels, annotations, transfer, is_found) in rows {
        let found = transferred(&mk_pod(labels, annotations, &env), json!([]), transfer.clone());
        assert_eq!(found.contains(&"A=1".to_owned()), is_found, "{transfer}");
    }
}

/// Rules: I-ENV-10, I-INJ-4, I-UPD-5. Decision: D-24: sidecars that come together do not see each other, and neither do they at
/// the next admission; one that comes later sees those that were there.
#[test]
fn env_of_other_sidecars() {
    let source = json!({"name": "source", "env": [{"name": "A", "value": "1"}]});
    let taker = json!({"name": "taker", "transferEnv": [{"sourceContainerName": "source", "envName": "A"}]});
    let (first, later) = (
        mk_set("first", "h1", json!({"containers": [source]})),
        mk_set("later", "h2", json!({"containers": [taker]})),
    );
    let both = World::of([first.clone(), later]);

    let pod = both.inject(&pod_a());
    assert_eq!(env(&pod, "taker"), ["IS_INJECTED=true"]);
    assert_eq!(both.inject(&pod), pod);

    let pod = both.inject(&World::of([first]).inject(&pod_a()));
    assert_eq!(env(&pod, "taker"), ["IS_INJECTED=true", "A=1"]);
    assert_eq!(both.inject(&pod), pod);
}

#[test]
fn i_t_hot() {
    let mut set = s1();
    set["spec"]["containers"][0]["upgradeStrategy"] =
        json!({"upgradeType": "HotUpgrade", "hotUpgradeEmptyImage": "busy:hotupgrade-empty"});
    let pod = World::of([set]).inject(&pod_a());
    assert_eq!(column(&pod["spec"]["containers"], "name"), ["dns-f-1", "dns-f-2", "nginx", "log-agent"]);
    assert_eq!(container(&pod, "dns-f-1")["image"], "dns:1");
    assert_eq!(container(&pod, "dns-f-2")["image"], "busy:hotupgrade-empty");
    assert_eq!(annotation_json(&pod, "kruise.io/sidecarset-hash")["s1"]["hash"], "h1");
    assert_eq!(annotation_json(&pod, "kruise.io/sidecarset-hash-without-image")["s1"]["hash"], "h1-no-image");
    for (key, value) in [
        ("kruise.io/sidecarset-injected-list", "s1"),
        ("kruise.io/sidecarset-working-hotupgrade-container", "{\"dns-f\":\"dns-f-1\"}"),
        ("version.sidecarset.kruise.io/dns-f-1", "1"),
        ("versionalt.sidecarset.kruise.io/dns-f-1", "0"),
        ("version.sidecarset.kruise.io/dns-f-2", "0"),
        ("versionalt.sidecarset.kruise.io/dns-f-2", "1"),
    ] {
        assert_eq!(annotation(&pod, key), value, "{key}");
    }
}
