//! Tables about the members that only sidecar containers have.

use serde_json::{Value, json};
use sidecarset_core::validation::Validation;

use super::{World, mk_container, mk_spec, mk_with, told};

fn mk_policy(expressions: Value) -> Value {
    json!({"resourcesPolicy": {
        "targetContainersMode": "sum", "targetContainersNameRegex": "^app.*$", "resourcesExpr": expressions}})
}

/// A-T-DWN-1 to A-T-DWN-7 and A-EDGE-1.
#[test]
fn references_of_transfer_env() {
    let cases = [
        ("A-T-DWN-1", json!({"fieldRef": {"apiVersion": "v2", "fieldPath": "metadata.name"}}), false),
        ("A-T-DWN-2", json!({"fieldRef": {"apiVersion": "v1", "fieldPath": "invalid-label"}}), false),
        ("A-T-DWN-3", json!({"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.name"}}), false),
        ("A-T-DWN-4", json!({"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.annotations"}}), false),
        ("A-T-DWN-5", json!({"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.labels"}}), false),
        (
            "A-T-DWN-6",
            json!({"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.annotations['myAnnoKey']"}}),
            true,
        ),
        (
            "A-T-DWN-7",
            json!({"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.labels['myLabelKey']"}}),
            true,
        ),
        ("A-EDGE-1", json!({}), true),
    ];
    for (id, from, accepted) in cases {
        let set = mk_with(json!({"transferEnv": [{"sourceContainerNameFrom": from, "envName": "E"}]}));
        let expected: &[&str] =
            if accepted { &[] } else { &["spec[0].transferEnv.fieldRef.fieldPath Invalid"] };
        assert_eq!(World::default().findings(&set), expected, "{id}");
    }
}

/// Spec 10 section 8.8: A-T-RP-1 to A-T-RP-18.
#[test]
fn resources_policies() {
    let cpu: &[&str] = &["spec[0].resourcesPolicy.resourcesExpr.limits.cpu Invalid"];
    let with = |policy: Value, resources: Value| {
        let mut members = mk_policy(json!({"limits": {"cpu": "cpu"}}));
        members["resources"] = resources;
        for (name, value) in policy.as_object().unwrap() {
            members["resourcesPolicy"][name] = value.clone();
        }
        mk_with(members)
    };
    let half = json!({"cpu": "max(cpu*50%, 50m)", "memory": "max(memory*50%, 100Mi)"});
    let expressions = |expressions: Value| mk_with(mk_policy(expressions));
    let limit = |text: &str| expressions(json!({"limits": {"cpu": text}}));
    let long = "0.5*cpu - 0.3*max(0, cpu-4) + 0.3*max(0, cpu-8)";
    let cases: Vec<(&str, Value, &[&str])> = vec![
        ("A-T-RP-1", expressions(json!({"limits": half, "requests": half})), &[]),
        ("A-T-RP-2", with(json!({"targetContainersMode": "max"}), Value::Null), &[]),
        ("A-T-RP-3", expressions(json!({"requests": {"cpu": "max(cpu*50%, 50m)", "memory": "100Mi"}})), &[]),
        (
            "A-T-RP-4",
            with(json!({"targetContainersNameRegex": ""}), Value::Null),
            &["spec[0].resourcesPolicy.targetContainersNameRegex Required"],
        ),
        ("A-T-RP-5", with(json!({}), json!({"limits": {"cpu": "1"}})), &["spec[0].resourcesPolicy Invalid"]),
        (
            "A-T-RP-6",
            with(json!({}), json!({"requests": {"cpu": "1"}})),
            &["spec[0].resourcesPolicy Invalid"],
        ),
        (
            "A-T-RP-7",
            with(json!({"targetContainersNameRegex": "[invalid(regex"}), Value::Null),
            &["spec[0].resourcesPolicy.targetContainersNameRegex Invalid"],
        ),
        ("A-T-RP-8", expressions(json!({})), &["spec[0].resourcesPolicy.resourcesExpr Invalid"]),
        ("A-T-RP-9", limit("invalid expression @#$"), cpu),
        ("A-T-RP-10", limit("max(cpu*50%, 50m"), cpu),
        ("A-T-RP-11", limit("max(cpu*50%)"), cpu),
        ("A-T-RP-12", limit("invalidvar * 50%"), cpu),
        ("A-T-RP-13", expressions(json!({"limits": {"cpu": long, "memory": "max(memory*50%, 100Mi)"}})), &[]),
        ("A-T-RP-14", expressions(json!({"limits": {"memory": "memory*50%"}})), &[]),
        (
            "A-T-RP-16",
            expressions(json!({"requests": {"memory": "bad_memory_expr"}})),
            &["spec[0].resourcesPolicy.resourcesExpr.requests.memory Invalid"],
        ),
        ("A-T-RP-17", limit("memory*50%"), cpu),
        ("A-T-RP-18", expressions(json!({"limits": {}})), &[]),
    ];
    for (id, set, expected) in cases {
        assert_eq!(World::default().findings(&set), expected, "{id}");
    }
}

/// Expressions at admission: A-T-RP-20 to A-T-RP-29, A-T-EXPR-50 to A-T-EXPR-54, A-EXPR-20. Decision: D-12.
#[test]
fn expressions() {
    let limit = |text: &str| mk_with(mk_policy(json!({"limits": {"cpu": text}})));
    for text in [
        "",
        "cpu*50%",
        "min(cpu*50%, 100m)",
        "max( cpu * 0.5 , 50m )",
        "MAX(CPU,1)",
        "2-cpu",
        "-2*-3",
        "1 + 1Gi",
    ] {
        assert_eq!(World::default().judge(&limit(text)), Validation::default(), "{text}");
    }
    // Refused by upstream too, then what fails for every Pod and is refused by us alone.
    let refused = ["cpu +*/ 50%", "cpu-2", "1/(cpu-1)", "foo(1)", "2*-3", "1e3m"];
    let certain = ["cpu*cpu", "100m*cpu", "1/cpu", "max(100m, 2*cpu)/cpu", "1e999"];
    for text in refused.iter().chain(&certain) {
        assert_eq!(World::default().findings(&limit(text)).len(), 1, "{text}");
    }
    for text in ["2cpu", "50%cpu", "100x", "200MB", "1ki", "1E", ".", "1e+"] {
        let answer = World::default().judge(&limit(text));
        let rules: Vec<_> = answer.warnings.iter().map(|warning| warning.rule).collect();
        assert_eq!((answer.findings.len(), rules), (0, vec!["A-EDGE-9"]), "{text}");
        assert_eq!(World { strict: true, ..World::default() }.findings(&limit(text)).len(), 1, "{text}");
    }
}

/// What would make every Pod fail is refused always, what is odd is told. Rule: A-EDGE-4, A-EDGE-11. Decision: D-12.
#[test]
fn hot_upgrades_and_custom_versions() {
    let hot = |name: &str, empty: &str| {
        let mut container = mk_container(name);
        container["upgradeStrategy"] = json!({"upgradeType": "HotUpgrade", "hotUpgradeEmptyImage": empty});
        container
    };
    let of = |containers: Value| mk_spec(json!({"containers": containers}));
    let cases: Vec<(Value, &[&str])> = vec![
        (of(json!([hot("a", "empty:1")])), &[]),
        (of(json!([hot("a", "")])), &["spec.containers[0].upgradeStrategy.hotUpgradeEmptyImage Required"]),
        (of(json!([hot(&"x".repeat(61), "empty:1")])), &[]),
        (of(json!([hot(&"x".repeat(62), "empty:1")])), &["spec.containers[0].name Invalid"]),
        (of(json!([mk_container("a-2"), hot("a", "empty:1")])), &["spec.containers[1].name Invalid"]),
        (mk_spec(json!({"customVersion": "v1.0"})), &[]),
        (mk_spec(json!({"customVersion": "a b"})), &["spec.customVersion Invalid"]),
        (mk_spec(json!({"customVersion": "é"})), &["spec.customVersion Invalid"]),
    ];
    for (set, expected) in cases {
        assert_eq!(World::default().findings(&set), expected, "{set}");
    }
    let unknown = mk_with(json!({"upgradeStrategy": {"upgradeType": "Lukewarm"}}));
    let answer = World::default().judge(&unknown);
    assert_eq!(told(&answer.warnings), ["spec.containers[0].upgradeStrategy.upgradeType Invalid"]);
    let strict = World { strict: true, ..World::default() };
    assert_eq!(strict.findings(&unknown), ["spec.containers[0].upgradeStrategy.upgradeType Invalid"]);
}
