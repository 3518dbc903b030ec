use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{Method, Request as HttpRequest, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use sidecarset_core::control::PodObject;

use super::*;
use crate::controller::fixtures::controller;

const MINUTE: Duration = Duration::from_secs(60);

/// An API server with a Pod in which a sidecar is to be ended whose exit code does not count.
#[derive(Default)]
struct Server {
    /// The code that patches are answered with.
    patches: Option<u16>,
    /// The request that there is, by its name.
    request: Option<&'static str>,
    is_served: bool,
    calls: Mutex<Vec<String>>,
}

fn pod() -> Value {
    let env = |names: &[&str]| -> Vec<Value> {
        names.iter().map(|name| json!({"name": name, "value": "true"})).collect()
    };
    let marks = ["KRUISE_TERMINATE_SIDECAR_WHEN_JOB_EXIT", "KRUISE_TERMINATE_SIDECAR_IGNORE_EXIT_CODE"];
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"namespace": "shop", "name": "job", "uid": "u1", "resourceVersion": "1"},
        "spec": {"restartPolicy": "Never", "containers": [
            {"name": "main", "image": "m"}, {"name": "side", "image": "s", "env": env(&marks)},
        ]},
        "status": {"phase": "Running", "containerStatuses": [
            {"name": "main", "state": {"terminated": {"exitCode": 0}}}, {"name": "side", "state": {"running": {}}},
        ]},
    })
}

fn status(code: u16) -> Response {
    let status =
        json!({"kind": "Status", "status": "Failure", "message": "no", "reason": "no", "code": code});
    (StatusCode::from_u16(code).expect("a code"), status.to_string()).into_response()
}

async fn answer(State(server): State<Arc<Server>>, request: HttpRequest<Body>) -> Response {
    let path = request.uri().path();
    let is_request = path.ends_with("/containerrecreaterequests");
    if is_request || *request.method() == Method::PATCH {
        let mut calls = server.calls.lock().expect("no panic");
        calls.push(format!("{} {}", request.method(), path.rsplit('/').next().unwrap_or_default()));
    }
    match (request.method(), is_request) {
        (_, true) if !server.is_served => status(404),
        (&Method::POST, true) => json!({"metadata": {"name": "x"}}).to_string().into_response(),
        (_, true) => {
            let asked = request.uri().query().unwrap_or_default();
            let found = server.request.filter(|name| {
                let selector = format!("fieldSelector=metadata.name%3D{name}");
                asked.split('&').any(|part| part == selector)
            });
            let item = |name| json!({"metadata": {"name": name}, "spec": {"podName": "job", "containers": [{"name": "side"}]}});
            json!({"metadata": {}, "items": found.map(item).into_iter().collect::<Vec<_>>()})
                .to_string()
                .into_response()
        }
        (&Method::PATCH, _) => match server.patches {
            Some(code) => status(code),
            None => pod().to_string().into_response(),
        },
        _ => pod().to_string().into_response(),
    }
}

/// A controller that knows the Pod.
fn mk(server: Server, leads: bool) -> (Arc<Controller>, Arc<Server>) {
    let server = Arc::new(server);
    let router = Router::new().fallback(answer).with_state(Arc::clone(&server));
    let controller = controller(router);
    if leads {
        controller.leadership.extend(Instant::now() + MINUTE);
    }
    let object: PodObject = serde_json::from_value(pod()).expect("a Pod");
    controller.lock().apply_pod(&object);
    (controller, server)
}

/// What comes of one look at the Pod, and the calls for it.
async fn look(server: Server) -> (Outcome, Vec<String>) {
    let (controller, server) = mk(server, true);
    let outcome = controller.end_sidecars_of("shop/job", &Known::default()).await.expect("no error");
    let calls = server.calls.lock().expect("no panic").clone();
    (outcome, calls)
}

/// The exit code of what is killed must not count, so nothing is before the Pod is marked. Rules: C-TERM-9, C-TERM-13.
#[tokio::test]
async fn nothing_is_killed_in_a_pod_that_could_not_be_marked() {
    let served = || Server { is_served: true, ..Server::default() };
    let ask = "GET containerrecreaterequests";
    let (outcome, calls) = look(served()).await;
    assert_eq!(
        (outcome, calls),
        (
            Outcome::Done,
            vec![ask.to_owned(), "PATCH status".to_owned(), "POST containerrecreaterequests".to_owned(),]
        )
    );
    for code in [404, 409] {
        let (outcome, calls) = look(Server { patches: Some(code), ..served() }).await;
        assert_eq!(outcome, Outcome::Again(CONFLICT_PAUSE), "{code}");
        assert_eq!(calls, [ask, "PATCH status"], "{code}");
    }
}

/// Rule: C-TERM-12.
#[tokio::test]
async fn only_requests_for_this_very_pod_count() {
    let with = |name| Server { is_served: true, request: Some(name), ..Server::default() };
    let creates = |calls: &[String]| calls.iter().any(|call| call.starts_with("POST"));
    let (_, calls) = look(with("sidecar-termination-u1")).await;
    assert!(!creates(&calls), "it is under way: {calls:?}");
    let (_, calls) = look(with("sidecar-termination-u0")).await;
    assert!(creates(&calls), "of a former Pod of that name: {calls:?}");
}

/// Rule: C-TERM-6, C-TERM-18, C-BUG-31. Decision: D-34.
#[tokio::test]
async fn what_cannot_be_done_is_told_once() {
    let (controller, _) = mk(Server::default(), true);
    let known = Known::default();
    let outcome = controller.end_sidecars_of("shop/job", &known).await.expect("no error");
    assert_eq!(outcome, Outcome::Done);
    let pod = controller.lock().pods.get(("shop", "job")).expect("the Pod");
    assert!(!known.is_first_warning(&pod), "it was told");
}

/// A replica that waits for the Lease piles nothing up, and looks at every Pod when it leads. Rule: C-TERM-6.
#[tokio::test]
async fn a_replica_that_does_not_lead_notes_nothing() {
    for leads in [false, true] {
        let (controller, _) = mk(Server::default(), leads);
        let pod = controller.lock().pods.get(("shop", "job")).expect("the Pod");
        controller.note_ending(&pod);
        assert_eq!(controller.endings.depth(), (usize::from(leads), 0));
    }
    let (controller, server) = mk(Server { is_served: true, ..Server::default() }, true);
    let mut workers = JoinSet::new();
    controller.start_terminator(&mut workers);
    let done = async {
        while !server.calls.lock().expect("no panic").iter().any(|call| call.starts_with("POST")) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(MINUTE, done).await.expect("the Pod from before is looked at");
    assert_eq!(workers.len(), 3);
}
