//! Events on SidecarSets, as kubectl shows them.

use std::time::Duration;

use serde_json::json;
use sidecarset::cluster::client;
use sidecarset::cluster::events::recorder;
use sidecarset::cluster::identity::Identity;
use sidecarset::faults::{Fault, Faults, Reason};
use sidecarset::metrics::{EventCounts, EventResult};

use crate::cluster_mode::install_definition;
use crate::control_plane::ControlPlane;
use crate::poll;
use crate::set_api::{SetApi, mk_set};
use crate::webhook::Webhook;

#[test]
#[ignore = "needs a control plane: make test"]
fn a_fault_that_occurs_again_and_again_is_one_event_with_a_count() {
    let kubectl = &SetApi::shared().kubectl;
    kubectl.create(&[mk_set("at-fault")]);
    let counts = EventCounts::default();
    let fault = |set: &str| Fault {
        set: set.into(),
        reason: Reason::PodDenied,
        rule: "I-REV-9",
        note: format!("Pod team-a/web-1: denied: SidecarSet {set:?} has no revision 7"),
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let client = client::connect(Some(&kubectl.kubeconfig), "test").await.unwrap();
        let who = Identity { namespace: "sidecarset-system".to_owned(), pod: "webhook-7".to_owned() };
        let (recorder, task) = recorder(client, who, counts.clone());
        for _ in 0..100 {
            recorder.tell(fault("at-fault"));
        }
        recorder.tell(fault("nobody-has-this-set"));
        tokio::spawn(task);
        let written = || counts.get(EventResult::Written) == 100;
        tokio::time::timeout(Duration::from_secs(30), async {
            while !written() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await
        .expect("100 faults are told");
    });
    assert_eq!(counts.get(EventResult::Failed), 0);

    let all = kubectl.json(&["get", "events.events.k8s.io", "-n", "default"]);
    let ours: Vec<_> = all["items"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|event| event["reportingController"] == "sidecarset.kruise.io/webhook")
        .collect();
    let [event] = ours.as_slice() else { panic!("one Event: {ours:?}") };
    assert_eq!(event["series"]["count"], 100, "{event}");
    assert_eq!(event["regarding"]["name"], "at-fault");
    assert_eq!((&event["type"], &event["reason"]), (&json!("Warning"), &json!("PodDenied")));
    assert_eq!(event["reportingInstance"], "webhook-7");

    // What people type.
    let list =
        kubectl.ok(&["get", "events", "-n", "default", "--field-selector", "involvedObject.name=at-fault"]);
    assert!(list.contains("PodDenied") && list.contains("sidecarset/at-fault"), "{list}");
    poll::until("the Event in kubectl describe", Duration::from_secs(10), || {
        let text = kubectl.ok(&["describe", "sidecarset", "at-fault"]);
        if text.contains("x100 over") && text.contains("has no revision 7") { Ok(()) } else { Err(text) }
    })
    .unwrap();
}

/// Decision: D-22, D-27.
#[test]
#[ignore = "needs a control plane: make test"]
fn the_owner_of_a_set_sees_which_pods_it_keeps_out() {
    let plane = ControlPlane::without_controllers("events").unwrap();
    let admin = &plane.kubectl;
    install_definition(admin);
    let mut good = mk_set("good");
    good["spec"]["selector"] = json!({"matchLabels": {"app": "shop"}});
    let mut bad = mk_set("bad");
    bad["spec"]["initContainers"] = json!([{"name": "cart", "image": "registry.example/agent:1"}]);
    admin.create(&[good, bad]);

    let serving = plane.folder.join("serving-events");
    plane.authority.server(&serving, &["127.0.0.1"]).unwrap();
    let args = [
        format!("--kubeconfig={}", admin.kubeconfig.display()),
        "--namespace=sidecarset-system".to_owned(),
        format!("--cert-dir={}", serving.display()),
    ];
    let webhook = Webhook::launch(&plane, "events", &args, plane.authority.certificate());
    webhook.await_ready();
    let kubectl = plane.namespace("owned", json!({}));
    webhook.register(&kubectl);

    let run = ["run", "cart", "--image=registry.example/cart:7", "--labels=app=bad"];
    kubectl.refused(&[run.as_slice(), &["--dry-run=server"]].concat(), "");
    kubectl.refused(&run, "");
    kubectl.refused(&run, "");
    let parts = ["PodDenied", "Pod owned/cart: denied: SidecarSet \"bad\"", "sidecarset.kruise.io/webhook"];
    poll::until("the Event in kubectl describe", Duration::from_secs(30), || {
        let text = admin.ok(&["describe", "sidecarset", "bad"]);
        if parts.iter().all(|part| text.contains(part)) { Ok(()) } else { Err(text) }
    })
    .unwrap_or_else(|error| panic!("{error}\n{}", webhook.log()));
    let field = "--field-selector=regarding.name=bad";
    let events = admin.json(&["get", "events.events.k8s.io", "-n", "default", field]);
    assert_eq!(events["items"].as_array().map(Vec::len), Some(1), "{events}");
}
