//! Another mutating webhook, which keeps each AdmissionReview as it arrived: it allows everything, or patches as told.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio_rustls::TlsAcceptor;

use crate::control_plane::ControlPlane;
use crate::kubectl::Kubectl;
use crate::poll;
use crate::webhook::restrict;

/// What a response has besides uid and `allowed`, as an object.
pub(crate) type Answer = fn(&Value) -> Value;

/// A running recorder; dropping it ends it.
pub(crate) struct Recorder {
    bodies: Arc<Mutex<Vec<Vec<u8>>>>,
    address: SocketAddr,
    ca: String,
    _runtime: Runtime,
}

impl Recorder {
    /// Starts one that allows everything.
    pub(crate) fn start(plane: &ControlPlane) -> Self {
        Self::answering(plane, "recorder", |_| json!({}))
    }

    /// Starts it with a certificate of the control plane's authority. `answer` gives what a response has besides uid and
    /// `allowed`, from the request.
    pub(crate) fn answering(plane: &ControlPlane, name: &str, answer: Answer) -> Self {
        let folder = plane.folder.join(name);
        plane.authority.server(&folder, &["127.0.0.1"]).unwrap();
        let acceptor = acceptor(&folder);
        let bodies = Arc::new(Mutex::new(Vec::new()));
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).unwrap();
        let address = listener.local_addr().unwrap();
        runtime.spawn(serve(listener, acceptor, Arc::clone(&bodies), answer));
        let ca = STANDARD.encode(std::fs::read(plane.authority.certificate()).unwrap());
        Self { bodies, address, ca, _runtime: runtime }
    }

    /// Registers it for one namespace and one version of the review. Its name comes first in the alphabet: it sees
    /// what our webhook would see.
    pub(crate) fn register(&self, kubectl: &Kubectl, version: &str) {
        self.register_as(kubectl, "a-recorder", |webhook| {
            webhook["admissionReviewVersions"] = json!([version]);
            // More than ours is asked for: what may arrive after a mistake in the registration.
            webhook["rules"][0]["operations"] = json!(["CREATE", "UPDATE"]);
            webhook["rules"][0]["resources"] = json!(["pods", "pods/ephemeralcontainers"]);
        });
    }

    /// Registers it for one namespace under a name, by which the API server orders webhooks; otherwise as ours.
    pub(crate) fn register_as(&self, kubectl: &Kubectl, name: &str, change: impl FnOnce(&mut Value)) {
        let mut configuration = crate::webhook::registration(kubectl);
        configuration["metadata"]["name"] = json!(format!("{name}-{}", kubectl.namespace));
        let webhook = &mut configuration["webhooks"][0];
        webhook["clientConfig"] =
            json!({"url": format!("https://{}/mutate-pod", self.address), "caBundle": self.ca});
        change(webhook);
        restrict(&mut configuration, &kubectl.namespace);
        kubectl.create(&[configuration]);
    }

    /// Waits until the API server asks it: a configuration takes effect a moment after it was stored.
    #[track_caller]
    pub(crate) fn await_registered(&self, kubectl: &Kubectl) {
        let probe = format!("probe-{}", kubectl.namespace);
        poll::until("the recorder to be asked", Duration::from_secs(20), || {
            kubectl.run(&["run", &probe, "--image=probe:1", "--dry-run=server"])?;
            self.last(|request| request["name"] == probe.as_str()).map(|_| ()).ok_or("no review".to_owned())
        })
        .unwrap();
    }

    /// The body of the last review that fits.
    pub(crate) fn last(&self, fits: impl Fn(&Value) -> bool) -> Option<Vec<u8>> {
        let bodies = self.bodies.lock().unwrap();
        bodies
            .iter()
            .rev()
            .find(|body| serde_json::from_slice::<Value>(body).is_ok_and(|review| fits(&review["request"])))
            .cloned()
    }
}

fn acceptor(folder: &Path) -> TlsAcceptor {
    let chain = CertificateDer::pem_file_iter(folder.join("tls.crt")).unwrap().map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_file(folder.join("tls.key")).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

async fn serve(
    listener: TcpListener,
    acceptor: TlsAcceptor,
    bodies: Arc<Mutex<Vec<Vec<u8>>>>,
    members: Answer,
) {
    while let Ok((stream, _)) = listener.accept().await {
        let (acceptor, bodies) = (acceptor.clone(), Arc::clone(&bodies));
        tokio::spawn(async move {
            // The API server closes a connection without a word; a test that misses a review says so.
            let Ok(stream) = acceptor.accept(stream).await else { return };
            let service = service_fn(|request| answer(request, &bodies, members));
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn answer(
    request: Request<Incoming>,
    bodies: &Mutex<Vec<Vec<u8>>>,
    members: Answer,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let body = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let review: Value = serde_json::from_slice(&body).unwrap_or_default();
    let mut answer = json!({
        "apiVersion": review["apiVersion"], "kind": "AdmissionReview", "response": members(&review["request"]),
    });
    answer["response"]["uid"] = review["request"]["uid"].clone();
    answer["response"]["allowed"] = json!(true);
    bodies.lock().unwrap().push(body.to_vec());
    let mut response = Response::new(Full::new(Bytes::from(answer.to_string())));
    response
        .headers_mut()
        .insert("content-type", hyper::header::HeaderValue::from_static("application/json"));
    Ok(response)
}
