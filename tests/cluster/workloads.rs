//! Pods made by a person and by every controller of Kubernetes are injected, and run.

use serde_json::{Value, json};

use crate::control_plane::ControlPlane;
use crate::injected::{assert_agents, await_ready, items};
use crate::kubectl::Kubectl;
use crate::webhook::Webhook;

#[test]
#[ignore = "needs a control plane: make test"]
fn kubectl_run() {
    let plane = ControlPlane::shared();
    let kubectl = plane.namespace("run", json!({}));
    let _webhook = Webhook::for_namespace(plane, &kubectl, &["agents.yaml"]);
    kubectl.ok(&["run", "cart", "--image=registry.example/cart:7", "--labels=app=shop"]);
    assert_agents(&await_ready(&kubectl, "cart"), &[], &["cart"]);
}

#[test]
#[ignore = "needs a control plane: make test"]
fn deployment() {
    let plane = ControlPlane::shared();
    let kubectl = plane.namespace("deployment", json!({}));
    let _webhook = Webhook::for_namespace(plane, &kubectl, &["agents.yaml"]);
    kubectl.create(&[workload("apps/v1", "Deployment", json!({"replicas": 3}))]);
    kubectl.ok(&["rollout", "status", "deployment/orders", "--timeout=90s"]);
    assert_pods_ready(&kubectl, "ReplicaSet", 3);
}

#[test]
#[ignore = "needs a control plane: make test"]
fn stateful_set() {
    let plane = ControlPlane::shared();
    let kubectl = plane.namespace("stateful-set", json!({}));
    let _webhook = Webhook::for_namespace(plane, &kubectl, &["agents.yaml"]);
    kubectl.create(&[workload("apps/v1", "StatefulSet", json!({"replicas": 2, "serviceName": "orders"}))]);
    kubectl.ok(&["rollout", "status", "statefulset/orders", "--timeout=90s"]);
    assert_pods_ready(&kubectl, "StatefulSet", 2);
}

#[test]
#[ignore = "needs a control plane: make test"]
fn daemon_set() {
    let plane = ControlPlane::shared();
    let kubectl = plane.namespace("daemon-set", json!({}));
    let _webhook = Webhook::for_namespace(plane, &kubectl, &["agents.yaml"]);
    kubectl.create(&[workload("apps/v1", "DaemonSet", json!({}))]);
    kubectl.ok(&["rollout", "status", "daemonset/orders", "--timeout=90s"]);
    // One Node.
    assert_pods_ready(&kubectl, "DaemonSet", 1);
}

#[test]
#[ignore = "needs a control plane: make test"]
fn job() {
    let plane = ControlPlane::shared();
    let kubectl = plane.namespace("job", json!({}));
    let _webhook = Webhook::for_namespace(plane, &kubectl, &["agents.yaml"]);
    kubectl.create(&[json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "orders"}, "spec": job_spec(2),
    })]);
    kubectl.ok(&["wait", "--for=condition=Complete", "job/orders", "--timeout=90s"]);
    assert_pods_succeeded(&kubectl, 2);
}

#[test]
#[ignore = "needs a control plane: make test"]
fn cron_job() {
    let plane = ControlPlane::shared();
    let kubectl = plane.namespace("cron-job", json!({}));
    let _webhook = Webhook::for_namespace(plane, &kubectl, &["agents.yaml"]);
    kubectl.create(&[json!({
        "apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "orders"},
        "spec": {"schedule": "0 3 1 1 *", "jobTemplate": {"spec": job_spec(1)}},
    })]);
    // The last run was two years ago: one is due, whatever day it is.
    let last = json!({"status": {"lastScheduleTime": two_years_ago(&kubectl)}}).to_string();
    kubectl.ok(&["patch", "cronjob", "orders", "--subresource=status", "--type=merge", "-p", &last]);
    kubectl.ok(&["wait", "--for=jsonpath={.status.lastSuccessfulTime}", "cronjob/orders", "--timeout=90s"]);
    let owner = kubectl.ok(&["get", "jobs", "-o", "jsonpath={.items[*].metadata.ownerReferences[*].kind}"]);
    assert_eq!(owner, "CronJob");
    assert_pods_succeeded(&kubectl, 1);
}

/// A workload of apps/v1 with an own init container; its Pods match the set `agents`.
pub(crate) fn workload(version: &str, kind: &str, mut spec: Value) -> Value {
    spec["selector"] = json!({"matchLabels": {"app": "shop", "part": "orders"}});
    spec["template"] = pod_template();
    json!({"apiVersion": version, "kind": kind, "metadata": {"name": "orders"}, "spec": spec})
}

/// A Job whose Pods match the set `agents`.
pub(crate) fn job_spec(completions: u32) -> Value {
    let mut template = pod_template();
    template["spec"]["restartPolicy"] = json!("Never");
    json!({"completions": completions, "parallelism": completions, "template": template})
}

fn pod_template() -> Value {
    json!({
        "metadata": {"labels": {"app": "shop", "part": "orders"}},
        "spec": {
            "initContainers": [{"name": "migrate", "image": "registry.example/migrate:8"}],
            "containers": [{"name": "orders", "image": "registry.example/orders:8"}],
        },
    })
}

/// Two years before now by the API server's clock, as Kubernetes writes a time.
fn two_years_ago(kubectl: &Kubectl) -> String {
    let now = kubectl.ok(&["get", "cronjob", "orders", "-o", "jsonpath={.metadata.creationTimestamp}"]);
    let (year, _) = now.split_once('-').unwrap();
    // The first of a month exists in every year.
    format!("{:04}-01-01T00:00:00Z", year.parse::<u32>().unwrap() - 2)
}

#[track_caller]
fn assert_pods_ready(kubectl: &Kubectl, owner: &str, count: usize) {
    let pods = kubectl.json(&["get", "pods"]);
    assert_eq!(items(&pods["items"]).count(), count);
    for pod in items(&pods["items"]) {
        assert_eq!(pod["metadata"]["ownerReferences"][0]["kind"], owner);
        assert_agents(pod, &["migrate"], &["orders"]);
        await_ready(kubectl, pod["metadata"]["name"].as_str().unwrap());
    }
}

#[track_caller]
fn assert_pods_succeeded(kubectl: &Kubectl, count: usize) {
    let pods = kubectl.json(&["get", "pods"]);
    assert_eq!(items(&pods["items"]).count(), count);
    for pod in items(&pods["items"]) {
        assert_eq!(pod["metadata"]["ownerReferences"][0]["kind"], "Job");
        assert_agents(pod, &["migrate"], &["orders"]);
        assert_eq!(pod["status"]["phase"], "Succeeded");
    }
}
