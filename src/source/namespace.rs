//! Live reads of a namespace that the Snapshot does not know: one for all who ask at once. Decision: D-23.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use rustc_hash::FxHashMap;
use sidecarset_core::snapshot::LabelList;
use tokio::runtime::Handle;

use crate::metrics::{LiveReadResult, Metrics};

/// Longest wait for the API server. Those who ask stop waiting at their own deadlines; this bounds what a read that nobody waits for
/// any more can hold.
const READ_LIMIT: Duration = Duration::from_secs(10);

/// What the API server said about a namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LiveRead {
    /// It exists and has these labels.
    Labels(LabelList),
    /// There is definitely none of that name.
    NotFound,
}

/// Why nothing is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadError {
    /// For people: what failed. Does not name the namespace.
    pub message: String,
    /// Whether another try can help.
    pub retry: bool,
}

/// The end of a read.
pub type ReadResult = Result<LiveRead, ReadError>;

/// Reads the labels of one namespace from the API server.
pub trait ReadNamespace: fmt::Debug + Send + Sync {
    /// Makes one call.
    fn read(&self, name: &str) -> BoxFuture<'static, ReadResult>;
}

type UnderWay = Mutex<FxHashMap<String, Shared<BoxFuture<'static, ReadResult>>>>;

/// Reads each namespace once for all who ask while the read is under way. A read goes on when the one who asked first has gone.
#[derive(Debug)]
pub struct SharedReads {
    reader: Arc<dyn ReadNamespace>,
    /// Where the calls are made: not on the threads that answer admissions.
    runtime: Handle,
    metrics: Arc<Metrics>,
    under_way: Arc<UnderWay>,
}

impl SharedReads {
    /// Reads with `reader` on `runtime`.
    #[must_use]
    pub fn new(reader: Arc<dyn ReadNamespace>, runtime: Handle, metrics: Arc<Metrics>) -> Self {
        Self { reader, runtime, metrics, under_way: Arc::default() }
    }

    /// What the API server says about a namespace; takes 10 s at most.
    ///
    /// # Errors
    ///
    /// Everything but labels and a definite "not found".
    pub async fn read(&self, name: &str) -> ReadResult {
        let read = {
            let mut under_way = lock(&self.under_way);
            match under_way.get(name) {
                Some(read) => read.clone(),
                None => {
                    let read = self.start(name);
                    under_way.insert(name.to_owned(), read.clone());
                    read
                }
            }
        };
        read.await
    }

    fn start(&self, name: &str) -> Shared<BoxFuture<'static, ReadResult>> {
        let (call, metrics) = (self.reader.read(name), Arc::clone(&self.metrics));
        let entry = Entry { under_way: Arc::clone(&self.under_way), name: name.to_owned() };
        let read = self.runtime.spawn(async move {
            let _entry = entry;
            let result = tokio::time::timeout(READ_LIMIT, call).await.unwrap_or_else(|_elapsed| {
                let message = format!("the API server did not answer within {} s", READ_LIMIT.as_secs());
                Err(ReadError { message, retry: true })
            });
            metrics.watch.live_read(match &result {
                Ok(LiveRead::Labels(_)) => LiveReadResult::Found,
                Ok(LiveRead::NotFound) => LiveReadResult::NotFound,
                Err(_) => LiveReadResult::Failed,
            });
            result
        });
        let ended = |_| Err(ReadError { message: "the read was given up".to_owned(), retry: true });
        read.map(move |joined| joined.unwrap_or_else(ended)).boxed().shared()
    }
}

/// A read under way. Its end takes it off the list: whoever asks then wants to know how it is then.
struct Entry {
    under_way: Arc<UnderWay>,
    name: String,
}

impl Drop for Entry {
    fn drop(&mut self) {
        lock(&self.under_way).remove(&self.name);
    }
}

fn lock(under_way: &UnderWay) -> MutexGuard<'_, FxHashMap<String, Shared<BoxFuture<'static, ReadResult>>>> {
    under_way.lock().unwrap_or_else(PoisonError::into_inner)
}
