//! Arguments of `sidecarset controller`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::shared::{ConfigArgs, LogArgs};
use super::values::{parse_address, parse_label, parse_name, parse_number};

/// Arguments of `sidecarset controller`.
#[derive(Debug, clap::Args)]
pub struct ControllerArgs {
    /// The file.
    #[command(flatten)]
    pub config: ConfigArgs,

    /// How the API server is reached; in a Pod its service account is the default
    #[arg(long, env = "SIDECARSET_KUBECONFIG", value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,

    /// Namespace of the Lease and of the webhook's Service [default: the one of its Pod]
    #[arg(long, env = "POD_NAMESPACE", value_name = "NAMESPACE", value_parser = parse_label)]
    pub namespace: Option<String>,

    /// Namespace of the ControllerRevisions [default: --namespace]
    #[arg(long, env = "SIDECARSET_REVISION_NAMESPACE", value_name = "NAMESPACE", value_parser = parse_label)]
    pub revision_namespace: Option<String>,

    /// Lease that the leading replica holds
    #[arg(long, env = "SIDECARSET_LEASE", value_name = "NAME", default_value = "sidecarset-controller",
          value_parser = parse_name)]
    pub lease: String,

    /// How long the other replicas wait after they last saw the leader renew its Lease; it stops writing after two thirds of that
    #[arg(long, env = "SIDECARSET_LEASE_DURATION", value_name = "DURATION", default_value = "15s",
          value_parser = crate::duration::parse)]
    pub lease_duration: Duration,

    /// SidecarSets that are worked on at a time
    #[arg(long, env = "SIDECARSET_WORKERS", value_name = "N", default_value = "3",
          value_parser = parse_number::<1, 64>)]
    pub workers: usize,

    /// Writes a second in the long run, of all sets together
    #[arg(long, env = "SIDECARSET_KUBE_API_QPS", value_name = "N", default_value = "200",
          value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub kube_api_qps: u32,

    /// Writes at once after a rest
    #[arg(long, env = "SIDECARSET_KUBE_API_BURST", value_name = "N", default_value = "400",
          value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub kube_api_burst: u32,

    /// How often everything is listed and looked at again
    #[arg(long, env = "SIDECARSET_RESYNC", value_name = "DURATION", default_value = "10m",
          value_parser = crate::duration::parse)]
    pub resync: Duration,

    /// Service of the webhook: no Pod is replaced for missing sidecars while nobody answers for it
    #[arg(long, env = "SIDECARSET_SERVICE", value_name = "NAME", default_value = "sidecarset-webhook",
          value_parser = parse_label)]
    pub service: String,

    /// Mutating webhook configuration for Pods
    #[arg(long, env = "SIDECARSET_WEBHOOK_CONFIGURATION", value_name = "NAME", default_value = "sidecarset",
          value_parser = parse_name)]
    pub webhook_configuration: String,

    /// End marked sidecars of Pods whose main containers have ended (SidecarTerminator)
    #[arg(long, env = "SIDECARSET_TERMINATOR", value_name = "BOOL",
          default_value_t = false, default_missing_value = "true", num_args = 0..=1,
          require_equals = true, action = clap::ArgAction::Set)]
    pub terminator: bool,

    /// Address of the plain HTTP server with /healthz, /readyz and /metrics
    #[arg(
        long,
        env = "SIDECARSET_PROBE_LISTEN",
        value_name = "ADDRESS:PORT",
        default_value = "127.0.0.1:8082",
        value_parser = parse_address
    )]
    pub probe_listen: SocketAddr,

    /// The log.
    #[command(flatten)]
    pub log: LogArgs,
}
