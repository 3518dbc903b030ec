//! Tables about other sets: conflicts and canaries.

use serde_json::{Value, json};
use sidecarset_core::validation::Validation;

use super::{World, mk_container, mk_set, mk_spec, told};

const CANARY: &str = "apps.kruise.io/sidecarset-canary";
const BASE: &str = "apps.kruise.io/sidecarset-base";

/// Spec 10 section 8.5, and A-VAL-80 to A-VAL-86.
#[test]
fn conflicts() {
    let volume = |name: &str, path: &str| json!({"volumes": [{"name": name, "hostPath": {"path": path}}]});
    let patch = |key: &str, policy: &str| json!({"patchPodMetadata": [{"annotations": {key: "{}"}, "patchPolicy": policy}]});
    let namespace = |app: &str| json!({"namespaceSelector": {"matchLabels": {"app": app}}});
    let own = |members: Value| {
        let mut members = members;
        members["containers"] = json!([mk_container("own")]);
        members
    };
    let init = json!({"initContainers": [mk_container("i")], "volumes": [{"name": "v", "emptyDir": {}}]});
    let cases: [(&str, Value, Value, &[&str]); 10] = [
        ("A-T-CONF-1", init.clone(), init, &["spec.containers Invalid", "spec.containers Invalid"]),
        ("A-T-CONF-2", namespace("nginx"), namespace("nginx"), &["spec.containers Invalid"]),
        ("A-T-CONF-3", namespace("nginx"), namespace("redis"), &[]),
        (
            "A-T-META-1",
            own(patch("key1", "Overwrite")),
            patch("key1", "MergePatchJson"),
            &["spec.patchPodMetadata Invalid"],
        ),
        ("A-T-META-2", own(patch("key1", "Retain")), patch("key2", "Overwrite"), &[]),
        ("A-T-META-3", own(patch("oom-score", "MergePatchJson")), patch("oom-score", "MergePatchJson"), &[]),
        ("A-T-META-4", own(patch("key1", "Overwrite")), patch("key1", "Retain"), &[]),
        ("A-T-VOL-1", own(volume("v", "/home/work-1")), volume("w", "/home/work-1"), &[]),
        ("A-T-VOL-2", own(volume("v", "/home/work-1")), volume("v", "/home/work-1"), &[]),
        (
            "A-T-VOL-3",
            own(volume("v", "/home/work-1")),
            volume("v", "/home/work-2"),
            &["spec.volumes Invalid"],
        ),
    ];
    for (id, new, other, expected) in cases {
        let mut stored = mk_spec(other);
        stored["metadata"]["name"] = json!("sidecarset1");
        let world = World { stored: vec![stored], defaults_allowed: true, ..World::default() };
        assert_eq!(world.findings(&mk_spec(new)), expected, "{id}");
    }
}

/// Upstream looks at one of several sets, which one is chance; and it takes `Exists` too strictly.
///
/// Rule: A-EDGE-3, A-EDGE-6, A-EDGE-7. Decision: D-12.
#[test]
fn conflicts_that_upstream_may_miss() {
    let stored = |name: &str, selector: Value, path: &str| {
        let mut set = mk_set(name);
        set["spec"]["containers"] = json!([mk_container(name)]);
        set["spec"]["selector"] = selector;
        set["spec"]["volumes"] = json!([{"name": "v", "hostPath": {"path": path}}]);
        set
    };
    let same = json!({"matchLabels": {"a": "b"}});
    let exists = json!({"matchExpressions": [{"key": "other", "operator": "Exists"}]});
    let new = mk_spec(json!({"volumes": [{"name": "v", "hostPath": {"path": "/1"}}]}));
    let cases = [
        (vec![stored("s1", same.clone(), "/2"), stored("s2", same.clone(), "/1")], "A-EDGE-7"),
        (vec![stored("s1", same.clone(), "/1"), stored("s2", same, "/2")], "A-EDGE-7"),
        (vec![stored("s1", exists, "/2")], "A-EDGE-6"),
    ];
    for (stored, rule) in cases {
        let lenient = World { stored, ..World::default() };
        let answer = lenient.judge(&new);
        assert_eq!(answer.findings, []);
        assert_eq!(told(&answer.warnings), ["spec.volumes Invalid"]);
        assert_eq!(answer.warnings[0].rule, rule);
        let strict = World { strict: true, ..lenient }.judge(&new);
        assert_eq!((strict.findings, strict.warnings), (answer.warnings, vec![]));
    }
    let nowhere = stored("s1", Value::Null, "/2");
    assert_eq!(World { stored: vec![nowhere], ..World::default() }.judge(&new), Validation::default());
}

/// Id, stored sets, the set before, the set, the rules that deny it.
type Case = (&'static str, Vec<Value>, Option<Value>, Value, &'static [&'static str]);

/// Spec 10 section 8.6: A-T-CAN-1 to A-T-CAN-9. Decision: D-13.
#[test]
fn canaries() {
    let canary = |name: &str, base: &str| {
        let mut set = mk_set(name);
        set["metadata"]["annotations"] = json!({CANARY: "true", BASE: base});
        set
    };
    let mut rolling = canary("test-sidecarset", "base");
    rolling["spec"]["updateStrategy"]["type"] = json!("RollingUpdate");
    let stored = || {
        let mut canary = canary("canary", "base");
        canary["spec"]["containers"] = json!([mk_container("other")]);
        vec![mk_set("base"), canary, mk_set("test-sidecarset")]
    };
    let own = |base: &str| canary("test-sidecarset", base);
    let old = |base: &str| Some(own(base));
    let cases: [Case; 9] = [
        ("A-T-CAN-1", vec![], None, mk_set("test-sidecarset"), &[]),
        ("A-T-CAN-2", stored(), None, own("test-sidecarset"), &["A-VAL-60"]),
        ("A-T-CAN-3", stored(), None, own("base"), &[]),
        ("A-T-CAN-4", stored(), None, own("canary"), &["A-VAL-63"]),
        ("A-T-CAN-5", stored(), None, own("nobody"), &["A-VAL-62"]),
        ("A-T-CAN-6", stored(), old("base"), own("base"), &[]),
        ("A-T-CAN-7", stored(), old("before"), own("base"), &["A-VAL-61"]),
        ("A-T-CAN-8", stored(), None, rolling, &["A-VAL-64"]),
        ("A-T-CAN-9", vec![], None, own("test-sidecarset"), &["A-VAL-60", "A-VAL-62"]),
    ];
    for (id, stored, old, set, expected) in cases {
        let answer = World { stored, old, ..World::default() }.judge(&set);
        assert!(answer.findings.iter().all(|finding| finding.path == "metadata"), "{id}");
        let mut rules: Vec<_> = answer.findings.iter().map(|finding| finding.rule).collect();
        rules.sort_unstable();
        assert_eq!(rules, expected, "{id}");
    }
    // A family shares its names, whoever of it is stored first.
    let family = World { stored: vec![canary("c1", "test-sidecarset")], ..World::default() };
    assert_eq!(family.findings(&mk_set("test-sidecarset")), [""; 0]);
    let sister = World {
        stored: vec![mk_set("test-sidecarset"), canary("c1", "test-sidecarset")],
        ..World::default()
    };
    assert_eq!(sister.findings(&canary("c2", "test-sidecarset")), [""; 0]);
}

/// A-T-CAN-10 to A-T-CAN-18 show which set is a canary; the near misses are told. Rule: A-EDGE-32.
#[test]
fn near_canaries_are_told() {
    let cases = [
        (json!({CANARY: "true"}), 1),
        (json!({CANARY: "true", BASE: ""}), 1),
        (json!({CANARY: "True", BASE: "b"}), 1),
        (json!({CANARY: "1", BASE: "b"}), 1),
        (json!({CANARY: "false", BASE: "b"}), 0),
        (json!({BASE: "b"}), 0),
        (json!(null), 0),
    ];
    for (annotations, warnings) in cases {
        let mut set = mk_set("s");
        set["metadata"]["annotations"] = annotations.clone();
        let answer = World::default().judge(&set);
        assert_eq!((answer.findings.len(), answer.warnings.len()), (0, warnings), "{annotations}");
        assert!(answer.warnings.iter().all(|warning| warning.rule == "A-EDGE-32"));
    }
}
