use serde_json::{Value, json};

use super::*;
use crate::control::fixtures::{SET, mk_pod, mk_set, mk_set_object, refs};

static NONE: BTreeSet<String> = BTreeSet::new();
static NO_OUTCOMES: Outcomes = Outcomes { open: BTreeSet::new(), failures: BTreeMap::new() };

fn everything() -> Reach {
    Reach::new(&Value::Null)
}

fn repair<'a>(webhook: WebhookHealth<'a>, reach: &'a Reach) -> Repair<'a> {
    Repair { webhook, reach: Some(reach), pause: Duration::ZERO, relatives: &NONE, outcomes: &NO_OUTCOMES }
}

fn look<'p>(set: &SetFacts, pods: &'p [PodFacts], repair: &Repair<'_>) -> Missed<'p> {
    find(set, &refs(pods), &Namespaces::new(), &BackOffs::new(), repair).unwrap()
}

fn names(pods: &[&PodFacts]) -> Vec<String> {
    pods.iter().map(|pod| pod.name.to_string()).collect()
}

/// A Pod without the sidecar.
fn bare(name: &str, patch: &Value) -> PodFacts {
    let mut pod = json!({"metadata": {"annotations": {"kruise.io/sidecarset-injected-list": null}}});
    json_patch::merge(&mut pod, patch);
    mk_pod(name, &pod)
}

/// Decision: D-26. Rule: C-MATCH-7.
#[test]
fn who_missed_injection() {
    let relatives = BTreeSet::from(["canary".to_owned()]);
    let annotation = |key: &str, value: &str| json!({"metadata": {"annotations": {key: value}}});
    let pods = [
        bare("b", &json!({})),
        bare("a", &json!({})),
        mk_pod("injected", &json!({})),
        bare("other", &json!({"metadata": {"labels": {"app": "x"}}})),
        bare("system", &json!({"metadata": {"namespace": "kube-system"}})),
        bare("done", &json!({"status": {"phase": "Succeeded"}})),
        bare("out", &annotation("sidecarset.kruise.io/inject", "false")),
        bare("out-by-label", &json!({"metadata": {"labels": {"sidecarset.kruise.io/inject": "false"}}})),
        bare("skips", &annotation("sidecarset.kruise.io/skip", &format!("x, {SET}"))),
        bare("mirror", &annotation("kubernetes.io/config.mirror", "1")),
        bare("of-canary", &annotation("kruise.io/sidecarset-injected-list", "canary")),
    ];
    let not_in_system = json!({"matchExpressions": [{"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": ["kube-system"]}]});
    let reach = Reach::new(&json!({"webhooks": [{"namespaceSelector": not_in_system}]}));
    let all = Repair { relatives: &relatives, ..repair(WebhookHealth::Unhealthy, &reach) };
    let found = |set: &SetFacts| names(&look(set, &pods, &all).pods);
    assert_eq!(found(&mk_set(&json!({}))), ["a", "b"]);
    assert!(found(&mk_set(&json!({"injectionStrategy": {"paused": true}}))).is_empty());
    assert!(found(&mk_set(&json!({"selector": {"matchLabels": null}}))).is_empty());
    assert!(found(&mk_set(&json!({"containers": []}))).is_empty());
}

/// What the configuration of the webhook leaves out was not missed. Rule: C-MATCH-9.
#[test]
fn what_the_webhook_is_not_asked_about() {
    let labels = |value: &str| json!({"metadata": {"labels": {"inject": value}}});
    let pods = [bare("a", &labels("yes")), bare("b", &labels("no")), bare("c", &json!({}))];
    let objects = json!({"matchExpressions": [{"key": "inject", "operator": "NotIn", "values": ["no"]}]});
    let conditions = json!([{"name": "c", "expression": "request.userInfo.username != 'job'"}]);
    let found = |webhooks: Value| {
        let reach = Reach::new(&json!({"webhooks": webhooks}));
        let missed = look(&mk_set(&json!({})), &pods, &repair(WebhookHealth::Unhealthy, &reach));
        (names(&missed.pods), names(&missed.unclear))
    };
    let of = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    assert_eq!(found(json!([])), (of(&["a", "b", "c"]), of(&[])));
    assert_eq!(found(json!([{"objectSelector": objects}])), (of(&["a", "c"]), of(&[])));
    assert_eq!(
        found(json!([{"objectSelector": objects, "matchConditions": conditions}])),
        (of(&[]), of(&["a", "c"]))
    );
    let yes = json!({"matchLabels": {"inject": "yes"}});
    let two = json!([{"matchConditions": conditions}, {"objectSelector": yes, "namespaceSelector": {}}]);
    assert_eq!(found(two), (of(&["a"]), of(&["b", "c"])), "one of them asks for sure");
    let (none, webhook) = (None, WebhookHealth::Unhealthy);
    let unknown =
        Repair { webhook, reach: none, pause: Duration::ZERO, relatives: &NONE, outcomes: &NO_OUTCOMES };
    let set = mk_set(&json!({}));
    assert!(find(&set, &refs(&pods), &Namespaces::new(), &BackOffs::new(), &unknown).is_none());
    let left_out = Reach::new(&json!({"webhooks": [{"namespaceSelector": yes}]}));
    let namespaces = Namespaces::from([
        ("in".to_owned(), vec![("inject".to_owned(), "yes".to_owned())]),
        ("out".to_owned(), vec![]),
    ]);
    assert_eq!(left_out.left_out(&namespaces), BTreeSet::from(["out".to_owned()]));
}

fn at(second: i64) -> String {
    format!("1970-01-01T00:{:02}:{:02}Z", second / 60, second % 60)
}

fn owned(name: &str, owner: &str, second: i64) -> PodFacts {
    let owners = json!([{"controller": true, "uid": owner}]);
    bare(name, &json!({"metadata": {"creationTimestamp": at(second), "ownerReferences": owners}}))
}

/// A set that was made in this second.
fn repaired(second: i64, repair: &str) -> SetFacts {
    let annotations = json!({"sidecarset.kruise.io/repair": repair});
    mk_set_object(&json!({"metadata": {"creationTimestamp": at(second), "annotations": annotations}}))
}

fn answers(registered_unix: i64, away: &[(i64, i64)]) -> WebhookHealth<'_> {
    WebhookHealth::Answers { registered_unix, away }
}

/// The names of all that would be evicted one after the other.
fn evicted(set: &SetFacts, pods: &[PodFacts], webhook: WebhookHealth<'_>) -> Vec<String> {
    let mut left = pods.to_vec();
    let mut evicted = Vec::new();
    while let [pod] = &*look(set, &left, &repair(webhook, &everything())).evictions {
        evicted.push(pod.name.clone());
        left.retain(|kept| *kept.name != *pod.name);
    }
    evicted
}

/// Only what helps is evicted, oldest first.
#[test]
fn who_is_replaced() {
    let unowned = bare("unowned", &json!({"metadata": {"creationTimestamp": at(1)}}));
    let pods = [owned("c", "x", 7), owned("b", "x", 3), owned("a", "y", 5), owned("late", "z", 70), unowned];
    assert_eq!(evicted(&repaired(2, "Evict"), &pods, answers(30, &[])), ["b", "a", "c"]);
    assert_eq!(
        evicted(&repaired(30, "Evict"), &pods[1..3], answers(1, &[])),
        ["b", "a"],
        "made before the set"
    );
    assert_eq!(
        evicted(&repaired(1, "Evict"), &pods[3..], answers(1, &[(68, 71)])),
        ["late"],
        "made while it was away"
    );
    assert!(evicted(&repaired(2, "Evict"), &pods, WebhookHealth::Unhealthy).is_empty());
    assert!(evicted(&repaired(2, "evict"), &pods, answers(30, &[])).is_empty());
}

/// Times are whole seconds, and neither API servers nor replicas of the webhook learn of a change in the same moment.
#[test]
fn a_pod_made_about_the_time_of_a_change_may_be_replaced() {
    let set = repaired(100, "Evict");
    let is_replaced = |created: i64, webhook: WebhookHealth<'_>| {
        // The older one of the same owner stays too, if that one shows that it would be in vain.
        let pods = [owned("a", "x", 1), owned("b", "x", created)];
        let names = evicted(&set, &pods, webhook);
        assert!(names.is_empty() || names == ["a", "b"], "{created}: {names:?}");
        !names.is_empty()
    };
    let away = [(200, 300)];
    let cases = [
        (99, true, "before the set"),
        (100, true, "in the second of the set"),
        (100 + SLACK, true, "a replica of the webhook may not have known the set"),
        (101 + SLACK, false, "in vain"),
        (199 - SLACK, false, "the webhook answered for sure"),
        (200 - SLACK, true, "the webhook may have been away before that was seen"),
        (250, true, "while it was away"),
        (300 + SLACK, true, "not every API server may have reached it again"),
        (301 + SLACK, false, "in vain"),
    ];
    for (created, expected, why) in cases {
        assert_eq!(is_replaced(created, answers(50, &away)), expected, "{created}: {why}");
    }
    assert!(is_replaced(150 + SLACK, answers(150, &[])), "the webhook is younger than the set");
    assert!(!is_replaced(151 + SLACK, answers(150, &[])));
    assert!(is_replaced(99, answers(i64::MAX, &[(i64::MIN, i64::MAX)])), "no time from outside is too large");
}

/// Whoever pauses a set, or deletes it, stops evictions too; the Pods are told all the same.
#[test]
fn a_set_that_is_paused_or_deleted_evicts_nothing() {
    let pods = [owned("a", "x", 3)];
    let with = |patch: Value| {
        let annotations = json!({"sidecarset.kruise.io/repair": "Evict"});
        let mut set = json!({"metadata": {"creationTimestamp": at(20), "annotations": annotations}});
        json_patch::merge(&mut set, &patch);
        let set = mk_set_object(&set);
        let missed = look(&set, &pods, &repair(answers(1, &[]), &everything()));
        (missed.pods.len(), missed.evictions.len(), missed.look_again.is_some())
    };
    assert_eq!(with(json!({})), (1, 1, true));
    assert_eq!(with(json!({"spec": {"updateStrategy": {"paused": true}}})), (1, 0, false));
    assert_eq!(with(json!({"metadata": {"deletionTimestamp": at(30)}})), (1, 0, false));
    assert_eq!(with(json!({"spec": {"updateStrategy": {"type": "NotUpdate"}}})), (1, 1, true), "is no pause");
}

/// A Pod that comes back without sidecars shows that evicting does not help: each of its owner stays, also after the controller
/// has started anew, when nothing but the objects is known.
#[test]
fn nobody_is_evicted_again_and_again() {
    let set = repaired(2, "Evict");
    let before = [owned("a", "x", 3), owned("b", "x", 3), owned("other", "y", 3)];
    let webhook = answers(10, &[]);
    assert_eq!(evicted(&set, &before, webhook), ["a", "b", "other"]);
    let after = [owned("a2", "x", 30), owned("b", "x", 3), owned("other", "y", 3)];
    assert_eq!(evicted(&set, &after, webhook), ["other"], "a came back without");
    assert!(evicted(&set, &[owned("a3", "x", 30)], webhook).is_empty());
}

/// Rule: C-RUST-9. Decision: D-32.
#[test]
fn the_next_eviction_is_waited_for() {
    let (set, pods) = (repaired(20, "Evict"), [owned("a", "x", 3), owned("b", "x", 4)]);
    let (reach, webhook) = (everything(), answers(1, &[]));
    let free = look(&set, &pods, &repair(webhook, &reach));
    assert_eq!((free.evictions.len(), free.look_again), (1, Some(EVICTION_EVERY)));
    let pause = Duration::from_secs(3);
    let paused = look(&set, &pods, &Repair { pause, ..repair(webhook, &reach) });
    assert_eq!((paused.evictions.len(), paused.look_again), (0, Some(pause)));
    let back_off = super::super::rollout::BackOff { may_be_written: false, error: "budget".to_owned() };
    let refused = |uid: &str| (uid.to_owned(), back_off.clone());
    let with = |back_offs: BackOffs| {
        find(&set, &refs(&pods), &Namespaces::new(), &back_offs, &repair(webhook, &reach)).unwrap()
    };
    assert_eq!(with(BackOffs::from([refused("uid-a")])).evictions[0].name, "b", "a budget holds the first");
    let none = with(BackOffs::from([refused("uid-a"), refused("uid-b")]));
    assert_eq!((none.evictions.len(), none.look_again), (0, None));
}

/// One Pod of an owner at a time, as far as the Pods tell: so decides also who leads since a moment.
#[test]
fn an_owner_spares_a_pod_when_its_others_are_ready() {
    let set = repaired(20, "Evict");
    let made = |second: i64, patch: &Value| {
        let owners = json!([{"controller": true, "uid": "x"}]);
        let mut pod = json!({"metadata": {"creationTimestamp": at(second), "ownerReferences": owners}});
        json_patch::merge(&mut pod, patch);
        pod
    };
    let unready = json!({"status": {"conditions": []}});
    let ready = json!({});
    let old = |name: &str, is_ready: bool| bare(name, &made(3, if is_ready { &ready } else { &unready }));
    let injected = |name: &str, patch: &Value| mk_pod(name, &made(50, patch));
    let going = json!({"metadata": {"deletionTimestamp": at(60)}});
    let failed = json!({"status": {"phase": "Failed", "conditions": []}});
    let cases = [
        (vec![old("a", true), old("b", true), injected("c", &ready)], Some("a"), "all are ready"),
        (vec![old("a", true), injected("c", &unready)], None, "the replacement of the last one starts"),
        (vec![old("a", false), injected("c", &unready)], None, "one at a time, ready or not"),
        (vec![old("a", true), injected("c", &going)], None, "one goes"),
        (vec![old("a", true), bare("b", &made(3, &going))], None, "the last one goes"),
        (vec![old("a", true), injected("c", &failed)], Some("a"), "what has ended is nothing to wait for"),
        (vec![old("a", true), old("b", false)], Some("b"), "it serves nobody, and may lack just the sidecar"),
        (vec![old("a", false), old("b", false)], Some("a"), "the older"),
    ];
    for (pods, expected, why) in cases {
        let missed = look(&set, &pods, &repair(answers(1, &[]), &everything()));
        assert_eq!(missed.evictions.first().map(|pod| &*pod.name), expected, "{why}");
        assert_eq!(missed.look_again, Some(if expected.is_some() { EVICTION_EVERY } else { SPARED_EVERY }));
    }
}

/// An owner whose replacement was refused, by whomever, loses no second Pod.
#[test]
fn an_owner_spares_no_pod_while_the_last_eviction_is_not_made_good() {
    let (set, reach) = (repaired(20, "Evict"), everything());
    let pods = [owned("a", "x", 3), owned("b", "y", 4)];
    let outcomes = Outcomes { open: pods[0].owner.into_iter().collect(), ..Outcomes::default() };
    let repair = Repair { outcomes: &outcomes, ..repair(answers(1, &[]), &reach) };
    assert_eq!(look(&set, &pods, &repair).evictions[0].name, "b", "another owner");
    let none = look(&set, &pods[..1], &repair);
    assert_eq!((none.evictions.len(), none.look_again), (0, Some(SPARED_EVERY)));
}

/// Pods that a budget protects do not take the turns of the others. Decision: D-32.
#[test]
fn who_was_refused_least_goes_first() {
    let (set, reach) = (repaired(20, "Evict"), everything());
    let pods = [owned("a", "x", 3), owned("b", "x", 4), owned("c", "y", 5)];
    let next = |failures: [u32; 3]| {
        let failures = ["uid-a", "uid-b", "uid-c"].map(str::to_owned).into_iter().zip(failures).collect();
        let outcomes = Outcomes { failures, ..Outcomes::default() };
        look(&set, &pods, &Repair { outcomes: &outcomes, ..repair(answers(1, &[]), &reach) })
            .evictions
            .remove(0)
            .name
    };
    assert_eq!([[0, 0, 0], [1, 0, 0], [2, 2, 1], [2, 2, 2]].map(next), ["a", "b", "c", "a"]);
}
