use serde_json::{Value, json};

use super::*;
use crate::control::fixtures::mk_pod;

const BOTH: [(&str, &str); 2] = [
    ("KRUISE_TERMINATE_SIDECAR_WHEN_JOB_EXIT", "true"),
    ("KRUISE_TERMINATE_SIDECAR_WHEN_JOB_EXIT_WITH_IMAGE", "exit-quickly:latest"),
];

/// A Pod from containers such as `main ok`, `side run`, `ignore bad`, `image run`; `-` has no status at all.
fn mk(policy: &str, phase: &str, containers: &str) -> PodFacts {
    let words: Vec<&str> = containers.split_whitespace().collect();
    let (mut spec, mut statuses) = (Vec::new(), Vec::new());
    for pair in words.chunks(2) {
        let [name, state] = pair else { panic!("{containers}") };
        let kind = name.trim_end_matches(|c: char| c.is_ascii_digit());
        let mut env: Vec<(&str, &str)> = match kind {
            "side" => BOTH.to_vec(),
            "ignore" => vec![BOTH[0], ("KRUISE_TERMINATE_SIDECAR_IGNORE_EXIT_CODE", "true")],
            "image" => vec![BOTH[1]],
            _ => vec![],
        };
        env.push(("OTHER", "x"));
        let env: Vec<Value> = env.iter().map(|(name, value)| json!({"name": name, "value": value})).collect();
        spec.push(json!({"name": name, "image": format!("{name}:1"), "env": env}));
        let state = match *state {
            "ok" => json!({"terminated": {"exitCode": 0}}),
            "bad" => json!({"terminated": {"exitCode": 137}}),
            "run" => json!({"running": {}}),
            other => panic!("{other}"),
        };
        statuses.push(json!({"name": name, "state": state}));
    }
    mk_pod(
        "p",
        &json!({
            "spec": {"restartPolicy": policy, "containers": spec},
            "status": {"phase": phase, "containerStatuses": statuses},
        }),
    )
}

/// Containers to be killed, and the phase that is set.
fn outcome(pod: &PodFacts) -> (Vec<String>, Option<String>) {
    let (mut killed, mut phase) = (Vec::new(), None);
    for action in decide(pod, Node::Ordinary, Requests::Served(&[]), 0) {
        match action {
            Action::Recreate(request) => {
                let list = request["spec"]["containers"].as_array().unwrap().clone();
                killed.extend(list.iter().map(|container| container["name"].as_str().unwrap().to_owned()));
            }
            Action::PatchStatus(patch) => phase = patch["status"]["phase"].as_str().map(str::to_owned),
            Action::Tell(event) => assert_eq!(event.reason, "SidecarTerminator"),
            other => panic!("{other:?}"),
        }
    }
    (killed, phase)
}

/// Rows C-T-TERM-1 to 13. Rules: C-TERM-3, C-TERM-4, C-TERM-5, C-TERM-8…10, C-TERM-12…14.
#[test]
fn ordinary_nodes() {
    let rows = [
        ("Never", "Running", "main run side run", "", None),
        ("Never", "Running", "main bad side run", "side", None),
        ("Never", "Failed", "main bad side bad", "", None),
        ("Never", "Running", "main ok side run", "side", None),
        ("OnFailure", "Running", "main run side run", "", None),
        ("OnFailure", "Running", "main bad side ok", "", None),
        ("OnFailure", "Succeeded", "main ok side ok", "", None),
        ("OnFailure", "Running", "main1 ok main2 ok side1 run side2 run", "side1 side2", None),
        ("OnFailure", "Running", "main1 ok main2 ok side1 run side2 run", "side1 side2", None),
        ("OnFailure", "Running", "main1 ok main2 ok side1 ok side2 run", "side2", None),
        ("OnFailure", "Running", "main1 ok main2 run side1 ok side2 run", "", None),
        ("OnFailure", "Running", "main ok side1 run side2 run ignore3 run", "side1 side2", None),
        ("OnFailure", "Running", "main ok side1 ok side2 ok ignore3 run", "ignore3", Some("Succeeded")),
    ];
    for (row, (policy, phase, containers, killed, set)) in rows.into_iter().enumerate() {
        let (found, found_phase) = outcome(&mk(policy, phase, containers));
        assert_eq!(
            (found, found_phase.as_deref()),
            (killed.split_whitespace().map(str::to_owned).collect(), set),
            "C-T-TERM-{}",
            row + 1
        );
    }
    let failed = outcome(&mk("Never", "Running", "main bad ignore run"));
    assert_eq!(failed, (vec!["ignore".to_owned()], Some("Failed".to_owned())));
    assert_eq!(outcome(&mk("Never", "Running", "main ok image run")).0, ["image"], "C-BUG-27");
}

/// Rows C-T-TERM-V1 to V9. Rules: C-TERM-7, C-TERM-11, C-TERM-17, C-EVT-5, C-BUG-31.
#[test]
fn virtual_kubelets() {
    let rows = [
        ("Never", "main run side run", 0),
        ("Never", "main bad image run", 1),
        ("Never", "main ok side run", 1),
        ("OnFailure", "main run side run", 0),
        ("OnFailure", "main bad side run", 0),
        ("OnFailure", "main ok side run", 1),
        ("OnFailure", "main1 ok main2 ok side1 run side2 run", 2),
        ("OnFailure", "main1 ok main2 ok side1 ok side2 run", 1),
    ];
    for (policy, containers, expected) in rows {
        let actions =
            decide(&mk(policy, "Running", containers), Node::VirtualKubelet, Requests::Served(&[]), 0);
        let images = match actions.first() {
            Some(Action::PatchPod(patch)) => patch["spec"]["containers"].as_array().unwrap().clone(),
            None => Vec::new(),
            other => panic!("{other:?}"),
        };
        assert!(images.iter().all(|container| container["image"] == "exit-quickly:latest"));
        assert_eq!((images.len(), actions.len()), (expected, 2 * expected.min(1)), "{policy} {containers}");
    }
    let ordinary = decide(
        &mk("OnFailure", "Running", "main1 ok main2 run side run"),
        Node::Ordinary,
        Requests::Served(&[]),
        0,
    );
    assert!(ordinary.is_empty(), "C-T-TERM-V9");
    let mut replaced = mk("Never", "Running", "main ok side run");
    replaced.containers = replaced
        .containers
        .iter()
        .cloned()
        .map(|container| match &container.exit.image {
            Some(image) => ContainerFact { image: image.clone(), ..container },
            None => container,
        })
        .collect();
    assert!(decide(&replaced, Node::VirtualKubelet, Requests::Served(&[]), 0).is_empty(), "told once");
}

/// Tables C-T-TERM-E and C1 to C3: the new Pod decides. Rules: C-TERM-5, C-TERM-6.
#[test]
fn who_is_looked_at() {
    let rows = [
        ("Never", "Pending", "main ok side run", false),
        ("Always", "Running", "main ok side run", false),
        ("Never", "Running", "main bad side run", true),
        ("Never", "Running", "main ok side run", true),
        ("Never", "Running", "main ok side ok", false),
        ("Never", "Succeeded", "main ok side ok", false),
        ("Never", "Succeeded", "main ok side bad", false),
        ("Never", "Running", "main run side ok", false),
        ("Never", "Running", "main run side run", false),
        ("Never", "Running", "main ok", false),
        ("OnFailure", "", "main ok side ok ignore run", true),
        ("OnFailure", "", "main ok side ok image run", true),
        ("Never", "Unknown", "main ok side run", true),
    ];
    for (policy, phase, containers, expected) in rows {
        assert_eq!(
            is_interesting(&mk(policy, phase, containers)),
            expected,
            "{policy} {phase:?} {containers}"
        );
    }
    let mut missing = mk("Never", "Running", "main ok side run");
    missing.statuses = missing.statuses.iter().take(1).cloned().collect();
    assert!(!is_interesting(&missing), "one status is missing");
    let terminating = PodFacts { is_terminating: true, ..mk("Never", "Running", "main ok side run") };
    assert!(!is_interesting(&terminating));
}

/// Rows C-T-TERM-C4 and C5. Rule: C-TERM-8.
#[test]
fn groups_of_sidecars() {
    let pod = mk("Never", "Running", "main ok side run ignore run");
    let names = |list: Vec<&ContainerFact>| {
        list.iter().map(|container| container.name.to_string()).collect::<Vec<_>>()
    };
    let sorted = |is_virtual| {
        let Groups { in_place, kill, ignore } = groups(&pod, is_virtual);
        (names(kill), names(ignore), names(in_place))
    };
    let of = |list: &[&str]| list.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    assert_eq!(sorted(false), (of(&["side"]), of(&["ignore"]), of(&[])));
    assert_eq!(sorted(true), (of(&[]), of(&[]), of(&["side"])));
}

/// Rules: C-TERM-12, C-TERM-15, C-TERM-16, C-TERM-18, C-EVT-6, C-BUG-28, C-BUG-29, C-BUG-30. Decision: D-34.
#[test]
fn requests() {
    let pod = mk("OnFailure", "Running", "main ok side run");
    let request = |name: &str, containers: &[&str], is_finished| Request {
        name: format!("sidecar-termination-uid-p{name}"),
        containers: containers.iter().map(|name| (*name).to_owned()).collect(),
        is_finished,
    };
    let name = |pod: &PodFacts, requests: &[Request]| {
        let actions = decide(pod, Node::Ordinary, Requests::Served(requests), 0);
        actions.iter().find_map(|action| match action {
            Action::Recreate(request) => {
                let name = request["metadata"]["name"].as_str().unwrap();
                Some(name.strip_prefix("sidecar-termination-uid-p").unwrap().to_owned())
            }
            _ => None,
        })
    };
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(name(&pod, &[]), some(""));
    assert_eq!(name(&pod, &[request("", &["side"], false)]), None, "under way");
    assert_eq!(name(&pod, &[request("", &["side"], true)]), some("-2"), "it runs again");
    assert_eq!(name(&pod, &[request("", &["side"], true), request("-2", &["side"], false)]), None);
    let both = mk("Never", "Running", "main ok side bad ignore run");
    assert_eq!(name(&both, &[request("", &["side"], true)]), some("-ignore"));
    assert_eq!(decide(&pod, Node::Missing(1), Requests::Served(&[]), 0), [Action::Retry]);
    assert_eq!(decide(&pod, Node::Missing(3), Requests::Served(&[]), 0).len(), 2, "as on an ordinary node");
    let actions = decide(&pod, Node::Ordinary, Requests::NotServed, 0);
    assert!(matches!(&*actions, [Action::Tell(event)] if event.is_warning && event.message.contains("side")));
}
