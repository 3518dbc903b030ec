//! Every recorded Pod admission of the real upstream, posted as an AdmissionReview over TLS to our server:
//! `tests/conformance/injection/*.jsonl`.

use std::sync::Arc;

use axum::http::{Request, StatusCode};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use sidecarset::server::{AppState, RequestLimits};
use sidecarset::source::stored::StoredCluster;

use crate::judge::{self, Records, Tally, allowed, denied};
use crate::support::{connect, mk_state_with, serve_tls};

/// Rule: I-DEF-44.
#[tokio::test]
async fn hand() {
    run(&judge::HAND).await;
}

#[tokio::test]
async fn random() {
    run(&judge::RANDOM).await;
}

#[tokio::test]
async fn fuzz() {
    run(&judge::FUZZ).await;
}

#[tokio::test]
async fn gates() {
    run(&judge::GATES).await;
}

async fn run(records: &Records) {
    let mut tally = Tally::default();
    let mut connection: Option<Connection> = None;
    for world in records.worlds() {
        let features = judge::features(&world);
        // One connection for all worlds of a file: only another feature gate needs another server.
        let connection = match &mut connection {
            Some(open) if open.state.features == features => open,
            other => other.insert(Connection::open(mk_state_with(RequestLimits::default(), features)).await),
        };
        connection.state.published.publish(judge::mk_snapshot(&world), StoredCluster::default());
        for request in judge::requests(&world) {
            let (status, answer) = connection.post(&mk_review(request)).await;
            if request["deviation"] == "I-DEF-44" {
                assert_eq!(status, StatusCode::BAD_REQUEST, "{answer}");
                assert!(answer.to_string().contains("request.resource"), "{answer}");
                continue;
            }
            assert_eq!(status, StatusCode::OK, "{} {}: {answer}", world["world"], request["name"]);
            tally.judge(&world, request, &recorded_form(request, &answer));
        }
    }
    tally.finish(records);
}

/// A server of ours and the one connection to it that carries all requests.
struct Connection {
    state: Arc<AppState>,
    sender: SendRequest<Full<Bytes>>,
}

impl Connection {
    async fn open(state: Arc<AppState>) -> Self {
        let (address, ca) = serve_tls(Arc::clone(&state)).await;
        let io = TokioIo::new(connect(address, &ca, &[b"http/1.1"]).await.expect("connected"));
        let (sender, connection) = http1::handshake(io).await.expect("HTTP/1.1");
        tokio::spawn(connection);
        Self { state, sender }
    }

    async fn post(&mut self, review: &Value) -> (StatusCode, Value) {
        self.sender.ready().await.expect("kept alive");
        let request = Request::post("/mutate-pod?timeout=10s")
            .header("host", "localhost")
            .header("content-type", "application/json")
            .body(Full::from(review.to_string()))
            .expect("a request");
        let response = self.sender.send_request(request).await.expect("answered");
        let status = response.status();
        let body = response.into_body().collect().await.expect("whole").to_bytes();
        (status, serde_json::from_slice(&body).expect("JSON"))
    }
}

const UID: &str = "705ab4f5-6393-11e8-b7cc-42010a800002";

/// The AdmissionReview that a record stands for.
fn mk_review(record: &Value) -> Value {
    let resource = record["resource"].as_str().unwrap_or("pods");
    let mut request = json!({
        "uid": UID,
        "kind": {"group": "", "version": "v1", "kind": "Pod"},
        "resource": {"group": "", "version": "v1", "resource": resource},
        "operation": record["operation"],
        "namespace": record["namespace"],
        "userInfo": {"username": record["username"].as_str().unwrap_or("corpus")},
        "dryRun": record["dryRun"] == true,
        "object": record["object"],
        "oldObject": record["oldObject"],
    });
    if let Some(sub_resource) = record["subResource"].as_str() {
        request["subResource"] = json!(sub_resource);
    }
    json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request})
}

/// An answer in the form of the records.
fn recorded_form(record: &Value, answer: &Value) -> Value {
    let response = &answer["response"];
    assert_eq!(response["uid"], UID, "{answer}");
    if response["allowed"] == false {
        let message = response["status"]["message"].as_str().unwrap_or_default();
        return denied(response["status"]["code"].clone(), message);
    }
    assert_eq!(response["status"]["code"], 200, "{answer}");
    let patch = response["patch"].as_str().map(|patch| {
        assert_eq!(response["patchType"], "JSONPatch", "{answer}");
        String::from_utf8(STANDARD.decode(patch).expect("base64")).expect("text")
    });
    allowed(record, patch.as_deref())
}
