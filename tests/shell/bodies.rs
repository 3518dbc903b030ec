//! Memory for bodies in flight: how much there is, who gets it, and that it is free again.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::Request;
use http_body_util::Channel;
use http_body_util::channel::Sender;
use hyper::body::Frame;
use serde_json::json;
use sidecarset::metrics::Limit;
use sidecarset::server::{self, AppState, RequestLimits};
use sidecarset::tls::accept::ConnectionLimits;
use tokio::io::AsyncWriteExt;
use tokio::task::{JoinHandle, JoinSet};

use crate::process;
use crate::router::{Answer, mk_request, send};
use crate::socket::start;
use crate::support::{connect, exchange, mk_review, mk_state, rest_of, until};

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

/// Memory for two bodies of 500 KiB, not for three, and nobody loses what it has.
fn little() -> RequestLimits {
    let body_patience = Duration::from_secs(3600);
    RequestLimits { body_bytes_in_flight: MIB, body_patience, ..RequestLimits::default() }
}

/// A review whose text is `length` bytes long.
fn mk_large_review(length: usize) -> String {
    let mut review = mk_review();
    review["request"]["object"]["metadata"]["annotations"] = json!({"note": ""});
    let note = "x".repeat(length - review.to_string().len());
    review["request"]["object"]["metadata"]["annotations"]["note"] = note.into();
    review.to_string()
}

/// A body without a length that arrives only as far as the test sends it.
fn mk_slow_body() -> (Sender<Bytes, io::Error>, Body) {
    let (sender, body) = Channel::<Bytes, io::Error>::new(1);
    (sender, Body::new(body))
}

fn spaces(count: usize) -> Bytes {
    vec![b' '; count].into()
}

async fn ask(state: &Arc<AppState>, request: Request<Body>) -> Answer {
    send(server::app(Arc::clone(state)), request).await
}

fn taken(state: &AppState) -> usize {
    usize::try_from(state.metrics.body_bytes.get()).expect("never less than nothing")
}

/// Begins a request for a Pod of which `bytes` arrive.
async fn begin(state: &Arc<AppState>, bytes: usize) -> (Sender<Bytes, io::Error>, JoinHandle<Answer>) {
    let (mut sender, body) = mk_slow_body();
    let (for_task, before) = (Arc::clone(state), taken(state));
    let answer = tokio::spawn(async move { ask(&for_task, mk_request(body)).await });
    sender.send_data(spaces(bytes)).await.expect("taken");
    until("it is counted", || taken(state) >= before + bytes - 32 * KIB).await;
    (sender, answer)
}

/// A body whose stream panics behind its first piece.
struct Boom(Option<Bytes>);

impl hyper::body::Body for Boom {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        Poll::Ready(Some(Ok(Frame::data(self.0.take().expect("a defect")))))
    }
}

/// However its pieces are cut, a body is what was sent.
#[tokio::test]
async fn a_body_arrives_as_it_was_sent() {
    let state = mk_state(RequestLimits::default());
    for length in [2 * KIB, 33 * KIB, 700 * KIB] {
        let review = mk_large_review(length);
        for piece in [997, 8 * KIB, 40 * KIB, length] {
            let (mut sender, body) = mk_slow_body();
            let pieces: Vec<Bytes> = review.as_bytes().chunks(piece).map(Bytes::copy_from_slice).collect();
            let sending = tokio::spawn(async move {
                for piece in pieces {
                    sender.send_data(piece).await.expect("taken");
                }
            });
            let answer = ask(&state, mk_request(body)).await;
            sending.await.expect("no panic");
            let patched = answer.json()["response"]["patch"].is_string();
            assert!(patched, "{length} in pieces of {piece}: {}", answer.text);
        }
        assert_eq!(ask(&state, mk_request(review)).await.status, 200);
        assert_eq!(taken(&state), 0);
    }
}

/// Decision: D-22.
#[tokio::test]
async fn beyond_the_memory_for_bodies_only_large_ones_are_turned_away() {
    let state = mk_state(little());
    let slow = [begin(&state, 500 * KIB).await, begin(&state, 500 * KIB).await];
    let large = mk_large_review(200 * KIB);
    let refused = ask(&state, mk_request(large.clone())).await;
    refused.assert_status(
        503,
        "ServiceUnavailable",
        "1048576 bytes, which is the limit (--max-body-bytes-in-flight)",
    );
    assert_eq!((state.metrics.shed_by(Limit::BodyBytes), state.metrics.shed_by(Limit::Requests)), (1, 0));
    let small = ask(&state, mk_request(mk_large_review(32 * KIB))).await;
    assert_eq!(small.status, 200, "it comes with its place: {}", small.text);
    for (sender, answer) in slow {
        drop(sender);
        answer.await.expect("no panic").assert_status(400, "BadRequest", "the body");
    }
    assert_eq!(ask(&state, mk_request(large)).await.status, 200);
    assert_eq!(taken(&state), 0);
}

#[tokio::test]
async fn slow_bodies_lose_their_memory_to_who_needs_it() {
    let state = mk_state(RequestLimits { body_patience: Duration::ZERO, ..little() });
    let (_first, lost) = begin(&state, 500 * KIB).await;
    let (second, kept) = begin(&state, 500 * KIB).await;
    assert_eq!(ask(&state, mk_request(mk_large_review(200 * KIB))).await.status, 200);
    lost.await.expect("no panic").assert_status(408, "Timeout", "its place in flight or its memory");
    drop(second);
    kept.await.expect("no panic").assert_status(400, "BadRequest", "the body");
    assert_eq!((taken(&state), state.metrics.shed_by(Limit::BodyBytes)), (0, 0));
}

#[tokio::test]
async fn memory_is_free_again_however_a_request_ends() {
    let state = mk_state(little());
    let (sender, answer) = begin(&state, 300 * KIB).await;
    sender.abort(io::Error::other("gone"));
    answer.await.expect("no panic").assert_status(400, "BadRequest", "did not arrive whole");
    assert_eq!(taken(&state), 0, "broken off");

    let (_sender, answer) = begin(&state, 300 * KIB).await;
    answer.abort();
    assert!(answer.await.is_err_and(|error| error.is_cancelled()));
    assert_eq!(taken(&state), 0, "its connection is gone");

    let _other = begin(&state, 100 * KIB).await;
    let before = taken(&state);
    let (mut sender, answer) = begin(&state, 700 * KIB).await;
    sender.send_data(spaces(500 * KIB)).await.expect("taken");
    until("what is refused is free, before the rest has come", || taken(&state) == before).await;
    drop(sender);
    answer.await.expect("no panic").assert_status(503, "ServiceUnavailable", "--max-body-bytes-in-flight");

    let state = mk_state(RequestLimits { body_bytes: 600 * KIB, ..little() });
    let (mut sender, answer) = begin(&state, 500 * KIB).await;
    sender.send_data(spaces(200 * KIB)).await.expect("taken");
    answer.await.expect("no panic").assert_status(413, "RequestEntityTooLarge", "614400 bytes");
    assert_eq!(taken(&state), 0);

    let state = mk_state(RequestLimits { body_time: Duration::from_millis(300), ..little() });
    let (_sender, answer) = begin(&state, 300 * KIB).await;
    answer.await.expect("no panic").assert_status(408, "Timeout", "did not arrive within 0.3 s");
    assert_eq!(taken(&state), 0);

    let state = mk_state(little());
    let boom = Body::new(Boom(Some(spaces(300 * KIB))));
    ask(&state, mk_request(boom)).await.assert_status(500, "InternalError", "a defect");
    assert_eq!((taken(&state), state.in_flight()), (0, 0));
}

/// However little memory there is, and for the largest that is legal.
#[tokio::test]
async fn a_request_that_is_alone_is_answered() {
    let default = RequestLimits::default();
    for body_bytes_in_flight in [default.body_bytes_in_flight, default.conversion_bytes, MIB] {
        let state = mk_state(RequestLimits { body_bytes_in_flight, ..default });
        let review = mk_large_review(default.body_bytes);
        assert_eq!(ask(&state, mk_request(review)).await.status, 200);
        let mut review = json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "ConversionReview",
            "request": {"uid": "c-1", "desiredAPIVersion": "apps.kruise.io/v1alpha1", "objects": []},
        })
        .to_string();
        review.push_str(&" ".repeat(default.conversion_bytes - review.len()));
        let answer = ask(&state, Request::post("/convert").body(review.into()).expect("a request")).await;
        assert_eq!((answer.status.as_u16(), &answer.json()["response"]["uid"]), (200, &json!("c-1")));
        drop(answer);
        assert_eq!(taken(&state), 0);
    }
}

/// A conversion needs its answer too, and somebody who asks for many at once is told to come again.
#[tokio::test]
async fn a_conversion_counts_its_answer() {
    let state = mk_state(little());
    let slow = begin(&state, 500 * KIB).await;
    let convert = |length| Request::post("/convert").body(Body::from(spaces(length))).expect("a request");
    ask(&state, convert(200 * KIB)).await.assert_status(
        503,
        "ServiceUnavailable",
        "--max-body-bytes-in-flight",
    );
    ask(&state, convert(30 * KIB)).await.assert_status(400, "BadRequest", "no ConversionReview");
    drop(slow);
    until("the slow one is gone", || taken(&state) == 0).await;
    ask(&state, convert(200 * KIB)).await.assert_status(400, "BadRequest", "no ConversionReview");
    assert_eq!(taken(&state), 0);
}

const HEAD: &str =
    "POST /mutate-pod?timeout=30s HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: ";

/// What is announced and not sent costs nothing.
#[tokio::test]
async fn announced_bodies_take_no_memory() {
    let server = start(little(), ConnectionLimits::default()).await;
    let mut silent = Vec::new();
    for number in 1..=30 {
        let mut stream = server.connect(&[b"http/1.1"]).await.expect("connected");
        stream.write_all(format!("{HEAD}{}\r\n\r\n{{", 7 * MIB).as_bytes()).await.expect("sent");
        until("it is in flight", || server.state.in_flight() == number).await;
        silent.push(stream);
    }
    assert_eq!(taken(&server.state), 0);
    assert_eq!(ask(&server.state, mk_request(mk_large_review(900 * KIB))).await.status, 200);
}

/// The answer reaches a client that is still sending, and its connection goes on.
#[tokio::test]
async fn who_is_turned_away_reads_why() {
    let server = start(little(), ConnectionLimits::default()).await;
    let _slow = begin(&server.state, 900 * KIB).await;
    let mut stream = server.connect(&[b"http/1.1"]).await.expect("connected");
    let review = mk_large_review(6 * MIB);
    stream.write_all(format!("{HEAD}{}\r\n\r\n{review}", review.len()).as_bytes()).await.expect("sent");
    let small = mk_review().to_string();
    let next = format!("{HEAD}{}\r\nconnection: close\r\n\r\n{small}", small.len());
    stream.write_all(next.as_bytes()).await.expect("sent");
    stream.flush().await.expect("sent");
    let answers = String::from_utf8(rest_of(&mut stream).await).expect("text");
    assert!(answers.starts_with("HTTP/1.1 503") && answers.contains("retry-after: 1"), "{answers}");
    assert!(answers.contains("--max-body-bytes-in-flight") && answers.contains("HTTP/1.1 200"), "{answers}");
}

/// 25 bodies of which 6 MiB come are 150 MiB.
#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_large_bodies_do_not_fill_the_memory() {
    let webhook = process::start(&["--max-body-bytes-in-flight=32Mi"]).await;
    let (address, before) = (webhook.address, webhook.peak_memory());
    let mut uploads = JoinSet::new();
    for _ in 0..25 {
        let ca = webhook.ca.clone();
        uploads.spawn(async move {
            let mut stream = connect(address, &ca, &[b"http/1.1"]).await.expect("connected");
            stream.write_all(format!("{HEAD}{}\r\n\r\n", 7 * MIB).as_bytes()).await.expect("sent");
            // Whoever is turned away may find out while it sends.
            let _ = stream.write_all(&spaces(6 * MIB)).await;
            let _ = stream.flush().await;
            stream
        });
    }
    for _ in 0..20 {
        let answer = webhook.post_with("").await;
        assert!(answer.starts_with("HTTP/1.1 200"), "a usual Pod is answered all the time: {answer}");
    }
    let sent = uploads.join_all().await;
    until("it is logged", || webhook.log_has("limit=\"body_bytes\"")).await;
    let metrics = webhook.probe("/metrics").await;
    assert!(metrics.contains("sidecarset_admission_body_bytes_limit 33554432"), "{metrics}");
    assert!(!metrics.contains("sidecarset_admission_shed_total{limit=\"body_bytes\"} 0"), "{metrics}");
    let more = webhook.peak_memory() - before;
    assert!(more < 100 * MIB, "{} MiB more", more / MIB);
    drop(sent);
    assert!(webhook.post_with("").await.starts_with("HTTP/1.1 200"));
}

/// A list that is judged to take just less memory than there is does take no more, and a longer one is refused.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_text_of_many_small_values_takes_no_more_memory_than_there_is() {
    const SET: &str = r#"{"apiVersion":"apps.kruise.io/v1beta1","kind":"SidecarSet","metadata":{"name":"a"},
        "spec":{"selector":{"matchLabels":{"a":"b"}},"containers":[{"name":"c","image":"i","x":[LIST 0]}]}}"#;
    let set = format!(
        r#"{{"request":{{"uid":"u","resource":{{"version":"v1beta1"}},"operation":"CREATE","object":{SET}}}}}"#
    );
    let conversion = format!(
        r#"{{"request":{{"uid":"u","desiredAPIVersion":"apps.kruise.io/v1alpha1","objects":[{SET}]}}}}"#
    );
    let mut containers = mk_review();
    containers["request"]["object"]["spec"]["containers"] = json!(["LIST"]);
    let containers = containers.to_string().replace("\"LIST\"", "LIST {}");
    let (mutate, validate) = ("/mutate-apps-kruise-io-sidecarset", "/validate-apps-kruise-io-sidecarset");
    // Path, text, what the list is of, how many are judged to take somewhat less than 32 MiB.
    let cases: [(&str, &str, &str, usize); 7] = [
        (mutate, &set, "0,", 146_000),
        (mutate, &set, r#"{"":0},"#, 22_600),
        (validate, &set, "[],", 73_000),
        (validate, &set, r#"{"":0},"#, 22_600),
        ("/convert", &conversion, "0,", 380_000),
        ("/convert", &conversion, r#"{"":0},"#, 66_000),
        ("/mutate-pod", &containers, "{},", 160_000),
    ];
    for (path, text, piece, count) in cases {
        let webhook = process::start(&["--max-body-bytes-in-flight=32Mi"]).await;
        let before = webhook.peak_memory();
        let ask = async |count: usize| {
            let body = text.replace("LIST", &piece.repeat(count));
            let line = format!("POST {path}?timeout=30s");
            exchange(webhook.address, &webhook.ca, &line, "application/json", body.as_bytes()).await
        };
        let refused = ask(count * 6 / 5).await;
        assert!(
            refused.starts_with("HTTP/1.1 413") && refused.contains("so many values"),
            "{path}: {refused}"
        );
        let taken = ask(count).await;
        assert!(taken.starts_with("HTTP/1.1 200"), "{path}: {}", &taken[..300]);
        let more = webhook.peak_memory() - before;
        assert!(more < 60 * MIB, "{path} {piece}: {} MiB more", more / MIB);
    }
    let too_many = conversion.replace(SET, &vec!["0"; 250_001].join(","));
    let state = mk_state(RequestLimits::default());
    let refused = ask(&state, Request::post("/convert").body(too_many.into()).expect("a request")).await;
    refused.assert_status(400, "BadRequest", "at most 250000 objects");
}
