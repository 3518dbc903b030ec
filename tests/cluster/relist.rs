//! Admissions while a webhook reads all SidecarSets of the cluster again, because its API server has crashed.
//!
//! The short form has a few sets and asserts that no admission suffers. `make soak` has 50,000 (`SOAK_SETS`) and prints latencies,
//! memory and the time until ready. A second webhook with two sets in a folder gets the same load: what slows both is the
//! machine, not the list.

use std::env;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Api;
use kube::api::PostParams;
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use crate::control_plane::ControlPlane;
use crate::load_client::{Pool, Target};
use crate::packages;
use crate::poll;
use crate::set_api::manifest;
use crate::soak;
use crate::webhook::Webhook;

/// Between two requests to one webhook.
const PERIOD: Duration = Duration::from_millis(10);
/// How long admissions are looked at without a crash, before each.
const QUIET: Duration = Duration::from_secs(10);
/// Sets that are created at a time.
const AT_A_TIME: usize = 32;

#[test]
#[ignore = "needs a control plane: make test"]
fn no_admission_suffers_when_all_sets_are_read_again() {
    let (count, rounds) = match env::var("SOAK_SETS") {
        Ok(number) => (number.parse().expect("SOAK_SETS is a number"), 5),
        Err(_) => (2_000, 1),
    };
    let plane = ControlPlane::without_controllers("relist").unwrap();
    let runtime = Runtime::new().unwrap();
    let client = runtime.block_on(soak::client(&plane));
    define(&plane, &runtime, &client);
    let yardstick = packages::repository("tests/fixtures/bench/sidecarsets/sets.json");
    runtime.block_on(create(&client, &yardstick, count));

    let start = Instant::now();
    let many = launch(&plane);
    many.await_ready();
    let ready_after = start.elapsed();
    let few = Webhook::start_with(&plane, "few", |folder| {
        fs::copy(&yardstick, folder.join("sets.json")).unwrap();
    });
    let memory = many.resident_mib();
    let measured = measure(&plane, &runtime, [&many, &few], rounds);
    let report = format!(
        "{count} sets of the cluster: ready after {ready_after:.2?}, {memory:.0} MiB, after {rounds} crashes of the API \
         server {:.0} MiB\n{measured}",
        many.resident_mib()
    );
    eprint!("{report}");
    assert_eq!(measured.failures, Vec::<String>::new(), "{report}\n{}", many.log());
}

/// Installs the definition; the sets are stored as they come.
fn define(plane: &ControlPlane, runtime: &Runtime, client: &kube::Client) {
    let mut objects = manifest(&plane.kubectl, "crd/crd.yaml");
    objects[0]["spec"]["conversion"] = json!({"strategy": "None"});
    plane.kubectl.create(&objects);
    let definitions = Api::<CustomResourceDefinition>::all(client.clone());
    poll::until("the definition", Duration::from_secs(30), || {
        let found = runtime.block_on(definitions.get("sidecarsets.apps.kruise.io"));
        let status = found.map_err(|error| error.to_string())?.status.unwrap_or_default();
        let mut conditions = status.conditions.unwrap_or_default().into_iter();
        let established = conditions.any(|it| it.type_ == "Established" && it.status == "True");
        if established { Ok(()) } else { Err("not established".to_owned()) }
    })
    .unwrap();
}

/// The sets that match the review, and others.
async fn create(client: &kube::Client, yardstick: &Path, count: usize) {
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("apps.kruise.io", "v1beta1", "SidecarSet"));
    let sets = Api::<DynamicObject>::all_with(client.clone(), &resource);
    let matching: Value = serde_json::from_slice(&fs::read(yardstick).unwrap()).unwrap();
    let mut objects: Vec<Value> = matching["items"].as_array().unwrap().clone();
    objects.extend((objects.len()..count).map(|number| {
        json!({
            "apiVersion": "apps.kruise.io/v1beta1", "kind": "SidecarSet", "metadata": {"name": format!("other-{number}")},
            "spec": {
                "selector": {"matchLabels": {"app": format!("app-{number}"), "tier": "backend"}},
                "containers": [{"name": "sidecar", "image": "registry.example/sidecar:1"}],
            },
        })
    }));
    let mut creating = JoinSet::new();
    for object in objects {
        if creating.len() == AT_A_TIME {
            creating.join_next().await.unwrap().unwrap();
        }
        let sets = sets.clone();
        creating.spawn(async move {
            let object: DynamicObject = serde_json::from_value(object).unwrap();
            sets.create(&PostParams::default(), &object).await.unwrap();
        });
    }
    creating.join_all().await;
}

fn launch(plane: &ControlPlane) -> Webhook<'_> {
    let serving = plane.folder.join("serving");
    plane.authority.server(&serving, &["127.0.0.1"]).unwrap();
    let args = [
        format!("--kubeconfig={}", plane.kubectl.kubeconfig.display()),
        format!("--cert-dir={}", serving.display()),
    ];
    Webhook::launch(plane, "many", &args, plane.authority.certificate())
}

/// Latencies in milliseconds of one webhook, quiet and while it reads everything again.
#[derive(Default)]
struct Latencies {
    quiet: Vec<f64>,
    relist: Vec<f64>,
}

struct Measured {
    latencies: [Latencies; 2],
    relists: Vec<Duration>,
    failures: Vec<String>,
}

/// One request that was due at a time.
type Called = (Instant, Result<Duration, String>);

fn measure(plane: &ControlPlane, runtime: &Runtime, webhooks: [&Webhook<'_>; 2], rounds: usize) -> Measured {
    let done = Arc::new(AtomicBool::new(false));
    let review = fs::read(packages::repository("tests/fixtures/bench/review-12k.json")).unwrap();
    let calling = webhooks.map(|webhook| {
        let url = format!("{}?timeout=10s", webhook.url);
        let pool = Pool::new(Target::new(&url, &webhook.ca, &review).unwrap());
        runtime.spawn(call(pool, Arc::clone(&done)))
    });
    let mut relists = Vec::new();
    for _ in 0..rounds {
        std::thread::sleep(QUIET);
        let start = Instant::now();
        plane.crash_api_server().unwrap();
        let again = Instant::now();
        poll::until("all sets to be read again", Duration::from_secs(120), || {
            let age = webhooks[0].metric("sidecarset_snapshot_age_seconds ")?;
            if age < again.elapsed().as_secs_f64() { Ok(()) } else { Err(format!("{age} s old")) }
        })
        .unwrap();
        relists.push((start, Instant::now()));
    }
    done.store(true, Ordering::Relaxed);
    let mut failures = Vec::new();
    let latencies = calling.map(|calling| {
        let mut latencies = Latencies::default();
        for (due, called) in runtime.block_on(calling).unwrap() {
            let in_relist = relists.iter().any(|(from, to)| due >= *from && due < *to);
            match called {
                Ok(took) if in_relist => latencies.relist.push(took.as_secs_f64() * 1e3),
                Ok(took) => latencies.quiet.push(took.as_secs_f64() * 1e3),
                Err(error) => failures.push(error),
            }
        }
        latencies
    });
    let relists = relists.iter().map(|(from, to)| *to - *from).collect();
    Measured { latencies, relists, failures }
}

/// Sends a request every [`PERIOD`], whether or not those before were answered.
async fn call(pool: Arc<Pool>, done: Arc<AtomicBool>) -> Vec<Called> {
    let called = Arc::new(Mutex::new(Vec::new()));
    let mut calls = JoinSet::new();
    let mut due = Instant::now();
    while !done.load(Ordering::Relaxed) {
        tokio::time::sleep_until(due.into()).await;
        let (pool, called) = (Arc::clone(&pool), Arc::clone(&called));
        calls.spawn(async move {
            let answer = pool.call().await.map(|_bytes| due.elapsed());
            called.lock().unwrap_or_else(PoisonError::into_inner).push((due, answer));
        });
        due += PERIOD;
    }
    calls.join_all().await;
    std::mem::take(&mut *called.lock().unwrap_or_else(PoisonError::into_inner))
}

impl std::fmt::Display for Measured {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "from a crash until all was read again: {:.1?}", self.relists)?;
        for (name, Latencies { quiet, relist }) in
            ["many sets", "two sets, folder"].iter().zip(&self.latencies)
        {
            let mut line = format!("{name}:");
            for (when, values) in [("quiet", quiet), ("relist", relist)] {
                let mut sorted = values.clone();
                sorted.sort_unstable_by(f64::total_cmp);
                let at = |share: f64| {
                    let rank = (sorted.len().saturating_sub(1) as f64 * share).round() as usize;
                    sorted.get(rank).copied().unwrap_or(f64::NAN)
                };
                // Writing to a String does not fail.
                let _ = write!(
                    line,
                    " {when} p50 {:.2} ms p99 {:.2} ms longest {:.1} ms of {};",
                    at(0.5),
                    at(0.99),
                    at(1.0),
                    sorted.len()
                );
            }
            writeln!(f, "{line}")?;
        }
        writeln!(f, "failed: {}", self.failures.len())
    }
}
