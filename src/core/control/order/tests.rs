use serde_json::{Value, json};

use super::*;
use crate::control::fixtures::{mk_pod, mk_set, refs};

fn names<'p>(pods: &[&'p PodFacts]) -> Vec<&'p str> {
    pods.iter().map(|pod| &*pod.name).collect()
}

/// The order of Pods that differ only in their labels, which begins by name.
fn ordered(strategy: &Value, labels: &[Value]) -> Vec<usize> {
    let pods: Vec<PodFacts> = labels
        .iter()
        .enumerate()
        .map(|(index, labels)| mk_pod(&format!("{index}"), &json!({"metadata": {"labels": labels}})))
        .collect();
    let set = mk_set(&json!({"updateStrategy": strategy}));
    let sorted = sort(&set, refs(&pods), &refs(&pods));
    sorted.iter().map(|pod| pod.name.parse().unwrap()).collect()
}

fn weights(terms: &[(i64, &str, &str)]) -> Value {
    let terms = terms.iter().map(
        |(weight, key, value)| json!({"weight": weight, "matchSelector": {"matchLabels": {*key: value}}}),
    );
    json!({"priorityStrategy": {"weightPriority": terms.collect::<Vec<_>>()}})
}

/// Rows C-T-PRIO-1 to 16. Rules: C-SORT-3, C-SORT-4, C-SORT-5, C-BUG-19.
#[test]
fn priorities() {
    let two = weights(&[(20, "key", "foo"), (10, "key", "bar")]);
    let three = |last| weights(&[(20, "key1", "foo"), (10, "key2", "bar"), (last, "key3", "baz")]);
    let keys =
        json!({"priorityStrategy": {"orderPriority": [{"orderedKey": "key1"}, {"orderedKey": "key2"}]}});
    let none = json!({});
    let label = |key: &str, value: &str| json!({key: value});
    let both = json!({"key2": "bar", "key3": "baz"});
    let cases = [
        (&two, none.clone(), none.clone(), true),
        (&two, label("key", "foo"), label("key", "foo"), true),
        (&two, label("key", "bar"), label("key", "foo"), false),
        (&two, none.clone(), label("key", "bar"), false),
        (&two, none.clone(), label("key", "foo"), false),
        (&three(15), label("key1", "foo"), both.clone(), false),
        (&three(5), both, label("key1", "foo"), false),
        (&keys, none.clone(), none.clone(), true),
        (&keys, label("key1", "o-10"), label("key1", "o-5"), true),
        (&keys, label("key1", "o-10"), label("key1", "o-10"), true),
        (&keys, label("key1", "o-10"), label("key1", "o-20"), false),
        (&keys, label("key2", "o-20"), label("key1", "o-10"), false),
        (&keys, label("key2", "o-20"), label("key2", "o-10"), true),
        (&keys, label("key1", "o-10"), none.clone(), false),
        (&keys, label("key1", "99999999999999999999"), label("key1", "1"), false),
    ];
    for (row, (strategy, first, second, stays)) in cases.into_iter().enumerate() {
        let expected = if stays { [0, 1] } else { [1, 0] };
        assert_eq!(
            ordered(strategy, &[first.clone(), second.clone()]),
            expected,
            "row {}: {first} {second}",
            row + 1
        );
    }
    let plain = [none.clone(), none.clone(), none.clone()];
    assert_eq!(ordered(&none, &plain), [0, 1, 2]);
    let strategy = weights(&[(100, "foo", "bar"), (90, "hello", "world")]);
    let pods = [label("hello", "world"), none.clone(), label("foo", "bar"), none.clone()];
    assert_eq!(ordered(&strategy, &pods), [2, 0, 1, 3]);
    assert_eq!(ordered(&strategy, &[plain.to_vec(), vec![none]].concat()), [0, 1, 2, 3]);
}

/// Each Pod goes before the one after it by one criterion alone. Rule: C-SORT-2. Decision: D-31.
#[test]
fn the_default_order() {
    let time = |second: u32| format!("2024-01-01T00:00:{second:02}Z");
    let ready =
        |at: Value| json!({"conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": at}]});
    let restarts = |list: &str, count: i32| {
        json!({"spec": {"initContainers": [{"name": "n", "restartPolicy": "Always"}]},
            "status": {list: [{"name": "n", "restartCount": count}], "conditions": ready(json!(time(5)))["conditions"]}})
    };
    let created = |at: Value| json!({"metadata": {"creationTimestamp": at}, "status": {"conditions": ready(json!(time(1)))["conditions"]}});
    let rising = [
        json!({"spec": {"nodeName": null}}),
        json!({"status": {"phase": "Pending"}}),
        json!({"status": {"phase": "Unknown"}}),
        json!({"status": {"conditions": null}}),
        json!({"status": ready(json!(null))}),
        json!({"status": ready(json!(time(9)))}),
        restarts("containerStatuses", 7),
        restarts("containerStatuses", 3),
        restarts("initContainerStatuses", 2),
        restarts("initContainerStatuses", 1),
        created(json!(null)),
        created(json!(time(8))),
        created(json!(time(4))),
    ];
    let pods: Vec<PodFacts> = rising
        .iter()
        .enumerate()
        .map(|(index, patch)| mk_pod(&format!("p{:02}", 50 - index), patch))
        .collect();
    let set = mk_set(&json!({}));
    let mut backwards = refs(&pods);
    backwards.reverse();
    assert_eq!(names(&sort(&set, backwards, &refs(&pods))), names(&refs(&pods)));
    let ties = [
        mk_pod("b", &json!({})),
        mk_pod("a", &json!({})),
        mk_pod("c", &json!({"metadata": {"namespace": "a"}})),
    ];
    assert_eq!(names(&sort(&set, refs(&ties), &[])), ["c", "a", "b"]);
}
