//! Where Snapshots come from, and how the newest one reaches admissions.

pub mod documents;
pub mod files;
pub mod folder;
pub mod located;
pub mod namespace;
pub mod publish;
pub mod reload;
pub mod stored;
pub mod watch;
