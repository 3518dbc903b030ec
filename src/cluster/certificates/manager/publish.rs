//! The objects that make API servers call us, and the bundles in them.

use std::time::{Duration, Instant};

use kube::api::{Patch, PatchParams};
use kube::discovery::ApiResource;
use kube::{Api, Client};

use super::super::pace::Pace;
use super::super::registration::{OurService, Registration};
use super::super::{BUNDLE_MANAGER, DEFINITION, Settings};
use super::{CallError, Manager, call, fail};
use crate::tls::managed::authority::CaCertificate;

/// An object that holds bundles.
pub(super) struct Object {
    pub(super) kind: ApiResource,
    pub(super) name: String,
    pub(super) api: Api<Registration>,
    pub(super) latest: Option<Registration>,
    /// The bundle that it was last seen with, if that was the right one then.
    pub(super) had: Option<Vec<CaCertificate>>,
    pub(super) pace: Pace,
    /// Why it cannot be read or written.
    pub(super) error: Option<String>,
}

impl Manager {
    /// Writes the bundles that are not as they should be. Gives how long to wait before another attempt.
    pub(super) async fn publish(&mut self) -> Duration {
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

    /// Reads every object now, instead of waiting for the watches.
    pub(super) async fn read_objects(&mut self) {
        for index in 0..self.objects.len() {
            let Some(object) = self.objects.get(index) else { continue };
            match call(object.api.get_opt(&object.name)).await {
                Ok(found) => self.note_object(index, found),
                Err(CallError::Failed(error)) => self.object_failed(index, error),
                // A read meets no conflict.
                Err(CallError::Outdated) => {}
            }
        }
    }

    pub(super) fn differs(&self, index: usize) -> bool {
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
    pub(super) fn ours(&self) -> OurService<'_> {
        OurService { namespace: &self.namespace, name: &self.service }
    }
}

/// The objects that may make an API server call us.
pub(super) fn objects(client: &Client, configurations: &[String]) -> Vec<Object> {
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
