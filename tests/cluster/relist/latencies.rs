//! The same load on two webhooks, and how long answers took while one of them was reading everything again.

use std::fmt;
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;
use tokio::task::{JoinHandle, JoinSet};

use crate::load_client::{Pool, Target};
use crate::packages;
use crate::webhook::Webhook;

/// Between two requests to one webhook.
const PERIOD: Duration = Duration::from_millis(10);

/// One request that was due at a time.
type Called = (Instant, Result<Duration, String>);

/// Requests on their way to two webhooks: the one with many sets, and the one that they are compared with.
pub(super) struct Load {
    done: Arc<AtomicBool>,
    calling: [JoinHandle<Vec<Called>>; 2],
}

impl Load {
    pub(super) fn start(runtime: &Runtime, webhooks: [&Webhook<'_>; 2]) -> Self {
        let done = Arc::new(AtomicBool::new(false));
        let review = fs::read(packages::repository("tests/fixtures/bench/review-12k.json")).unwrap();
        let calling = webhooks.map(|webhook| {
            let url = format!("{}?timeout=10s", webhook.url);
            let pool = Pool::new(Target::new(&url, &webhook.ca, &review).unwrap());
            runtime.spawn(call(pool, Arc::clone(&done)))
        });
        Self { done, calling }
    }

    /// Ends it. `relists` are the times in which the first of the webhooks was reading.
    pub(super) fn end(self, runtime: &Runtime, relists: Vec<(Instant, Instant)>) -> Measured {
        self.done.store(true, Ordering::Relaxed);
        let mut failures = Vec::new();
        let latencies = self.calling.map(|calling| {
            let mut latencies = Latencies::default();
            for (due, called) in runtime.block_on(calling).unwrap() {
                let in_relist = relists.iter().any(|(from, to)| due >= *from && due < *to);
                match called {
                    Ok(took) if in_relist => latencies.relist.push(took),
                    Ok(took) => latencies.quiet.push(took),
                    Err(error) => failures.push(error),
                }
            }
            latencies.quiet.sort_unstable();
            latencies.relist.sort_unstable();
            latencies
        });
        let relists = relists.iter().map(|(from, to)| *to - *from).collect();
        Measured { latencies, relists, failures }
    }
}

/// Sends a request every [`PERIOD`], whether or not those before were answered.
async fn call(pool: Arc<Pool>, done: Arc<AtomicBool>) -> Vec<Called> {
    let called = Arc::new(Mutex::new(Vec::new()));
    let mut calls = JoinSet::new();
    let mut due = Instant::now();
    while !done.load(Ordering::Relaxed) {
        tokio::time::sleep_until(due.into()).await;
        let (pool, called) = (Arc::clone(&pool), Arc::clone(&called));
        calls.spawn(async move {
            let answer = pool.call().await.map(|_bytes| due.elapsed());
            called.lock().unwrap_or_else(PoisonError::into_inner).push((due, answer));
        });
        due += PERIOD;
    }
    calls.join_all().await;
    std::mem::take(&mut *called.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Sorted latencies of one webhook, quiet and while a webhook reads everything again.
#[derive(Default)]
struct Latencies {
    quiet: Vec<Duration>,
    relist: Vec<Duration>,
}

impl Latencies {
    /// How many times slower the slowest of a hundred is during a new list.
    fn slower(&self) -> f64 {
        rank(&self.relist, 0.99) / rank(&self.quiet, 0.99)
    }
}

/// In milliseconds.
fn rank(sorted: &[Duration], share: f64) -> f64 {
    let at = (sorted.len().saturating_sub(1) as f64 * share).round() as usize;
    sorted.get(at).map_or(f64::NAN, Duration::as_secs_f64) * 1e3
}

/// What has come of a [`Load`].
pub(super) struct Measured {
    latencies: [Latencies; 2],
    pub(super) relists: Vec<Duration>,
    pub(super) failures: Vec<String>,
}

impl Measured {
    /// How many times slower admissions are during a new list than before, p99.
    pub(super) fn slower(&self) -> f64 {
        self.latencies[0].slower()
    }

    /// The same, beyond what they are at the webhook that reads none.
    pub(super) fn slower_than_other(&self) -> f64 {
        let [many, few] = &self.latencies;
        many.slower() / few.slower().max(1.0)
    }
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| new lists | {:.1?} |", self.relists)?;
        for (name, latencies) in ["this webhook", "one with two sets of a folder"].iter().zip(&self.latencies)
        {
            for (when, sorted) in [("before", &latencies.quiet), ("during a new list", &latencies.relist)] {
                let (p50, p99, longest) = (rank(sorted, 0.5), rank(sorted, 0.99), rank(sorted, 1.0));
                let count = sorted.len();
                writeln!(
                    f,
                    "| {name} {when} | p50 {p50:.2} ms, p99 {p99:.2} ms, longest {longest:.1} ms of {count} |"
                )?;
            }
        }
        let [many, few] = self.latencies.each_ref().map(Latencies::slower);
        writeln!(
            f,
            "| p99 during a new list | {many:.2} x, the other {few:.2} x: **{:.2} x** |",
            self.slower_than_other()
        )?;
        writeln!(f, "| failed | {} |", self.failures.len())
    }
}
