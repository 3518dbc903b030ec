//! TLS: which certificate is served, and the loop that accepts connections. Knows nothing of admission.

pub mod accept;
pub mod client_ca;
pub mod issue;
pub mod managed;
pub mod resolver;
mod room;
pub mod self_made;
pub mod source;

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoClientAuth, ResolvesServerCert};

/// The one crypto provider of the process.
#[must_use]
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// Settings of our side of a connection: TLS 1.2 and 1.3, HTTP/2 or HTTP/1.1, the certificate from `resolver`.
///
/// # Errors
///
/// The provider supports none of the protocol versions.
pub fn server_config(resolver: Arc<dyn ResolvesServerCert>) -> Result<Arc<ServerConfig>, rustls::Error> {
    server_config_with(resolver, Arc::new(NoClientAuth))
}

/// The same, with `clients` to judge the certificates that clients show.
///
/// # Errors
///
/// The provider supports none of the protocol versions.
pub fn server_config_with(
    resolver: Arc<dyn ResolvesServerCert>,
    clients: Arc<dyn ClientCertVerifier>,
) -> Result<Arc<ServerConfig>, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
        .with_client_cert_verifier(clients)
        .with_cert_resolver(resolver);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    // The API server does not resume sessions, so tickets would only cost bytes in each of its handshakes.
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}
