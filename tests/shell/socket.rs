//! The accept loop on loopback: real handshakes, rotation, and what a client can hold up.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::CertificateDer;
use sidecarset::server::{self, AppState, RequestLimits};
use sidecarset::tls;
use sidecarset::tls::accept::{self, ConnectionLimits};
use sidecarset::tls::resolver::CurrentCertificate;
use sidecarset::tls::source::{Keeper, PairFolder};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_rustls::client::TlsStream;

use crate::support::{PATIENCE, connect, mk_pair, mk_review, mk_state, mount_secret, rest_of, until};

/// A server on a free port, with its certificate in a folder like a mounted Secret.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) state: Arc<AppState>,
    keeper: Keeper,
    certs: tempfile::TempDir,
    pub(crate) ca: CertificateDer<'static>,
    pub(crate) stop: oneshot::Sender<()>,
    pub(crate) ended: JoinHandle<()>,
}

pub(crate) async fn start(requests: RequestLimits, connections: ConnectionLimits) -> Server {
    let certs = tempfile::tempdir().expect("temporary folder");
    let pair = mk_pair(None);
    mount_secret(certs.path(), "1", &pair.leaf_pem, &pair.key_pem);
    let current = Arc::new(CurrentCertificate::default());
    let mut keeper = Keeper::new(Box::new(PairFolder::new(certs.path())), Arc::clone(&current));
    keeper.check().expect("a good pair");
    let config = tls::server_config(current).expect("TLS");
    let state = mk_state(requests);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    let (stop, stopped) = oneshot::channel();
    let app = server::app(Arc::clone(&state));
    let counted = state.metrics.connections.clone();
    let stop_when = async { _ = stopped.await };
    let ended = tokio::spawn(accept::serve(listener, config, app, connections, counted, stop_when));
    Server { address, state, keeper, certs, ca: pair.ca_der, stop, ended }
}

impl Server {
    /// A finished handshake. `alpn` is what the client offers.
    pub(crate) async fn connect(&self, alpn: &[&[u8]]) -> std::io::Result<TlsStream<TcpStream>> {
        connect(self.address, &self.ca, alpn).await
    }

    async fn until_counted(&self, line: &str) {
        let counted = || self.state.metrics.text(0).expect("text").lines().any(|found| found == line);
        until(line, counted).await;
    }

    pub(crate) async fn post_http1(&self) -> Response<Incoming> {
        let io = TokioIo::new(self.connect(&[b"http/1.1"]).await.expect("connected"));
        let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.expect("HTTP/1.1");
        tokio::spawn(connection);
        sender.send_request(mk_request()).await.expect("answered")
    }
}

pub(crate) fn mk_request() -> Request<Full<Bytes>> {
    let body = Full::from(mk_review().to_string());
    let request =
        Request::post("https://localhost/mutate-pod?timeout=10s").header("content-type", "application/json");
    request.header("host", "localhost").body(body).expect("a request")
}

/// A request's head that announces more body than follows.
pub(crate) const HALF_A_REQUEST: &[u8] =
    b"POST /mutate-pod HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{\"apiV";

#[tokio::test]
async fn http1_and_http2_are_served() {
    let server = start(RequestLimits::default(), ConnectionLimits::default()).await;
    assert_eq!(server.post_http1().await.status(), StatusCode::OK);

    let stream = server.connect(&[b"h2", b"http/1.1"]).await.expect("connected");
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(b"h2".as_slice()), "HTTP/2 comes first");
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .expect("HTTP/2");
    tokio::spawn(connection);
    for _ in 0..3 {
        let response = sender.send_request(mk_request()).await.expect("answered");
        assert_eq!(response.status(), StatusCode::OK);
        let body = response.into_body().collect().await.expect("whole").to_bytes();
        let review: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
        assert_eq!(review["response"]["uid"], mk_review()["request"]["uid"]);
    }
}

#[tokio::test]
async fn one_connection_carries_many_requests() {
    let server = start(RequestLimits::default(), ConnectionLimits::default()).await;
    let io = TokioIo::new(server.connect(&[b"http/1.1"]).await.expect("connected"));
    let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.expect("HTTP/1.1");
    tokio::spawn(connection);
    for _ in 0..10 {
        sender.ready().await.expect("kept alive");
        let response = sender.send_request(mk_request()).await.expect("answered");
        assert_eq!(response.status(), StatusCode::OK);
        response.into_body().collect().await.expect("whole");
    }
}

#[tokio::test]
async fn a_swapped_secret_is_served_to_the_next_connection() {
    let mut server = start(RequestLimits::default(), ConnectionLimits::default()).await;
    let old = server.connect(&[]).await.expect("connected");
    let next = mk_pair(None);
    mount_secret(server.certs.path(), "2", &next.leaf_pem, &next.key_pem);
    server.keeper.check().expect("good").expect("changed");

    assert!(server.connect(&[]).await.is_err(), "the old CA does not vouch for the new leaf");
    server.ca = next.ca_der;
    let new = server.connect(&[]).await.expect("connected");
    let leaf = |stream: &TlsStream<TcpStream>| {
        stream.get_ref().1.peer_certificates().and_then(|chain| chain.first()).map(|leaf| leaf.to_vec())
    };
    assert_eq!(leaf(&new), Some(next.leaf_der));
    assert_ne!(leaf(&old), leaf(&new));
}

#[tokio::test]
async fn half_open_handshakes_block_nobody() {
    let server = start(RequestLimits::default(), ConnectionLimits::default()).await;
    let mut silent = Vec::new();
    for _ in 0..50 {
        let mut stream = TcpStream::connect(server.address).await.expect("connected");
        stream.write_all(&[22, 3, 1]).await.expect("sent");
        silent.push(stream);
    }
    assert_eq!(server.post_http1().await.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_handshake_has_a_time_limit() {
    let limits = ConnectionLimits { handshake: Duration::from_millis(20), ..ConnectionLimits::default() };
    let server = start(RequestLimits::default(), limits).await;
    let mut stream = TcpStream::connect(server.address).await.expect("connected");
    assert_eq!(rest_of(&mut stream).await, b"", "closed without a word");
    server.until_counted("sidecarset_tls_handshakes_total{result=\"timeout\"} 1").await;
}

#[tokio::test]
async fn connections_and_handshakes_are_counted() {
    let server = start(RequestLimits::default(), ConnectionLimits::default()).await;
    let open = server.connect(&[]).await.expect("connected");
    server.until_counted("sidecarset_tls_handshakes_total{result=\"ok\"} 1").await;
    server.until_counted("sidecarset_connections_open 1").await;
    drop(open);
    server.until_counted("sidecarset_connections_open 0").await;

    let stranger = mk_pair(None).ca_der;
    assert!(connect(server.address, &stranger, &[]).await.is_err(), "trusts another CA");
    server.until_counted("sidecarset_tls_handshakes_total{result=\"refused\"} 1").await;

    let mut plain = TcpStream::connect(server.address).await.expect("connected");
    plain.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.expect("sent");
    server.until_counted("sidecarset_tls_handshakes_total{result=\"failed\"} 1").await;
}

#[tokio::test]
async fn an_idle_connection_is_closed() {
    let limits = ConnectionLimits { idle: Duration::from_millis(50), ..ConnectionLimits::default() };
    let server = start(RequestLimits::default(), limits).await;
    for before in [b"".as_slice(), b"POST /mutate-pod HTTP/1.1\r\nhost:"] {
        let mut stream = server.connect(&[b"http/1.1"]).await.expect("connected");
        stream.write_all(before).await.expect("sent");
        let rest = rest_of(&mut stream).await;
        assert!(rest.is_empty() || rest.starts_with(b"HTTP/1.1 408"), "{}", String::from_utf8_lossy(&rest));
    }
}

#[tokio::test]
async fn a_slow_body_is_told_and_others_go_on() {
    let limits = RequestLimits { body_time: Duration::from_millis(50), ..RequestLimits::default() };
    let server = start(limits, ConnectionLimits::default()).await;
    let mut slow = server.connect(&[b"http/1.1"]).await.expect("connected");
    slow.write_all(HALF_A_REQUEST).await.expect("sent");
    until("the slow request is in flight", || server.state.in_flight() == 1).await;
    assert_eq!(server.post_http1().await.status(), StatusCode::OK);
    let rest = rest_of(&mut slow).await;
    assert!(rest.starts_with(b"HTTP/1.1 408"), "{}", String::from_utf8_lossy(&rest));
}

/// Closes idle connections, lets the request in flight end, takes no new one.
#[tokio::test]
async fn stopping_lets_requests_end() {
    let server = start(RequestLimits::default(), ConnectionLimits::default()).await;
    let mut idle = server.connect(&[b"http/1.1"]).await.expect("connected");
    let body = mk_review().to_string();
    let (first, second) = body.split_at(body.len() / 2);
    let mut busy = server.connect(&[b"http/1.1"]).await.expect("connected");
    let head = format!(
        "POST /mutate-pod HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{first}",
        body.len()
    );
    busy.write_all(head.as_bytes()).await.expect("sent");
    until("the request is in flight", || server.state.in_flight() == 1).await;

    server.stop.send(()).expect("still running");
    assert_eq!(rest_of(&mut idle).await, b"", "an idle connection is closed");
    assert!(TcpStream::connect(server.address).await.is_err(), "no new connections");
    assert!(!server.ended.is_finished(), "the request in flight is waited for");
    busy.write_all(second.as_bytes()).await.expect("sent");
    let rest = rest_of(&mut busy).await;
    assert!(rest.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&rest));
    tokio::time::timeout(PATIENCE, server.ended).await.expect("in time").expect("no panic");
}

#[tokio::test]
async fn plain_http_on_the_tls_port_harms_nobody() {
    let server = start(RequestLimits::default(), ConnectionLimits::default()).await;
    let mut stream = TcpStream::connect(server.address).await.expect("connected");
    stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.expect("sent");
    rest_of(&mut stream).await;
    assert_eq!(server.post_http1().await.status(), StatusCode::OK);
}
