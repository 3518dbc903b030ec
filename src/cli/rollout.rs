//! `sidecarset rollout`: pause, resume, undo and history of a SidecarSet, in kubectl's manner.

mod history;

use std::process::ExitCode;

use k8s_openapi::api::apps::v1::ControllerRevision;
use kube::api::{DynamicObject, ListParams, Patch, PatchParams};
use kube::{Api, Client};
use serde_json::{Value, json};

use super::FINDINGS;
use super::args::{HistoryArgs, RolloutArgs, RolloutCommand, SetArgs, UndoArgs};
use super::on_cluster::on_cluster;
use super::printer::Printer;
use crate::cluster::objects;

/// Who changes fields, in `managedFields`.
const FIELD_MANAGER: &str = "sidecarset-rollout";

/// Why a command did nothing.
#[derive(Debug, thiserror::Error)]
enum RolloutError {
    #[error("sidecarset \"{0}\" is already paused")]
    AlreadyPaused(String),
    #[error("sidecarset \"{0}\" is not paused")]
    NotPaused(String),
    #[error(transparent)]
    History(#[from] history::HistoryError),
    #[error("{0}")]
    Api(#[from] kube::Error),
}

/// Does what was asked for. Exit code: 0 done, 1 it could not be done in the cluster, 2 the cluster cannot be asked.
pub fn run(args: &RolloutArgs, printer: &mut Printer) -> ExitCode {
    on_cluster(&args.connect, "rollout", printer, async |client, printer| {
        let rollout = Rollout::new(client, &args.revision_namespace);
        match rollout.run(&args.command).await {
            Ok(text) => match printer.data(&text) {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => printer.cannot_write(&error),
            },
            // No answer of an API server: the connection is made with the first call.
            Err(RolloutError::Api(error)) if !matches!(error, kube::Error::Api(_)) => {
                printer.cannot_run(&error)
            }
            Err(error) => {
                printer.note(format_args!("error: {error}"));
                ExitCode::from(FINDINGS)
            }
        }
    })
}

struct Rollout {
    sets: Api<DynamicObject>,
    revisions: Api<ControllerRevision>,
}

impl Rollout {
    fn new(client: Client, revision_namespace: &str) -> Self {
        let revisions = objects::revisions(client.clone(), revision_namespace);
        Self { sets: objects::sidecar_sets(client), revisions }
    }

    /// Runs one command and gives what is to be printed.
    async fn run(&self, command: &RolloutCommand) -> Result<String, RolloutError> {
        match command {
            RolloutCommand::Pause(SetArgs { name }) => {
                let set = self.sets.get(name).await?;
                if is_paused(&set) {
                    return Err(RolloutError::AlreadyPaused(name.clone()));
                }
                self.patch(name, pause(true), false).await?;
                Ok(done(name, "paused"))
            }
            RolloutCommand::Resume(SetArgs { name }) => {
                let set = self.sets.get(name).await?;
                if !is_paused(&set) {
                    return Err(RolloutError::NotPaused(name.clone()));
                }
                self.patch(name, pause(false), false).await?;
                Ok(done(name, "resumed"))
            }
            RolloutCommand::History(HistoryArgs { name, revision, output }) => {
                let set = self.sets.get(name).await?;
                let revisions = self.revisions_of(name).await?;
                Ok(history::print(&set, &revisions, *revision, *output)?)
            }
            RolloutCommand::Undo(args) => self.undo(args).await,
        }
    }

    async fn undo(&self, args: &UndoArgs) -> Result<String, RolloutError> {
        let UndoArgs { name, to_revision, dry_run } = args;
        let set = self.sets.get(name).await?;
        let revisions = self.revisions_of(name).await?;
        let target = history::target(&set, &revisions, *to_revision)?;
        let number = history::number(target);
        if history::is_current(&set, target) {
            let text = format!("skipped rollback (the set already matches revision {number})");
            return Ok(done(name, &text));
        }
        self.patch(name, history::undo(&set, target)?, *dry_run).await?;
        let what = if *dry_run { " (server dry run)" } else { "" };
        Ok(done(name, &format!("rolled back to revision {number}{what}")))
    }

    async fn revisions_of(&self, name: &str) -> Result<Vec<ControllerRevision>, kube::Error> {
        let selected = ListParams::default().labels(&objects::revisions_of(name));
        Ok(self.revisions.list(&selected).await?.items)
    }

    async fn patch(&self, name: &str, patch: Value, dry_run: bool) -> Result<(), kube::Error> {
        let params =
            PatchParams { dry_run, field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        self.sets.patch(name, &params, &Patch::Merge(patch)).await.map(drop)
    }
}

fn done(name: &str, what: &str) -> String {
    format!("sidecarset.apps.kruise.io/{name} {what}\n")
}

fn is_paused(set: &DynamicObject) -> bool {
    set.data["spec"]["updateStrategy"]["paused"] == true
}

/// Rule: C-CTL-21.7.
fn pause(paused: bool) -> Value {
    json!({"spec": {"updateStrategy": {"paused": paused}}})
}
