//! The task that looks, decides and writes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Secret;
use kube::api::{Patch, PatchParams, PostParams};
use kube::discovery::ApiResource;
use kube::{Api, Client};
use tokio::sync::mpsc;

use super::pace::Pace;
use super::registration::{OurService, Registration};
use super::status::{Report, Status, time};
use super::watch::{self, Found};
use super::{BUNDLE_MANAGER, DEFINITION, MANAGER, Settings, secret};
use crate::clock::unix_now;
use crate::metrics::Metrics;
use crate::tls::managed::authority::CaCertificate;
use crate::tls::managed::contents::Contents;
use crate::tls::managed::replica::{Next, Replica, Step};
use crate::tls::managed::spread::Seen;
use crate::tls::resolver::CurrentCertificate;

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

/// An object that holds bundles.
struct Object {
    kind: ApiResource,
    name: String,
    api: Api<Registration>,
    latest: Option<Registration>,
    /// The bundle that it was last seen with, if that was the right one then.
    had: Option<Vec<CaCertificate>>,
    pace: Pace,
    /// Why it cannot be read or written.
    error: Option<String>,
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
                Found::Failed(error) => {
                    let at = self.at();
                    self.replica.object_seen(index, Seen::Failed, at);
                    if let Some(object) = self.objects.get_mut(index) {
                        fail(&mut object.error, error, &object.name);
                    }
                }
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

    /// Writes the bundles that are not as they should be. Gives how long to wait before another attempt.
    async fn publish(&mut self) -> Duration {
        let mut wait = Duration::MAX;
        for index in 0..self.objects.len() {
            if !self.differs(index) {
                continue;
            }
            let Some(object) = self.objects.get_mut(index) else { continue };
            let pause = object.pace.wait(Instant::now());
            if !pause.is_zero() {
                wait = wait.min(pause);
                continue;
            }
            object.pace.used(Instant::now());
            if let Err(error) = self.publish_one(index).await
                && let Some(object) = self.objects.get_mut(index)
            {
                fail(&mut object.error, error, &object.name);
            }
            if let Some(object) = self.objects.get(index).filter(|_| self.differs(index)) {
                wait = wait.min(object.pace.wait(Instant::now()));
            }
        }
        wait
    }

    fn differs(&self, index: usize) -> bool {
        let latest = self.objects.get(index).and_then(|object| object.latest.as_ref());
        let wanted = self.replica.bundle();
        latest.zip(wanted).is_some_and(|(latest, wanted)| latest.differs(self.settings.ours(), &wanted))
    }

    /// Writes the bundle of one object.
    ///
    /// The order makes a replica harmless that was held up: it read the object first, then the Secret, and writes only if the object is
    /// still the same. Whoever knew a newer Secret has changed the object since.
    async fn publish_one(&mut self, index: usize) -> Result<(), String> {
        self.read_secret().await?;
        if !self.differs(index) {
            return Ok(());
        }
        let Some(wanted) = self.replica.bundle() else { return Ok(()) };
        let Some(object) = self.objects.get(index) else { return Ok(()) };
        let Some(latest) = &object.latest else { return Ok(()) };
        let repair = object.repair(latest, &wanted);
        let params = PatchParams::apply(BUNDLE_MANAGER).force();
        let body = latest.with_bundle(&object.kind, self.settings.ours(), &wanted);
        let (kind, name, api) = (object.kind.kind.clone(), object.name.clone(), object.api.clone());
        let found = match call(api.patch(&name, &params, &Patch::Apply(&body))).await {
            Ok(stored) => {
                match repair {
                    Some(who) => {
                        self.metrics.certificates.bundle_repairs.inc();
                        tracing::warn!(kind, name, %who, "somebody has changed the caBundle; it was written again");
                    }
                    None => tracing::info!(kind, name, cas = wanted.len(), "caBundle written"),
                }
                Some(stored)
            }
            Err(CallError::Outdated) => match call(api.get_opt(&name)).await {
                Ok(found) => found,
                Err(CallError::Failed(error)) => return Err(error),
                Err(CallError::Outdated) => None,
            },
            Err(CallError::Failed(error)) => return Err(error),
        };
        self.note_object(index, found);
        Ok(())
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

impl Object {
    /// Who has changed the bundle since it was right, as far as is known; `None` if nobody has and it is to change now.
    fn repair(&self, latest: &Registration, wanted: &[&CaCertificate]) -> Option<String> {
        let others = latest.other_writers();
        let was_right = self.had.as_ref().is_some_and(|had| had.iter().eq(wanted.iter().copied()));
        (was_right || !others.is_empty()).then(|| match others.is_empty() {
            true => "unknown".to_owned(),
            false => others.join(", "),
        })
    }
}

impl Settings {
    fn ours(&self) -> OurService<'_> {
        OurService { namespace: &self.namespace, name: &self.service }
    }
}

/// The objects that may make an API server call us.
fn objects(client: &Client, configurations: &[String]) -> Vec<Object> {
    let object = |group: &str, kind: &str, plural: &str, name: &str| {
        let kind = ApiResource {
            group: group.to_owned(),
            version: "v1".to_owned(),
            api_version: format!("{group}/v1"),
            kind: kind.to_owned(),
            plural: plural.to_owned(),
        };
        Object {
            api: Api::all_with(client.clone(), &kind),
            kind,
            name: name.to_owned(),
            latest: None,
            had: None,
            pace: Pace::default(),
            error: None,
        }
    };
    const ADMISSION: &str = "admissionregistration.k8s.io";
    let mut all = Vec::new();
    for name in configurations {
        all.push(object(ADMISSION, "MutatingWebhookConfiguration", "mutatingwebhookconfigurations", name));
        all.push(object(
            ADMISSION,
            "ValidatingWebhookConfiguration",
            "validatingwebhookconfigurations",
            name,
        ));
    }
    all.push(object(
        "apiextensions.k8s.io",
        "CustomResourceDefinition",
        "customresourcedefinitions",
        DEFINITION,
    ));
    all
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
