//! What several test modules share: states, reviews, certificates, waiting for a condition.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::{CertificateDer, ServerName};
use serde_json::{Value, json};
use sidecarset::draw::CountingDraw;
use sidecarset::metrics::ConnectionCounts;
use sidecarset::metrics::Metrics;
use sidecarset::server::{self, AppState, RequestLimits};
use sidecarset::shutdown::Draining;
use sidecarset::source::folder::{self, Files, Loaded};
use sidecarset::source::publish::Published;
use sidecarset::tls;
use sidecarset::tls::accept::{self, ConnectionLimits};
use sidecarset::tls::resolver::CurrentCertificate;
use sidecarset::tls::source::{Keeper, PairFolder};
use sidecarset_core::context::Features;
use sidecarset_core::snapshot::Snapshot;
use sidecarset_core::validation::Options;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Longest wait for something that has to happen; a test that needs this long has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A set that matches `app: web` and adds the container `log-agent`.
pub(crate) const LOG_AGENT: &str = "\
apiVersion: apps.kruise.io/v1beta1
kind: SidecarSet
metadata:
  name: logging
spec:
  selector:
    matchLabels:
      app: web
  containers:
  - name: log-agent
    image: fluent-bit:3.1
    podInjectPolicy: AfterAppContainer
";

/// Publishes a folder with one file.
pub(crate) fn publish(state: &AppState, yaml: &str) {
    let dir = tempfile::tempdir().expect("temporary folder");
    std::fs::write(dir.path().join("sets.yaml"), yaml).expect("written");
    let files = Files::read(dir.path()).expect("readable");
    publish_files(state, &files);
}

/// Publishes the files of a folder.
pub(crate) fn publish_files(state: &AppState, files: &Files) {
    let Loaded { parts, cluster, .. } = folder::load(files, Options::default()).expect("good");
    state.published.publish(Snapshot::new(parts), cluster);
}

/// State with the Snapshot of [`LOG_AGENT`].
pub(crate) fn mk_state(limits: RequestLimits) -> Arc<AppState> {
    let state = mk_empty_state(limits);
    publish(&state, LOG_AGENT);
    state
}

/// State before the first Snapshot.
pub(crate) fn mk_empty_state(limits: RequestLimits) -> Arc<AppState> {
    mk_state_with(limits, Features::default())
}

/// State before the first Snapshot, with these switches.
pub(crate) fn mk_state_with(limits: RequestLimits, features: Features) -> Arc<AppState> {
    Arc::new(AppState::new(
        Arc::new(Published::default()),
        Arc::new(Metrics::new("test")),
        Arc::new(Draining::default()),
        Box::new(CountingDraw::default()),
        features,
        Options::default(),
        limits,
    ))
}

/// A review of a Pod with the label `app: web`, as an API server sends it.
pub(crate) fn mk_review() -> Value {
    json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "705ab4f5-6393-11e8-b7cc-42010a800002",
            "kind": {"group": "", "version": "v1", "kind": "Pod"},
            "resource": {"group": "", "version": "v1", "resource": "pods"},
            "requestKind": {"group": "", "version": "v1", "kind": "Pod"},
            "namespace": "team-a",
            "operation": "CREATE",
            "userInfo": {"username": "admin", "groups": ["system:authenticated"]},
            "object": {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": "shop", "namespace": "team-a", "labels": {"app": "web"}},
                "spec": {"containers": [{"name": "main", "image": "nginx:1.27", "resources": {}}]},
            },
            "oldObject": null,
            "dryRun": false,
            "options": {"kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1"},
        },
    })
}

/// Waits until `condition` holds. Fails the test if it never does.
pub(crate) async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "waited {PATIENCE:?} in vain until {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// A CA and a leaf for `localhost` and `127.0.0.1`.
pub(crate) struct TestPair {
    pub(crate) ca_der: CertificateDer<'static>,
    pub(crate) leaf_pem: String,
    pub(crate) leaf_der: Vec<u8>,
    pub(crate) key_pem: String,
}

/// Makes a CA and a leaf that is signed by it, with `key` or a new EC key.
pub(crate) fn mk_pair(key: Option<rcgen::KeyPair>) -> TestPair {
    let mut ca_params = rcgen::CertificateParams::default();
    ca_params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let ca_key = rcgen::KeyPair::generate().expect("key");
    let ca = rcgen::CertifiedIssuer::self_signed(ca_params, ca_key).expect("CA");
    let key = key.unwrap_or_else(|| rcgen::KeyPair::generate().expect("key"));
    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    let leaf = rcgen::CertificateParams::new(names).expect("names").signed_by(&key, &ca).expect("signed");
    TestPair {
        ca_der: ca.der().clone(),
        leaf_pem: leaf.pem(),
        leaf_der: leaf.der().to_vec(),
        key_pem: key.serialize_pem(),
    }
}

/// Writes `tls.crt` and `tls.key` as a kubelet mounts a Secret: a new generation behind the symbolic link `..data`, which is
/// swapped by renaming.
pub(crate) fn mount_secret(dir: &Path, generation: &str, chain: &str, key: &str) {
    let data = dir.join(format!("..{generation}"));
    std::fs::create_dir(&data).expect("new generation");
    std::fs::write(data.join("tls.crt"), chain).expect("written");
    std::fs::write(data.join("tls.key"), key).expect("written");
    swap_link(dir, &data);
    for name in ["tls.crt", "tls.key"] {
        let link = dir.join(name);
        if !link.exists() {
            std::os::unix::fs::symlink(Path::new("..data").join(name), link).expect("linked");
        }
    }
}

/// Points `..data` to another generation, in one step.
pub(crate) fn swap_link(dir: &Path, generation: &Path) {
    let fresh = dir.join("..data_tmp");
    std::os::unix::fs::symlink(generation.file_name().expect("a name"), &fresh).expect("linked");
    std::fs::rename(fresh, dir.join("..data")).expect("swapped");
}

/// A finished handshake with a server that `ca` vouches for. `alpn` is what the client offers.
pub(crate) async fn connect(
    address: SocketAddr,
    ca: &CertificateDer<'static>,
    alpn: &[&[u8]],
) -> std::io::Result<TlsStream<TcpStream>> {
    connect_over(TcpStream::connect(address).await?, ca, alpn).await
}

/// The same over a TCP connection that is there already.
pub(crate) async fn connect_over(
    tcp: TcpStream,
    ca: &CertificateDer<'static>,
    alpn: &[&[u8]],
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(ca.clone()).expect("a CA");
    let mut config = rustls::ClientConfig::builder_with_provider(tls::provider())
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    let name = ServerName::try_from("localhost").expect("a name");
    TlsConnector::from(Arc::new(config)).connect(name, tcp).await
}

/// Everything until the server closes. A reset or a missing TLS goodbye counts as closed.
pub(crate) async fn rest_of(stream: &mut (impl AsyncReadExt + Unpin)) -> Vec<u8> {
    let mut rest = Vec::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut rest));
    // The kinds of closing differ and do not matter here; never closing does.
    let _ = read.await.expect("the server never closed the connection");
    rest
}

/// Serves a state over TLS for as long as the test runs. Returns the address and the CA.
pub(crate) async fn serve_tls(state: Arc<AppState>) -> (SocketAddr, CertificateDer<'static>) {
    let certs = tempfile::tempdir().expect("temporary folder");
    let pair = mk_pair(None);
    mount_secret(certs.path(), "1", &pair.leaf_pem, &pair.key_pem);
    let current = Arc::new(CurrentCertificate::default());
    Keeper::new(Box::new(PairFolder::new(certs.path())), Arc::clone(&current)).check().expect("a good pair");
    let config = tls::server_config(current).expect("TLS");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    let (app, forever) = (server::app(state), std::future::pending());
    tokio::spawn(accept::serve(
        listener,
        config,
        app,
        ConnectionLimits::default(),
        ConnectionCounts::default(),
        forever,
    ));
    (address, pair.ca_der)
}

/// Sends one request (`line` is method and path) on a connection of its own; head and body of the answer. An empty
/// `content_type` sends no such header.
pub(crate) async fn exchange(
    address: SocketAddr,
    ca: &CertificateDer<'static>,
    line: &str,
    content_type: &str,
    body: &[u8],
) -> String {
    let mut stream = connect(address, ca, &[b"http/1.1"]).await.expect("connected");
    let content_type =
        if content_type.is_empty() { String::new() } else { format!("content-type: {content_type}\r\n") };
    let head = format!(
        "{line} HTTP/1.1\r\nhost: localhost\r\n{content_type}content-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    // A server that refuses a body by its announced length may close before it has taken all of it.
    let _ = stream.write_all(&[head.as_bytes(), body].concat()).await;
    // What the socket did not take at once waits in the TLS session, and reading does not send it.
    let _ = stream.flush().await;
    String::from_utf8(rest_of(&mut stream).await).expect("text")
}
