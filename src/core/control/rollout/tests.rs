use serde_json::{Value, json};

use super::*;
use crate::control::fixtures::{SET, mk_pod, mk_set, mk_set_object, record, refs};

/// A Pod of table C-T-NEXT: not upgraded, upgraded, or upgraded and there.
fn mk(index: usize, upgraded: usize, done: usize, patch: &Value) -> PodFacts {
    let mut pod = json!({"metadata": {"creationTimestamp": format!("2024-01-01T00:{:02}:{:02}Z", index / 60 % 60, index % 60)}});
    if index < upgraded {
        let image = if index < done { "test-image:v2" } else { "test-image:v1" };
        let state =
            json!({SET: {"revision": "bbb", "lastContainerStatuses": {"test-sidecar": {"imageID": "old"}}}});
        json_patch::merge(
            &mut pod,
            &json!({
                "metadata": {"annotations": {
                    "kruise.io/sidecarset-hash": record("bbb"),
                    "kruise.io/sidecarset-inplace-update-state": state.to_string(),
                }},
                "spec": {"containers": [{"name": "main", "image": "main:v1"}, {"name": "test-sidecar", "image": "test-image:v2"}]},
                "status": {"containerStatuses": [
                    {"name": "main", "ready": true}, {"name": "test-sidecar", "image": image, "imageID": "old", "ready": true}]},
            }),
        );
    }
    json_patch::merge(&mut pod, patch);
    mk_pod(&format!("pod-{index}"), &pod)
}

fn mk_pods(count: usize, upgraded: usize, done: usize, patch: impl Fn(usize) -> Value) -> Vec<PodFacts> {
    // Shuffled: another step than 1 through all of them.
    (0..count).map(|step| step * 7919 % count).map(|index| mk(index, upgraded, done, &patch(index))).collect()
}

fn choose_names(set: &SetFacts, pods: &[PodFacts]) -> (Vec<String>, usize) {
    let views: Vec<PodView<'_>> = refs(pods).into_iter().map(|pod| PodView::new(set, pod)).collect();
    let round = choose(set, &views, &BackOffs::new(), "rev", 0);
    let names = round.chosen.iter().map(|(pod, _)| pod.name.to_string()).collect();
    (names, round.not_upgradable.len())
}

/// Rows C-T-NEXT-1 to 13. Rules: C-UPD-2, C-UPD-6, C-UPD-7, C-UPD-8, C-UPD-9.
#[test]
fn how_many() {
    let max = |value: Value| json!({"maxUnavailable": value});
    let both = |max: Value, partition: Value| json!({"maxUnavailable": max, "partition": partition});
    let rows = [
        (100, 30, 26, max(json!(10)), 6),
        (1000, 300, 260, max(json!("10%")), 60),
        (1000, 300, 250, max(json!("5%")), 0),
        (100, 30, 27, max(json!(100)), 70),
        (1000, 800, 760, both(json!(100), json!(180)), 20),
        (1000, 800, 760, both(json!(100), json!(100)), 60),
        (1000, 800, 760, both(json!(100), json!("18%")), 20),
        (1000, 800, 760, both(json!(100), json!("10%")), 60),
        (5, 0, 0, max(json!("5%")), 1),
        (5, 0, 0, both(json!(5), json!("99%")), 1),
        (5, 0, 0, both(json!(5), json!("1%")), 4),
    ];
    for (count, upgraded, done, strategy, expected) in rows {
        let set = mk_set(&json!({"updateStrategy": strategy}));
        let (chosen, not_upgradable) = choose_names(&set, &mk_pods(count, upgraded, done, |_| json!({})));
        assert_eq!((chosen.len(), not_upgradable), (expected, 0), "{count} {upgraded} {done} {strategy}");
    }
    let set = mk_set(
        &json!({"updateStrategy": {"maxUnavailable": 100, "selector": {"matchLabels": {"canary": "yes"}}}}),
    );
    let pods = mk_pods(
        1000,
        0,
        0,
        |index| json!({"metadata": {"labels": {"canary": if index < 30 { "yes" } else { "no" }}}}),
    );
    assert_eq!(choose_names(&set, &pods).0.len(), 30, "C-T-NEXT-9");
    let set = mk_set_object(&json!({
        "metadata": {"annotations": {"kruise.io/sidecarset-hash-without-image": "without-bbb"}},
        "spec": {"updateStrategy": {"maxUnavailable": 100}},
    }));
    let (chosen, not_upgradable) = choose_names(&set, &mk_pods(100, 0, 0, |_| json!({})));
    assert_eq!((chosen.len(), not_upgradable), (0, 100), "C-T-NEXT-10");
}

/// Rows C-T-ORD-1 to 4. Rules: C-UPD-5, C-UPD-9, C-UPD-10, C-SORT-1.
#[test]
fn which_first() {
    let strategy = |more: Value| {
        let mut strategy = json!({"maxUnavailable": 10});
        json_patch::merge(&mut strategy, &more);
        mk_set(&json!({"updateStrategy": strategy}))
    };
    let plain = |_| json!({});
    let names = |list: &[usize]| list.iter().map(|index| format!("pod-{index}")).collect::<Vec<_>>();
    let chosen = |set: &SetFacts, done: usize, patch: &dyn Fn(usize) -> Value| {
        choose_names(set, &mk_pods(20, 10, done, patch)).0
    };
    assert_eq!(chosen(&strategy(json!({})), 5, &plain), names(&[19, 18, 17, 16, 15]));
    let not_ready =
        |index| if [10, 13].contains(&index) { json!({"status": {"conditions": []}}) } else { json!({}) };
    assert_eq!(chosen(&strategy(json!({})), 5, &not_ready), names(&[13, 10, 19, 18, 17, 16, 15]));
    assert_eq!(chosen(&strategy(json!({"maxUnavailable": 0})), 5, &not_ready), names(&[13, 10]));
    let term = |weight: i64, value: &str| json!({"weight": weight, "matchSelector": {"matchLabels": {"test-key": value}}});
    let weights =
        strategy(json!({"priorityStrategy": {"weightPriority": [term(50, "foo"), term(30, "bar")]}}));
    let labelled = |index| match index {
        16 => json!({"metadata": {"labels": {"test-key": "foo"}}}),
        15 => json!({"metadata": {"labels": {"test-key": "bar"}}}),
        _ => json!({}),
    };
    assert_eq!(chosen(&weights, 2, &labelled), names(&[16, 15]));
    let order = strategy(json!({"priorityStrategy": {"orderPriority": [{"orderedKey": "key1"}]}}));
    let numbered = |index| {
        let value = match index {
            17 => "10",
            18 => "20",
            _ => "5",
        };
        json!({"metadata": {"labels": {"key1": value}}})
    };
    assert_eq!(chosen(&order, 2, &numbered), names(&[18, 17]));
}

/// A Pod that backs off is passed over, costs nothing unless it may have been written, and keeps its place in the partition.
/// Rules: C-RUST-9, C-BUG-11, C-UPD-22. Decision: D-32.
#[test]
fn one_that_fails_does_not_stop_the_others() {
    let set = mk_set(&json!({"updateStrategy": {"maxUnavailable": 1, "partition": 1}}));
    let pods = mk_pods(3, 0, 0, |_| json!({}));
    let views: Vec<PodView<'_>> = refs(&pods).into_iter().map(|pod| PodView::new(&set, pod)).collect();
    for (may_be_written, expected) in [(false, vec!["pod-1"]), (true, vec![])] {
        let back_off = BackOff { may_be_written, error: "denied".to_owned() };
        let back_offs = BackOffs::from([("uid-pod-2".to_owned(), back_off)]);
        let round = choose(&set, &views, &back_offs, "rev", 0);
        let names: Vec<&str> = round.chosen.iter().map(|(pod, _)| &*pod.name).collect();
        assert_eq!(names, expected, "{may_be_written}");
        assert_eq!(round.failures.len(), 1);
    }
}
