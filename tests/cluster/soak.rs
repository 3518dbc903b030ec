//! Admissions without a break while everything changes that may change: replicas, certificates, sets, the API server.
//!
//! The short form is a test of the cluster tier. `make soak` runs the long one: `SOAK_ADMISSIONS` says how many.

mod callers;
mod fleet;
mod sets;
mod tally;

use std::env;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::json;
use tokio::runtime::Runtime;

use crate::control_plane::ControlPlane;
use crate::own_network;
use crate::poll;
use crate::service;

use callers::Callers;
use fleet::{API_SERVER, Fleet, REPLICAS};
use sets::Sets;
use tally::{Report, Tally, Way};

/// Between two changes of a set.
const CHANGE: Duration = Duration::from_millis(100);

/// How much is done.
struct Plan {
    /// Fewest admissions; the acts are repeated until then.
    admissions: usize,
    /// Reviews at once, every second.
    burst: u64,
    /// Programs that create Pods at the API server, and the time between two Pods of each.
    creators: usize,
    period: Duration,
}

impl Plan {
    fn new() -> Self {
        match env::var("SOAK_ADMISSIONS").map(|number| number.parse()) {
            Ok(Ok(admissions)) => {
                Self { admissions, burst: 200, creators: 8, period: Duration::from_millis(80) }
            }
            Ok(Err(error)) => panic!("SOAK_ADMISSIONS: {error}"),
            Err(_) => Self { admissions: 3_000, burst: 100, creators: 3, period: Duration::from_millis(100) },
        }
    }
}

/// Decision: D-22.
#[test]
#[ignore = "needs a control plane: make test"]
fn no_admission_is_lost_and_none_is_wrong() {
    own_network::run("soak::no_admission_is_lost_and_none_is_wrong", || {
        let start = Instant::now();
        let (report, stalest, answered, logs) = soak(&Plan::new());
        eprintln!(
            "soak of {:.0?}\n{report}behind the newest set by at most {stalest:.1?}\nanswered by the replicas: {answered:?}",
            start.elapsed()
        );
        assert_eq!(report.wrong, Vec::<String>::new(), "{logs}");
        assert!(report.failed.is_empty(), "{logs}");
        assert!(report.good(Way::ThroughApi) >= 300, "too few through the API server");
        assert!(answered.iter().all(|answers| *answers > 100), "each replica had its share: {answered:?}");
    });
}

fn soak(plan: &Plan) -> (Report, Duration, Vec<usize>, String) {
    let addresses: Vec<_> = [API_SERVER].into_iter().chain(REPLICAS).collect();
    let plane = ControlPlane::in_this_network("soak", &addresses).unwrap();
    let runtime = Runtime::new().unwrap();
    let client = runtime.block_on(client(&plane));
    let system = plane.namespace(service::NAMESPACE, json!({}));
    system.create(&[service::service(), service::endpoints(&[])]);
    let sets = Arc::new(Sets::new(Fleet::sidecarsets(&plane)));
    let tally = Arc::new(Tally::default());
    let fleet = Fleet::new(&plane, &tally, client.clone(), runtime.handle().clone()).unwrap();
    system.create(&[service::configuration(&system, &plane.authority.certificate())]);
    let stream = plane.namespace(callers::NAMESPACE, json!({}));
    let probe = ["run", "probe", "--image=probe:1", "--labels=app=shop", "--dry-run=server", "-o", "yaml"];
    poll::until("a replica to be asked", Duration::from_secs(20), || {
        let text = stream.run(&probe)?;
        if text.contains("IS_INJECTED") { Ok(()) } else { Err("a Pod without sidecars".to_owned()) }
    })
    .unwrap();

    let pool = callers::pool(&plane.authority.certificate(), &fleet.listed).unwrap();
    let callers = Arc::new(Callers {
        client,
        sets: Arc::clone(&sets),
        tally: Arc::clone(&tally),
        done: false.into(),
        number: 0.into(),
    });
    let mut running = vec![runtime.spawn(Arc::clone(&callers).burst(pool, plan.burst))];
    running.extend((0..plan.creators).map(|_| runtime.spawn(Arc::clone(&callers).create(plan.period))));
    let acts = thread::scope(|scope| {
        scope.spawn(|| {
            while !callers.done.load(Ordering::Relaxed) {
                sets.change();
                thread::sleep(CHANGE);
            }
        });
        let acts = act(plan, &fleet, &tally);
        callers.done.store(true, Ordering::Relaxed);
        acts
    });
    for running in running {
        runtime.block_on(running).unwrap();
    }
    tally.event(format!("{} changes of a set", sets.changes()));
    if let Err(error) = acts {
        panic!("{error}\n{}{}", tally.report(), fleet.logs());
    }
    (tally.report(), sets.stalest(), fleet.answered(), fleet.logs())
}

/// Everything that happens to a fleet, and again until there were enough admissions.
fn act(plan: &Plan, fleet: &Fleet<'_>, tally: &Tally) -> Result<(), String> {
    loop {
        fleet.restart(0)?;
        fleet.rotate()?;
        fleet.restart(1)?;
        fleet.kill(2)?;
        fleet.restart_api_server()?;
        fleet.rotate()?;
        fleet.restart(2)?;
        if tally.good() >= plan.admissions {
            return Ok(());
        }
    }
}

/// A client that does not try again by itself.
async fn client(plane: &ControlPlane) -> kube::Client {
    let file = Kubeconfig::read_from(&plane.kubectl.kubeconfig).unwrap();
    let mut config = kube::Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await.unwrap();
    config.default_retry = false;
    kube::Client::try_from(config).unwrap()
}
