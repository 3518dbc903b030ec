//! The API server as a source: watches feed stores, and a change becomes a Snapshot.
//!
//! ```text
//! watch of each kind ── batches ──► World (stores; each object made ready once) ── Debounce ──► Compiler ──► Published
//!        │                                                                                          (index)
//!        └── answers, bookmarks ──► Health ──► /readyz?verbose, sidecarset_snapshot_age_seconds
//! ```
//!
//! Lists come in pages and not as a stream: a page bounds what is held beside the stores, and every API server since 1.9 has
//! them. Nothing here runs on the threads that answer admissions.

pub mod compiler;
pub mod debounce;
pub mod health;
mod listen;
pub mod live;
pub mod object;
mod problem;
pub mod store;
pub mod world;

use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::{Stream, StreamExt};
use k8s_openapi::api::core::v1::Namespace;
use kube::core::{ApiResource, GroupVersionKind, PartialObjectMeta};
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt, watcher as watch};
use kube::{Api, Client};
use sidecarset_core::snapshot::Snapshot;
use sidecarset_core::validation::ALLOW_LIST_CONFIG_MAP;
use tokio::sync::Notify;

use super::publish::Published;
use crate::metrics::{Metrics, WatchedKind};
use crate::pauses::Pauses;
use compiler::{Compiled, Compiler};
use debounce::Debounce;
use health::Health;
use object::RawObject;
use store::guarded;
use world::{Changes, Happening, World};

/// How long one watch call lasts. An API server that hangs is noticed by its end, so this bounds how long a change can stay unseen
/// then; the API server's own choice would be five to ten minutes. One whose machine is gone is noticed by the connection itself.
const WATCH_SECONDS: u32 = 120;
/// Objects in one page of a list. A page is held twice or three times for a moment; half of what is usual keeps that near a megabyte.
const PAGE: u32 = 250;
/// Events that are taken at a time: few enough that a probe never waits long behind them.
const BATCH: usize = 128;

/// What a compile that failed counts as: it is tried again after three times that (see [`debounce::REST`]).
const FAILED_COST: Duration = Duration::from_secs(1);
/// The kind that is compiled.
const KIND_OF_SETS: WatchedKind = WatchedKind::SidecarSet;

/// Which objects are read.
#[derive(Debug, Clone)]
pub struct Scope {
    /// Our namespace: the one of the allow list. Rule: A-API-P5.
    pub namespace: String,
    /// Namespace of the ControllerRevisions. Rule: I-CONST-15.
    pub revision_namespace: String,
}

/// Everything that the tasks share.
#[derive(Debug)]
struct Shared {
    world: Mutex<World>,
    health: Arc<Health>,
    changed: Notify,
    published: Arc<Published>,
    metrics: Arc<Metrics>,
}

/// Starts the watches on the current runtime. The first Snapshot is published when each of them has had its first complete list, and
/// they go on for as long as the runtime lives, whatever the API server does.
pub fn start(
    client: &Client,
    scope: &Scope,
    published: &Arc<Published>,
    metrics: &Arc<Metrics>,
) -> Arc<Health> {
    let health = Arc::new(Health::default());
    let shared = Arc::new(Shared {
        world: Mutex::default(),
        health: Arc::clone(&health),
        changed: Notify::new(),
        published: Arc::clone(published),
        metrics: Arc::clone(metrics),
    });
    published.set_awaited(health.awaited());
    let config = || watcher::Config::default().timeout(WATCH_SECONDS).page_size(PAGE);
    let listening = |kind| listen::listening(client, &scope.namespace, &health, kind);

    let kind = WatchedKind::SidecarSet;
    let sets = Api::<RawObject>::all_with(listening(kind), &resource("apps.kruise.io", "v1beta1", kind));
    follow(kind, watch(sets, config()), Happening::Set, &shared, scope);
    let kind = WatchedKind::Namespace;
    let namespaces = Api::<PartialObjectMeta<Namespace>>::all(listening(kind));
    follow(kind, watch(namespaces, config()), Happening::Namespace, &shared, scope);
    let kind = WatchedKind::ControllerRevision;
    let resource_of = resource("apps", "v1", kind);
    let revisions =
        Api::<RawObject>::namespaced_with(listening(kind), &scope.revision_namespace, &resource_of);
    follow(kind, watch(revisions, config()), Happening::Revision, &shared, scope);
    let kind = WatchedKind::ConfigMap;
    let allow_list =
        Api::<RawObject>::namespaced_with(listening(kind), &scope.namespace, &resource("", "v1", kind));
    let only_one = config().fields(&format!("metadata.name={ALLOW_LIST_CONFIG_MAP}"));
    follow(kind, watch(allow_list, only_one), Happening::AllowList, &shared, scope);

    tokio::spawn(publish_changes(shared));
    health
}

fn resource(group: &str, version: &str, kind: WatchedKind) -> ApiResource {
    let gvk = GroupVersionKind::gvk(group, version, kind.as_str());
    ApiResource::from_gvk_with_plural(&gvk, &format!("{}s", kind.as_str().to_lowercase()))
}

fn follow<K: Send + 'static>(
    kind: WatchedKind,
    events: impl Stream<Item = watcher::Result<Event<K>>> + Send + 'static,
    happening: fn(Event<K>) -> Happening,
    shared: &Arc<Shared>,
    scope: &Scope,
) {
    let (shared, scope) = (Arc::clone(shared), scope.clone());
    tokio::spawn(async move {
        let mut batches = pin!(events.backoff(Pauses::default()).ready_chunks(BATCH));
        while let Some(batch) = batches.next().await {
            let mut happenings = Vec::with_capacity(batch.len());
            for event in batch {
                match event {
                    Ok(event) => happenings.push(event),
                    Err(error) if problem::is_new_start(&error) => {
                        let kind = kind.as_str();
                        tracing::info!(
                            kind,
                            "the API server has forgotten where the watch was; a new list is made"
                        );
                    }
                    Err(error) => shared.failed(kind, problem::describe(kind, &scope, &error)),
                }
            }
            let is_long = happenings.len() > 1;
            let listed = happenings.iter().any(|event| matches!(event, Event::InitDone));
            let happenings = happenings.into_iter().map(happening).collect();
            let (for_thread, started) = (Arc::clone(&shared), Instant::now());
            let taken = tokio::task::spawn_blocking(move || for_thread.take(kind, happenings, listed)).await;
            if taken.is_err() {
                tracing::error!(
                    kind = kind.as_str(),
                    "taking a change of the cluster failed; the next one is tried"
                );
            }
            if is_long && shared.published.load().is_some() {
                // A relist while Pods are admitted takes half of one core at most.
                tokio::time::sleep(started.elapsed()).await;
            }
        }
    });
}

impl Shared {
    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failed(&self, kind: WatchedKind, problem: String) {
        self.health.failed(kind, problem);
        self.published.set_awaited(self.health.awaited());
    }

    /// Puts changes into the world. `listed`: a complete list is among them.
    fn take(&self, kind: WatchedKind, happenings: Vec<Happening>, listed: bool) {
        let now = Instant::now();
        let standing = {
            let mut world = self.world();
            happenings.into_iter().for_each(|happening| world.handle(happening));
            let standing = world.standing(kind);
            if standing.has_changed {
                self.health.changed(now);
            }
            standing
        };
        self.health.stored(kind, standing.objects, standing.refused, listed.then_some(now));
        self.metrics.watch.undecodable_objects(kind, self.health.left_out(kind));
        if listed {
            self.published.set_awaited(self.health.awaited());
        }
        if standing.has_changed {
            self.changed.notify_one();
        }
    }

    /// Compiles what changed and publishes it. False if that failed: then the next call compiles everything anew.
    fn publish(
        &self,
        compiler: &mut Compiler,
        compile: impl FnOnce(&mut Compiler, Changes) -> Compiled,
    ) -> bool {
        let (changes, since) = {
            let mut world = self.world();
            let changes = world.take_changes();
            let since = changes.as_ref().and_then(|_| self.health.taken());
            (changes, since)
        };
        let Some(changes) = changes else { return true };
        let (sets_changed, started) = (changes.sets.is_some(), Instant::now());
        let Ok(Compiled { snapshot, cluster, left_out }) = guarded(|| compile(compiler, changes)) else {
            // What it was in the middle of says nothing any more.
            *compiler = Compiler::default();
            self.world().give_all_again();
            self.health.changed(since.unwrap_or(started));
            return false;
        };
        self.health.compiled(left_out);
        self.metrics.watch.undecodable_objects(KIND_OF_SETS, self.health.left_out(KIND_OF_SETS));
        let sets = snapshot.set_count();
        let before = self.published.publish(snapshot, cluster);
        self.metrics.sidecarsets.set(i64::try_from(sets).unwrap_or(i64::MAX));
        if sets_changed {
            let duration_ms = started.elapsed().as_micros() as f64 / 1e3;
            tracing::info!(sets, duration_ms, "SidecarSets loaded");
        }
        if let Some(before) = before {
            retire(before);
        }
        true
    }
}

/// Waits until no admission reads a Snapshot any more, and takes it apart here: with many sets that takes longer than an admission.
fn retire(snapshot: Arc<Snapshot>) {
    /// An admission holds a Snapshot for microseconds.
    const PATIENCE: Duration = Duration::from_millis(200);
    let started = Instant::now();
    while Arc::strong_count(&snapshot) > 1 && started.elapsed() < PATIENCE {
        std::thread::sleep(Duration::from_millis(1));
    }
}

async fn publish_changes(shared: Arc<Shared>) {
    let mut debounce = Debounce::default();
    let compiler = Arc::new(Mutex::new(Compiler::default()));
    loop {
        let due = debounce.due();
        tokio::select! {
            () = shared.changed.notified() => debounce.changed(Instant::now()),
            () = at(due) => {
                debounce.taken();
                let started = Instant::now();
                let (for_thread, compiler) = (Arc::clone(&shared), Arc::clone(&compiler));
                let publish = move || {
                    let mut compiler = compiler.lock().unwrap_or_else(PoisonError::into_inner);
                    for_thread.publish(&mut compiler, Compiler::compile)
                };
                let is_published = matches!(tokio::task::spawn_blocking(publish).await, Ok(true));
                let mut cost = started.elapsed();
                if !is_published {
                    tracing::error!(
                        "compiling a change of the cluster failed; the Snapshot before stays, and it is tried again"
                    );
                    debounce.changed(Instant::now());
                    cost = cost.max(FAILED_COST);
                }
                debounce.compiled(Instant::now(), cost);
            }
        }
    }
}

async fn at(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
