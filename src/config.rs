//! Settings, checked and completed: after this nothing is optional by accident.

mod checks;
mod controller;
pub mod environment;
mod file;
pub mod layers;
pub mod print;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use sidecarset_core::context::Features;
use sidecarset_core::validation::Options;
use tracing::level_filters::LevelFilter;

use crate::cli::args::{ClusterArgs, LogArgs, WebhookArgs};
use crate::cluster::identity::Identity;
use crate::telemetry::LogFormat;
pub use controller::ControllerConfig;
use layers::{Layers, Settings};

/// Everything that `sidecarset webhook` needs to know.
#[derive(Debug)]
pub struct ServeConfig {
    /// Address of the HTTPS server.
    pub listen: SocketAddr,
    /// Address of the probe server.
    pub probe_listen: SocketAddr,
    /// Where the SidecarSets come from.
    pub source: SourceConfig,
    /// Where the serving certificate comes from.
    pub certificate: CertificateConfig,
    /// CAs that clients have to have a certificate of.
    pub client_ca: Option<PathBuf>,
    /// Age at which a connection ends with its next answer.
    pub connection_age: Duration,
    /// Collector of spans, as a URL without path.
    pub otlp_endpoint: Option<String>,
    /// What /debug/config tells; `None` if /debug is not served.
    pub debug: Option<String>,
    /// Requests that are answered at a time.
    pub max_in_flight: usize,
    /// Bytes of their bodies, beyond the first 32 KiB of each.
    pub max_body_bytes_in_flight: usize,
    /// How long to go on serving after the first signal.
    pub shutdown_delay: Duration,
    /// How log lines look.
    pub log_format: LogFormat,
    /// Least important log lines to write.
    pub log_level: LevelFilter,
    /// Threads that answer admissions.
    pub workers: usize,
    /// Switches that change what is injected.
    pub features: Features,
    /// Flags that change verdicts on SidecarSets.
    pub validation: Options,
}

/// Where the SidecarSets come from.
#[derive(Debug)]
pub enum SourceConfig {
    /// The files of this folder.
    Folder(PathBuf),
    /// The API server of a cluster.
    Cluster(ClusterConfig),
}

/// The cluster, and our place in it.
#[derive(Debug, Clone)]
pub struct ClusterConfig {
    /// How to reach the API server; `None` is the service account of the Pod.
    pub kubeconfig: Option<PathBuf>,
    /// Who we are.
    pub identity: Identity,
    /// Namespace of the ControllerRevisions that count. Rule: I-CONST-15.
    pub revision_namespace: String,
}

impl ClusterConfig {
    fn new(
        kubeconfig: Option<PathBuf>,
        namespace: Option<String>,
        revision_namespace: Option<String>,
    ) -> Self {
        let identity = Identity::new(namespace);
        let revision_namespace = revision_namespace.unwrap_or_else(|| identity.namespace.clone());
        Self { kubeconfig, identity, revision_namespace }
    }
}

/// What managed certificates are kept in, and for whom.
#[derive(Debug, Clone)]
pub struct ManagedConfig {
    /// The cluster that they are for.
    pub cluster: ClusterConfig,
    /// Name of the Secret, in our namespace.
    pub secret: String,
    /// Name of the Service that the certificates are valid for, in our namespace.
    pub service: String,
    /// Names of the mutating and validating webhook configurations that get the CA.
    pub webhook_configurations: Vec<String>,
    /// How long an API server may go on using a bundle after it has changed.
    pub settle: Duration,
}

/// Where the serving certificate comes from.
#[derive(Debug)]
pub enum CertificateConfig {
    /// A Secret of ours that all replicas share, kept up to date by them.
    Managed(ManagedConfig),
    /// `tls.crt` and `tls.key` in this folder.
    Folder(PathBuf),
    /// Made at start.
    SelfMade {
        /// Names and addresses it is valid for.
        hosts: Vec<String>,
        /// Where the CA is written.
        ca_out: Option<PathBuf>,
    },
}

impl ServeConfig {
    /// Takes what [`layers::read`] found, if nothing is wrong with it.
    ///
    /// # Errors
    ///
    /// Everything that is wrong: the place of each value, what was found and what would be right.
    pub fn from_layers(layers: Layers<WebhookArgs>) -> Result<Self, Vec<String>> {
        let (args, settings) = layers.checked(checks::of_webhook)?;
        Ok(Self::from_args(args, &settings))
    }

    fn from_args(args: WebhookArgs, settings: &Settings) -> Self {
        let WebhookArgs {
            config: _,
            listen,
            probe_listen,
            sidecarsets,
            cluster,
            cert_dir,
            client_ca,
            cert_host,
            ca_out,
            max_in_flight,
            max_body_bytes_in_flight,
            shutdown_delay,
            connection_age,
            debug_endpoints,
            otlp_endpoint,
            log: LogArgs { log_format, log_level },
            workers,
            judging,
        } = args;
        let source = match sidecarsets {
            Some(folder) => SourceConfig::Folder(folder),
            None => SourceConfig::Cluster(cluster.config()),
        };
        let certificate = match (cert_dir, &source) {
            (Some(dir), _) => CertificateConfig::Folder(dir),
            (None, SourceConfig::Folder(_)) => {
                CertificateConfig::SelfMade { hosts: hosts(cert_host), ca_out }
            }
            (None, SourceConfig::Cluster(_)) => CertificateConfig::Managed(cluster.managed()),
        };
        Self {
            listen,
            probe_listen,
            source,
            certificate,
            client_ca,
            connection_age,
            otlp_endpoint,
            debug: debug_endpoints.then(|| print::as_yaml(settings)),
            max_in_flight,
            max_body_bytes_in_flight,
            shutdown_delay,
            log_format,
            log_level,
            workers,
            features: judging.feature_gates.features,
            validation: judging.options(),
        }
    }
}

impl ClusterArgs {
    fn config(&self) -> ClusterConfig {
        let Self { kubeconfig, namespace, revision_namespace, .. } = self;
        ClusterConfig::new(kubeconfig.clone(), namespace.clone(), revision_namespace.clone())
    }

    fn managed(self) -> ManagedConfig {
        ManagedConfig {
            cluster: self.config(),
            settle: self.certificate_settle,
            secret: self.certificate_secret,
            service: self.service,
            webhook_configurations: self.webhook_configurations,
        }
    }
}

fn hosts(given: Vec<String>) -> Vec<String> {
    if given.is_empty() { ["localhost", "127.0.0.1", "::1"].map(str::to_owned).to_vec() } else { given }
}
