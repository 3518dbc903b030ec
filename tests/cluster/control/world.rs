//! Everything that the API server tells, as it tells it: the newest objects, and every change handed to the scene that it is of.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::TryStreamExt as _;
use hyper::Request;
use kube::core::WatchEvent;
use serde_json::Value;
use tokio::sync::mpsc;

use super::api::{Api, SYSTEM, path};
use super::observation::text;
use super::scene::Scene;

/// Kinds that scenarios are about.
const KINDS: [&str; 5] = ["Pod", "SidecarSet", "ControllerRevision", "Event", "ContainerRecreateRequest"];
/// An annotation that a test changes to get in the way of others. Nobody else sees it.
pub(super) const NOISE: &str = "noise.example/count";

/// By kind, then by `namespace/name`.
pub(super) type Objects = BTreeMap<&'static str, BTreeMap<String, Value>>;

/// A Pod that the node has to look at.
pub(super) type Woken = (Arc<Scene>, String);

pub(super) struct World {
    pub(super) api: Api,
    objects: Mutex<Objects>,
    scenes: Mutex<Vec<Arc<Scene>>>,
    node: mpsc::UnboundedSender<Woken>,
}

/// `namespace/name`, or the name of what is in no namespace.
pub(super) fn key(object: &Value) -> String {
    let (namespace, name) = (text(object, &["metadata", "namespace"]), text(object, &["metadata", "name"]));
    if namespace.is_empty() { name.to_owned() } else { format!("{namespace}/{name}") }
}

impl World {
    /// Lists and begins to watch, for as long as the runtime lives. The receiver is the node's.
    pub(super) async fn start(api: Api) -> (Arc<Self>, mpsc::UnboundedReceiver<Woken>) {
        let (node, woken) = mpsc::unbounded_channel();
        let objects = Mutex::new(KINDS.map(|kind| (kind, BTreeMap::new())).into());
        let world = Arc::new(Self { api, objects, scenes: Mutex::default(), node });
        for kind in KINDS {
            let version = world.list(kind).await.expect("a list");
            tokio::spawn(Arc::clone(&world).follow(kind, version));
        }
        (world, woken)
    }

    pub(super) fn objects(&self) -> MutexGuard<'_, Objects> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn scenes(&self) -> MutexGuard<'_, Vec<Arc<Scene>>> {
        self.scenes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn enter(&self, scene: &Arc<Scene>) {
        self.scenes().push(Arc::clone(scene));
    }

    pub(super) fn leave(&self, scene: &Arc<Scene>) {
        self.scenes().retain(|other| !Arc::ptr_eq(other, scene));
    }

    /// Asks the node to look at a Pod.
    pub(super) fn wake(&self, scene: &Arc<Scene>, key: &str) {
        // The node goes with the runtime.
        let _ = self.node.send((Arc::clone(scene), key.to_owned()));
    }

    fn base(kind: &str) -> String {
        path(kind, if kind == "ControllerRevision" { SYSTEM } else { "" }, "")
    }

    /// Takes a list; what it does not have is gone. Gives its version.
    async fn list(&self, kind: &'static str) -> Result<String, kube::Error> {
        let list = self.api.get(&Self::base(kind)).await?;
        let items = list["items"].as_array().cloned().unwrap_or_default();
        let there: Vec<String> = items.iter().map(key).collect();
        let gone: Vec<Value> = {
            let objects = self.objects();
            objects[kind].iter().filter(|(key, _)| !there.contains(key)).map(|(_, o)| o.clone()).collect()
        };
        gone.iter().for_each(|object| self.take(kind, object, true));
        items.iter().for_each(|object| self.take(kind, object, false));
        Ok(text(&list, &["metadata", "resourceVersion"]).to_owned())
    }

    async fn follow(self: Arc<Self>, kind: &'static str, mut version: String) {
        loop {
            // Whatever ends a watch, a list makes it good.
            let _ = self.watch(kind, &version).await;
            version = loop {
                match self.list(kind).await {
                    Ok(version) => break version,
                    Err(_) => tokio::time::sleep(Duration::from_millis(200)).await,
                }
            };
        }
    }

    async fn watch(&self, kind: &'static str, version: &str) -> Result<(), kube::Error> {
        let uri = format!("{}?watch=1&timeoutSeconds=250&resourceVersion={version}", Self::base(kind));
        let request = Request::get(uri).body(Vec::new()).expect("a request");
        let events = self.api.0.request_events::<Value>(request).await?;
        let mut events = std::pin::pin!(events);
        while let Some(event) = events.try_next().await? {
            match event {
                WatchEvent::Added(object) | WatchEvent::Modified(object) => self.take(kind, &object, false),
                WatchEvent::Deleted(object) => self.take(kind, &object, true),
                WatchEvent::Bookmark(_) => {}
                WatchEvent::Error(_) => return Ok(()),
            }
        }
        Ok(())
    }

    fn take(&self, kind: &'static str, object: &Value, is_gone: bool) {
        let key = key(object);
        let new = (!is_gone).then(|| without_noise(object));
        // One lock over both, so that a scene is told in the order in which things happened.
        let mut objects = self.objects();
        let of_kind = objects.entry(kind).or_default();
        let old = match &new {
            Some(new) => of_kind.insert(key.clone(), new.clone()),
            None => of_kind.remove(&key),
        };
        if old == new {
            return;
        }
        let scene = self.scenes().iter().find(|scene| scene.owns(kind, object)).cloned();
        let Some(scene) = scene else { return };
        scene.see(kind, &key, old.as_ref(), new.as_ref());
        drop(objects);
        if kind == "Pod" {
            self.wake(&scene, &key);
        }
    }
}

/// Without what changes by itself, and the test's own annotation.
fn without_noise(object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(metadata) = object["metadata"].as_object_mut() {
        metadata.remove("managedFields");
        metadata.remove("resourceVersion");
        if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
            annotations.remove(NOISE);
            if annotations.is_empty() {
                metadata.remove("annotations");
            }
        }
    }
    object
}
