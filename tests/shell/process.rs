//! `sidecarset webhook` as a process: start, live reload, drain, signals, and what stops it from starting.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::sight::promtool;
use crate::support::{LOG_AGENT, PATIENCE, connect, mk_review, rest_of, until};

/// A running webhook on free ports.
pub(crate) struct Webhook {
    child: Child,
    log: Arc<Mutex<Vec<String>>>,
    pub(crate) address: SocketAddr,
    pub(crate) probes: SocketAddr,
    pub(crate) ca: CertificateDer<'static>,
    dir: tempfile::TempDir,
}

impl Drop for Webhook {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sidecarset"));
    command.arg("webhook").args(args).stdout(Stdio::piped()).stderr(Stdio::piped()).stdin(Stdio::null());
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("SIDECARSET_")) {
        command.env_remove(name);
    }
    command
}

/// Starts a webhook with the set of [`LOG_AGENT`] and waits until it says that it is ready.
pub(crate) async fn start(more_args: &[&str]) -> Webhook {
    let dir = tempfile::tempdir().expect("temporary folder");
    let sets = dir.path().join("sets");
    fs::create_dir(&sets).expect("made");
    fs::write(sets.join("a.yaml"), LOG_AGENT).expect("written");
    let ca_out = dir.path().join("ca.crt");
    let path = |path: &Path| path.to_str().expect("text").to_owned();
    let mut child = command(&["--listen=127.0.0.1:0", "--probe-listen=127.0.0.1:0"])
        .args([format!("--sidecarsets={}", path(&sets)), format!("--ca-out={}", path(&ca_out))])
        .args(more_args)
        .spawn()
        .expect("started");
    let log = Arc::new(Mutex::new(Vec::new()));
    let for_thread = Arc::clone(&log);
    let stderr = BufReader::new(child.stderr.take().expect("piped"));
    std::thread::spawn(move || {
        for line in stderr.lines().map_while(Result::ok) {
            for_thread.lock().expect("lock").push(line);
        }
    });
    let ready = || log.lock().expect("lock").iter().find(|line| line.contains("ready: https://")).cloned();
    until("the webhook is ready", || ready().is_some()).await;
    let ready = ready().expect("found before");
    let after = |mark: &str| {
        let rest = ready.split_once(mark).expect(mark).1;
        rest.split_once('/').expect("a path").0.parse().expect("an address")
    };
    let (address, probes) = (after("ready: https://"), after("probes and metrics: http://"));
    let ca = CertificateDer::from_pem_slice(&fs::read(ca_out).expect("written")).expect("PEM");
    Webhook { child, log, address, probes, ca, dir }
}

impl Webhook {
    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("sh").args(["-c", &format!("kill -{name} {}", self.child.id())]).status();
        assert!(status.expect("a shell").success());
    }

    pub(crate) fn log_has(&self, text: &str) -> bool {
        self.log.lock().expect("lock").iter().any(|line| line.contains(text))
    }

    /// The most memory in RAM that the process has had, in bytes.
    pub(crate) fn peak_memory(&self) -> usize {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("readable");
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB"));
        peak.and_then(|peak| peak.parse::<usize>().ok()).expect("a number") * 1024
    }

    /// Status line, headers and body of one request on a connection of its own.
    pub(crate) async fn probe(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(self.probes).await.expect("connected");
        let head = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).await.expect("sent");
        String::from_utf8(rest_of(&mut stream).await).expect("text")
    }

    /// The same for a review, on a connection that the client would keep.
    async fn post(&self) -> String {
        self.post_with("").await
    }

    /// The same, with more headers.
    pub(crate) async fn post_with(&self, headers: &str) -> String {
        let mut stream = connect(self.address, &self.ca, &[b"http/1.1"]).await.expect("connected");
        let body = mk_review().to_string();
        let head = head(body.len()).replacen("\r\n\r\n", &format!("\r\n{headers}\r\n"), 1);
        stream.write_all((head + &body).as_bytes()).await.expect("sent");
        read_answer(&mut stream).await
    }

    pub(crate) async fn end(&mut self) -> ExitStatus {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("a child") {
                return status;
            }
            assert!(start.elapsed() < PATIENCE, "the process never ended");
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    }
}

fn head(length: usize) -> String {
    format!(
        "POST /mutate-pod?timeout=10s HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n"
    )
}

/// Reads up to the end of an AdmissionReview.
async fn read_answer(stream: &mut (impl AsyncReadExt + Unpin)) -> String {
    let mut text = Vec::new();
    let mut buffer = [0; 4096];
    while !text.ends_with(b"}}") {
        let read =
            tokio::time::timeout(PATIENCE, stream.read(&mut buffer)).await.expect("in time").expect("read");
        assert!(read > 0, "closed too early: {}", String::from_utf8_lossy(&text));
        text.extend_from_slice(&buffer[..read]);
    }
    String::from_utf8(text).expect("text")
}

/// Each way in which the process must refuse to start, with what its last words must contain.
#[test]
fn what_cannot_run_says_why_and_exits_2() {
    let dir = tempfile::tempdir().expect("temporary folder");
    fs::write(dir.path().join("bad.yaml"), "a: 1\n---\napiVersion: v1\nkind: Pod\n").expect("written");
    let empty = tempfile::tempdir().expect("temporary folder");
    let (bad, empty) = (dir.path().to_str().expect("text"), empty.path().to_str().expect("text"));
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let taken = taken.local_addr().expect("bound").to_string();
    let any = "127.0.0.1:0";
    let cases: Vec<(Vec<&str>, Vec<&str>)> = vec![
        (vec![], vec!["--sidecarsets"]),
        (
            vec!["--sidecarsets", bad],
            vec!["--sidecarsets", "bad.yaml: document 1", "bad.yaml: document 2", "\"Pod\"", "allowed are"],
        ),
        (vec!["--sidecarsets", "/does/not/exist"], vec!["/does/not/exist", "cannot read the folder"]),
        (vec!["--sidecarsets", empty, "--cert-dir", empty], vec!["--cert-dir", "tls.crt"]),
        (
            vec!["--sidecarsets", empty, "--cert-dir", empty, "--ca-out", "x"],
            vec!["--cert-dir and --ca-out cannot be used together"],
        ),
        (
            vec!["--sidecarsets", empty, "--ca-out", "/does/not/exist/ca"],
            vec!["--ca-out: /does/not/exist: cannot read the folder"],
        ),
        (vec!["--sidecarsets", empty, "--cert-host", "é è"], vec!["--cert-host"]),
        (
            vec!["--sidecarsets", empty, "--probe-listen", any, "--listen", &taken],
            vec!["--listen", "free port"],
        ),
        (
            vec!["--sidecarsets", empty, "--listen", any, "--probe-listen", &taken],
            vec!["--probe-listen", "free port"],
        ),
        (
            vec!["--sidecarsets", empty, "--listen", &taken, "--probe-listen", &taken],
            vec!["--probe-listen is", "another port"],
        ),
        (vec!["--sidecarsets", empty, "--listen", "8443"], vec!["--listen"]),
        (vec!["--sidecarsets", empty, "--shutdown-delay", "5"], vec!["--shutdown-delay", "for example 10s"]),
        (vec!["--sidecarsets", empty, "--workers", "0"], vec!["--workers", "from 1 to 64"]),
        (vec!["--sidecarsets", empty, "--max-in-flight", "0"], vec!["--max-in-flight"]),
        (vec!["--sidecarsets", empty, "--log-level", "loud"], vec!["--log-level", "debug"]),
        (
            vec!["--sidecarsets", empty, "--feature-gates", "X=true"],
            vec!["--feature-gates", "SortSidecarContainers"],
        ),
    ];
    for (args, hints) in cases {
        let mut child = command(&args).spawn().expect("started");
        let mut text = String::new();
        child.stderr.take().expect("piped").read_to_string(&mut text).expect("text");
        let status = child.wait().expect("ended");
        assert_eq!(status.code(), Some(2), "{args:?}: {text}");
        for hint in hints {
            assert!(text.contains(hint), "{args:?}: {hint:?} is not in {text}");
        }
    }
}

#[test]
fn an_environment_variable_stands_in_for_a_flag() {
    let output = command(&[]).env("SIDECARSET_SIDECARSETS", "/does/not/exist").output().expect("run");
    assert_eq!(output.status.code(), Some(2));
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains("SIDECARSET_SIDECARSETS: /does/not/exist: cannot read the folder"), "{told}");
}

/// Rule: I-DEF-29, by the log that it reads.
#[tokio::test]
async fn serves_reloads_and_keeps_the_last_good_state() {
    let webhook = start(&["--log-format=json"]).await;
    let sets = webhook.dir.path().join("sets");
    assert!(webhook.probe("/readyz?verbose").await.contains("[+]certificate ok"));
    assert!(webhook.post().await.starts_with("HTTP/1.1 200"));
    until("the admission is logged", || {
        webhook.log_has("\"admission.uid\":\"705ab4f5-6393-11e8-b7cc-42010a800002\"")
    })
    .await;
    let lines = webhook.log.lock().expect("lock").clone();
    for line in &lines {
        serde_json::from_str::<serde_json::Value>(line).expect("each line is JSON");
        assert!(!line.contains("nginx:1.27"), "never bodies: {line}");
    }

    fs::write(sets.join("b.yaml"), "kind: [").expect("written");
    until("the bad file is logged", || webhook.log_has("b.yaml: document 1: not readable")).await;
    let metrics = webhook.probe("/metrics").await;
    assert!(metrics.contains("sidecarset_source_reload_failures_total 1"), "{metrics}");
    assert!(metrics.contains("sidecarset_sidecarsets 1"), "{metrics}");
    assert!(webhook.post().await.starts_with("HTTP/1.1 200"), "served from the last good state");

    let start = Instant::now();
    fs::write(sets.join("b.yaml"), LOG_AGENT.replace("name: logging", "name: second")).expect("written");
    loop {
        if webhook.probe("/metrics").await.contains("sidecarset_sidecarsets 2") {
            break;
        }
        assert!(start.elapsed() < PATIENCE, "the change was never seen");
    }
    // Both sets bring a container of one name to the same Pods.
    until("the warning is logged", || webhook.log_has("SidecarSet \\\"second\\\": spec.containers: ")).await;
    assert!(webhook.log_has("[A-VAL-84]"));
}

/// After the first signal: not ready, still serving, each answer closes its connection. After the second: gone.
#[tokio::test]
async fn drains_after_the_first_signal_and_ends_after_the_second() {
    let mut webhook = start(&["--shutdown-delay=10m"]).await;
    assert!(!webhook.post().await.contains("connection: close"));
    webhook.signal("TERM");
    until("the drain is logged", || webhook.log_has("draining")).await;
    assert!(webhook.probe("/readyz").await.starts_with("HTTP/1.1 503"));
    assert!(webhook.probe("/healthz").await.starts_with("HTTP/1.1 200"));
    let answer = webhook.post().await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("\r\nconnection: close\r\n"), "{answer}");
    webhook.signal("INT");
    assert_eq!(webhook.end().await.code(), Some(1));
    until("the end is logged", || webhook.log_has("second signal")).await;
}

#[tokio::test]
async fn a_request_in_flight_is_answered_before_the_end() {
    let mut webhook = start(&["--shutdown-delay=0"]).await;
    let body = mk_review().to_string();
    let (first, second) = body.split_at(100);
    let mut stream = connect(webhook.address, &webhook.ca, &[b"http/1.1"]).await.expect("connected");
    stream.write_all((head(body.len()) + first).as_bytes()).await.expect("sent");
    loop {
        if webhook.probe("/metrics").await.contains("sidecarset_admission_in_flight 1") {
            break;
        }
    }
    webhook.signal("TERM");
    // The listener goes when the drain's delay is over; the connection with the request stays.
    let start = Instant::now();
    while TcpStream::connect(webhook.address).await.is_ok() {
        assert!(start.elapsed() < PATIENCE, "new connections are still taken");
    }
    stream.write_all(second.as_bytes()).await.expect("sent");
    assert!(read_answer(&mut stream).await.starts_with("HTTP/1.1 200"));
    assert_eq!(webhook.end().await.code(), Some(0));
    until("the end is logged", || webhook.log_has("drained")).await;
}

#[tokio::test]
async fn a_scrape_is_what_promtool_likes() {
    let webhook = start(&[]).await;
    assert!(webhook.post().await.starts_with("HTTP/1.1 200"));
    let answer = webhook.probe("/metrics").await;
    let (head, metrics) = answer.split_once("\r\n\r\n").expect("a head");
    assert!(head.contains("text/plain; version=0.0.4"), "{head}");
    assert!(metrics.contains("\nsidecarset_ready 1\n"), "{metrics}");
    let Some(mut promtool) = promtool() else { return };
    let file = webhook.dir.path().join("metrics");
    fs::write(&file, metrics).expect("written");
    let input = fs::File::open(&file).expect("readable");
    let output = promtool.args(["check", "metrics"]).stdin(input).output().expect("started");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test]
async fn debug_is_served_if_asked_for() {
    assert!(start(&[]).await.probe("/debug/config").await.starts_with("HTTP/1.1 404"));
    let webhook = start(&["--debug-endpoints", "--max-in-flight=77"]).await;
    let config = webhook.probe("/debug/config").await;
    assert!(config.contains("max-in-flight: 77"), "{config}");
    assert!(webhook.probe("/debug/snapshot").await.contains(r#""names":["logging"]"#));
}
