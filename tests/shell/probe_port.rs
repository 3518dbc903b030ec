//! The port of probes while somebody holds connections to it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use sidecarset::metrics::Metrics;
use sidecarset::server::probes::{self, Check, Health};
use sidecarset::tls::accept::{self, ConnectionLimits};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::process;
use crate::support::{PATIENCE, rest_of};

/// Connections that say nothing, or not all of what they would.
async fn hold(address: SocketAddr, count: usize) -> Vec<TcpStream> {
    let mut held = Vec::new();
    for number in 0..count {
        let mut stream = TcpStream::connect(address).await.expect("connected");
        if number % 2 == 0 {
            // It may have been closed already.
            let _ = stream.write_all(b"GET /readyz HTTP/1.1\r\nhost:").await;
        }
        held.push(stream);
    }
    held
}

async fn get(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).await.expect("connected");
    let head = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await.expect("sent");
    String::from_utf8(rest_of(&mut stream).await).expect("text")
}

/// The probe server as the controller has it.
async fn serve(limits: ConnectionLimits) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    let metrics = Arc::new(Metrics::for_controller("test"));
    let app = probes::without_admissions(metrics, vec![Check::new("watches", || Health::when(true))]);
    tokio::spawn(accept::serve_plain(listener, app, limits));
    address
}

#[tokio::test]
async fn a_webhook_is_probed_and_answers_while_somebody_holds_connections() {
    let webhook = process::start(&[]).await;
    let _held = hold(webhook.probes, 200).await;
    for _ in 0..3 {
        assert!(webhook.probe("/readyz").await.starts_with("HTTP/1.1 200"));
        assert!(webhook.post_with("").await.starts_with("HTTP/1.1 200"));
    }
    let metrics = webhook.probe("/metrics").await;
    let open = metrics.lines().find_map(|line| line.strip_prefix("process_open_fds ")?.parse::<f64>().ok());
    assert!(open.is_some_and(|open| open < 150.0), "not one for each of them: {open:?}");
}

#[tokio::test]
async fn a_controller_is_probed_while_somebody_holds_connections() {
    let address = serve(ConnectionLimits::of_probes()).await;
    let mut held = hold(address, 200).await;
    for _ in 0..3 {
        assert!(get(address, "/readyz").await.starts_with("HTTP/1.1 200"));
        assert!(get(address, "/metrics").await.contains("sidecarset_controller_leader 0"));
    }
    let rest = rest_of(&mut held[1]).await;
    assert_eq!(rest, b"", "the one that has idled for longest has made room");
    assert_eq!(get(address, "/healthz").await.lines().last(), Some("ok"));
}

#[tokio::test]
async fn idle_connections_to_the_probe_port_end_and_used_ones_are_kept() {
    let idle = Duration::from_millis(50);
    let address = serve(ConnectionLimits { idle, ..ConnectionLimits::of_probes() }).await;
    for mut stream in hold(address, 2).await {
        let rest = rest_of(&mut stream).await;
        assert!(rest.is_empty() || rest.starts_with(b"HTTP/1.1 408"), "{}", String::from_utf8_lossy(&rest));
    }
    let address = serve(ConnectionLimits::of_probes()).await;
    let mut stream = TcpStream::connect(address).await.expect("connected");
    for _ in 0..3 {
        stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await.expect("sent");
        let (mut text, mut buffer) = (String::new(), [0; 512]);
        while !text.ends_with("ok") {
            let read = tokio::time::timeout(PATIENCE, stream.read(&mut buffer));
            let read = read.await.expect("in time").expect("read");
            assert!(read > 0, "closed: {text}");
            text.push_str(&String::from_utf8_lossy(&buffer[..read]));
        }
    }
}
