//! Which source of SidecarSets the webhook has, and how it is kept up to date.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sidecarset_core::validation::Options;

use super::{every, unix_now};
use crate::config::{ServeConfig, SourceConfig};
use crate::metrics::Metrics;
use crate::server::probes::Check;
use crate::source::publish::Published;
use crate::source::reload::{Change, FolderSource};

/// How often the folder of SidecarSets is compared with the Snapshot.
const FOLDER_POLL: Duration = Duration::from_secs(1);

/// Starts what keeps the Snapshot up to date, and gives its conditions of readiness.
///
/// # Errors
///
/// The folder does not load, or the cluster cannot be asked.
pub(super) fn start(
    config: &ServeConfig,
    published: &Arc<Published>,
    metrics: &Arc<Metrics>,
) -> Result<Vec<Check>, String> {
    match &config.source {
        SourceConfig::Folder(dir) => {
            let source = load(dir, config.validation, published, metrics)?;
            let metrics = Arc::clone(metrics);
            tokio::spawn(every(FOLDER_POLL, source, move |source| look(source, &metrics)));
            Ok(Vec::new())
        }
        SourceConfig::Cluster(_) => {
            Err("a cluster cannot be a source yet; name a folder with --sidecarsets".to_owned())
        }
    }
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
            metrics.source_last_success.set(unix_now());
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
    metrics.source_last_success.set(unix_now());
    if sets == 0 {
        tracing::warn!("the folder holds no SidecarSet: no Pod will be changed");
    } else {
        tracing::info!(sets, "SidecarSets loaded");
    }
}
