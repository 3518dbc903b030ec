//! Three replicas behind the Service, and what may happen to them in their lives.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::json;
use tokio::runtime::Handle;

use sidecarset::tls::managed::contents::{ROTATE, ROTATED, STAGE};

use crate::control_plane::ControlPlane;
use crate::poll;
use crate::service;
use crate::supervisor::Supervisor;

use super::excuse::{Fate, Gone};
use super::tally::Tally;

/// The service account of the manifests, as the API server knows it.
const USER: &str = "system:serviceaccount:sidecarset-system:sidecarset-webhook";
/// Where the API server listens.
pub(crate) const API_SERVER: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 1);
/// Where the replicas listen.
pub(crate) const REPLICAS: [Ipv4Addr; 3] =
    [Ipv4Addr::new(10, 1, 0, 2), Ipv4Addr::new(10, 1, 0, 3), Ipv4Addr::new(10, 1, 0, 4)];
/// The Secret with the managed certificates.
const SECRET: &str = "sidecarset-webhook-certificate";
/// How long a replica goes on serving after SIGTERM.
const SHUTDOWN_DELAY: Duration = Duration::from_secs(5);
/// How long a killed replica stays an endpoint: about as long as a kubelet needs to see it and the endpoint controller to act.
const STILL_LISTED: Duration = Duration::from_secs(2);
/// Until clients have used each connection to a lost machine once, and waited for an answer in vain.
const FORGOTTEN: Duration = Duration::from_secs(30);
/// Go probes idle connections every 15 s.
const PROBED: Duration = Duration::from_secs(17);
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
    secrets: Api<Secret>,
    rotations: AtomicU32,
    rotating: Mutex<Option<Instant>>,
    connection_age: Duration,
}

impl<'a> Fleet<'a> {
    /// Starts all replicas, one after the other. The manifests and an EndpointSlice are there.
    pub(crate) fn new(
        plane: &'a ControlPlane,
        tally: &'a Tally,
        client: kube::Client,
        runtime: Handle,
        connection_age: Duration,
    ) -> Result<Self, String> {
        let slices = Api::namespaced(client.clone(), service::NAMESPACE);
        let fleet = Self {
            plane,
            tally,
            slices,
            runtime,
            listed: Listed::default(),
            pids: Mutex::default(),
            secrets: Api::namespaced(client, service::NAMESPACE),
            rotations: AtomicU32::default(),
            rotating: Mutex::default(),
            connection_age,
        };
        for number in 0..REPLICAS.len() {
            fleet.start(number)?;
        }
        Ok(fleet)
    }

    fn start(&self, number: usize) -> Result<(), String> {
        let address = REPLICAS[number];
        let command = [
            env!("CARGO_BIN_EXE_sidecarset").to_owned(),
            "webhook".to_owned(),
            format!("--kubeconfig={}", self.plane.kubeconfig_of(USER).display()),
            format!("--namespace={}", service::NAMESPACE),
            "--certificate-settle=2s".to_owned(),
            format!("--listen={address}:{}", service::PORT),
            format!("--probe-listen={address}:8081"),
            format!("--shutdown-delay={}s", SHUTDOWN_DELAY.as_secs()),
            format!("--connection-age={}s", self.connection_age.as_secs()),
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
            let unlisted = scope.spawn(|| self.unlist(number).map(|()| Instant::now() + HEARD));
            let status = self.plane.supervisor.stop(&name(number));
            (unlisted.join().unwrap(), status)
        });
        let (drained, unlisted, status) = (start.elapsed(), unlisted?, status?);
        if unlisted > start + SHUTDOWN_DELAY {
            // A machine too busy to take the endpoint away in time.
            let from = start + SHUTDOWN_DELAY;
            let fate = Fate::Ended("drained, and an endpoint still");
            self.tally.gone(Gone { fate, address: REPLICAS[number], from, unlisted, to: unlisted });
        }
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
        let (fate, unlisted) = (Fate::Ended("killed, and an endpoint still"), Instant::now() + HEARD);
        self.tally.gone(Gone { fate, address: REPLICAS[number], from: start, unlisted, to: unlisted });
        self.plane.supervisor.stop(&name(number))?;
        self.start(number)?;
        self.told(start, &format!("{} killed and started again", name(number)));
        Ok(())
    }

    /// What the loss of a machine does: nothing comes back from its address, not even a refusal.
    pub(crate) fn lose(&self, number: usize) -> Result<(), String> {
        let start = Instant::now();
        self.plane.cut_off(REPLICAS[number])?;
        thread::sleep(STILL_LISTED);
        self.unlist(number)?;
        let unlisted = Instant::now() + HEARD;
        // Clients have connections to it, each of which costs the next call on it.
        thread::sleep(FORGOTTEN);
        Supervisor::signal(self.pid(number), "KILL")?;
        self.plane.supervisor.stop(&name(number))?;
        self.plane.connect_again(REPLICAS[number])?;
        // Elsewhere no other process answers at once under the address of a lost machine. Here a connection that was never used
        // again learns from its next probe that it is gone.
        thread::sleep(PROBED);
        let (address, to) = (REPLICAS[number], Instant::now());
        self.tally.gone(Gone { fate: Fate::CutOff, address, from: start, unlisted, to });
        self.start(number)?;
        self.told(start, &format!("machine of {} lost and back", name(number)));
        Ok(())
    }

    /// The value of a replica's metric.
    pub(crate) fn metric(&self, number: usize, name: &str) -> Result<f64, String> {
        let text = self.plane.http_get(&format!("http://{}:8081/metrics", REPLICAS[number]))?;
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
        value.ok_or_else(|| format!("no {name}in {text}"))
    }

    /// Waits until every replica knows this many sets.
    pub(crate) fn await_sets(&self, sets: usize) -> Result<(), String> {
        for number in 0..REPLICAS.len() {
            poll::until("the sets to arrive", Duration::from_secs(30), || {
                let known = self.metric(number, "sidecarset_sidecarsets ")?;
                if known == sets as f64 { Ok(()) } else { Err(format!("{known} sets")) }
            })?;
        }
        Ok(())
    }

    /// Asks for a new CA and a new serving certificate, and does not wait for them.
    pub(crate) fn rotate(&self) -> Result<(), String> {
        let number = self.rotations.fetch_add(1, Ordering::Relaxed) + 1;
        let patch = Patch::Merge(json!({"metadata": {"annotations": {ROTATE: number.to_string()}}}));
        let params = PatchParams::default();
        let written = self.secrets.patch_metadata(SECRET, &params, &patch);
        self.runtime.block_on(written).map_err(|error| format!("Secret: {error}"))?;
        *self.rotating.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        Ok(())
    }

    /// Waits until the last rotation has come to its end: all have the new certificate, and nobody trusts the old CA.
    pub(crate) fn await_rotated(&self) -> Result<(), String> {
        let number = self.rotations.load(Ordering::Relaxed).to_string();
        poll::until("the end of the rotation", Duration::from_secs(120), || {
            thread::sleep(HEARD);
            let secret = self.runtime.block_on(self.secrets.get_metadata(SECRET));
            let annotations = secret.map_err(|error| error.to_string())?.metadata.annotations;
            let annotations = annotations.unwrap_or_default();
            let (rotated, stage) = (annotations.get(ROTATED), annotations.get(STAGE));
            let done = rotated == Some(&number) && stage.is_some_and(|stage| stage == "settled");
            if done { Ok(()) } else { Err(format!("{annotations:?}")) }
        })?;
        let start = self.rotating.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.told(start.unwrap_or_else(Instant::now), "CA and certificate rotated");
        Ok(())
    }

    pub(crate) fn crash_api_server(&self) -> Result<(), String> {
        let start = Instant::now();
        self.tally.away();
        self.plane.crash_api_server()?;
        self.tally.back();
        self.told(start, "API server killed and started again");
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
