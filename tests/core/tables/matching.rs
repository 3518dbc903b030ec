//! I-T-MATCH, I-T-CAN: which sets a Pod receives.

use serde_json::{Value, json};

use super::{column, mk_set, pod_a};
use crate::world::World;

fn mk_namespace(name: &str, label: (&str, &str)) -> (String, Vec<(String, String)>) {
    (name.to_owned(), vec![(label.0.to_owned(), label.1.to_owned())])
}

#[test]
fn i_t_match() {
    let one = || vec![mk_namespace("app1", ("ns", "app1"))];
    let two = || vec![mk_namespace("app1", ("app", "app1")), mk_namespace("app2", ("app", "app2"))];
    let other = || vec![mk_namespace("app2", ("ns", "app2"))];
    let rows = [
        (json!(null), vec![], true),
        (json!({"matchLabels": {"ns": "app1"}}), one(), true),
        (json!({"matchLabels": {"ns": "app2"}}), one(), false),
        (json!({"matchLabels": {"app": "app1"}}), two(), true),
        (json!({"matchLabels": {"app": "app2"}}), two(), false),
        (json!({"matchLabels": {"ns": "app1"}}), other(), false),
    ];
    for (selector, namespaces, matches) in rows {
        let mut set = mk_set(
            "s",
            "h",
            json!({
            "selector": {"matchLabels": {"app": "nginx"}}, "containers": [{"name": "side"}]}),
        );
        if !selector.is_null() {
            set["spec"]["namespaceSelector"] = selector.clone();
        }
        let pod = json!({"metadata": {"namespace": "app1", "labels": {"app": "nginx"}}, "spec": {"containers": []}});
        let pod = World { namespaces, ..World::of([set]) }.inject(&pod);
        assert_eq!(column(&pod["spec"]["containers"], "name").contains(&"side"), matches, "{selector}");
    }
}

/// A canary displaces its base; anything else is a set like others.
/// Rule: I-CONST-12.
#[test]
fn i_t_can() {
    let canary = "apps.kruise.io/sidecarset-canary";
    let base = "apps.kruise.io/sidecarset-base";
    let rows: [(Value, bool); 9] = [
        (json!({canary: "true", base: "b"}), true),
        (json!({canary: "true", base: ""}), false),
        (json!({canary: "false", base: "b"}), false),
        (json!({}), false),
        (json!({canary: "true"}), false),
        (json!({base: "b"}), false),
        (json!({canary: "1", base: "b"}), false),
        (json!(null), false),
        (json!({canary: "TRUE", base: "b"}), false),
    ];
    for (annotations, is_canary) in rows {
        let mut other = mk_set("z", "h", json!({"containers": [{"name": "of-canary"}]}));
        other["metadata"]["annotations"] = annotations.clone();
        let pod = World::of([mk_set("b", "h", json!({"containers": [{"name": "of-base"}]})), other])
            .inject(&pod_a());
        let expected: &[&str] =
            if is_canary { &["of-canary", "nginx"] } else { &["of-base", "of-canary", "nginx"] };
        assert_eq!(column(&pod["spec"]["containers"], "name"), expected, "{annotations}");
        let list = if is_canary { "z" } else { "b,z" };
        assert_eq!(pod["metadata"]["annotations"]["kruise.io/sidecarset-injected-list"], list);
    }
}
