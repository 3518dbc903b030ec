//! `fixed`: one constant answer, on the accept loop, TLS settings and kind of runtime that `sidecarset webhook` uses. What
//! the webhook costs above it is what admission costs.

use std::io::Write as _;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::DefaultBodyLimit;
use axum::http::{HeaderValue, header};
use axum::response::IntoResponse;
use axum::routing::post;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sidecarset::metrics::ConnectionCounts;
use sidecarset::server::RequestLimits;
use sidecarset::tls;
use sidecarset::tls::accept::{self, ConnectionLimits};
use sidecarset::tls::resolver::CurrentCertificate;
use sidecarset::tls::self_made::SelfMade;
use sidecarset::tls::source::Keeper;
use tokio::net::TcpListener;

use crate::args::FixedArgs;

/// Serves until the process is ended.
pub(crate) fn run(args: &FixedArgs) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(usize::from(args.workers))
        .thread_name("admission")
        .enable_all()
        .build()
        .map_err(|error| format!("cannot start threads: {error}"))?;
    runtime.block_on(serve(args))
}

async fn serve(args: &FixedArgs) -> Result<(), String> {
    let hosts = vec!["localhost".to_owned(), args.listen.ip().to_string()];
    let made = SelfMade::new(hosts).map_err(|error| format!("cannot make a certificate: {error}"))?;
    std::fs::write(&args.ca_out, made.ca_pem())
        .map_err(|error| format!("--ca-out {}: cannot write: {error}", args.ca_out.display()))?;
    let certificate = Arc::new(CurrentCertificate::default());
    Keeper::new(Box::new(made), Arc::clone(&certificate))
        .check()
        .map_err(|error| format!("cannot make a certificate: {error}"))?;
    let config = tls::server_config(certificate).map_err(|error| format!("cannot set up TLS: {error}"))?;

    let wrong = |error| format!("--listen {}: {error}", args.listen);
    let listener = TcpListener::bind(args.listen).await.map_err(wrong)?;
    let address = listener.local_addr().map_err(wrong)?;
    writeln!(std::io::stderr(), "ready: https://{address}/mutate-pod (CA in {})", args.ca_out.display())
        .map_err(|error| format!("cannot write to stderr: {error}"))?;
    // Accepting on a worker of the runtime, as the webhook does, not on this thread.
    let app = app(answer(args.answer_bytes));
    let never = std::future::pending();
    tokio::spawn(accept::serve(
        listener,
        config,
        app,
        ConnectionLimits::default(),
        ConnectionCounts::default(),
        never,
    ))
    .await
    .map_err(|error| format!("the server ended: {error}"))
}

/// Reads the whole body, then answers.
fn app(answer: Bytes) -> Router {
    let handler = async move |_whole_body: Bytes| {
        ([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], answer.clone())
            .into_response()
    };
    Router::new()
        .route("/mutate-pod", post(handler))
        .layer(DefaultBodyLimit::max(RequestLimits::default().body_bytes))
}

/// An AdmissionReview of about `bytes` bytes which allows with a patch; never shorter than what that needs.
fn answer(bytes: usize) -> Bytes {
    const HEAD: &str = r#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","response":{"uid":"00000000-0000-0000-0000-000000000000","allowed":true,"patchType":"JSONPatch","patch":""#;
    const TAIL: &str = r#""}}"#;
    const PATCH_HEAD: &str = r#"[{"op":"add","path":"/metadata/annotations/fixed","value":""#;
    const PATCH_TAIL: &str = r#""}]"#;
    let patch_bytes = bytes.saturating_sub(HEAD.len() + TAIL.len()) / 4 * 3;
    let filling = patch_bytes.saturating_sub(PATCH_HEAD.len() + PATCH_TAIL.len());
    let patch = format!("{PATCH_HEAD}{}{PATCH_TAIL}", "x".repeat(filling));
    format!("{HEAD}{}{TAIL}", STANDARD.encode(patch)).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::check_answer;

    #[test]
    fn the_answer_has_the_size_asked_for_and_a_patch() {
        for bytes in [600, 4_096, 5_001] {
            let answer = answer(bytes);
            assert!(answer.len().abs_diff(bytes) < 4, "{} for {bytes}", answer.len());
            assert_eq!(check_answer(&answer), Ok(()));
        }
    }

    #[test]
    fn a_small_answer_still_has_a_patch() {
        let answer = answer(0);
        assert!(answer.len() < 300);
        assert_eq!(check_answer(&answer), Ok(()));
    }
}
