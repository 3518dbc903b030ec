//! Signals, and whether the process is on its way out.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::signal::unix::{Signal, SignalKind, signal};

/// True from the first termination signal on: `/readyz` fails and every answer closes its connection.
#[derive(Debug, Default)]
pub struct Draining(AtomicBool);

impl Draining {
    /// Starts the drain. There is no way back.
    pub fn start(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Whether the drain has started.
    #[must_use]
    pub fn started(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// SIGTERM and SIGINT, as one stream.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Starts to listen; from here on these signals do not end the process by themselves. Needs a tokio runtime.
    ///
    /// # Errors
    ///
    /// The operating system refuses the handler.
    pub fn listen() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Waits for the next signal and returns its name.
    pub async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
