//! Admissions without a break while everything changes that may change: replicas, certificates, sets, the API server.
//!
//! The short form is a test of the cluster tier. `make soak` runs the long one: `SOAK_ADMISSIONS` says how many.

mod callers;
mod excuse;
mod fleet;
mod report;
mod sets;
mod siege;
mod tally;

use std::env;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::json;
use tokio::runtime::Runtime;

use crate::control_plane::ControlPlane;
use crate::injected::items;
use crate::kubectl::list;
use crate::own_network;
use crate::packages;
use crate::poll;
use crate::service;

use callers::{Callers, Trust};
use fleet::{API_SERVER, Fleet, REPLICAS};
use report::Report;
use sets::{SETS, Stalest};
use tally::{Tally, Way};

/// Between two changes of one set. There are two, each with somebody of its own who changes it.
const CHANGE: Duration = Duration::from_millis(180);

/// How much is done.
struct Plan {
    /// Fewest admissions; the acts are repeated until then.
    admissions: usize,
    /// Reviews at once, every second.
    burst: u64,
    /// How many bursts may wait for answers at a time.
    bursts: usize,
    /// Programs that create Pods at the API server, and the time between two Pods of each.
    creators: usize,
    period: Duration,
    connection_age: Duration,
    /// Whether somebody takes all connections and machines vanish, and the rates are asserted.
    is_long: bool,
}

impl Plan {
    fn new() -> Self {
        match env::var("SOAK_ADMISSIONS").map(|number| number.parse()) {
            Ok(Ok(admissions)) => Self {
                admissions,
                burst: 200,
                bursts: 20,
                creators: 16,
                period: Duration::from_millis(100),
                connection_age: Duration::from_secs(60),
                is_long: true,
            },
            Ok(Err(error)) => panic!("SOAK_ADMISSIONS: {error}"),
            Err(_) => Self {
                admissions: 3_000,
                burst: 100,
                bursts: 1,
                creators: 3,
                period: Duration::from_millis(100),
                connection_age: Duration::from_secs(10),
                is_long: false,
            },
        }
    }
}

/// Decision: D-22.
#[test]
#[ignore = "needs a control plane: make test"]
fn no_admission_is_lost_and_none_is_wrong() {
    own_network::run("soak::no_admission_is_lost_and_none_is_wrong", || {
        let start = Instant::now();
        let plan = Plan::new();
        let (report, stalest, answered, logs) = soak(&plan);
        eprintln!(
            "soak of {:.0?}\n{report}{stalest}| answered by the replicas | {answered:?} |",
            start.elapsed()
        );
        assert_eq!(report.wrong, Vec::<String>::new(), "{logs}");
        assert!(report.failed.is_empty(), "{logs}");
        assert!(report.sent_again.is_empty(), "the API server was there:\n{logs}");
        assert!(report.good(Way::ThroughApi) >= 300, "too few through the API server");
        assert!(answered.iter().all(|answers| *answers > 100), "each replica had its share: {answered:?}");
        if plan.is_long {
            assert!(report.share_through_api() >= 0.25, "a quarter has to come through the API server");
            assert!(report.changes_a_second() >= 10.0, "sets have to change at 10/s");
            assert!(report.bursts_a_second() >= 0.95, "a burst has to come each second");
        }
    });
}

fn soak(plan: &Plan) -> (Report, Stalest, Vec<usize>, String) {
    let addresses: Vec<_> = [API_SERVER].into_iter().chain(REPLICAS).collect();
    let plane = ControlPlane::in_this_network("soak", &addresses).unwrap();
    install(&plane);
    let runtime = Runtime::new().unwrap();
    let client = runtime.block_on(client(&plane));
    let tally = Arc::new(Tally::default());
    let fleet =
        Fleet::new(&plane, &tally, client.clone(), runtime.handle().clone(), plan.connection_age).unwrap();
    let callers = Arc::new(Callers {
        client,
        sets: Arc::default(),
        tally: Arc::clone(&tally),
        done: false.into(),
        number: 0.into(),
    });
    begin(&plane, &runtime, &fleet, &callers);

    let trust = runtime.block_on(Trust::new(&callers.client, &plane.folder, &fleet.listed)).unwrap();
    let trust = Arc::new(trust);
    runtime.spawn(Arc::clone(&trust).follow(callers.client.clone()));
    let mut running =
        vec![runtime.spawn(Arc::clone(&callers).burst(Arc::clone(&trust), plan.burst, plan.bursts))];
    running.extend((0..SETS.len()).map(|set| runtime.spawn(Arc::clone(&callers).change(set, CHANGE))));
    running.extend((0..plan.creators).map(|_| runtime.spawn(Arc::clone(&callers).create(plan.period))));
    let acts = if plan.is_long { besiege(&plane, &fleet, &tally, &runtime, &trust) } else { Ok(()) };
    let acts = acts.and_then(|()| act(plan, &fleet, &tally));
    callers.done.store(true, Ordering::Relaxed);
    for running in running {
        runtime.block_on(running).unwrap();
    }
    if let Err(error) = acts {
        panic!("{error}\n{}{}", tally.report(), fleet.logs());
    }
    (tally.report(), callers.sets.stalest(), fleet.answered(), fleet.logs())
}

/// Applies the manifests, as an administrator does.
fn install(plane: &ControlPlane) {
    let objects = packages::kustomized(&plane.kubectl);
    for webhook in objects.iter().flat_map(|object| items(&object["webhooks"])) {
        assert_eq!(webhook["failurePolicy"], "Fail");
    }
    let kubectl = plane.kubectl.in_namespace("");
    kubectl.run_with_input(&["apply", "--server-side", "--filename=-"], &list(&objects)).unwrap();
    kubectl.ok(&["wait", "--for=condition=Established", "crd/sidecarsets.apps.kruise.io", "--timeout=60s"]);
    plane.kubectl.in_namespace(service::NAMESPACE).create(&[service::endpoints(&[])]);
}

/// Makes the sets and waits until every replica knows them and a Pod gets its sidecars.
fn begin(plane: &ControlPlane, runtime: &Runtime, fleet: &Fleet<'_>, callers: &Callers) {
    let stream = plane.namespace(callers::NAMESPACE, json!({}));
    for set in 0..SETS.len() {
        runtime.block_on(callers.change_one(set));
    }
    fleet.await_sets(SETS.len()).unwrap();
    let probe = ["run", "probe", "--image=probe:1", "--labels=app=shop", "--dry-run=server", "-o", "yaml"];
    poll::until("a replica to be asked", Duration::from_secs(20), || {
        let text = stream.run(&probe)?;
        let both = text.contains("name: back-1") && text.contains("name: front-1");
        if both { Ok(()) } else { Err("a Pod without sidecars".to_owned()) }
    })
    .unwrap();
}

fn besiege(
    plane: &ControlPlane,
    fleet: &Fleet<'_>,
    tally: &Tally,
    runtime: &Runtime,
    trust: &Trust,
) -> Result<(), String> {
    siege::lay(plane, fleet, tally, runtime.handle(), &trust.ca())?;
    fleet.lose(2)
}

/// Everything that happens to a fleet, and again until there were enough admissions.
fn act(plan: &Plan, fleet: &Fleet<'_>, tally: &Tally) -> Result<(), String> {
    loop {
        fleet.rotate()?;
        fleet.restart(0)?;
        fleet.restart(1)?;
        fleet.await_rotated()?;
        fleet.kill(2)?;
        fleet.crash_api_server()?;
        fleet.rotate()?;
        fleet.restart(2)?;
        fleet.await_rotated()?;
        if tally.admissions() >= plan.admissions {
            return Ok(());
        }
    }
}

/// A client that does not try again by itself.
pub(crate) async fn client(plane: &ControlPlane) -> kube::Client {
    let file = Kubeconfig::read_from(&plane.kubectl.kubeconfig).unwrap();
    let mut config = kube::Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await.unwrap();
    config.default_retry = false;
    kube::Client::try_from(config).unwrap()
}
