//! Reviews as a real API server sent them, posted over TLS: `tests/fixtures/admission/`.

use std::fs;
use std::net::SocketAddr;

use rustls::pki_types::CertificateDer;
use serde_json::Value;
use sidecarset::server::RequestLimits;
use sidecarset::source::folder::{self, Files};
use sidecarset_core::snapshot::Snapshot;
use tokio::io::AsyncWriteExt;

use crate::admission;
use crate::support::{connect, mk_empty_state, rest_of, serve_tls};

/// Rule: I-RESP-1, I-RESP-2, I-RESP-3, I-RESP-4, I-UPD-2, I-UPD-3.
#[tokio::test]
async fn recorded_reviews_get_their_answers() {
    let (address, ca) = start().await;
    let names = admission::names();
    assert!(names.len() >= 12, "the fixtures are gone: {names:?}");
    for name in names {
        let read = |kind: &str| fs::read(admission::folder().join(format!("{name}.{kind}.json")));
        let (body, expected) = (read("review").expect("a review"), read("answer").expect("an answer"));
        let answer = post(address, &ca, &body).await;
        let (head, answer) = answer.split_once("\r\n\r\n").expect("a head");
        assert!(head.starts_with("HTTP/1.1 200 "), "{name}: {head}");
        let [review, expected, answer] = [&body, &expected, answer.as_bytes()].map(|text| {
            serde_json::from_slice::<Value>(text).unwrap_or_else(|error| panic!("{name}: {error}"))
        });
        let answer = admission::readable(&review, &answer);
        assert_eq!(answer, expected, "{name} is answered with\n{answer:#}");
    }
}

/// Serves the SidecarSets of the fixtures for as long as the test runs.
async fn start() -> (SocketAddr, CertificateDer<'static>) {
    let state = mk_empty_state(RequestLimits::default());
    let files = Files::read(&admission::sidecarsets()).expect("readable");
    state.published.publish(Snapshot::new(folder::load(&files).expect("good")));
    serve_tls(state).await
}

/// Head and body of the answer, on a connection of its own.
async fn post(address: SocketAddr, ca: &CertificateDer<'static>, body: &[u8]) -> String {
    let mut stream = connect(address, ca, &[b"http/1.1"]).await.expect("connected");
    let head = format!(
        "POST /mutate-pod?timeout=10s HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(&[head.as_bytes(), body].concat()).await.expect("sent");
    String::from_utf8(rest_of(&mut stream).await).expect("text")
}
