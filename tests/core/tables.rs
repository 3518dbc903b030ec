//! The worked examples and tables of the specification of injection, section 15: each row by its id. The tables of
//! resourcesPolicy stand beside its code (`src/core/resources/tests.rs`).

mod env;
mod examples;
mod lists;
mod matching;
mod metadata;
mod revision;

use serde_json::{Value, json};

use crate::world::World;

/// POD-A of section 15.1.
fn pod_a() -> Value {
    json!({
        "metadata": {"name": "test-pod", "namespace": "default", "labels": {"app": "web"}},
        "spec": {
            "initContainers": [{"name": "init-0", "image": "busybox:1.0.0"}],
            "containers": [{
                "name": "nginx", "image": "nginx:1.15.1",
                "env": [{"name": "hello1", "value": "world1"}, {"name": "hello2", "value": "world2"}],
                "volumeMounts": [mount("volume-a", "/a/b"), mount("volume-b", "/e/f")],
            }],
            "volumes": [{"name": "volume-a"}, {"name": "volume-b"}],
        },
    })
}

/// POD-B of section 15.1.
fn pod_b() -> Value {
    let mut pod = pod_a();
    pod["spec"].as_object_mut().unwrap().remove("initContainers");
    push(&mut pod["spec"]["containers"][0]["volumeMounts"], mount("volume-agent", "/agent"));
    push(&mut pod["spec"]["volumes"], json!({"name": "volume-agent"}));
    pod
}

/// A set for `app: web` whose hash annotation is `hash`, with the members of `spec`.
fn mk_set(name: &str, hash: &str, spec: Value) -> Value {
    let mut set = json!({
        "apiVersion": "apps.kruise.io/v1beta1", "kind": "SidecarSet",
        "metadata": {"name": name, "annotations": {
            "kruise.io/sidecarset-hash": hash, "kruise.io/sidecarset-hash-without-image": format!("{hash}-no-image")}},
        "spec": {"selector": {"matchLabels": {"app": "web"}}},
    });
    for (member, value) in spec.as_object().unwrap() {
        set["spec"][member] = value.clone();
    }
    set
}

fn s1() -> Value {
    mk_set(
        "s1",
        "h1",
        json!({
            "initContainers": [{"name": "init-2", "image": "init:2"}, {"name": "init-1", "image": "init:1"}],
            "containers": [
                {"name": "dns-f", "image": "dns:1", "podInjectPolicy": "BeforeAppContainer"},
                {"name": "log-agent", "image": "log:1", "podInjectPolicy": "AfterAppContainer"},
            ],
        }),
    )
}

fn s2() -> Value {
    let container = |name: &str| {
        json!({
            "name": name, "image": "dns:2", "podInjectPolicy": "BeforeAppContainer",
            "volumeMounts": [mount("volume-1", "/1")],
            "transferEnv": [{"sourceContainerName": "nginx", "envName": "hello2"}],
        })
    };
    mk_set(
        "s2",
        "h2",
        json!({
            "initContainers": [container("dns-e")], "containers": [container("dns-f")],
            "volumes": [{"name": "volume-1"}, {"name": "volume-2"}],
        }),
    )
}

fn s3() -> Value {
    mk_set(
        "s3",
        "h3",
        json!({
            "containers": [
                {
                    "name": "dns-f", "image": "dns:3", "podInjectPolicy": "AfterAppContainer",
                    "shareVolumePolicy": {"type": "enabled"},
                    "volumeMounts": [mount("volume-1", "/a/b/c"), mount("volume-2", "/d/e/f")],
                },
                {"name": "log-agent", "image": "log:3", "podInjectPolicy": "AfterAppContainer"},
            ],
            "volumes": [{"name": "volume-1"}, {"name": "volume-2"}],
        }),
    )
}

fn s4() -> Value {
    let volumes = ["volume-1", "volume-2", "volume-3", "volume-4", "volume-agent"];
    mk_set(
        "s4",
        "h4",
        json!({
            "initContainers": [{
                "name": "dns-e", "image": "dns:4", "podInjectPolicy": "BeforeAppContainer",
                "shareVolumePolicy": {"type": "enabled"},
                "volumeMounts": [mount("volume-3", "/g/h/i"), mount("volume-4", "/j/k/l"), mount("volume-agent", "/agent")],
            }],
            "containers": [{
                "name": "dns-f", "image": "dns:4", "podInjectPolicy": "AfterAppContainer",
                "shareVolumePolicy": {"type": "enabled"},
                "volumeMounts": [mount("volume-1", "/a/b/c"), mount("volume-2", "/d/e/f"), mount("volume-agent", "/agent")],
            }],
            "volumes": volumes.map(|name| json!({"name": name})),
        }),
    )
}

fn mount(volume: &str, path: &str) -> Value {
    json!({"name": volume, "mountPath": path})
}

fn device(volume: &str, path: &str) -> Value {
    json!({"name": volume, "devicePath": path})
}

fn push(list: &mut Value, item: Value) {
    list.as_array_mut().unwrap().push(item);
}

/// A member of each item of a list, as text.
fn column<'v>(list: &'v Value, member: &str) -> Vec<&'v str> {
    list.as_array().into_iter().flatten().map(|item| item[member].as_str().unwrap_or("-")).collect()
}

/// The container or init container of this name.
fn container<'v>(pod: &'v Value, name: &str) -> &'v Value {
    let lists = [&pod["spec"]["initContainers"], &pod["spec"]["containers"]];
    let mut all = lists.into_iter().filter_map(Value::as_array).flatten();
    all.find(|container| container["name"] == name).unwrap_or_else(|| panic!("no container {name}: {pod}"))
}

/// Env of a container, `name=value` each; a reference is `name<-path`.
fn env(pod: &Value, name: &str) -> Vec<String> {
    let entries = container(pod, name)["env"].as_array().into_iter().flatten();
    entries
        .map(|entry| {
            let name = entry["name"].as_str().unwrap();
            let path = entry.pointer("/valueFrom/fieldRef/fieldPath").and_then(Value::as_str);
            path.map_or_else(
                || format!("{name}={}", entry["value"].as_str().unwrap_or_default()),
                |path| format!("{name}<-{path}"),
            )
        })
        .collect()
}

fn annotation<'v>(pod: &'v Value, key: &str) -> &'v str {
    pod["metadata"]["annotations"][key].as_str().unwrap_or_else(|| panic!("no annotation {key}: {pod}"))
}

/// A JSON annotation.
fn annotation_json(pod: &Value, key: &str) -> Value {
    serde_json::from_str(annotation(pod, key)).unwrap()
}

/// I-T-INJ: basic injection.
mod basic {
    use super::*;

    #[test]
    fn i_t_inj_1_another_label() {
        let mut pod = pod_a();
        pod["metadata"]["labels"]["app"] = json!("other");
        assert_eq!(World::of([s1()]).inject(&pod), pod);
    }

    #[test]
    fn i_t_inj_2_injection_paused() {
        let mut set = s1();
        set["spec"]["injectionStrategy"] = json!({"paused": true});
        assert_eq!(World::of([set]).inject(&pod_a()), pod_a());
    }

    #[test]
    fn i_t_inj_3_containers_around_the_app() {
        let pod = World::of([s1()]).inject(&pod_a());
        assert_eq!(column(&pod["spec"]["containers"], "name"), ["dns-f", "nginx", "log-agent"]);
        assert_eq!(column(&pod["spec"]["initContainers"], "name"), ["init-0", "init-1", "init-2"]);
        for name in ["dns-f", "log-agent", "init-1", "init-2"] {
            assert_eq!(env(&pod, name), ["IS_INJECTED=true"], "{name}");
        }
        for name in ["nginx", "init-0"] {
            assert_eq!(container(&pod, name), container(&pod_a(), name));
        }
    }

    #[test]
    fn i_t_inj_4_only_volumes_that_are_referred_to() {
        let pod = World::of([s2()]).inject(&pod_a());
        assert_eq!(column(&pod["spec"]["volumes"], "name"), ["volume-a", "volume-b", "volume-1"]);
    }

    #[test]
    fn i_t_inj_5_transferred_env() {
        let mut set = s2();
        set["spec"]["initContainers"][0].as_object_mut().unwrap().remove("podInjectPolicy");
        let pod = World::of([set]).inject(&pod_a());
        assert_eq!(column(&pod["spec"]["initContainers"], "name"), ["init-0", "dns-e"]);
        assert_eq!(column(&pod["spec"]["containers"], "name"), ["dns-f", "nginx"]);
        for name in ["dns-e", "dns-f"] {
            assert_eq!(env(&pod, name), ["IS_INJECTED=true", "hello2=world2"]);
        }
    }

    /// Both sets define `dns-f`, which D-27 denies; with another name both are recorded.
    #[test]
    fn i_t_inj_6_two_sets_one_not_matching() {
        let mut other = s1();
        other["spec"]["selector"] = json!({"matchLabels": {"app": "other"}});
        let mut third = s3();
        let (code, message) = World::of([other.clone(), s2(), third.clone()]).deny(&pod_a());
        assert_eq!(code, 500);
        assert!(
            message.contains("\"s3\"") && message.contains("\"s2\"") && message.contains("\"dns-f\""),
            "{message}"
        );
        third["spec"]["containers"][0]["name"] = json!("dns-g");
        let pod = World::of([other, s2(), third]).inject(&pod_a());
        let hashes = annotation_json(&pod, "kruise.io/sidecarset-hash");
        assert_eq!(
            (&hashes["s1"], &hashes["s2"]["hash"], &hashes["s3"]["hash"]),
            (&Value::Null, &json!("h2"), &json!("h3"))
        );
    }

    #[test]
    fn i_t_inj_7_the_list_of_sets() {
        let (mut first, mut third) = (s1(), s3());
        first["metadata"]["name"] = json!("sidecarset1");
        third["metadata"]["name"] = json!("sidecarset3");
        first["spec"]["containers"] = json!([]);
        let pod = World::of([third, first]).inject(&pod_a());
        assert_eq!(annotation(&pod, "kruise.io/sidecarset-injected-list"), "sidecarset1,sidecarset3");
    }

    #[test]
    fn i_t_inj_8_native_sidecars() {
        let native = |name: &str| json!({"name": name, "image": "native:1", "restartPolicy": "Always", "volumeMounts": [mount("volume-1", "/1")]});
        let mut hot = native("hot-init");
        hot["upgradeStrategy"] = json!({"upgradeType": "HotUpgrade", "hotUpgradeEmptyImage": "empty:v1"});
        let volumes = json!([{"name": "volume-1"}]);
        let pod = World::of([
            mk_set("sidecarset-1", "h1", json!({"initContainers": [native("init-1")], "volumes": volumes})),
            mk_set("sidecarset-2", "h2", json!({"initContainers": [hot], "volumes": volumes})),
        ])
        .inject(&pod_a());
        let names = column(&pod["spec"]["initContainers"], "name");
        assert_eq!(names, ["init-0", "hot-init-1", "hot-init-2", "init-1"]);
        let time = "2023-11-14T22:13:20Z";
        for (key, suffix) in
            [("kruise.io/sidecarset-hash", ""), ("kruise.io/sidecarset-hash-without-image", "-no-image")]
        {
            let text = format!(
                "{{\"sidecarset-1\":{{\"updateTimestamp\":\"{time}\",\"hash\":\"h1{suffix}\",\"sidecarSetName\":\"sidecarset-1\",\
                 \"sidecarList\":[\"init-1\"]}},\"sidecarset-2\":{{\"updateTimestamp\":\"{time}\",\"hash\":\"h2{suffix}\",\
                 \"sidecarSetName\":\"sidecarset-2\",\"sidecarList\":[\"hot-init\"]}}}}"
            );
            assert_eq!(annotation(&pod, key), text);
        }
        for (key, value) in [
            ("kruise.io/sidecarset-injected-list", "sidecarset-1,sidecarset-2"),
            ("kruise.io/sidecarset-working-hotupgrade-container", "{\"hot-init\":\"hot-init-1\"}"),
            ("version.sidecarset.kruise.io/hot-init-1", "1"),
            ("versionalt.sidecarset.kruise.io/hot-init-1", "0"),
            ("version.sidecarset.kruise.io/hot-init-2", "0"),
            ("versionalt.sidecarset.kruise.io/hot-init-2", "1"),
        ] {
            assert_eq!(annotation(&pod, key), value, "{key}");
        }
        assert_eq!(column(&pod["spec"]["volumes"], "name"), ["volume-a", "volume-b", "volume-1"]);
    }

    #[test]
    fn i_t_inj_9_legacy_annotations() {
        let mut pod = pod_a();
        pod["metadata"]["annotations"] = json!({
            "kruise.io/sidecarset-hash": "{\"old\":\"bv6d\"}", "kruise.io/sidecarset-hash-without-image": "{\"old\":\"54x5\"}"});
        let pod = World::of([s1()]).inject(&pod);
        for (key, hash) in
            [("kruise.io/sidecarset-hash", "bv6d"), ("kruise.io/sidecarset-hash-without-image", "54x5")]
        {
            let old = format!(
                "{{\"old\":{{\"updateTimestamp\":null,\"hash\":\"{hash}\",\"sidecarSetName\":\"old\",\"sidecarList\":null}},\"s1\":{{"
            );
            assert!(annotation(&pod, key).starts_with(&old), "{}", annotation(&pod, key));
        }
    }

    #[test]
    fn i_t_inj_10_before_and_after() {
        let set = mk_set(
            "s",
            "h",
            json!({
                "initContainers": [{"name": "i"}],
                "containers": [
                    {"name": "a", "podInjectPolicy": "BeforeAppContainer", "shareVolumePolicy": {"type": "enabled"}},
                    {"name": "b", "podInjectPolicy": "AfterAppContainer"},
                ],
            }),
        );
        let mut pod = pod_a();
        pod["spec"]["containers"][0]["name"] = json!("main");
        let pod = World::of([set]).inject(&pod);
        assert_eq!(column(&pod["spec"]["containers"], "name"), ["a", "main", "b"]);
        assert_eq!(column(&pod["spec"]["initContainers"], "name"), ["init-0", "i"]);
    }
}
