//! Events of the controller, on SidecarSets and Pods. They are written by a task of their own, one at a time, so that a slow API
//! server delays no rollout by them.
//!
//! Rule: C-EVT-1…6.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use kube::runtime::events::{Event as Published, EventType, Recorder, Reporter};
use sidecarset_core::control::{About, Event};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::calls::{CALL_TIME, no_answer};
use super::leader::Leadership;
use crate::cluster::events::note;
use crate::cluster::objects;
use crate::metrics::{ControllerMetrics, WriteKind};

/// Who reports, by the names that upstream's Events have. Rule: C-EVT-1, C-EVT-5.
const REPORTERS: [&str; 2] = ["sidecarset-controller", "sidecarterminator-controller"];
/// The reason of the Events that the second one reports.
const OF_TERMINATOR: &str = "SidecarTerminator";
/// Events that wait; more are dropped and counted.
const QUEUE: usize = 1024;
/// Pause after each Event: a rollout over many Pods must not take the API server's time from the Pods.
const PAUSE: Duration = Duration::from_millis(50);

/// Takes Events; never waits.
#[derive(Debug)]
pub struct EventSink {
    queue: mpsc::Sender<(Published, ObjectReference)>,
    metrics: ControllerMetrics,
}

impl EventSink {
    /// A sink, and the task that writes for it on the current runtime.
    #[must_use]
    pub fn start(
        client: Client,
        instance: &str,
        leadership: Arc<Leadership>,
        metrics: ControllerMetrics,
    ) -> Self {
        let (queue, mut events) = mpsc::channel::<(Published, ObjectReference)>(QUEUE);
        let [controller, terminator] = REPORTERS.map(|name| {
            let reporter = Reporter { controller: name.to_owned(), instance: Some(instance.to_owned()) };
            Recorder::new(client.clone(), reporter)
        });
        let for_task = metrics.clone();
        tokio::spawn(async move {
            while let Some((event, about)) = events.recv().await {
                // A process that slept with Events in its queue is not the one to tell them any more.
                if leadership.check().is_err() {
                    for_task.written(WriteKind::Event, false);
                    continue;
                }
                let recorder = if event.reason == OF_TERMINATOR { &terminator } else { &controller };
                let written = timeout(CALL_TIME, recorder.publish(&event, &about)).await;
                let written = written.unwrap_or_else(|_elapsed| Err(no_answer()));
                for_task.written(WriteKind::Event, written.is_ok());
                if let Err(error) = written {
                    tracing::warn!(%error, reason = event.reason, "an Event cannot be written");
                }
                tokio::time::sleep(PAUSE).await;
            }
        });
        Self { queue, metrics }
    }

    /// Tells about the set (name and uid) or a Pod.
    pub fn tell(&self, event: &Event, (set, uid): (&str, &str)) {
        let Event { about, is_warning, reason, message } = event;
        let about = match about {
            About::Set => objects::reference_to_set(set, Some(uid.to_owned())),
            About::Pod(key) => ObjectReference {
                api_version: Some("v1".to_owned()),
                kind: Some("Pod".to_owned()),
                namespace: Some(key.namespace.clone()),
                name: Some(key.name.clone()),
                uid: Some(key.uid.clone()),
                ..ObjectReference::default()
            },
        };
        let event = Published {
            type_: if *is_warning { EventType::Warning } else { EventType::Normal },
            reason: (*reason).to_owned(),
            note: Some(note(message)),
            action: "Rollout".to_owned(),
            secondary: None,
        };
        if self.queue.try_send((event, about)).is_err() {
            self.metrics.written(WriteKind::Event, false);
        }
    }
}
