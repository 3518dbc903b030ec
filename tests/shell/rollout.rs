//! `sidecarset status --watch` and `sidecarset rollout` as programs, against a small API server and against none.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::fake_api::{FakeApi, status};

/// A port on which nobody answers: it was free a moment ago.
fn nobody() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("its address")
}

async fn serve(api: &FakeApi) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("its address");
    let app = api.router();
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

/// Runs the program against the API server at `address`.
async fn run(address: SocketAddr, args: &[&str]) -> Output {
    let folder = tempfile::tempdir().expect("temporary folder");
    let file = folder.path().join("kubeconfig");
    write_kubeconfig(&file, address);
    let mut command = Command::new(env!("CARGO_BIN_EXE_sidecarset"));
    command.args(args).arg(format!("--kubeconfig={}", file.display()));
    tokio::task::spawn_blocking(move || command.output().expect("started")).await.expect("no panic")
}

fn write_kubeconfig(file: &Path, address: SocketAddr) {
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{"name": "k", "cluster": {"server": format!("http://{address}")}}],
        "users": [{"name": "u", "user": {}}],
        "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
    });
    std::fs::write(file, config.to_string()).expect("written");
}

/// A set with one Pod that is updated and not ready.
fn set(reason: &str, message: &str) -> Value {
    let condition = json!({
        "type": "RolloutComplete", "status": "False", "observedGeneration": 1, "reason": reason, "message": message,
    });
    json!({
        "apiVersion": "apps.kruise.io/v1beta1", "kind": "SidecarSet",
        "metadata": {"name": "log", "uid": "log", "generation": 1}, "spec": {"selector": {"matchLabels": {"app": "x"}}},
        "status": {
            "observedGeneration": 1, "matchedPods": 3, "updatedPods": 1, "readyPods": 2, "updatedReadyPods": 0,
            "conditions": [condition],
        },
    })
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[tokio::test]
async fn a_bad_image_ends_the_watch() {
    let api = FakeApi::new();
    api.put("sidecarsets", set("PodsStuck", "shop/p: container \"log\": ImagePullBackOff"));
    let output = run(serve(&api).await, &["status", "log", "--watch"]).await;
    let told = text(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{told}{}", text(&output.stderr));
    assert!(told.contains("log: blocked: shop/p: container \"log\": ImagePullBackOff"), "{told}");
    assert!(told.contains("sidecarset rollout undo log"), "{told}");
}

#[tokio::test]
async fn a_rollout_without_progress_ends_the_watch() {
    let api = FakeApi::new();
    api.put("sidecarsets", set("WaitingForPods", "waits for shop/p"));
    let args = ["status", "log", "--watch", "--progress-deadline=200ms"];
    let output = run(serve(&api).await, &args).await;
    let (told, people) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(1), "{told}{people}");
    assert!(people.contains("no Pod of \"log\" was updated or became ready for 200ms"), "{people}");
    assert!(told.contains("WaitingForPods: waits for shop/p"), "{told}");
}

/// 2: the cluster cannot be asked; 1: it answers, and it cannot be done.
#[tokio::test]
async fn the_exit_code_tells_whether_the_cluster_answers() {
    let args = ["rollout", "pause", "log"];
    let output = run(nobody(), &args).await;
    assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
    let api = FakeApi::new();
    api.refuse("log", Some(status(404, "NotFound", "sidecarsets \"log\" not found")));
    let output = run(serve(&api).await, &args).await;
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("not found"), "{}", text(&output.stderr));
}
