//! Arguments of `sidecarset webhook`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::shared::{ConfigArgs, JudgingArgs, LogArgs};
use super::values::{
    parse_address, parse_bytes, parse_collector, parse_host, parse_label, parse_name, parse_number,
};

/// Arguments of `sidecarset webhook`.
#[derive(Debug, clap::Args)]
pub struct WebhookArgs {
    /// The file.
    #[command(flatten)]
    pub config: ConfigArgs,

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

    /// Memory for bodies of requests that are answered at a time, beyond the first 32 KiB of each, and for reading them; who needs more gets 503 with
    /// Retry-After. At least what the largest request needs
    #[arg(long, env = "SIDECARSET_MAX_BODY_BYTES_IN_FLIGHT", value_name = "BYTES", default_value = "64Mi",
          value_parser = parse_bytes::<32, 1_048_576>)]
    pub max_body_bytes_in_flight: usize,

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

    /// The log.
    #[command(flatten)]
    pub log: LogArgs,

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
