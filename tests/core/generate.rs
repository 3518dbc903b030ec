//! Worlds and Pods from bytes: the same bytes give the same world, fewer and smaller bytes a simpler one.
//!
//! One generator serves the laws (proptest draws the bytes, and shrinks them) and the fuzz target `inject`.

use serde_json::{Map, Value, json};
use sidecarset_core::api::keys;

use crate::world::World;

/// A stream of choices; when the bytes are used up every choice is the first.
#[derive(Debug)]
pub(crate) struct Choices<'a> {
    bytes: &'a [u8],
}

impl<'a> Choices<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    fn byte(&mut self) -> usize {
        let Some((first, rest)) = self.bytes.split_first() else { return 0 };
        self.bytes = rest;
        usize::from(*first)
    }

    /// True for `share` of 256 bytes, the highest ones.
    fn chance(&mut self, share: usize) -> bool {
        self.byte() >= 256 - share
    }

    fn one_of<T: Clone>(&mut self, values: &[T]) -> T {
        values[self.byte() % values.len()].clone()
    }

    fn list(&mut self, longest: usize, mut item: impl FnMut(&mut Self, usize) -> Value) -> Value {
        let length = self.byte() % (longest + 1);
        (0..length).map(|index| item(self, index)).collect()
    }

    /// Adds a member now and then.
    fn maybe(
        &mut self,
        object: &mut Value,
        share: usize,
        member: &str,
        value: impl FnOnce(&mut Self) -> Value,
    ) {
        if self.chance(share) {
            object[member] = value(self);
        }
    }
}

/// A value whose shape nobody knows.
fn unknown(choices: &mut Choices<'_>) -> Value {
    choices.one_of(&[
        json!({"z": [null, {"b": 1, "a": "<é\u{2028}"}], "a": -0.5}),
        json!("text \"quoted\" \\ \n"),
        json!([]),
        json!({}),
        json!(18_446_744_073_709_551_615_u64),
        json!([[{"name": "deep"}], false]),
    ])
}

/// Members that no rule knows, in front of and behind the known ones.
fn with_unknown(choices: &mut Choices<'_>, object: Value) -> Value {
    if !choices.chance(64) {
        return object;
    }
    let mut members = Map::new();
    if choices.chance(128) {
        members.insert("aFuture/member~1".to_owned(), unknown(choices));
    }
    members.extend(object.as_object().cloned().unwrap_or_default());
    members.insert("future".to_owned(), unknown(choices));
    Value::Object(members)
}

/// A Pod and the sets and revisions around it.
pub(crate) fn world(choices: &mut Choices<'_>) -> (World, Value) {
    let pod = pod(choices);
    let count = 1 + choices.byte() % 3;
    let mut world = World::default();
    for number in 0..count {
        let set = set(choices, number);
        if let Some(revision) = revision(choices, number, &set) {
            world.revisions.push(revision);
        }
        world.sets.push(set);
    }
    (world, pod)
}

fn pod(choices: &mut Choices<'_>) -> Value {
    let mut pod = json!({"apiVersion": "v1", "kind": "Pod"});
    if !choices.chance(4) {
        pod["metadata"] = pod_metadata(choices);
    }
    if choices.chance(8) {
        choices.maybe(&mut pod, 128, "spec", |_| Value::Null);
    } else {
        pod["spec"] = pod_spec(choices);
    }
    choices.maybe(&mut pod, 32, "status", |_| json!({"phase": "Succeeded", "conditions": []}));
    with_unknown(choices, pod)
}

fn pod_metadata(choices: &mut Choices<'_>) -> Value {
    let mut metadata = json!({"labels": {"app": "web", "source": "app0"}});
    choices.maybe(&mut metadata, 128, "name", |_| json!("web-0"));
    choices.maybe(&mut metadata, 64, "generateName", |_| json!("web-"));
    choices.maybe(&mut metadata, 8, "labels", |_| Value::Null);
    choices.maybe(&mut metadata, 96, "annotations", annotations);
    choices.maybe(&mut metadata, 8, "annotations", |_| Value::Null);
    choices.maybe(
        &mut metadata,
        32,
        "ownerReferences",
        |_| json!([{"uid": "uid-1", "controller": true, "kind": "ReplicaSet"}]),
    );
    with_unknown(choices, metadata)
}

fn annotations(choices: &mut Choices<'_>) -> Value {
    let mut annotations = json!({});
    for _ in 0..choices.byte() % 4 {
        let (key, value) = choices.one_of(&[
            ("k1", r#"{"b": 1, "a": {"z": null}}"#),
            ("k1", ""),
            ("k2", "plain text"),
            ("k2", "[1, null]"),
            ("odd/key~\"é", "x"),
            (keys::HASH, r#"{"set-0":"legacy","other":"hash"}"#),
            (keys::HASH, r#"{"other":{"updateTimestamp":"2026-07-02T09:56:09Z","hash":"h","sidecarSetName":"other","sidecarList":["app0"]}}"#),
            (keys::HASH, "null"),
            (keys::HASH, "not json"),
            (keys::HASH_WITHOUT_IMAGE, r#"{"set-1":{"hash":5},"set-0":null}"#),
            (keys::INJECTED_LIST, "z,set-0, a,"),
            (keys::WORKING_HOT_UPGRADE_CONTAINER, r#"{"s0":"s0-2","y":7}"#),
            (keys::SKIP, "set-1, set-9"),
            (keys::INJECT, "false"),
        ]);
        annotations[key] = json!(value);
    }
    choices.maybe(&mut annotations, 16, "nothing", |_| Value::Null);
    annotations
}

fn pod_spec(choices: &mut Choices<'_>) -> Value {
    let mut spec = json!({});
    choices.maybe(&mut spec, 16, "hostNetwork", |_| json!(true));
    spec["containers"] = choices.list(3, |choices, index| pod_container(choices, &format!("app{index}")));
    choices.maybe(&mut spec, 96, "initContainers", |choices| {
        choices.list(2, |choices, index| pod_container(choices, &format!("init{index}")))
    });
    choices.maybe(&mut spec, 96, "volumes", |choices| choices.list(3, |choices, _| volume(choices)));
    choices.maybe(&mut spec, 96, "imagePullSecrets", |choices| choices.list(3, |choices, _| secret(choices)));
    let member = choices.one_of(&["containers", "initContainers", "volumes", "imagePullSecrets"]);
    choices.maybe(&mut spec, 8, member, |choices| {
        choices.one_of(&[Value::Null, json!([]), json!([null, null]), json!([{"name": "p0"}, null, {}])])
    });
    with_unknown(choices, spec)
}

fn pod_container(choices: &mut Choices<'_>, usual_name: &str) -> Value {
    let name = if choices.chance(32) {
        choices.one_of(&["app0", "s0", "s0-1", "s00", "i00", "", "odd/~\"é"])
    } else {
        usual_name
    };
    let mut container = json!({"name": name, "image": "app:1"});
    choices.maybe(&mut container, 128, "env", |choices| choices.list(3, |choices, _| env(choices)));
    choices.maybe(&mut container, 96, "volumeMounts", |choices| choices.list(3, |choices, _| mount(choices)));
    choices
        .maybe(&mut container, 64, "volumeDevices", |choices| choices.list(2, |choices, _| device(choices)));
    choices.maybe(&mut container, 96, "resources", resources);
    choices.maybe(&mut container, 16, "restartPolicy", |_| json!("Always"));
    choices.maybe(&mut container, 8, "name", |_| Value::Null);
    with_unknown(choices, container)
}

fn env(choices: &mut Choices<'_>) -> Value {
    let entry = choices.one_of(&[
        json!({"name": "A", "value": "1"}),
        json!({"name": "B", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}),
        json!({"name": "A", "value": "2"}),
        json!({"name": "POD_NAME", "value": "$(A)"}),
        json!({"value": "no name"}),
        Value::Null,
        json!({"name": "IS_INJECTED", "value": "true"}),
    ]);
    with_unknown(choices, entry)
}

fn mount(choices: &mut Choices<'_>) -> Value {
    if choices.chance(8) {
        return Value::Null;
    }
    let mut mount = json!({"name": choices.one_of(&["v0", "v1", "v2"]), "mountPath": choices.one_of(&["/a", "/b", "/a/", ""])});
    choices.maybe(&mut mount, 32, "subPathExpr", |choices| {
        choices.one_of(&[json!("x/$(POD_NAME)/$(A)"), json!("$$(B)"), json!("$(")])
    });
    with_unknown(choices, mount)
}

fn device(choices: &mut Choices<'_>) -> Value {
    let path = choices.one_of(&["/dev/x", "/dev/y", "/a"]);
    let device = json!({"name": choices.one_of(&["v0", "v1"]), "devicePath": path});
    with_unknown(choices, device)
}

fn volume(choices: &mut Choices<'_>) -> Value {
    let source = choices.one_of(&[json!({}), json!({"sizeLimit": "1Gi"})]);
    let volume = json!({"name": choices.one_of(&["v0", "v1", "v2", "v0"]), "emptyDir": source});
    with_unknown(choices, volume)
}

fn secret(choices: &mut Choices<'_>) -> Value {
    let secret = json!({"name": choices.one_of(&["p0", "p1", "p2"])});
    with_unknown(choices, secret)
}

fn resources(choices: &mut Choices<'_>) -> Value {
    let mut resources = json!({});
    choices.maybe(&mut resources, 160, "limits", |_| json!({"cpu": "200m", "memory": "300Mi"}));
    choices.maybe(&mut resources, 160, "requests", |_| json!({"cpu": 0.5, "memory": "1e3", "x.io/gpu": 1}));
    choices.maybe(&mut resources, 32, "claims", |_| json!([{"name": "gpu"}]));
    resources
}

fn set(choices: &mut Choices<'_>, number: usize) -> Value {
    let name = format!("set-{number}");
    let mut metadata = json!({"name": name});
    let mut own = json!({});
    choices.maybe(&mut own, 16, keys::FAILURE_POLICY, |_| json!("Ignore"));
    if choices.chance(16) {
        own[keys::CANARY] = json!("true");
        own[keys::CANARY_BASE] = choices.one_of(&[json!("set-0"), json!("set-1")]);
    }
    choices.maybe(&mut metadata, 128, "annotations", |_| own);
    let mut spec = injected(choices, number);
    spec["selector"] = selector(choices);
    choices.maybe(&mut spec, 16, "namespaceSelector", |choices| {
        choices.one_of(&[
            json!({"matchLabels": {"kubernetes.io/metadata.name": "default"}}),
            json!({}),
            json!({"matchLabels": {"team": "x"}}),
        ])
    });
    if choices.chance(48) {
        let policy = choices.one_of(&["Always", "Partial", "Partial"]);
        spec["injectionStrategy"] = json!({"revision": {"customVersion": "v1", "policy": policy}});
        let partition = choices.one_of(&[json!("50%"), json!("99%"), json!(1), json!("oops")]);
        spec["updateStrategy"] = json!({"partition": partition});
    }
    let mut set = json!({"apiVersion": "apps.kruise.io/v1beta1", "kind": "SidecarSet", "metadata": metadata, "spec": spec});
    choices.maybe(&mut set, 64, "status", |_| json!({"latestRevision": format!("{name}-live")}));
    set
}

fn selector(choices: &mut Choices<'_>) -> Value {
    if !choices.chance(24) {
        return json!({"matchLabels": {"app": "web"}});
    }
    choices.one_of(&[
        json!({"matchExpressions": [{"key": "gone", "operator": "DoesNotExist"}]}),
        json!({"matchExpressions": [{"key": "app", "operator": "In", "values": ["web", "db"]}]}),
        json!({"matchLabels": {"app": "other"}}),
        json!({}),
        json!({"matchLabels": {"app": "web"}, "matchExpressions": [{"key": "app", "operator": "badOp"}]}),
    ])
}

/// The five members of a spec that go into Pods and into revisions.
fn injected(choices: &mut Choices<'_>, number: usize) -> Value {
    let mut spec = json!({});
    spec["containers"] =
        choices.list(2, |choices, index| set_container(choices, &format!("s{number}{index}"), number));
    choices.maybe(&mut spec, 96, "initContainers", |choices| {
        choices.list(2, |choices, index| set_container(choices, &format!("i{number}{index}"), number))
    });
    // Mostly all volumes that the containers refer to.
    if !choices.chance(8) {
        let volumes =
            ["v0", "v1", "v2"].map(|name| with_unknown(choices, json!({"name": name, "emptyDir": {}})));
        spec["volumes"] = volumes.into_iter().collect();
    }
    choices.maybe(&mut spec, 48, "imagePullSecrets", |choices| choices.list(2, |choices, _| secret(choices)));
    choices.maybe(&mut spec, 96, "patchPodMetadata", |choices| {
        choices.list(2, |choices, _| {
            let policy = choices.one_of(&["Retain", "Overwrite", "MergePatchJson", "MergePatchJson"]);
            let text = choices.one_of(&[
                r#"{"a": 1, "n": null}"#,
                r#"{"a":{"z":2,"n":[null,{"x":null}]}}"#,
                "plain",
                "[1, null]",
                "app0",
            ]);
            let key = choices.one_of(&["k1", "k2", "source", "k1", "a/~\"é"]);
            json!({"patchPolicy": policy, "annotations": {key: text}})
        })
    });
    spec
}

fn set_container(choices: &mut Choices<'_>, usual_name: &str, number: usize) -> Value {
    let name = if choices.chance(12) { choices.one_of(&["s0", "app0", "i00", "s00"]) } else { usual_name };
    let mut container = json!({"name": name, "image": format!("sidecar:{number}")});
    choices.maybe(&mut container, 128, "env", |choices| choices.list(2, |choices, _| env(choices)));
    choices.maybe(&mut container, 96, "volumeMounts", |choices| choices.list(3, |choices, _| mount(choices)));
    choices
        .maybe(&mut container, 32, "volumeDevices", |choices| choices.list(2, |choices, _| device(choices)));
    choices.maybe(&mut container, 64, "resources", resources);
    choices.maybe(&mut container, 64, "restartPolicy", |_| json!("Always"));
    choices.maybe(&mut container, 96, "podInjectPolicy", |choices| {
        choices.one_of(&[json!("BeforeAppContainer"), json!("AfterAppContainer")])
    });
    choices.maybe(&mut container, 64, "shareVolumePolicy", |_| json!({"type": "enabled"}));
    choices.maybe(&mut container, 48, "shareVolumeDevicePolicy", |_| json!({"type": "enabled"}));
    choices.maybe(
        &mut container,
        48,
        "upgradeStrategy",
        |_| json!({"upgradeType": "HotUpgrade", "hotUpgradeEmptyImage": "empty:1"}),
    );
    choices
        .maybe(&mut container, 64, "transferEnv", |choices| choices.list(2, |choices, _| transfer(choices)));
    choices.maybe(&mut container, 32, "resourcesPolicy", |choices| {
        let memory = choices.one_of(&["memory*50%", "max(memory, 100Mi)", "200Mi", "memory*memory"]);
        json!({
            "targetContainersMode": choices.one_of(&["sum", "max"]),
            "targetContainersNameRegex": choices.one_of(&[".*", "^app", "[", "nobody"]),
            "resourcesExpr": {"limits": {"cpu": "cpu*50%"}, "requests": {"cpu": "cpu + 10m", "memory": memory}},
        })
    });
    with_unknown(choices, container)
}

fn transfer(choices: &mut Choices<'_>) -> Value {
    let mut entry = choices.one_of(&[
        json!({"sourceContainerName": "app0"}),
        json!({"sourceContainerNameFrom": {"fieldRef": {"fieldPath": "metadata.labels['source']"}}}),
        json!({"sourceContainerNameFrom": {"fieldRef": {"fieldPath": "metadata.annotations['source']"}}}),
        json!({"sourceContainerName": "s00"}),
    ]);
    entry["envNames"] = choices.one_of(&[json!(["A", "B"]), json!(["IS_INJECTED", "POD_NAME", ""])]);
    entry
}

/// The revision that a set asks for: mostly there.
fn revision(choices: &mut Choices<'_>, number: usize, set: &Value) -> Option<Value> {
    set["spec"]["injectionStrategy"].as_object()?;
    if choices.chance(16) {
        return None;
    }
    let mut stored = injected(choices, number);
    stored["$patch"] = json!("replace");
    let data =
        choices.one_of(&[json!({"spec": stored}), json!({"spec": stored}), json!({"spec": null}), json!({})]);
    let name = format!("set-{number}-stored");
    Some(json!({
        "apiVersion": "apps/v1", "kind": "ControllerRevision", "revision": number, "data": data,
        "metadata": {"name": name, "namespace": "kruise-system", "labels": {
            (keys::REVISION_SET_NAME): format!("set-{number}"), (keys::CUSTOM_VERSION): "v1"}},
    }))
}
