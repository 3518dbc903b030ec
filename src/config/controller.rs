//! Settings of the controller.

use std::net::SocketAddr;
use std::time::Duration;

use tracing::level_filters::LevelFilter;

use super::layers::Layers;
use super::{ClusterConfig, checks};
use crate::cli::args::{ControllerArgs, LogArgs};
use crate::telemetry::LogFormat;

/// Everything that `sidecarset controller` needs to know.
#[derive(Debug)]
pub struct ControllerConfig {
    /// The cluster.
    pub cluster: ClusterConfig,
    /// Name of the Lease, in our namespace.
    pub lease: String,
    /// How long others wait after they last saw the leader renew.
    pub lease_duration: Duration,
    /// Sets that are worked on at a time.
    pub workers: usize,
    /// Writes a second in the long run.
    pub kube_api_qps: u32,
    /// Writes at once after a rest.
    pub kube_api_burst: u32,
    /// How often everything is listed and looked at again.
    pub resync: Duration,
    /// Name of the webhook's Service, in our namespace.
    pub service: String,
    /// Name of the webhook configuration for Pods.
    pub webhook_configuration: String,
    /// Whether sidecars of finished Pods are ended.
    pub terminator: bool,
    /// Address of the probe server.
    pub probe_listen: SocketAddr,
    /// How log lines look.
    pub log_format: LogFormat,
    /// Least important log lines to write.
    pub log_level: LevelFilter,
}

impl ControllerConfig {
    /// Takes what [`read`](super::layers::read) found, if nothing is wrong with it.
    ///
    /// # Errors
    ///
    /// Everything that is wrong: the place of each value, what was found and what would be right.
    pub fn from_layers(layers: Layers<ControllerArgs>) -> Result<Self, Vec<String>> {
        let (args, _) = layers.checked(checks::of_controller)?;
        let ControllerArgs {
            config: _,
            kubeconfig,
            namespace,
            revision_namespace,
            lease,
            lease_duration,
            workers,
            kube_api_qps,
            kube_api_burst,
            resync,
            service,
            webhook_configuration,
            terminator,
            probe_listen,
            log: LogArgs { log_format, log_level },
        } = args;
        Ok(Self {
            cluster: ClusterConfig::new(kubeconfig, namespace, revision_namespace),
            lease,
            lease_duration,
            workers,
            kube_api_qps,
            kube_api_burst,
            resync,
            service,
            webhook_configuration,
            terminator,
            probe_listen,
            log_format,
            log_level,
        })
    }
}
