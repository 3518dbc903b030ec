//! What one admission costs in the core: the look at the Pod, matching at 10 to 50,000 sets, plan and render.
//!
//! `cargo bench -p sidecarset-core`; the input is the yardstick's (`tests/fixtures/bench/`). Read the ratios.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a benchmark reads fixtures, and may stop"
)]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use serde_json::{Value, json};
use sidecarset_core::admission::{Request, Verdict, admit};
use sidecarset_core::context::{Context, Features, FirstPod};
use sidecarset_core::pod::PodLook;
use sidecarset_core::snapshot::{Snapshot, SnapshotParts, UnlistedNamespaces};
use sidecarset_core::source::SidecarSet;

const CONTEXT: Context<'static> = Context {
    now_unix: 1_700_000_000,
    features: Features { sort_sidecar_containers: false },
    draw: &FirstPod,
    live_namespace: None,
};

fn fixture(name: &str) -> Value {
    let path = format!("{}/../../tests/fixtures/bench/{name}", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// The Pod of the yardstick's review, as text.
fn pod() -> String {
    fixture("review-12k.json")["request"]["object"].to_string()
}

/// The yardstick's two sets and `others` that do not match.
fn snapshot(others: usize) -> Snapshot {
    let items = fixture("sidecarsets/sets.json")["items"].as_array().unwrap().clone();
    let other = |number: usize| {
        json!({"apiVersion": "apps.kruise.io/v1beta1", "kind": "SidecarSet",
            "metadata": {"name": format!("other-{number}")},
            "spec": {
                "selector": {"matchLabels": {"app": format!("app-{number}"), "tier": "backend"}},
                "containers": [{"name": "sidecar", "image": "registry.example/sidecar:1"}]}})
    };
    let documents = items.into_iter().chain((0..others).map(other));
    Snapshot::new(SnapshotParts {
        sets: documents.map(|set| SidecarSet::from_file_document(&set).unwrap()).collect(),
        namespaces: Vec::new(),
        revisions: Vec::new(),
        revision_namespace: None,
        unlisted_namespaces: UnlistedNamespaces::HaveNameLabel,
    })
}

fn request() -> Request<'static> {
    Request { operation: "CREATE", resource: "pods", namespace: "team-orders", ..Request::default() }
}

fn benches(criterion: &mut Criterion) {
    let text = pod();
    criterion
        .bench_function("look", |bencher| bencher.iter(|| PodLook::from_json(black_box(&text)).unwrap()));
    let unmatched = text.replace("\"orders-api\"", "\"other\"").replace("\"backend\"", "\"frontend\"");
    for others in [8, 998, 49_998] {
        let snapshot = snapshot(others);
        let count = others + 2;
        let look = PodLook::from_json(&text).unwrap();
        assert!(matches!(admit(&request(), &look, &snapshot, &CONTEXT).unwrap().verdict, Verdict::Patch(_)));
        criterion.bench_function(&format!("admit, two of {count} sets match"), |bencher| {
            bencher.iter(|| admit(&request(), black_box(&look), &snapshot, &CONTEXT).unwrap());
        });
        let look = PodLook::from_json(&unmatched).unwrap();
        assert_eq!(admit(&request(), &look, &snapshot, &CONTEXT).unwrap().verdict, Verdict::Unchanged);
        criterion.bench_function(&format!("admit, none of {count} sets matches"), |bencher| {
            bencher.iter(|| admit(&request(), black_box(&look), &snapshot, &CONTEXT).unwrap());
        });
    }
}

criterion_group!(group, benches);
criterion_main!(group);
