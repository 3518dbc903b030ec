//! `compare`: the fixed answer and `sidecarset webhook` in one run, in turns, so that whatever else the machine does hits
//! both. Only ratios of figures from the same round are compared.

mod report;
mod sets;

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::args::CompareArgs;
use crate::client::{Pool, Target};
use crate::load::{self, Shape};
use crate::process::{self, CpuTimes, Server};

use report::{Figures, Report, ScenarioReport};

/// Most CPU of an admission, in fixed answers. `docs/performance.md` names the targets.
const MOST_OF_FIXED: f64 = 2.0;
/// Most CPU of an admission with many sets, in admissions with ten.
const MOST_OF_TEN_SETS: f64 = 1.1;
/// Most memory with 1,000 sets, in MiB.
const MOST_MIB: f64 = 32.0;
/// Connections that saturate two cores.
const CONNECTIONS: u32 = 8;
/// Rounds at a rate are longer by this: they have few requests a second.
const RATE_ROUNDS: u32 = 2;
/// Rounds of bursts are longer by this, so that each has two.
const BURST_ROUNDS: u32 = 4;

/// A server that takes part.
struct Contender {
    name: String,
    server: Server,
    pool: Arc<Pool>,
}

/// A contender in a scenario, with the limits it has to keep there.
struct Entry<'a> {
    contender: &'a Contender,
    /// Most CPU a request, in those of the scenario's first entry.
    most_ratio: Option<f64>,
    most_mib: Option<f64>,
}

impl<'a> Entry<'a> {
    fn plain(contender: &'a Contender) -> Self {
        Self { contender, most_ratio: None, most_mib: None }
    }

    fn limited(contender: &'a Contender, most_ratio: f64) -> Self {
        Self { contender, most_ratio: Some(most_ratio), most_mib: None }
    }
}

/// Runs `compare`. `Ok(false)` if gates are asked for and one is missed.
pub(crate) fn run(args: &CompareArgs) -> Result<bool, String> {
    let bench = Bench::new(args)?;
    let (webhook, fixed) = bench.pair()?;
    let mut scenarios = Vec::new();
    if bench.wants("saturation") {
        scenarios.push(bench.saturation(&fixed, &webhook)?);
    }
    let both = || vec![Entry::plain(&fixed), Entry::limited(&webhook, MOST_OF_FIXED)];
    if bench.wants("500/s") {
        scenarios.push(bench.measure("500/s, sent on time", Shape::Rate(500), &both())?);
    }
    if bench.wants("bursts") {
        let both = [Entry::plain(&fixed), Entry::plain(&webhook)];
        scenarios.push(bench.measure("bursts, 200 at once each second", Shape::Burst(200), &both)?);
    }
    if bench.wants("matching") {
        scenarios.push(bench.matching(&fixed)?);
    }
    drop((webhook, fixed));
    if bench.wants("in the folder") {
        scenarios.push(bench.folder()?);
    }
    if scenarios.is_empty() {
        return Err(
            "--only: no such scenario; there are: saturation, 500/s, bursts, matching, in the folder"
                .to_owned(),
        );
    }
    let report = Report::new(bench.review.len(), args.rounds, scenarios);
    report.print(args.json).map_err(|error| format!("cannot write: {error}"))?;
    Ok(!args.gate || report.all_met())
}

struct Bench<'a> {
    args: &'a CompareArgs,
    sidecarset: PathBuf,
    this_program: PathBuf,
    review: Vec<u8>,
    runtime: Runtime,
    /// CA files and generated folders.
    dir: TempDir,
}

impl<'a> Bench<'a> {
    fn new(args: &'a CompareArgs) -> Result<Self, String> {
        let this_program =
            std::env::current_exe().map_err(|error| format!("cannot find this program: {error}"))?;
        let sidecarset = args.sidecarset.clone().unwrap_or_else(|| this_program.with_file_name("sidecarset"));
        if !sidecarset.is_file() {
            return Err(format!(
                "{}: no such program; build it with `cargo build --release -p sidecarset` or name it with --sidecarset",
                sidecarset.display()
            ));
        }
        let review = args.fixtures.join("review-12k.json");
        let review = fs::read(&review).map_err(|error| format!("{}: {error}", review.display()))?;
        let dir = tempfile::tempdir().map_err(|error| format!("cannot make a folder: {error}"))?;
        Ok(Self { args, sidecarset, this_program, review, runtime: load::runtime()?, dir })
    }

    fn wants(&self, scenario: &str) -> bool {
        self.args.only.as_ref().is_none_or(|only| scenario.contains(only.as_str()))
    }

    /// The webhook with the yardstick's two sets, and a fixed answer of the size that it gives.
    fn pair(&self) -> Result<(Contender, Contender), String> {
        let webhook = self.webhook("sidecarset", &self.args.fixtures.join("sidecarsets"), &[])?;
        let answer_bytes = self.runtime.block_on(webhook.pool.call())?;
        Ok((webhook, self.fixed("fixed answer", answer_bytes)?))
    }

    fn webhook(&self, name: &str, folder: &Path, more: &[&str]) -> Result<Contender, String> {
        let mut args =
            ["webhook", "--probe-listen", "127.0.0.1:0", "--sidecarsets"].map(PathBuf::from).to_vec();
        args.push(folder.to_owned());
        args.extend(more.iter().map(PathBuf::from));
        self.start(name, &self.sidecarset, args)
    }

    fn fixed(&self, name: &str, answer_bytes: usize) -> Result<Contender, String> {
        let args = ["fixed", "--answer-bytes", &answer_bytes.to_string()].map(PathBuf::from).to_vec();
        self.start(name, &self.this_program, args)
    }

    fn start(&self, name: &str, program: &Path, mut args: Vec<PathBuf>) -> Result<Contender, String> {
        let ca = self.dir.path().join("ca.crt");
        args.extend([PathBuf::from("--ca-out"), ca.clone()]);
        let server = Server::start(program, args)?;
        let url = format!("https://{}/mutate-pod?timeout=10s", server.address);
        let pool = Pool::new(Target::new(&url, &ca, &self.review)?);
        let contender = Contender { name: name.to_owned(), server, pool };
        self.runtime.block_on(contender.pool.call()).map_err(|error| format!("{name}: {error}"))?;
        Ok(contender)
    }

    fn saturation(&self, fixed: &Contender, webhook: &Contender) -> Result<ScenarioReport, String> {
        let small = self.fixed("fixed small answer", 300)?;
        let sets = self.args.fixtures.join("sidecarsets");
        let quiet = self.webhook("sidecarset, no log lines", &sets, &["--log-level", "warn"])?;
        let entries = [
            Entry::plain(fixed),
            Entry::plain(&small),
            Entry::limited(webhook, MOST_OF_FIXED),
            Entry::plain(&quiet),
        ];
        self.measure("saturation, 8 connections", Shape::Closed(CONNECTIONS), &entries)
    }

    fn matching(&self, fixed: &Contender) -> Result<ScenarioReport, String> {
        let mut contenders = Vec::new();
        for count in [1, 5, 20] {
            let folder = self.dir.path().join(format!("matching-{count}"));
            sets::write_matching(&folder, count)?;
            let name = if count == 1 { "1 set".to_owned() } else { format!("{count} sets") };
            contenders.push(self.webhook(&name, &folder, &[])?);
        }
        let entries: Vec<_> = [fixed].into_iter().chain(&contenders).map(Entry::plain).collect();
        self.measure("sets that match, 8 connections", Shape::Closed(CONNECTIONS), &entries)
    }

    fn folder(&self) -> Result<ScenarioReport, String> {
        let mut contenders = Vec::new();
        for count in [10, 1_000, 10_000, 50_000] {
            let folder = self.dir.path().join(format!("sets-{count}"));
            sets::write_others(&folder, &self.args.fixtures.join("sidecarsets"), count)?;
            contenders.push((count, self.webhook(&format!("{count} sets"), &folder, &[])?));
        }
        let entry = |(count, contender)| match count {
            1_000 => Entry { most_mib: Some(MOST_MIB), ..Entry::plain(contender) },
            10_000 | 50_000 => Entry::limited(contender, MOST_OF_TEN_SETS),
            _ => Entry::plain(contender),
        };
        let entries: Vec<_> =
            contenders.iter().map(|(count, contender)| entry((*count, contender))).collect();
        self.measure(
            "sets in the folder, two of them match, 8 connections",
            Shape::Closed(CONNECTIONS),
            &entries,
        )
    }

    /// Rounds in turns: each contender once a round, the first round for warming up.
    fn measure(&self, name: &str, shape: Shape, entries: &[Entry<'_>]) -> Result<ScenarioReport, String> {
        let duration = match shape {
            Shape::Closed(_) | Shape::Spaced(..) => self.args.round,
            Shape::Rate(_) => self.args.round * RATE_ROUNDS,
            Shape::Burst(_) => self.args.round * BURST_ROUNDS,
        };
        // If stderr is closed there is no progress to see.
        let _ = writeln!(std::io::stderr(), "measuring: {name}");
        let mut figures: Vec<Figures> = entries.iter().map(|_| Figures::default()).collect();
        for round in 0..=self.args.rounds {
            for (entry, figures) in entries.iter().zip(&mut figures) {
                let measured = self.round(entry.contender, shape, duration)?;
                if round > 0 {
                    figures.add(measured);
                }
            }
        }
        ScenarioReport::new(name, entries, figures)
    }

    fn round(&self, contender: &Contender, shape: Shape, duration: Duration) -> Result<Round, String> {
        let pid = contender.server.pid();
        let before = CpuTimes::read(pid)?;
        let outcome = self.runtime.block_on(load::send(&contender.pool, shape, duration))?;
        let cpu_us = CpuTimes::read(pid)?.since(&before);
        if let Some((failure, times)) = outcome.failures.first_key_value() {
            return Err(format!("{}: {times} x {failure}", contender.name));
        }
        Ok(Round { cpu_us, resident_kib: process::resident_kib(pid)?.0, outcome })
    }
}

/// What one contender did in one round.
struct Round {
    /// By name of thread.
    cpu_us: BTreeMap<String, f64>,
    resident_kib: u64,
    outcome: load::Outcome,
}
