//! Managed certificates against a real API server: what [`crate::tls::managed`] decides is done here.
//!
//! | object | read | written |
//! |---|---|---|
//! | the Secret, by name | watch, get | create, update with its version |
//! | webhook configurations, by name | watch, get | `caBundle` by server-side apply with their version |
//! | the CustomResourceDefinition, by name | watch, get | the same, of its conversion webhook |
//!
//! Every replica does this. A write that comes second is refused because of the version, and its replica reads again.

mod manager;
mod pace;
mod registration;
mod secret;
mod status;
mod watch;

use std::sync::Arc;

use kube::Client;

use crate::metrics::Metrics;
use crate::tls::managed::Timing;
use crate::tls::resolver::CurrentCertificate;

pub use status::Status;

/// Field manager of what is written into the Secret.
const MANAGER: &str = "sidecarset-webhook";
/// Field manager of the bundles: their only owner, so that whoever installs the objects sees no difference.
const BUNDLE_MANAGER: &str = "sidecarset-ca-bundle";
/// The CustomResourceDefinition whose conversion webhook we are.
const DEFINITION: &str = "sidecarsets.apps.kruise.io";

/// What is managed, and where.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Our namespace: of the Secret and the Service.
    pub namespace: String,
    /// Name of the Secret.
    pub secret: String,
    /// Name of the Service by which API servers call us.
    pub service: String,
    /// Names and addresses that the leaf is valid for.
    pub hosts: Vec<String>,
    /// Names of webhook configurations, mutating and validating.
    pub configurations: Vec<String>,
    /// How long things take.
    pub timing: Timing,
}

/// Starts to manage the certificates, for as long as the runtime lives. What is to be served goes to `current`.
#[must_use]
pub fn start(
    client: &Client,
    settings: Settings,
    current: Arc<CurrentCertificate>,
    metrics: Arc<Metrics>,
) -> Arc<Status> {
    let status = Arc::new(Status::default());
    let manager = manager::Manager::new(client, settings, current, metrics, Arc::clone(&status));
    tokio::spawn(manager.run());
    status
}
