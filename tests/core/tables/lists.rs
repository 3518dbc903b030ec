//! I-T-SEC, I-T-ORD, I-T-MNT, I-T-DEV, I-T-VOL: what goes into the lists of a Pod, and in which order.

use serde_json::{Value, json};

use super::{column, container, device, env, mk_set, mount, pod_a, pod_b, push, s1, s4};
use crate::world::World;

fn named(names: &[&str]) -> Value {
    names.iter().map(|name| json!({"name": name})).collect()
}

#[test]
fn i_t_sec() {
    let cases: [(&[&str], &[&str], &[&str]); 4] = [
        (&["s2", "s3", "s3"], &["s0", "s1", "s2"], &["s2", "s3", "s0", "s1"]),
        (&["s3", "s4", "s5"], &["s0", "s1", "s2"], &["s3", "s4", "s5", "s0", "s1", "s2"]),
        (&[], &["s0", "s1", "s2"], &["s0", "s1", "s2"]),
        (&["s3", "s4", "s5"], &[], &["s3", "s4", "s5"]),
    ];
    for (own, of_set, expected) in cases {
        let (mut pod, mut set) = (pod_a(), s1());
        if !own.is_empty() {
            pod["spec"]["imagePullSecrets"] = named(own);
        }
        set["spec"]["imagePullSecrets"] = named(of_set);
        let pod = World::of([set]).inject(&pod);
        assert_eq!(column(&pod["spec"]["imagePullSecrets"], "name"), expected, "{own:?} {of_set:?}");
    }
}

/// The list, names of the Pod's own entries, built ones, names in the result.
type OrderRow<'t> = (&'t str, &'t [&'t str], &'t [&'t str], &'t [&'t str]);

/// Built ones are written `name(A)` and `name(B)` for After and Before; without a letter there is no policy.
#[test]
fn i_t_ord() {
    let cases: [OrderRow<'_>; 9] = [
        (
            "containers",
            &["app"],
            &["new-sidecar-1(B)", "sidecar-1(A)", "sidecar-2(A)"],
            &["new-sidecar-1", "app", "sidecar-1", "sidecar-2"],
        ),
        ("containers", &["app"], &["new-sidecar-1(B)"], &["new-sidecar-1", "app"]),
        ("containers", &["app"], &["sidecar-1(A)", "sidecar-2(A)"], &["app", "sidecar-1", "sidecar-2"]),
        (
            "containers",
            &["sidecar-1", "app", "sidecar-2"],
            &["sidecar-1(A)", "sidecar-2(A)"],
            &["sidecar-1", "app", "sidecar-2"],
        ),
        (
            "containers",
            &["sidecar-1", "app", "sidecar-2"],
            &["new-sidecar-1(B)", "sidecar-1(A)", "sidecar-2(A)"],
            &["new-sidecar-1", "sidecar-1", "app", "sidecar-2"],
        ),
        (
            "containers",
            &[],
            &["new-sidecar-1(B)", "sidecar-1(A)", "sidecar-2(A)"],
            &["new-sidecar-1", "sidecar-1", "sidecar-2"],
        ),
        ("initContainers", &[], &["a-init", "c-init", "b-init"], &["a-init", "b-init", "c-init"]),
        (
            "initContainers",
            &["app1-init", "app2-init"],
            &["a-init", "c-init", "b-init"],
            &["app1-init", "app2-init", "a-init", "b-init", "c-init"],
        ),
        (
            "initContainers",
            &["app1-init", "app2-init"],
            &["a-init(A)", "c-init(B)", "b-init(B)"],
            &["b-init", "c-init", "app1-init", "app2-init", "a-init"],
        ),
    ];
    for (list, own, built, expected) in cases {
        let built: Value = built
            .iter()
            .map(|text| match text.split_once('(') {
                Some((name, "A)")) => {
                    json!({"name": name, "image": "new", "podInjectPolicy": "AfterAppContainer"})
                }
                Some((name, _)) => {
                    json!({"name": name, "image": "new", "podInjectPolicy": "BeforeAppContainer"})
                }
                None => json!({"name": text, "image": "new"}),
            })
            .collect();
        let mut pod = pod_a();
        pod["spec"] = json!({list: named(own)});
        let pod = World::of([mk_set("s", "h", json!({list: built}))]).inject(&pod);
        assert_eq!(column(&pod["spec"][list], "name"), expected, "{own:?} {built}");
        for name in column(&built, "name") {
            assert_eq!(container(&pod, name)["image"], "new", "{name} was replaced");
        }
    }
}

#[test]
fn i_t_mnt() {
    // The sub-path expression of one more mount on nginx, and what the sidecars' env gets from it.
    let cases: [(Option<Value>, &[&str]); 4] = [
        (None, &[]),
        (Some(json!("foo/$(POD_NAME)/$(OD_NAME)/conf")), &["POD_NAME=bar", "OD_NAME=od_name"]),
        (Some(json!("foo")), &[]),
        (Some(json!("")), &[]),
    ];
    for (expression, added) in cases {
        let mut pod = pod_b();
        let nginx = &mut pod["spec"]["containers"][0];
        nginx["env"] = json!([{"name": "POD_NAME", "value": "bar"}, {"name": "OD_NAME", "value": "od_name"}]);
        let has_more = expression.is_some();
        if let Some(expression) = &expression {
            push(
                &mut nginx["volumeMounts"],
                json!({"name": "volume-expansion", "mountPath": "/e/expansion", "subPathExpr": expression}),
            );
        }
        let pod = World::of([s4()]).inject(&pod);
        assert_eq!(column(&pod["spec"]["containers"], "name"), ["nginx", "dns-f"]);
        let rows = [
            ("dns-e", ["/g/h/i", "/j/k/l", "/agent", "/a/b", "/e/f"]),
            ("dns-f", ["/a/b/c", "/d/e/f", "/agent", "/a/b", "/e/f"]),
        ];
        for (name, mounts) in rows {
            let expected: Vec<_> = mounts.into_iter().chain(has_more.then_some("/e/expansion")).collect();
            assert_eq!(
                column(&container(&pod, name)["volumeMounts"], "mountPath"),
                expected,
                "{name} {expression:?}"
            );
            let expected: Vec<_> = ["IS_INJECTED=true"].into_iter().chain(added.iter().copied()).collect();
            assert_eq!(env(&pod, name), expected, "{name} {expression:?}");
        }
    }
}

/// The Deployment case of I-T-MNT.
#[test]
fn i_t_mnt_deployment() {
    let set = mk_set(
        "s",
        "h",
        json!({
            "containers": [{
                "name": "nginx-sidecar", "podInjectPolicy": "BeforeAppContainer", "shareVolumePolicy": {"type": "enabled"},
                "volumeMounts": [mount("nginx-volume", "/nginx-volume")],
            }],
            "volumes": [{"name": "nginx-volume", "emptyDir": {}}],
        }),
    );
    let mut pod = pod_a();
    pod["spec"] = json!({
        "containers": [{"name": "main", "volumeMounts": [mount("main-volume", "/main-volume")]}],
        "volumes": [{"name": "main-volume", "emptyDir": {}}],
    });
    let pod = World::of([set]).inject(&pod);
    let mounts = column(&container(&pod, "nginx-sidecar")["volumeMounts"], "mountPath");
    assert_eq!(mounts, ["/nginx-volume", "/main-volume"]);
    assert_eq!(column(&pod["spec"]["volumes"], "name"), ["main-volume", "nginx-volume"]);
}

/// POD-B with devices on nginx, and S4 with devices of its own.
fn mk_devices(volumes: &[&str], policy: Option<&str>) -> Value {
    let (mut pod, mut set) = (pod_b(), s4());
    pod["spec"]["containers"][0]["volumeDevices"] =
        json!([device("origin-pvc-1", "/origin-1"), device("origin-pvc-share", "/share")]);
    for name in ["origin-pvc-1", "origin-pvc-share"] {
        push(&mut pod["spec"]["volumes"], json!({"name": name}));
    }
    set["spec"]["volumes"] = named(volumes);
    for (list, path) in [("initContainers", "/dev/nvme0"), ("containers", "/dev/nvme1")] {
        let container = &mut set["spec"][list][0];
        container["shareVolumePolicy"] = json!({"type": "disabled"});
        container["volumeDevices"] = json!([device("disk0", path)]);
        if let Some(policy) = policy {
            container["shareVolumeDevicePolicy"] = json!({"type": policy});
        }
    }
    set["spec"]["containers"][0]["volumeMounts"] = json!([]);
    if policy.is_none() {
        set["spec"]["initContainers"][0]["volumeMounts"] = json!([]);
    }
    World::of([set]).inject(&pod)
}

fn devices(pod: &Value, name: &str) -> Vec<String> {
    let devices = &container(pod, name)["volumeDevices"];
    let pairs = column(devices, "name").into_iter().zip(column(devices, "devicePath"));
    pairs.map(|(name, path)| format!("{name}→{path}")).collect()
}

#[test]
fn i_t_dev() {
    let own = ["volume-a", "volume-b", "volume-agent", "origin-pvc-1", "origin-pvc-share"];
    let pod = mk_devices(&["disk0"], None);
    assert_eq!(devices(&pod, "dns-e"), ["disk0→/dev/nvme0"]);
    assert_eq!(devices(&pod, "dns-f"), ["disk0→/dev/nvme1"]);
    assert_eq!(column(&pod["spec"]["volumes"], "name"), [&own[..], &["disk0"]].concat());

    let pod = mk_devices(&["volume-3", "volume-4", "volume-agent", "disk0"], Some("enabled"));
    let shared = ["origin-pvc-1→/origin-1", "origin-pvc-share→/share"];
    assert_eq!(devices(&pod, "dns-e"), [&["disk0→/dev/nvme0"], &shared[..]].concat());
    assert_eq!(devices(&pod, "dns-f"), [&["disk0→/dev/nvme1"], &shared[..]].concat());
    let volumes = column(&pod["spec"]["volumes"], "name");
    assert_eq!(volumes, [&own[..], &["volume-3", "volume-4", "disk0"]].concat());
}

#[test]
fn i_t_dev_sources() {
    let app = |number: u32, env: Value| json!({"name": format!("app-{number}"), "env": env, "volumeDevices": [device(&format!("vd-{number}"), &format!("/dev/{number}"))]});
    let marked = json!([{"name": "IS_INJECTED", "value": "true"}]);
    let mut pod = pod_a();
    pod["spec"] = json!({"containers": [app(1, json!([])), app(2, json!([])), app(3, marked)]});
    let rows: [(Value, &[&str]); 2] =
        [(json!(null), &[]), (json!({"type": "enabled"}), &["vd-1→/dev/1", "vd-2→/dev/2"])];
    for (policy, expected) in rows {
        let set =
            mk_set("s", "h", json!({"containers": [{"name": "side", "shareVolumeDevicePolicy": policy}]}));
        assert_eq!(devices(&World::of([set]).inject(&pod), "side"), expected);
    }
}

#[test]
fn i_t_vol() {
    // None of the set's volumes is referred to.
    let mut set = s4();
    set["spec"]["volumes"] = named(&["volume-a1", "volume-b2", "volume-c3"]);
    for list in ["initContainers", "containers"] {
        set["spec"][list][0]["volumeMounts"] = json!([]);
    }
    let pod = World::of([set.clone()]).inject(&pod_a());
    assert_eq!(column(&pod["spec"]["volumes"], "name"), ["volume-a", "volume-b"]);

    // A reference to nothing: upstream injects it, the API server refuses the Pod; D-27 tells which set is wrong.
    set["spec"]["containers"][0]["volumeDevices"] = json!([device("disk0", "/dev/nvme0")]);
    let (_, message) = World::of([set]).deny(&pod_a());
    assert!(["\"s4\"", "\"dns-f\"", "\"disk0\""].iter().all(|part| message.contains(part)), "{message}");

    let container = |name: &str, volumes: [&str; 2], disk: &str| {
        json!({
            "name": name, "volumeDevices": [device(disk, "/dev/x")],
            "volumeMounts": [mount(volumes[0], "/x"), mount(volumes[1], "/y")],
        })
    };
    let set = mk_set(
        "s",
        "h",
        json!({
            "initContainers": [container("dns-e", ["volume-1", "volume-2"], "disk0")],
            "containers": [container("dns-f", ["volume-3", "volume-4"], "disk1")],
            "volumes": named(&["disk1", "disk0", "volume-4", "volume-3", "volume-2", "volume-1"]),
        }),
    );
    let pod = World::of([set]).inject(&pod_a());
    let volumes = column(&pod["spec"]["volumes"], "name");
    assert_eq!(
        volumes,
        ["volume-a", "volume-b", "volume-1", "volume-2", "disk0", "volume-3", "volume-4", "disk1"]
    );
}
