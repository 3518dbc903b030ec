//! Certificates of clients: whether the one who calls us is an API server of the cluster.
//!
//! A handshake without a certificate succeeds: an API server can be told to show one when it asks admission webhooks (by the
//! kubeconfig of its admission configuration), but shows none when it has objects converted. So a connection is marked, and who serves
//! decides by the request. A certificate that is shown must be good in any case.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme};

use super::source::{CertificateError, read};

/// Extension of a request: its connection has shown a certificate that was checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Certified;

/// Checks certificates of clients against the CAs of a file.
#[derive(Debug)]
pub struct ClientCas(ArcSwap<Arc<dyn ClientCertVerifier>>);

/// Keeps [`ClientCas`] equal to its file.
#[derive(Debug)]
pub struct ClientCaFile {
    path: PathBuf,
    content: Vec<u8>,
    cas: Arc<ClientCas>,
}

impl ClientCaFile {
    /// Reads the file for the first time.
    ///
    /// # Errors
    ///
    /// It cannot be read, or holds no usable CA.
    pub fn open(path: &Path) -> Result<Self, CertificateError> {
        let content = read(path)?;
        let cas = Arc::new(ClientCas(ArcSwap::from_pointee(verifier(path, &content)?)));
        Ok(Self { path: path.to_owned(), content, cas })
    }

    /// What handshakes ask.
    #[must_use]
    pub fn cas(&self) -> Arc<ClientCas> {
        Arc::clone(&self.cas)
    }

    /// Reads the file again; whether it has changed.
    ///
    /// # Errors
    ///
    /// It cannot be used; what was read last stays in use.
    pub fn check(&mut self) -> Result<bool, CertificateError> {
        let content = read(&self.path)?;
        if content == self.content {
            return Ok(false);
        }
        self.cas.0.store(Arc::new(verifier(&self.path, &content)?));
        self.content = content;
        Ok(true)
    }
}

fn verifier(path: &Path, content: &[u8]) -> Result<Arc<dyn ClientCertVerifier>, CertificateError> {
    let wrong = |found: String| CertificateError::ClientCa { path: path.to_owned(), found };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(content) {
        let certificate = certificate.map_err(|error| wrong(error.to_string()))?;
        roots.add(certificate).map_err(|error| wrong(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(wrong("it has no block BEGIN CERTIFICATE".to_owned()));
    }
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), super::provider())
        .allow_unauthenticated()
        .build()
        .map_err(|error| wrong(error.to_string()))
}

impl ClientCertVerifier for ClientCas {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    /// None: the names could change at any moment, and a client that has a certificate for us needs no hint.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.0.load().verify_client_cert(end_entity, intermediates, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.load().verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.load().verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.load().supported_verify_schemes()
    }
}
