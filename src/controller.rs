//! `sidecarset controller`: keeps status, revisions and running Pods as the SidecarSets ask. Observes the cluster, lets
//! [`sidecarset_core::control`] decide, and applies what was decided. Only the replica that holds the Lease writes.
//!
//! ```text
//! watches ──► World (small, shared facts) ── sets that a change concerns ──► Queue
//!                │                                                             │ one name, one worker
//!                └────────────────► Look ──► control::decide ──► Decisions ◄───┘
//!                                                                    │ Leadership checked before each write
//!                                          API server ◄── apply ─────┘ what it returns goes into the World at once
//! ```
//!
//! Rule: C-CTL-1…21, C-RUST-1…12. Decision: D-35.

mod apply;
mod calls;
pub mod events;
pub mod leader;
pub mod pods;
pub mod queue;
mod reconcile;
pub mod repair;
mod terminator;
mod watch;
pub mod world;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch as channel;
use tokio::task::JoinSet;

use crate::cluster::client::Clients;
use crate::metrics::{ControllerMetrics, LookResult};
use calls::Pace;
use events::EventSink;
use leader::{Candidate, Leadership, Terms};
use queue::{Outcome, Queue};
use repair::RepairView;
use watch::Progress;
use world::{Due, World};

/// How long a change waits for others that come with it, so that a burst costs one look. Rule: C-RUST-5.
const DEBOUNCE: Duration = Duration::from_millis(250);
/// How often Pods that came or went are compared with the sets that select them.
const MISSED_EVERY: Duration = Duration::from_secs(5);

/// What the controller is told at its start.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Our namespace: that of the Lease and of the webhook's Service.
    pub namespace: String,
    /// Namespace of ControllerRevisions. Rule: C-REV-1.
    pub revision_namespace: String,
    /// Name of the Lease.
    pub lease: String,
    /// What this process is called among the candidates for the Lease; different in every process.
    pub identity: String,
    /// Times of the election.
    pub terms: Terms,
    /// Sets that are worked on at a time. Rule: C-CTL-11.
    pub workers: usize,
    /// Writes a second in the long run. Rule: C-RUST-10.
    pub qps: u32,
    /// Writes at once after a rest. Rule: C-RUST-10.
    pub burst: u32,
    /// How often everything is listed and looked at again. Rule: C-RUST-5.
    pub resync: Duration,
    /// Name of the webhook's Service, whose health repair depends on.
    pub service: String,
    /// Name of the webhook configuration for Pods.
    pub webhook_configuration: String,
    /// Whether sidecars of finished Pods are ended. Rule: C-TERM-1.
    pub terminator: bool,
}

/// Why a controller ended that nobody asked to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Ended {
    /// What it is about to write may be out of date.
    #[error("the Lease is lost; this process ends and starts anew as a candidate")]
    LeaseLost,
    /// Without that part it would look as if it worked.
    #[error(
        "a part of the controller ended by itself, most likely by the panic told above; this process ends and starts anew"
    )]
    Task,
}

/// The state that all tasks share.
#[derive(Debug)]
pub struct Controller {
    settings: Settings,
    clients: Clients,
    world: Mutex<World>,
    queue: Queue,
    /// Pods to look at for the terminator, as `namespace/name`.
    endings: Queue,
    progress: Progress,
    complete: channel::Sender<bool>,
    leadership: Arc<Leadership>,
    pace: Pace,
    events: EventSink,
    repair: Mutex<RepairView>,
    metrics: ControllerMetrics,
    started: Instant,
}

impl Controller {
    /// A controller that does nothing yet. `clients.writes` has to be bound to `leadership`.
    #[must_use]
    pub fn new(
        clients: Clients,
        leadership: Arc<Leadership>,
        settings: Settings,
        metrics: ControllerMetrics,
    ) -> Arc<Self> {
        let told_by = Arc::clone(&leadership);
        let events = EventSink::start(clients.writes.clone(), &settings.identity, told_by, metrics.clone());
        Arc::new(Self {
            pace: Pace::new(settings.qps, settings.burst, Instant::now()),
            settings,
            clients,
            world: Mutex::default(),
            queue: Queue::default(),
            endings: Queue::default(),
            progress: Progress::default(),
            complete: channel::Sender::new(false),
            leadership,
            events,
            repair: Mutex::default(),
            metrics,
            started: Instant::now(),
        })
    }

    /// Watches, waits for the Lease, and works until the Lease is lost or `stop` resolves; then gives the Lease back.
    ///
    /// # Errors
    ///
    /// The process has to end: see [`Ended`].
    ///
    /// Rule: C-CTL-16.
    pub async fn run(self: Arc<Self>, stop: impl Future<Output = ()>) -> Result<(), Ended> {
        let mut stop = std::pin::pin!(stop);
        let mut tasks = JoinSet::new();
        watch::start(&self, &self.clients.reads, self.settings.resync, &mut tasks);
        let Settings { namespace, lease, identity, terms, .. } = &self.settings;
        let mut candidate = Candidate::new(self.clients.reads.clone(), namespace, lease, identity, *terms);
        let mut complete = self.complete.subscribe();
        tokio::select! {
            () = &mut stop => return Ok(()),
            Some(_) = tasks.join_next() => return Err(Ended::Task),
            // The channel lives as long as we do.
            _ = complete.wait_for(|complete| *complete) => {}
        }
        tokio::select! {
            () = &mut stop => return Ok(()),
            Some(_) = tasks.join_next() => return Err(Ended::Task),
            () = candidate.win(&self.leadership) => {}
        }
        self.metrics.is_leader.set(1);
        tracing::info!(lease, identity, "this replica leads");
        self.start_workers(&mut tasks);
        let ended = tokio::select! {
            () = &mut stop => Ok(()),
            () = candidate.keep(&self.leadership) => Err(Ended::LeaseLost),
            Some(_) = tasks.join_next() => Err(Ended::Task),
        };
        self.metrics.is_leader.set(0);
        tasks.abort_all();
        match ended {
            Ok(()) => {}
            Err(Ended::LeaseLost) => {
                tracing::error!(lease, "the Lease is lost; this process ends and starts anew as a candidate");
            }
            Err(Ended::Task) => tracing::error!(
                "a part of the controller has ended by itself; this process ends and starts anew"
            ),
        }
        // Does nothing if it is lost.
        candidate.release(&self.leadership).await;
        ended
    }

    fn start_workers(self: &Arc<Self>, tasks: &mut JoinSet<()>) {
        self.lock().begin_work();
        for _ in 0..self.settings.workers {
            let controller = Arc::clone(self);
            tasks.spawn(async move { controller.work().await });
        }
        let controller = Arc::clone(self);
        tasks.spawn(async move { controller.look_regularly().await });
        let controller = Arc::clone(self);
        tasks.spawn(async move { controller.prune_regularly().await });
        let controller = Arc::clone(self);
        tasks.spawn(async move { controller.watch_webhook().await });
        if self.settings.terminator {
            self.start_terminator(tasks);
        }
    }

    async fn work(&self) {
        loop {
            let name = self.queue.next().await;
            let started = Instant::now();
            let outcome = self.reconcile(&name).await;
            let result = match outcome {
                Outcome::Done => LookResult::Done,
                Outcome::Again(_) => LookResult::Again,
                Outcome::Conflict => LookResult::Conflict,
                Outcome::Failed => LookResult::Failed,
            };
            self.metrics.looked(result, started.elapsed());
            self.queue.finish(&name, outcome);
            // Where nothing is waited for, because nothing may be written any more, the end of this task would not be noticed.
            tokio::task::yield_now().await;
        }
    }

    /// Looks at every set now and then, and soon at sets that Pods without sidecars belong to and at Pods that name a set which is gone.
    ///
    /// Rule: C-RUST-5, C-BUG-4, C-BUG-10.
    async fn look_regularly(&self) {
        let mut missed = tokio::time::interval(MISSED_EVERY);
        let mut all = tokio::time::interval(self.settings.resync);
        loop {
            tokio::select! {
                _ = missed.tick() => self.with_world(World::take_missed),
                _ = all.tick() => self.with_world(|world| {
                    world.prune_conditions();
                    world.all_due()
                }),
            }
            let (waiting, working) = self.queue.depth();
            self.metrics.queue(waiting, working);
            self.metrics.pods.set(i64::try_from(self.lock().pods.len()).unwrap_or(i64::MAX));
        }
    }

    /// Takes sets that are gone out of the conditions of Pods. Rule: C-BUG-10.
    async fn prune_regularly(&self) {
        let mut ticks = tokio::time::interval(MISSED_EVERY);
        loop {
            ticks.tick().await;
            let pruning = self.lock().take_pruning();
            if let Some((pods, known)) = pruning {
                self.prune(&pods, &known).await;
            }
        }
    }

    /// Changes the world, and asks for looks at what that concerns.
    fn with_world(&self, change: impl FnOnce(&mut World) -> Vec<Due>) {
        let due = change(&mut self.lock());
        for (name, delay) in due {
            self.queue.add(&name, delay.max(DEBOUNCE));
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note_progress(&self) {
        if self.progress.is_complete() {
            self.complete.send_replace(true);
        }
    }

    /// Whether everything was listed once.
    #[must_use]
    pub fn is_synced(&self) -> bool {
        self.progress.is_complete()
    }

    /// Whether this replica leads.
    #[must_use]
    pub fn leads(&self) -> bool {
        self.leadership.check().is_ok()
    }
}

#[cfg(test)]
mod fixtures;
