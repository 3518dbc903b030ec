//! Keeps the Snapshot equal to its folder. A folder that does not load leaves the last good Snapshot in place.

use std::path::PathBuf;
use std::sync::Arc;

use sidecarset_core::snapshot::Snapshot;
use sidecarset_core::validation::Options;

use super::folder::{self, Files, Loaded, Problem};
use super::publish::Published;

/// What a look at the folder found.
#[derive(Debug, PartialEq, Eq)]
pub enum Change {
    /// The Snapshot is equal to the folder.
    None,
    /// A new Snapshot was published, with this many sets.
    Published(usize),
    /// The folder changed into something that does not load; the Snapshot before stays.
    Failed(Vec<Problem>),
    /// The folder still has the contents that failed before.
    StillFailed,
}

/// Publishes the Snapshot of a folder, and again whenever the content of the folder changes.
#[derive(Debug)]
pub struct FolderSource {
    dir: PathBuf,
    published: Arc<Published>,
    options: Options,
    /// What was tried last, and whether it is now published. An unreadable folder has its problems as content.
    tried: Option<(Content, bool)>,
}

#[derive(Debug, PartialEq, Eq)]
enum Content {
    Readable(u64),
    Unreadable(Vec<Problem>),
}

impl FolderSource {
    /// The folder `dir`, validated with `options`; nothing is read yet.
    #[must_use]
    pub fn new(dir: PathBuf, published: Arc<Published>, options: Options) -> Self {
        Self { dir, published, options, tried: None }
    }

    /// Looks at the folder once: reads it whole, and loads it if anything changed. Warnings of a folder that loads are logged.
    pub fn check(&mut self) -> Change {
        let files = Files::read(&self.dir);
        let content = match &files {
            Ok(files) => Content::Readable(files.fingerprint()),
            Err(problems) => Content::Unreadable(problems.clone()),
        };
        if let Some((tried, good)) = &self.tried
            && *tried == content
        {
            return if *good { Change::None } else { Change::StillFailed };
        }
        let loaded = files.and_then(|files| folder::load(&files, self.options));
        self.tried = Some((content, loaded.is_ok()));
        match loaded {
            Ok(Loaded { parts, cluster, warnings, origins: _ }) => {
                for warning in warnings {
                    tracing::warn!(%warning, "a SidecarSet is accepted and probably not meant as it is");
                }
                let snapshot = Snapshot::new(parts);
                let sets = snapshot.set_count();
                self.published.publish(snapshot, cluster);
                Change::Published(sets)
            }
            Err(problems) => Change::Failed(problems),
        }
    }
}
