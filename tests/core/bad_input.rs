//! Input that nobody should send and somebody will: no panic, a clear error or the right answer, bounded work.

use serde_json::{Value, json};
use sidecarset_core::admission::Verdict;
use sidecarset_core::pod::PodLook;
use sidecarset_core::source::SidecarSet;

use crate::laws::{Outcome, check};
use crate::world::{CONTEXT, World, decide};

fn mk_set(spec: Value) -> Value {
    let mut set = json!({
        "apiVersion": "apps.kruise.io/v1beta1", "kind": "SidecarSet", "metadata": {"name": "odd"},
        "spec": {"selector": {"matchLabels": {"app": "web"}}},
    });
    for (member, value) in spec.as_object().unwrap() {
        set["spec"][member] = value.clone();
    }
    set
}

fn mk_pod(spec: Value) -> Value {
    json!({"metadata": {"name": "pod", "labels": {"app": "web"}}, "spec": spec})
}

fn error(text: &str) -> String {
    PodLook::from_json(text).map(|_| ()).expect_err("this is no Pod").to_string()
}

/// Rule: I-CALL-11: the error names the member, what was found and what is right.
#[test]
fn a_pod_that_cannot_be_decoded() {
    let rows = [
        ("", "found the end of the text, expected an object at byte 0"),
        ("null", "found null, expected an object at byte 0"),
        ("[]", "found an array, expected an object at byte 0"),
        ("{\"metadata\"", "found the end of the text, expected `:` at byte 11"),
        ("{} {}", "text after the end of the JSON value at byte 3"),
        ("{\"kind\":\"Deployment\"}", "kind: found `Deployment`, expected `Pod`"),
        ("{\"apiVersion\":\"v2\"}", "apiVersion: found `v2`, expected `v1`"),
        ("{\"metadata\":[]}", "metadata: found an array, expected an object"),
        ("{\"metadata\":{\"labels\":{\"a\":1}}}", "metadata.labels.a: found a number, expected a string"),
        (
            "{\"metadata\":{\"annotations\":\"a\"}}",
            "metadata.annotations: found a string, expected an object",
        ),
        ("{\"spec\":{\"containers\":{}}}", "spec.containers: found an object, expected an array"),
        ("{\"spec\":{\"containers\":[{},5]}}", "spec.containers[1]: found a number, expected an object"),
        (
            "{\"spec\":{\"containers\":[{\"name\":true}]}}",
            "spec.containers[0].name: found a boolean, expected a string",
        ),
        (
            "{\"spec\":{\"volumes\":[{\"name\":[]}]}}",
            "spec.volumes[0].name: found an array, expected a string",
        ),
        ("{\"metadata\":{\"name\":\"\\ud800\"}}", "metadata.name: broken escape in a string"),
    ];
    for (text, expected) in rows {
        assert!(error(text).starts_with(expected), "{text}: {}", error(text));
    }
}

/// Env is read when a rule asks for it; the error names the place then too.
#[test]
fn a_wrong_type_that_only_some_sets_see() {
    let pod = mk_pod(json!({"containers": [{"name": "app", "env": [{"name": 5}]}]}));
    let transfer = json!([{"sourceContainerName": "app", "envName": "A"}]);
    let set = mk_set(json!({"containers": [{"name": "side", "transferEnv": transfer}]}));
    let (code, message) = World::of([set]).deny(&pod);
    assert_eq!(code, 400);
    assert!(message.contains("name: found a number, expected a string"), "{message}");
    assert_ne!(World::of([mk_set(json!({"containers": [{"name": "side"}]}))]).inject(&pod), pod);
}

/// Every start of a Pod is refused, at the place where it ends.
#[test]
fn truncated() {
    let pod = mk_pod(
        json!({"containers": [{"name": "app", "env": [{"name": "ä", "value": "\"\\\n"}]}], "x": [1e9, null, true]}),
    );
    let text = pod.to_string();
    for end in (0..text.len()).filter(|end| text.is_char_boundary(*end)) {
        let found = PodLook::from_json(&text[..end]).map(|_| ()).expect_err("a part of a Pod");
        assert!(found.offset <= end, "{found}");
    }
    assert!(PodLook::from_json(&text).is_ok());
}

#[test]
fn deeply_nested() {
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let pod = |depth: usize| {
            format!(
                "{{\"metadata\":{{\"labels\":{{\"app\":\"web\"}}}},\"x\":{}1{}}}",
                open.repeat(depth),
                close.repeat(depth)
            )
        };
        assert_eq!(
            check(&World::of([mk_set(json!({"containers": [{"name": "side"}]}))]), &pod(100)),
            Outcome::Changed
        );
        assert!(error(&pod(200)).contains("nest deeper than 128"));
        assert!(error(&format!("{{\"x\":{}", open.repeat(1_000_000))).contains("nest deeper than 128"));
    }
}

/// The last of several members of one name counts, as the API server reads it.
#[test]
fn duplicate_keys() {
    let text = r#"{"metadata":{"name":"a"},"metadata":{"labels":{"app":"db","app":"web"},"labels":null,"labels":{"app":"x","app":"web"}},
        "spec":{"containers":[{"name":"lost"}],"containers":[{"name":"one","name":"two"}]}}"#;
    let look = PodLook::from_json(text).unwrap();
    assert_eq!((look.name(), look.labels().unwrap().get("app")), ("", Some("web")));
    assert_eq!(
        look.spec().containers().iter().map(|container| container.value.name()).collect::<Vec<_>>(),
        ["two"]
    );
    assert_eq!(
        check(&World::of([mk_set(json!({"containers": [{"name": "side"}]}))]), text),
        Outcome::Changed
    );
}

/// Pods that lack what every Pod has, against a set that matches all of them and reads all of it.
#[test]
fn nothing_there() {
    let set = mk_set(json!({
        "selector": {"matchExpressions": [{"key": "gone", "operator": "DoesNotExist"}]},
        "containers": [{
            "name": "side", "shareVolumePolicy": {"type": "enabled"}, "shareVolumeDevicePolicy": {"type": "enabled"},
            "transferEnv": [{"sourceContainerNameFrom": {"fieldRef": {"fieldPath": "metadata.labels['a']"}}, "envName": "A"}],
        }],
        "imagePullSecrets": [{"name": "p"}], "patchPodMetadata": [{"annotations": {"k": "v"}}],
    }));
    for pod in [
        json!({}),
        json!({"metadata": null, "spec": null}),
        json!({"metadata": {}, "spec": {}}),
        json!({"metadata": {"labels": null, "annotations": null, "ownerReferences": null}}),
        json!({"spec": {"containers": null, "initContainers": null, "volumes": null, "imagePullSecrets": null}}),
        json!({"spec": {"containers": [], "initContainers": [], "volumes": [], "imagePullSecrets": []}}),
        json!({"spec": {"containers": [{}], "initContainers": [{}], "volumes": [{}], "imagePullSecrets": [{}]}}),
        json!({"spec": {"containers": [null], "initContainers": [null], "volumes": [null], "imagePullSecrets": [null]}}),
        json!({"spec": {"containers": [{"name": null, "env": null, "volumeMounts": null, "resources": null}]}}),
        json!({"spec": {"containers": [{"env": [null], "volumeMounts": [null], "volumeDevices": [null], "resources": {"limits": null}}]}}),
    ] {
        assert_eq!(check(&World::of([set.clone()]), &pod.to_string()), Outcome::Changed, "{pod}");
    }
}

/// Every odd character in every name of Pod and set, also those that the API server would refuse: what a rule writes is JSON
/// and a JSON Pointer that leads there.
#[test]
fn odd_names() {
    for odd in [
        "a/b~c",
        "~1",
        "\"quoted\"",
        "back\\slash",
        "new\nline",
        "\u{0}\u{1f}\u{7f}",
        "é 日本 🦀",
        "\u{2028}<&>",
        "'",
        "$(A)",
        " ",
        "-",
    ] {
        let set = mk_set(json!({
            "containers": [
                {"name": odd, "image": odd, "env": [{"name": odd, "value": odd}], "volumeMounts": [{"name": odd, "mountPath": odd}], (odd): odd},
                {"name": format!("hot{odd}"), "upgradeStrategy": {"upgradeType": "HotUpgrade", "hotUpgradeEmptyImage": odd}},
            ],
            "volumes": [{"name": odd}], "imagePullSecrets": [{"name": odd}],
            "patchPodMetadata": [{"patchPolicy": "Overwrite", "annotations": {odd: odd}}],
        }));
        let app = json!({"name": format!("app{odd}"), "env": [{"name": odd}], (odd): {odd: odd}});
        let mut pod = mk_pod(json!({"containers": [app], (odd): odd}));
        for annotations in [Value::Null, json!({}), json!({odd: "before", "other": odd})] {
            pod["metadata"]["annotations"] = annotations;
            assert_eq!(check(&World::of([set.clone()]), &pod.to_string()), Outcome::Changed, "{odd:?}");
        }
    }
}

#[test]
fn quantities_out_of_range() {
    let policy = |expression: &str| json!({"targetContainersMode": "sum", "targetContainersNameRegex": ".*", "resourcesExpr": {"requests": {"memory": expression}}});
    let huge = "9".repeat(10_000);
    for quantity in [
        json!("1e100000000"),
        json!(huge),
        json!("-1"),
        json!(""),
        json!("1Zi"),
        json!({}),
        json!(1e300),
        json!("0.0000000000000000001n"),
    ] {
        let resources = json!({"limits": {"cpu": quantity}, "requests": {"memory": quantity}});
        let pod = mk_pod(json!({"containers": [{"name": "app", "resources": resources}]}));
        for expression in [
            "memory*50%",
            "memory/0",
            "memory*memory",
            "memory + 1e400",
            "((((",
            "1e99999999999Ei",
            "max(memory,",
            &huge,
            &"(".repeat(100_000),
        ] {
            let set =
                mk_set(json!({"containers": [{"name": "side", "resourcesPolicy": policy(expression)}]}));
            check(&World::of([set]), &pod.to_string());
        }
    }
}

/// Sets with maps and lists of 10,000 entries, on a Pod with as many.
#[test]
fn ten_thousand_entries() {
    const COUNT: usize = 10_000;
    let map: Value = (0..COUNT)
        .map(|number| (format!("key-{number}"), json!("value")))
        .collect::<serde_json::Map<_, _>>()
        .into();
    let names = |prefix: &str| -> Vec<Value> {
        (0..COUNT).map(|number| json!({"name": format!("{prefix}{number}")})).collect()
    };
    let env_names: Vec<String> = (0..COUNT).map(|number| format!("env-{number}")).collect();
    let set = mk_set(json!({
        "selector": {"matchLabels": map},
        "containers": [{
            "name": "side", "env": names("own-"), "shareVolumePolicy": {"type": "enabled"},
            "transferEnv": [{"sourceContainerName": "app", "envNames": env_names}],
        }],
        "volumes": names("volume-"), "imagePullSecrets": names("secret-"),
        "patchPodMetadata": [{"patchPolicy": "Overwrite", "annotations": map}],
    }));
    let mounts: Value = (0..COUNT).map(|number| json!({"name": "v", "mountPath": format!("/{number}"), "subPathExpr": format!("$(env-{number})")})).collect();
    let mut pod = mk_pod(json!({
        "containers": [{"name": "app", "env": names("env-"), "volumeMounts": mounts}], "imagePullSecrets": names("own-")}));
    pod["metadata"]["labels"] = map.clone();
    pod["metadata"]["annotations"] = map;
    let pod = World::of([set]).inject(&pod);
    let side = &pod["spec"]["containers"][0];
    assert_eq!(side["name"], "side");
    let length = |value: &Value| value.as_array().map_or(0, Vec::len);
    assert_eq!(
        length(&side["env"]),
        2 * COUNT + 1,
        "own, IS_INJECTED, transferred; those of mounts are the same"
    );
    assert_eq!(length(&side["volumeMounts"]), COUNT);
    assert_eq!(length(&pod["spec"]["imagePullSecrets"]), 2 * COUNT);
}

/// Pods of 3 MB, built so that work which grows with the square of a list would take minutes: see that they return.
#[test]
fn pods_of_three_megabytes() {
    const SIZE: usize = 3 << 20;
    let policy = json!({
        "targetContainersMode": "sum", "targetContainersNameRegex": ".*",
        "resourcesExpr": {"requests": {"cpu": "cpu*50%"}, "limits": {"memory": "memory"}}});
    let set = mk_set(json!({
        "containers": [{
            "name": "side", "shareVolumePolicy": {"type": "enabled"}, "shareVolumeDevicePolicy": {"type": "enabled"},
            "transferEnv": [{"sourceContainerName": "app", "envNames": ["A", "V7"]}], "resourcesPolicy": policy,
        }, {"name": "other", "resourcesPolicy": policy}],
        "imagePullSecrets": [{"name": "p"}],
    }));
    let snapshot = World::of([set]).snapshot();
    let fill = |size: usize, item: &dyn Fn(usize) -> String| {
        let mut text = String::new();
        for number in 0.. {
            if text.len() >= size {
                return text;
            }
            text.push_str(if number > 0 { "," } else { "" });
            text.push_str(&item(number));
        }
        text
    };
    let app = |members: &str| format!("\"containers\":[{{\"name\":\"app\",{members}}}]");
    let mounts = |number: usize| format!("{{\"mountPath\":\"/{number}\",\"subPathExpr\":\"$(V{number})\"}}");
    let env = |number: usize| format!("{{\"name\":\"V{number}\",\"value\":\"x\"}}");
    let names = |number: usize| format!("{{\"name\":\"n{number}\"}}");
    let references = format!("\"volumeMounts\":[{{\"subPathExpr\":\"{}\"}}]", "$(V7)".repeat(SIZE / 10));
    let recorded = fill(SIZE / 2, &|number| format!("\\\"n{number}\\\""));
    let recorded = format!("{{\\\"odd\\\":{{\\\"sidecarList\\\":[{recorded}]}}}}");
    let rows = [
        ("one long value", String::new(), app(&format!("\"image\":\"{}\"", "x".repeat(SIZE)))),
        ("escapes", String::new(), app(&format!("\"image\":\"{}\"", "\\n".repeat(SIZE / 2)))),
        ("containers", String::new(), format!("\"containers\":[{}]", fill(SIZE, &names))),
        (
            "empty containers",
            String::new(),
            format!("\"containers\":[{}{{\"name\":\"app\"}}]", "{},".repeat(SIZE / 3)),
        ),
        (
            "env and mounts",
            String::new(),
            app(&format!(
                "\"env\":[{}],\"volumeMounts\":[{}]",
                fill(SIZE / 2, &env),
                fill(SIZE / 2, &mounts)
            )),
        ),
        (
            "env and references",
            String::new(),
            app(&format!("\"env\":[{}],{references}", fill(SIZE / 2, &env))),
        ),
        (
            "volumes",
            String::new(),
            format!("{},\"volumes\":[{}]", app("\"image\":\"a\""), fill(SIZE, &names)),
        ),
        (
            "pull secrets, all the same",
            String::new(),
            format!(
                "{},\"imagePullSecrets\":[{}]",
                app("\"image\":\"a\""),
                fill(SIZE, &|_| "{\"name\":\"p\"}".to_owned())
            ),
        ),
        (
            "recorded names and containers",
            format!("\"kruise.io/sidecarset-hash\":\"{recorded}\""),
            format!("\"containers\":[{{\"name\":\"app\"}},{}]", fill(SIZE / 2, &names)),
        ),
        ("annotations", fill(SIZE, &|number| format!("\"k{number}\":\"\"")), app("\"image\":\"a\"")),
    ];
    for (row, annotations, spec) in rows {
        let pod = format!(
            "{{\"metadata\":{{\"labels\":{{\"app\":\"web\"}},\"annotations\":{{{annotations}}}}},\"spec\":{{{spec}}}}}"
        );
        assert!(pod.len() > SIZE / 2 && pod.len() < 2 * SIZE, "{row}: {}", pod.len());
        let decision = decide(&snapshot, &CONTEXT, &pod);
        let Verdict::Patch(patch) = decision.verdict else { panic!("{row}: {:?}", decision.verdict) };
        assert!(patch.len() < 3 * SIZE, "{row}: a patch of {} bytes", patch.len());
    }
}

/// ControllerRevisions that nobody should have made by hand; the denial names set and revision.
/// Rules: I-REV-9, I-REV-13, I-DEF-10.
#[test]
fn hand_made_revisions() {
    let mut set = mk_set(json!({"containers": [{"name": "live", "image": "live"}]}));
    set["spec"]["injectionStrategy"] = json!({"revision": {"revisionName": "r", "policy": "Always"}});
    let labels = json!({"kruise.io/sidecarset-name": "odd"});
    let world = |revision: Value| World { revisions: vec![revision], ..World::of([set.clone()]) };
    let with_data = |data: Value| world(json!({"metadata": {"name": "r", "labels": labels}, "data": data}));
    let pod = mk_pod(json!({"containers": [{"name": "app"}]}));

    for (data, text) in [
        (json!(null), "data is not an object"),
        (json!([]), "data is not an object"),
        (json!({"spec": 5}), "spec is not an object"),
        (json!({"spec": {"containers": {}}}), "spec.containers"),
        (json!({"spec": {"containers": [{"name": 5}]}}), "spec.containers[0].name"),
    ] {
        let (code, message) = with_data(data).deny(&pod);
        assert_eq!(code, 500);
        assert!(["\"odd\"", "\"r\"", text].iter().all(|part| message.contains(part)), "{message}");
    }
    for (data, containers) in [
        (json!({}), 2),
        (json!({"spec": null}), 1),
        (json!({"spec": {}}), 1),
        (json!({"spec": {"$patch": "replace", "containers": null, "unknown": {"a": 1}}}), 1),
        (json!({"spec": {"containers": [null, {"name": "old", "future": [1]}]}, "other": 1}), 3),
    ] {
        let pod = with_data(data.clone()).inject(&pod);
        assert_eq!(pod["spec"]["containers"].as_array().unwrap().len(), containers, "{data}");
    }
    for revision in [
        json!(null),
        json!({}),
        json!({"metadata": {"name": 5, "labels": []}}),
        json!({"metadata": {"name": "r"}}),
    ] {
        let (code, message) = world(revision).deny(&pod);
        assert_eq!(code, 500);
        assert!(message.contains("\"odd\"") && message.contains("\"r\""), "{message}");
    }
}

/// A set that cannot be decoded is refused when it is loaded, each finding with its path.
#[test]
fn sets_that_are_none() {
    for document in [
        json!(null),
        json!([]),
        json!({}),
        json!({"apiVersion": "apps.kruise.io/v1beta1", "kind": "SidecarSet", "spec": {"containers": 5}}),
    ] {
        let findings = SidecarSet::from_file_document(&document).expect_err("this is no SidecarSet");
        assert!(findings.iter().all(|finding| !finding.to_string().is_empty()) && !findings.is_empty());
    }
}
