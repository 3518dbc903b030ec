//! Where the serving certificate comes from, and how a new one takes over.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use super::resolver::CurrentCertificate;

/// A certificate chain with its key, checked to belong together.
#[derive(Debug, Clone)]
pub struct ServingPair {
    /// What rustls serves.
    pub key: Arc<CertifiedKey>,
    /// When the leaf ends, seconds since 1970.
    pub not_after_unix: i64,
}

/// Why a source has no usable pair.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file cannot be read.
    #[error("cannot read {}: {source}; it must be a PEM file that this process may read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// A file holds no certificate, or something broken.
    #[error("{}: no usable certificate: {found}; put the leaf first, then its intermediates, as PEM", path.display())]
    Chain {
        /// The file.
        path: PathBuf,
        /// What was found.
        found: String,
    },
    /// A file holds no private key, or something broken.
    #[error("{}: no usable private key: {found}; PKCS#8, PKCS#1 and SEC1 as PEM are read, without a passphrase", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// What was found.
        found: String,
    },
    /// Certificate and key do not belong together.
    #[error("certificate and key do not belong together: {0}")]
    Pair(rustls::Error),
    /// A file holds no CA for the certificates of clients, or something broken.
    #[error("{}: no usable CA: {found}; put the certificates of CAs into it, as PEM", path.display())]
    ClientCa {
        /// The file.
        path: PathBuf,
        /// What was found.
        found: String,
    },
    /// A certificate could not be made.
    #[error("cannot make a certificate: {0}")]
    Make(#[from] rcgen::Error),
    /// A certificate was made and cannot be used.
    #[error("a certificate was made that cannot be used: {0}")]
    Made(String),
}

/// A place that certificates come from.
pub trait CertificateSource: Send {
    /// The pair to serve if it is another one than at the last successful call, else `None`.
    ///
    /// # Errors
    ///
    /// There is no usable pair now; what was served before stays good.
    fn poll(&mut self) -> Result<Option<ServingPair>, CertificateError>;
}

/// Makes a [`ServingPair`] of a chain and a key.
///
/// # Errors
///
/// They do not belong together, or the leaf cannot be read.
pub fn pair(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<ServingPair, CertificateError> {
    let not_after_unix = match chain.first().map(|leaf| x509_parser::parse_x509_certificate(leaf)) {
        Some(Ok((_, leaf))) => leaf.validity().not_after.timestamp(),
        Some(Err(_)) => return Err(CertificateError::Pair(rustls::CertificateError::BadEncoding.into())),
        None => return Err(CertificateError::Pair(rustls::Error::NoCertificatesPresented)),
    };
    let key = CertifiedKey::from_der(chain, key, &super::provider()).map_err(CertificateError::Pair)?;
    Ok(ServingPair { key: Arc::new(key), not_after_unix })
}

/// `tls.crt` and `tls.key` in a folder, as a mounted Secret has them. Compared by content: a mount changes by swapping a
/// symbolic link, which no file's time shows.
#[derive(Debug)]
pub struct PairFolder {
    chain_path: PathBuf,
    key_path: PathBuf,
    /// Bytes of the pair that was given out last.
    served: Option<(Vec<u8>, Vec<u8>)>,
}

impl PairFolder {
    /// The pair in `dir`; nothing is read yet.
    #[must_use]
    pub fn new(dir: &Path) -> Self {
        Self { chain_path: dir.join("tls.crt"), key_path: dir.join("tls.key"), served: None }
    }

    fn parse(&self, chain: &[u8], key: &[u8]) -> Result<ServingPair, CertificateError> {
        let chain_error = |found| CertificateError::Chain { path: self.chain_path.clone(), found };
        let chain = CertificateDer::pem_slice_iter(chain)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|e| chain_error(e.to_string()))?;
        if chain.is_empty() {
            return Err(chain_error("it has no block BEGIN CERTIFICATE".to_owned()));
        }
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|e| {
            let found = match e {
                pem::Error::NoItemsFound => "it has no block BEGIN ... PRIVATE KEY of these kinds".to_owned(),
                other => other.to_string(),
            };
            CertificateError::Key { path: self.key_path.clone(), found }
        })?;
        pair(chain, key)
    }
}

impl CertificateSource for PairFolder {
    fn poll(&mut self) -> Result<Option<ServingPair>, CertificateError> {
        let found = (read(&self.chain_path)?, read(&self.key_path)?);
        if self.served.as_ref() == Some(&found) {
            return Ok(None);
        }
        let pair = self.parse(&found.0, &found.1)?;
        self.served = Some(found);
        Ok(Some(pair))
    }
}

pub(super) fn read(path: &Path) -> Result<Vec<u8>, CertificateError> {
    std::fs::read(path).map_err(|source| CertificateError::Read { path: path.to_owned(), source })
}

/// Keeps the certificate that is served equal to its source. The last good pair stays when the source fails.
pub struct Keeper {
    source: Box<dyn CertificateSource>,
    current: Arc<CurrentCertificate>,
}

impl Keeper {
    /// Serves through `current` what `source` gives.
    #[must_use]
    pub fn new(source: Box<dyn CertificateSource>, current: Arc<CurrentCertificate>) -> Self {
        Self { source, current }
    }

    /// Looks at the source once. Returns when the pair that took over ends (seconds since 1970), `None` if nothing changed.
    ///
    /// # Errors
    ///
    /// The source has no usable pair; the one served stays.
    pub fn check(&mut self) -> Result<Option<i64>, CertificateError> {
        // A Secret may be swapped between reading its two files, which looks like a mismatch: read again.
        let pair = match self.source.poll() {
            Err(CertificateError::Pair(_)) => self.source.poll()?,
            result => result?,
        };
        Ok(pair.map(|pair| {
            self.current.replace(pair.key);
            pair.not_after_unix
        }))
    }
}
