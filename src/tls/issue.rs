//! Making certificates. Keys are ECDSA P-256: RSA costs twice the CPU in a handshake.

use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256,
};

/// When a certificate is valid: both ends in seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// Not before this.
    pub from: i64,
    /// Not after this.
    pub until: i64,
}

impl Validity {
    /// From `skew` before `now`, for clients whose clock is behind, until `life` after it. All in seconds.
    #[must_use]
    pub fn starting(now: i64, skew: i64, life: i64) -> Self {
        Self { from: now.saturating_sub(skew), until: now.saturating_add(life) }
    }

    /// Whether `now` lies in it.
    #[must_use]
    pub fn contains(self, now: i64) -> bool {
        (self.from..=self.until).contains(&now)
    }
}

/// A new key.
///
/// # Errors
///
/// The system gives no random numbers.
pub fn new_key() -> Result<KeyPair, rcgen::Error> {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)
}

/// What a CA for serving certificates says of itself. It can sign no further CA.
///
/// # Errors
///
/// None with these arguments; passed on from the library.
pub fn authority_params(name: &str, validity: Validity) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(Vec::new())?;
    name_and_life(&mut params, name, validity);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages =
        vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
    Ok(params)
}

/// What a serving certificate for these DNS names and IP addresses says of itself.
///
/// # Errors
///
/// A host is neither a DNS name nor an address.
pub fn leaf_params(hosts: &[String], validity: Validity) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(hosts.to_vec())?;
    name_and_life(&mut params, "sidecarset", validity);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

fn name_and_life(params: &mut CertificateParams, name: &str, validity: Validity) {
    params.distinguished_name.remove(DnType::CommonName);
    params.distinguished_name.push(DnType::CommonName, name);
    let at = |seconds: i64| {
        rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(u64::try_from(seconds).unwrap_or_default())
    };
    params.not_before = at(validity.from);
    params.not_after = at(validity.until);
}
