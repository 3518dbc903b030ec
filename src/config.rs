//! Arguments, checked and completed: after this nothing is optional by accident.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use sidecarset_core::context::Features;
use sidecarset_core::validation::Options;
use tracing::level_filters::LevelFilter;

use crate::cli::args::WebhookArgs;
use crate::telemetry::LogFormat;

/// Everything that `sidecarset webhook` needs to know.
#[derive(Debug)]
pub struct ServeConfig {
    /// Address of the HTTPS server.
    pub listen: SocketAddr,
    /// Address of the probe server.
    pub probe_listen: SocketAddr,
    /// Folder with the SidecarSets.
    pub sidecarsets: PathBuf,
    /// Where the serving certificate comes from.
    pub certificate: CertificateConfig,
    /// Requests that are answered at a time.
    pub max_in_flight: usize,
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

/// Where the serving certificate comes from.
#[derive(Debug)]
pub enum CertificateConfig {
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
    /// Checks what clap cannot check alone.
    ///
    /// # Errors
    ///
    /// A text that names the flag, what was found and what would be right.
    pub fn from_args(args: WebhookArgs) -> Result<Self, String> {
        let WebhookArgs {
            listen,
            probe_listen,
            sidecarsets,
            cert_dir,
            cert_host,
            ca_out,
            max_in_flight,
            shutdown_delay,
            log_format,
            log_level,
            workers,
            judging,
        } = args;
        if listen == probe_listen && listen.port() != 0 {
            return Err(format!("--probe-listen is {listen}, and so is --listen; give it another port"));
        }
        let certificate = match cert_dir {
            Some(dir) => CertificateConfig::Folder(dir),
            None => CertificateConfig::SelfMade { hosts: hosts(cert_host), ca_out },
        };
        Ok(Self {
            listen,
            probe_listen,
            sidecarsets,
            certificate,
            max_in_flight: usize::try_from(max_in_flight).unwrap_or(usize::MAX),
            shutdown_delay,
            log_format,
            log_level,
            workers: usize::from(workers),
            features: judging.feature_gates.features,
            validation: judging.options(),
        })
    }
}

fn hosts(given: Vec<String>) -> Vec<String> {
    if given.is_empty() { ["localhost", "127.0.0.1", "::1"].map(str::to_owned).to_vec() } else { given }
}
