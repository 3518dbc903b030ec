use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::fixtures::{SET, container, mk_pod, mk_set, mk_set_object, record, refs};
use super::missed::{Outcomes, Reach, WebhookHealth};
use super::*;
use crate::api::keys;

/// Decides with nothing special around.
fn look(set: &SetFacts, pods: &[PodFacts], expectations: &Expectations) -> Decisions {
    look_with(set, pods, expectations, &BackOffs::new())
}

fn look_with(
    set: &SetFacts,
    pods: &[PodFacts],
    expectations: &Expectations,
    back_offs: &BackOffs,
) -> Decisions {
    let (none, namespaces) = (BTreeSet::new(), Namespaces::new());
    decide(&Observed {
        set,
        pods: &refs(pods),
        namespaces: &namespaces,
        revisions: &[],
        revision_namespace: "system",
        known_sets: None,
        expectations,
        back_offs,
        repair: Repair {
            webhook: WebhookHealth::Unhealthy,
            reach: Some(&Reach::default()),
            pause: Duration::ZERO,
            relatives: &none,
            outcomes: &Outcomes::default(),
        },
        drops_conditions: false,
        now: Now { unix: 0, monotonic: Duration::from_secs(100) },
    })
}

fn kinds(decisions: &Decisions) -> Vec<(PodWriteKind, &str)> {
    decisions.pods.iter().map(|write| (write.kind, write.pod.name.as_str())).collect()
}

/// Rows C-T-FLOW-1 to 5 and C-T-NEXT-14. Rules: C-CTL-21, C-STAT-12, C-EVT-1, C-COND-5, C-HOTC-12.
#[test]
fn the_steps_of_one_look() {
    let flow = |strategy: Value, patch: Value| {
        let set = mk_set(&json!({"updateStrategy": strategy}));
        let decisions = look(&set, &[mk_pod("p", &patch)], &Expectations::default());
        assert!(decisions.status.is_some() && decisions.revisions.writes.len() == 1);
        decisions.pods.len()
    };
    assert_eq!(flow(json!({"type": "NotUpdate"}), json!({})), 0, "C-T-FLOW-1");
    assert_eq!(flow(json!({"paused": true}), json!({})), 0, "C-T-FLOW-2");
    assert_eq!(flow(json!({"maxUnavailable": 0}), json!({"status": {"phase": "Pending"}})), 1, "C-T-FLOW-3");
    assert_eq!(flow(json!({"partition": 1}), json!({})), 0, "C-T-FLOW-4");
    let updated = json!({"metadata": {"annotations": {"kruise.io/sidecarset-hash": record("bbb")}}});
    assert_eq!(flow(json!({}), updated), 0, "C-T-FLOW-5");

    let pods: Vec<PodFacts> = (0..100)
        .map(|index| {
            let hash = if index % 2 == 0 { "without-aaa" } else { "other" };
            let key = "kruise.io/sidecarset-hash-without-image";
            mk_pod(&format!("p{index:02}"), &json!({"metadata": {"annotations": {key: record(hash)}}}))
        })
        .collect();
    let set = mk_set(&json!({"updateStrategy": {"maxUnavailable": "50%"}}));
    let decisions = look(&set, &pods, &Expectations::default());
    let count = |kind| kinds(&decisions).iter().filter(|(found, _)| *found == kind).count();
    assert_eq!((count(PodWriteKind::Upgrade), count(PodWriteKind::MarkNotUpgradable)), (50, 50));
    assert!(kinds(&decisions).is_sorted_by_key(|(kind, _)| *kind), "marks come before upgrades");
    assert_eq!(decisions.events.iter().map(|event| event.reason).collect::<Vec<_>>(), ["NotUpgradablePods"]);
}

/// Our own writes are waited for before anything is written to a Pod. Rules: C-CTL-13, C-CTL-17, C-STAT-12. Decision: D-30.
#[test]
fn waiting_for_our_own_writes() {
    let (set, pods) = (mk_set(&json!({})), [mk_pod("p", &json!({})), mk_pod("q", &json!({}))]);
    let mut expectations = Expectations::default();
    expectations.expect(PodKey::from(&pods[0]), "11", Duration::from_secs(95));
    let decisions = look(&set, &pods, &expectations);
    assert!(decisions.pods.is_empty() && decisions.read_live.is_empty() && decisions.status.is_some());
    assert_eq!(decisions.look_again, Some(Duration::from_secs(1)));
    expectations.expect(PodKey::from(&pods[0]), "11", Duration::from_secs(90));
    assert_eq!(look(&set, &pods, &expectations).read_live, [PodKey::from(&pods[0])]);
    assert_eq!(kinds(&look(&set, &pods, &Expectations::default())), [(PodWriteKind::Upgrade, "p")]);
}

/// Another set was faster and has just taken the Pod down: this one takes the same and no other. Rules: C-UPD-9, C-UPD-19, C-BUG-17.
#[test]
fn two_sets_take_the_same_pod_down() {
    let (set, none) = (mk_set(&json!({"maxUnavailable": 1})), Expectations::default());
    let chosen = |states: Value| {
        let (main, still_v1) = container("main", "main:v1");
        let main = json!({"name": main["name"], "image": "main:v2"});
        let (own, own_status) = container("test-sidecar", "test-image:v1");
        let down = mk_pod(
            "q",
            &json!({
                "metadata": {"annotations": {(keys::IN_PLACE_STATE): states.to_string()}},
                "spec": {"containers": [main, own]},
                "status": {"conditions": [], "containerStatuses": [still_v1, own_status]},
            }),
        );
        let decisions = look(&set, &[mk_pod("p", &json!({})), down], &none);
        decisions.pods.iter().map(|write| (write.pod.name.clone(), write.takes_down)).collect::<Vec<_>>()
    };
    let of = |set: &str, id: &str| json!({set: {"lastContainerStatuses": {"main": {"imageID": id}}}});
    let both = [("q".to_owned(), false), ("p".to_owned(), true)];
    assert_eq!(chosen(json!({})), both, "what is down for no set costs nothing");
    let before = "docker-pullable://main@sha256:main:v1";
    assert_eq!(chosen(of("other", before)), [("q".to_owned(), true)]);
    assert_eq!(
        chosen(of("other", "older")),
        both,
        "the other's upgrade has arrived, the Pod is down all the same"
    );
}

/// A Pod whose metadata cannot be merged is told about and passed over. Rules: C-META-4, C-UPD-22, C-BUG-11. Decision: D-32.
#[test]
fn a_pod_that_cannot_be_written() {
    let patches =
        json!([{"patchPolicy": "MergePatchJson", "annotations": {"sidecarset.kruise.io/skip": "{}"}}]);
    let set = mk_set(&json!({"patchPodMetadata": patches}));
    let broken =
        mk_pod("a", &json!({"metadata": {"annotations": {"sidecarset.kruise.io/skip": "not json"}}}));
    let decisions = look(&set, &[broken, mk_pod("b", &json!({}))], &Expectations::default());
    assert_eq!(kinds(&decisions), [(PodWriteKind::Upgrade, "b")]);
    assert_eq!(decisions.failures.len(), 1);
    assert!(
        matches!(&*decisions.events, [event] if event.is_warning && event.message.contains("sidecarset.kruise.io/skip"))
    );
    let status = decisions.status.unwrap();
    assert_eq!(status["status"]["conditions"][0]["reason"], "Progressing");
}

/// A condition that is no JSON, and a mark that is there already. Rules: C-COND-1, C-COND-4, C-BUG-37.
#[test]
fn marks_are_written_once() {
    let odd = |message: &str| {
        let condition = json!({"type": "SidecarSetUpgradable", "status": "False", "reason": "UpdateImmutableField", "message": message});
        json!({
            "metadata": {"annotations": {"kruise.io/sidecarset-hash-without-image": "{}"}},
            "status": {"conditions": [condition]},
        })
    };
    let set = mk_set(&json!({}));
    let decide = |message: &str| look(&set, &[mk_pod("p", &odd(message))], &Expectations::default());
    assert!(decide(&json!({SET: false}).to_string()).pods.is_empty());
    assert_eq!(kinds(&decide("{}")), [(PodWriteKind::MarkNotUpgradable, "p")]);
    assert_eq!(decide("oops").failures.len(), 1);
    assert_eq!(PodWriteKind::MarkNotUpgradable.subresource(), Some("status"));
    assert_eq!(PodWriteKind::Upgrade.subresource(), None);
}

/// An upgrade and its mark are two writes: a process may end between them. Rules: C-COND-5, C-UPD-20, C-RUST-6, C-BUG-40.
#[test]
fn a_lost_mark_is_written_by_the_next_process() {
    // The record is of 2024-01-02T03:04:05Z.
    let updated = |by_us: bool, condition: Value| {
        let before = json!({SET: {"test-sidecar": {"image": "test-image:v1", "restarts": 0}}}).to_string();
        let state = json!({SET: {"lastContainerStatuses": {}}}).to_string();
        let mut annotations = json!({(keys::HASH): record("bbb"), (keys::IN_PLACE_STATE): state});
        if by_us {
            annotations[keys::IN_PLACE_BEFORE] = before.into();
        }
        json!({"metadata": {"annotations": annotations}, "status": {"conditions": [condition]}})
    };
    let condition = |message: Value, time: &str| {
        json!({
            "type": keys::CONDITION_UPGRADABLE, "status": "False", "reason": "UpdateImmutableField",
            "message": message.to_string(), "lastTransitionTime": time,
        })
    };
    let (before, after) = ("2024-01-01T00:00:00Z", "2024-01-03T00:00:00Z");
    let writes =
        |patch: Value| look(&mk_set(&json!({})), &[mk_pod("p", &patch)], &Expectations::default()).pods;
    let lost = [
        updated(true, json!({"type": "Ready", "status": "True"})),
        updated(true, condition(json!({"other": true}), after)),
        updated(true, condition(json!({SET: false}), before)),
    ];
    for pod in lost {
        let written = writes(pod.clone());
        assert_eq!(written.len(), 1, "{pod}");
        assert_eq!(written[0].kind, PodWriteKind::MarkUpgradable);
        assert_eq!(written[0].kind.subresource(), Some("status"));
        let message = written[0].patch["status"]["conditions"][0]["message"].as_str().unwrap();
        assert!(message.contains(&format!("\"{SET}\":true")), "{message}");
    }
    let kept = [
        updated(true, condition(json!({SET: true}), before)),
        updated(true, condition(json!({SET: false}), after)),
        updated(false, json!({"type": "Ready", "status": "True"})),
    ];
    for pod in kept {
        assert_eq!(writes(pod.clone()), [], "{pod}");
    }
}

/// A mark that cannot be written is not tried at each look, and is told. Decision: D-32.
#[test]
fn marks_back_off_too() {
    let pod = json!({"metadata": {"annotations": {"kruise.io/sidecarset-hash-without-image": "{}"}}});
    let (set, pods) = (mk_set(&json!({})), [mk_pod("p", &pod)]);
    let back_off = rollout::BackOff { may_be_written: false, error: "denied".to_owned() };
    let back_offs = BackOffs::from([("uid-p".to_owned(), back_off)]);
    let decisions = look_with(&set, &pods, &Expectations::default(), &back_offs);
    assert_eq!(decisions.pods, []);
    let status = decisions.status.unwrap();
    let condition = &status["status"]["conditions"][0];
    assert_eq!(condition["reason"], "WriteFailed");
    assert!(condition["message"].as_str().unwrap().contains("denied"), "{condition}");
}

/// Pods are read one `maxUnavailable` after the other, not all that wait. Rules: C-UPD-8, C-META-4.
#[test]
fn pods_are_read_only_when_it_is_their_turn() {
    let patches = json!([{"policy": "Retain", "annotations": {"example.com/a": "b"}}]);
    let set = mk_set(&json!({"patchPodMetadata": patches}));
    let pods: Vec<PodFacts> = (0..5).map(|number| mk_pod(&format!("p{number}"), &json!({}))).collect();
    let decisions = look(&set, &pods, &Expectations::default());
    assert_eq!((decisions.read_live.len(), decisions.pods.len()), (1, 0));
}

/// Rules: C-EVT-2, C-EVT-3.
#[test]
fn events_of_resets() {
    let pod = || PodKey::from(&mk_pod("p", &json!({})));
    let good = reset_event(SET, pod(), Ok(()));
    let bad = reset_event(SET, pod(), Err("denied"));
    assert_eq!((good.reason, good.is_warning), ("ResetContainerSucceed", false));
    assert_eq!((bad.reason, bad.is_warning), ("ResetContainerFailed", true));
    assert!(bad.message.contains("denied"));
}

/// A set that was stored without hashes gets them. Rules: C-HASH-9, C-BUG-24.
#[test]
fn missing_hashes_are_computed() {
    let set = mk_set_object(&json!({
        "metadata": {"annotations": {"kruise.io/sidecarset-hash": null, "kruise.io/sidecarset-hash-without-image": null}},
        "spec": {"containers": [{"name": "container1", "image": "test-image"}]},
    }));
    assert!(set.hash.starts_with("w26c4x8f") && set.hash_without_image.starts_with("8wzddb4d"));
}
