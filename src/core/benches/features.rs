//! What each feature of a set adds to an admission of the yardstick's Pod, and what an admission of the recorded mix costs.
//!
//! `cargo bench -p sidecarset-core --bench features`. Read the ratios to the plain set.
#![allow(clippy::unwrap_used, reason = "a benchmark may stop")]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use serde_json::{Value, json};
use sidecarset_core::admission::{Request, Verdict, admit};
use sidecarset_core::context::{Context, Features, FirstPod};
use sidecarset_core::pod::PodLook;
use sidecarset_core::snapshot::{Snapshot, SnapshotParts, UnlistedNamespaces};
use sidecarset_core::source::SidecarSet;

const REVIEW: &str =
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/bench/review-12k.json"));
const RECORDED: &str =
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/conformance/injection/random.jsonl"));

const CONTEXT: Context<'static> = Context {
    now_unix: 1_700_000_000,
    features: Features { sort_sidecar_containers: false },
    draw: &FirstPod,
    live_namespace: None,
};

fn snapshot(sets: Vec<SidecarSet>, revisions: Vec<Value>) -> Snapshot {
    Snapshot::new(SnapshotParts {
        sets,
        namespaces: Vec::new(),
        revisions,
        revision_namespace: None,
        unlisted_namespaces: UnlistedNamespaces::HaveNameLabel,
    })
}

/// One sidecar with one env and one mount, and what `change` makes of it.
fn set(change: impl Fn(&mut Value)) -> SidecarSet {
    let mut document = json!({
        "apiVersion": "apps.kruise.io/v1beta1", "kind": "SidecarSet", "metadata": {"name": "one"}, "spec": {
            "selector": {"matchLabels": {"app": "orders-api"}}, "volumes": [{"name": "conf", "emptyDir": {}}],
            "containers": [{
                "name": "agent", "image": "registry.example/agent:1", "env": [{"name": "LOG", "value": "info"}],
                "volumeMounts": [{"name": "conf", "mountPath": "/etc/agent"}]}]}});
    change(&mut document["spec"]);
    SidecarSet::from_file_document(&document).unwrap()
}

fn features() -> Vec<(&'static str, SidecarSet)> {
    let member =
        |name: &'static str, value: Value| set(move |spec| spec["containers"][0][name] = value.clone());
    let patched = json!([{"patchPolicy": "MergePatchJson", "annotations": {"checks": "{\"agent\":1}"}}]);
    let policy = json!({
        "targetContainersMode": "sum", "targetContainersNameRegex": ".*",
        "resourcesExpr": {"limits": {"cpu": "max(cpu*50%, 50m)"}, "requests": {"memory": "memory*20% + 100Mi"}}});
    vec![
        ("plain", set(|_| {})),
        (
            "transferEnv",
            member(
                "transferEnv",
                json!([{"sourceContainerName": "orders-api", "envNames": ["ORDERS_API_JAVA_OPTS_3"]}]),
            ),
        ),
        ("shareVolumePolicy", member("shareVolumePolicy", json!({"type": "enabled"}))),
        (
            "hot upgrade",
            member(
                "upgradeStrategy",
                json!({"upgradeType": "HotUpgrade", "hotUpgradeEmptyImage": "empty:1"}),
            ),
        ),
        ("patchPodMetadata", set(move |spec| spec["patchPodMetadata"] = patched.clone())),
        ("resourcesPolicy", member("resourcesPolicy", policy)),
        (
            "revision",
            set(|spec| {
                spec["injectionStrategy"] = json!({"revision": {"revisionName": "one-1", "policy": "Always"}})
            }),
        ),
    ]
}

fn benches(criterion: &mut Criterion) {
    let review: Value = serde_json::from_str(REVIEW).unwrap();
    let pod = review["request"]["object"].to_string();
    let look = PodLook::from_json(&pod).unwrap();
    let request =
        Request { operation: "CREATE", resource: "pods", namespace: "team-orders", ..Request::default() };
    let revision = json!({
        "metadata": {"name": "one-1", "labels": {"kruise.io/sidecarset-name": "one"}},
        "data": {"spec": {"$patch": "replace", "containers": [{"name": "agent", "image": "registry.example/agent:0"}]}}});
    for (name, set) in features() {
        let snapshot = snapshot(vec![set], vec![revision.clone()]);
        assert!(
            matches!(admit(&request, &look, &snapshot, &CONTEXT).unwrap().verdict, Verdict::Patch(_)),
            "{name}"
        );
        criterion.bench_function(name, |bencher| {
            bencher.iter(|| admit(&request, black_box(&look), &snapshot, &CONTEXT).unwrap());
        });
    }
    let mix = recorded();
    criterion.bench_function(&format!("the recorded mix, all of its {} Pods", mix.len()), |bencher| {
        bencher.iter(|| {
            for (snapshot, namespace, pod) in &mix {
                let look = PodLook::from_json(black_box(pod)).unwrap();
                black_box(admit(&Request { namespace, ..request }, &look, snapshot, &CONTEXT).unwrap());
            }
        });
    });
}

/// The CREATE requests of the random worlds: their sets, namespace and Pod.
fn recorded() -> Vec<(std::rc::Rc<Snapshot>, String, String)> {
    let mut mix = Vec::new();
    for line in RECORDED.lines() {
        let world: Value = serde_json::from_str(line).unwrap();
        let list = |key: &str| world[key].as_array().cloned().unwrap_or_default();
        let sets = list("sidecarSets").into_iter().map(|set| SidecarSet::from_stored(set).unwrap()).collect();
        let snapshot = std::rc::Rc::new(snapshot(sets, list("controllerRevisions")));
        for request in list("requests").iter().filter(|request| request["operation"] == "CREATE") {
            let namespace = request["namespace"].as_str().unwrap_or_default().to_owned();
            mix.push((std::rc::Rc::clone(&snapshot), namespace, request["object"].to_string()));
        }
    }
    mix
}

criterion_group!(group, benches);
criterion_main!(group);
