//! The shapes of load, and `load`: one of them against a server that somebody else has started.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::runtime::{Handle, Runtime};

use crate::args::LoadArgs;
use crate::client::{Pool, Target};
use crate::process::{self, CpuTimes};
use crate::statistics::percentile;

/// Time between two bursts.
const BURST_PERIOD: Duration = Duration::from_secs(1);

/// When requests are sent.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Shape {
    /// This many at a time, each after the answer to the one before.
    Closed(u32),
    /// This many a second, whether or not earlier ones were answered.
    Rate(u32),
    /// This many at once, every second.
    Burst(u32),
    /// This many clients with a connection each, and so much time between two requests of one.
    Spaced(u32, Duration),
}

/// What came of a load.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// From when a request was to be sent until its answer was checked; good answers only, sorted.
    pub(crate) latencies: Vec<Duration>,
    /// What went wrong, and how often.
    pub(crate) failures: BTreeMap<String, u64>,
    pub(crate) elapsed: Duration,
    /// Connections that were made.
    pub(crate) dials: u64,
    /// Size of the last good answer's body.
    pub(crate) answer_bytes: usize,
}

type Called = Result<(Duration, usize), String>;

/// Sends requests in this shape for `duration`, and waits for their answers.
pub(crate) async fn send(pool: &Arc<Pool>, shape: Shape, duration: Duration) -> Result<Outcome, String> {
    let dials = pool.dials();
    let start = Instant::now();
    let called = match shape {
        Shape::Closed(connections) => closed(pool, connections, start + duration).await,
        Shape::Rate(rate) => {
            let period = Duration::from_secs(1) / rate;
            paced(pool, start, duration, period, 1).await
        }
        Shape::Burst(size) => paced(pool, start, duration, BURST_PERIOD, size).await,
        Shape::Spaced(clients, spacing) => spaced(pool, clients, spacing, start + duration).await,
    }?;
    let elapsed = start.elapsed().max(duration);
    let mut outcome = Outcome {
        latencies: Vec::with_capacity(called.len()),
        failures: BTreeMap::new(),
        elapsed,
        dials: pool.dials() - dials,
        answer_bytes: 0,
    };
    for call in called {
        match call {
            Ok((latency, bytes)) => {
                outcome.latencies.push(latency);
                outcome.answer_bytes = bytes;
            }
            Err(failure) => *outcome.failures.entry(failure).or_default() += 1,
        }
    }
    outcome.latencies.sort_unstable();
    Ok(outcome)
}

async fn closed(pool: &Arc<Pool>, connections: u32, until: Instant) -> Result<Vec<Called>, String> {
    let workers = (0..connections).map(|_| {
        let pool = Arc::clone(pool);
        tokio::spawn(async move {
            let mut called = Vec::new();
            loop {
                let start = Instant::now();
                if start >= until {
                    return called;
                }
                let result = call(&pool, start).await;
                let failed = result.is_err();
                called.push(result);
                if failed {
                    // One failure makes the run worthless; a server that refuses must not be hammered.
                    return called;
                }
            }
        })
    });
    let mut all = Vec::new();
    for worker in workers.collect::<Vec<_>>() {
        all.extend(worker.await.map_err(|error| error.to_string())?);
    }
    Ok(all)
}

/// The spacings differ by up to 3 in 100 more or less, so that some requests come right before a limit and some right behind.
async fn spaced(
    pool: &Arc<Pool>,
    clients: u32,
    spacing: Duration,
    until: Instant,
) -> Result<Vec<Called>, String> {
    let clients = (0..clients).map(|number| {
        let pool = pool.another();
        let spacing = spacing.mul_f64(0.97 + 0.06 * f64::from(number) / f64::from(clients));
        tokio::spawn(async move {
            let mut called = Vec::new();
            while Instant::now() < until {
                called.push(call(&pool, Instant::now()).await);
                tokio::time::sleep(spacing).await;
            }
            called
        })
    });
    let mut all = Vec::new();
    for client in clients.collect::<Vec<_>>() {
        all.extend(client.await.map_err(|error| error.to_string())?);
    }
    Ok(all)
}

/// `size` requests every `period`. Paced by a thread of its own: the runtime's timers are exact to a millisecond only.
async fn paced(
    pool: &Arc<Pool>,
    start: Instant,
    duration: Duration,
    period: Duration,
    size: u32,
) -> Result<Vec<Called>, String> {
    let (pool, runtime) = (Arc::clone(pool), Handle::current());
    let pace = move || {
        let mut tasks = Vec::new();
        let mut due = start;
        while due < start + duration {
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            for _ in 0..size {
                let pool = Arc::clone(&pool);
                tasks.push(runtime.spawn(async move { call(&pool, due).await }));
            }
            due += period;
        }
        tasks
    };
    let tasks = tokio::task::spawn_blocking(pace).await.map_err(|error| error.to_string())?;
    let mut all = Vec::with_capacity(tasks.len());
    for task in tasks {
        all.push(task.await.map_err(|error| error.to_string())?);
    }
    Ok(all)
}

async fn call(pool: &Arc<Pool>, due: Instant) -> Called {
    let bytes = pool.call().await?;
    Ok((due.elapsed(), bytes))
}

/// Threads for the client's side: enough to saturate a server with two, few enough to leave it some CPU.
pub(crate) fn runtime() -> Result<Runtime, String> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("load")
        .enable_all()
        .build()
        .map_err(|error| format!("cannot start threads: {error}"))
}

/// What `load` prints.
#[derive(Serialize)]
struct Report {
    answers: usize,
    failures: BTreeMap<String, u64>,
    connections_made: u64,
    answer_bytes: usize,
    per_second: f64,
    p50_ms: Option<f64>,
    p99_ms: Option<f64>,
    longest_ms: Option<f64>,
    cpu_us_per_request: Option<f64>,
    resident_kib: Option<u64>,
}

/// Runs `load`. `Ok(false)` if an answer was not what it has to be.
pub(crate) fn run(args: &LoadArgs) -> Result<bool, String> {
    let connections = args.connections.unwrap_or(8);
    let shape = match (args.rate, args.burst, args.spacing) {
        (Some(rate), ..) => Shape::Rate(rate),
        (None, Some(size), _) => Shape::Burst(size),
        (None, None, Some(spacing)) => Shape::Spaced(connections, spacing),
        (None, None, None) => Shape::Closed(connections),
    };
    let review = std::fs::read(&args.review)
        .map_err(|error| format!("--review {}: {error}", args.review.display()))?;
    let pool = Pool::new(Target::new(&args.url, &args.ca, &review)?);
    let before = args.pid.map(CpuTimes::read).transpose()?;
    let outcome = runtime()?.block_on(send(&pool, shape, args.duration))?;
    let after = args.pid.map(CpuTimes::read).transpose()?;

    let answers = outcome.latencies.len();
    let cpu_us = before.zip(after).map(|(before, after)| after.since(&before).values().sum::<f64>());
    let milliseconds = |share| percentile(&outcome.latencies, share).map(|time| time.as_secs_f64() * 1e3);
    let report = Report {
        answers,
        connections_made: outcome.dials,
        answer_bytes: outcome.answer_bytes,
        per_second: answers as f64 / outcome.elapsed.as_secs_f64(),
        p50_ms: milliseconds(0.5),
        p99_ms: milliseconds(0.99),
        longest_ms: milliseconds(1.0),
        cpu_us_per_request: cpu_us.filter(|_| answers > 0).map(|us| us / answers as f64),
        resident_kib: args.pid.map(process::resident_kib).transpose()?.map(|(now, _)| now),
        failures: outcome.failures,
    };
    let good = report.failures.is_empty() && answers > 0;
    print(&report, args.json).map_err(|error| format!("cannot write: {error}"))?;
    Ok(good)
}

fn print(report: &Report, json: bool) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    if json {
        serde_json::to_writer(&mut out, report)?;
        return writeln!(out);
    }
    writeln!(
        out,
        "{} good answers of {} bytes, {:.0}/s, {} connections made",
        report.answers, report.answer_bytes, report.per_second, report.connections_made
    )?;
    if let (Some(p50), Some(p99), Some(longest)) = (report.p50_ms, report.p99_ms, report.longest_ms) {
        writeln!(out, "answered within: p50 {p50:.3} ms, p99 {p99:.3} ms, longest {longest:.3} ms")?;
    }
    if let (Some(cpu), Some(kib)) = (report.cpu_us_per_request, report.resident_kib) {
        writeln!(out, "server: {cpu:.1} µs CPU a request, {:.1} MiB resident", kib as f64 / 1024.0)?;
    }
    for (failure, times) in &report.failures {
        writeln!(out, "FAILED {times} x {failure}")?;
    }
    Ok(())
}
