use serde_json::{Value, json};

use super::*;
use crate::control::fixtures::{SET, container, mk_pod, mk_set};
use crate::control::interner::Interner;

const COLD: &str = "cold-sidecar";

/// A container as it is and as it was: name, image, image of the status, imageID, whether it was upgraded.
type Case<'a> = (&'a str, &'a str, &'a str, &'a str, bool);

/// The fixture of table C-T-CONS.
fn mk(cases: &[Case<'_>], patch: &Value) -> (crate::control::pod::PodFacts, Vec<String>) {
    let mut containers = vec![container("main", "main:v1").0];
    let mut statuses = vec![container("main", "main:v1").1];
    let mut last = serde_json::Map::new();
    for (name, image, status, id, is_upgraded) in cases {
        containers.push(json!({"name": name, "image": image}));
        statuses.push(json!({"name": name, "image": status, "imageID": id, "ready": true}));
        if *is_upgraded {
            last.insert((*name).to_owned(), json!({"imageID": "old"}));
        }
    }
    let mut pod = json!({
        "spec": {"containers": containers}, "status": {"containerStatuses": statuses},
    });
    if !last.is_empty() {
        let state = json!({SET: {"revision": "r", "lastContainerStatuses": last}});
        pod["metadata"]["annotations"] =
            json!({"kruise.io/sidecarset-inplace-update-state": state.to_string()});
    }
    json_patch::merge(&mut pod, patch);
    (mk_pod("p", &pod), cases.iter().map(|case| case.0.to_owned()).collect())
}

fn check(cases: &[Case<'_>], patch: &Value) -> bool {
    let (pod, targets) = mk(cases, patch);
    is_consistent(&pod, &Before::read(SET, &pod), targets.iter().map(String::as_str))
}

/// Rows C-T-CONS-1 to 8. Rules: C-CONS-1, C-CONS-2, C-CONS-3, C-CONS-8.
#[test]
fn upgrades_arrive() {
    let cold = (COLD, "cold-sidecar:v1", "cold-sidecar:v1", "old", false);
    let one = ("hot-sidecar-1", "hot-sidecar:v1", "hot-sidecar:v1", "old", false);
    let two = ("hot-sidecar-2", "hotupgrade:empty", "hotupgrade:empty", "old", false);
    let cold_pending = (COLD, "cold-sidecar:v2", "cold-sidecar:v1", "old", true);
    let cold_done = (COLD, "cold-sidecar:v2", "cold-sidecar:v1", "new", true);
    let two_pending = ("hot-sidecar-2", "hot-sidecar:v2", "hotupgrade:empty", "old", true);
    let two_done = ("hot-sidecar-2", "hot-sidecar:v2", "hotupgrade:empty", "new", true);
    let one_pending = ("hot-sidecar-1", "hotupgrade:empty", "hot-sidecar:v1", "old", true);
    let one_done = ("hot-sidecar-1", "hotupgrade:empty", "hot-sidecar:v1", "new", true);
    let text_done = (COLD, "cold-sidecar:v2", "cold-sidecar:v2", "old", true);
    let cases = [
        ([cold, one, two], true),
        ([cold_pending, one, two], false),
        ([cold_done, one, two], true),
        ([cold_done, one, two_pending], false),
        ([cold_done, one_pending, two_done], false),
        ([cold_done, one_done, two_done], true),
        ([text_done, one, two], true),
    ];
    for (row, (case, expected)) in cases.iter().enumerate() {
        assert_eq!(check(case, &json!({})), *expected, "C-T-CONS-{}", row + 1);
    }
    assert!(!check(&[cold], &json!({"status": {"containerStatuses": [container("main", "main:v1").1]}})));
}

/// An upgrade that is overwritten before it arrives does not count as what ran. Rule: C-BUG-13.
#[test]
fn what_ran_before_an_overwritten_upgrade() {
    let running = |restarts: i32| {
        let record = json!({SET: {COLD: {"image": "x:1", "restarts": 1}}}).to_string();
        let (pod, _) = mk(
            &[(COLD, "x:2", "mirror/x:1", "old", true)],
            &json!({
                "status": {"containerStatuses": [{"name": COLD, "image": "mirror/x:1", "imageID": "old", "restartCount": restarts}]},
            }),
        );
        let annotations = pod.annotations.iter().map(|(key, value)| (&**key, &**value));
        let key = "sidecarset.kruise.io/inplace-update-before";
        let annotations = Interner::default().pairs(annotations.chain([(key, record.as_str())]));
        let pod = crate::control::pod::PodFacts { annotations, ..pod };
        Before::read(SET, &pod).running(&pod, COLD)
    };
    assert_eq!(running(1), Running { image: "x:1".to_owned(), restarts: 1 }, "it has not arrived");
    assert_eq!(running(2), Running { image: "x:2".to_owned(), restarts: 2 });
}

/// Rules: C-BUG-13, C-BUG-15, C-BUG-16, C-BUG-39, C-CONS-7.
#[test]
fn names_digests_and_restarts() {
    let restarts = |count: i32, status: i32| {
        let text = json!({SET: {COLD: {"image": "first:1", "restarts": count}}}).to_string();
        json!({
            "metadata": {"annotations": {"sidecarset.kruise.io/inplace-update-before": text}},
            "status": {"containerStatuses": [
                {"name": "main"}, {"name": COLD, "image": "docker.io/x:1", "imageID": "old", "restartCount": status}]},
        })
    };
    let other_name = [(COLD, "repo.io/x:2", "docker.io/x:1", "old", true)];
    assert!(!check(&other_name, &restarts(1, 1)), "not started again");
    assert!(check(&other_name, &restarts(1, 2)), "started again, with the same content");
    let back = [(COLD, "first:1", "docker.io/x:1", "old", true)];
    assert!(check(&back, &restarts(1, 1)), "back to what still runs");
    assert!(check(&[(COLD, "nginx", "docker.io/library/nginx:latest", "old", true)], &json!({})));
    let digest = |id: &'static str| [(COLD, "x@sha256:aa", "x:1", id, false)];
    assert!(check(&digest("docker-pullable://docker.io/library/x@sha256:aa"), &json!({})));
    assert!(check(&digest("mirror.io/y@sha256:aa"), &json!({})), "pulled through a mirror");
    assert!(!check(&digest("x@sha256:bb"), &json!({})));
    let pending = ("b", "b:2", "b:1", "old", true);
    let wrong = ("a", "a@sha256:aa", "a:1", "a@sha256:bb", false);
    let right = ("a", "a@sha256:aa", "a:1", "a@sha256:aa", false);
    for order in [[pending, right], [right, pending], [pending, wrong], [wrong, pending]] {
        assert!(!check(&order, &json!({})), "the order of containers does not matter");
    }
    let broken = json!({"metadata": {"annotations": {"kruise.io/sidecarset-inplace-update-state": "oops"}}});
    assert!(!check(&[(COLD, "x:1", "x:1", "id", false)], &broken));
    assert!(check(&[], &broken), "a set without containers is consistent as soon as the counts agree");
}

/// Rules: C-CONS-6, C-UPD-3, C-UPD-4, C-UPD-26, C-BUG-12.
#[test]
fn what_can_be_upgraded() {
    let set = mk_set(&json!({}));
    let pending = |ready: bool| {
        let state = json!({SET: {"lastContainerStatuses": {"test-sidecar": {"imageID": "id"}}}}).to_string();
        json!({
            "metadata": {"annotations": {"kruise.io/sidecarset-inplace-update-state": state}},
            "status": {"containerStatuses": [
                {"name": "main"}, {"name": "test-sidecar", "image": "test-image:v0", "imageID": "id", "ready": ready}]},
        })
    };
    let ask = |set: &SetFacts, patch: &Value| {
        let pod = mk_pod("p", patch);
        upgradability(set, &pod, &Before::read(SET, &pod))
    };
    assert_eq!(ask(&set, &json!({})), Upgradability::Waiting);
    assert_eq!(ask(&set, &pending(true)), Upgradability::Inconsistent);
    assert_eq!(ask(&set, &pending(false)), Upgradability::Waiting, "a broken upgrade can be overwritten");
    let other = json!({"metadata": {"annotations": {"kruise.io/sidecarset-hash-without-image": "{}"}}});
    assert_eq!(ask(&set, &other), Upgradability::NotUpgradable);
    let native = |image: &str| {
        mk_set(&json!({"initContainers": [{"name": "n", "image": image, "restartPolicy": "Always"}]}))
    };
    let pod = json!({"spec": {"initContainers": [{"name": "n", "image": "n:1", "restartPolicy": "Always"}]}});
    assert_eq!(ask(&native("n:1"), &pod), Upgradability::Waiting);
    assert_eq!(ask(&native("n:2"), &pod), Upgradability::NotUpgradable);
}
