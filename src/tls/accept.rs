//! The accept loop: TLS handshakes in their own tasks, HTTP/1.1 and HTTP/2, limits on everything a client can hold up.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use rustls::{AlertDescription, ServerConfig};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::metrics::{ConnectionCounts, Handshake};

/// What a client may hold up, and for how long.
#[derive(Debug, Clone, Copy)]
pub struct ConnectionLimits {
    /// Time for a TLS handshake.
    pub handshake: Duration,
    /// Time from the end of one request to the head of the next, so also how long a connection may idle. It has to be
    /// longer than the 90 s that the API server keeps one: if we close first, calls are lost in the race.
    pub idle: Duration,
    /// Connections at a time. The next one waits in the kernel's queue.
    pub connections: usize,
    /// How long accepting rests after an error, for example when file descriptors have run out.
    pub accept_pause: Duration,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(10),
            idle: Duration::from_secs(120),
            connections: 2048,
            accept_pause: Duration::from_millis(100),
        }
    }
}

/// Serves `router` on `listener` until `stop` resolves, then closes idle connections, lets requests in flight end, and
/// returns. Bounding that last wait is up to the caller. Connections and handshakes are counted in `counts`.
pub async fn serve(
    listener: TcpListener,
    tls: Arc<ServerConfig>,
    router: Router,
    limits: ConnectionLimits,
    counts: ConnectionCounts,
    stop: impl Future<Output = ()>,
) {
    let acceptor = TlsAcceptor::from(tls);
    let slots = Arc::new(Semaphore::new(limits.connections));
    let graceful = GracefulShutdown::new();
    let mut stop = std::pin::pin!(stop);
    loop {
        let accepted = tokio::select! {
            () = &mut stop => break,
            accepted = accept(&listener, &slots) => accepted,
        };
        match accepted {
            Ok(Some((stream, slot))) => {
                let (acceptor, router) = (acceptor.clone(), router.clone());
                let connection = Connection { acceptor, router, limits, counts: counts.clone() };
                let watcher = graceful.watcher();
                let open = counts.enter();
                tokio::spawn(async move {
                    connection.run(stream, watcher).await;
                    drop((open, slot));
                });
            }
            Ok(None) => break,
            Err(error) => {
                // Never the end: file descriptors come free again, and clients hang up before they are accepted.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(limits.accept_pause).await;
            }
        }
    }
    drop(listener);
    graceful.shutdown().await;
}

/// Waits for a free slot, then for a connection. `None` if the slots are gone for good, which nobody does.
async fn accept(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
) -> io::Result<Option<(TcpStream, OwnedSemaphorePermit)>> {
    let Ok(slot) = Arc::clone(slots).acquire_owned().await else { return Ok(None) };
    let (stream, _peer) = listener.accept().await?;
    Ok(Some((stream, slot)))
}

struct Connection {
    acceptor: TlsAcceptor,
    router: Router,
    limits: ConnectionLimits,
    counts: ConnectionCounts,
}

impl Connection {
    async fn run(self, stream: TcpStream, watcher: Watcher) {
        // Answers are one small write; waiting to fill a packet would only delay them.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY");
        }
        match tokio::time::timeout(self.limits.handshake, self.acceptor.accept(stream)).await {
            Ok(Ok(stream)) => {
                self.counts.handshake(Handshake::Ok);
                self.http(stream, watcher).await;
            }
            Ok(Err(error)) => self.counts.handshake(report_handshake(&error)),
            Err(_elapsed) => {
                self.counts.handshake(Handshake::Timeout);
                tracing::debug!("TLS handshake took too long");
            }
        }
    }

    async fn http(self, stream: TlsStream<TcpStream>, watcher: Watcher) {
        let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        let builder = self.builder(http2);
        let service = TowerToHyperService::new(self.router);
        let connection = builder.serve_connection(TokioIo::new(stream), service).into_owned();
        if let Err(error) = watcher.watch(connection).await {
            // A client that goes away or idles too long: not worth a line unless somebody asks.
            tracing::debug!(%error, "connection ended");
        }
    }

    /// The protocol is known from the handshake. The builder's own detection would wait for the first bytes without limit.
    fn builder(&self, http2: bool) -> auto::Builder<TokioExecutor> {
        let mut builder = auto::Builder::new(TokioExecutor::new());
        if http2 {
            builder
                .http2()
                .timer(TokioTimer::new())
                .keep_alive_interval(Some(self.limits.idle))
                .keep_alive_timeout(self.limits.handshake)
                .max_concurrent_streams(250);
            builder.http2_only()
        } else {
            builder.http1().timer(TokioTimer::new()).header_read_timeout(self.limits.idle);
            builder.http1_only()
        }
    }
}

/// A client that refuses our certificate says so in an alert, and only we see it: that is a configuration mistake which
/// somebody looks for. Everything else in a failed handshake is noise from probes and scanners.
fn report_handshake(error: &io::Error) -> Handshake {
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match tls {
        Some(rustls::Error::AlertReceived(
            alert @ (AlertDescription::UnknownCA
            | AlertDescription::BadCertificate
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            // Signed by another key of a CA with the same name, as after a rotation that the client missed.
            | AlertDescription::DecryptError),
        )) => {
            tracing::warn!(
                ?alert,
                "a client refuses our certificate: its CA bundle or the name it calls us by does not fit"
            );
            Handshake::Refused
        }
        _ => {
            tracing::debug!(%error, "TLS handshake failed");
            Handshake::Failed
        }
    }
}
