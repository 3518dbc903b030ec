//! `sidecarset status`: rollouts told to a person, and followed to their end.

mod pods;
mod report;
mod told;

use std::pin::pin;
use std::process::ExitCode;
use std::time::Duration;

use futures_util::StreamExt as _;
use kube::api::{DynamicObject, ListParams};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client};
use tokio::time::Instant;

use super::FINDINGS;
use super::args::{ObjectOutput, StatusArgs};
use super::on_cluster::on_cluster;
use super::printer::Printer;
use crate::cluster::objects;
use crate::pauses::Pauses;
use report::{Report, State};

/// Columns of a terminal that does not tell.
const COLUMNS: usize = 80;

/// Tells about one rollout or all. Exit code: 0 told, and with `--watch` it is over; 1 there is no such set, or the rollout is stuck;
/// 2 the cluster cannot be asked.
pub fn run(args: &StatusArgs, on_terminal: bool, printer: &mut Printer) -> ExitCode {
    on_cluster(&args.connect, "status", printer, async |client, printer| {
        let sets = objects::sidecar_sets(client.clone());
        match &args.name {
            None => tell_all(&sets, args.output, printer).await,
            Some(name) if args.watch => {
                let bar = on_terminal && args.output == ObjectOutput::Text;
                let mut follower = Follower { name, args, bar, last: String::new(), printer };
                follower.follow(&client, sets).await
            }
            Some(name) => tell_one(&client, &sets, name, args.output, printer).await,
        }
    })
}

async fn tell_all(sets: &Api<DynamicObject>, output: ObjectOutput, printer: &mut Printer) -> ExitCode {
    let listed = match sets.list(&ListParams::default()).await {
        Ok(listed) => listed,
        Err(error) => return printer.cannot_run(&error),
    };
    let reports: Vec<Report> = listed.items.iter().map(Report::new).collect();
    let text = match output {
        ObjectOutput::Text => told::all(&reports),
        ObjectOutput::Json => format!("{:#}\n", serde_json::json!(reports)),
    };
    print(printer, &text, ExitCode::SUCCESS)
}

async fn tell_one(
    client: &Client,
    sets: &Api<DynamicObject>,
    name: &str,
    output: ObjectOutput,
    printer: &mut Printer,
) -> ExitCode {
    let set = match sets.get_opt(name).await {
        Ok(Some(set)) => set,
        Ok(None) => return not_found(name, printer),
        Err(error) => return printer.cannot_run(&error),
    };
    let report = with_pods(client, &set, printer).await;
    let text = match output {
        ObjectOutput::Text => told::one(&report),
        ObjectOutput::Json => format!("{:#}\n", serde_json::json!(report)),
    };
    print(printer, &text, ExitCode::SUCCESS)
}

/// The report of a set, with names of Pods if there is something to tell about them and they may be read.
async fn with_pods(client: &Client, set: &DynamicObject, printer: &mut Printer) -> Report {
    let mut report = Report::new(set);
    if report.state != State::Done && report.matched_pods > 0 {
        match pods::read(client, set).await {
            Ok(seen) => report.pods = Some(seen),
            Err(error) => printer.note(format_args!("note: Pods are not told by name: {error}")),
        }
    }
    report
}

fn not_found(name: &str, printer: &mut Printer) -> ExitCode {
    printer.note(format_args!("error: there is no SidecarSet \"{name}\""));
    ExitCode::from(FINDINGS)
}

fn print(printer: &mut Printer, text: &str, code: ExitCode) -> ExitCode {
    match printer.data(text) {
        Ok(()) => code,
        Err(error) => printer.cannot_write(&error),
    }
}

/// Follows one rollout.
struct Follower<'a> {
    name: &'a str,
    args: &'a StatusArgs,
    /// Whether one line is written over and over.
    bar: bool,
    last: String,
    printer: &'a mut Printer,
}

impl Follower<'_> {
    async fn follow(&mut self, client: &Client, sets: Api<DynamicObject>) -> ExitCode {
        let mut states = pin!(watcher::watch_object(sets, self.name).backoff(Pauses::default()));
        let limit = self.args.timeout;
        let mut too_late = pin!(async move {
            match limit {
                Some(limit) => tokio::time::sleep(limit).await,
                None => std::future::pending().await,
            }
        });
        let deadline = self.args.progress_deadline;
        let (mut is_failing, mut progress) = (false, Progress::default());
        loop {
            let state = tokio::select! {
                state = states.next() => state,
                () = &mut too_late => return self.timed_out(limit.unwrap_or_default()),
                () = tokio::time::sleep_until(progress.since + deadline) => {
                    return self.stuck(client, &progress.set, deadline).await;
                }
            };
            match state {
                Some(Ok(Some(set))) => {
                    is_failing = false;
                    let report = Report::new(&set);
                    progress.see(&set, &report);
                    if let Err(error) = self.show(&report) {
                        return self.printer.cannot_write(&error);
                    }
                    match report.state {
                        State::Progressing => {}
                        State::Done | State::Held => return self.end(client, &set, ExitCode::SUCCESS).await,
                        State::Blocked => return self.end(client, &set, ExitCode::from(FINDINGS)).await,
                    }
                }
                Some(Ok(None)) => {
                    self.end_bar();
                    return not_found(self.name, self.printer);
                }
                Some(Err(error)) => {
                    if refused(&error) {
                        self.end_bar();
                        return self.printer.cannot_run(&error);
                    }
                    if !std::mem::replace(&mut is_failing, true) {
                        self.end_bar();
                        self.printer.note(format_args!("note: {error}; it is tried again"));
                    }
                }
                // A watch has no end of its own.
                None => return self.printer.cannot_run(&"the watch has ended"),
            }
        }
    }

    /// Writes the state if it differs from the one that was written last.
    fn show(&mut self, report: &Report) -> std::io::Result<()> {
        let text = match self.args.output {
            ObjectOutput::Json => serde_json::json!(report).to_string(),
            ObjectOutput::Text if self.bar => told::bar(report, columns()),
            ObjectOutput::Text => told::line(report),
        };
        if text == self.last {
            return Ok(());
        }
        // Back to the start of the line, and away with what was there.
        let written = if self.bar { format!("\r\u{1b}[K{text}") } else { format!("{text}\n") };
        self.last = text;
        self.printer.data(&written)
    }

    /// The last word: all that is known, if a person reads it and something is left to say.
    async fn end(&mut self, client: &Client, set: &DynamicObject, code: ExitCode) -> ExitCode {
        self.end_bar();
        if self.args.output == ObjectOutput::Json || code == ExitCode::SUCCESS {
            return code;
        }
        let report = with_pods(client, set, self.printer).await;
        print(self.printer, &told::one(&report), code)
    }

    /// Nothing has come nearer to the end for too long.
    async fn stuck(&mut self, client: &Client, set: &Option<DynamicObject>, deadline: Duration) -> ExitCode {
        self.end_bar();
        let name = self.name;
        self.printer
            .note(format_args!("error: no Pod of \"{name}\" was updated or became ready for {deadline:?}"));
        match set {
            Some(set) => self.end(client, set, ExitCode::from(FINDINGS)).await,
            None => ExitCode::from(FINDINGS),
        }
    }

    fn timed_out(&mut self, limit: Duration) -> ExitCode {
        self.end_bar();
        self.printer
            .note(format_args!("error: the rollout of \"{}\" is not over after {limit:?}", self.name));
        ExitCode::from(FINDINGS)
    }

    fn end_bar(&mut self) {
        if self.bar && !self.last.is_empty() {
            self.last.clear();
            // It only makes the screen tidy; who cannot write finds out with the next line.
            let _ = self.printer.data("\n");
        }
    }
}

/// How far the rollout is, and since when.
struct Progress {
    /// Generation, and the counters.
    at: Option<(i64, [i64; 3])>,
    since: Instant,
    /// As it was seen last.
    set: Option<DynamicObject>,
}

impl Default for Progress {
    fn default() -> Self {
        Self { at: None, since: Instant::now(), set: None }
    }
}

impl Progress {
    fn see(&mut self, set: &DynamicObject, report: &Report) {
        let counts = [report.matched_pods, report.updated_pods, report.updated_ready_pods];
        let at = Some((set.metadata.generation.unwrap_or_default(), counts));
        if self.at != at {
            (self.at, self.since) = (at, Instant::now());
        }
        self.set = Some(set.clone());
    }
}

/// Whether trying again does not help.
fn refused(error: &watcher::Error) -> bool {
    use watcher::Error::{InitialListFailed, WatchError, WatchFailed, WatchStartFailed};
    let code = match error {
        InitialListFailed(kube::Error::Api(status))
        | WatchStartFailed(kube::Error::Api(status))
        | WatchFailed(kube::Error::Api(status))
        | WatchError(status) => status.code,
        _ => return false,
    };
    matches!(code, 401 | 403 | 404)
}

fn columns() -> usize {
    std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok()).unwrap_or(COLUMNS)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn progress_is_a_further_pod_or_another_change_of_the_set() {
        let set = |generation: i64, updated: i64, ready: i64, message: &str| -> DynamicObject {
            let condition = json!({"type": "RolloutComplete", "status": "False", "reason": "WaitingForPods", "message": message});
            let counts = json!({"matchedPods": 9, "updatedPods": updated, "updatedReadyPods": ready, "conditions": [condition]});
            serde_json::from_value(json!({
                "apiVersion": "apps.kruise.io/v1beta1", "kind": "SidecarSet",
                "metadata": {"name": "log", "generation": generation}, "status": counts,
            }))
            .expect("a set")
        };
        let mut progress = Progress::default();
        let mut renews = |set: DynamicObject| {
            progress.since = Instant::now() - Duration::from_secs(60);
            let before = progress.since;
            progress.see(&set, &Report::new(&set));
            progress.since > before
        };
        assert!(renews(set(1, 3, 2, "a")), "the first sight");
        assert!(!renews(set(1, 3, 2, "waits for another Pod")));
        assert!(renews(set(1, 3, 3, "a")));
        assert!(renews(set(1, 4, 3, "a")));
        assert!(renews(set(2, 4, 3, "a")));
    }
}
