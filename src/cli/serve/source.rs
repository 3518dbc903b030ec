//! Which source of SidecarSets the webhook has, and how it is kept up to date.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sidecarset_core::validation::Options;

use super::every;
use crate::clock::since_1970;
use crate::cluster::client;
use crate::cluster::events::{self, Recorder};
use crate::config::{ClusterConfig, ServeConfig, SourceConfig};
use crate::metrics::Metrics;
use crate::server::probes::{Check, Health};
use crate::source::namespace::SharedReads;
use crate::source::publish::Published;
use crate::source::reload::{Change, FolderSource};
use crate::source::watch::live::LiveNamespaces;
use crate::source::watch::{self, Scope};

/// How often the folder of SidecarSets is compared with the Snapshot.
const FOLDER_POLL: Duration = Duration::from_secs(1);

/// How often the metrics tell the age of the data.
const AGE_POLL: Duration = Duration::from_secs(1);

/// A source that was started.
#[derive(Default)]
pub(super) struct Started {
    /// Its conditions of readiness.
    pub(super) checks: Vec<Check>,
    /// Where a namespace is read that the Snapshot does not know.
    pub(super) namespaces: Option<SharedReads>,
    /// Who tells the owners of sets about faults; without a cluster there is nobody to tell.
    pub(super) events: Option<Recorder>,
}

/// Starts what keeps the Snapshot up to date.
///
/// # Errors
///
/// The folder does not load, or there is no client for the cluster.
pub(super) async fn start(
    config: &ServeConfig,
    published: &Arc<Published>,
    metrics: &Arc<Metrics>,
) -> Result<Started, String> {
    match &config.source {
        SourceConfig::Folder(dir) => {
            let source = load(dir, config.validation, published, metrics)?;
            let metrics = Arc::clone(metrics);
            tokio::spawn(every(FOLDER_POLL, source, move |source| look(source, &metrics)));
            Ok(Started::default())
        }
        SourceConfig::Cluster(cluster) => watch_cluster(cluster, published, metrics).await,
    }
}

async fn watch_cluster(
    config: &ClusterConfig,
    published: &Arc<Published>,
    metrics: &Arc<Metrics>,
) -> Result<Started, String> {
    let client = client::connect(config.kubeconfig.as_deref(), "webhook");
    let client = client.await.map_err(|error| error.to_string())?;
    let scope = Scope {
        namespace: config.identity.namespace.clone(),
        revision_namespace: config.revision_namespace.clone(),
    };
    let health = watch::start(&client, &scope, published, metrics);
    let (for_metrics, for_check) = (Arc::clone(metrics), Arc::clone(&health));
    tokio::spawn(every(AGE_POLL, health, move |health| {
        if let Some(age) = health.age(Instant::now()) {
            for_metrics.watch.snapshot_age.set(age.as_secs_f64());
            for_metrics.source_last_success.set(since_1970().as_secs_f64() - age.as_secs_f64());
        }
    }));
    // The API server being away later is no reason to take a webhook out of service that goes on answering.
    let check = Check::new("watches", move || Health {
        holds: for_check.is_complete(),
        detail: for_check.describe(Instant::now()),
    });
    let (events, writing) = events::recorder(client.clone(), config.identity.clone(), metrics.events.clone());
    tokio::spawn(writing);
    let reader = Arc::new(LiveNamespaces::new(client));
    let reads = SharedReads::new(reader, tokio::runtime::Handle::current(), Arc::clone(metrics));
    Ok(Started { checks: vec![check], namespaces: Some(reads), events: Some(events) })
}

/// Loads the folder for the first time: what does not load now is an error, not a state to keep.
fn load(
    dir: &Path,
    options: Options,
    published: &Arc<Published>,
    metrics: &Metrics,
) -> Result<FolderSource, String> {
    let mut source = FolderSource::new(dir.to_owned(), Arc::clone(published), options);
    match source.check() {
        Change::Published(sets) => note_published(sets, metrics),
        Change::Failed(problems) => {
            let mut text = format!("--sidecarsets {}: {} problem(s)", dir.display(), problems.len());
            for problem in problems {
                // Writing to a String does not fail.
                let _ = write!(text, "\n  {problem}");
            }
            return Err(text);
        }
        Change::None | Change::StillFailed => {}
    }
    Ok(source)
}

fn look(source: &mut FolderSource, metrics: &Metrics) {
    match source.check() {
        Change::None => {
            metrics.source_last_success.set(since_1970().as_secs_f64());
        }
        Change::Published(sets) => note_published(sets, metrics),
        Change::Failed(problems) => {
            metrics.source_reload_failures.inc();
            for problem in problems {
                tracing::error!(%problem, "the folder of SidecarSets does not load; the last good state stays");
            }
        }
        Change::StillFailed => {}
    }
}

fn note_published(sets: usize, metrics: &Metrics) {
    metrics.sidecarsets.set(i64::try_from(sets).unwrap_or(i64::MAX));
    metrics.source_last_success.set(since_1970().as_secs_f64());
    if sets == 0 {
        tracing::warn!("the folder holds no SidecarSet: no Pod will be changed");
    } else {
        tracing::info!(sets, "SidecarSets loaded");
    }
}
