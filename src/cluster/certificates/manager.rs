//! The task that looks, decides and writes.

mod publish;

use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Secret;
use kube::api::PostParams;
use kube::{Api, Client};
use tokio::sync::mpsc;

use super::pace::Pace;
use super::registration::Registration;
use super::status::{Report, Status, time};
use super::watch::{self, Found};
use super::{MANAGER, Settings, secret};
use crate::clock::unix_now;
use crate::metrics::Metrics;
use crate::tls::managed::contents::Contents;
use crate::tls::managed::replica::{Next, Replica, Step};
use crate::tls::managed::spread::Seen;
use crate::tls::resolver::CurrentCertificate;
use publish::{Object, objects};

/// Longest time for one call of the API server.
const CALL: Duration = Duration::from_secs(10);
/// Longest time without looking: a clock that jumps tells nobody.
const LOOK: Duration = Duration::from_secs(30);

/// The same for a replica that is not ready.
const SOON: Duration = Duration::from_secs(1);

/// Something that a watch has found.
enum Event {
    Secret(Found<Secret>),
    Object(usize, Found<Registration>),
}

/// See the module.
pub(super) struct Manager {
    settings: Settings,
    current: Arc<CurrentCertificate>,
    metrics: Arc<Metrics>,
    status: Arc<Status>,
    replica: Replica,
    /// Times of a clock that never jumps are counted from here.
    begun: Instant,
    secrets: Api<Secret>,
    /// As last seen; what it means is in `replica`.
    secret: Option<Secret>,
    pace: Pace,
    /// Why the Secret cannot be read or written.
    error: Option<String>,
    objects: Vec<Object>,
    /// Problems of the Secret that were told.
    told: Vec<String>,
}

/// Why a call brought nothing.
enum CallError {
    /// Somebody else has written the object meanwhile, or it has gone.
    Outdated,
    /// For people.
    Failed(String),
}

impl Manager {
    pub(super) fn new(
        client: &Client,
        settings: Settings,
        current: Arc<CurrentCertificate>,
        metrics: Arc<Metrics>,
        status: Arc<Status>,
    ) -> Self {
        let objects = objects(client, &settings.configurations);
        metrics.certificates.know(Step::ALL.map(Step::as_str));
        Self {
            replica: Replica::new(settings.hosts.clone(), settings.timing, objects.len()),
            secrets: Api::namespaced(client.clone(), &settings.namespace),
            settings,
            current,
            metrics,
            status,
            begun: Instant::now(),
            secret: None,
            pace: Pace::default(),
            error: None,
            objects,
            told: Vec::new(),
        }
    }

    /// Never ends.
    pub(super) async fn run(mut self) {
        // More than one event for each object; a watch that is faster waits.
        let (tx, mut events) = mpsc::channel(16);
        watch::follow(self.secrets.clone(), self.settings.secret.clone(), tx.clone(), Event::Secret);
        for (index, object) in self.objects.iter().enumerate() {
            let wrap = move |found| Event::Object(index, found);
            watch::follow(object.api.clone(), object.name.clone(), tx.clone(), wrap);
        }
        loop {
            let wait = self.act().await;
            // A replica that is not ready yet looks often.
            let wait = if self.report() { wait } else { wait.min(SOON) };
            // `tx` lives as long as this, so there is always an event to wait for.
            if let Ok(Some(event)) = tokio::time::timeout(wait, events.recv()).await {
                self.note(event);
                // What has piled up meanwhile is one state.
                while let Ok(event) = events.try_recv() {
                    self.note(event);
                }
            }
        }
    }

    fn at(&self) -> Duration {
        self.begun.elapsed()
    }

    fn note(&mut self, event: Event) {
        match event {
            Event::Secret(Found::Failed(error)) => fail(&mut self.error, error, &self.settings.secret),
            Event::Secret(Found::Absent) => self.note_secret(None),
            Event::Secret(Found::Present(found)) => {
                // A watch may be behind what a write has answered.
                if !self.secret.as_ref().is_some_and(|known| secret::is_older(&found, known)) {
                    self.note_secret(Some(*found));
                }
            }
            Event::Object(index, found) => match found {
                Found::Failed(error) => self.object_failed(index, error),
                Found::Absent => self.note_object(index, None),
                Found::Present(object) => self.note_object(index, Some(*object)),
            },
        }
    }

    fn note_secret(&mut self, found: Option<Secret>) {
        self.error = None;
        let contents = found.as_ref().map(secret::read);
        let problems = contents.as_ref().map(|contents| contents.problems.clone()).unwrap_or_default();
        if problems != self.told {
            for problem in &problems {
                tracing::warn!(secret = self.settings.secret, %problem, "the Secret of certificates is not as it was written");
            }
            self.told = problems;
        }
        let at = self.at();
        self.replica.secret_seen(contents, at);
        self.secret = found;
    }

    fn object_failed(&mut self, index: usize, error: String) {
        let at = self.at();
        self.replica.object_seen(index, Seen::Failed, at);
        if let Some(object) = self.objects.get_mut(index) {
            fail(&mut object.error, error, &object.name);
        }
    }

    fn note_object(&mut self, index: usize, found: Option<Registration>) {
        let at = self.at();
        let ours = self.settings.ours();
        let seen = found.as_ref().map_or(Seen::Missing, |object| object.seen(ours));
        self.replica.object_seen(index, seen, at);
        let wanted = self.replica.bundle();
        let Some(object) = self.objects.get_mut(index) else { return };
        object.error = None;
        match (&found, &wanted) {
            (Some(found), Some(wanted)) if !found.differs(ours, wanted) => {
                object.had = Some(wanted.iter().map(|ca| (*ca).clone()).collect());
            }
            // One that was made anew has lost nothing.
            (None, _) => object.had = None,
            _ => {}
        }
        object.latest = found;
    }

    /// Does all that can be done now, and gives how long to wait for more.
    async fn act(&mut self) -> Duration {
        loop {
            self.serve();
            match self.replica.next(unix_now(), self.at()) {
                Next::Write { step, because } => {
                    let wait = self.pace.wait(Instant::now());
                    let wait = if wait.is_zero() { self.write(step, &because).await } else { Some(wait) };
                    match wait {
                        None => {}
                        // Bundles as the broken Secret wants them could take away what is still in use.
                        Some(wait) if step.is_repair() => return wait.min(LOOK),
                        Some(wait) => return self.publish().await.min(wait).min(LOOK),
                    }
                }
                Next::Wait(wait) => {
                    let versions = self.secret_version();
                    let next = self.publish().await;
                    // Publishing reads the Secret again: what it found may be news.
                    if versions == self.secret_version() {
                        // What was just published begins to settle now.
                        let again = match self.replica.next(unix_now(), self.at()) {
                            Next::Wait(again) => again,
                            Next::Write { .. } => Duration::ZERO,
                        };
                        self.serve();
                        return wait.min(again).min(next).min(LOOK);
                    }
                }
            }
        }
    }

    fn secret_version(&self) -> Option<String> {
        self.secret.as_ref().and_then(|secret| secret.metadata.resource_version.clone())
    }

    fn serve(&mut self) {
        let at = self.at();
        if let Some(pair) = self.replica.take(unix_now(), at) {
            self.metrics.certificate_expiry.set(pair.not_after_unix as f64);
            tracing::info!(not_after = time(pair.not_after_unix), "serving certificate taken");
            self.current.replace(pair.key);
        }
        let ca = self.replica.contents().and_then(|contents| contents.authority.as_ref());
        if let Some(ca) = ca {
            self.metrics.certificates.authority_expiry.set(ca.certificate.validity.until as f64);
        }
    }

    /// Takes one step. `None` if it is done or another replica was faster, else how long to wait before another attempt.
    async fn write(&mut self, step: Step, because: &str) -> Option<Duration> {
        if step.goes_by_bundles() {
            self.read_objects().await;
        }
        let contents = match self.replica.perform(step, unix_now()) {
            Ok(contents) => contents,
            Err(error) => return Some(self.failed(step, error.to_string())),
        };
        if step.is_repair() {
            self.pace.used(Instant::now());
        }
        match self.store(&contents).await {
            Ok(stored) => {
                self.metrics.certificates.step(step.as_str());
                let stage = contents.stage().as_str();
                tracing::info!(
                    secret = self.settings.secret,
                    step = step.as_str(),
                    because,
                    stage,
                    "certificates changed"
                );
                self.note_secret(Some(stored));
                None
            }
            Err(CallError::Outdated) => {
                tracing::debug!(step = step.as_str(), "another replica was faster");
                match self.read_secret().await {
                    Ok(()) => None,
                    Err(error) => Some(self.failed(step, error)),
                }
            }
            Err(CallError::Failed(error)) => Some(self.failed(step, error)),
        }
    }

    fn failed(&mut self, step: Step, error: String) -> Duration {
        if !step.is_repair() {
            self.pace.used(Instant::now());
        }
        fail(&mut self.error, format!("{}: {error}", step.as_str()), &self.settings.secret);
        self.pace.wait(Instant::now())
    }

    async fn store(&self, contents: &Contents) -> Result<Secret, CallError> {
        let name = &self.settings.secret;
        let object = secret::with_contents(self.secret.as_ref(), name, contents);
        let params = PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() };
        match &self.secret {
            // The object carries its version, so a second writer is refused.
            Some(_) => call(self.secrets.replace(name, &params, &object)).await,
            None => call(self.secrets.create(&params, &object)).await,
        }
    }

    async fn read_secret(&mut self) -> Result<(), String> {
        match call(self.secrets.get_opt(&self.settings.secret)).await {
            Ok(found) => {
                self.note_secret(found);
                Ok(())
            }
            Err(CallError::Failed(error)) => Err(error),
            Err(CallError::Outdated) => Err("the API server answered a read with a conflict".to_owned()),
        }
    }

    /// Tells the probe, and whether API servers have trusted what is served.
    fn report(&mut self) -> bool {
        let at = self.at();
        let trusted = self.replica.was_trusted(at);
        let contents = self.replica.contents();
        let mut lines: Vec<String> =
            self.error.iter().map(|error| format!("Secret {}: {error}", self.settings.secret)).collect();
        for (index, object) in self.objects.iter().enumerate() {
            let told = match (&object.error, &object.latest) {
                (Some(error), _) => error.clone(),
                (None, None) => continue,
                (None, Some(latest)) if latest.seen(self.settings.ours()) == Seen::Missing => {
                    "no webhook of ours in it".to_owned()
                }
                (None, Some(_)) if self.differs(index) => "caBundle is not as it should be".to_owned(),
                (None, Some(_)) => "caBundle ok".to_owned(),
            };
            lines.push(format!("{} {}: {told}", object.kind.kind, object.name));
        }
        if self.objects.iter().all(|object| object.latest.is_none() && object.error.is_none()) {
            lines.push(format!(
                "there is none of the webhook configurations {} yet: no API server calls us",
                self.settings.configurations.join(", ")
            ));
        }
        let report = Report {
            served: self.replica.held_until(),
            trusted,
            stage: contents.map_or("not begun", |contents| contents.stage().as_str()),
            lines,
        };
        self.status.set(report);
        trusted
    }
}

/// Keeps an error for the probe and tells it once.
fn fail(place: &mut Option<String>, error: String, name: &str) {
    if place.as_ref() != Some(&error) {
        tracing::error!(object = name, %error, "certificates cannot be managed; what is served stays");
        *place = Some(error);
    }
}

async fn call<T>(answer: impl Future<Output = kube::Result<T>>) -> Result<T, CallError> {
    match tokio::time::timeout(CALL, answer).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(kube::Error::Api(status)))
            if status.is_conflict() || status.is_already_exists() || status.is_not_found() =>
        {
            Err(CallError::Outdated)
        }
        Ok(Err(kube::Error::Api(status))) => Err(CallError::Failed(status.message)),
        Ok(Err(error)) => Err(CallError::Failed(error.to_string())),
        Err(_elapsed) => Err(CallError::Failed(format!("no answer within {} s", CALL.as_secs()))),
    }
}
