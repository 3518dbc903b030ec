//! What a process outlives: a log that nobody reads, a full disk, a certificate that has ended.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Instant;

use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::process::command;
use crate::support::{LOG_AGENT, PATIENCE, exchange, mk_review, mount_secret, rest_of};

/// A webhook on addresses that are known before it says anything.
struct Quiet {
    child: Child,
    address: SocketAddr,
    probes: SocketAddr,
    dir: tempfile::TempDir,
}

impl Drop for Quiet {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Where nobody listens now.
fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port")
}

/// Starts a webhook whose log goes to `stderr`, and waits until it is ready. `certificate` gives the arguments about it.
async fn start(stderr: Stdio, certificate: impl FnOnce(&Path) -> Vec<String>) -> Quiet {
    let dir = tempfile::tempdir().expect("temporary folder");
    let sets = dir.path().join("sets");
    fs::create_dir(&sets).expect("made");
    fs::write(sets.join("a.yaml"), LOG_AGENT).expect("written");
    let (address, probes) = (free_address(), free_address());
    let child = command(&["--shutdown-delay=0s"])
        .args([format!("--listen={address}"), format!("--probe-listen={probes}")])
        .arg(format!("--sidecarsets={}", sets.display()))
        .args(certificate(dir.path()))
        .stderr(stderr)
        .spawn()
        .expect("started");
    let webhook = Quiet { child, address, probes, dir };
    let start = Instant::now();
    while !webhook.probe("/readyz").await.starts_with("HTTP/1.1 200") {
        assert!(start.elapsed() < PATIENCE, "never ready");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    webhook
}

fn self_made(dir: &Path) -> Vec<String> {
    vec![format!("--ca-out={}", dir.join("ca.crt").display())]
}

impl Quiet {
    /// Head and body of an answer of the probe port, empty if there is none.
    async fn probe(&self, path: &str) -> String {
        let Ok(mut stream) = TcpStream::connect(self.probes).await else { return String::new() };
        let head = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).await.expect("sent");
        String::from_utf8(rest_of(&mut stream).await).expect("text")
    }

    async fn metric(&self, name: &str) -> f64 {
        let text = self.probe("/metrics").await;
        let value = text.lines().find_map(|line| line.strip_prefix(name)).expect("a metric");
        value.trim().parse().expect("a number")
    }

    fn ca(&self) -> CertificateDer<'static> {
        let pem = fs::read(self.dir.path().join("ca.crt")).expect("written");
        CertificateDer::from_pem_slice(&pem).expect("PEM")
    }

    /// Admissions whose log lines hold `bytes` each.
    async fn admit(&self, times: usize, bytes: usize) {
        let mut review = mk_review();
        review["request"]["object"]["metadata"]["name"] = "n".repeat(bytes).into();
        let body = review.to_string();
        for _ in 0..times {
            let line = "POST /mutate-pod?timeout=10s";
            let answer = exchange(self.address, &self.ca(), line, "application/json", body.as_bytes()).await;
            assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("\"patch\""), "{answer}");
        }
    }

    fn terminate(&self) {
        let kill = std::process::Command::new("kill").arg(self.child.id().to_string()).status();
        assert!(kill.expect("kill runs").success());
    }
}

/// A pipe takes 64 KiB, the log's buffer 4 MiB; then lines are dropped, and nothing else.
#[tokio::test]
async fn a_log_that_nobody_reads_stops_neither_admissions_nor_the_end() {
    let mut webhook = start(Stdio::piped(), self_made).await;
    webhook.admit(60, 100_000).await;
    let dropped = webhook.metric("sidecarset_log_lines_dropped_total ").await;
    assert!((1.0..60.0).contains(&dropped), "{dropped}");
    webhook.terminate();
    let start = Instant::now();
    while webhook.child.try_wait().expect("a child").is_none() {
        assert!(start.elapsed() < PATIENCE, "it waits for somebody who reads its last lines");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_full_disk_under_the_log_stops_no_admission_and_is_counted() {
    let full = fs::OpenOptions::new().write(true).open("/dev/full").expect("a device that is always full");
    let webhook = start(full.into(), self_made).await;
    let before = webhook.metric("sidecarset_log_lines_dropped_total ").await;
    webhook.admit(5, 10).await;
    let start = Instant::now();
    while webhook.metric("sidecarset_log_lines_dropped_total ").await < before + 5.0 {
        assert!(start.elapsed() < PATIENCE, "the lines of the admissions were not counted");
    }
}

/// As after a clock that jumps over the end of the certificate: what clients make of it is theirs to say.
#[tokio::test]
async fn a_certificate_that_has_ended_is_served_and_told() {
    let webhook = start(Stdio::null(), |dir| {
        let key = KeyPair::generate().expect("key");
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
        params.not_after = rcgen::date_time_ymd(2024, 2, 29);
        let leaf = params.self_signed(&key).expect("signed");
        mount_secret(dir, "1", &leaf.pem(), &key.serialize_pem());
        vec![format!("--cert-dir={}", dir.display())]
    })
    .await;
    let body = mk_review().to_string();
    let review = webhook.dir.path().join("review.json");
    fs::write(&review, body).expect("written");
    let url = format!("https://{}/mutate-pod?timeout=10s", webhook.address);
    let data = format!("@{}", review.display());
    let curl = |trust: &str| {
        let mut command = std::process::Command::new("curl");
        command.args([trust, "-sS", "-H", "Content-Type: application/json", "--data-binary", &data, &url]);
        command.output().expect("curl runs")
    };
    assert!(!curl("--ssl-reqd").status.success(), "a client that looks at the certificate refuses it");
    let answer = curl("--insecure");
    assert!(String::from_utf8_lossy(&answer.stdout).contains("\"patch\""), "{answer:?}");
    let ready = webhook.probe("/readyz?verbose").await;
    assert!(ready.starts_with("HTTP/1.1 200") && ready.contains("HAS ENDED"), "{ready}");
    assert!(webhook.metric("sidecarset_certificate_expiry_timestamp_seconds ").await < 1.8e9);
}
