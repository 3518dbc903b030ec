//! A certificate of our own making, for a server without `--cert-dir`: a CA, and a leaf signed by it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
};
use rustls::pki_types::PrivatePkcs8KeyDer;

use super::source::{CertificateError, CertificateSource, ServingPair, pair};

const DAY: Duration = Duration::from_secs(24 * 3600);
/// The CA outlives any process; its key is never written down.
const CA_LIFE: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
const LEAF_LIFE: Duration = Duration::from_secs(365 * 24 * 3600);
/// A leaf with less left than this is replaced.
const RENEW_BEFORE: Duration = Duration::from_secs(30 * 24 * 3600);

/// A CA that lives in memory and renews the leaf it signs. Keys are ECDSA P-256: RSA costs twice the CPU in a handshake.
pub struct SelfMade {
    ca: CertifiedIssuer<'static, KeyPair>,
    hosts: Vec<String>,
    renew_at: SystemTime,
}

impl SelfMade {
    /// Makes the CA. `hosts` are the DNS names and IP addresses that the leaf will be valid for.
    ///
    /// # Errors
    ///
    /// A host is neither a DNS name nor an address.
    pub fn new(hosts: Vec<String>) -> Result<Self, CertificateError> {
        let mut params = CertificateParams::new(Vec::new())?;
        name_and_life(&mut params, "sidecarset self-made CA", CA_LIFE);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages =
            vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?)?;
        CertificateParams::new(hosts.clone())?;
        Ok(Self { ca, hosts, renew_at: UNIX_EPOCH })
    }

    /// The CA's certificate as PEM: what a client has to trust.
    #[must_use]
    pub fn ca_pem(&self) -> String {
        self.ca.pem()
    }
}

impl CertificateSource for SelfMade {
    fn poll(&mut self) -> Result<Option<ServingPair>, CertificateError> {
        let now = SystemTime::now();
        if now < self.renew_at {
            return Ok(None);
        }
        let mut params = CertificateParams::new(self.hosts.clone())?;
        name_and_life(&mut params, "sidecarset", LEAF_LIFE);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let leaf = params.signed_by(&key, &self.ca)?;
        let serving = pair(vec![leaf.into()], PrivatePkcs8KeyDer::from(key.serialize_der()).into())?;
        self.renew_at = now + (LEAF_LIFE - RENEW_BEFORE);
        Ok(Some(serving))
    }
}

fn name_and_life(params: &mut CertificateParams, name: &str, life: Duration) {
    params.distinguished_name.remove(DnType::CommonName);
    params.distinguished_name.push(DnType::CommonName, name);
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now = rcgen::date_time_ymd(1970, 1, 1) + since_1970;
    // Clocks of client and server may differ.
    params.not_before = now - DAY;
    params.not_after = now + life;
}
