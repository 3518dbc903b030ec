//! Arguments of `sidecarset preflight`.

use clap::ValueEnum;

use super::shared::ConnectArgs;
use super::values::{parse_label, parse_name};
use crate::cluster::preflight::facts::Phase;

/// Arguments of `sidecarset preflight`.
#[derive(Debug, clap::Args)]
pub struct PreflightArgs {
    /// The cluster.
    #[command(flatten)]
    pub connect: ConnectArgs,

    /// Namespace that sidecarset is or will be installed in
    #[arg(short, long, value_name = "NAMESPACE", default_value = "sidecarset-system", value_parser = parse_label)]
    pub namespace: String,

    /// Name of the Service of the webhook, and of its Deployment
    #[arg(long, value_name = "NAME", default_value = "sidecarset-webhook", value_parser = parse_label)]
    pub service: String,

    /// Names of the mutating and validating webhook configurations
    #[arg(long, value_name = "NAME,...", value_delimiter = ',', default_value = "sidecarset,sidecarset-api",
          value_parser = parse_name)]
    pub webhook_configurations: Vec<String>,

    /// Secret with the serving certificate [default: the one that the Deployment uses]
    #[arg(long, value_name = "NAME", value_parser = parse_name)]
    pub certificate_secret: Option<String>,

    /// Namespace that a Pod is tried in, as a dry run [default: the kubeconfig's]
    #[arg(long, value_name = "NAMESPACE", value_parser = parse_label)]
    pub probe_namespace: Option<String>,

    /// Before or after the install [default: after, if one of the webhook configurations is there]
    #[arg(long, value_name = "PHASE")]
    pub phase: Option<Phase>,

    /// How to tell it
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    pub output: PreflightOutput,
}

/// What `sidecarset preflight` prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PreflightOutput {
    /// For people: a table.
    Text,
    /// For programs: an object with the list of findings.
    Json,
}
