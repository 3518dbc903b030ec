//! The HTTP client behind every client of the API server: kube's own, with connections that notice when their other side has vanished.
//!
//! kube makes its connections without probes. A machine that loses its power closes none, so a watch would wait for its end, and a
//! call for its limit.

use std::time::Duration;

use hyper::rt::{Read, Write};
use hyper_timeout::TimeoutConnector;
use hyper_util::client::legacy::connect::{Connection, HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioIo};
use kube::client::retry::RetryPolicy;
use kube::client::{Body, ConfigExt};
use kube::{Client, Config};
use tokio::net::TcpStream;
use tower::retry::RetryLayer;
use tower::{BoxError, ServiceBuilder, ServiceExt};

use super::CONNECT_TIME;

/// After so long without a byte from the other side, also without an answer to probes, a connection has failed.
const VANISHED_AFTER: Duration = Duration::from_secs(30);
/// Silence before the first probe.
const PROBE_AFTER: Duration = Duration::from_secs(10);
/// Time between probes. The fourth is unanswered after [`VANISHED_AFTER`].
const PROBE_EVERY: Duration = Duration::from_secs(5);

/// A client made of `config`. Each of its connections becomes what `wrap` makes of it, before TLS.
///
/// # Errors
///
/// `config` cannot be used: its certificates or keys, or it asks for a proxy.
pub(super) fn client<S, W>(config: Config, wrap: W) -> Result<Client, kube::Error>
where
    S: Connection + Read + Write + Send + Unpin + 'static,
    W: Fn(TokioIo<TcpStream>) -> S + Clone + Send + Sync + 'static,
{
    if config.proxy_url.is_some() {
        // We were built without; kube says so.
        return Client::try_from(config);
    }
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_keepalive(Some(PROBE_AFTER));
    tcp.set_keepalive_interval(Some(PROBE_EVERY));
    tcp.set_keepalive_retries(Some(4));
    // Ends also a connection on which something was sent: there are no probes then.
    #[cfg(target_os = "linux")]
    tcp.set_tcp_user_timeout(Some(VANISHED_AFTER));
    let tcp = ServiceExt::<axum::http::Uri>::map_response(tcp, wrap);
    let tls = config.rustls_https_connector_with_connector(tcp)?;
    let mut connector = TimeoutConnector::new(tls);
    connector.set_connect_timeout(Some(CONNECT_TIME));
    connector.set_read_timeout(config.read_timeout);
    connector.set_reset_reader_on_write(config.reset_reader_on_write);
    let http = hyper_util::client::legacy::Client::builder(TokioExecutor::new()).build::<_, Body>(connector);
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(config.default_retry.then(|| RetryLayer::new(RetryPolicy::server_retry())))
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .map_err(BoxError::from)
        .service(http);
    Ok(Client::new(service, config.default_namespace))
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use axum::Router;
    use socket2::SockRef;
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn connections_probe_an_api_server_that_is_silent() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let version = r#"{"major": "1", "minor": "36", "gitVersion": "v1.36.0", "gitCommit": "", "gitTreeState": "", "buildDate": "",
            "goVersion": "", "compiler": "", "platform": ""}"#;
        let app = Router::new().fallback(async move || version);
        tokio::spawn(async { axum::serve(listener, app).await });

        let (told, seen) = mpsc::channel();
        let wrap = move |stream: TokioIo<TcpStream>| {
            let socket = SockRef::from(stream.inner());
            let options = (
                socket.keepalive().ok(),
                socket.tcp_keepalive_time().ok(),
                socket.tcp_keepalive_interval().ok(),
                socket.tcp_keepalive_retries().ok(),
            );
            let _ = told.send(options);
            #[cfg(target_os = "linux")]
            assert_eq!(socket.tcp_user_timeout().ok().flatten(), Some(VANISHED_AFTER));
            stream
        };
        let client = client(Config::new(url.parse().expect("a URL")), wrap).expect("a client");
        assert_eq!(client.apiserver_version().await.expect("an answer").git_version, "v1.36.0");
        let expected = (Some(true), Some(PROBE_AFTER), Some(PROBE_EVERY), Some(4));
        assert_eq!(seen.recv().expect("a connection"), expected);
        assert_eq!(PROBE_AFTER + PROBE_EVERY * 4, VANISHED_AFTER);
    }

    #[tokio::test]
    async fn a_proxy_is_refused_instead_of_passed_by() {
        let mut config = Config::new("http://127.0.0.1:9".parse().expect("a URL"));
        config.proxy_url = Some("http://127.0.0.1:8".parse().expect("a URL"));
        let error = client(config, |stream| stream).err().expect("refused");
        assert!(matches!(error, kube::Error::ProxyProtocolDisabled { .. }), "{error}");
    }
}
