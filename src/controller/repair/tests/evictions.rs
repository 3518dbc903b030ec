//! One eviction after another, on an API server that refuses some.

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::State;
use axum::http::{Request, StatusCode};
use axum::response::{IntoResponse, Response};
use sidecarset_core::control::expectations::PodKey;
use sidecarset_core::control::set::SetFacts;
use sidecarset_core::control::{About, Event};
use tokio::sync::watch;

use super::*;
use crate::controller::apply::ApplyError;
use crate::controller::fixtures::controller;

/// Long enough for any machine, and less than the pause that the API server asks for here: only a test that fails waits for it.
const LIMIT: Duration = Duration::from_secs(30);

/// What an API server says about evictions, and what it has seen.
struct Server {
    /// By name of the Pod: code and `details` of the answer.
    refusals: Vec<(&'static str, u16, Value)>,
    /// The uid of a Pod that is read.
    uid: &'static str,
    /// Names of Pods whose eviction was asked for.
    asked: watch::Sender<Vec<String>>,
    /// Reasons of Events, each with the name of its Pod.
    told: watch::Sender<Vec<String>>,
}

async fn answer(State(server): State<Arc<Server>>, request: Request<Body>) -> Response {
    let path = request.uri().path().to_owned();
    let body = to_bytes(request.into_body(), usize::MAX).await.expect("a body");
    if path.ends_with("/events") {
        let event: Value = serde_json::from_slice(&body).expect("an Event");
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        let told = format!("{} {}", text(&event["reason"]), text(&event["regarding"]["name"]));
        server.told.send_modify(|all| all.push(told));
        return body.into_response();
    }
    let Some(of_pod) = path.strip_suffix("/eviction") else {
        let name = path.rsplit('/').next().unwrap_or_default();
        return pod(name, server.uid, json!({})).to_string().into_response();
    };
    let name = of_pod.rsplit('/').next().unwrap_or_default().to_owned();
    let refusal = server.refusals.iter().find(|(of, _, _)| *of == name);
    server.asked.send_modify(|all| all.push(name));
    match refusal {
        None => json!({"kind": "Status", "status": "Success"}).to_string().into_response(),
        Some((_, code, details)) => {
            let status = json!({
                "kind": "Status", "status": "Failure", "message": "no", "reason": "no", "code": code,
                "details": details,
            });
            (StatusCode::from_u16(*code).expect("a code"), status.to_string()).into_response()
        }
    }
}

/// A ready Pod without sidecars that somebody makes again.
fn pod(name: &str, uid: &str, patch: Value) -> Value {
    let mut pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "namespace": "shop", "name": name, "uid": uid, "resourceVersion": "1", "labels": {"app": "x"},
            "creationTimestamp": "1970-01-01T00:00:01Z", "ownerReferences": [{"controller": true, "uid": "owner"}],
        },
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
    });
    json_patch::merge(&mut pod, &patch);
    pod
}

fn set_document() -> Value {
    json!({
        "apiVersion": "apps.kruise.io/v1beta1", "kind": "SidecarSet",
        "metadata": {
            "name": "log", "uid": "log", "generation": 1, "resourceVersion": "1",
            "creationTimestamp": "1970-01-01T00:01:00Z", "annotations": {keys::REPAIR: "Evict"},
        },
        "spec": {"selector": {"matchLabels": {"app": "x"}}, "containers": [{"name": "agent", "image": "agent:1"}]},
    })
}

/// A leader that knows a webhook which answers, a set, and two Pods of one owner that missed injection.
struct Stage {
    controller: Arc<Controller>,
    server: Arc<Server>,
    set: SetFacts,
}

impl Stage {
    fn new(refusals: &[(&'static str, u16, Value)]) -> Self {
        Self::where_a_is("a", refusals)
    }

    /// The Pod `a` has this uid if it is read again.
    fn where_a_is(uid: &'static str, refusals: &[(&'static str, u16, Value)]) -> Self {
        let (asked, told) = (watch::Sender::default(), watch::Sender::default());
        let server = Server { refusals: refusals.to_vec(), uid, asked, told };
        let server = Arc::new(server);
        let controller = controller(Router::new().fallback(answer).with_state(Arc::clone(&server)));
        controller.leadership.extend(Instant::now() + LIMIT);
        let document = set_document();
        let set = SetFacts::new(&document).expect("a set");
        let stage = Self { controller, server, set };
        stage.change(|world| world.apply_set(&document).map(drop).expect("a set"));
        stage.put("a", json!({}));
        stage.put("b", json!({}));
        stage.sees_webhook(true);
        stage
    }

    fn change(&self, change: impl FnOnce(&mut World)) {
        change(&mut self.controller.lock());
    }

    fn put(&self, name: &str, patch: Value) {
        let pod = serde_json::from_value(pod(name, name, patch)).expect("a Pod");
        self.change(|world| drop(world.apply_pod(&pod)));
    }

    fn sees_webhook(&self, answers: bool) {
        self.controller.take_look(seen(answers, &json!({})));
    }

    /// What a look decides now.
    fn decided(&self) -> Vec<PodKey> {
        let look = self.controller.lock().look("log", Instant::now()).expect("the set");
        self.controller.decide(&look, &[]).evictions
    }

    /// Waits until this Pod is decided about, and asks for its eviction.
    async fn evict(&self, name: &str) -> Result<(), ApplyError> {
        // Between two evictions of a test no time passes.
        self.controller.repair_lock().next_eviction = None;
        let decided = async {
            loop {
                match &*self.decided() {
                    [key] if key.name == name => return key.clone(),
                    [] => tokio::time::sleep(Duration::from_millis(10)).await,
                    others => panic!("{others:?}, not {name}"),
                }
            }
        };
        let key = tokio::time::timeout(LIMIT, decided).await.expect("decided");
        self.ask(&key).await
    }

    async fn ask(&self, key: &PodKey) -> Result<(), ApplyError> {
        let evict = self.controller.evict(&self.set, key);
        tokio::time::timeout(LIMIT, evict).await.expect("the API server answers, and asks for no pause")
    }

    fn asked(&self) -> Vec<String> {
        self.server.asked.borrow().clone()
    }

    /// All Events so far.
    async fn told(&self) -> Vec<String> {
        let key = PodKey { namespace: "shop".to_owned(), name: "a".to_owned(), uid: "a".to_owned() };
        let last =
            Event { about: About::Pod(key), is_warning: false, reason: "Last", message: String::new() };
        self.controller.tell(&self.set, &last);
        let mut told = self.server.told.subscribe();
        let all = told.wait_for(|told| told.iter().any(|told| told.starts_with("Last")));
        let all =
            tokio::time::timeout(LIMIT, all).await.expect("the last Event").expect("the sender is here");
        all.iter().filter(|told| !told.starts_with("Last")).cloned().collect()
    }

    fn failures(&self) -> Vec<(String, u32)> {
        let look = self.controller.lock().look("log", Instant::now()).expect("the set");
        look.outcomes.failures.into_iter().collect()
    }
}

/// What a PodDisruptionBudget says. The time is the API server's, and about this Pod only.
fn budget(pod: &'static str) -> (&'static str, u16, Value) {
    (pod, 429, json!({"retryAfterSeconds": 3600, "causes": [{"reason": "DisruptionBudget"}]}))
}

/// Decision: D-32.
#[tokio::test]
async fn a_budget_holds_one_pod_and_not_the_others() {
    let stage = Stage::new(&[budget("a")]);
    stage.evict("a").await.expect("refused");
    assert!(stage.decided().is_empty(), "one eviction in five seconds, refused or not");
    stage.evict("b").await.expect("its turn");
    assert_eq!(stage.asked(), ["a", "b"]);
    assert_eq!(stage.told().await, ["EvictionRefused a", "EvictedForInjection b"]);
    assert_eq!(stage.failures(), [("a".to_owned(), 1)]);
}

/// Decision: D-32.
#[tokio::test]
async fn a_refusal_is_told_once() {
    let stage = Stage::new(&[budget("a")]);
    stage.change(|world| drop(world.remove_pod("shop", "b", "b")));
    stage.evict("a").await.expect("refused");
    stage.evict("a").await.expect("refused again");
    assert_eq!(stage.asked(), ["a", "a"]);
    assert_eq!(stage.told().await, ["EvictionRefused a"]);
    assert_eq!(stage.failures(), [("a".to_owned(), 2)]);
}

#[tokio::test]
async fn an_owner_loses_no_second_pod_before_the_first_is_replaced() {
    let stage = Stage::new(&[]);
    stage.evict("a").await.expect("evicted");
    stage.controller.repair_lock().next_eviction = None;
    assert!(stage.decided().is_empty(), "the watch has not told of it yet");
    stage.change(|world| drop(world.remove_pod("shop", "a", "a")));
    assert!(stage.decided().is_empty(), "nothing comes in its place, or is refused");
    let injected = |ready: &str| {
        let metadata =
            json!({"annotations": {keys::INJECTED_LIST: "log"}, "creationTimestamp": "1970-01-01T00:02:00Z"});
        json!({"metadata": metadata, "status": {"conditions": [{"type": "Ready", "status": ready}]}})
    };
    stage.put("c", injected("False"));
    assert!(stage.decided().is_empty(), "it starts");
    stage.put("c", injected("True"));
    stage.evict("b").await.expect("evicted");
    assert_eq!(stage.asked(), ["a", "b"]);
}

/// What the answer is about: the Pod, another Pod of its name, or the API server.
#[tokio::test]
async fn other_answers() {
    let refused = |code: u16| Stage::new(&[("a", code, json!({}))]);
    for code in [403, 409, 500] {
        let stage = refused(code);
        stage.evict("a").await.expect("refused");
        assert_eq!(stage.failures(), [("a".to_owned(), 1)], "{code}");
        assert_eq!(stage.told().await, ["EvictionRefused a"], "{code}");
        stage.evict("b").await.expect("the owner has lost none");
    }

    let stage = refused(404);
    stage.evict("a").await.expect("it is gone");
    assert!(stage.controller.lock().pods.get(("shop", "a")).is_none());
    assert!(stage.failures().is_empty() && stage.told().await.is_empty());

    let stage = Stage::where_a_is("another", &[("a", 409, json!({}))]);
    stage.evict("a").await.expect("another Pod of that name");
    assert!(stage.failures().is_empty() && stage.told().await.is_empty());

    let stage = Stage::new(&[("a", 429, json!({"retryAfterSeconds": 3600}))]);
    let error = stage.evict("a").await.expect_err("too busy");
    assert!(matches!(error, ApplyError::Call { what: "eviction", .. }), "{error}");
    assert!(stage.failures().is_empty(), "that is not about the Pod");
}

/// The writes between decision and eviction may take minutes.
#[tokio::test]
async fn what_is_not_due_any_more_is_not_asked_for() {
    type Change = fn(&Stage);
    fn set(stage: &Stage, patch: &Value) {
        let mut document = set_document();
        json_patch::merge(&mut document, &json!({"metadata": {"generation": 2, "resourceVersion": "2"}}));
        json_patch::merge(&mut document, patch);
        stage.change(|world| world.apply_set(&document).map(drop).expect("a set"));
    }
    let changes: [(&str, Change); 9] = [
        ("the webhook is away", |stage| stage.sees_webhook(false)),
        ("paused", |stage| set(stage, &json!({"spec": {"updateStrategy": {"paused": true}}}))),
        ("asks for it no more", |stage| {
            set(stage, &json!({"metadata": {"annotations": {keys::REPAIR: null}}}))
        }),
        ("is being deleted", |stage| {
            set(stage, &json!({"metadata": {"deletionTimestamp": "1970-01-01T00:03:00Z"}}));
        }),
        ("is deleted", |stage| stage.change(|world| world.remove_set("log"))),
        ("the Pod is gone", |stage| stage.change(|world| drop(world.remove_pod("shop", "a", "a")))),
        ("another Pod has its name", |stage| stage.put("a", json!({"metadata": {"uid": "another"}}))),
        ("it opts out", |stage| {
            stage.put("a", json!({"metadata": {"annotations": {keys::INJECT: "false"}}}));
        }),
        ("another Pod is not ready", |stage| stage.put("b", json!({"status": {"conditions": []}}))),
    ];
    for (why, change) in changes {
        let stage = Stage::new(&[]);
        let [key] = &*stage.decided() else { panic!("one Pod") };
        change(&stage);
        stage.ask(key).await.expect("no call");
        assert_eq!(stage.asked(), [""; 0], "{why}");
        assert!(stage.controller.repair_lock().next_eviction.is_none(), "{why}: others may go");
    }
    let stage = Stage::new(&[]);
    let [key] = &*stage.decided() else { panic!("one Pod") };
    stage.controller.leadership.end();
    assert!(matches!(stage.ask(key).await, Err(ApplyError::NotLeading(_))));
    assert_eq!(stage.asked(), [""; 0]);
}
