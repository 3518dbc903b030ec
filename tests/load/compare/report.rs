//! What `compare` found: tables for people, JSON for programs, and the gates.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::time::Duration;

use serde::Serialize;

use super::{Entry, Round};
use crate::statistics::{Spread, percentile};

/// The counted rounds of one contender.
#[derive(Default)]
pub(super) struct Figures {
    rounds: Vec<Round>,
}

impl Figures {
    pub(super) fn add(&mut self, round: Round) {
        self.rounds.push(round);
    }

    /// CPU a request in µs, for each round.
    fn cpu(&self) -> Vec<f64> {
        self.rounds.iter().map(|round| per_request(round.cpu_us.values().sum(), round)).collect()
    }
}

fn per_request(value: f64, round: &Round) -> f64 {
    value / round.outcome.latencies.len().max(1) as f64
}

/// Everything that was found.
#[derive(Serialize)]
pub(super) struct Report {
    cpus: usize,
    processor: String,
    review_bytes: usize,
    rounds: u32,
    scenarios: Vec<ScenarioReport>,
}

/// One table.
#[derive(Serialize)]
pub(super) struct ScenarioReport {
    name: String,
    servers: Vec<ServerReport>,
    gates: Vec<Gate>,
}

/// One line of a table.
#[derive(Serialize)]
struct ServerReport {
    name: String,
    cpu_us_per_request: Spread,
    /// CPU a request in those of the first server, from rounds that followed one another.
    ratio: Spread,
    /// Medians, by name of thread.
    cpu_us_by_thread: BTreeMap<String, f64>,
    requests: usize,
    per_second: f64,
    p50_ms: f64,
    p99_ms: f64,
    longest_ms: f64,
    connections_made: u64,
    answer_bytes: usize,
    resident_mib: f64,
}

/// A limit, and what was found.
#[derive(Serialize)]
struct Gate {
    what: String,
    most: f64,
    found: f64,
    met: bool,
}

impl Gate {
    fn new(what: String, most: f64, found: f64) -> Self {
        Self { what, most, found, met: found <= most }
    }
}

impl ScenarioReport {
    pub(super) fn new(name: &str, entries: &[Entry<'_>], figures: Vec<Figures>) -> Result<Self, String> {
        let first_cpu = figures.first().map(Figures::cpu).unwrap_or_default();
        let first_name = entries.first().map(|entry| entry.contender.name.as_str()).unwrap_or_default();
        let mut report = Self { name: name.to_owned(), servers: Vec::new(), gates: Vec::new() };
        for (entry, figures) in entries.iter().zip(figures) {
            let server = ServerReport::new(&entry.contender.name, &figures, &first_cpu)
                .ok_or_else(|| format!("{name}: {} answered no request", entry.contender.name))?;
            let what = |text: String| format!("{name}: {}, {text}", server.name);
            if let Some(most) = entry.most_ratio {
                let text = what(format!("x CPU of {first_name}"));
                report.gates.push(Gate::new(text, most, server.ratio.median));
            }
            if let Some(most) = entry.most_mib {
                report.gates.push(Gate::new(what("MiB resident".to_owned()), most, server.resident_mib));
            }
            report.servers.push(server);
        }
        Ok(report)
    }
}

impl ServerReport {
    /// `None` if nothing was answered.
    fn new(name: &str, figures: &Figures, first_cpu: &[f64]) -> Option<Self> {
        let Figures { rounds } = figures;
        let cpu = figures.cpu();
        let mut latencies: Vec<Duration> =
            rounds.iter().flat_map(|round| &round.outcome.latencies).copied().collect();
        latencies.sort_unstable();
        let milliseconds = |share| percentile(&latencies, share).map(|time| time.as_secs_f64() * 1e3);
        let elapsed: Duration = rounds.iter().map(|round| round.outcome.elapsed).sum();
        let last = rounds.last()?;
        let of_thread = |thread: &String| {
            let of_round =
                |round: &Round| per_request(round.cpu_us.get(thread).copied().unwrap_or(0.0), round);
            Some((thread.clone(), Spread::of(rounds.iter().map(of_round))?.median))
        };
        Some(Self {
            name: name.to_owned(),
            ratio: Spread::of(cpu.iter().zip(first_cpu).map(|(ours, first)| ours / first))?,
            cpu_us_per_request: Spread::of(cpu)?,
            cpu_us_by_thread: last.cpu_us.keys().filter_map(of_thread).collect(),
            requests: latencies.len(),
            per_second: latencies.len() as f64 / elapsed.as_secs_f64(),
            p50_ms: milliseconds(0.5)?,
            p99_ms: milliseconds(0.99)?,
            longest_ms: milliseconds(1.0)?,
            connections_made: rounds.iter().map(|round| round.outcome.dials).sum(),
            answer_bytes: last.outcome.answer_bytes,
            resident_mib: last.resident_kib as f64 / 1024.0,
        })
    }
}

impl Report {
    pub(super) fn new(review_bytes: usize, rounds: u32, scenarios: Vec<ScenarioReport>) -> Self {
        Self {
            cpus: std::thread::available_parallelism().map_or(0, usize::from),
            processor: processor(),
            review_bytes,
            rounds,
            scenarios,
        }
    }

    fn gates(&self) -> impl Iterator<Item = &Gate> {
        self.scenarios.iter().flat_map(|scenario| &scenario.gates)
    }

    /// Whether every gate was met.
    pub(super) fn all_met(&self) -> bool {
        self.gates().all(|gate| gate.met)
    }

    pub(super) fn print(&self, json: bool) -> io::Result<()> {
        let mut out = io::stdout().lock();
        if json {
            serde_json::to_writer_pretty(&mut out, self)?;
            return writeln!(out);
        }
        writeln!(
            out,
            "{} CPUs, {}; review of {} bytes over TLS 1.3 and HTTP/1.1; {} rounds in turns, medians (lowest to highest)",
            self.cpus, self.processor, self.review_bytes, self.rounds
        )?;
        for scenario in &self.scenarios {
            scenario.print(&mut out)?;
        }
        writeln!(out)?;
        for Gate { what, most, found, met } in self.gates() {
            let verdict = if *met { "met" } else { "MISSED" };
            writeln!(out, "gate {verdict}: {what}: {found:.2}, at most {most:.2}")?;
        }
        Ok(())
    }
}

impl ScenarioReport {
    fn print(&self, out: &mut impl Write) -> io::Result<()> {
        writeln!(out, "\n{}", self.name)?;
        writeln!(
            out,
            "{:<26} {:>11} {:>20} {:>8} {:>9} {:>9} {:>9} {:>8}  CPU by thread, µs",
            "", "CPU/request", "x first", "req/s", "p50", "p99", "answer", "memory"
        )?;
        for server in &self.servers {
            let Spread { median, lowest, highest } = server.ratio;
            let threads: Vec<_> =
                server.cpu_us_by_thread.iter().map(|(thread, us)| format!("{thread} {us:.1}")).collect();
            writeln!(
                out,
                "{:<26} {:>8.1} µs {:>20} {:>8.0} {:>6.2} ms {:>6.2} ms {:>7} B {:>4.0} MiB  {}",
                server.name,
                server.cpu_us_per_request.median,
                format!("{median:.2} ({lowest:.2} to {highest:.2})"),
                server.per_second,
                server.p50_ms,
                server.p99_ms,
                server.answer_bytes,
                server.resident_mib,
                threads.join(", ")
            )?;
        }
        Ok(())
    }
}

/// What the processor calls itself; empty if it does not say.
fn processor() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with("model name"));
    line.and_then(|line| line.split_once(": ")).map(|(_, name)| name.to_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use crate::load::Outcome;

    use super::*;

    fn mk_round(cpu_us: f64, requests: u64) -> Round {
        Round {
            cpu_us: BTreeMap::from([
                ("log".to_owned(), cpu_us / 4.0),
                ("admission".to_owned(), cpu_us * 0.75),
            ]),
            resident_kib: 10 << 10,
            outcome: Outcome {
                latencies: (1..=requests).map(Duration::from_millis).collect(),
                failures: BTreeMap::new(),
                elapsed: Duration::from_secs(2),
                dials: 3,
                answer_bytes: 500,
            },
        }
    }

    #[test]
    fn ratios_are_taken_round_by_round() {
        let figures =
            Figures { rounds: vec![mk_round(800.0, 100), mk_round(2_000.0, 100), mk_round(600.0, 50)] };
        let report = ServerReport::new("a", &figures, &[4.0, 5.0, 8.0]).expect("answered");
        assert_eq!(report.cpu_us_per_request, Spread { median: 12.0, lowest: 8.0, highest: 20.0 });
        assert_eq!(report.ratio, Spread { median: 2.0, lowest: 1.5, highest: 4.0 });
        assert_eq!(report.cpu_us_by_thread["log"], 3.0);
        assert_eq!((report.requests, report.connections_made), (250, 9));
        assert!((report.per_second - 250.0 / 6.0).abs() < 1e-9);
        assert_eq!(report.longest_ms, 100.0);
    }

    #[test]
    fn a_gate_is_met_up_to_its_limit() {
        assert!(Gate::new("x".to_owned(), 2.0, 2.0).met);
        assert!(!Gate::new("x".to_owned(), 2.0, 2.01).met);
    }

    #[test]
    fn without_answers_there_are_no_figures() {
        assert!(ServerReport::new("a", &Figures::default(), &[]).is_none());
    }
}
