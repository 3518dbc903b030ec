//! The client's side: connections, kept and made as an API server does, and one request with its answer.
//!
//! An API server calls webhooks through Go's `http.Transport`: HTTP/1.1, at most 25 idle connections kept for 90 s, no TLS
//! session resumption; a request takes the connection that was used last, and where none is idle it dials and goes on with
//! whatever comes first, its own new connection or one that another request gives back. A dial that fails fails its own request,
//! if that one still waits, and no other.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::http::Uri;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use serde::Deserialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::oneshot;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Idle connections that are kept for one host.
const MOST_IDLE: usize = 25;
/// How long an idle connection is kept.
const IDLE_TIME: Duration = Duration::from_secs(90);
/// `timeoutSeconds` of a webhook if its configuration says nothing.
const ANSWER_TIME: Duration = Duration::from_secs(10);
/// Size of the write buffer of Go's transport: the head and the beginning of the body leave in one piece of this size, the
/// rest in another.
const WRITE_BUFFER: usize = 4096;
/// Largest head of an answer that is read.
const LARGEST_HEAD: usize = 16 << 10;

/// What is called, and with which bytes.
pub(crate) struct Target {
    /// Gives the address for the next connection: an API server chooses among the endpoints of a Service anew each time.
    dial_to: Box<dyn Fn() -> String + Send + Sync>,
    name: ServerName<'static>,
    connector: TlsConnector,
    /// The address that connections come from, if not any.
    from: Option<IpAddr>,
    head: String,
    /// Head and body of the request.
    request: Vec<u8>,
}

impl Target {
    /// Prepares requests that post `review` to `url`, over TLS that trusts the CA in the file `ca`.
    pub(crate) fn new(url: &str, ca: &Path, review: &[u8]) -> Result<Self, String> {
        let uri: Uri = url.parse().map_err(|error| format!("{url}: {error}"))?;
        let (Some("https"), Some(authority), Some(path)) =
            (uri.scheme_str(), uri.authority(), uri.path_and_query())
        else {
            return Err(format!("{url}: it has to look like https://127.0.0.1:8443/mutate-pod?timeout=10s"));
        };
        let host = authority.host().trim_matches(['[', ']']).to_owned();
        let name = ServerName::try_from(host).map_err(|error| format!("{url}: {error}"))?;
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: {authority}\r\nUser-Agent: kube-apiserver-admission\r\n\
             Accept: application/json, */*\r\nContent-Type: application/json\r\nAccept-Encoding: gzip\r\nContent-Length: "
        );
        let address = match authority.port() {
            Some(_) => authority.to_string(),
            None => format!("{authority}:443"),
        };
        let dial_to = Box::new(move || address.clone());
        let mut target =
            Self { dial_to, name, connector: connector(ca)?, from: None, head, request: Vec::new() };
        target.request = target.request_of(review);
        Ok(target)
    }

    /// The same with a choice of the address for each connection; the name in the certificate stays that of the URL.
    pub(crate) fn dialing(self, dial_to: impl Fn() -> String + Send + Sync + 'static) -> Self {
        Self { dial_to: Box::new(dial_to), ..self }
    }

    /// The same with connections that come from an address of this machine.
    pub(crate) fn coming_from(self, address: IpAddr) -> Self {
        Self { from: Some(address), ..self }
    }

    /// Head and body of a request that posts `review`.
    pub(crate) fn request_of(&self, review: &[u8]) -> Vec<u8> {
        let mut request = format!("{}{}\r\n\r\n", self.head, review.len()).into_bytes();
        request.extend_from_slice(review);
        request
    }

    /// A new connection, after its handshake.
    pub(crate) async fn dial(&self) -> Result<Connection, String> {
        let address = (self.dial_to)();
        let wrong = |error| format!("cannot connect to {address}: {error}");
        let tcp = match self.from {
            None => TcpStream::connect(&address).await.map_err(wrong)?,
            Some(from) => connect_from(from, &address).await.map_err(wrong)?,
        };
        tcp.set_nodelay(true).map_err(wrong)?;
        let stream = self.connector.connect(self.name.clone(), tcp).await.map_err(wrong)?;
        let buffer = Vec::with_capacity(LARGEST_HEAD);
        Ok(Connection { address, stream, buffer, idle_since: Instant::now() })
    }
}

async fn connect_from(from: IpAddr, address: &str) -> io::Result<TcpStream> {
    let to: SocketAddr = address.parse().map_err(io::Error::other)?;
    let socket = if to.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.bind((from, 0).into())?;
    socket.connect(to).await
}

fn connector(ca: &Path) -> Result<TlsConnector, String> {
    let wrong = |error: String| format!("{}: {error}; it has to hold the CA as PEM", ca.display());
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(ca).map_err(|error| wrong(error.to_string()))? {
        let certificate = certificate.map_err(|error| wrong(error.to_string()))?;
        roots.add(certificate).map_err(|error| wrong(error.to_string()))?;
    }
    let mut config = rustls::ClientConfig::builder_with_provider(sidecarset::tls::provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("cannot set up TLS: {error}"))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.resumption = rustls::client::Resumption::disabled();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// The connections to one webhook.
pub(crate) struct Pool {
    target: Arc<Target>,
    state: Mutex<PoolState>,
    dials: Arc<AtomicU64>,
}

#[derive(Default)]
struct PoolState {
    /// The one used last is at the back.
    idle: VecDeque<Connection>,
    /// Requests without a connection, the oldest in front.
    waiting: VecDeque<Waiting>,
}

struct Waiting {
    /// Of the request's own dial.
    dial: u64,
    connection_tx: oneshot::Sender<Result<Connection, String>>,
}

impl Pool {
    /// No connections yet.
    pub(crate) fn new(target: impl Into<Arc<Target>>) -> Arc<Self> {
        Arc::new(Self { target: target.into(), state: Mutex::default(), dials: Arc::default() })
    }

    /// Another client of the same server, with connections of its own, which are counted together.
    pub(crate) fn another(&self) -> Arc<Self> {
        let (target, dials) = (Arc::clone(&self.target), Arc::clone(&self.dials));
        Arc::new(Self { target, state: Mutex::default(), dials })
    }

    /// Connections made so far.
    pub(crate) fn dials(&self) -> u64 {
        self.dials.load(Ordering::Relaxed)
    }

    /// Posts the review and checks the answer. Returns the answer's body size in bytes.
    pub(crate) async fn call(self: &Arc<Self>) -> Result<usize, String> {
        let answer = self.exchange(&self.target.request, Instant::now() + ANSWER_TIME).await?;
        answer.good()?;
        check_answer(&answer.body)?;
        Ok(answer.body.len())
    }

    /// Posts another review and returns the answer's body. Like an API server, repeats the call within its patience if the
    /// answer is 429 or 5xx with `Retry-After`, and never if the connection fails.
    pub(crate) async fn post(self: &Arc<Self>, review: &[u8]) -> Result<Vec<u8>, String> {
        let request = self.target.request_of(review);
        let until = Instant::now() + ANSWER_TIME;
        loop {
            let answer = self.exchange(&request, until).await?;
            let asks_again = answer.head.status == 429 || answer.head.status >= 500;
            let next = answer.head.retry_after.filter(|_| asks_again);
            let next = next.map(|seconds| Instant::now() + Duration::from_secs(seconds));
            match next {
                Some(next) if next < until => tokio::time::sleep_until(next.into()).await,
                _ => return answer.good().map(|()| answer.body),
            }
        }
    }

    /// Every error names the address that the call went to, if it went anywhere.
    async fn exchange(self: &Arc<Self>, request: &[u8], until: Instant) -> Result<Answer, String> {
        let connection = tokio::time::timeout_at(until.into(), self.take()).await;
        let mut connection =
            connection.map_err(|_elapsed| format!("no connection within {ANSWER_TIME:?}"))??;
        let answer = tokio::time::timeout_at(until.into(), connection.exchange(request)).await;
        let answer = answer
            .map_err(|_elapsed| format!("no answer from {} within {ANSWER_TIME:?}", connection.address))?
            .map_err(|wrong| format!("{}: {wrong}", connection.address))?;
        if answer.head.keep_alive {
            connection.idle_since = Instant::now();
            self.give(connection);
        }
        Ok(answer)
    }

    async fn take(self: &Arc<Self>) -> Result<Connection, String> {
        let (dial, waiting) = {
            let mut state = self.lock();
            while let Some(connection) = state.idle.pop_back() {
                if connection.idle_since.elapsed() < IDLE_TIME && connection.is_open() {
                    return Ok(connection);
                }
            }
            let (connection_tx, connection_rx) = oneshot::channel();
            let dial = self.dials.fetch_add(1, Ordering::Relaxed);
            state.waiting.push_back(Waiting { dial, connection_tx });
            (dial, connection_rx)
        };
        let pool = Arc::clone(self);
        tokio::spawn(async move {
            match pool.target.dial().await {
                Ok(connection) => pool.give(connection),
                Err(error) => pool.fail(dial, error),
            }
        });
        waiting.await.unwrap_or_else(|_closed| Err("the pool is gone".to_owned()))
    }

    /// To the request that waits for longest, else to the idle ones if there is room.
    fn give(&self, connection: Connection) {
        let mut state = self.lock();
        let mut connection = Ok(connection);
        while let Some(waiting) = state.waiting.pop_front() {
            match waiting.connection_tx.send(connection) {
                Ok(()) => return,
                Err(unwanted) => connection = unwanted,
            }
        }
        if let Ok(connection) = connection
            && state.idle.len() < MOST_IDLE
        {
            state.idle.push_back(connection);
        }
    }

    /// To the request whose dial has failed. It may have got another connection by now.
    fn fail(&self, dial: u64, error: String) {
        let mut state = self.lock();
        let at = state.waiting.iter().position(|waiting| waiting.dial == dial);
        if let Some(waiting) = at.and_then(|at| state.waiting.remove(at)) {
            // It may have given up.
            let _ = waiting.connection_tx.send(Err(error));
        }
    }

    fn lock(&self) -> MutexGuard<'_, PoolState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection to the server.
pub(crate) struct Connection {
    address: String,
    stream: TlsStream<TcpStream>,
    buffer: Vec<u8>,
    idle_since: Instant,
}

struct Answer {
    head: Head,
    body: Vec<u8>,
}

impl Answer {
    fn good(&self) -> Result<(), String> {
        if self.head.status == 200 {
            return Ok(());
        }
        let text = String::from_utf8_lossy(self.body.get(..300).unwrap_or(&self.body));
        Err(format!("HTTP {}: {text}", self.head.status))
    }
}

impl Connection {
    /// Whether the server has said nothing since its last answer: what it says then is that it closes. Go reads idle
    /// connections all the time and so knows, too.
    pub(crate) fn is_open(&self) -> bool {
        let said = self.stream.get_ref().0.try_read(&mut [0]);
        said.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }

    async fn exchange(&mut self, request: &[u8]) -> Result<Answer, String> {
        let (first, rest) = request.split_at(request.len().min(WRITE_BUFFER));
        let wrong = |error| format!("cannot send: {error}");
        self.stream.write_all(first).await.map_err(wrong)?;
        self.stream.write_all(rest).await.map_err(wrong)?;
        self.stream.flush().await.map_err(wrong)?;

        self.buffer.clear();
        let head = loop {
            self.read().await?;
            if let Some(head) = Head::find(&self.buffer)? {
                break head;
            }
            if self.buffer.len() > LARGEST_HEAD {
                return Err(format!("the answer's head is longer than {LARGEST_HEAD} bytes"));
            }
        };
        let end = head.bytes + head.content_length;
        while self.buffer.len() < end {
            self.read().await?;
        }
        if self.buffer.len() > end {
            return Err("bytes came behind the answer".to_owned());
        }
        Ok(Answer { body: self.buffer.split_off(head.bytes), head })
    }

    async fn read(&mut self) -> Result<(), String> {
        match self.stream.read_buf(&mut self.buffer).await {
            Ok(0) => Err("the connection was closed before the answer was whole".to_owned()),
            Ok(_) => Ok(()),
            Err(error) => Err(format!("cannot read: {error}")),
        }
    }
}

/// What matters of an answer's head.
#[derive(Debug, PartialEq)]
struct Head {
    /// Its size with the empty line.
    bytes: usize,
    status: u16,
    content_length: usize,
    keep_alive: bool,
    /// Seconds.
    retry_after: Option<u64>,
}

impl Head {
    /// `None` if it is not whole yet.
    fn find(bytes: &[u8]) -> Result<Option<Self>, String> {
        let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(None) };
        let text = String::from_utf8_lossy(bytes.get(..end).unwrap_or_default());
        let mut lines = text.split("\r\n");
        let status_line = lines.next().unwrap_or_default();
        let status = status_line.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status = status.ok_or_else(|| format!("no status line: {status_line:?}"))?;
        let mut content_length = None;
        let mut keep_alive = true;
        let mut retry_after = None;
        for (name, value) in lines.filter_map(|line| line.split_once(':')) {
            if name.eq_ignore_ascii_case("content-length") {
                content_length = value.trim().parse().ok();
            } else if name.eq_ignore_ascii_case("connection") {
                keep_alive = !value.trim().eq_ignore_ascii_case("close");
            } else if name.eq_ignore_ascii_case("retry-after") {
                retry_after = value.trim().parse().ok();
            }
        }
        let content_length = content_length.ok_or("the answer has no Content-Length")?;
        Ok(Some(Self { bytes: end + 4, status, content_length, keep_alive, retry_after }))
    }
}

/// Checks that an answer allows, with a patch.
pub(crate) fn check_answer(body: &[u8]) -> Result<(), String> {
    #[derive(Deserialize)]
    struct Review<'a> {
        #[serde(borrow)]
        response: Response<'a>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Response<'a> {
        allowed: bool,
        patch_type: Option<&'a str>,
        patch: Option<&'a str>,
    }
    let review: Review<'_> =
        serde_json::from_slice(body).map_err(|error| format!("the answer is no AdmissionReview: {error}"))?;
    match review.response {
        Response { allowed: false, .. } => Err("the answer denies".to_owned()),
        Response { patch_type: Some("JSONPatch"), patch: Some(patch), .. } if !patch.is_empty() => Ok(()),
        _ => Err("the answer has no patch: do the SidecarSets match the Pod of the review?".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_when_it_is_whole() {
        let text = b"HTTP/1.1 503 Service Unavailable\r\nconnection: Close\r\nRetry-After: 1\r\nContent-Length: 17\r\n\r\n{}";
        assert_eq!(Head::find(&text[..40]), Ok(None));
        let bytes = text.len() - 2;
        let whole = Head { bytes, status: 503, content_length: 17, keep_alive: false, retry_after: Some(1) };
        assert_eq!(Head::find(text), Ok(Some(whole)));
        assert!(Head::find(b"HTTP/1.1 200 OK\r\n\r\n").is_err_and(|error| error.contains("Content-Length")));
        assert!(Head::find(b"nonsense\r\n\r\n").is_err_and(|error| error.contains("status line")));
    }

    #[test]
    fn only_an_allowed_answer_with_a_patch_is_good() {
        let check = |response: &str| check_answer(format!(r#"{{"response":{response}}}"#).as_bytes());
        assert_eq!(check(r#"{"allowed":true,"patchType":"JSONPatch","patch":"W10="}"#), Ok(()));
        for bad in [
            r#"{"allowed":false,"patchType":"JSONPatch","patch":"W10="}"#,
            r#"{"allowed":true}"#,
            r#"{"allowed":true,"patchType":"JSONPatch","patch":""}"#,
            r#"{"allowed":true,"patch":"W10="}"#,
            "[]",
        ] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }
}
