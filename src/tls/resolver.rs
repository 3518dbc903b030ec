//! The certificate that is served now, replaced without a lock while connections come in.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

/// Holds the serving certificate. Empty until the first [`replace`](Self::replace); a handshake fails until then.
#[derive(Debug, Default)]
pub struct CurrentCertificate(ArcSwapOption<CertifiedKey>);

impl CurrentCertificate {
    /// Serves `key` from the next handshake on.
    pub fn replace(&self, key: Arc<CertifiedKey>) {
        self.0.store(Some(key));
    }

    /// Whether there is a certificate to serve.
    #[must_use]
    pub fn is_loaded(&self) -> bool {
        self.0.load().is_some()
    }
}

impl ResolvesServerCert for CurrentCertificate {
    fn resolve(&self, _client_hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.load_full()
    }
}
