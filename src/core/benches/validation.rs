//! What judging a SidecarSet costs: the largest set that is legal, and a small one among 10 to 50,000 others.
//!
//! `cargo bench -p sidecarset-core --bench validation`. Targets: the largest under 10 ms; 50,000 others at most 1.1 times ten.
#![allow(clippy::unwrap_used, reason = "a benchmark may stop")]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use serde_json::{Value, json};
use sidecarset_core::revision::Revisions;
use sidecarset_core::source::SidecarSet;
use sidecarset_core::validation::{self, ClusterView, Options, StoredSets};

/// Close to the 1.5 MiB that an API server stores at most.
const CONTAINERS: usize = 1_500;

fn container(number: usize) -> Value {
    json!({
        "name": format!("sidecar-{number}"), "image": "registry.example/sidecar:1.4.2", "args": ["--listen", ":15001"],
        "env": [{"name": "LOG", "value": "info"}, {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
        "ports": [{"name": format!("p{number}"), "containerPort": 1 + number}],
        "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "256Mi"}},
        "readinessProbe": {"httpGet": {"path": "/ready", "port": 15021}, "periodSeconds": 5},
        "volumeMounts": [{"name": "conf", "mountPath": "/etc/conf"}]})
}

fn set(name: &str, app: &str, containers: usize) -> Value {
    let document = json!({
        "apiVersion": "apps.kruise.io/v1beta1", "kind": "SidecarSet", "metadata": {"name": name}, "spec": {
            "selector": {"matchLabels": {"app": app}}, "volumes": [{"name": "conf", "emptyDir": {}}],
            "containers": (0..containers).map(container).collect::<Vec<_>>()}});
    SidecarSet::from_file_document(&document).unwrap().document().clone()
}

fn benches(criterion: &mut Criterion) {
    let revisions = Revisions::default();
    let largest = set("largest", "web", CONTAINERS);
    let none = StoredSets::default();
    let cluster = ClusterView { sets: &none, revisions: &revisions, allow_list: None };
    let judge = |set: &Value, cluster: &ClusterView<'_>| {
        let verdict = validation::create(black_box(set), cluster, Options::default());
        assert!(verdict.findings.is_empty(), "{:?}", verdict.findings.first());
    };
    let size_kib = largest.to_string().len() / 1024;
    criterion.bench_function(
        &format!("the largest set, {CONTAINERS} containers, {size_kib} KiB"),
        |bencher| {
            bencher.iter(|| judge(&largest, &cluster));
        },
    );
    let small = set("small", "web", 1);
    for others in [10, 1_000, 50_000] {
        let sets: Vec<Value> =
            (0..others).map(|n| set(&format!("other-{n}"), &format!("app-{n}"), 1)).collect();
        let stored = StoredSets::new(&sets);
        let cluster = ClusterView { sets: &stored, revisions: &revisions, allow_list: None };
        criterion.bench_function(&format!("a small set among {others} others"), |bencher| {
            bencher.iter(|| judge(&small, &cluster));
        });
    }
}

criterion_group!(group, benches);
criterion_main!(group);
