use std::sync::OnceLock;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{Request, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use sidecarset_core::api::keys;
use tokio::sync::watch;

use super::*;
use crate::controller::fixtures::controller;
use crate::controller::leader::{Leadership, NotLeading};

/// Long enough for any machine: only a test that fails waits for it.
const LIMIT: Duration = Duration::from_secs(60);
/// The Pod that something happens to.
const THIRD: &str = "p002";

/// What an API server has seen of writes of Pods.
#[derive(Default)]
struct Seen {
    begun: Vec<String>,
    finished: usize,
    most: usize,
    reads: usize,
}

impl Seen {
    fn under_way(&self) -> usize {
        self.begun.len() - self.finished
    }
}

/// Says that a write can be answered.
type Due = fn(&Seen) -> bool;

/// What happens to the third Pod.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Event {
    /// Its write is answered with this code, at once, and it has changed.
    Refused(u16),
    /// The same, and it is as it was.
    RefusedUnchanged(u16),
    /// The API server is too busy and asks for a pause.
    Busy,
    /// The Lease is lost while it is written.
    LeaseLost,
}

struct Server {
    seen: watch::Sender<Seen>,
    event: Option<Event>,
    due: Due,
    leadership: OnceLock<Arc<Leadership>>,
}

fn pod(name: &str, version: u32) -> Value {
    let condition = json!({
        "type": "SidecarSetUpgradable", "status": "True", "reason": "AllSidecarsetUpgradable",
        "message": "{\"log\":true}",
    });
    json!({
        "apiVersion": "v1", "kind": "Pod", "status": {"conditions": [condition]},
        "metadata": {
            "namespace": "shop", "name": name, "uid": name, "resourceVersion": version.to_string(),
            "labels": {"app": "x"}, "annotations": {keys::INJECTED_LIST: "log"},
        },
    })
}

async fn answer(State(server): State<Arc<Server>>, request: Request<Body>) -> Response {
    let name = request.uri().path().rsplit('/').next().unwrap_or_default().to_owned();
    if request.method() != "PATCH" {
        server.seen.send_modify(|seen| seen.reads += 1);
        let is_unchanged = matches!(server.event, Some(Event::RefusedUnchanged(_)));
        return pod(&name, if is_unchanged { 1 } else { 3 }).to_string().into_response();
    }
    server.seen.send_modify(|seen| {
        seen.begun.push(name.clone());
        seen.most = seen.most.max(seen.under_way());
    });
    let event = server.event.filter(|_| name == THIRD);
    if event == Some(Event::LeaseLost) {
        server.leadership.get().expect("set before the first call").end();
    }
    let refused = match event {
        Some(Event::Refused(code) | Event::RefusedUnchanged(code)) => Some(code),
        Some(Event::Busy) => Some(429),
        _ => {
            server.seen.subscribe().wait_for(server.due).await.expect("the sender is here");
            None
        }
    };
    server.seen.send_modify(|seen| seen.finished += 1);
    match refused {
        Some(code) => {
            let mut status =
                json!({"kind": "Status", "status": "Failure", "message": "no", "reason": "no", "code": code});
            if event == Some(Event::Busy) {
                status["details"] = json!({"retryAfterSeconds": 1});
            }
            (StatusCode::from_u16(code).expect("a code"), status.to_string()).into_response()
        }
        None => pod(&name, 2).to_string().into_response(),
    }
}

fn set_document() -> Value {
    json!({
        "apiVersion": "apps.kruise.io/v1beta1", "kind": "SidecarSet",
        "metadata": {"name": "log", "uid": "log", "generation": 1, "resourceVersion": "1"},
        "spec": {"selector": {"matchLabels": {"app": "x"}}},
    })
}

fn names(pods: usize) -> Vec<String> {
    (0..pods).map(|number| format!("p{number:03}")).collect()
}

/// A leader that has decided to upgrade so many Pods of the set `log`.
struct Stage {
    controller: Arc<Controller>,
    server: Arc<Server>,
    set: SetFacts,
    writes: Vec<PodWrite>,
}

impl Stage {
    fn new(pods: usize, event: Option<Event>, due: Due) -> Self {
        let server = Server { seen: watch::Sender::default(), event, due, leadership: OnceLock::new() };
        let server = Arc::new(server);
        let router = Router::new().fallback(answer).with_state(Arc::clone(&server));
        let controller = controller(router);
        controller.leadership.extend(Instant::now() + LIMIT);
        let _ = server.leadership.set(Arc::clone(&controller.leadership));
        let document = set_document();
        let mut world = controller.lock();
        world.apply_set(&document).expect("a set");
        for name in names(pods) {
            world.apply_pod(&serde_json::from_value(pod(&name, 1)).expect("a Pod"));
        }
        world.look("log", Instant::now()).expect("a set that remembers");
        drop(world);
        let write = |name: String| PodWrite {
            kind: PodWriteKind::Upgrade,
            patch: json!({"metadata": {"uid": name, "resourceVersion": "1"}}),
            pod: PodKey { namespace: "shop".to_owned(), uid: name.clone(), name },
            takes_down: true,
        };
        let set = SetFacts::new(&document).expect("a set");
        Self { controller, server, set, writes: names(pods).into_iter().map(write).collect() }
    }

    /// Writes; gives the names of the Pods that had changed.
    async fn write(&self, in_order: bool) -> Result<Vec<&str>, ApplyError> {
        let write = self.controller.write_pods(&self.set, &self.writes, in_order);
        let changed = tokio::time::timeout(LIMIT, write).await.expect("every write can be answered")?;
        Ok(changed.into_iter().map(|write| write.pod.name.as_str()).collect())
    }

    /// How many Pods are known as the API server has returned them.
    fn known_as_written(&self) -> usize {
        self.controller.lock().pods.iter().filter(|pod| &*pod.resource_version == "2").count()
    }
}

/// Rule: C-UPD-19.
#[test]
fn a_small_decision_is_written_one_after_another() {
    assert_eq!([0, 1, 9, 15, 16, 32, 127, 128, 20_000].map(at_a_time), [1, 1, 1, 1, 2, 4, 15, 16, 16]);
}

/// One call for each Pod that says already that it can be upgraded. Rule: C-COND-3, C-RUST-6, C-UPD-19.
#[tokio::test]
async fn a_large_decision_is_written_several_pods_at_a_time_and_begun_in_order() {
    let full = |seen: &Seen| seen.under_way() >= MOST_AT_A_TIME || seen.begun.len() == 200;
    let stage = Stage::new(200, None, full);
    assert_eq!(stage.write(true).await.expect("written"), [""; 0]);
    let seen = stage.server.seen.borrow();
    assert_eq!((&seen.begun, seen.most, seen.reads), (&names(200), MOST_AT_A_TIME, 0));
    assert_eq!(stage.known_as_written(), 200);
}

/// Rule: C-UPD-9, C-UPD-19, C-RUST-7.
#[tokio::test]
async fn nothing_begins_after_a_conflict_and_what_has_begun_is_finished() {
    let after_the_conflict = |seen: &Seen| seen.reads > 0;
    let stage = Stage::new(32, Some(Event::Refused(409)), after_the_conflict);
    assert_eq!(stage.write(true).await.expect("written"), [THIRD]);
    let begun = {
        let seen = stage.server.seen.borrow();
        assert_eq!((seen.under_way(), seen.reads), (0, 1));
        seen.begun.len()
    };
    // The others may be answered a moment before the conflict is known.
    assert!((4..8).contains(&begun), "{begun} have begun");
    assert_eq!(stage.known_as_written(), begun - 1);

    let stage = Stage::new(32, Some(Event::Refused(409)), after_the_conflict);
    assert_eq!(stage.write(false).await.expect("written"), [THIRD], "it does not block the others");
    assert_eq!(stage.known_as_written(), 31);
}

/// Decision: D-32.
#[tokio::test]
async fn a_pod_that_is_refused_does_not_block_the_others() {
    let stage = Stage::new(32, Some(Event::Refused(403)), |_| true);
    assert_eq!(stage.write(true).await.expect("written"), [""; 0]);
    assert_eq!(stage.known_as_written(), 31);
    let look = stage.controller.lock().look("log", Instant::now()).expect("the set");
    assert_eq!(look.back_offs.keys().collect::<Vec<_>>(), [THIRD]);
}

/// A write that may have happened goes on to use the budget until that is known. Rule: C-RUST-9, C-BUG-11. Decision: D-32.
#[tokio::test]
async fn a_failed_write_uses_the_budget_only_if_it_may_have_happened() {
    let cases = [
        (Event::Refused(403), false),
        (Event::Refused(500), true),
        (Event::RefusedUnchanged(500), false),
        (Event::RefusedUnchanged(504), true),
        // A webhook that refuses with the code of a conflict.
        (Event::RefusedUnchanged(409), false),
    ];
    for (event, may_be_written) in cases {
        let stage = Stage::new(3, Some(event), |_| true);
        assert_eq!(stage.write(true).await.expect("written"), [""; 0], "{event:?} is no conflict");
        let look = stage.controller.lock().look("log", Instant::now()).expect("the set");
        assert_eq!(look.back_offs[THIRD].may_be_written, may_be_written, "{event:?}");
    }
}

/// Rule: C-RUST-10.
#[tokio::test]
async fn an_api_server_that_is_too_busy_ends_the_round() {
    let stage = Stage::new(3, Some(Event::Busy), |_| true);
    let error = stage.write(true).await.expect_err("too busy");
    assert!(matches!(error, ApplyError::Call { what: "Pod", .. }), "{error}");
    let look = stage.controller.lock().look("log", Instant::now()).expect("the set");
    assert!(look.back_offs.is_empty(), "that is not about the Pod");
}

#[tokio::test]
async fn a_round_ends_when_the_set_has_changed() {
    let stage = Stage::new(3, None, |_| true);
    let change = |generation: u32| {
        let mut document = set_document();
        document["metadata"]["generation"] = generation.into();
        stage.controller.lock().apply_set(&document).expect("a set");
    };
    change(2);
    let error = stage.write(true).await.expect_err("paused, or another image");
    assert!(matches!(error, ApplyError::Outdated), "{error}");
    assert_eq!(stage.server.seen.borrow().begun, [""; 0]);
    change(1);
    assert_eq!(stage.write(true).await.expect("written"), [""; 0]);
    stage.controller.lock().remove_set("log");
    assert!(matches!(stage.write(true).await, Err(ApplyError::Outdated)), "deleted");
}

/// Rule: C-CTL-16.
#[tokio::test]
async fn nothing_begins_when_the_lease_is_lost() {
    let stage = Stage::new(32, Some(Event::LeaseLost), |_| true);
    let error = stage.write(true).await.expect_err("this replica does not lead");
    assert!(matches!(error, ApplyError::NotLeading(NotLeading)), "{error}");
    let seen = stage.server.seen.borrow();
    assert!((3..8).contains(&seen.begun.len()), "{} have begun", seen.begun.len());
    assert_eq!(seen.under_way(), 0);
}
