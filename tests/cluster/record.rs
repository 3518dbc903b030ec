//! The AdmissionReviews of `tests/fixtures/admission/` are what an API server sends. With `SIDECARSET_RECORD_FIXTURES=1`
//! they and the answers of our server are written instead of compared: read the difference before you commit it.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use regex::Regex;
use serde_json::{Value, json};

use crate::admission;
use crate::control_plane::ControlPlane;
use crate::injected::await_ready;
use crate::poll;
use crate::recorder::Recorder;
use crate::webhook::Webhook;
use crate::workloads::{job_spec, workload};

/// A name of a fixture and a body as it arrived.
type Recorded = (&'static str, Vec<u8>);

#[test]
#[ignore = "needs a control plane: make test"]
fn recorded_reviews_are_what_an_api_server_sends() {
    let plane = ControlPlane::shared();
    let recorder = Recorder::start(plane);
    let reviews =
        [by_kubectl(plane, &recorder), by_controllers(plane, &recorder), v1beta1(plane, &recorder)].concat();
    if std::env::var_os("SIDECARSET_RECORD_FIXTURES").is_some() {
        write(plane, &reviews);
    }
    let mut names = Vec::new();
    for (name, body) in reviews {
        let recorded = fs::read(admission::folder().join(format!("{name}.review.json"))).unwrap();
        let differences = differences("", &lasting(&recorded), &lasting(&body));
        assert_eq!(differences, Vec::<String>::new(), "{name} is out of date: see the head of this file");
        names.push(name);
    }
    names.sort_unstable();
    assert_eq!(admission::names(), names, "a fixture that nobody records");
}

fn by_kubectl(plane: &ControlPlane, recorder: &Recorder) -> Vec<Recorded> {
    let kubectl = plane.namespace("recorded", json!({}));
    recorder.register(&kubectl, "v1");
    recorder.await_registered(&kubectl);
    let wait = |name: &str| {
        await_review(recorder, name, |request| request["name"] == name && request["dryRun"] == false)
    };
    kubectl.ok(&["run", "cart", "--image=registry.example/cart:7", "--labels=app=shop"]);
    let run = wait("cart");
    kubectl.ok(&["run", "other", "--image=registry.example/other:2", "--labels=app=bank"]);
    let no_match = wait("other");
    kubectl.create(&[clashing_pod()]);
    let clash = wait("till");
    kubectl.create(&[full_pod()]);
    let full = wait("checkout");
    kubectl.ok(&["run", "draft", "--image=registry.example/cart:7", "--labels=app=shop", "--dry-run=server"]);
    let dry_run = await_review(recorder, "draft", |request| request["name"] == "draft");
    // Its status is part of the next ones.
    await_ready(&kubectl, "cart");
    kubectl.ok(&["label", "pod", "cart", "tier=front"]);
    let update = await_review(recorder, "an UPDATE", |request| {
        request["operation"] == "UPDATE" && request["object"]["metadata"]["labels"]["tier"] == "front"
    });
    kubectl.ok(&[
        "debug",
        "cart",
        "--image=registry.example/debug:1",
        "--container=look",
        "--profile=general",
    ]);
    let ephemeral = await_review(recorder, "an ephemeral container", |request| {
        request["subResource"] == "ephemeralcontainers"
    });
    vec![
        ("run", run),
        ("no-match", no_match),
        ("clash", clash),
        ("full", full),
        ("dry-run", dry_run),
        ("update", update),
        ("ephemeral-container", ephemeral),
    ]
}

fn by_controllers(plane: &ControlPlane, recorder: &Recorder) -> Vec<Recorded> {
    let kubectl = plane.namespace("recorded-workloads", json!({}));
    recorder.register(&kubectl, "v1");
    recorder.await_registered(&kubectl);
    kubectl.create(&[
        workload("apps/v1", "Deployment", json!({"replicas": 1})),
        workload("apps/v1", "StatefulSet", json!({"replicas": 1, "serviceName": "orders"})),
        workload("apps/v1", "DaemonSet", json!({})),
        json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "orders"}, "spec": job_spec(1)}),
    ]);
    [
        ("deployment", "ReplicaSet"),
        ("stateful-set", "StatefulSet"),
        ("daemon-set", "DaemonSet"),
        ("job", "Job"),
    ]
    .map(|(name, owner)| {
        let body = await_review(recorder, owner, |request| {
            request["namespace"] == "recorded-workloads"
                && request["operation"] == "CREATE"
                && request["object"]["metadata"]["ownerReferences"][0]["kind"] == owner
        });
        (name, body)
    })
    .to_vec()
}

fn v1beta1(plane: &ControlPlane, recorder: &Recorder) -> Vec<Recorded> {
    let kubectl = plane.namespace("recorded-payments", json!({"team": "payments"}));
    recorder.register(&kubectl, "v1beta1");
    recorder.await_registered(&kubectl);
    kubectl.ok(&["run", "ledger", "--image=registry.example/ledger:6", "--labels=app=shop"]);
    vec![("v1beta1", await_review(recorder, "ledger", |request| request["name"] == "ledger"))]
}

/// Writes what arrived, and what our server answers, for a person to read.
fn write(plane: &ControlPlane, reviews: &[Recorded]) {
    let file = |name: &str, kind: &str| admission::folder().join(format!("{name}.{kind}.json"));
    for (name, body) in reviews {
        fs::write(file(name, "review"), body).unwrap();
    }
    let sets = ["agents.yaml", "clash.yaml", "namespaces.yaml", "payments.yaml"];
    let webhook = Webhook::start(plane, "recorded", &sets);
    for (name, body) in reviews {
        let answer = plane.http_post(&webhook.url, &webhook.ca, &file(name, "review")).unwrap();
        let (review, answer): (Value, Value) =
            (serde_json::from_slice(body).unwrap(), serde_json::from_str(&answer).unwrap());
        let answer = serde_json::to_string_pretty(&admission::readable(&review, &answer)).unwrap();
        fs::write(file(name, "answer"), answer + "\n").unwrap();
    }
}

#[track_caller]
fn await_review(recorder: &Recorder, what: &str, fits: impl Fn(&Value) -> bool) -> Vec<u8> {
    poll::until(&format!("the review of {what}"), Duration::from_secs(30), || {
        recorder.last(&fits).ok_or("no review".to_owned())
    })
    .unwrap()
}

/// A review without what is different every time: identities, times and what is ordered by them, generated parts of
/// names.
fn lasting(body: &[u8]) -> Value {
    const CHANGING: [(&str, &str); 6] = [
        ("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "UID"),
        // The fingerprint of a client certificate.
        ("X509SHA256=[0-9a-f]{64}", "X509SHA256"),
        (r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ", "TIME"),
        ("kube-api-access-[a-z0-9]{5}", "kube-api-access"),
        (r#""resourceVersion":"\d+""#, r#""resourceVersion":"N""#),
        // The Pods of a ReplicaSet, a DaemonSet and a Job get their names before the webhooks are asked.
        (r#""(name|hostname)":"(orders-[a-z0-9-]*)[a-z0-9]{5}""#, r#""$1":"$2RANDOM""#),
    ];
    let mut text = String::from_utf8(body.to_vec()).unwrap();
    for (pattern, stands_for) in CHANGING {
        text = Regex::new(pattern).unwrap().replace_all(&text, stands_for).into_owned();
    }
    let mut review: Value = serde_json::from_str(&text).unwrap();
    for object in ["object", "oldObject"] {
        // Their order is that of times in whole seconds, so it depends on when a second ends.
        let path = format!("/request/{object}/metadata/managedFields");
        if let Some(fields) = review.pointer_mut(&path).and_then(Value::as_array_mut) {
            fields.sort_by_cached_key(Value::to_string);
        }
    }
    review
}

/// Where two documents differ, each as `path: recorded, now`.
fn differences(path: &str, recorded: &Value, now: &Value) -> Vec<String> {
    let keys: BTreeSet<String> = match (recorded, now) {
        (Value::Object(recorded), Value::Object(now)) => recorded.keys().chain(now.keys()).cloned().collect(),
        (Value::Array(recorded), Value::Array(now)) => {
            (0..recorded.len().max(now.len())).map(|index| index.to_string()).collect()
        }
        _ if recorded == now => return Vec::new(),
        _ => return vec![format!("{path}: {recorded}, {now}")],
    };
    let child = |of: &Value, key: &str| match of {
        Value::Array(items) => key.parse().ok().and_then(|index: usize| items.get(index)).cloned(),
        _ => of.get(key).cloned(),
    };
    keys.iter()
        .flat_map(|key| {
            let [recorded, now] = [recorded, now].map(|of| child(of, key).unwrap_or(json!("(absent)")));
            differences(&format!("{path}/{key}"), &recorded, &now)
        })
        .collect()
}

/// Matches the set `clash` and has a container with the name of that set's init container.
fn clashing_pod() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "till", "labels": {"clash": "yes"}},
        "spec": {"containers": [{"name": "cart", "image": "registry.example/cart:7"}]},
    })
}

/// A Pod with own init containers, volumes, secrets, annotations, and an old entry of another set.
fn full_pod() -> Value {
    let entry = json!({"gone": {
        "updateTimestamp": "2026-01-02T03:04:05Z", "hash": "old", "sidecarSetName": "gone", "sidecarList": ["gone-agent"],
    }});
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": "checkout",
            "labels": {"app": "shop", "example.com/part": "checkout"},
            "annotations": {
                "example.com/note": "a \"quoted\" text / with ~ and ünïcode",
                "kruise.io/sidecarset-hash": entry.to_string(),
                "kruise.io/sidecarset-injected-list": "gone",
            },
        },
        "spec": {
            "imagePullSecrets": [{"name": "registry-shop"}],
            "initContainers": [{"name": "migrate", "image": "registry.example/migrate:8"}],
            "containers": [
                {
                    "name": "checkout", "image": "registry.example/checkout:9", "command": ["checkout"],
                    "env": [{"name": "MODE", "value": "fast"}],
                    "resources": {"limits": {"cpu": "1500m", "memory": "1Gi"}},
                    "ports": [{"name": "http", "containerPort": 8080}],
                    "readinessProbe": {"httpGet": {"path": "/ready", "port": "http"}},
                    "volumeMounts": [{"name": "work", "mountPath": "/scratch", "subPathExpr": "$(MODE)"}],
                },
                {"name": "cache", "image": "registry.example/cache:3"},
            ],
            "volumes": [
                {"name": "work", "emptyDir": {"medium": "Memory"}},
                // The set `agents` has a volume of this name too; the Pod's own wins (I-VOL-3).
                {"name": "spool", "configMap": {"name": "spool", "optional": true}},
            ],
            "terminationGracePeriodSeconds": 7,
        },
    })
}
