//! I-T-REV: which revision of a set a Pod receives.

use serde_json::{Value, json};

use super::{annotation_json, column, mk_set, pod_a};
use crate::world::World;

fn mk_revision(name: &str, version: &str, data: Value) -> Value {
    json!({
        "metadata": {"name": name, "namespace": "kruise-system", "labels": {
            "kruise.io/sidecarset-name": "sidecarset1", "apps.kruise.io/sidecarset-custom-version": version}},
        "revision": 1, "data": data})
}

fn containers(image: &str) -> Value {
    json!([{"name": "sidecar", "image": image}])
}

/// The world of the table: live `canary-image`, stored `stable-image`, `Partial`.
fn mk_world() -> World {
    let set = mk_set(
        "sidecarset1",
        "h",
        json!({
        "selector": {"matchLabels": {"app": "demo"}}, "containers": containers("canary-image"),
        "updateStrategy": {"selector": {"matchLabels": {"canary": "true"}}},
        "injectionStrategy": {"revision": {"customVersion": "v", "policy": "Partial"}}}),
    );
    let stored = json!({"spec": {"$patch": "replace", "containers": containers("stable-image")}});
    World { revisions: vec![mk_revision("sidecarset1-1", "v", stored)], ..World::of([set]) }
}

fn mk_pod(is_canary: bool) -> Value {
    let labels = if is_canary { json!({"app": "demo", "canary": "true"}) } else { json!({"app": "demo"}) };
    json!({"metadata": {"labels": labels}, "spec": {"containers": [{"name": "app", "image": "app"}]}})
}

fn image(pod: &Value) -> &str {
    let images = column(&pod["spec"]["containers"], "image");
    images.into_iter().find(|image| *image != "app").unwrap()
}

/// What a row changes in the world.
type Change = fn(&mut World);

#[test]
fn i_t_rev() {
    let rows: [(bool, Change, &str); 6] = [
        (false, |_| (), "stable-image"),
        (true, |_| (), "canary-image"),
        (true, |world| world.sets[0]["spec"]["updateStrategy"]["partition"] = json!("100%"), "stable-image"),
        (true, |world| world.sets[0]["spec"]["updateStrategy"]["partition"] = json!("0%"), "canary-image"),
        (
            true,
            |world| {
                world.sets[0]["spec"]["updateStrategy"]["partition"] = json!("0%");
                world.sets[0]["spec"]["updateStrategy"]["paused"] = json!(true);
            },
            "stable-image",
        ),
        (true, |world| world.sets[0]["spec"]["updateStrategy"]["partition"] = json!(5), "canary-image"),
    ];
    for (row, (is_canary, change, expected)) in rows.into_iter().enumerate() {
        let mut world = mk_world();
        change(&mut world);
        assert_eq!(image(&world.inject(&mk_pod(is_canary))), expected, "row {row}");
    }
}

#[test]
fn i_t_rev_errors() {
    let rows: [(Change, &str); 3] = [
        (|world| world.sets[0]["spec"]["updateStrategy"]["partition"] = json!("abc%"), "abc%"),
        (|world| world.revisions.clear(), "not found"),
        (
            |world| {
                world.sets[0]["spec"]["updateStrategy"]["selector"] =
                    json!({"matchExpressions": [{"key": "canary", "operator": "badOp"}]});
            },
            "\"badOp\" is not a valid pod selector operator",
        ),
    ];
    for (change, text) in rows {
        let mut world = mk_world();
        change(&mut world);
        let (code, message) = world.deny(&mk_pod(true));
        assert_eq!(code, 500);
        assert!(message.contains(text) && message.contains("\"sidecarset1\""), "{message}");
    }
}

#[test]
fn i_t_rev_always_takes_only_what_is_stored() {
    let two = |kind: &str| json!([{"name": format!("{kind}-1")}, {"name": format!("{kind}-2")}]);
    let set = mk_set(
        "sidecarset1",
        "h",
        json!({
        "containers": two("live"), "initContainers": two("live-init"),
        "injectionStrategy": {"revision": {"customVersion": "v", "policy": "Always"}}}),
    );
    let stored = json!({"spec": {
        "$patch": "replace", "containers": [{"name": "dns-f"}], "initContainers": [{"name": "init-2"}]}});
    let world = World { revisions: vec![mk_revision("r", "v", stored)], ..World::of([set]) };
    let pod = world.inject(&pod_a());
    assert_eq!(column(&pod["spec"]["containers"], "name"), ["nginx", "dns-f"]);
    assert_eq!(column(&pod["spec"]["initContainers"], "name"), ["init-0", "init-2"]);
}

/// Rules: I-CONST-13, I-CONST-14.
#[test]
fn i_t_rev_one_of_six_versions() {
    let mut world = mk_world();
    world.sets[0]["spec"]["injectionStrategy"] =
        json!({"revision": {"customVersion": "3", "policy": "Always"}});
    world.revisions = (0..6)
        .map(|version| {
            let data =
                json!({"spec": {"$patch": "replace", "containers": containers(&format!("image-{version}"))}});
            mk_revision(&format!("revision-{version}"), &version.to_string(), data)
        })
        .collect();
    let pod = world.inject(&mk_pod(true));
    assert_eq!(image(&pod), "image-3");
    let hashes = annotation_json(&pod, "kruise.io/sidecarset-hash");
    assert_eq!(hashes["sidecarset1"]["controllerRevision"], "revision-3");
}

/// The last row: Pods of a stable and of a canary Deployment.
#[test]
fn i_t_rev_two_deployments() {
    let mut world = mk_world();
    world.sets[0]["spec"]["updateStrategy"] = json!({"selector": {"matchLabels": {"version": "canary"}}});
    for (version, expected) in [("stable", "stable-image"), ("canary", "canary-image")] {
        let mut pod = mk_pod(false);
        pod["metadata"]["labels"]["version"] = json!(version);
        assert_eq!(image(&world.inject(&pod)), expected);
    }
}
