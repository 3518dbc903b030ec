//! A certificate of our own making, for a server without `--cert-dir`: a CA, and a leaf signed by it.

use rcgen::{CertifiedIssuer, KeyPair};
use rustls::pki_types::PrivatePkcs8KeyDer;

use super::issue::{self, Validity};
use super::source::{CertificateError, CertificateSource, ServingPair, pair};
use crate::clock::unix_now;

const DAY: i64 = 24 * 3600;
/// The CA outlives any process; its key is never written down.
const CA_LIFE: i64 = 10 * 365 * DAY;
const LEAF_LIFE: i64 = 365 * DAY;
/// A leaf with less left than this is replaced.
const RENEW_BEFORE: i64 = 30 * DAY;

/// A CA that lives in memory and renews the leaf it signs.
pub struct SelfMade {
    ca: CertifiedIssuer<'static, KeyPair>,
    hosts: Vec<String>,
    renew_at: i64,
}

impl SelfMade {
    /// Makes the CA. `hosts` are the DNS names and IP addresses that the leaf will be valid for.
    ///
    /// # Errors
    ///
    /// A host is neither a DNS name nor an address.
    pub fn new(hosts: Vec<String>) -> Result<Self, CertificateError> {
        let validity = Validity::starting(unix_now(), DAY, CA_LIFE);
        let params = issue::authority_params("sidecarset self-made CA", validity)?;
        let ca = CertifiedIssuer::self_signed(params, issue::new_key()?)?;
        issue::leaf_params(&hosts, validity)?;
        Ok(Self { ca, hosts, renew_at: 0 })
    }

    /// The CA's certificate as PEM: what a client has to trust.
    #[must_use]
    pub fn ca_pem(&self) -> String {
        self.ca.pem()
    }
}

impl CertificateSource for SelfMade {
    fn poll(&mut self) -> Result<Option<ServingPair>, CertificateError> {
        let now = unix_now();
        if now < self.renew_at {
            return Ok(None);
        }
        let params = issue::leaf_params(&self.hosts, Validity::starting(now, DAY, LEAF_LIFE))?;
        let key = issue::new_key()?;
        let leaf = params.signed_by(&key, &self.ca)?;
        let serving = pair(vec![leaf.into()], PrivatePkcs8KeyDer::from(key.serialize_der()).into())?;
        self.renew_at = now + (LEAF_LIFE - RENEW_BEFORE);
        Ok(Some(serving))
    }
}
