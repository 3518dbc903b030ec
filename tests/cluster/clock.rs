//! The wall clock of a running webhook jumps over the end of its certificate, as when a machine wakes up or its clock is set right.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use crate::cluster_mode::install_definition;
use crate::control_plane::ControlPlane;
use crate::poll;
use crate::webhook::Webhook;

const OURS: &str = "sidecarset-system";
const HOST: &str = "sidecarset-webhook.sidecarset-system.svc";
/// Longer than a serving certificate lives, shorter than its CA.
const BEHIND: i64 = -100 * 24 * 3600;
/// A replica looks at the clock every 30 s; the rest is for a busy machine.
const NOTICED: Duration = Duration::from_secs(60);

/// It starts with a clock that is a hundred days behind, so its certificate has ended by the clock of everybody else. Then its clock is
/// set right. The clocks that it measures waiting with do not jump, so nothing wakes it.
#[test]
#[ignore = "needs a control plane: make test"]
fn a_certificate_is_renewed_when_the_clock_has_jumped_over_its_end() {
    let plane = ControlPlane::without_controllers("clock").unwrap();
    install_definition(&plane.kubectl);
    let kubectl = plane.namespace(OURS, json!({}));
    let offset = plane.folder.join("offset");
    set_clock(&offset, BEHIND);
    let environment = [
        format!("LD_PRELOAD={}", build(&plane.folder).display()),
        format!("CLOCK_OFFSET_FILE={}", offset.display()),
    ];
    let args = [format!("--kubeconfig={}", kubectl.kubeconfig.display()), format!("--namespace={OURS}")];
    let ca = plane.folder.join("ca-of-the-secret.crt");
    let webhook = Webhook::launch_in(&plane, "clock", &environment, &args, ca.clone());
    webhook.await_ready();
    let secret = || kubectl.json(&["get", "secret", "sidecarset-webhook-certificate"]);
    let before = secret();
    fs::write(&ca, STANDARD.decode(before["data"]["ca.crt"].as_str().unwrap()).unwrap()).unwrap();
    let refused = ask(&webhook).unwrap_err();
    assert!(refused.contains("expired"), "{refused}");

    set_clock(&offset, 0);
    let jumped = Instant::now();
    poll::until("a certificate that is good today", NOTICED, || ask(&webhook))
        .unwrap_or_else(|error| panic!("{error}\n{}", webhook.log()));
    eprintln!("renewed and served {:.1?} after the clock had jumped over its end", jumped.elapsed());
    let after = secret();
    assert_eq!(after["data"]["ca.crt"], before["data"]["ca.crt"], "the CA goes on");
    assert_ne!(after["data"]["tls.crt"], before["data"]["tls.crt"]);
}

/// Calls the webhook by the name that an API server uses, with curl: it checks chain, name and time.
fn ask(webhook: &Webhook<'_>) -> Result<(), String> {
    let port = webhook.url.trim_end_matches("/mutate-pod").rsplit(':').next().unwrap_or_default();
    let output = Command::new("curl")
        .args(["--silent", "--show-error", "--fail", "--max-time", "10", "--cacert"])
        .arg(&webhook.ca)
        .args(["--connect-to", &format!("{HOST}:443:127.0.0.1:{port}"), &format!("https://{HOST}/healthz")])
        .output()
        .map_err(|error| error.to_string())?;
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}

fn set_clock(file: &Path, seconds: i64) {
    // Renamed into place: a program that reads it meanwhile must see one or the other.
    let new = file.with_extension("new");
    fs::write(&new, seconds.to_string()).unwrap();
    fs::rename(new, file).unwrap();
}

/// The library that sets the clock of one program.
fn build(folder: &Path) -> PathBuf {
    let library = folder.join("clock.so");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cluster/clock.c");
    let output = Command::new("cc")
        .args(["-shared", "-fPIC", "-Wall", "-Werror", "-O1", "-o"])
        .arg(&library)
        .arg(source)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    library
}
