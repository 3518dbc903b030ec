//! Spans of admissions: what a collector gets, and what a program without them says.

#[cfg(not(feature = "otlp"))]
#[test]
fn a_program_without_spans_says_so() {
    let sets = tempfile::tempdir().expect("temporary folder");
    let output = crate::process::command(&["--otlp-endpoint=http://localhost:4318", "--listen=127.0.0.1:0"])
        .args(["--probe-listen=127.0.0.1:0", "--sidecarsets"])
        .arg(sets.path())
        .output()
        .expect("started");
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(text.contains("--otlp-endpoint: this program was built without traces"), "{text}");
}

#[test]
fn an_endpoint_that_cannot_be_is_told() {
    for wrong in ["localhost:4318", "https://collector:4318", "http://collector:4318/v1/traces", "http://"] {
        let endpoint = format!("--otlp-endpoint={wrong}");
        let output = crate::process::command(&[&endpoint, "--sidecarsets=/"]).output().expect("started");
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{wrong}: {text}");
        assert!(
            text.contains("--otlp-endpoint") && text.contains("http://localhost:4318"),
            "{wrong}: {text}"
        );
    }
}

#[cfg(feature = "otlp")]
mod collector {
    use std::sync::{Arc, Mutex};

    use axum::Router;
    use axum::body::Bytes;
    use axum::http::HeaderMap;
    use axum::routing::post;
    use tokio::net::TcpListener;

    use crate::process::start;
    use crate::support::until;

    const TRACE: [u8; 16] =
        [0x4b, 0xf9, 0x2f, 0x35, 0x77, 0xb3, 0x4d, 0xa6, 0xa3, 0xce, 0x92, 0x9d, 0x0e, 0x0e, 0x47, 0x36];
    const PARENT: [u8; 8] = [0x00, 0xf0, 0x67, 0xaa, 0x0b, 0xa9, 0x02, 0xb7];

    type Received = Arc<Mutex<Vec<(HeaderMap, Bytes)>>>;

    async fn collect() -> (String, Received) {
        let received = Received::default();
        let for_route = Arc::clone(&received);
        let take = async move |headers: HeaderMap, body: Bytes| {
            for_route.lock().expect("no panic").push((headers, body));
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let endpoint = format!("http://{}", listener.local_addr().expect("bound"));
        let app = Router::new().route("/v1/traces", post(take));
        tokio::spawn(async move { axum::serve(listener, app).await });
        (endpoint, received)
    }

    fn has(body: &[u8], part: &[u8]) -> bool {
        body.windows(part.len()).any(|window| window == part)
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_span_goes_on_where_the_api_server_is() {
        let (endpoint, received) = collect().await;
        let mut webhook = start(&[&format!("--otlp-endpoint={endpoint}")]).await;
        let traceparent = "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n";
        assert!(webhook.post_with(traceparent).await.starts_with("HTTP/1.1 200"));
        // What is waiting goes out before the end.
        webhook.signal("TERM");
        assert!(webhook.end().await.success());
        until("the collector has a span", || !received.lock().expect("no panic").is_empty()).await;
        let received = received.lock().expect("no panic").clone();
        let [(headers, body)] = received.as_slice() else { panic!("one call: {}", received.len()) };
        assert_eq!(headers["content-type"], "application/x-protobuf");
        let parts: [&[u8]; 8] = [
            &TRACE,
            &PARENT,
            b"sidecarset-webhook",
            b"admission.uid",
            b"705ab4f5-6393-11e8-b7cc-42010a800002",
            b"team-a",
            b"logging",
            b"patched",
        ];
        for part in parts {
            assert!(has(body, part), "{} is not in {}", part.escape_ascii(), body.escape_ascii());
        }
        assert!(!has(body, b"nginx:1.27"), "never bodies");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_caller_that_does_not_sample_gets_no_span_and_an_absent_collector_harms_nobody() {
        let (endpoint, received) = collect().await;
        let mut webhook = start(&[&format!("--otlp-endpoint={endpoint}")]).await;
        let unsampled = "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00\r\n";
        assert!(webhook.post_with(unsampled).await.starts_with("HTTP/1.1 200"));
        webhook.signal("TERM");
        assert!(webhook.end().await.success());
        assert!(received.lock().expect("no panic").is_empty());

        let mut alone = start(&["--otlp-endpoint=http://127.0.0.1:9"]).await;
        assert!(alone.post_with("").await.starts_with("HTTP/1.1 200"));
        alone.signal("TERM");
        assert!(alone.end().await.success());
    }
}
