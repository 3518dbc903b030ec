//! Reviews as a real API server sent them, posted over TLS: `tests/fixtures/admission/`.

use std::fs;
use std::net::SocketAddr;

use rustls::pki_types::CertificateDer;
use serde_json::Value;
use sidecarset::server::RequestLimits;
use sidecarset::source::folder::Files;

use crate::admission;
use crate::support::{exchange, mk_empty_state, publish_files, serve_tls};

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
    publish_files(&state, &Files::read(&admission::sidecarsets()).expect("readable"));
    serve_tls(state).await
}

/// Head and body of the answer.
async fn post(address: SocketAddr, ca: &CertificateDer<'static>, body: &[u8]) -> String {
    exchange(address, ca, "POST /mutate-pod?timeout=10s", "application/json", body).await
}
