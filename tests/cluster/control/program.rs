//! `sidecarset controller` as a program beside the control plane.

use std::path::Path;
use std::time::{Duration, Instant};

use super::api::SYSTEM;
use crate::control_plane::ControlPlane;
use crate::supervisor::Supervisor;

/// A short Lease, so that another replica takes over soon.
pub(super) const LEASE: Duration = Duration::from_secs(3);
pub(super) const LEASE_FLAG: &str = "--lease-duration=3s";

pub(super) struct Program<'p> {
    plane: &'p ControlPlane,
    name: String,
    pid: u32,
}

impl<'p> Program<'p> {
    /// Starts it under this name, which no other program of the control plane may have had.
    pub(super) fn start(plane: &'p ControlPlane, name: &str, kubeconfig: &Path, flags: &[&str]) -> Self {
        let mut command: Vec<String> = vec![
            env!("CARGO_BIN_EXE_sidecarset").to_owned(),
            "controller".to_owned(),
            format!("--kubeconfig={}", kubeconfig.display()),
            format!("--namespace={SYSTEM}"),
            "--terminator".to_owned(),
            "--probe-listen=127.0.0.1:0".to_owned(),
        ];
        command.extend(flags.iter().map(|flag| (*flag).to_owned()));
        let pid = plane.supervisor.start(name, &command).unwrap();
        Self { plane, name: name.to_owned(), pid }
    }

    pub(super) fn signal(&self, name: &str) {
        self.try_signal(name).unwrap();
    }

    /// The same for one that may have ended by itself.
    pub(super) fn try_signal(&self, name: &str) -> Result<(), String> {
        Supervisor::signal(self.pid, name)
    }

    pub(super) fn has_ended(&self) -> bool {
        Supervisor::ended(self.pid)
    }

    pub(super) fn log(&self) -> String {
        self.plane.supervisor.log(&self.name)
    }

    /// Waits until it leads. The log is a program's word for it; nothing is written before.
    pub(super) async fn await_lead(&self, limit: Duration) {
        let start = Instant::now();
        while !self.log().contains("this replica leads") {
            assert!(start.elapsed() < limit && !self.has_ended(), "does not lead:\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until it has seen the whole cluster: it could lead.
    pub(super) async fn await_ready(&self, limit: Duration) {
        let start = Instant::now();
        while self.get("/readyz").is_none() {
            assert!(start.elapsed() < limit && !self.has_ended(), "does not become ready:\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// The body at a path of its probes and metrics, if there is one.
    fn get(&self, path: &str) -> Option<String> {
        let log = self.log();
        let told = log.split_whitespace().find_map(|word| word.strip_suffix("/readyz?verbose"))?;
        self.plane.http_get(&format!("{told}{path}")).ok()
    }

    pub(super) fn pid(&self) -> u32 {
        self.pid
    }

    /// Waits until it ends by itself and gives its exit status.
    pub(super) async fn await_end(&self, limit: Duration) -> i32 {
        let start = Instant::now();
        while !self.has_ended() {
            assert!(start.elapsed() < limit, "{} does not end:\n{}", self.name, self.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.plane.supervisor.stop(&self.name).unwrap()
    }

    /// How many of its writes of Pods were refused because the Pod had changed, from its metrics.
    pub(super) fn conflicts(&self) -> u64 {
        let metrics = self.get("/metrics").unwrap_or_default();
        let counts = metrics
            .lines()
            .filter(|line| line.starts_with("sidecarset_controller_pod_writes") && line.contains("conflict"))
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
        counts.sum::<f64>() as u64
    }
}
