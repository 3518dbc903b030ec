//! Arguments of the commands that work on files: `inject`, `explain`, `lint`, `crd`.

use std::path::PathBuf;

use clap::ValueEnum;

use super::shared::JudgingArgs;
use super::values::{ServiceName, parse_service};

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

/// What `sidecarset explain` prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ExplainOutput {
    /// For people.
    Text,
    /// For programs: a list with one object a Pod or Pod template.
    Json,
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
