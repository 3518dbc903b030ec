//! The router, without sockets: every way in which a request can be wrong, and the good answers.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, Request, StatusCode};
use axum::routing::get;
use http_body_util::BodyExt;
use http_body_util::channel::{Channel, Sender};
use serde_json::{Value, json};
use sidecarset::metrics::Limit;
use sidecarset::server::probes::{self, Check, Health, Readiness};
use sidecarset::server::{self, RequestLimits};
use tower::ServiceExt;

use crate::support::{mk_empty_state, mk_review, mk_state, publish, until};

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    headers: HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|e| panic!("{e}: {}", self.text))
    }

    /// Checks that this is a `Status` with this code whose message contains `hint`.
    pub(crate) fn assert_status(&self, code: u16, reason: &str, hint: &str) {
        let body = self.json();
        assert_eq!(self.status.as_u16(), code, "{body}");
        assert_eq!(self.headers["content-type"], "application/json");
        let expected = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": body["message"], "reason": reason, "code": code});
        assert_eq!(body, expected);
        let message = body["message"].as_str().unwrap_or_default();
        assert!(message.contains(hint), "{hint:?} is not in {message:?}");
        assert_eq!(self.headers.contains_key("retry-after"), code == 503, "only 503 is worth a retry");
    }
}

pub(crate) async fn send(app: Router, request: Request<Body>) -> Answer {
    let response = app.oneshot(request).await.expect("infallible");
    let (head, body) = response.into_parts();
    let bytes = body.collect().await.expect("whole").to_bytes();
    Answer {
        status: head.status,
        headers: head.headers,
        text: String::from_utf8(bytes.to_vec()).expect("text"),
    }
}

pub(crate) fn mk_request(body: impl Into<Body>) -> Request<Body> {
    let request = Request::post("/mutate-pod?timeout=10s").header("content-type", "application/json");
    request.body(body.into()).expect("a request")
}

async fn post(body: impl Into<Body>) -> Answer {
    let state = mk_state(RequestLimits::default());
    send(server::app(state), mk_request(body)).await
}

async fn post_changed(change: impl FnOnce(&mut Value)) -> Answer {
    let mut review = mk_review();
    change(&mut review);
    post(review.to_string()).await
}

/// A body that arrives only as far as the test sends it.
fn mk_slow_body() -> (Sender<Bytes, Infallible>, Body) {
    let (sender, body) = Channel::new(1);
    (sender, Body::new(body))
}

#[tokio::test]
async fn a_good_review_is_answered_with_its_uid_and_version() {
    for version in ["admission.k8s.io/v1", "admission.k8s.io/v1beta1"] {
        let answer = post_changed(|review| {
            review["apiVersion"] = version.into();
            review["request"]["object"]["metadata"]["labels"] = json!({"app": "other"});
        })
        .await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.headers["content-type"], "application/json");
        let expected = json!({"apiVersion": version, "kind": "AdmissionReview", "response": {
            "uid": "705ab4f5-6393-11e8-b7cc-42010a800002", "allowed": true, "status": {"metadata": {}, "code": 200}}});
        assert_eq!(answer.json(), expected);
    }
}

#[tokio::test]
async fn a_matching_pod_gets_a_patch() {
    let answer = post(mk_review().to_string()).await;
    let response = &answer.json()["response"];
    assert_eq!(response["patchType"], "JSONPatch", "{response}");
    let patch = decode_patch(response);
    let mut pod = mk_review()["request"]["object"].clone();
    json_patch::patch(&mut pod, &serde_json::from_str::<json_patch::Patch>(&patch).expect("a patch"))
        .expect("applies");
    assert_eq!(pod.pointer("/spec/containers/1/name"), Some(&json!("log-agent")), "{pod}");
    assert_eq!(response["auditAnnotations"]["injected"], "logging");
}

/// The patch of a response as text.
pub(crate) fn decode_patch(response: &Value) -> String {
    use base64::Engine as _;
    let text = response["patch"].as_str().unwrap_or_default();
    let bytes = base64::engine::general_purpose::STANDARD.decode(text).expect("base64");
    String::from_utf8(bytes).expect("text")
}

#[tokio::test]
async fn content_type_is_json_with_or_without_parameters() {
    for (content_type, good) in [
        (Some("application/json"), true),
        (Some("application/json; charset=utf-8"), true),
        (Some("Application/JSON ;charset=UTF-8"), true),
        (Some("application/jsonx"), false),
        (Some("text/plain"), false),
        (Some(""), false),
        (None, false),
    ] {
        let mut request = mk_request(mk_review().to_string());
        request.headers_mut().remove("content-type");
        if let Some(text) = content_type {
            request.headers_mut().insert("content-type", text.parse().expect("a header"));
        }
        let answer = send(server::app(mk_state(RequestLimits::default())), request).await;
        if good {
            assert_eq!(answer.status, 200, "{content_type:?}");
        } else {
            answer.assert_status(415, "UnsupportedMediaType", "it has to be application/json");
        }
    }
}

/// Rule: I-CONST-18.
#[tokio::test]
async fn wrong_method_and_wrong_path() {
    for method in ["GET", "PUT", "DELETE", "PATCH", "OPTIONS"] {
        let request =
            Request::builder().method(method).uri("/mutate-pod").body(Body::empty()).expect("a request");
        let answer = send(server::app(mk_state(RequestLimits::default())), request).await;
        answer.assert_status(405, "MethodNotAllowed", "post an AdmissionReview");
        assert_eq!(answer.headers["allow"], "POST");
    }
    for path in ["/", "/mutate-pods", "/mutate-pod/", "/readyz", "/%ff"] {
        let request = Request::post(path).body(Body::empty()).expect("a request");
        let answer = send(server::app(mk_state(RequestLimits::default())), request).await;
        answer.assert_status(404, "NotFound", "/mutate-pod");
    }
}

#[tokio::test]
async fn the_body_has_a_limit() {
    let limits = RequestLimits { body_bytes: 2000, ..RequestLimits::default() };
    let text = mk_review().to_string();
    let padded = |size: usize| " ".repeat(size - text.len()) + &text;
    let app = || server::app(mk_state(limits));
    assert_eq!(send(app(), mk_request(padded(2000))).await.status, 200);
    send(app(), mk_request(padded(2001))).await.assert_status(413, "RequestEntityTooLarge", "2000 bytes");

    // The same without an announced length.
    let (mut sender, body) = mk_slow_body();
    let answer = tokio::spawn(send(app(), mk_request(body)));
    sender.send_data(padded(1500).into()).await.expect("taken");
    // The second part may find the answer already given.
    let _ = sender.send_data(padded(1500).into()).await;
    answer.await.expect("answered").assert_status(413, "RequestEntityTooLarge", "2000 bytes");
}

#[tokio::test]
async fn seven_mebibytes_are_taken() {
    let text = mk_review().to_string();
    let limit = RequestLimits::default().body_bytes;
    assert_eq!(limit, 7_340_032);
    assert_eq!(post(" ".repeat(limit - text.len()) + &text).await.status, 200);
    post(" ".repeat(limit + 1)).await.assert_status(413, "RequestEntityTooLarge", "7340032 bytes");
}

/// Rule: I-RESP-5. Decision: D-22.
#[tokio::test]
async fn bodies_that_are_no_review() {
    let whole = mk_review().to_string();
    let truncated = whole.get(..whole.len() / 2).expect("ASCII").to_owned();
    let trailing = format!("{whole} x");
    let nested = whole.replacen(
        "\"namespace\":",
        &format!("\"uid\":{}1{},\"namespace\":", "[".repeat(200), "]".repeat(200)),
        1,
    );
    for (body, hint) in [
        (String::new(), "the body is empty"),
        ("  \n".to_owned(), "the body is empty"),
        ("{}".to_owned(), "answered are admission.k8s.io/v1"),
        ("null".to_owned(), "no AdmissionReview"),
        ("[]".to_owned(), "no AdmissionReview"),
        ("kind: AdmissionReview".to_owned(), "at byte 0"),
        (truncated, "the text ends"),
        (trailing, "text after the end"),
        (nested, "no AdmissionReview"),
    ] {
        post(body).await.assert_status(400, "BadRequest", hint);
    }
    // Of a member that stands twice the last counts, as the API server reads it.
    let twice = whole.replacen("\"request\":", "\"request\":{},\"request\":", 1);
    assert_eq!(post(twice).await.status, 200);
    let mut not_utf8 = whole.into_bytes();
    let at = not_utf8.iter().position(|b| *b == b'w').expect("a letter");
    not_utf8.get_mut(at..=at).expect("in range").fill(0xff);
    post(not_utf8).await.assert_status(400, "BadRequest", &format!("not UTF-8 from byte {at} on"));
}

/// As the API server itself reads JSON.
#[tokio::test]
async fn of_a_member_that_stands_twice_the_last_counts() {
    let twice =
        mk_review().to_string().replacen("\"request\":", "\"request\":{\"uid\":\"first\"},\"request\":", 1);
    assert_eq!(post(twice).await.json()["response"]["uid"], mk_review()["request"]["uid"]);
}

#[tokio::test]
async fn envelopes_that_are_wrong() {
    type Change = fn(&mut Value);
    let long = "u".repeat(200);
    let cases: [(Change, &str); 13] = [
        (|r| r["apiVersion"] = "admission.k8s.io/v2".into(), "answered are admission.k8s.io/v1"),
        (|r| r["kind"] = "Pod".into(), "kind AdmissionReview"),
        (|r| r["request"] = Value::Null, "no member request"),
        (|r| r["request"] = "x".into(), "request: found a string, expected an object"),
        (|r| r["request"]["uid"] = "".into(), "request.uid is missing"),
        (|r| r["request"]["uid"] = "a\"b".into(), "request.uid has to be"),
        (|r| r["request"]["uid"] = 7.into(), "expected a string"),
        (|r| r["request"]["resource"] = Value::Null, "request.resource is missing"),
        (|r| r["request"]["resource"]["resource"] = "deployments".into(), "/v1/deployments"),
        (|r| r["request"]["resource"]["group"] = "apps".into(), "MutatingWebhookConfiguration"),
        (|r| r["request"]["kind"]["kind"] = "Service".into(), "request.kind is"),
        (|r| r["request"]["operation"] = "create".into(), "CREATE, UPDATE, DELETE or CONNECT"),
        (|r| r["request"]["dryRun"] = "yes".into(), "expected a boolean"),
    ];
    for (change, hint) in cases {
        post_changed(change).await.assert_status(400, "BadRequest", hint);
    }
    post_changed(|r| r["request"]["uid"] = long.into()).await.assert_status(400, "BadRequest", "1 to 128");
}

#[tokio::test]
async fn a_bad_timeout_is_told() {
    for query in ["timeout=10", "timeout=", "timeout=soon", "a=b&timeout=-1s"] {
        let request =
            Request::post(format!("/mutate-pod?{query}")).header("content-type", "application/json");
        let request = request.body(mk_review().to_string().into()).expect("a request");
        let answer = send(server::app(mk_state(RequestLimits::default())), request).await;
        answer.assert_status(400, "BadRequest", "query parameter timeout");
    }
}

/// Rule: I-CALL-11.
#[tokio::test]
async fn an_object_that_is_no_pod_is_denied() {
    for (object, hint) in [
        (Value::Null, "there is no content to decode"),
        ("x".into(), "found a string, expected an object"),
        (json!([1]), "request.object"),
    ] {
        let answer = post_changed(|review| review["request"]["object"] = object.clone()).await;
        assert_eq!(answer.status, 200);
        let response = &answer.json()["response"];
        assert_eq!(response["allowed"], false, "{object}");
        assert_eq!(response["status"]["code"], 400);
        assert_eq!(response["uid"], "705ab4f5-6393-11e8-b7cc-42010a800002");
        let message = response["status"]["message"].as_str().unwrap_or_default();
        assert!(message.contains(hint), "{hint:?} is not in {message:?}");
    }
}

/// Rule: I-CALL-7.
#[tokio::test]
async fn other_operations_and_sub_resources_are_allowed_unseen() {
    type Change = fn(&mut Value);
    let changes: [Change; 4] = [
        |r| {
            r["request"]["operation"] = "DELETE".into();
            r["request"]["object"] = Value::Null;
        },
        |r| r["request"]["operation"] = "CONNECT".into(),
        |r| {
            r["request"]["subResource"] = "eviction".into();
            r["request"]["kind"] = json!({"group": "policy", "version": "v1", "kind": "Eviction"});
            r["request"]["object"] = "not even an object".into();
        },
        |r| {
            r["request"]["subResource"] = "status".into();
            r["request"]["operation"] = "UPDATE".into();
        },
    ];
    for change in changes {
        let response = &post_changed(change).await.json()["response"];
        assert_eq!(response["allowed"], true, "{response}");
        assert!(response.get("patch").is_none(), "{response}");
    }
}

/// Depth costs no stack, and ends at a limit: no API object nests like that.
#[tokio::test]
async fn deep_nesting_is_refused() {
    for depth in [200, 100_000] {
        let deep = format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
        for (before, after) in [
            ("\"options\":", format!("\"unknown\":{deep},\"options\":")),
            ("\"spec\":", format!("\"unknown\":{deep},\"spec\":")),
            ("\"labels\":", format!("\"labels\":{deep},\"x\":")),
        ] {
            let answer = post(mk_review().to_string().replacen(before, &after, 1)).await;
            answer.assert_status(400, "BadRequest", "nest deeper than 128");
        }
    }
}

/// Decision: D-22.
#[tokio::test]
async fn before_the_first_snapshot_the_answer_is_503() {
    let app = server::app(mk_empty_state(RequestLimits::default()));
    let answer = send(app, mk_request(mk_review().to_string())).await;
    answer.assert_status(503, "ServiceUnavailable", "not loaded yet");
    assert_eq!(answer.headers["retry-after"], "1");
}

/// Decision: D-22.
#[tokio::test]
async fn too_many_requests_are_shed_and_counted() {
    let state = mk_state(RequestLimits { in_flight: 1, ..RequestLimits::default() });
    let (sender, body) = mk_slow_body();
    let first = tokio::spawn(send(server::app(Arc::clone(&state)), mk_request(body)));
    until("the first request is in flight", || state.in_flight() == 1).await;

    let second = send(server::app(Arc::clone(&state)), mk_request(mk_review().to_string())).await;
    second.assert_status(503, "ServiceUnavailable", "--max-in-flight");
    assert_eq!(state.metrics.shed_by(Limit::Requests), 1);

    drop(sender);
    first.await.expect("answered").assert_status(400, "BadRequest", "the body is empty");
    assert_eq!(state.in_flight(), 0);
    let third = send(server::app(state), mk_request(mk_review().to_string())).await;
    assert_eq!(third.status, 200);
}

#[tokio::test]
async fn a_slow_body_times_out() {
    let limits = RequestLimits { body_time: Duration::from_millis(20), ..RequestLimits::default() };
    let (_sender, body) = mk_slow_body();
    let answer = send(server::app(mk_state(limits)), mk_request(body)).await;
    answer.assert_status(408, "Timeout", "did not arrive within 0.02 s");
}

/// Decision: D-22.
#[tokio::test]
async fn the_callers_timeout_is_kept() {
    let app = server::app(mk_state(RequestLimits::default()));
    let (_sender, body) = mk_slow_body();
    let mut request = mk_request(body);
    *request.uri_mut() = "/mutate-pod?timeout=20ms".parse().expect("a URI");
    send(app.clone(), request).await.assert_status(504, "Timeout", "timeout of 20ms");

    let mut request = mk_request(mk_review().to_string());
    *request.uri_mut() = "/mutate-pod?timeout=0".parse().expect("a URI");
    send(app, request).await.assert_status(504, "Timeout", "timeout of 0ns");
}

/// Decision: D-22.
#[tokio::test]
async fn a_panic_is_our_fault_and_hits_one_request() {
    async fn boom() {
        panic!("a defect");
    }
    let state = mk_state(RequestLimits::default());
    let app = server::protect(Router::new().route("/boom", get(boom)), Arc::clone(&state));
    for _ in 0..2 {
        let request = Request::get("/boom").body(Body::empty()).expect("a request");
        send(app.clone(), request).await.assert_status(500, "InternalError", "its log says where");
    }
    let text = state.metrics.text(0).expect("text");
    assert!(text.contains("requests_total{operation=\"unknown\",verdict=\"failed\"} 2"), "{text}");
}

#[tokio::test]
async fn a_drain_closes_connections_behind_good_and_bad_answers() {
    let state = mk_state(RequestLimits::default());
    let app = server::app(Arc::clone(&state));
    let before = send(app.clone(), mk_request(mk_review().to_string())).await;
    assert!(!before.headers.contains_key("connection"));
    state.draining.start();
    let good = send(app.clone(), mk_request(mk_review().to_string())).await;
    let bad = send(app, mk_request("")).await;
    assert_eq!(
        (good.status.as_u16(), &good.headers["connection"]),
        (200, &"close".parse().expect("a header"))
    );
    assert_eq!((bad.status.as_u16(), &bad.headers["connection"]), (400, &"close".parse().expect("a header")));
}

#[tokio::test]
async fn admissions_are_counted() {
    let state = mk_state(RequestLimits::default());
    let app = server::app(Arc::clone(&state));
    send(app.clone(), mk_request(mk_review().to_string())).await;
    send(app.clone(), mk_request("{")).await;
    let mut broken = mk_review();
    broken["request"]["object"] = Value::Null;
    send(app, mk_request(broken.to_string())).await;
    let text = state.metrics.text(0).expect("text");
    for line in [
        "sidecarset_admission_requests_total{operation=\"CREATE\",verdict=\"patched\"} 1",
        "sidecarset_admission_requests_total{operation=\"unknown\",verdict=\"bad_request\"} 1",
        "sidecarset_admission_requests_total{operation=\"CREATE\",verdict=\"denied\"} 1",
        "sidecarset_admission_duration_seconds_count 3",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
}

#[tokio::test]
async fn readiness_says_what_is_missing() {
    let state = mk_empty_state(RequestLimits::default());
    let probe = async |path: &str| {
        let health = Health { holds: true, detail: "ends in 7 days".to_owned() };
        let app = probes::app(
            Arc::clone(&state),
            Readiness::new(&state, vec![Check::new("certificate", move || health.clone())]),
        );
        send(app, Request::get(path).body(Body::empty()).expect("a request")).await
    };
    assert_eq!(probe("/healthz").await.text, "ok");
    let answer = probe("/readyz").await;
    assert_eq!(
        (answer.status.as_u16(), answer.text.as_str()),
        (503, "[-]snapshot failed\nreadyz check failed\n")
    );

    publish(&state, "");
    assert_eq!(probe("/readyz").await.text, "ok");
    let verbose = probe("/readyz?verbose").await.text;
    assert_eq!(
        verbose,
        "[+]snapshot ok\n[+]not-draining ok\n[+]certificate ok\n    ends in 7 days\nreadyz check passed\n"
    );

    state.draining.start();
    let answer = probe("/readyz?verbose=1").await;
    assert_eq!(answer.status, 503);
    assert!(answer.text.contains("[-]not-draining failed\n"), "{}", answer.text);
    assert_eq!(probe("/healthz").await.status, 200, "draining is no reason to be killed");

    probe("/nothing").await.assert_status(404, "NotFound", "/readyz?verbose");
}

#[tokio::test]
async fn a_scrape_gets_the_format_that_it_asks_for() {
    let state = mk_state(RequestLimits::default());
    for (accept, content_type, counter) in [
        (
            "application/openmetrics-text;version=1.0.0",
            "application/openmetrics-text;",
            "sidecarset_admission_shed",
        ),
        ("text/plain", "text/plain; version=0.0.4;", "sidecarset_admission_shed_total"),
    ] {
        let request =
            Request::get("/metrics").header("accept", accept).body(Body::empty()).expect("a request");
        let answer = send(probes::app(Arc::clone(&state), Readiness::new(&state, Vec::new())), request).await;
        assert!(answer.headers["content-type"].to_str().expect("text").starts_with(content_type));
        assert!(answer.text.contains("sidecarset_build_info{version=\"test\"} 1"), "{}", answer.text);
        assert!(answer.text.contains(&format!("# TYPE {counter} counter\n")), "{}", answer.text);
    }
}

#[tokio::test]
async fn readiness_is_a_metric_too() {
    let state = mk_empty_state(RequestLimits::default());
    let ready = async || {
        let request = Request::get("/metrics").body(Body::empty()).expect("a request");
        let text =
            send(probes::app(Arc::clone(&state), Readiness::new(&state, Vec::new())), request).await.text;
        text.lines().find_map(|line| line.strip_prefix("sidecarset_ready ").map(str::to_owned))
    };
    assert_eq!(ready().await.as_deref(), Some("0"));
    publish(&state, "");
    assert_eq!(ready().await.as_deref(), Some("1"));
}
