//! Connections that grow old, idle, pile up, or whose client does not read: what is closed, when, and that no request is lost by it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use axum::http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Channel, Either, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use sidecarset::metrics::Limit;
use sidecarset::server::RequestLimits;
use sidecarset::tls::accept::ConnectionLimits;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::client::TlsStream;

use crate::socket::{HALF_A_REQUEST, Server, mk_request, start};
use crate::support::{PATIENCE, connect_over, mk_review, rest_of, until};

/// Long enough to see that something does not happen; too short only hides a failure.
const A_WHILE: Duration = Duration::from_millis(100);

async fn start_with(connections: ConnectionLimits) -> Server {
    start(RequestLimits::default(), connections).await
}

/// A kept HTTP/1.1 connection.
async fn keep(stream: TlsStream<TcpStream>) -> SendRequest<Full<Bytes>> {
    let (sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.expect("HTTP/1.1");
    tokio::spawn(connection);
    sender
}

async fn post(sender: &mut SendRequest<Full<Bytes>>) -> Response<Incoming> {
    sender.ready().await.expect("kept alive");
    let mut answer = sender.send_request(mk_request()).await.expect("answered");
    assert_eq!(answer.status(), StatusCode::OK);
    answer.body_mut().collect().await.expect("whole");
    answer
}

fn says_close(answer: &Response<Incoming>) -> bool {
    answer.headers().get(header::CONNECTION).is_some_and(|value| value == "close")
}

#[tokio::test]
async fn an_old_connection_ends_behind_an_answer_that_says_so() {
    let age = Duration::from_secs(1);
    let server = start_with(ConnectionLimits { age, ..ConnectionLimits::default() }).await;
    let mut sender = keep(server.connect(&[b"http/1.1"]).await.expect("connected")).await;
    let mut answers = 1;
    while !says_close(&post(&mut sender).await) {
        answers += 1;
    }
    assert!(answers > 1, "a young connection is kept");
    assert!(sender.ready().await.is_err(), "closed behind that answer");
}

/// Closing it would race with the next request, and an API server does not repeat that.
#[tokio::test]
async fn an_old_connection_that_idles_is_left_alone_and_its_next_request_answered() {
    let age = Duration::from_millis(1);
    let server = start_with(ConnectionLimits { age, ..ConnectionLimits::default() }).await;
    let mut sender = keep(server.connect(&[b"http/1.1"]).await.expect("connected")).await;
    tokio::time::sleep(A_WHILE).await;
    assert!(says_close(&post(&mut sender).await));
}

#[tokio::test]
async fn an_old_http2_connection_takes_no_new_requests_and_answers_those_it_has() {
    let age = Duration::from_millis(200);
    let server = start_with(ConnectionLimits { age, ..ConnectionLimits::default() }).await;
    let stream = server.connect(&[b"h2"]).await.expect("connected");
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .expect("HTTP/2");
    let connection = tokio::spawn(connection);
    let (mut body_tx, body) = Channel::<Bytes>::new(1);
    let request = Request::post("https://localhost/mutate-pod?timeout=10s")
        .header(header::CONTENT_TYPE, "application/json")
        .body(Either::Left(body))
        .expect("a request");
    let answer = tokio::spawn(sender.send_request(request));
    until("the request is in flight", || server.state.in_flight() == 1).await;
    // Until the client knows, its requests are answered.
    while let Ok(mut other) = sender.send_request(mk_request().map(Either::Right)).await {
        assert_eq!(other.status(), StatusCode::OK);
        other.body_mut().collect().await.expect("whole");
    }
    assert_eq!(server.state.in_flight(), 1);
    body_tx.send_data(mk_review().to_string().into()).await.expect("still open");
    drop(body_tx);
    let answer = answer.await.expect("no panic").expect("answered");
    assert_eq!(answer.status(), StatusCode::OK);
    answer.into_body().collect().await.expect("whole");
    connection.await.expect("no panic").expect("closed in order");
}

/// `LAST_CALL`: a handshake that has just ended means that a request is on its way.
#[tokio::test]
async fn a_request_that_is_on_its_way_when_the_server_stops_is_answered() {
    let server = start_with(ConnectionLimits::default()).await;
    let mut used = keep(server.connect(&[b"http/1.1"]).await.expect("connected")).await;
    post(&mut used).await;
    let mut fresh = keep(server.connect(&[b"http/1.1"]).await.expect("connected")).await;
    server.stop.send(()).expect("still running");
    until("no new connection is taken", || std::net::TcpStream::connect(server.address).is_err()).await;
    post(&mut used).await;
    post(&mut fresh).await;
    tokio::time::timeout(PATIENCE, server.ended).await.expect("in time").expect("no panic");
}

#[tokio::test]
async fn a_connection_too_many_takes_the_place_of_the_one_that_idles_for_longest() {
    let limits = ConnectionLimits { connections: 2, settled: Duration::ZERO, ..ConnectionLimits::default() };
    let server = start_with(limits).await;
    let mut first = server.connect(&[]).await.expect("connected");
    tokio::time::sleep(Duration::from_millis(2)).await;
    let mut second = keep(server.connect(&[]).await.expect("connected")).await;
    let mut third = keep(server.connect(&[]).await.expect("connected")).await;
    assert_eq!(rest_of(&mut first).await, b"");
    post(&mut third).await;
    post(&mut second).await;
    assert_eq!(
        (server.state.metrics.connections.open.get(), server.state.metrics.connections.made_room.get()),
        (2, 1)
    );
}

#[tokio::test]
async fn a_request_in_flight_keeps_its_place() {
    let limits = ConnectionLimits { connections: 1, settled: Duration::ZERO, ..ConnectionLimits::default() };
    let server = start_with(limits).await;
    let mut first = server.connect(&[b"http/1.1"]).await.expect("connected");
    first.write_all(HALF_A_REQUEST).await.expect("sent");
    until("the request is in flight", || server.state.in_flight() == 1).await;
    let mut second = Box::pin(server.connect(&[]));
    assert!(tokio::time::timeout(A_WHILE, &mut second).await.is_err(), "served beyond the limit");
    assert_eq!(server.state.in_flight(), 1);
    first.write_all(&[b' '; 100]).await.expect("sent");
    rest_of(&mut first).await;
    tokio::time::timeout(PATIENCE, second).await.expect("its turn came").expect("connected");
}

/// An API server is not told to come again later because somebody announces bodies and does not send them.
#[tokio::test]
async fn slow_bodies_lose_their_places_in_flight_to_who_needs_them() {
    let limits = RequestLimits { in_flight: 2, body_patience: Duration::ZERO, ..RequestLimits::default() };
    let server = start(limits, ConnectionLimits::default()).await;
    let mut slow = Vec::new();
    for number in 1..=2 {
        let mut stream = server.connect(&[b"http/1.1"]).await.expect("connected");
        stream.write_all(HALF_A_REQUEST).await.expect("sent");
        until("the slow request is in flight", || server.state.in_flight() == number).await;
        slow.push(stream);
    }
    assert_eq!(server.post_http1().await.status(), StatusCode::OK);
    let rest = rest_of(&mut slow[0]).await;
    assert!(rest.starts_with(b"HTTP/1.1 408"), "{}", String::from_utf8_lossy(&rest));
    assert_eq!(server.state.metrics.shed_by(Limit::Requests), 0);
    slow[1].write_all(&[b' '; 94]).await.expect("sent");
    let mut answer = [0; 12];
    slow[1].read_exact(&mut answer).await.expect("answered");
    assert_eq!(&answer, b"HTTP/1.1 400", "it has arrived whole, and is no review");
}

/// A scanner that opens connection after connection closes only its own.
#[tokio::test]
async fn whoever_holds_few_connections_keeps_them_while_another_takes_all_places() {
    let limits = ConnectionLimits { connections: 20, settled: Duration::ZERO, ..ConnectionLimits::default() };
    let server = start_with(limits).await;
    let from = |last| SocketAddr::from((IpAddr::from(Ipv4Addr::new(127, 0, 0, last)), 0));
    let open = async |last| {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind(from(last)).expect("an address of loopback");
        let tcp = socket.connect(server.address).await.expect("connected");
        connect_over(tcp, &server.ca, &[b"http/1.1"]).await.expect("a handshake")
    };
    let mut api_server = Vec::new();
    for _ in 0..5 {
        api_server.push(keep(open(2).await).await);
    }
    let mut scanner = Vec::new();
    for _ in 0..200 {
        scanner.push(open(3).await);
    }
    for sender in &mut api_server {
        post(sender).await;
    }
    assert!(
        server.state.metrics.connections.made_room.get() >= 180,
        "{}",
        server.state.metrics.connections.made_room.get()
    );
}

/// Answers pile up on the way to a client that sends and does not read, until the kernel takes no more.
#[tokio::test]
async fn a_client_that_does_not_read_is_let_go() {
    let (idle, handshake) = (Duration::from_millis(100), Duration::from_secs(1));
    let server = start_with(ConnectionLimits { idle, handshake, ..ConnectionLimits::default() }).await;
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(4096).expect("a small buffer");
    let tcp = socket.connect(server.address).await.expect("connected");
    let mut stream = connect_over(tcp, &server.ca, &[b"http/1.1"]).await.expect("a handshake");
    let body = mk_review().to_string();
    let head = "POST /mutate-pod HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length:";
    let request = format!("{head} {}\r\n\r\n{body}", body.len());
    let sent =
        tokio::time::timeout(PATIENCE, async { while stream.write_all(request.as_bytes()).await.is_ok() {} });
    sent.await.expect("the connection was closed");
    until("its place is free", || server.state.metrics.connections.open.get() == 0).await;
}

/// A client with kept connections, as an API server has them, comes to a server that was added when they grow old.
#[tokio::test]
async fn a_new_server_gets_its_share() {
    let limits = ConnectionLimits { age: Duration::from_millis(300), ..ConnectionLimits::default() };
    let (first, second) = (start_with(limits).await, start_with(limits).await);
    let servers = [&first, &second];
    let mut kept: Vec<Option<SendRequest<Full<Bytes>>>> = (0..10).map(|_| None).collect();
    // All to the first one before the other is known; then each new connection to one in turn.
    for sender in &mut kept {
        *sender = Some(keep(first.connect(&[b"http/1.1"]).await.expect("connected")).await);
    }
    let (mut dials, begin) = (0, Instant::now());
    let answered = |server: &Server| {
        let text = server.state.metrics.text(0).expect("text");
        let count =
            text.lines().find_map(|line| line.strip_prefix("sidecarset_admission_duration_seconds_count "));
        count.and_then(|count| count.parse::<u64>().ok()).expect("a count")
    };
    while answered(&second) < 100 {
        assert!(begin.elapsed() < PATIENCE, "{} and {} answers", answered(&first), answered(&second));
        for sender in &mut kept {
            let mut open = match sender.take() {
                Some(open) => open,
                None => {
                    dials += 1;
                    let server = servers[dials % servers.len()];
                    keep(server.connect(&[b"http/1.1"]).await.expect("connected")).await
                }
            };
            if !says_close(&post(&mut open).await) {
                *sender = Some(open);
            }
        }
    }
    assert!(dials >= 10, "{dials} new connections");
}

/// 7 MiB is what may come. It has the time of every body, and nobody waits for it.
#[tokio::test]
async fn the_largest_body_may_not_take_its_time() {
    let body_time = Duration::from_secs(1);
    let server =
        start(RequestLimits { body_time, ..RequestLimits::default() }, ConnectionLimits::default()).await;
    let mut slow = server.connect(&[b"http/1.1"]).await.expect("connected");
    let length = RequestLimits::default().body_bytes;
    let head = format!(
        "POST /mutate-pod HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n"
    );
    slow.write_all(head.as_bytes()).await.expect("sent");
    let mut sent = 0;
    while server.state.in_flight() > 0 || sent == 0 {
        if slow.write_all(&[b' '; 16_384]).await.is_err() {
            break;
        }
        sent += 16_384;
        assert!(sent < length, "it was waited for");
        assert_eq!(server.post_http1().await.status(), StatusCode::OK);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let rest = rest_of(&mut slow).await;
    assert!(rest.starts_with(b"HTTP/1.1 408"), "{}", String::from_utf8_lossy(&rest));
}

#[tokio::test]
async fn the_head_of_a_request_has_a_limit() {
    let server = start_with(ConnectionLimits::default()).await;
    for (bytes, status) in [(30_000, "404"), (70_000, "431")] {
        let mut stream = server.connect(&[b"http/1.1"]).await.expect("connected");
        let head =
            format!("GET /x HTTP/1.1\r\nhost: x\r\nconnection: close\r\nx: {}\r\n\r\n", "x".repeat(bytes));
        stream.write_all(head.as_bytes()).await.expect("sent");
        let rest = String::from_utf8(rest_of(&mut stream).await).expect("text");
        assert!(rest.starts_with(&format!("HTTP/1.1 {status}")), "{bytes}: {rest}");
    }
}

/// What scanners send: each connection ends or gets an answer that says no, and the server goes on.
#[tokio::test]
async fn garbage_ends_its_connection_and_nothing_else() {
    let limits = ConnectionLimits { idle: Duration::from_millis(200), ..ConnectionLimits::default() };
    let server = start_with(limits).await;
    let long_head = [b"GET / HTTP/1.1\r\nx: ".as_slice(), &[b'x'; 700_000]].concat();
    let cases: [&[u8]; 6] = [
        b"\0\0\0\0\0\0\0\0\r\n\r\n",
        b"POST /mutate-pod HTTP/9.9\r\n\r\n",
        b"POST /mutate-pod HTTP/1.1\r\ncontent-length: -1\r\n\r\n",
        b"POST /mutate-pod HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        &long_head,
    ];
    for garbage in cases {
        let mut stream = server.connect(&[b"http/1.1"]).await.expect("connected");
        // It may be refused before it is whole.
        let _ = stream.write_all(garbage).await;
        let rest = rest_of(&mut stream).await;
        let answer = String::from_utf8_lossy(&rest);
        assert!(rest.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
        assert_eq!(server.post_http1().await.status(), StatusCode::OK);
    }
    for garbage in [&b"\x16\x03\x01\xff\xff"[..], &[0xff; 4096]] {
        let mut tcp = TcpStream::connect(server.address).await.expect("connected");
        let _ = tcp.write_all(garbage).await;
        drop(tcp);
        assert_eq!(server.post_http1().await.status(), StatusCode::OK);
    }
    until("all of them are gone", || server.state.metrics.connections.open.get() == 0).await;
    assert_eq!(server.state.in_flight(), 0);
}
