//! The two kinds of certificate that are managed: a CA, and the leaf that it signs.

use std::fmt;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{Issuer, KeyPair, PublicKeyData};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;

use crate::tls::issue::{self, Validity};
use crate::tls::source::{self, CertificateError, ServingPair};

/// How the name of a CA of ours begins.
const CA_NAME: &str = "sidecarset managed CA";
const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;
/// Life of a CA. It is renewed long before without anybody noticing; what bounds it is how long a lost key would matter.
pub const CA_LIFE: i64 = 10 * 365 * DAY;
/// Life of a leaf.
pub const LEAF_LIFE: i64 = 90 * DAY;
/// Certificates begin this long before they are made: the clock of an API server may be behind ours.
const SKEW: i64 = HOUR;

/// The certificate of a CA, without its key.
#[derive(Clone, PartialEq, Eq)]
pub struct CaCertificate {
    der: CertificateDer<'static>,
    /// When it is valid.
    pub validity: Validity,
    /// Common name of its subject.
    name: String,
}

impl fmt::Debug for CaCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl CaCertificate {
    /// Reads one certificate.
    ///
    /// # Errors
    ///
    /// What is wrong with it, to follow the place it was found at.
    pub fn from_der(der: CertificateDer<'static>) -> Result<Self, String> {
        let (_, parsed) = x509_parser::parse_x509_certificate(&der)
            .map_err(|error| format!("no X.509 certificate: {error}"))?;
        if !parsed.is_ca() {
            return Err("a certificate that is no CA".to_owned());
        }
        let name = parsed.subject().iter_common_name().next().and_then(|name| name.as_str().ok());
        let name = name.unwrap_or("a CA without a common name").to_owned();
        let validity = validity(&parsed);
        Ok(Self { der, validity, name })
    }

    /// The certificates in a PEM text, and how many blocks or certificates in it could not be read.
    #[must_use]
    pub fn all_of_pem(pem: &[u8]) -> (Vec<Self>, usize) {
        let mut unreadable = 0;
        let mut all = Vec::new();
        for der in CertificateDer::pem_slice_iter(pem) {
            match der.map_err(|error| error.to_string()).and_then(Self::from_der) {
                Ok(certificate) if all.contains(&certificate) => {}
                Ok(certificate) => all.push(certificate),
                Err(_) => unreadable += 1,
            }
        }
        (all, unreadable)
    }

    /// As PEM.
    #[must_use]
    pub fn pem(&self) -> String {
        pem_text("CERTIFICATE", &self.der)
    }

    /// Whether a webhook of this program has made it, by its name.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        self.name.starts_with(CA_NAME)
    }

    /// Whether it signed this leaf, whatever the time.
    #[must_use]
    pub fn issued(&self, leaf: &Leaf) -> bool {
        // Any moment at which the leaf itself is valid.
        trusts([self], leaf, leaf.validity.from).is_ok()
    }
}

/// A CA that can sign.
#[derive(Clone, PartialEq)]
pub struct Authority {
    /// Its certificate.
    pub certificate: CaCertificate,
    /// Its key as PEM.
    key_pem: String,
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.certificate.fmt(f)
    }
}

impl Authority {
    /// Makes a new one at `now`.
    ///
    /// # Errors
    ///
    /// The system gives no random numbers.
    pub fn new(now: i64) -> Result<Self, CertificateError> {
        let key = issue::new_key()?;
        let made = jiff::Timestamp::from_second(now).unwrap_or_default();
        let params =
            issue::authority_params(&format!("{CA_NAME} {made}"), Validity::starting(now, SKEW, CA_LIFE))?;
        let der: CertificateDer<'static> = params.self_signed(&key)?.into();
        let certificate = CaCertificate::from_der(der).map_err(CertificateError::Made)?;
        Ok(Self { certificate, key_pem: key.serialize_pem() })
    }

    /// Puts a certificate and its key together.
    ///
    /// # Errors
    ///
    /// What is wrong with the key.
    pub fn from_pem(certificate: CaCertificate, key_pem: &[u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(key_pem).map_err(|_| "it is no text".to_owned())?;
        let key = KeyPair::from_pem(text).map_err(|error| format!("no usable private key: {error}"))?;
        let (_, parsed) =
            x509_parser::parse_x509_certificate(&certificate.der).map_err(|error| error.to_string())?;
        if key.subject_public_key_info() != parsed.public_key().raw {
            return Err("it is the key of another certificate".to_owned());
        }
        Ok(Self { certificate, key_pem: text.to_owned() })
    }

    /// Its key as PEM.
    #[must_use]
    pub fn key_pem(&self) -> &str {
        &self.key_pem
    }

    /// Signs a new leaf for these hosts at `now`. It ends no later than the CA.
    ///
    /// # Errors
    ///
    /// A host is neither a DNS name nor an address, or the key does not sign.
    pub fn issue(&self, hosts: &[String], now: i64) -> Result<Leaf, CertificateError> {
        let mut validity = Validity::starting(now, SKEW, LEAF_LIFE);
        validity.until = validity.until.min(self.certificate.validity.until);
        let key = issue::new_key()?;
        let issuer = Issuer::from_ca_cert_der(&self.certificate.der, KeyPair::from_pem(&self.key_pem)?)?;
        let leaf = issue::leaf_params(hosts, validity)?.signed_by(&key, &issuer)?;
        Leaf::from_pem(leaf.pem().as_bytes(), key.serialize_pem().as_bytes()).map_err(CertificateError::Made)
    }
}

/// A serving certificate with its key, known to fit each other.
#[derive(Clone)]
pub struct Leaf {
    chain: Vec<CertificateDer<'static>>,
    key_pem: String,
    /// When it is valid.
    pub validity: Validity,
    /// What the server serves.
    pub pair: ServingPair,
}

impl fmt::Debug for Leaf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "leaf until {}", self.validity.until)
    }
}

impl PartialEq for Leaf {
    fn eq(&self, other: &Self) -> bool {
        self.chain == other.chain
    }
}

impl Leaf {
    /// Reads a chain and its key.
    ///
    /// # Errors
    ///
    /// What is wrong, with the name of the Secret's key.
    pub fn from_pem(chain_pem: &[u8], key_pem: &[u8]) -> Result<Self, String> {
        let chain = CertificateDer::pem_slice_iter(chain_pem)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| format!("tls.crt: {error}"))?;
        let first = chain.first().ok_or("tls.crt: it has no block BEGIN CERTIFICATE")?;
        let (_, parsed) =
            x509_parser::parse_x509_certificate(first).map_err(|error| format!("tls.crt: {error}"))?;
        let validity = validity(&parsed);
        let key = PrivateKeyDer::from_pem_slice(key_pem).map_err(|error| format!("tls.key: {error}"))?;
        let pair =
            source::pair(chain.clone(), key).map_err(|error| format!("tls.crt and tls.key: {error}"))?;
        let key_pem = String::from_utf8_lossy(key_pem).into_owned();
        Ok(Self { chain, key_pem, validity, pair })
    }

    /// Whether a client that calls us by this DNS name or address takes it.
    #[must_use]
    pub fn is_for(&self, host: &str) -> bool {
        let (Ok(name), Some(first)) = (ServerName::try_from(host), self.chain.first()) else { return false };
        ParsedCertificate::try_from(first).is_ok_and(|first| verify_server_name(&first, &name).is_ok())
    }

    /// The chain as PEM.
    #[must_use]
    pub fn chain_pem(&self) -> String {
        self.chain.iter().map(|der| pem_text("CERTIFICATE", der)).collect()
    }

    /// The key as PEM.
    #[must_use]
    pub fn key_pem(&self) -> &str {
        &self.key_pem
    }
}

/// Whether a client that trusts `cas` takes the leaf at `now`, by whatever name.
///
/// # Errors
///
/// Why it does not.
pub fn trusts<'a>(
    cas: impl IntoIterator<Item = &'a CaCertificate>,
    leaf: &Leaf,
    now: i64,
) -> Result<(), rustls::Error> {
    let mut roots = rustls::RootCertStore::empty();
    for ca in cas {
        roots.add(ca.der.clone())?;
    }
    let (first, rest) = leaf.chain.split_first().ok_or(rustls::Error::NoCertificatesPresented)?;
    let at = Duration::from_secs(u64::try_from(now).unwrap_or_default());
    verify_server_cert_signed_by_trust_anchor(
        &ParsedCertificate::try_from(first)?,
        &roots,
        rest,
        UnixTime::since_unix_epoch(at),
        crate::tls::provider().signature_verification_algorithms.all,
    )
}

fn validity(parsed: &x509_parser::certificate::X509Certificate<'_>) -> Validity {
    let validity = parsed.validity();
    Validity { from: validity.not_before.timestamp(), until: validity.not_after.timestamp() }
}

fn pem_text(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let mut pem = format!("-----BEGIN {label}-----\n");
    // The alphabet of base64 is ASCII, so any cut is between characters.
    for line in text.as_bytes().chunks(64) {
        pem.push_str(&String::from_utf8_lossy(line));
        pem.push('\n');
    }
    pem + &format!("-----END {label}-----\n")
}
