//! Three replicas behind the Service, and what may happen to them in their lives.

use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::json;
use tokio::runtime::Handle;

use crate::control_plane::ControlPlane;
use crate::poll;
use crate::service;
use crate::supervisor::Supervisor;

use super::tally::Tally;

/// Where the API server listens.
pub(crate) const API_SERVER: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 1);
/// Where the replicas listen.
pub(crate) const REPLICAS: [Ipv4Addr; 3] =
    [Ipv4Addr::new(10, 1, 0, 2), Ipv4Addr::new(10, 1, 0, 3), Ipv4Addr::new(10, 1, 0, 4)];
/// How long a killed replica stays an endpoint: about as long as a kubelet needs to see it and the endpoint controller to act.
const STILL_LISTED: Duration = Duration::from_secs(2);
/// Until an API server has heard of a changed EndpointSlice.
const HEARD: Duration = Duration::from_millis(500);

/// The replicas that are endpoints now.
pub(crate) type Listed = Arc<Mutex<Vec<Ipv4Addr>>>;

/// The replicas.
pub(crate) struct Fleet<'a> {
    plane: &'a ControlPlane,
    tally: &'a Tally,
    slices: Api<EndpointSlice>,
    runtime: Handle,
    pub(crate) listed: Listed,
    pids: Mutex<[u32; 3]>,
    certificate: Mutex<u32>,
}

impl<'a> Fleet<'a> {
    /// Starts all replicas, none of which is an endpoint yet. The Service and its EndpointSlice are there.
    pub(crate) fn new(
        plane: &'a ControlPlane,
        tally: &'a Tally,
        client: kube::Client,
        runtime: Handle,
    ) -> Result<Self, String> {
        let slices = Api::namespaced(client, service::NAMESPACE);
        let fleet = Self {
            plane,
            tally,
            slices,
            runtime,
            listed: Listed::default(),
            pids: Mutex::default(),
            certificate: Mutex::default(),
        };
        fleet.mount_certificate()?;
        for number in 0..REPLICAS.len() {
            fleet.start(number)?;
        }
        Ok(fleet)
    }

    /// The folder of the replicas' SidecarSets.
    pub(crate) fn sidecarsets(plane: &ControlPlane) -> PathBuf {
        plane.folder.join("sidecarsets")
    }

    fn start(&self, number: usize) -> Result<(), String> {
        let address = REPLICAS[number];
        let command = [
            env!("CARGO_BIN_EXE_sidecarset").to_owned(),
            "webhook".to_owned(),
            format!("--sidecarsets={}", Self::sidecarsets(self.plane).display()),
            format!("--cert-dir={}", self.certificates().display()),
            format!("--listen={address}:{}", service::PORT),
            format!("--probe-listen={address}:8081"),
            "--shutdown-delay=3s".to_owned(),
            "--connection-age=10s".to_owned(),
            "--log-format=json".to_owned(),
        ];
        let pid = self.plane.supervisor.start(&name(number), &command)?;
        self.plane.await_ready(&name(number), pid, || {
            self.plane.http_get(&format!("http://{address}:8081/readyz")).map(|_| ())
        })?;
        self.pids.lock().unwrap_or_else(PoisonError::into_inner)[number] = pid;
        self.list(|listed| listed.push(address))
    }

    /// Changes who is an endpoint, for the API server and then for the clients that imitate one.
    fn list(&self, change: impl FnOnce(&mut Vec<Ipv4Addr>)) -> Result<(), String> {
        let mut listed = self.listed.lock().unwrap_or_else(PoisonError::into_inner).clone();
        change(&mut listed);
        let endpoints = service::endpoints(&listed)["endpoints"].take();
        let patch = Patch::Merge(json!({"endpoints": endpoints}));
        let params = PatchParams::default();
        let written = self.slices.patch(service::NAME, &params, &patch);
        self.runtime.block_on(written).map_err(|error| format!("endpoints: {error}"))?;
        *self.listed.lock().unwrap_or_else(PoisonError::into_inner) = listed;
        Ok(())
    }

    fn unlist(&self, number: usize) -> Result<(), String> {
        self.list(|listed| listed.retain(|address| *address != REPLICAS[number]))
    }

    fn pid(&self, number: usize) -> u32 {
        self.pids.lock().unwrap_or_else(PoisonError::into_inner)[number]
    }

    /// What a rolling update does: SIGTERM and removal from the endpoints at the same time, then a new one.
    pub(crate) fn restart(&self, number: usize) -> Result<(), String> {
        let start = Instant::now();
        let (unlisted, status) = thread::scope(|scope| {
            let unlisted = scope.spawn(|| self.unlist(number));
            let status = self.plane.supervisor.stop(&name(number));
            (unlisted.join().unwrap(), status)
        });
        let (drained, status) = (start.elapsed(), unlisted.and(status)?);
        if status != 0 {
            return Err(format!("{} ended its drain with status {status}", name(number)));
        }
        self.start(number)?;
        self.told(start, &format!("{} restarted, drained after {drained:.1?}", name(number)));
        Ok(())
    }

    /// What a crash does: the address stays an endpoint for a while.
    pub(crate) fn kill(&self, number: usize) -> Result<(), String> {
        let start = Instant::now();
        Supervisor::signal(self.pid(number), "KILL")?;
        thread::sleep(STILL_LISTED);
        self.unlist(number)?;
        self.tally.killed(start, Instant::now() + HEARD);
        self.plane.supervisor.stop(&name(number))?;
        self.start(number)?;
        self.told(start, &format!("{} killed and started again", name(number)));
        Ok(())
    }

    /// A new serving certificate in the mounted Secret; waits until every replica serves it.
    pub(crate) fn rotate(&self) -> Result<(), String> {
        let start = Instant::now();
        let before: Vec<usize> = (0..REPLICAS.len()).map(|number| self.replaced(number)).collect();
        self.mount_certificate()?;
        for (number, before) in before.into_iter().enumerate() {
            poll::until("the new certificate to be served", Duration::from_secs(30), || {
                if self.replaced(number) > before { Ok(()) } else { Err("the old one".to_owned()) }
            })?;
        }
        self.told(start, "certificate rotated");
        Ok(())
    }

    /// How often a replica has said that it serves another certificate.
    fn replaced(&self, number: usize) -> usize {
        self.plane.supervisor.log(&name(number)).matches("serving certificate replaced").count()
    }

    /// Writes a new pair and points to it, as a kubelet does with a Secret.
    fn mount_certificate(&self) -> Result<(), String> {
        let mut generation = self.certificate.lock().unwrap_or_else(PoisonError::into_inner);
        *generation += 1;
        let (folder, data) = (self.certificates(), format!("..{generation}"));
        self.plane.authority.server(&folder.join(&data), &[service::HOST])?;
        let told = |error: std::io::Error| format!("{}: {error}", folder.display());
        symlink(&data, folder.join("..next")).map_err(told)?;
        fs::rename(folder.join("..next"), folder.join("..data")).map_err(told)?;
        if *generation == 1 {
            for file in ["tls.crt", "tls.key"] {
                symlink(format!("..data/{file}"), folder.join(file)).map_err(told)?;
            }
        }
        Ok(())
    }

    fn certificates(&self) -> PathBuf {
        self.plane.folder.join("certificates")
    }

    pub(crate) fn restart_api_server(&self) -> Result<(), String> {
        let start = Instant::now();
        self.plane.restart_api_server()?;
        self.told(start, "API server restarted");
        Ok(())
    }

    fn told(&self, start: Instant, what: &str) {
        self.tally.event(format!("{what}, {:.1?}", start.elapsed()));
    }

    /// How often each replica answered for a Pod.
    pub(crate) fn answered(&self) -> Vec<usize> {
        let answers = |number| self.plane.supervisor.log(&name(number)).matches("\"admission.uid\"").count();
        (0..REPLICAS.len()).map(answers).collect()
    }

    /// What the replicas have logged beside admissions, for a failure message.
    pub(crate) fn logs(&self) -> String {
        let of = |number| {
            let log = self.plane.supervisor.log(&name(number));
            let lines: Vec<&str> = log.lines().filter(|line| !line.contains("\"admission.uid\"")).collect();
            let from = lines.len().saturating_sub(15);
            format!("{}:\n    {}", name(number), lines[from..].join("\n    "))
        };
        (0..REPLICAS.len()).map(of).collect::<Vec<_>>().join("\n")
    }
}

/// The name of a replica's program.
fn name(number: usize) -> String {
    format!("replica_{}", number + 1)
}
