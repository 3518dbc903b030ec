//! What the owners of sets are told, and what the API server's audit log gets.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use sidecarset::faults::{Fault, Faults, Reason};
use sidecarset::server::{self, RequestLimits};

use crate::router::{mk_request, send};
use crate::support::{mk_empty_state, mk_review, publish};

/// A set at fault for Pods with a container `main`, whose name it takes for an init container of its own.
const BROKEN: &str = "\
apiVersion: apps.kruise.io/v1beta1
kind: SidecarSet
metadata:
  name: broken
  ANNOTATIONS
spec:
  selector:
    matchLabels:
      app: web
  initContainers:
  - name: main
    image: agent:1
";

/// Writes down what it is told.
#[derive(Debug, Clone, Default)]
struct Notebook(Arc<Mutex<Vec<Fault>>>);

impl Faults for Notebook {
    fn tell(&self, fault: Fault) {
        self.0.lock().expect("no panic").push(fault);
    }
}

/// The response to `review`, and what the owners were told.
async fn ask(yaml: &str, review: &Value) -> (Value, Vec<Fault>) {
    let notebook = Notebook::default();
    let state = Arc::try_unwrap(mk_empty_state(RequestLimits::default())).expect("one owner");
    let state = Arc::new(state.telling(notebook.clone()));
    publish(&state, yaml);
    let answer = send(server::app(state), mk_request(review.to_string())).await;
    let told = notebook.0.lock().expect("no panic").clone();
    (answer.json()["response"].clone(), told)
}

/// Decision: D-22.
#[tokio::test]
async fn a_denial_that_a_set_is_at_fault_for_is_told() {
    let (response, told) = ask(&BROKEN.replace("  ANNOTATIONS\n", ""), &mk_review()).await;
    assert_eq!(response["allowed"], false, "{response}");
    let [fault] = told.as_slice() else { panic!("one fault: {told:?}") };
    assert_eq!((&*fault.set, fault.reason), ("broken", Reason::PodDenied));
    assert!(
        fault.note.starts_with("Pod team-a/shop: denied: ") && fault.note.contains("main"),
        "{}",
        fault.note
    );
    assert_eq!(fault.rule, "D-27");
    assert_eq!(response["auditAnnotations"], json!({"denied": "broken [D-27]"}));
}

/// Decision: D-22.
#[tokio::test]
async fn a_set_that_is_skipped_for_its_fault_is_told() {
    let ignores =
        BROKEN.replace("ANNOTATIONS", "annotations:\n    sidecarset.kruise.io/failure-policy: Ignore");
    let (response, told) = ask(&ignores, &mk_review()).await;
    assert_eq!(response["allowed"], true, "{response}");
    let [fault] = told.as_slice() else { panic!("one fault: {told:?}") };
    assert_eq!((&*fault.set, fault.reason, fault.rule), ("broken", Reason::SetSkipped, "D-22"));
    assert!(fault.note.contains("main"), "{}", fault.note);
    assert_eq!(response["auditAnnotations"], json!({"skipped": "broken [D-22]"}));
}

#[tokio::test]
async fn a_dry_run_is_told_to_nobody() {
    let mut review = mk_review();
    review["request"]["dryRun"] = true.into();
    let (response, told) = ask(&BROKEN.replace("  ANNOTATIONS\n", ""), &review).await;
    assert_eq!((&response["allowed"], told.as_slice()), (&json!(false), [].as_slice()));
}

/// Decision: D-26. Rule: I-CALL-11.
#[tokio::test]
async fn what_no_set_is_at_fault_for_is_told_to_nobody() {
    let mut opted_out = mk_review();
    opted_out["request"]["object"]["metadata"]["annotations"] =
        json!({"sidecarset.kruise.io/skip": "broken"});
    let (response, told) = ask(&BROKEN.replace("  ANNOTATIONS\n", ""), &opted_out).await;
    assert_eq!((&response["allowed"], told.as_slice()), (&json!(true), [].as_slice()));

    let mut no_pod = mk_review();
    no_pod["request"]["object"] = json!({"spec": 7});
    let (response, told) = ask(&BROKEN.replace("  ANNOTATIONS\n", ""), &no_pod).await;
    assert_eq!(response["auditAnnotations"], json!({"denied": "[I-CALL-11]"}), "{response}");
    assert_eq!(told, []);
}
