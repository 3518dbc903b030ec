//! What can be typed: types for clap, nothing else.

mod controller;
mod files;
mod preflight;
mod rollout;
mod shared;
mod values;
mod webhook;

use clap::{Parser, Subcommand};

pub use controller::ControllerArgs;
pub use files::{CrdArgs, ExplainArgs, ExplainOutput, FileArgs, InjectArgs, LintArgs, LintOutput, Output};
pub use preflight::{PreflightArgs, PreflightOutput};
pub use rollout::{HistoryArgs, RolloutArgs, RolloutCommand, SetArgs, StatusArgs, UndoArgs};
pub use shared::{ConfigArgs, ConnectArgs, JudgingArgs, LogArgs, ObjectOutput};
pub use values::{Gates, ServiceName};
pub use webhook::{ClusterArgs, WebhookArgs};

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

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_is_consistent() {
        Args::command().debug_assert();
    }
}
