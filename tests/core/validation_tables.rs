//! Tables of spec 10 section 8 about validation, and what the recorded answers do not show: warnings, strictness, texts.

mod conflicts;
mod containers;

use serde_json::{Value, json};
use sidecarset_core::field::FieldError;
use sidecarset_core::revision::Revisions;
use sidecarset_core::validation::{self, ClusterView, Options, StoredSets, Validation};

const LIST: &str = "SidecarSet_PatchPodMetadata_WhiteList";

/// What a set is judged among.
#[derive(Default)]
struct World {
    stored: Vec<Value>,
    revisions: Vec<Value>,
    allow_list: Option<Value>,
    old: Option<Value>,
    strict: bool,
    defaults_allowed: bool,
}

impl World {
    fn judge(&self, set: &Value) -> Validation {
        let cluster = ClusterView {
            sets: &StoredSets::new(&self.stored),
            revisions: &Revisions::new(&self.revisions),
            allow_list: self.allow_list.as_ref(),
        };
        let options = Options {
            strict: self.strict,
            patch_metadata_defaults_allowed: self.defaults_allowed,
            ..Options::default()
        };
        match &self.old {
            None => validation::create(set, &cluster, options),
            Some(old) => validation::update(old, set, &cluster, options),
        }
    }

    fn findings(&self, set: &Value) -> Vec<String> {
        told(&self.judge(set).findings)
    }
}

/// `path Kind`, without the word that all kinds begin with.
fn told(findings: &[FieldError]) -> Vec<String> {
    findings
        .iter()
        .map(|finding| format!("{} {}", finding.path, finding.kind.as_str().trim_start_matches("FieldValue")))
        .collect()
}

fn mk_container(name: &str) -> Value {
    json!({
        "name": name, "image": "test-image", "imagePullPolicy": "IfNotPresent", "terminationMessagePolicy": "File",
        "podInjectPolicy": "BeforeAppContainer", "shareVolumePolicy": {"type": "disabled"},
        "upgradeStrategy": {"upgradeType": "ColdUpgrade"},
    })
}

fn mk_set(name: &str) -> Value {
    json!({"metadata": {"name": name}, "spec": {
        "selector": {"matchLabels": {"a": "b"}}, "containers": [mk_container("test-sidecar")],
        "updateStrategy": {"type": "NotUpdate"},
    }})
}

/// The set of [`mk_set`] with other members in its spec.
fn mk_spec(members: Value) -> Value {
    let mut set = mk_set("test-sidecarset");
    for (name, value) in members.as_object().unwrap() {
        set["spec"][name] = value.clone();
    }
    set
}

/// The set of [`mk_set`] with other members in its container.
fn mk_with(members: Value) -> Value {
    let mut set = mk_set("test-sidecarset");
    for (name, value) in members.as_object().unwrap() {
        set["spec"]["containers"][0][name] = value.clone();
    }
    set
}

/// Spec 10 section 8.4, A-T-VAL-1 to A-T-VAL-41.
#[test]
fn spec_rules() {
    let bad = json!({"matchLabels": {"a": "b"}, "matchExpressions": [
        {"key": "app-name", "operator": "NotIn", "values": ["app-group", "app-risk-"]}]});
    let native = || {
        let mut container = mk_container("init");
        container["restartPolicy"] = json!("Always");
        json!([container])
    };
    let rolling = |members: Value| {
        let mut update = json!({"type": "RollingUpdate"});
        update.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        mk_spec(json!({"updateStrategy": update}))
    };
    let selected =
        |partition: Value| rolling(json!({"selector": {"matchLabels": {"a": "b"}}, "partition": partition}));
    let patches = |policies: &[&str]| {
        let patch = |policy| json!({"annotations": {"key1": "{}"}, "patchPolicy": policy});
        mk_spec(json!({"patchPodMetadata": policies.iter().map(patch).collect::<Vec<_>>()}))
    };
    let revision = |revision: Value| mk_spec(json!({"injectionStrategy": {"revision": revision}}));
    let pair = json!({"key": "key-1", "value": "value-1"});
    let cases: Vec<(&str, Value, &[&str])> = vec![
        ("A-T-VAL-1", mk_spec(json!({"selector": null})), &["spec.selector Required"]),
        (
            "A-T-VAL-2",
            rolling(json!({"scatterStrategy": [pair, pair]})),
            &["spec.updateStrategy.scatterStrategy Required"],
        ),
        (
            "A-T-VAL-3",
            mk_spec(json!({"selector": bad})),
            &["spec.selector.matchExpressions[0].values[1] Invalid", "spec.selector.selector Invalid"],
        ),
        (
            "A-T-VAL-4",
            mk_spec(json!({"namespaceSelector": bad})),
            &[
                "spec.namespaceSelector.matchExpressions[0].values[1] Invalid",
                "spec.namespaceSelector.selector Invalid",
            ],
        ),
        ("A-T-VAL-5", mk_spec(json!({"namespaceSelector": {"matchLabels": {"a": "b"}}})), &[]),
        (
            "A-T-VAL-6",
            mk_spec(json!({"containers": [], "initContainers": [
            {"name": "i", "imagePullPolicy": "Always", "terminationMessagePolicy": "File"}]})),
            &["spec.initContainers[0].image Required"],
        ),
        ("A-T-VAL-7", mk_spec(json!({"containers": []})), &["spec Required"]),
        (
            "A-T-VAL-8",
            mk_with(json!({"shareVolumePolicy": {}})),
            &["spec.container.shareVolumePolicy Invalid"],
        ),
        ("A-T-VAL-13", patches(&["MergePatchJson", "Overwrite"]), &["spec.patchPodMetadata Required"]),
        ("A-T-VAL-14", revision(json!({"customVersion": "normal-sidecarset-01234"})), &["revision Invalid"]),
        (
            "A-T-VAL-15",
            revision(json!({"revisionName": "test-sidecarset-678235", "policy": "Always"})),
            &["revision Invalid"],
        ),
        ("A-VAL-40", revision(json!({"revisionName": "test-sidecarset-01234"})), &[]),
        (
            "A-T-VAL-16",
            {
                let mut set = rolling(json!({}));
                set["spec"]["initContainers"] = native();
                set
            },
            &["spec.updateStrategy Required"],
        ),
        ("A-VAL-30", mk_spec(json!({"initContainers": native()})), &[]),
        ("A-T-VAL-34", selected(json!("0%")), &["updateStrategy Invalid"]),
        ("A-T-VAL-34", selected(json!(0)), &[]),
        ("A-T-VAL-34", selected(json!(5)), &["updateStrategy Invalid"]),
        (
            "A-VAL-28",
            rolling(json!({"priorityStrategy": {
            "weightPriority": [{"weight": 1, "matchSelector": {"matchLabels": {"a": "b"}}}],
            "orderPriority": [{"orderedKey": "k"}]}})),
            &["spec.updateStrategy.priorityStrategy Required"],
        ),
        (
            "A-VAL-28",
            rolling(json!({"priorityStrategy": {"weightPriority": [{"weight": 101,
            "matchSelector": {"matchLabels": {"a": "b"}}}]}})),
            &["spec.updateStrategy.priorityStrategy Required"],
        ),
        (
            "A-VAL-28",
            rolling(json!({"priorityStrategy": {"weightPriority": [{"weight": 0,
            "matchSelector": {"matchLabels": {"a": "b"}}}]}})),
            &[],
        ),
        (
            "A-VAL-28",
            rolling(json!({"priorityStrategy": {"weightPriority": [{"weight": 1,
            "matchSelector": {"matchLabels": {"a b": "b"}}}]}})),
            &["spec.updateStrategy.priorityStrategy Required"],
        ),
        (
            "A-VAL-29",
            rolling(json!({"scatterStrategy": [{"key": "a", "value": "b:c"}, {"key": "a:b", "value": "c"}]})),
            &["spec.updateStrategy.scatterStrategy Required"],
        ),
        (
            "A-T-VAL-39",
            mk_with(json!({"volumeMounts": [{"name": "v", "mountPath": "/v"}]})),
            &["spec.containers[0].volumeMounts[0].name NotFound"],
        ),
        ("A-T-VAL-40 with D-16", mk_with(json!({"restartPolicy": "Always"})), &[]),
        ("A-T-VAL-41", mk_spec(json!({"namespaceSelector": {}})), &["spec.namespaceSelector Invalid"]),
        ("A-T-VAL-37", mk_set("my.set"), &["metadata.name Invalid"]),
        ("A-VAL-12", mk_set(&"x".repeat(64)), &["metadata.name Invalid"]),
        (
            "A-VAL-17",
            {
                let mut set = mk_set("s");
                set["metadata"]["annotations"] = json!({"k": "x".repeat(262_144)});
                set
            },
            &["metadata.annotations TooLong"],
        ),
        (
            "A-VAL-19",
            {
                let mut set = mk_set("s");
                set["metadata"]["finalizers"] = json!(["orphan", "foregroundDeletion"]);
                set["metadata"]["managedFields"] =
                    json!([{"manager": "m".repeat(129), "operation": "Create"}]);
                set
            },
            &[
                "metadata.finalizers Invalid",
                "metadata.managedFields[0].manager TooLong",
                "metadata.managedFields[0].operation Invalid",
            ],
        ),
        (
            "A-VAL-18",
            {
                let mut set = mk_set("s");
                set["metadata"]["ownerReferences"] = json!([{"apiVersion": "v1", "kind": "Event", "name": "e", "uid": "1"},
                {"apiVersion": "a/b/c", "kind": "K", "name": "e", "uid": "1"}]);
                set
            },
            &["metadata.ownerReferences Invalid", "metadata.ownerReferences.apiVersion Invalid"],
        ),
    ];
    let revision = |name: &str| json!({"metadata": {"name": name}, "data": {}});
    let world = World {
        revisions: vec![revision("test-sidecarset-01234"), revision("test-sidecarset-56789")],
        defaults_allowed: true,
        ..World::default()
    };
    for (id, set, expected) in cases {
        assert_eq!(world.findings(&set), expected, "{id} {set}");
    }
}

/// A-T-VAL-30 to A-T-VAL-33 and A-EDGE-19.
#[test]
fn updates() {
    let with_type = |kind: &str| {
        mk_with(json!({"upgradeStrategy": {"upgradeType": kind, "hotUpgradeEmptyImage": "empty:1"}}))
    };
    let with_names = |names: &[&str]| {
        mk_spec(json!({"containers": names.iter().map(|name| mk_container(name)).collect::<Vec<_>>()}))
    };
    let changed: &[&str] = &["spec.containers.upgradeStrategy.upgradeType Invalid"];
    let cases: [(&str, Value, Value, &[&str]); 7] = [
        ("A-T-VAL-30", with_type("ColdUpgrade"), with_type("HotUpgrade"), changed),
        ("A-T-VAL-30", with_type("HotUpgrade"), with_type("ColdUpgrade"), changed),
        ("A-VAL-70", with_type("HotUpgrade"), with_type("HotUpgrade"), &[]),
        ("A-T-VAL-31", with_names(&["a"]), with_names(&["a", "b"]), &["spec.containers.name Invalid"]),
        ("A-VAL-71", with_names(&["a"]), with_names(&["b"]), &["spec.containers.name Invalid"]),
        ("A-T-VAL-32", with_names(&["a", "b"]), with_names(&["b"]), &[]),
        ("A-T-VAL-33", with_type(""), with_type("HotUpgrade"), &[]),
    ];
    for (id, old, new, expected) in cases {
        assert_eq!(World { old: Some(old), ..World::default() }.findings(&new), expected, "{id}");
    }
    let rolled = |members: Value| {
        let mut set = mk_with(members);
        set["spec"]["updateStrategy"] = json!({"type": "RollingUpdate"});
        set
    };
    let world = World { old: Some(rolled(json!({}))), ..World::default() };
    assert_eq!(world.judge(&rolled(json!({"image": "other"}))), Validation::default());
    let warned = world.judge(&rolled(json!({"args": ["x"]}))).warnings;
    assert_eq!(warned.iter().map(|warning| warning.rule).collect::<Vec<_>>(), ["A-EDGE-19"]);
}

/// Spec 10 section 8.7: A-T-WL-1 to A-T-WL-10.
#[test]
fn allow_lists() {
    let mut set =
        mk_spec(json!({"patchPodMetadata": [{"annotations": {"key1": "v"}, "patchPolicy": "Retain"}]}));
    set["metadata"]["labels"] = json!({"app": "sidecar"});
    let list = |text: &str| Some(json!({LIST: text}));
    let allowing =
        |pattern: &str| list(&json!({"rules": [{"allowedAnnotationKeyExprs": [pattern]}]}).to_string());
    let selecting = |app: &str| {
        let rule = json!({"selector": {"matchLabels": {"app": app}}, "allowedAnnotationKeyExprs": ["key.*"]});
        list(&json!({"rules": [rule]}).to_string())
    };
    let cases = [
        ("A-T-WL-2", None, false, false),
        ("A-T-WL-3", allowing("key.*"), false, true),
        ("A-T-WL-4", allowing("key2"), false, false),
        ("A-T-WL-5", selecting("other"), false, false),
        ("A-T-WL-6", selecting("sidecar"), false, true),
        ("A-T-WL-7", None, true, true),
        ("A-T-WL-8", allowing("ey"), false, true),
        ("A-T-WL-9", list("not json"), false, false),
        ("A-T-WL-10", allowing("key2"), true, false),
        ("A-VAL-51", list(r#"{"rules": "x"}"#), true, false),
        ("A-VAL-51", list("[]"), true, false),
        ("A-VAL-51", list("null"), true, true),
        ("A-VAL-51", selecting("other"), true, true),
        ("A-VAL-50", Some(json!({"unrelated": "x"})), true, true),
    ];
    for (id, allow_list, defaults_allowed, accepted) in cases {
        let world = World { allow_list, defaults_allowed, ..World::default() };
        let expected: &[&str] = if accepted { &[] } else { &["spec.patchPodMetadata Required"] };
        assert_eq!(world.findings(&set), expected, "{id}");
        let answer = world.judge(&set);
        let names_the_map = |finding: &FieldError| finding.detail.contains("kruise-configuration");
        assert!(answer.findings.iter().all(names_the_map), "{id} A-EDGE-22");
    }
    assert_eq!(World::default().findings(&mk_set("s")), [""; 0], "A-T-WL-1");
}

/// Rule: A-EDGE-10, A-EDGE-12.
#[test]
fn warnings_that_stay_warnings() {
    let patch = json!({"annotations": {"k": "not json", "l": "{}"}, "patchPolicy": "MergePatchJson"});
    let mut set = mk_spec(json!({
        "patchPodMetadata": [patch], "injectionStrategy": {"revision": {"revisionName": "foreign-1"}}}));
    set["metadata"]["name"] = json!("mine");
    let revision = json!({"metadata": {"name": "foreign-1", "labels": {"kruise.io/sidecarset-name": "theirs"}}, "data": {}});
    let world = World { revisions: vec![revision], defaults_allowed: true, strict: true, ..World::default() };
    let answer = world.judge(&set);
    let rules: Vec<_> = answer.warnings.iter().map(|warning| warning.rule).collect();
    assert_eq!((answer.findings, rules), (vec![], vec!["A-EDGE-12", "A-EDGE-10"]));
}

/// Rule: A-VAL-3, A-EDGE-16. Decision: D-3, D-10.
#[test]
fn a_text_says_where_what_was_found_and_what_would_be_right() {
    let mut set = mk_with(json!({"podInjectPolicy": "Before"}));
    set["metadata"]["name"] = json!("my.set");
    let texts: Vec<_> = World::default().judge(&set).findings.iter().map(ToString::to_string).collect();
    let expected = [
        "metadata.name: found \"my.set\", must have only letters, digits and '-' [A-VAL-11]",
        "spec.container.podInjectPolicy: spec.containers[0].podInjectPolicy: found \"Before\", must be \"BeforeAppContainer\" or \
         \"AfterAppContainer\" [A-VAL-31]",
    ];
    assert_eq!(texts, expected);
}
