//! A small API server: lists in pages, watches with history, bookmarks and 410, single Namespaces. Called without a socket.

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{Request, StatusCode};
use axum::response::{IntoResponse, Response};
use kube::Client;
use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::sync::watch;

/// The API server; clones are the same one.
#[derive(Clone)]
pub(crate) struct FakeApi(Arc<Inner>);

struct Inner {
    world: Mutex<World>,
    /// Single reads wait until this is true.
    reads_go_on: watch::Sender<bool>,
}

#[derive(Default)]
struct World {
    version: u64,
    kinds: HashMap<String, Kind>,
    /// Namespaces that a single read finds and a list does not show yet.
    fresh: BTreeMap<String, Value>,
    /// What single reads of Namespaces are answered with.
    refused_reads: Option<Value>,
    calls: Vec<String>,
    reads: usize,
}

/// One collection, by its name in paths.
#[derive(Default)]
struct Kind {
    objects: BTreeMap<String, Value>,
    /// Events that a watch may still ask for, each with its version.
    history: Vec<(u64, String)>,
    forgotten: u64,
    watchers: Vec<UnboundedSender<String>>,
    refused: Option<Value>,
}

/// A failure as an API server tells it.
pub(crate) fn status(code: u16, reason: &str, message: &str) -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message,
        "reason": reason, "code": code})
}

impl FakeApi {
    pub(crate) fn new() -> Self {
        let world = Mutex::new(World { version: 100, ..World::default() });
        Self(Arc::new(Inner { world, reads_go_on: watch::Sender::new(true) }))
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(self.router(), "default")
    }

    pub(crate) fn router(&self) -> Router {
        Router::new().fallback(answer).with_state(self.clone())
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.0.world.lock().expect("no test panics here")
    }

    fn change(&self, collection: &str, change: impl FnOnce(&mut Kind, u64)) {
        let mut world = self.world();
        world.version += 1;
        let version = world.version;
        change(world.kinds.entry(collection.to_owned()).or_default(), version);
    }

    /// Stores an object; watches hear of it.
    pub(crate) fn put(&self, collection: &str, mut object: Value) {
        self.change(collection, |kind, version| {
            object["metadata"]["resourceVersion"] = json!(version.to_string());
            let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
            let event = if kind.objects.contains_key(&name) { "MODIFIED" } else { "ADDED" };
            kind.tell(version, event, &object);
            kind.objects.insert(name, object);
        });
    }

    pub(crate) fn delete(&self, collection: &str, name: &str) {
        self.change(collection, |kind, version| {
            let mut object = kind.objects.remove(name).expect("it is there");
            object["metadata"]["resourceVersion"] = json!(version.to_string());
            kind.tell(version, "DELETED", &object);
        });
    }

    /// Tells all watches of a collection that they are up to date.
    pub(crate) fn bookmark(&self, collection: &str) {
        self.change(collection, |kind, version| {
            let bookmark = json!({"kind": "X", "apiVersion": "v1", "metadata": {"resourceVersion": version.to_string()}});
            kind.tell(version, "BOOKMARK", &bookmark);
        });
    }

    /// Ends all watches of a collection. `forget`: what they missed from here on cannot be asked for.
    pub(crate) fn cut(&self, collection: &str, forget: bool) {
        self.change(collection, |kind, version| {
            kind.watchers.clear();
            if forget {
                kind.history.clear();
                kind.forgotten = version;
            }
        });
    }

    /// Calls of a collection are answered with this failure, until it is taken away with `None`.
    pub(crate) fn refuse(&self, collection: &str, failure: Option<Value>) {
        self.change(collection, |kind, _| kind.refused = failure);
    }

    /// Stores a Namespace that no list shows.
    pub(crate) fn put_fresh(&self, name: &str, labels: Value) {
        let object = json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1",
            "metadata": {"name": name, "labels": labels, "resourceVersion": "1"}});
        self.world().fresh.insert(name.to_owned(), object);
    }

    pub(crate) fn refuse_reads(&self, failure: Option<Value>) {
        self.world().refused_reads = failure;
    }

    /// Holds the answers to single reads back, or lets them go.
    pub(crate) fn hold_reads(&self, hold: bool) {
        self.0.reads_go_on.send_replace(!hold);
    }

    /// Number of single reads of Namespaces.
    pub(crate) fn reads(&self) -> usize {
        self.world().reads
    }

    /// Number of calls whose path and query contain each of `parts`.
    pub(crate) fn calls(&self, parts: &[&str]) -> usize {
        self.world().calls.iter().filter(|call| parts.iter().all(|part| call.contains(part))).count()
    }
}

impl Kind {
    fn tell(&mut self, version: u64, event: &str, object: &Value) {
        let line = format!("{{\"type\":\"{event}\",\"object\":{object}}}\n");
        self.watchers.retain(|watcher| watcher.send(line.clone()).is_ok());
        self.history.push((version, line));
    }

    fn list(&self, version: u64, limit: usize, from: &str) -> Value {
        let mut rest = self.objects.iter().filter(|(name, _)| name.as_str() > from);
        let items: Vec<_> = rest.by_ref().take(limit).collect();
        let metadata = match (items.last(), rest.next()) {
            (Some((last, _)), Some(_)) => json!({"resourceVersion": version.to_string(), "continue": last}),
            _ => json!({"resourceVersion": version.to_string()}),
        };
        // What is stored under a name with an exclamation mark is no object at all.
        let items: Vec<Value> = items
            .iter()
            .map(|(name, object)| if name.contains('!') { json!(name) } else { (*object).clone() })
            .collect();
        json!({"kind": "List", "apiVersion": "v1", "metadata": metadata, "items": items})
    }

    fn watch(&mut self, since: u64) -> Response {
        if since < self.forgotten {
            let line = json!({"type": "ERROR", "object": status(410, "Expired", "too old resource version")});
            return Body::from(format!("{line}\n")).into_response();
        }
        let (tx, rx) = unbounded_channel();
        for (_, line) in self.history.iter().filter(|(version, _)| *version > since) {
            tx.send(line.clone()).expect("the receiver is here");
        }
        self.watchers.push(tx);
        let lines = futures_util::stream::unfold(rx, async |mut rx| {
            rx.recv().await.map(|line| (Ok::<_, Infallible>(Bytes::from(line)), rx))
        });
        Body::from_stream(lines).into_response()
    }
}

fn failure(status: &Value) -> Response {
    let code = status["code"].as_u64().and_then(|code| u16::try_from(code).ok()).unwrap_or(500);
    (StatusCode::from_u16(code).expect("a status"), status.to_string()).into_response()
}

async fn answer(State(api): State<FakeApi>, request: Request<Body>) -> Response {
    let (path, query) =
        (request.uri().path().to_owned(), request.uri().query().unwrap_or_default().to_owned());
    api.world().calls.push(format!("{path}?{query}"));
    let parameter = |name: &str| {
        query.split('&').find_map(|part| part.strip_prefix(name)?.strip_prefix('=')).unwrap_or_default()
    };
    let (before, last) = path.rsplit_once('/').unwrap_or_default();
    if before.ends_with("/v1/namespaces") {
        api.world().reads += 1;
        let mut go_on = api.0.reads_go_on.subscribe();
        go_on.wait_for(|go_on| *go_on).await.expect("the sender lives");
        let world = api.world();
        return match (&world.refused_reads, world.fresh.get(last)) {
            (Some(refusal), _) => failure(refusal),
            (None, Some(found)) => found.to_string().into_response(),
            (None, None) => failure(&status(404, "NotFound", &format!("namespaces {last:?} not found"))),
        };
    }
    let mut world = api.world();
    let version = world.version;
    let kind = world.kinds.entry(last.to_owned()).or_default();
    if let Some(refusal) = &kind.refused {
        return failure(refusal);
    }
    if parameter("watch") == "true" {
        return kind.watch(parameter("resourceVersion").parse().expect("a number"));
    }
    let limit = parameter("limit").parse().unwrap_or(usize::MAX);
    kind.list(version, limit, parameter("continue")).to_string().into_response()
}
