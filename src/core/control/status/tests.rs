use serde_json::json;

use super::*;
use crate::control::fixtures::{SET, mk_pod, mk_set, mk_set_object};
use crate::control::rollout::{BackOffs, choose};

fn plan() -> RevisionPlan {
    RevisionPlan { latest: "r".to_owned(), collision_count: 0, writes: Vec::new(), too_long: None }
}

/// Rules: C-STAT-5…12, C-RUST-8, C-BUG-8, C-BUG-36.
#[test]
fn written_only_if_something_changed() {
    let stored = |status: Value| {
        let mut all = json!({
            "observedGeneration": 1, "matchedPods": 4, "updatedPods": 3, "readyPods": 2, "updatedReadyPods": 1,
            "latestRevision": "r", "collisionCount": 0,
        });
        json_patch::merge(&mut all, &status);
        mk_set_object(&json!({"status": all}))
    };
    let counts = [4, 3, 2, 1];
    assert_eq!(write(&stored(json!({})), counts, &plan(), None, false, 0), None);
    assert_eq!(
        write(&stored(json!({"observedGeneration": 2})), counts, &plan(), None, false, 0),
        None,
        "never back"
    );
    let verdicts =
        || vec![(ROLLOUT_COMPLETE, verdict(true, "R", "m")), (INJECTION_COMPLETE, verdict(true, "I", "i"))];
    let taken_over = write(&stored(json!({})), counts, &plan(), Some(verdicts()), false, 0);
    let patch = taken_over.expect("upstream's controller left no conditions");
    assert_eq!(patch["status"]["conditions"][1]["reason"], "I");
    let dropped = write(&stored(json!({})), counts, &plan(), Some(verdicts()), true, 0);
    assert_eq!(dropped, None, "an API server with upstream's definition drops conditions");
    for other in [
        json!({"observedGeneration": 0}),
        json!({"matchedPods": 5}),
        json!({"updatedReadyPods": null}),
        json!({"latestRevision": "q"}),
        json!({"collisionCount": null}),
        json!({"collisionCount": 1}),
    ] {
        let patch = write(&stored(other.clone()), counts, &plan(), None, false, 0)
            .unwrap_or_else(|| panic!("{other}"));
        assert_eq!(patch["metadata"], json!({"uid": "set-uid", "resourceVersion": "22"}));
        assert_eq!(
            patch["status"],
            json!({
                "observedGeneration": 1, "matchedPods": 4, "updatedPods": 3, "readyPods": 2, "updatedReadyPods": 1,
                "latestRevision": "r", "collisionCount": 0,
            })
        );
    }
    let patch = write(&mk_set(&json!({})), [1, 0, 0, 0], &plan(), None, false, 0).unwrap();
    assert_eq!(patch["status"]["updatedReadyPods"], Value::Null, "left out when 0");
    assert_eq!(patch["status"]["readyPods"], 0);
}

/// Kubernetes' standard form: the time moves with the status only, conditions of others stay. Rule: C-STAT-9.
#[test]
fn conditions_have_the_standard_form() {
    let verdicts = |is_true, message: &str| {
        Some(vec![
            (ROLLOUT_COMPLETE, verdict(is_true, "R", message)),
            (INJECTION_COMPLETE, verdict(true, "I", "i")),
        ])
    };
    let mut set = mk_set_object(&json!({"status": {"conditions": [{"type": "Other", "status": "Unknown"}]}}));
    let mut look = |verdicts, now| {
        let patch = write(&set, [0; 4], &plan(), verdicts, false, now);
        let conditions =
            patch.as_ref().map(|patch| patch["status"]["conditions"].as_array().unwrap().clone());
        if let Some(conditions) = &conditions {
            set.status.conditions.clone_from(conditions);
            set.status.observed_generation = 1;
            set.status.latest_revision = "r".to_owned();
            set.status.collision_count = Some(0);
        }
        conditions.map(|conditions| conditions[1].clone())
    };
    let expected = |status: &str, second: u32, message: &str| {
        Some(json!({
            "type": ROLLOUT_COMPLETE, "status": status, "observedGeneration": 1, "reason": "R", "message": message,
            "lastTransitionTime": format!("1970-01-01T00:00:{second:02}Z"),
        }))
    };
    assert_eq!(look(verdicts(false, "a"), 1), expected("False", 1, "a"));
    assert_eq!(look(verdicts(false, "a"), 2), None);
    assert_eq!(look(verdicts(false, "b"), 3), expected("False", 1, "b"));
    assert_eq!(look(verdicts(true, "b"), 4), expected("True", 4, "b"));
    assert_eq!(set.status.conditions[0]["type"], "Other");
}

/// What a rollout waits for. Rules: C-UPD-11, C-STAT-3, C-STAT-13, C-BUG-22. Decision: D-32, D-33, D-37.
#[test]
fn reasons() {
    let done = json!({"metadata": {"annotations": {"kruise.io/sidecarset-hash": crate::control::fixtures::record("bbb")}}});
    let mut down = done.clone();
    down["status"] = json!({"conditions": null});
    let old = json!({});
    let odd = json!({"metadata": {"annotations": {"kruise.io/sidecarset-hash-without-image": "{}"}}});
    let reason = |spec: Value, pods: &[&Value]| {
        let set = mk_set(&json!({"updateStrategy": spec}));
        let pods: Vec<PodFacts> =
            pods.iter().enumerate().map(|(i, patch)| mk_pod(&format!("p{i}"), patch)).collect();
        let views: Vec<PodView<'_>> = pods.iter().map(|pod| PodView::new(&set, pod)).collect();
        let round = choose(&set, &views, &BackOffs::new(), "r", 0);
        let verdict = rollout(&set, &views, Some(&round));
        (verdict.reason, counts(&views))
    };
    assert_eq!(reason(json!({}), &[]), ("NoPods", [0; 4]));
    assert_eq!(reason(json!({}), &[&done]), ("AllPodsUpdated", [1; 4]));
    assert_eq!(reason(json!({"type": "NotUpdate"}), &[&done, &old]), ("NotUpdate", [2, 1, 2, 1]));
    assert_eq!(reason(json!({"paused": true}), &[&old]).0, "Paused");
    assert_eq!(reason(json!({}), &[&old]).0, "Progressing");
    assert_eq!(reason(json!({}), &[&down]), ("WaitingForPods", [1, 1, 0, 0]));
    assert_eq!(reason(json!({}), &[&down, &old]).0, "WaitingForPods");
    assert_eq!(reason(json!({"maxUnavailable": 0}), &[&done, &old]).0, "MaxUnavailable");
    assert_eq!(reason(json!({"partition": 1}), &[&done, &old]).0, "Partition");
    assert_eq!(reason(json!({"selector": {"matchLabels": {"a": "b"}}}), &[&old]).0, "NotSelected");
    assert_eq!(reason(json!({}), &[&odd]).0, "NotUpgradable");
    let broken = json!({"selector": {"matchExpressions": [{"key": "a", "operator": "oops"}]}});
    assert_eq!(reason(broken, &[&old]).0, "InvalidSelector");
}

/// A Pod in the middle of a hot upgrade waits for a reset, which a paused set does not do. Rule: C-HOTC-12.
#[test]
fn a_hot_upgrade_that_is_paused_in_the_middle() {
    let upgrade = json!({"upgradeType": "HotUpgrade", "hotUpgradeEmptyImage": "empty:1"});
    let containers = json!([{"name": "mesh", "image": "mesh:2", "upgradeStrategy": upgrade}]);
    let pod = |second: &str| {
        let images = [("mesh-1", "mesh:1"), ("mesh-2", second)];
        let list = images.map(|(name, image)| json!({"name": name, "image": image, "ready": true}));
        let annotations = json!({
            "kruise.io/sidecarset-hash": crate::control::fixtures::record("bbb"),
            "kruise.io/sidecarset-working-hotupgrade-container": r#"{"mesh":"mesh-1"}"#,
        });
        mk_pod(
            "p",
            &json!({
                "metadata": {"annotations": annotations}, "spec": {"containers": list}, "status": {"containerStatuses": list},
            }),
        )
    };
    let reason = |strategy: Value, pod: &PodFacts| {
        let set = mk_set(&json!({"containers": containers, "updateStrategy": strategy}));
        rollout(&set, &[PodView::new(&set, pod)], None).reason
    };
    let (middle, over) = (pod("mesh:2"), pod("empty:1"));
    assert_eq!(reason(json!({"paused": true}), &middle), "Paused");
    assert_eq!(reason(json!({"type": "NotUpdate"}), &middle), "NotUpdate");
    assert_eq!(reason(json!({}), &middle), "WaitingForPods");
    assert_eq!(reason(json!({"paused": true}), &over), "AllPodsUpdated");
    let starting = PodFacts { is_ready: false, ..over };
    assert_eq!(reason(json!({"paused": true}), &starting), "WaitingForPods", "it becomes ready by itself");
}

/// A bad image stops the rollout; one Pod of several that is stuck does not. Rules: C-UPD-8, C-CONS-5.
#[test]
fn pods_that_do_not_start_by_themselves() {
    let pod = |name: &str, reason: &str| {
        let waits = json!({"name": "test-sidecar", "state": {"waiting": {"reason": reason}}});
        let main = json!({"name": "main", "ready": true, "state": {"running": {}}});
        let records = json!({"kruise.io/sidecarset-hash": crate::control::fixtures::record("bbb")});
        let status = json!({"conditions": null, "containerStatuses": [main, waits]});
        mk_pod(name, &json!({"metadata": {"annotations": records}, "status": status}))
    };
    let told = |reasons: &[&str]| {
        let (set, old) = (mk_set(&json!({})), mk_pod("old", &json!({})));
        let mut pods: Vec<PodFacts> =
            reasons.iter().enumerate().map(|(index, reason)| pod(&format!("p{index}"), reason)).collect();
        pods.push(old);
        let views: Vec<PodView<'_>> = pods.iter().map(|pod| PodView::new(&set, pod)).collect();
        let verdict = rollout(&set, &views, Some(&choose(&set, &views, &BackOffs::new(), "r", 0)));
        (verdict.reason, verdict.message)
    };
    let (reason, message) = told(&["ErrImagePull"]);
    assert_eq!(reason, "PodsStuck");
    let expected = "1 of 2 Pods updated, 0 of these ready; Pods do not become ready: \
                    default/p0: container \"test-sidecar\": ImagePullBackOff";
    assert_eq!(message, expected);
    assert_eq!(told(&["ImagePullBackOff"]), (reason, message), "the two take turns");
    for reason in [
        "CrashLoopBackOff",
        "InvalidImageName",
        "CreateContainerError",
        "CreateContainerConfigError",
        "RunContainerError",
        "ErrImageNeverPull",
    ] {
        let (found, message) = told(&[reason]);
        assert!(found == "PodsStuck" && message.ends_with(reason), "{message}");
    }
    assert_eq!(told(&["ContainerCreating"]).0, "WaitingForPods");
    assert_eq!(told(&["CrashLoopBackOff", "ContainerCreating"]).0, "WaitingForPods", "it goes on");
    assert_eq!(told(&["CrashLoopBackOff", "ImagePullBackOff"]).0, "PodsStuck");
}

/// A Pod that was marked for a change which was taken back. Rule: C-BUG-40. Decision: D-37.
#[test]
fn marks_from_before_are_told() {
    let set = mk_set(&json!({}));
    let message = |sets: Value| {
        let condition =
            json!({"type": "SidecarSetUpgradable", "status": "False", "message": sets.to_string()});
        let ready = json!({"type": "Ready", "status": "True"});
        let records = json!({"kruise.io/sidecarset-hash": crate::control::fixtures::record("bbb")});
        let pod = mk_pod(
            "p",
            &json!({"metadata": {"annotations": records}, "status": {"conditions": [ready, condition]}}),
        );
        let verdict = rollout(&set, &[PodView::new(&set, &pod)], None);
        assert_eq!((verdict.is_true, verdict.reason), (Some(true), "AllPodsUpdated"));
        verdict.message
    };
    assert_eq!(message(json!({"other": false, SET: true})), "all 1 Pods are updated and ready");
    let told = message(json!({"other": true, SET: false}));
    assert!(told.contains("; nothing hinders default/p, whose condition SidecarSetUpgradable"), "{told}");
}

#[test]
fn messages_name_some_pods() {
    let pods: Vec<PodFacts> = (0..5).map(|index| mk_pod(&format!("p{index}"), &json!({}))).collect();
    let refs: Vec<&PodFacts> = pods.iter().collect();
    assert_eq!(names(&refs), "default/p0, default/p1, default/p2 and 2 more");
    assert_eq!(names(&refs[..1]), "default/p0");
}
