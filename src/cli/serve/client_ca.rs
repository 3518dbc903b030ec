//! Whether clients have to show a certificate, and who decides.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};

use super::every;
use crate::metrics::Metrics;
use crate::server::status::Failure;
use crate::tls::client_ca::{Certified, ClientCaFile, ClientCas};

/// How often the CAs are compared with their file.
const POLL: Duration = Duration::from_secs(5);
/// Paths for everybody: an API server shows its certificate to admission webhooks only.
const FOR_EVERYBODY: [&str; 2] = ["/convert", "/healthz"];

/// Reads the CAs and keeps them up to date.
///
/// # Errors
///
/// The file cannot be used.
pub(super) fn start(path: &Path, metrics: &Arc<Metrics>) -> Result<Arc<ClientCas>, String> {
    let file = ClientCaFile::open(path).map_err(|error| format!("--client-ca: {error}"))?;
    let (cas, metrics) = (file.cas(), Arc::clone(metrics));
    tokio::spawn(every(POLL, file, move |file| match file.check() {
        Ok(true) => tracing::info!("CAs of clients replaced"),
        Ok(false) => {}
        Err(error) => {
            metrics.certificate_reload_failures.inc();
            tracing::error!(%error, "the CAs of clients do not load; the last good ones stay");
        }
    }));
    Ok(cas)
}

/// The same routes for clients with a certificate only.
pub(super) fn guard(app: Router) -> Router {
    app.layer(middleware::from_fn(refuse_strangers))
}

async fn refuse_strangers(request: Request, next: Next) -> Response {
    let certified = request.extensions().get::<Certified>().is_some();
    if certified || FOR_EVERYBODY.contains(&request.uri().path()) {
        return next.run(request).await;
    }
    Failure::forbidden(
        "a client certificate is needed here (--client-ca); name one for this webhook in the kubeconfig of the API server's \
         admission configuration",
    )
    .into_response()
}
