//! Arguments of `sidecarset status` and `sidecarset rollout`.

use std::time::Duration;

use clap::Subcommand;

use super::shared::{ConnectArgs, ObjectOutput};
use super::values::parse_name;

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

    /// With --watch: the rollout is stuck if no further Pod is updated or becomes ready for so long
    #[arg(long, value_name = "DURATION", default_value = "10m", requires = "watch", value_parser = crate::duration::parse)]
    pub progress_deadline: Duration,

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
