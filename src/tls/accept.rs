//! The accept loop: TLS handshakes in their own tasks, HTTP/1.1 and HTTP/2, limits on everything a client can hold up. The port of probes
//! has the same loop without TLS.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::http::{HeaderValue, Request, header};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use rustls::{AlertDescription, ServerConfig};
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::client_ca::Certified;
use super::room::{Room, Stay};
use crate::metrics::{ConnectionCounts, Handshake};

/// How long a connection that idles at the end may still begin a request: what the client has sent by then is answered.
const LAST_CALL: Duration = Duration::from_millis(200);

/// How many bytes are read ahead of a connection, and so about how long the head of a request may be. HTTP/1.1 only: HTTP/2 has its windows, and
/// hyper's own limit for heads.
const READ_AHEAD: usize = 32 << 10;

/// What a client may hold up, and for how long.
#[derive(Debug, Clone, Copy)]
pub struct ConnectionLimits {
    /// Time for a TLS handshake.
    pub handshake: Duration,
    /// Time from the end of one request to the head of the next, so also how long a connection may idle. It has to be
    /// longer than the 90 s that the API server keeps one: if we close first, calls are lost in the race.
    pub idle: Duration,
    /// Age from which a connection is to end, so that a new replica gets its share; each gets up to a tenth more or less, so
    /// that not all end at once. HTTP/1.1: it ends behind its next answer, which says so. HTTP/2: GOAWAY. An idle
    /// connection is not closed for its age: the next request may be on its way.
    pub age: Duration,
    /// How long the other side may leave bytes unacknowledged until it counts as gone. Idle connections are probed after the
    /// same time.
    pub unacknowledged: Duration,
    /// Connections at a time. The next one takes the place of one that idles, see `settled`; if none does, it waits in the
    /// kernel's queue.
    pub connections: usize,
    /// How long a connection has to have idled before another one may take its place.
    pub settled: Duration,
    /// How long accepting rests after an error, for example when file descriptors have run out.
    pub accept_pause: Duration,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(10),
            idle: Duration::from_secs(120),
            age: Duration::from_secs(300),
            unacknowledged: Duration::from_secs(30),
            connections: 2048,
            settled: Duration::from_secs(1),
            accept_pause: Duration::from_millis(100),
        }
    }
}

impl ConnectionLimits {
    /// For a port without TLS that answers short questions of few clients: kubelet and Prometheus.
    #[must_use]
    pub fn of_probes() -> Self {
        Self {
            idle: Duration::from_secs(30),
            age: Duration::MAX,
            connections: 64,
            // A probe has a second, and waits meanwhile.
            settled: Duration::from_millis(50),
            ..Self::default()
        }
    }
}

/// Serves `router` over TLS on `listener` until `stop` resolves, then closes idle connections, lets requests in flight end, and
/// returns. Bounding that last wait is up to the caller. Connections and handshakes are counted in `counts`.
pub async fn serve(
    listener: TcpListener,
    tls: Arc<ServerConfig>,
    router: Router,
    limits: ConnectionLimits,
    counts: ConnectionCounts,
    stop: impl Future<Output = ()>,
) {
    serve_over(Some(TlsAcceptor::from(tls)), listener, router, limits, counts, stop).await;
}

/// Serves `router` on `listener` as plain HTTP/1.1 for as long as the runtime lives. Nothing is counted.
pub async fn serve_plain(listener: TcpListener, router: Router, limits: ConnectionLimits) {
    let (counts, never) = (ConnectionCounts::default(), std::future::pending());
    serve_over(None, listener, router, limits, counts, never).await;
}

async fn serve_over(
    acceptor: Option<TlsAcceptor>,
    listener: TcpListener,
    router: Router,
    limits: ConnectionLimits,
    counts: ConnectionCounts,
    stop: impl Future<Output = ()>,
) {
    if let Err(error) = notice_clients_that_vanish(&listener, limits.unacknowledged) {
        tracing::warn!(%error, "cannot set TCP options: a client that vanishes holds its connection for longer");
    }
    let room = Room::new(limits.connections, counts.clone());
    let (stopping, _) = watch::channel(());
    let mut stop = pin!(stop);
    for number in 0.. {
        let accepted = tokio::select! {
            () = &mut stop => break,
            accepted = accept(&listener, &room, limits.settled, number) => accepted,
        };
        match accepted {
            Ok(Some((stream, stay))) => {
                let retire_at = Instant::now().checked_add(jitter(limits.age, number));
                let (acceptor, router) = (acceptor.clone(), router.clone());
                let connection =
                    Connection { acceptor, router, limits, counts: counts.clone(), retire_at, stay };
                tokio::spawn(connection.run(stream, stopping.subscribe()));
            }
            Ok(None) => break,
            Err(error) => {
                // Never the end: file descriptors come free again, and clients hang up before they are accepted.
                tracing::warn!(%error, "cannot accept a connection");
                if out_of_descriptors(&error) {
                    room.make_room(limits.settled);
                }
                tokio::time::sleep(limits.accept_pause).await;
            }
        }
    }
    drop(listener);
    stopping.send_replace(());
    stopping.closed().await;
}

/// Waits for a connection, then for its place. `None` if the places are gone for good, which nobody does.
async fn accept(
    listener: &TcpListener,
    room: &Arc<Room>,
    settled: Duration,
    number: u64,
) -> io::Result<Option<(TcpStream, Stay)>> {
    let (stream, peer) = listener.accept().await?;
    let Some(place) = room.place(settled).await else { return Ok(None) };
    Ok(Some((stream, room.admit(number, peer.ip(), place))))
}

/// Sets what the accepted connections inherit: probes on idle ones, and an end to those whose other side does not acknowledge
/// what it was sent. Without this, a machine that loses its power keeps our place for a quarter of an hour.
fn notice_clients_that_vanish(listener: &TcpListener, after: Duration) -> io::Result<()> {
    let socket = SockRef::from(listener);
    // The kernel counts probes in whole seconds.
    let time = after.max(Duration::from_secs(1));
    let probes = TcpKeepalive::new().with_time(time).with_interval((time / 3).max(Duration::from_secs(1)));
    socket.set_tcp_keepalive(&probes)?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(after))?;
    Ok(())
}

/// Whether the process or the machine has as many files open as it may.
fn out_of_descriptors(error: &io::Error) -> bool {
    const EMFILE: i32 = 24;
    const ENFILE: i32 = 23;
    matches!(error.raw_os_error(), Some(EMFILE | ENFILE))
}

/// `age` up to a tenth more or less. The steps of the golden ratio spread connections evenly that come one after another.
fn jitter(age: Duration, number: u64) -> Duration {
    const GOLDEN: f64 = 0.618_033_988_749_894_9;
    // Exact up to 2^53 connections, and nothing depends on it.
    let fraction = (number as f64 * GOLDEN).fract();
    Duration::try_from_secs_f64(age.as_secs_f64() * (0.9 + 0.2 * fraction)).unwrap_or(Duration::MAX)
}

/// What both sides agreed on in the handshake.
#[derive(Debug, Clone, Copy, Default)]
struct Agreed {
    http2: bool,
    /// Whether the client has shown a certificate.
    certified: bool,
}

impl Agreed {
    fn of(stream: &TlsStream<TcpStream>) -> Self {
        let tls = stream.get_ref().1;
        // There are certificates only if the handshake asked for them and they were found good.
        Self { http2: tls.alpn_protocol() == Some(b"h2"), certified: tls.peer_certificates().is_some() }
    }
}

struct Connection {
    /// `None` is plain HTTP.
    acceptor: Option<TlsAcceptor>,
    router: Router,
    limits: ConnectionLimits,
    counts: ConnectionCounts,
    /// `None` is never.
    retire_at: Option<Instant>,
    stay: Stay,
}

impl Connection {
    async fn run(self, stream: TcpStream, stopping: watch::Receiver<()>) {
        // Answers are one small write; waiting to fill a packet would only delay them.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY");
        }
        tokio::select! {
            () = self.stay.asked_to_leave() => {}
            () = self.serve(stream, stopping) => {}
        }
    }

    async fn serve(&self, stream: TcpStream, stopping: watch::Receiver<()>) {
        let Some(acceptor) = &self.acceptor else {
            return self.http(stream, Agreed::default(), stopping).await;
        };
        match tokio::time::timeout(self.limits.handshake, acceptor.accept(stream)).await {
            Ok(Ok(stream)) => {
                self.counts.handshake(Handshake::Ok);
                let agreed = Agreed::of(&stream);
                self.http(stream, agreed, stopping).await;
            }
            Ok(Err(error)) => self.counts.handshake(report_handshake(&error)),
            Err(_elapsed) => {
                self.counts.handshake(Handshake::Timeout);
                tracing::debug!("TLS handshake took too long");
            }
        }
    }

    async fn http<S>(&self, stream: S, agreed: Agreed, mut stopping: watch::Receiver<()>)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let Agreed { http2, certified } = agreed;
        let builder = self.builder(http2);
        let router = TowerToHyperService::new(self.router.clone());
        let retire_at = self.retire_at;
        let service = service_fn(|mut request: Request<Incoming>| {
            if certified {
                request.extensions_mut().insert(Certified);
            }
            let busy = self.stay.busy();
            let answer = hyper::service::Service::call(&router, request);
            async move {
                let mut answer = answer.await?;
                // HTTP/2 has no such header, and GOAWAY for it.
                if !http2 && retire_at.is_some_and(|at| Instant::now() >= at) {
                    answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
                }
                drop(busy);
                Ok::<_, std::convert::Infallible>(answer)
            }
        });
        let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
        let mut end = pin!(self.time_to_end(http2, &mut stopping));
        let mut ending = false;
        loop {
            tokio::select! {
                // First, so that a request which has arrived by now counts as begun.
                biased;
                result = connection.as_mut() => {
                    if let Err(error) = result {
                        // A client that goes away or idles too long: not worth a line unless somebody asks.
                        tracing::debug!(%error, "connection ended");
                    }
                    return;
                }
                () = &mut end, if !ending => {
                    ending = true;
                    connection.as_mut().graceful_shutdown();
                }
                () = self.does_not_read(http2) => {
                    tracing::debug!("a client does not read its answer");
                    return;
                }
            }
        }
    }

    /// Resolves when an answer has been ready for so long that its client cannot be reading it: with nothing under way, the idle
    /// limit would have ended the connection before. HTTP/2 has its pings for that.
    async fn does_not_read(&self, http2: bool) {
        if http2 {
            std::future::pending().await
        } else {
            self.stay.overstayed(self.limits.idle + self.limits.handshake).await;
        }
    }

    /// Resolves when the connection is to end as soon as nothing is being answered on it.
    async fn time_to_end(&self, http2: bool, stopping: &mut watch::Receiver<()>) {
        let old = async {
            match self.retire_at {
                // A client of HTTP/2 is told, and what it sends before it knows is still answered. With HTTP/1.1 only an
                // answer can tell it.
                Some(at) if http2 => tokio::time::sleep_until(at.into()).await,
                _ => std::future::pending().await,
            }
        };
        tokio::select! {
            () = old => {}
            // The loop says it once, or is gone.
            _ = stopping.changed() => tokio::time::sleep(LAST_CALL).await,
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
            builder
                .http1()
                .timer(TokioTimer::new())
                .header_read_timeout(self.limits.idle)
                .max_buf_size(READ_AHEAD);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_that_come_together_do_not_go_together() {
        let age = Duration::from_secs(300);
        let mut ends: Vec<Duration> = (1000..1020).map(|number| jitter(age, number)).collect();
        ends.sort_unstable();
        assert!(ends[0] >= age.mul_f64(0.9) && ends[19] < age.mul_f64(1.1), "{ends:?}");
        for pair in ends.windows(2) {
            assert!(pair[1].saturating_sub(pair[0]) > Duration::from_secs(1), "{ends:?}");
        }
        assert_eq!(jitter(Duration::MAX, 17), Duration::MAX, "never");
    }
}
