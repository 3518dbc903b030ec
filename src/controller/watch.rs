//! The watches of the controller: each feeds the [`World`] and asks for looks at the sets that a change concerns.
//!
//! A watch ends after a while and begins anew with a list, so that an event that was lost, for whatever reason, is made good.
//!
//! Rule: C-CTL-1, C-CTL-15, C-RUST-2, C-RUST-5, C-BUG-4.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::StreamExt as _;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::PartialObjectMeta;
use kube::runtime::watcher::{Config, Event};
use kube::runtime::{WatchStreamExt as _, watcher as watch};
use kube::{Api, Client, Resource, ResourceExt as _};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use sidecarset_core::api::keys;
use sidecarset_core::control::PodObject;
use sidecarset_core::control::revisions::RevisionFacts;
use tokio::task::JoinSet;

use super::Controller;
use super::world::{Due, World};
use crate::causes;
use crate::cluster::objects;
use crate::pauses::Pauses;
use crate::source::watch::object::RawObject;

/// How long one watch call lasts: a connection that broke without a sign is noticed by its end.
const WATCH_SECONDS: u32 = 120;
/// Kinds that have to be listed before anything is decided.
const KINDS: usize = 4;

/// How many kinds have had their first complete list.
#[derive(Debug, Default)]
pub(super) struct Progress(AtomicUsize);

impl Progress {
    /// Whether all have.
    #[must_use]
    pub(super) fn is_complete(&self) -> bool {
        self.0.load(Ordering::Acquire) >= KINDS
    }
}

/// A Pod of a watch, decoded once into the little that is kept of it. Rule: C-RUST-3.
#[derive(Debug, Clone)]
pub(super) struct WatchedPod {
    metadata: ObjectMeta,
    object: PodObject,
}

impl WatchedPod {
    /// What is read of it.
    pub(super) fn object(&self) -> &PodObject {
        &self.object
    }
}

impl<'de> Deserialize<'de> for WatchedPod {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let object = PodObject::deserialize(deserializer)?;
        let (namespace, name, uid, resource_version) = object.identity();
        let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let metadata = ObjectMeta {
            namespace: text(namespace),
            name: text(name),
            uid: text(uid),
            resource_version: text(resource_version),
            ..ObjectMeta::default()
        };
        Ok(Self { metadata, object })
    }
}

impl Resource for WatchedPod {
    type DynamicType = ();
    type Scope = <Pod as Resource>::Scope;

    fn kind(kind: &()) -> Cow<'_, str> {
        Pod::kind(kind)
    }

    fn group(kind: &()) -> Cow<'_, str> {
        Pod::group(kind)
    }

    fn version(kind: &()) -> Cow<'_, str> {
        Pod::version(kind)
    }

    fn plural(kind: &()) -> Cow<'_, str> {
        Pod::plural(kind)
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

/// Something that happened to objects of one kind, without kube's distinction of lists and watches.
enum Happening<K> {
    ListBegins,
    There(K),
    Gone(K),
    ListEnds,
}

impl<K> From<Event<K>> for Happening<K> {
    fn from(event: Event<K>) -> Self {
        match event {
            Event::Init => Self::ListBegins,
            Event::InitApply(object) | Event::Apply(object) => Self::There(object),
            Event::InitDone => Self::ListEnds,
            Event::Delete(object) => Self::Gone(object),
        }
    }
}

/// Starts all watches on the current runtime.
pub(super) fn start(
    controller: &Arc<Controller>,
    client: &Client,
    resync: Duration,
    tasks: &mut JoinSet<()>,
) {
    let it = || Arc::clone(controller);
    let pods = Api::<WatchedPod>::all(client.clone());
    let endings = it();
    let take_pod =
        move |world: &mut World, happening, _: &mut BTreeSet<String>| pod(world, happening, &endings);
    tasks.spawn(follow(it(), "Pod", pods, "", resync, take_pod));
    let namespaces = Api::<PartialObjectMeta<Namespace>>::all(client.clone());
    tasks.spawn(follow(it(), "Namespace", namespaces, "", resync, namespace));
    let sets = Api::<RawObject>::all_with(client.clone(), &objects::sidecar_set_resource());
    tasks.spawn(follow(it(), "SidecarSet", sets, "", resync, set));
    let namespace = &controller.settings.revision_namespace;
    let revisions =
        Api::<RawObject>::namespaced_with(client.clone(), namespace, &objects::revision_resource());
    tasks.spawn(follow(it(), "ControllerRevision", revisions, keys::REVISION_SET_NAME, resync, revision));
}

/// Follows one kind for ever. `listed` are the names that a list had so far.
async fn follow<K>(
    controller: Arc<Controller>,
    kind: &'static str,
    api: Api<K>,
    label: &str,
    resync: Duration,
    mut take: impl FnMut(&mut World, Happening<K>, &mut BTreeSet<String>) -> Vec<Due>,
) where
    K: Resource + Clone + DeserializeOwned + std::fmt::Debug + Send + 'static,
{
    let mut config = Config::default().timeout(WATCH_SECONDS);
    if !label.is_empty() {
        config = config.labels(label);
    }
    let (mut listed, mut is_first, mut failed) = (BTreeSet::new(), true, false);
    loop {
        let mut events = pin!(watch(api.clone(), config.clone()).backoff(Pauses::default()));
        let mut ends = pin!(tokio::time::sleep(resync));
        let mut is_listing = true;
        loop {
            let event = tokio::select! {
                event = events.next() => event,
                // A list that takes longer than that is not begun again: it would never be complete.
                () = &mut ends, if !is_listing => break,
            };
            match event {
                None => break,
                Some(Ok(event)) => {
                    if std::mem::take(&mut failed) {
                        tracing::info!(kind, "the API server answers again");
                    }
                    let is_complete = matches!(event, Event::InitDone);
                    is_listing = !is_complete && (is_listing || matches!(event, Event::Init));
                    controller.with_world(|world| take(world, event.into(), &mut listed));
                    if is_complete && std::mem::take(&mut is_first) {
                        controller.progress.0.fetch_add(1, Ordering::AcqRel);
                        controller.note_progress();
                    }
                }
                Some(Err(error)) => {
                    if !std::mem::replace(&mut failed, true) {
                        let problem = causes::told(&error);
                        tracing::error!(kind, %problem, "the API server cannot be watched; it is tried again");
                    }
                }
            }
        }
    }
}

fn pod(world: &mut World, happening: Happening<WatchedPod>, controller: &Controller) -> Vec<Due> {
    match happening {
        Happening::ListBegins => {
            world.pods.begin_list();
            Vec::new()
        }
        Happening::There(pod) => {
            let due = world.apply_pod(&pod.object);
            let (namespace, name, ..) = pod.object.identity();
            world.pods.note_listed((namespace, name));
            if let Some(pod) = world.pods.get((namespace, name)) {
                controller.note_ending(&pod);
            }
            due
        }
        Happening::Gone(pod) => {
            let (namespace, name, uid, _) = pod.object.identity();
            world.remove_pod(namespace, name, uid)
        }
        Happening::ListEnds => {
            let gone = world.pods.end_list();
            gone.iter().flat_map(|change| world.after_pod(change)).collect()
        }
    }
}

fn namespace(
    world: &mut World,
    happening: Happening<PartialObjectMeta<Namespace>>,
    listed: &mut BTreeSet<String>,
) -> Vec<Due> {
    match happening {
        Happening::ListBegins => {
            listed.clear();
            Vec::new()
        }
        Happening::There(namespace) => {
            let name = namespace.name_any();
            let labels = namespace.labels().iter().map(|(key, value)| (key.clone(), value.clone())).collect();
            listed.insert(name.clone());
            world.apply_namespace(&name, labels)
        }
        Happening::Gone(namespace) => world.remove_namespace(&namespace.name_any()),
        Happening::ListEnds => {
            let gone: Vec<String> =
                world.namespaces().keys().filter(|name| !listed.contains(*name)).cloned().collect();
            gone.iter().flat_map(|name| world.remove_namespace(name)).collect()
        }
    }
}

fn set(world: &mut World, happening: Happening<RawObject>, listed: &mut BTreeSet<String>) -> Vec<Due> {
    match happening {
        Happening::ListBegins => {
            listed.clear();
            Vec::new()
        }
        Happening::There(object) => {
            let name = object.name_any();
            listed.insert(name.clone());
            let read = serde_json::from_str(object.text()).map_err(|error| error.to_string());
            match read.and_then(|document| world.apply_set(&document)) {
                Ok(due) => due.into_iter().collect(),
                Err(reason) => {
                    tracing::warn!(
                        sidecarset.name = name,
                        reason,
                        "a SidecarSet cannot be decoded and is left out; correct it"
                    );
                    Vec::new()
                }
            }
        }
        Happening::Gone(object) => {
            world.remove_set(&object.name_any());
            Vec::new()
        }
        Happening::ListEnds => {
            let gone: Vec<_> = world.names().filter(|name| !listed.contains(&***name)).cloned().collect();
            gone.iter().for_each(|name| world.remove_set(name));
            Vec::new()
        }
    }
}

fn revision(world: &mut World, happening: Happening<RawObject>, listed: &mut BTreeSet<String>) -> Vec<Due> {
    match happening {
        Happening::ListBegins => {
            listed.clear();
            Vec::new()
        }
        Happening::There(object) => {
            let name = object.name_any();
            listed.insert(name.clone());
            match RevisionFacts::from_json(object.text()) {
                Ok(revision) => world.apply_revision(revision).into_iter().collect(),
                Err(error) => {
                    tracing::warn!(revision.name = name, %error, "a ControllerRevision cannot be decoded and is left out");
                    Vec::new()
                }
            }
        }
        Happening::Gone(object) => world.remove_revision(&object.name_any()).into_iter().collect(),
        Happening::ListEnds => {
            let gone: Vec<_> =
                world.revision_names().filter(|name| !listed.contains(*name)).cloned().collect();
            gone.iter().filter_map(|name| world.remove_revision(name)).collect()
        }
    }
}
