//! Many SidecarSets: the time until a webhook is ready, its memory, and admissions while it reads all of them again, because its API
//! server has forgotten where its watch was.
//!
//! The short form has a few sets and asserts that no admission suffers. `make soak` has 1,000, then 50,000 (`SOAK_SETS`), and asserts
//! what is promised. There the API server has cores of its own. Where that cannot be, a second webhook with two sets in a folder, which
//! gets the same load, shows what slows both: the machine.

mod cores;
mod latencies;

use std::env;
use std::fmt;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use crate::control_plane::ControlPlane;
use crate::packages;
use crate::poll;
use crate::proxy::Proxy;
use crate::set_api::manifest;
use crate::soak;
use crate::webhook::Webhook;
use latencies::{Load, Measured};

/// How long admissions are looked at without a new list, before each.
const QUIET: Duration = Duration::from_secs(5);
/// How long a new list may take.
const PATIENCE: Duration = Duration::from_secs(180);
/// Sets that are created at a time.
const AT_A_TIME: usize = 32;
/// Changes before the memory is looked at again, one after the other.
const CHANGES: usize = 100;
/// How often the webhook is started.
const STARTS: usize = 3;
/// What is promised for 1,000 sets.
const THOUSAND: usize = 1_000;
/// 32 MiB, as in docs/performance.md.
const MOST_MEMORY_MB: f64 = 33.5;
const LONGEST_START: Duration = Duration::from_secs(1);
/// The slowest of a hundred admissions during a new list, compared with those before.
const MOST_SLOWER: f64 = 2.0;

#[test]
#[ignore = "needs a control plane: make test"]
fn no_admission_suffers_when_all_sets_are_read_again() {
    let many: Option<usize> =
        env::var("SOAK_SETS").ok().map(|number| number.parse().expect("SOAK_SETS is a number"));
    // Its own cache would remember where the watch was.
    let plane = ControlPlane::with_flags("relist", &["--watch-cache=false"]).unwrap();
    let runtime = Runtime::new().unwrap();
    let mut site = Site::new(&plane, &runtime);
    let Some(many) = many else {
        site.create_up_to(2_000);
        let figures = site.measure(1, false);
        eprintln!("{figures}");
        assert_eq!(figures.measured.failures, Vec::<String>::new());
        return;
    };
    site.create_up_to(THOUSAND);
    let thousand = site.measure(2, false);
    eprintln!("{thousand}");
    site.create_up_to(many);
    let many = site.measure(8, true);
    eprintln!("{many}");
    // All is told before anything is judged.
    for figures in [&thousand, &many] {
        assert_eq!(figures.measured.failures, Vec::<String>::new());
    }
    let slower = if many.is_parted { many.measured.slower() } else { many.measured.slower_than_other() };
    assert!(slower <= MOST_SLOWER, "admissions suffer from a new list");
    assert!(thousand.memory_after < MOST_MEMORY_MB, "too much memory");
    assert!(thousand.ready_after < LONGEST_START, "too long until ready");
}

/// An API server with sets.
struct Site<'a> {
    plane: &'a ControlPlane,
    runtime: &'a Runtime,
    proxy: Proxy,
    sets: Api<DynamicObject>,
    count: usize,
    starts: usize,
}

/// What was measured with so many sets.
struct Figures {
    sets: usize,
    ready_after: Duration,
    start_cpu: f64,
    change_cpu: f64,
    /// In MB: after the start, after changes and a new list, and after the load.
    memory: f64,
    memory_after: f64,
    memory_loaded: f64,
    measured: Measured,
    /// The API server had cores of its own.
    is_parted: bool,
}

impl<'a> Site<'a> {
    fn new(plane: &'a ControlPlane, runtime: &'a Runtime) -> Self {
        let client = runtime.block_on(soak::client(plane));
        define(plane, runtime, &client);
        let resource =
            ApiResource::from_gvk(&GroupVersionKind::gvk("apps.kruise.io", "v1beta1", "SidecarSet"));
        let proxy = runtime.block_on(Proxy::start(plane.server()));
        Self { plane, runtime, proxy, sets: Api::all_with(client, &resource), count: 0, starts: 0 }
    }

    /// Creates sets until there are so many: first those that match the review, then others.
    fn create_up_to(&mut self, count: usize) {
        let matching: Value = serde_json::from_slice(&fs::read(yardstick()).unwrap()).unwrap();
        let matching = matching["items"].as_array().unwrap().clone();
        self.runtime.block_on(async {
            let mut creating = JoinSet::new();
            for number in self.count..count {
                if creating.len() == AT_A_TIME {
                    creating.join_next().await.unwrap().unwrap();
                }
                let object = matching.get(number).cloned().unwrap_or_else(|| other(number));
                let sets = self.sets.clone();
                creating.spawn(async move {
                    let object: DynamicObject = serde_json::from_value(object).unwrap();
                    sets.create(&PostParams::default(), &object).await.unwrap();
                });
            }
            creating.join_all().await;
        });
        self.count = self.count.max(count);
    }

    /// With `part` the API server gets cores of its own, if there are any, before the load begins.
    fn measure(&mut self, rounds: usize, part: bool) -> Figures {
        let (many, ready_after) = self.start();
        let start_cpu = cpu(&many);
        let memory = memory_of(&many);
        let change_cpu = self.change(&many);
        // Before there is load: connections need memory too, and on a slow machine there are many.
        self.relist(&many);
        let memory_after = memory_of(&many);
        let few = Webhook::start_with(self.plane, &format!("few-{}", self.starts), |folder| {
            fs::copy(yardstick(), folder.join("sets.json")).unwrap();
        });
        let is_parted = part && cores::part(self.plane);
        let load = Load::start(self.runtime, [&many, &few]);
        let mut relists = Vec::new();
        for _ in 0..rounds {
            std::thread::sleep(QUIET);
            relists.push(self.relist(&many));
        }
        let sets = self.count;
        let measured = load.end(self.runtime, relists);
        let memory_loaded = memory_of(&many);
        Figures {
            sets,
            ready_after,
            start_cpu,
            change_cpu,
            memory,
            memory_after,
            memory_loaded,
            measured,
            is_parted,
        }
    }

    /// Starts the webhook several times, and gives the last one with the shortest time: others use the machine, too.
    fn start(&mut self) -> (Webhook<'a>, Duration) {
        let mut shortest = Duration::MAX;
        for _ in 1..STARTS {
            shortest = shortest.min(self.start_once().1);
        }
        let (webhook, took) = self.start_once();
        (webhook, shortest.min(took))
    }

    fn start_once(&mut self) -> (Webhook<'a>, Duration) {
        self.starts += 1;
        let start = Instant::now();
        let webhook = self.launch();
        webhook.await_ready();
        (webhook, start.elapsed())
    }

    fn launch(&self) -> Webhook<'a> {
        let serving = self.plane.folder.join("serving");
        self.plane.authority.server(&serving, &["127.0.0.1"]).unwrap();
        let args = [
            format!("--kubeconfig={}", self.plane.kubeconfig_by("forgetful", &self.proxy.url()).display()),
            format!("--cert-dir={}", serving.display()),
        ];
        Webhook::launch(
            self.plane,
            &format!("many-{}", self.starts),
            &args,
            self.plane.authority.certificate(),
        )
    }

    /// Changes sets one after the other, and gives the CPU time of one change in seconds.
    fn change(&mut self, webhook: &Webhook<'_>) -> f64 {
        let before = cpu(webhook);
        for number in 0..CHANGES {
            let patch = json!({"spec": {"selector": {"matchLabels": {"change": number.to_string()}}}});
            let name = format!("other-{}", self.count - 1 - number);
            let params = PatchParams::default();
            self.runtime.block_on(self.sets.patch(&name, &params, &Patch::Merge(patch))).unwrap();
        }
        self.create_one();
        self.await_all(webhook);
        (cpu(webhook) - before) / CHANGES as f64
    }

    /// One more set, so that it can be seen when the webhook knows it.
    fn create_one(&mut self) {
        self.create_up_to(self.count + 1);
    }

    fn await_all(&self, webhook: &Webhook<'_>) {
        poll::until("the webhook to know all sets", PATIENCE, || {
            // Asking costs time of the processors that admissions need.
            std::thread::sleep(Duration::from_millis(200));
            let known = webhook.metric("sidecarset_sidecarsets ")?;
            if known == self.count as f64 { Ok(()) } else { Err(format!("{known} sets")) }
        })
        .unwrap_or_else(|error| panic!("{error}\n{}", webhook.log()));
    }

    /// Makes the webhook read everything again, and gives from when to when it did.
    fn relist(&mut self, webhook: &Webhook<'_>) -> (Instant, Instant) {
        let forgotten = || {
            let log = webhook.whole_log();
            let told = |line: &&str| line.contains("has forgotten") && line.contains("SidecarSet");
            log.lines().filter(told).count()
        };
        let before = forgotten();
        self.proxy.close();
        // Two: the watch goes on behind what it knows, and the last of them is not forgotten.
        self.create_up_to(self.count + 2);
        self.plane.compact_etcd().unwrap();
        self.proxy.open();
        poll::until("the webhook to begin a new list", PATIENCE, || {
            std::thread::sleep(Duration::from_millis(200));
            if forgotten() > before { Ok(()) } else { Err(String::new()) }
        })
        .unwrap();
        let from = Instant::now();
        self.await_all(webhook);
        // What was before is taken apart.
        std::thread::sleep(Duration::from_millis(500));
        (from, Instant::now())
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sets, ready_after, start_cpu, change_cpu, measured, .. } = self;
        let Self { memory, memory_after, memory_loaded, is_parted, .. } = self;
        writeln!(f, "\n| {sets} sets | |\n|---|---|")?;
        writeln!(
            f,
            "| start to ready, best of {STARTS} | {:.2} s ({start_cpu:.2} s CPU) |",
            ready_after.as_secs_f64()
        )?;
        writeln!(f, "| one of {CHANGES} changes into use | {:.1} ms CPU |", change_cpu * 1e3)?;
        writeln!(f, "| memory after the start | {memory:.1} MB |")?;
        writeln!(f, "| after changes and a new list | {memory_after:.1} MB |")?;
        writeln!(f, "| after the load and {} more | {memory_loaded:.1} MB |", measured.relists.len())?;
        writeln!(f, "| the API server has cores of its own | {is_parted} |")?;
        write!(f, "{measured}")
    }
}

/// The two sets that match the review.
fn yardstick() -> PathBuf {
    packages::repository("tests/fixtures/bench/sidecarsets/sets.json")
}

/// A set of usual size that matches nothing here.
fn other(number: usize) -> Value {
    let container = |name: &str| {
        json!({
            "name": format!("{name}-{number}"), "image": format!("registry.example/{name}:1.{number}"),
            "args": ["--config", "/etc/agent/config.yaml", "--log-format", "json"],
            "env": [
                {"name": "LOG", "value": "info"},
                {"name": "TEAM", "value": format!("team-{}", number % 100)},
                {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            ],
            "ports": [{"name": "metrics", "containerPort": 15_000}],
            "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"memory": "128Mi"}},
            "readinessProbe": {"httpGet": {"path": "/ready", "port": 15_000}, "periodSeconds": 5},
            "volumeMounts": [{"name": format!("config-{number}"), "mountPath": "/etc/agent"}],
        })
    };
    json!({
        "apiVersion": "apps.kruise.io/v1beta1", "kind": "SidecarSet", "metadata": {"name": format!("other-{number}")},
        "spec": {
            "selector": {"matchLabels": {"app": format!("app-{number}"), "tier": "backend"}},
            "containers": [container("agent"), container("proxy")],
            "volumes": [{"name": format!("config-{number}"), "configMap": {"name": format!("agent-{number}")}}],
        },
    })
}

fn cpu(webhook: &Webhook<'_>) -> f64 {
    webhook.metric("process_cpu_seconds_total ").unwrap()
}

/// Memory in RAM, in MB.
fn memory_of(webhook: &Webhook<'_>) -> f64 {
    webhook.metric("process_resident_memory_bytes ").unwrap() / 1e6
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
