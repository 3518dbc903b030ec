//! Events on SidecarSets: what their owners see with `kubectl describe sidecarset`.
//!
//! An admission only puts a fault into a queue. A task of the background runtime decides what is told when, and writes one
//! Event at a time. kube has a recorder too, which calls the API server for every occurrence; 100 denied Pods would be 100
//! calls.

mod table;

use std::future::Future;
use std::pin::pin;
use std::time::{Duration, Instant};

use futures_util::future::{Fuse, FusedFuture as _, FutureExt as _};
use jiff::Timestamp;
use k8s_openapi::api::events::v1::{Event, EventSeries};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::{Patch, PatchParams, PostParams};
use kube::core::DynamicObject;
use kube::{Api, Client};
use serde_json::json;
use tokio::sync::mpsc;

use super::identity::Identity;
use super::objects;
use crate::faults::{Fault, Faults};
use crate::metrics::{EventCounts, EventResult};
use table::{Outcome, Table, Write};

/// Namespace of Events about objects that are in none, as every Kubernetes component has it.
const NAMESPACE: &str = "default";
/// Name of the webhook as a reporter of Events.
const CONTROLLER: &str = "sidecarset.kruise.io/webhook";
/// Field manager of what we write.
const FIELD_MANAGER: &str = "sidecarset-webhook";
/// Faults that wait for the task; it is only ever late by one pass over them.
const QUEUE: usize = 1024;
/// Time for one write. Events can wait, a hanging call must not stop all others.
const WRITE_TIME: Duration = Duration::from_secs(10);
/// Longest note that an API server takes, in bytes.
const LONGEST_NOTE: usize = 1024;
/// Longest part of a set's name in the name of an Event: the time behind it needs 17, the whole may have 253.
const LONGEST_NAME: usize = 230;
/// How often the table is tidied if nothing happens.
const TIDY_EVERY: Duration = Duration::from_secs(60);

/// Takes faults and tells them as Events.
#[derive(Debug, Clone)]
pub struct Recorder {
    queue: mpsc::Sender<Fault>,
    counts: EventCounts,
}

impl Faults for Recorder {
    /// Never waits. A fault for which the queue has no room is counted as dropped.
    fn tell(&self, fault: Fault) {
        if self.queue.try_send(fault).is_err() {
            self.counts.count(EventResult::Dropped, 1);
        }
    }
}

/// A recorder, and the task that writes for it: spawn it on the background runtime. It ends when the recorder is gone.
///
/// The service account needs `create` and `patch` on `events.k8s.io` in namespace `default`, and `get` on SidecarSets.
pub fn recorder(
    client: Client,
    identity: Identity,
    counts: EventCounts,
) -> (Recorder, impl Future<Output = ()> + Send) {
    let (queue, faults) = mpsc::channel(QUEUE);
    let writer = Writer {
        events: Api::namespaced(client.clone(), NAMESPACE),
        sets: objects::sidecar_sets(client),
        reporter: identity.pod,
    };
    let task = run(faults, writer, counts.clone());
    (Recorder { queue, counts }, task)
}

async fn run(mut faults: mpsc::Receiver<Fault>, writer: Writer, counts: EventCounts) {
    let mut table = Table::new(Instant::now());
    let mut batch = Vec::new();
    let mut writing = pin!(Fuse::terminated());
    let mut tidy = tokio::time::interval(TIDY_EVERY);
    loop {
        // One write at a time; what comes meanwhile is counted.
        let due = table.next_due().filter(|_| writing.is_terminated());
        let wait_for_due = async {
            match due {
                Some(at) => tokio::time::sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            received = faults.recv_many(&mut batch, QUEUE) => {
                if received == 0 {
                    return;
                }
                let now = Instant::now();
                for fault in batch.drain(..) {
                    if !table.add(fault, now) {
                        counts.count(EventResult::Dropped, 1);
                    }
                }
            }
            () = wait_for_due => {
                if let Some(write) = table.take(Instant::now()) {
                    writing.set(writer.write(write).fuse());
                }
            }
            (write, outcome) = &mut writing => {
                if outcome == Outcome::Failed {
                    counts.count(EventResult::Failed, 1);
                }
                counts.count(EventResult::Written, table.done(&write, outcome));
            }
            _ = tidy.tick() => counts.count(EventResult::Dropped, table.forget(Instant::now())),
        }
    }
}

/// Calls the API server.
#[derive(Debug)]
struct Writer {
    events: Api<Event>,
    sets: Api<DynamicObject>,
    reporter: String,
}

impl Writer {
    async fn write(&self, write: Write) -> (Write, Outcome) {
        let outcome = match tokio::time::timeout(WRITE_TIME, self.call(&write)).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(error)) => failed(&write, &error.to_string()),
            Err(_elapsed) => failed(&write, "no answer in time"),
        };
        (write, outcome)
    }

    async fn call(&self, write: &Write) -> kube::Result<Outcome> {
        let now = Timestamp::now();
        if let Some(name) = &write.event {
            let series = json!({ "series": series(write.count, now) });
            match self.events.patch(name, &parameters(), &Patch::Merge(series)).await {
                // Events live for an hour. The fault goes on, so it gets a new one.
                Err(kube::Error::Api(status)) if status.code == 404 => {}
                result => return result.map(|_| Outcome::Written(name.clone())),
            }
        }
        // `kubectl describe` looks for the uid. The version that a set was decoded from may not be there any more, so it is
        // asked for now; this happens a few times a minute at most.
        let Some(set) = self.sets.get_metadata_opt(&write.key.set).await? else {
            return Ok(Outcome::SetGone);
        };
        let event = self.event(write, set.metadata.uid, now);
        let parameters =
            PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
        let created = self.events.create(&parameters, &event).await?;
        Ok(Outcome::Written(created.metadata.name.unwrap_or_default()))
    }

    fn event(&self, write: &Write, uid: Option<String>, now: Timestamp) -> Event {
        let set = &*write.key.set;
        Event {
            metadata: ObjectMeta {
                name: Some(format!("{}.{:x}", shorten(set, LONGEST_NAME), now.as_nanosecond())),
                namespace: Some(NAMESPACE.to_owned()),
                ..ObjectMeta::default()
            },
            event_time: Some(MicroTime(now)),
            type_: Some("Warning".to_owned()),
            reason: Some(write.key.reason.as_str().to_owned()),
            action: Some("Inject".to_owned()),
            note: Some(note(&write.note)),
            regarding: Some(objects::reference_to_set(set, uid)),
            reporting_controller: Some(CONTROLLER.to_owned()),
            reporting_instance: Some(self.reporter.clone()),
            series: (write.count > 1).then(|| series(write.count, now)),
            ..Event::default()
        }
    }
}

fn series(count: u64, now: Timestamp) -> EventSeries {
    EventSeries { count: i32::try_from(count).unwrap_or(i32::MAX), last_observed_time: MicroTime(now) }
}

fn parameters() -> PatchParams {
    PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() }
}

fn failed(write: &Write, error: &str) -> Outcome {
    let (set, reason) = (&*write.key.set, write.key.reason.as_str());
    tracing::warn!(sidecarset.name = set, reason, error, "an Event about a SidecarSet cannot be written");
    Outcome::Failed
}

/// What an API server takes of the note of an Event.
#[must_use]
pub(crate) fn note(text: &str) -> String {
    shorten(text, LONGEST_NOTE).to_owned()
}

/// The beginning of a text, in at most `limit` bytes.
fn shorten(text: &str, limit: usize) -> &str {
    let end = (0..=limit.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or_default();
    text.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_between_characters() {
        assert_eq!(shorten("né", 2), "n");
        assert_eq!(shorten("né", 3), "né");
        assert_eq!(shorten("", 3), "");
    }

    #[tokio::test]
    async fn a_full_queue_is_counted_and_never_waited_for() {
        let (queue, _nobody_reads) = mpsc::channel(1);
        let counts = EventCounts::default();
        let recorder = Recorder { queue, counts: counts.clone() };
        for _ in 0..3 {
            let note = String::new();
            recorder.tell(Fault {
                set: "a".into(),
                reason: crate::faults::Reason::PodDenied,
                rule: "r",
                note,
            });
        }
        assert_eq!(counts.get(EventResult::Dropped), 2);
    }
}
