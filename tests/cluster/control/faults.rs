//! Scenarios while everything goes wrong: in the end there is what there is without that.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::sync::watch;

use super::api::path;
use super::observation::text;
use super::program::{LEASE, LEASE_FLAG, Program};
use super::run::{Judge, Manner, chosen, report, run_all};
use super::stage::{self, Stage};
use super::world::{NOISE, World};
use crate::control_plane::{AUDITED, ControlPlane};
use crate::proxy::Proxy;

/// What is run if nothing else is asked for: one or two of each kind, with few steps. Rollouts with every brake and order, hot upgrades,
/// several sets on a Pod, revisions, a set that comes again, metadata, Jobs.
const SCENARIOS: [&str; 18] = [
    "field-env",
    "hot-and-cold",
    "hot-cycle-1",
    "hot-stages",
    "legacy-annotations",
    "metadata",
    "multi-container",
    "order-weight",
    "recreate-set",
    "rev-collision-1",
    "rev-custom-version",
    "rev-limit-0",
    "roll-default-3",
    "roll-max-5-2",
    "roll-partition-5-2",
    "scatter-even",
    "term-several",
    "two-sets",
];
/// Outcomes that depend on a moment, so that upstream's would differ too: which image a slow kubelet began with, which revision the webhook
/// knew as the latest when Pods were created two seconds after a change, and whether a round is cut in two that takes Pods which are
/// down at no cost and one more that serves (C-UPD-8, C-UPD-9).
const TIMED: [&str; 6] = [
    "change-slow-3",
    "change-slow-back",
    "order-ready-time",
    "order-unassigned",
    "roll-notready-4",
    "scatter-extra",
];
/// How many are run at a time.
const JOBS: usize = SCENARIOS.len();
/// How many others write Pods at the same time.
const WRITERS: u64 = 6;
/// Longer than nobody leads, plus the time after which a controller may look again.
const QUIET: Duration = Duration::from_secs(11);
const LIMIT: Duration = Duration::from_secs(150);

/// Numbers that are the same for the same seed (SplitMix64).
struct Dice(u64);

impl Dice {
    /// `CONTROL_SEED=number` gives other numbers.
    fn new() -> Self {
        let seed =
            std::env::var("CONTROL_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(20_261_121);
        eprintln!("CONTROL_SEED={seed}");
        Self(seed)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }

    /// Waits for a time between these, in milliseconds.
    async fn wait(&mut self, least: u64, most: u64) {
        tokio::time::sleep(Duration::from_millis(least + self.below(most - least))).await;
    }
}

/// Runs the scenarios beside `trouble`, which never ends by itself and may panic; gives what trouble has counted.
#[track_caller]
fn survive(plane: &ControlPlane, trouble: impl AsyncFnOnce(Arc<World>, watch::Sender<u64>)) -> u64 {
    let scenarios = chosen(|name| SCENARIOS.contains(&name), |name| !TIMED.contains(&name));
    let stage = Stage::new(plane);
    let (count, counted) = watch::channel(0);
    let manner = Manner { jobs: JOBS, quiet: QUIET, limit: LIMIT, judge: Judge::States };
    let start = Instant::now();
    let outcomes = stage.runtime.block_on(async {
        tokio::select! {
            outcomes = run_all(&stage.world, &scenarios, manner) => outcomes,
            () = trouble(Arc::clone(&stage.world), count) => panic!("the trouble ended"),
        }
    });
    let count = *counted.borrow();
    eprintln!("trouble: {count} times");
    report(&outcomes, start.elapsed());
    count
}

/// Rule: C-CTL-16, C-CTL-20, C-RUST-6.
#[test]
#[ignore = "needs a control plane: make test"]
fn a_controller_that_is_killed_again_and_again() {
    let plane = stage::plane("control-killed");
    let _webhook = stage::webhook(&plane, true);
    let kills = survive(&plane, async |_, count| {
        let mut dice = Dice::new();
        for number in 0.. {
            let name = format!("controller_{number}");
            let controller = Program::start(&plane, &name, &plane.kubectl.kubeconfig, &[LEASE_FLAG]);
            // It needs some of this time to become the leader.
            dice.wait(4_500, 9_000).await;
            controller.signal("KILL");
            count.send_modify(|count| *count += 1);
        }
    });
    assert!(kills > 2, "only {kills} times");
}

/// A replica with a user of its own.
struct Replica<'p> {
    user: String,
    program: Program<'p>,
}

impl<'p> Replica<'p> {
    fn start(plane: &'p ControlPlane, number: usize) -> Self {
        let user = format!("replica_{number}");
        let program = Program::start(plane, &user, &plane.audited_kubeconfig_of(&user), &[LEASE_FLAG]);
        Self { user, program }
    }

    /// What it has asked the API server to write since then, done or not, from the audit log. Of the Lease only what was done counts: a
    /// candidate may try, with the version it has seen.
    fn writes_since(&self, plane: &ControlPlane, time: jiff::Timestamp) -> Vec<String> {
        let log = std::fs::read_to_string(plane.audit_log()).unwrap();
        let entries = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let is_later = |entry: &Value| {
            let received: jiff::Timestamp = text(entry, &["requestReceivedTimestamp"]).parse().unwrap();
            let is_write = !["get", "list", "watch"].contains(&text(entry, &["verb"]));
            let is_done = entry["responseStatus"]["code"].as_u64().is_some_and(|code| code < 300);
            let counts = is_done || text(entry, &["objectRef", "resource"]) != "leases";
            text(entry, &["user", "username"]) == self.user && received > time && is_write && counts
        };
        entries
            .filter(is_later)
            .map(|entry| format!("{} {}", text(&entry, &["verb"]), text(&entry, &["requestURI"])))
            .collect()
    }
}

/// Two replicas fight for the Lease. The one that leads is stopped for longer than the Lease; when it goes on, it ends without a
/// write, and another one takes its place.
///
/// Rule: C-CTL-16. Decision: D-35.
#[test]
#[ignore = "needs a control plane: make test"]
fn a_former_leader_that_wakes_up_writes_nothing() {
    let plane = stage::plane("control-paused");
    let _webhook = stage::webhook(&plane, true);
    let group = format!("--group={AUDITED}");
    plane.kubectl.ok(&["create", "clusterrolebinding", AUDITED, "--clusterrole=cluster-admin", &group]);
    let pauses = survive(&plane, async |_, count| {
        let mut dice = Dice::new();
        let mut replicas = [0, 1].map(|number| Replica::start(&plane, number));
        for number in 2.. {
            let leader = loop {
                dice.wait(500, 4_000).await;
                // Who leads now: the last that said so and lives.
                let holder = lease_holder(&plane);
                if let Some(leader) =
                    replicas.iter().position(|r| holder.contains(&format!("_{}_", r.program.pid())))
                {
                    break leader;
                }
            };
            let replica = &replicas[leader];
            if replica.program.try_signal("STOP").is_err() {
                // The machine is so busy that it has lost the Lease by itself.
                replicas[leader] = Replica::start(&plane, number);
                continue;
            }
            tokio::time::sleep(LEASE + Duration::from_millis(2_500)).await;
            let taken_over = lease_holder(&plane);
            assert!(
                !taken_over.contains(&format!("_{}_", replica.program.pid())),
                "{taken_over} still leads"
            );
            let awake = jiff::Timestamp::now();
            replica.program.signal("CONT");
            let status = replica.program.await_end(Duration::from_secs(20)).await;
            assert_eq!(status, 1, "{}", replica.program.log());
            assert_eq!(
                replica.writes_since(&plane, awake),
                Vec::<String>::new(),
                "{} is no leader",
                replica.user
            );
            replicas[leader] = Replica::start(&plane, number);
            count.send_modify(|count| *count += 1);
        }
    });
    assert!(pauses > 1, "only {pauses} times");
}

fn lease_holder(plane: &ControlPlane) -> String {
    let system = plane.kubectl.in_namespace(super::api::SYSTEM);
    system
        .run(&["get", "lease", "sidecarset-controller", "-o", "jsonpath={.spec.holderIdentity}"])
        .unwrap_or_default()
}

/// A proxy between the controller and the API server, all of whose connections break at random moments.
///
/// Rule: C-RUST-5, C-CTL-15.
#[test]
#[ignore = "needs a control plane: make test"]
fn connections_that_are_cut() {
    let plane = stage::plane("control-cut");
    let _webhook = stage::webhook(&plane, true);
    let cuts = survive(&plane, async |_, count| {
        let proxy = Proxy::start(plane.server()).await;
        let kubeconfig = plane.kubeconfig_by("cut-off", &proxy.url());
        let controller = Program::start(&plane, "controller", &kubeconfig, &[]);
        let mut dice = Dice::new();
        loop {
            dice.wait(200, 2_500).await;
            proxy.cut();
            count.send_modify(|count| *count += 1);
            assert!(!controller.has_ended(), "{}", controller.log());
        }
    });
    assert!(cuts > 20, "only {cuts} times");
}

/// Somebody else writes the Pods all the time.
///
/// Rule: C-UPD-19, C-RUST-7. Decision: D-32.
#[test]
#[ignore = "needs a control plane: make test"]
fn pods_that_others_write_all_the_time() {
    let plane = stage::plane("control-conflicts");
    let _webhook = stage::webhook(&plane, true);
    let conflicts = survive(&plane, async |world, count| {
        let controller = Program::start(&plane, "controller", &plane.kubectl.kubeconfig, &[]);
        let seed = Dice::new().below(u64::MAX);
        let writers = (0..WRITERS).map(|writer| write_pods(&world, Dice(seed ^ writer)));
        let look = async {
            loop {
                tokio::time::sleep(Duration::from_secs(1)).await;
                count.send_replace(controller.conflicts());
            }
        };
        futures_util::future::join(futures_util::future::join_all(writers), look).await;
    });
    assert!(conflicts > 2, "only {conflicts} conflicts");
}

/// Writes one Pod after another, whichever.
async fn write_pods(world: &World, mut dice: Dice) {
    for number in 0_u64.. {
        dice.wait(1, 8).await;
        let pods: Vec<String> = world.objects()["Pod"].keys().cloned().collect();
        let Some(key) = pods.get(dice.below(pods.len().max(1) as u64) as usize) else { continue };
        let (namespace, name) = key.split_once('/').unwrap();
        let noise = json!({"metadata": {"annotations": {NOISE: number.to_string()}}});
        // It may be gone by now.
        let _ = world.api.patch(&path("Pod", namespace, name), "merge", &noise).await;
    }
}
