//! Many sets and Pods: that a rollout writes each Pod once and a start writes nothing, and what both cost.
//!
//! The short form has a few Pods. `make bench-controller` has 20,000 Pods and 100 sets (`CONTROLLER_PODS`, `CONTROLLER_SETS`) and
//! prints time, CPU, memory and API calls. `maxUnavailable` is 100 %, so the rollout does not wait for the kubelet, which the test
//! plays between two rollouts.

use std::env;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use super::{Cluster, kubelet};
use crate::control_plane::ControlPlane;
use crate::poll;
use crate::soak;

/// Calls of the test at a time.
const AT_A_TIME: usize = 32;
/// For all Pods, on a busy machine.
const LIMIT: Duration = Duration::from_secs(900);
/// How long nothing has to happen until all is done that is to be done.
const QUIET: Duration = Duration::from_secs(2);
/// `USER_HZ`, the unit of CPU times in `/proc`.
const TICKS: f64 = 100.0;

fn number(variable: &str, otherwise: usize) -> usize {
    env::var(variable).map_or(otherwise, |text| text.parse().unwrap_or_else(|_| panic!("{variable}: {text}")))
}

/// What a controller has used and done since its start.
#[derive(Debug, Clone)]
struct Reading {
    at: Instant,
    cpu_seconds: f64,
    resident_mib: f64,
    metrics: String,
}

impl Reading {
    /// The sum of the counters whose names with labels begin like this.
    fn count(&self, name: &str) -> f64 {
        let values = self.metrics.lines().filter(|line| line.starts_with(name));
        values.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum()
    }

    fn grown(&self, since: &Self, name: &str) -> f64 {
        self.count(name) - since.count(name)
    }

    /// All calls that change something, but Events and the Lease.
    fn writes(&self) -> f64 {
        self.count("sidecarset_controller_pod_writes_total")
            + ["status", "revision", "condition", "eviction", "termination"]
                .map(|kind| self.count(&format!("sidecarset_controller_writes_total{{kind=\"{kind}\"")))
                .iter()
                .sum::<f64>()
    }
}

/// One run of `sidecarset controller`.
struct Run<'c> {
    cluster: &'c Cluster<'c>,
    name: &'static str,
    pid: u32,
    probe: String,
}

impl<'c> Run<'c> {
    fn start(cluster: &'c Cluster<'c>, name: &'static str) -> Self {
        let pid = cluster.start_controller(name);
        let log = cluster.plane.supervisor.log(name);
        let probe = log.split_whitespace().find(|word| word.ends_with("/readyz?verbose"));
        let probe = probe.unwrap_or_else(|| panic!("no address of the probes in {log}")).to_owned();
        Self { cluster, name, pid, probe }
    }

    /// Ends it as a Deployment would, which gives the Lease back.
    fn stop(&self) {
        assert_eq!(self.cluster.plane.supervisor.stop(self.name), Ok(0));
    }

    fn read(&self) -> Result<Reading, String> {
        let metrics = self.cluster.plane.http_get(&self.probe.replace("/readyz?verbose", "/metrics"))?;
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid)).map_err(|e| e.to_string())?;
        // The name of the program, in parentheses, may hold anything.
        let fields: Vec<&str> = stat.rsplit_once(')').unwrap_or_default().1.split_whitespace().collect();
        let ticks = |at: usize| fields.get(at).and_then(|text| text.parse::<f64>().ok()).unwrap_or_default();
        let mut reading = Reading {
            at: Instant::now(),
            cpu_seconds: (ticks(11) + ticks(12)) / TICKS,
            resident_mib: 0.0,
            metrics,
        };
        reading.resident_mib = reading.count("process_resident_memory_bytes ") / f64::from(1 << 20);
        Ok(reading)
    }

    /// Waits until the controller has done all that it wants to do and `enough` holds.
    fn settled(&self, what: &str, enough: impl Fn(&Reading) -> bool) -> Reading {
        let mut last: Option<Reading> = None;
        poll::until(what, LIMIT, || {
            let now = self.read()?;
            let looks = now.count("sidecarset_controller_reconciles_total");
            let same = last.as_ref().filter(|it| {
                it.count("sidecarset_controller_reconciles_total") == looks && it.writes() == now.writes()
            });
            match same {
                Some(first) if enough(&now) && now.at - first.at >= QUIET => Ok(first.clone()),
                Some(first) => Err(format!("{} writes, {looks} looks", first.writes())),
                None => {
                    last = Some(now);
                    Err("something still happens".to_owned())
                }
            }
        })
        .unwrap_or_else(|error| panic!("{error}\n{}", self.cluster.plane.supervisor.log_tail(self.name)))
    }
}

/// Calls the API server for each number, some at a time.
async fn each<F: Future<Output = ()> + Send + 'static>(count: usize, call: impl Fn(usize) -> F) {
    let mut calls = JoinSet::new();
    for number in 0..count {
        if calls.len() == AT_A_TIME {
            calls.join_next().await.unwrap().unwrap();
        }
        calls.spawn(call(number));
    }
    calls.join_all().await;
}

fn set(number: usize) -> DynamicObject {
    let set = json!({
        "apiVersion": "apps.kruise.io/v1beta1", "kind": "SidecarSet", "metadata": {"name": format!("set-{number}")},
        "spec": {
            "selector": {"matchLabels": {"set": number.to_string()}},
            "containers": [{"name": "agent", "image": "registry.example/agent:1"}],
            "updateStrategy": {"type": "RollingUpdate", "maxUnavailable": "100%"},
        },
    });
    serde_json::from_value(set).unwrap()
}

fn pod(number: usize, sets: usize) -> Pod {
    let labels = json!({"set": (number % sets).to_string(), "app": "shop", "pod-template-hash": "5d8f"});
    let containers = json!([{"name": "shop", "image": "shop:1", "env": [{"name": "PORT", "value": "8080"}]}]);
    serde_json::from_value(kubelet::pod(&format!("shop-{number}"), labels, containers)).unwrap()
}

/// The status of a Pod that runs the sidecar with this tag.
fn running(tag: u32) -> Value {
    let container = |name: &str, image: &str| kubelet::running(&json!({"name": name, "image": image}), 0);
    json!({"status": {
        "phase": "Running", "conditions": [{"type": "Ready", "status": "True"}],
        "containerStatuses": [container("shop", "shop:1"), container("agent", &format!("registry.example/agent:{tag}"))],
    }})
}

/// Sets and Pods of them, all running.
async fn fill(client: &kube::Client, sets: &Api<DynamicObject>, shape: (usize, usize)) {
    let (pod_count, set_count) = shape;
    each(set_count, |number| {
        let sets = sets.clone();
        async move { drop(sets.create(&PostParams::default(), &set(number)).await.unwrap()) }
    })
    .await;
    let pods = Api::<Pod>::namespaced(client.clone(), "shop");
    // The last set is known to the webhook when a Pod of it gets its sidecar.
    let probe = PostParams { dry_run: true, ..PostParams::default() };
    let start = Instant::now();
    while pods.create(&probe, &pod(set_count - 1, set_count)).await.unwrap().spec.unwrap().containers.len()
        < 2
    {
        assert!(start.elapsed() < LIMIT, "the webhook does not know the last set");
    }
    each(pod_count, |number| {
        let pods = pods.clone();
        async move {
            let name = format!("shop-{number}");
            pods.create(&PostParams::default(), &pod(number, set_count)).await.unwrap();
            pods.patch_status(&name, &PatchParams::default(), &Patch::Strategic(running(1))).await.unwrap();
        }
    })
    .await;
}

/// Waits until the status of the sets counts so many Pods that are up to date and ready.
async fn ready(sets: &Api<DynamicObject>, wanted: f64) {
    let start = Instant::now();
    loop {
        let list = sets.list(&ListParams::default()).await.unwrap();
        let counts = list.items.iter().filter_map(|set| set.data["status"]["updatedReadyPods"].as_f64());
        let ready: f64 = counts.sum();
        if ready == wanted {
            return;
        }
        assert!(start.elapsed() < LIMIT, "{ready} of {wanted} Pods are ready");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Rules: C-CTL-21, C-RUST-5, C-RUST-6, C-COND-4.
#[test]
#[ignore = "needs a control plane: make test"]
fn many_pods_are_each_written_once() {
    let (pod_count, set_count) = (number("CONTROLLER_PODS", 60), number("CONTROLLER_SETS", 6));
    let plane = ControlPlane::without_controllers("many-pods").unwrap_or_else(|error| panic!("{error}"));
    let cluster = Cluster::install(&plane, |_| {});
    let runtime = Runtime::new().unwrap();
    let client = runtime.block_on(soak::client(&plane));
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("apps.kruise.io", "v1beta1", "SidecarSet"));
    let sets = Api::<DynamicObject>::all_with(client.clone(), &resource);
    let pods = Api::<Pod>::namespaced(client.clone(), "shop");
    let run = Run::start(&cluster, "controller_of_nothing");
    let empty = run.settled("nothing to do", |_| true);
    run.stop();
    runtime.block_on(fill(&client, &sets, (pod_count, set_count)));
    let mut told = vec![format!("{pod_count} Pods, {set_count} sets")];
    let all = pod_count as f64;
    let looked = |reading: &Reading| {
        reading.count("sidecarset_controller_pods ") == all
            && reading.count("sidecarset_controller_reconciles_total") >= set_count as f64
    };

    let begun = Instant::now();
    let run = Run::start(&cluster, "first_controller");
    let first = run.settled("the first look at all sets", looked);
    assert_eq!(
        first.count("sidecarset_controller_writes_total{kind=\"revision\",result=\"written\"}"),
        set_count as f64
    );
    assert_eq!(first.count("sidecarset_controller_pod_writes_total"), 0.0, "all Pods are up to date");
    told.push(format!(
        "first look: {:.1?} after the start, {:.2} s CPU, {:.1} MiB; an empty cluster took {:.1} MiB, so a Pod takes {:.2} KiB",
        first.at - begun,
        first.cpu_seconds,
        first.resident_mib,
        empty.resident_mib,
        (first.resident_mib - empty.resident_mib) * 1024.0 / all,
    ));

    for tag in [2, 3] {
        let before = run.read().unwrap();
        let image = json!([{"op": "replace", "path": "/spec/containers/0/image", "value": format!("registry.example/agent:{tag}")}]);
        let image: json_patch::Patch = serde_json::from_value(image).unwrap();
        runtime.block_on(each(set_count, |number| {
            let (sets, patch) = (sets.clone(), Patch::<()>::Json(image.clone()));
            async move {
                drop(sets.patch(&format!("set-{number}"), &PatchParams::default(), &patch).await.unwrap())
            }
        }));
        let upgraded = "sidecarset_controller_pod_writes_total{kind=\"upgrade\",result=\"written\"}";
        let after = run.settled("the rollout", |reading| reading.grown(&before, upgraded) >= all);
        assert_eq!(after.grown(&before, upgraded), all, "each Pod once");
        let conditions = after.grown(&before, "sidecarset_controller_writes_total{kind=\"condition\"");
        // The condition is written where it is not there yet (C-COND-4).
        assert!(conditions <= if tag == 2 { all } else { 0.0 }, "{conditions} conditions for image {tag}");
        let took = after.at - before.at;
        told.push(format!(
            "image {tag}: {took:.1?} from the first set's change to the last write, {:.0} Pods/s, {:.2} ms CPU and {:.2} writes a Pod",
            all / took.as_secs_f64(),
            (after.cpu_seconds - before.cpu_seconds) * 1e3 / all,
            (after.writes() - before.writes()) / all,
        ));
        runtime.block_on(each(pod_count, |number| {
            let (pods, status) = (pods.clone(), Patch::Strategic(running(tag)));
            async move {
                drop(
                    pods.patch_status(&format!("shop-{number}"), &PatchParams::default(), &status)
                        .await
                        .unwrap(),
                )
            }
        }));
        runtime.block_on(ready(&sets, all));
    }

    let before = run.settled("the end of the rollouts", |_| true);
    runtime.block_on(each(pod_count, |number| {
        let pods = pods.clone();
        let seen = Patch::Merge(json!({"metadata": {"annotations": {"example.com/seen": "true"}}}));
        async move { drop(pods.patch(&format!("shop-{number}"), &PatchParams::default(), &seen).await.unwrap()) }
    }));
    let after = run.settled("all Pod events", |_| true);
    assert_eq!(after.writes() - before.writes(), 0.0, "an annotation of a Pod changes nothing");
    told.push(format!(
        "a Pod event: {:.3} ms CPU; {:.0} MiB",
        (after.cpu_seconds - before.cpu_seconds) * 1e3 / all,
        after.resident_mib
    ));

    run.stop();
    let begun = Instant::now();
    let run = Run::start(&cluster, "second_controller");
    let again = run.settled("the look at all sets after a start", looked);
    assert_eq!(again.writes(), 0.0, "nothing is to be done");
    told.push(format!(
        "all listed and looked at again, which is what a resync does: {:.1?}, {:.2} s CPU, {:.0} MiB",
        again.at - begun,
        again.cpu_seconds,
        again.resident_mib
    ));
    eprintln!("{}", told.join("\n"));
    run.stop();
}
