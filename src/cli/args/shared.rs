//! Arguments that several commands have in common.

use std::path::PathBuf;

use clap::ValueEnum;
use sidecarset_core::validation::Options;
use tracing::level_filters::LevelFilter;

use super::values::{Gates, parse_feature_gates, parse_level};
use crate::telemetry::LogFormat;

/// Where the settings of a server come from, besides flags and environment.
#[derive(Debug, clap::Args)]
pub struct ConfigArgs {
    /// YAML file with settings: the names of these flags without their dashes. What is typed or in the environment wins
    #[arg(long, env = "SIDECARSET_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Print every setting as such a file, with where its value comes from, and end
    #[arg(long)]
    pub print_config: bool,
}

/// What a server writes to its log.
#[derive(Debug, clap::Args)]
pub struct LogArgs {
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

/// What `sidecarset status` and `sidecarset rollout history` print.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ObjectOutput {
    /// For people.
    Text,
    /// For programs.
    Json,
}
