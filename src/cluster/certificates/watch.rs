//! Watches of single objects, each in a task of its own.

use std::fmt::Debug;
use std::time::Duration;

use futures_util::StreamExt as _;
use kube::runtime::utils::Backoff as _;
use kube::runtime::watcher::{self, watch_object};
use kube::{Api, Resource};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;

use crate::pauses::Pauses;

/// A watch that has said nothing for so long is begun again. Nothing happens to these objects for months, so a connection that
/// broke without a word would not be noticed.
const SILENCE: Duration = Duration::from_secs(240);

/// What a watch has found.
#[derive(Debug)]
pub(super) enum Found<K> {
    /// The object is there.
    Present(Box<K>),
    /// There is none.
    Absent,
    /// It cannot be watched at the moment.
    Failed(String),
}

/// Sends what happens to an object, as `wrap` makes it, until nobody listens any more.
pub(super) fn follow<K, T>(
    api: Api<K>,
    name: String,
    tx: mpsc::Sender<T>,
    wrap: impl Fn(Found<K>) -> T + Send + 'static,
) where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
    T: Send + 'static,
{
    tokio::spawn(async move {
        let mut pauses = Pauses::default();
        loop {
            let mut stream = std::pin::pin!(watch_object(api.clone(), &name));
            while let Ok(Some(event)) = tokio::time::timeout(SILENCE, stream.next()).await {
                let (found, failed) = match event {
                    Ok(Some(object)) => (Found::Present(Box::new(object)), false),
                    Ok(None) => (Found::Absent, false),
                    // The usual end of what the API server remembers.
                    Err(watcher::Error::WatchError(status)) if status.code == 410 => break,
                    Err(error) => (Found::Failed(error.to_string()), true),
                };
                if tx.send(wrap(found)).await.is_err() {
                    return;
                }
                if failed {
                    // The stream would go on by itself, but tells nothing as long as the object stays as it is: then nobody
                    // would know that it can be watched again. A new one begins with what is there.
                    tokio::time::sleep(pauses.after_failure()).await;
                    break;
                }
                pauses.reset();
            }
        }
    });
}
