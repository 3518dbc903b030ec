//! What can be typed: types for clap, nothing else.

mod values;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};
use sidecarset_core::validation::Options;
use tracing::level_filters::LevelFilter;

use crate::cluster::preflight::facts::Phase;
use crate::telemetry::LogFormat;
pub use values::{Gates, ServiceName};
use values::{
    parse_address, parse_collector, parse_feature_gates, parse_host, parse_label, parse_level, parse_name,
    parse_number, parse_service,
};

/// Puts the sidecar containers of SidecarSets into Pods.
#[derive(Debug, Parser)]
#[command(version, about)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve the admission webhook over HTTPS
    Webhook(Box<WebhookArgs>),
    /// Keep status, revisions and running Pods as the SidecarSets of a cluster ask
    Controller(Box<ControllerArgs>),
    /// Inject into the Pods of a file, without a cluster
    Inject(InjectArgs),
    /// Tell which SidecarSets the Pods of a file get, and why or why not
    Explain(ExplainArgs),
    /// Check SidecarSets in files as the webhook would, and tell what is legal and surely wrong
    Lint(LintArgs),
    /// Print the CustomResourceDefinition of SidecarSet
    Crd(CrdArgs),
    /// Check a cluster before and after the install, and tell what to do
    Preflight(PreflightArgs),
    /// Tell how far the rollouts of SidecarSets are, and what they wait for
    Status(StatusArgs),
    /// Pause, resume or undo the rollout of a SidecarSet, or list its revisions
    Rollout(RolloutArgs),
}

/// Arguments of `sidecarset webhook`.
#[derive(Debug, clap::Args)]
pub struct WebhookArgs {
    /// YAML file with settings: the names of these flags without their dashes. What is typed or in the environment wins
    #[arg(long, env = "SIDECARSET_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Print every setting as such a file, with where its value comes from, and end
    #[arg(long)]
    pub print_config: bool,

    /// Address of the HTTPS server that the API server calls
    #[arg(long, env = "SIDECARSET_LISTEN", value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8443",
          value_parser = parse_address)]
    pub listen: SocketAddr,

    /// Address of the plain HTTP server with /healthz, /readyz and /metrics
    #[arg(
        long,
        env = "SIDECARSET_PROBE_LISTEN",
        value_name = "ADDRESS:PORT",
        default_value = "127.0.0.1:8081",
        value_parser = parse_address
    )]
    pub probe_listen: SocketAddr,

    /// Folder with SidecarSets, Namespaces and ControllerRevisions as YAML or JSON files, instead of a cluster; changes are seen
    /// within two seconds
    #[arg(long, env = "SIDECARSET_SIDECARSETS", value_name = "DIR")]
    pub sidecarsets: Option<PathBuf>,

    /// Where the cluster is.
    #[command(flatten)]
    pub cluster: ClusterArgs,

    /// Folder with tls.crt and tls.key, as a mounted Secret has them; without it certificates are managed in a cluster, and
    /// one is made at start with --sidecarsets
    #[arg(long, env = "SIDECARSET_CERT_DIR", value_name = "DIR")]
    pub cert_dir: Option<PathBuf>,

    /// File with the CAs of API servers as PEM: admission requests of clients without a certificate of one of them are
    /// refused; conversion is not, because API servers ask for it without one. Without the flag every client is answered
    #[arg(long, env = "SIDECARSET_CLIENT_CA", value_name = "FILE")]
    pub client_ca: Option<PathBuf>,

    /// Name or IP address that the self-made certificate is valid for; may be repeated [default: localhost, 127.0.0.1, ::1]
    #[arg(long, env = "SIDECARSET_CERT_HOST", value_name = "HOST", value_delimiter = ',',
          value_parser = parse_host)]
    pub cert_host: Vec<String>,

    /// File that the CA of the self-made certificate is written to, for clients to trust (curl --cacert)
    #[arg(long, env = "SIDECARSET_CA_OUT", value_name = "FILE")]
    pub ca_out: Option<PathBuf>,

    /// Requests that are answered at a time; more get 503 with Retry-After
    #[arg(long, env = "SIDECARSET_MAX_IN_FLIGHT", value_name = "N", default_value = "1024",
          value_parser = parse_number::<1, 1_000_000>)]
    pub max_in_flight: usize,

    /// How long to go on serving after SIGTERM, so that the last clients notice; in a cluster, longer than the readiness
    /// probe needs to fail (for example 10s)
    #[arg(long, env = "SIDECARSET_SHUTDOWN_DELAY", value_name = "DURATION", default_value = "1s",
          value_parser = crate::duration::parse)]
    pub shutdown_delay: Duration,

    /// Age at which a connection ends with its next answer, so that a new replica gets its share
    #[arg(long, env = "SIDECARSET_CONNECTION_AGE", value_name = "DURATION", default_value = "5m",
          value_parser = crate::duration::parse)]
    pub connection_age: Duration,

    /// Serve /debug on the address of the probes
    #[arg(long, env = "SIDECARSET_DEBUG_ENDPOINTS", value_name = "BOOL",
          default_value_t = false, default_missing_value = "true", num_args = 0..=1,
          require_equals = true, action = clap::ArgAction::Set)]
    pub debug_endpoints: bool,

    /// Collector that a span of each admission is sent to by OTLP over HTTP, for example http://localhost:4318; only in a program
    /// that was built with the feature otlp
    #[arg(long, env = "SIDECARSET_OTLP_ENDPOINT", value_name = "URL", value_parser = parse_collector)]
    pub otlp_endpoint: Option<String>,

    /// How log lines look
    #[arg(long, env = "SIDECARSET_LOG_FORMAT", value_name = "FORMAT", default_value = "text")]
    pub log_format: LogFormat,

    /// Least important log lines to write: off, error, warn, info, debug or trace
    #[arg(long, env = "SIDECARSET_LOG_LEVEL", value_name = "LEVEL", default_value = "info", value_parser = parse_level)]
    pub log_level: LevelFilter,

    /// Threads that answer admissions
    #[arg(long, env = "SIDECARSET_WORKERS", value_name = "N", default_value = "2",
          value_parser = parse_number::<1, 64>)]
    pub workers: usize,

    /// Switches.
    #[command(flatten)]
    pub judging: JudgingArgs,
}

/// Arguments about the cluster that SidecarSets are read from.
#[derive(Debug, clap::Args)]
pub struct ClusterArgs {
    /// How the API server is reached; in a Pod its service account is the default
    #[arg(long, env = "SIDECARSET_KUBECONFIG", value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,

    /// Namespace of the webhook's own objects [default: the one of its Pod]
    #[arg(long, env = "POD_NAMESPACE", value_name = "NAMESPACE", value_parser = parse_label)]
    pub namespace: Option<String>,

    /// Namespace of the ControllerRevisions that sets can be pinned to [default: --namespace]
    #[arg(long, env = "SIDECARSET_REVISION_NAMESPACE", value_name = "NAMESPACE", value_parser = parse_label)]
    pub revision_namespace: Option<String>,

    /// Service that the API server calls the webhook by: the name in managed certificates
    #[arg(long, env = "SIDECARSET_SERVICE", value_name = "NAME", default_value = "sidecarset-webhook",
          value_parser = parse_label)]
    pub service: String,

    /// Secret that managed certificates are kept in
    #[arg(
        long,
        env = "SIDECARSET_CERTIFICATE_SECRET",
        value_name = "NAME",
        default_value = "sidecarset-webhook-certificate",
        value_parser = parse_name
    )]
    pub certificate_secret: String,

    /// How long an API server may go on using a caBundle after it has changed: before a rotation of managed certificates serves
    /// a certificate of the new CA, that CA has been in every caBundle for so long
    #[arg(long, env = "SIDECARSET_CERTIFICATE_SETTLE", value_name = "DURATION", default_value = "60s",
          value_parser = crate::duration::parse)]
    pub certificate_settle: Duration,

    /// Mutating and validating webhook configurations that get the CA of managed certificates
    #[arg(
        long,
        env = "SIDECARSET_WEBHOOK_CONFIGURATIONS",
        value_name = "NAME,...",
        value_delimiter = ',',
        default_value = "sidecarset,sidecarset-api",
        value_parser = parse_name
    )]
    pub webhook_configurations: Vec<String>,
}

/// Arguments of `sidecarset controller`.
#[derive(Debug, clap::Args)]
pub struct ControllerArgs {
    /// How the API server is reached; in a Pod its service account is the default
    #[arg(long, env = "SIDECARSET_KUBECONFIG", value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,

    /// Namespace of the Lease and of the webhook's Service [default: the one of its Pod]
    #[arg(long, env = "POD_NAMESPACE", value_name = "NAMESPACE")]
    pub namespace: Option<String>,

    /// Namespace of the ControllerRevisions [default: --namespace]
    #[arg(long, env = "SIDECARSET_REVISION_NAMESPACE", value_name = "NAMESPACE")]
    pub revision_namespace: Option<String>,

    /// Lease that the leading replica holds
    #[arg(long, env = "SIDECARSET_LEASE", value_name = "NAME", default_value = "sidecarset-controller")]
    pub lease: String,

    /// How long the other replicas wait after they last saw the leader renew its Lease; it stops writing after two thirds of that
    #[arg(long, env = "SIDECARSET_LEASE_DURATION", value_name = "DURATION", default_value = "15s",
          value_parser = crate::duration::parse)]
    pub lease_duration: Duration,

    /// SidecarSets that are worked on at a time
    #[arg(long, env = "SIDECARSET_WORKERS", value_name = "N", default_value = "3",
          value_parser = clap::value_parser!(u8).range(1..=64))]
    pub workers: u8,

    /// How often everything is listed and looked at again
    #[arg(long, env = "SIDECARSET_RESYNC", value_name = "DURATION", default_value = "10m",
          value_parser = crate::duration::parse)]
    pub resync: Duration,

    /// Service of the webhook: no Pod is replaced for missing sidecars while nobody answers for it
    #[arg(long, env = "SIDECARSET_SERVICE", value_name = "NAME", default_value = "sidecarset-webhook")]
    pub service: String,

    /// Mutating webhook configuration for Pods
    #[arg(long, env = "SIDECARSET_WEBHOOK_CONFIGURATION", value_name = "NAME", default_value = "sidecarset")]
    pub webhook_configuration: String,

    /// End marked sidecars of Pods whose main containers have ended (SidecarTerminator)
    #[arg(long, env = "SIDECARSET_TERMINATOR")]
    pub terminator: bool,

    /// Address of the plain HTTP server with /healthz, /readyz and /metrics
    #[arg(
        long,
        env = "SIDECARSET_PROBE_LISTEN",
        value_name = "ADDRESS:PORT",
        default_value = "127.0.0.1:8082"
    )]
    pub probe_listen: SocketAddr,

    /// How log lines look
    #[arg(long, env = "SIDECARSET_LOG_FORMAT", value_name = "FORMAT", default_value = "text")]
    pub log_format: LogFormat,

    /// Least important log lines to write: off, error, warn, info, debug or trace
    #[arg(long, env = "SIDECARSET_LOG_LEVEL", value_name = "LEVEL", default_value = "info", value_parser = parse_level)]
    pub log_level: LevelFilter,
}

/// Switches that change what is injected and which SidecarSets are accepted.
#[derive(Debug, clap::Args)]
pub struct JudgingArgs {
    /// Switches, for example SortSidecarContainers=true
    #[arg(long, env = "SIDECARSET_FEATURE_GATES", value_name = "GATE=BOOL,...", default_value = "",
          value_parser = parse_feature_gates)]
    pub feature_gates: Gates,

    /// Refuse SidecarSets that are legal and surely wrong, instead of warning
    #[arg(long, env = "SIDECARSET_STRICT_VALIDATION", value_name = "BOOL",
          default_value_t = false, default_missing_value = "true", num_args = 0..=1,
          require_equals = true, action = clap::ArgAction::Set)]
    pub strict_validation: bool,

    /// Whether SidecarSets may have privileged containers
    #[arg(long, env = "SIDECARSET_ALLOW_PRIVILEGED", value_name = "BOOL", default_value_t = true,
          action = clap::ArgAction::Set)]
    pub allow_privileged: bool,
}

impl JudgingArgs {
    /// The flags of validation. Rule: A-API-P2, A-API-P3. Decision: D-12.
    #[must_use]
    pub fn options(&self) -> Options {
        Options {
            strict: self.strict_validation,
            patch_metadata_defaults_allowed: self.feature_gates.patch_metadata_defaults_allowed,
            allow_privileged: self.allow_privileged,
        }
    }
}

/// What the commands on files have in common.
#[derive(Debug, clap::Args)]
pub struct FileArgs {
    /// File with Pods or workloads as YAML or JSON, several documents if need be; - reads standard input
    #[arg(short, long, value_name = "FILE")]
    pub filename: PathBuf,

    /// Folder with SidecarSets, Namespaces and ControllerRevisions as YAML or JSON files
    #[arg(long, env = "SIDECARSET_SIDECARSETS", value_name = "DIR")]
    pub sidecarsets: PathBuf,

    /// Namespace of objects that name none
    #[arg(short, long, value_name = "NAMESPACE", default_value = "default")]
    pub namespace: String,

    /// Switches.
    #[command(flatten)]
    pub judging: JudgingArgs,
}

/// Arguments of `sidecarset inject`.
#[derive(Debug, clap::Args)]
pub struct InjectArgs {
    /// The input.
    #[command(flatten)]
    pub file: FileArgs,

    /// What to print: the objects with their sidecars, or one JSON Patch a Pod
    #[arg(short, long, value_name = "FORMAT", default_value = "yaml")]
    pub output: Output,
}

/// Arguments of `sidecarset explain`.
#[derive(Debug, clap::Args)]
pub struct ExplainArgs {
    /// The input.
    #[command(flatten)]
    pub file: FileArgs,

    /// How to tell it
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    pub output: ExplainOutput,
}

/// Arguments of `sidecarset lint`.
#[derive(Debug, clap::Args)]
pub struct LintArgs {
    /// File with SidecarSets as YAML or JSON, or a folder of such files; - reads standard input. Namespaces, ControllerRevisions and the
    /// ConfigMap kruise-configuration are taken into account, other kinds are skipped
    #[arg(short, long, value_name = "FILE")]
    pub filename: PathBuf,

    /// How to tell it
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    pub output: LintOutput,

    /// Switches.
    #[command(flatten)]
    pub judging: JudgingArgs,
}

/// What `sidecarset lint` prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LintOutput {
    /// For people: each finding with its line.
    Text,
    /// For programs: a list with one object a finding.
    Json,
    /// For code scanning: SARIF 2.1.0.
    Sarif,
}

/// Arguments of `sidecarset crd`.
#[derive(Debug, clap::Args)]
pub struct CrdArgs {
    /// Service of the webhook, which converts between the two versions of the API
    #[arg(long, value_name = "NAMESPACE/NAME", default_value = "sidecarset-system/sidecarset-webhook",
          value_parser = parse_service)]
    pub service: ServiceName,
}

/// Which cluster a person's command asks.
#[derive(Debug, clap::Args)]
pub struct ConnectArgs {
    /// How the API server is reached [default: as kubectl does, KUBECONFIG or ~/.kube/config]
    #[arg(long, value_name = "FILE", global = true)]
    pub kubeconfig: Option<PathBuf>,

    /// Context of the kubeconfig [default: its current one]
    #[arg(long, value_name = "NAME", global = true)]
    pub context: Option<String>,
}

/// Arguments of `sidecarset status`.
#[derive(Debug, clap::Args)]
pub struct StatusArgs {
    /// The SidecarSet [default: all, as a table]
    #[arg(value_parser = parse_name)]
    pub name: Option<String>,

    /// The cluster.
    #[command(flatten)]
    pub connect: ConnectArgs,

    /// Follow the rollout to its end. Exit code 0: it is done as far as partition and updateStrategy.selector let it; 1: it is stuck
    #[arg(short, long, requires = "name")]
    pub watch: bool,

    /// With --watch: give up after this time, with exit code 1 [default: never]
    #[arg(long, value_name = "DURATION", requires = "watch", value_parser = crate::duration::parse)]
    pub timeout: Option<Duration>,

    /// How to tell it; with --watch, JSON is one object a line
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    pub output: ObjectOutput,
}

/// Arguments of `sidecarset rollout`.
#[derive(Debug, clap::Args)]
pub struct RolloutArgs {
    /// The cluster.
    #[command(flatten)]
    pub connect: ConnectArgs,

    /// Namespace of the ControllerRevisions: the controller's --revision-namespace
    #[arg(long, env = "SIDECARSET_REVISION_NAMESPACE", value_name = "NAMESPACE", default_value = "sidecarset-system",
          global = true, value_parser = parse_name)]
    pub revision_namespace: String,

    /// What to do.
    #[command(subcommand)]
    pub command: RolloutCommand,
}

/// What can be done with a rollout.
#[derive(Debug, Subcommand)]
pub enum RolloutCommand {
    /// Update no further Pod until the rollout is resumed; new Pods still get what the set says
    Pause(SetArgs),
    /// Go on after a pause
    Resume(SetArgs),
    /// Go back to an earlier revision: its containers, volumes, pull secrets and Pod metadata; selectors and strategies stay
    Undo(UndoArgs),
    /// List the revisions that are kept, or show one
    History(HistoryArgs),
}

/// Arguments that name one set.
#[derive(Debug, clap::Args)]
pub struct SetArgs {
    /// The SidecarSet
    #[arg(value_parser = parse_name)]
    pub name: String,
}

/// Arguments of `sidecarset rollout undo`.
#[derive(Debug, clap::Args)]
pub struct UndoArgs {
    /// The SidecarSet
    #[arg(value_parser = parse_name)]
    pub name: String,

    /// Number of the revision [default: the newest that the set differs from]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(1..))]
    pub to_revision: Option<i64>,

    /// Let the API server check it, and store nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// Arguments of `sidecarset rollout history`.
#[derive(Debug, clap::Args)]
pub struct HistoryArgs {
    /// The SidecarSet
    #[arg(value_parser = parse_name)]
    pub name: String,

    /// Show this revision whole
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(1..))]
    pub revision: Option<i64>,

    /// How to tell it
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    pub output: ObjectOutput,
}

/// What `sidecarset status` and `sidecarset rollout history` print.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ObjectOutput {
    /// For people.
    Text,
    /// For programs.
    Json,
}

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

/// What `sidecarset explain` prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ExplainOutput {
    /// For people.
    Text,
    /// For programs: a list with one object a Pod or Pod template.
    Json,
}

/// What `sidecarset inject` prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// The documents, as YAML.
    Yaml,
    /// The documents, each as JSON.
    Json,
    /// One line a Pod or Pod template: its JSON Patch, paths relative to the Pod; `[]` if nothing changes.
    Patch,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_is_consistent() {
        Args::command().debug_assert();
    }
}
