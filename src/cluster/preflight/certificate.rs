//! The serving certificate against what the API server trusts.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier as _;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use serde_json::Value;
use x509_parser::parse_x509_certificate;

use super::Finding;
use super::facts::{Facts, Fetched};
use super::object::{option, text};
use super::webhooks::hooks;

const DAY: i64 = 24 * 3600;
/// Less than this before its end a certificate should have been renewed.
const RENEWED_BEFORE: i64 = 7 * DAY;

pub(super) fn check(facts: &Facts) -> Vec<Finding> {
    const CHECK: &str = "certificate";
    let (secret, fetched) = &facts.serving;
    let secret = format!("Secret {}/{secret}", facts.target.namespace);
    let logs = format!("kubectl -n {} logs deployment/{}", facts.target.namespace, facts.target.service);
    let chain = match fetched {
        Fetched::Refused(why) => {
            return vec![Finding::skipped(
                CHECK,
                format!("cannot read tls.crt of {secret}: {why}"),
                "use an account that may read it, or name it with --certificate-secret",
            )];
        }
        Fetched::Absent => {
            let found = format!("{secret} has no tls.crt");
            let brought = facts.deployment.get().is_some_and(|it| option(it, "cert-dir").is_some());
            let fix = if brought {
                let host = facts.target.server_name();
                format!(
                    "with --cert-dir nobody makes it here: put tls.crt and tls.key for {host} there, or see why its issuer does not"
                )
            } else {
                format!("wait for the first replica to make it; {logs}")
            };
            return vec![Finding::fail(CHECK, found, fix)];
        }
        Fetched::Found(pem) => match certificates(pem.as_bytes()) {
            Ok(chain) => chain,
            Err(why) => return vec![Finding::fail(CHECK, format!("tls.crt of {secret}: {why}"), logs)],
        },
    };
    vec![serving(&chain, facts, &logs), trust(&chain, facts)]
}

/// Check `certificate`: how long it is valid.
fn serving(chain: &[CertificateDer<'_>], facts: &Facts, logs: &str) -> Finding {
    const CHECK: &str = "certificate";
    let Some(end) = chain.first().and_then(|leaf| not_after(leaf)) else {
        return Finding::fail(CHECK, "the serving certificate cannot be read", logs);
    };
    let days = (end - facts.now_unix) / DAY;
    match end - facts.now_unix {
        ..0 => Finding::fail(CHECK, format!("the serving certificate ended {} days ago", -days), logs),
        0..RENEWED_BEFORE => {
            Finding::warn(CHECK, format!("the serving certificate ends in {days} days"), logs)
        }
        _ => Finding::ok(CHECK, format!("valid for {days} days")),
    }
}

/// Check `ca-bundle`: whether what each API call trusts proves the serving certificate.
fn trust(chain: &[CertificateDer<'_>], facts: &Facts) -> Finding {
    const CHECK: &str = "ca-bundle";
    let mut calls: Vec<(String, &Value)> = hooks(facts)
        .iter()
        .filter_map(|hook| Some((hook.configuration.to_owned(), hook.value.get("clientConfig")?)))
        .collect();
    let conversion =
        facts.definition.get().and_then(|it| it.pointer("/spec/conversion/webhook/clientConfig"));
    calls.extend(conversion.map(|client| ("the definition's conversion".to_owned(), client)));
    let wrong: Vec<String> = calls
        .iter()
        .filter_map(|(place, client)| {
            let why = verify(chain, text(client, "/caBundle"), &facts.target.server_name(), facts.now_unix)
                .err()?;
            Some(format!("{place}: {why}"))
        })
        .collect();
    if calls.is_empty() {
        return Finding::skipped(CHECK, "nothing of ours is called", "see webhook-configurations");
    }
    if wrong.is_empty() {
        return Finding::ok(CHECK, format!("all {} prove the serving certificate", calls.len()));
    }
    let fix = "the replicas write it with managed certificates, cert-manager's CA injector does with its annotation; otherwise \
               put the CA of the serving certificate there";
    Finding::fail(CHECK, wrong.join("; "), fix)
}

/// Verifies a chain (leaf first) against a CA bundle, PEM in base64 as objects have it, the way the API server does.
///
/// # Errors
///
/// Why the API server would refuse the certificate.
pub fn verify(
    chain: &[CertificateDer<'_>],
    bundle: &str,
    server_name: &str,
    now_unix: i64,
) -> Result<(), String> {
    if bundle.is_empty() {
        return Err("it has no caBundle".to_owned());
    }
    let pem = STANDARD.decode(bundle).map_err(|error| format!("caBundle is no base64: {error}"))?;
    let mut roots = RootCertStore::empty();
    for ca in certificates(&pem).map_err(|why| format!("caBundle: {why}"))? {
        roots.add(ca).map_err(|error| format!("caBundle: {error}"))?;
    }
    let (leaf, intermediates) = chain.split_first().ok_or("there is no serving certificate")?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
        .build()
        .map_err(|error| format!("caBundle: {error}"))?;
    let name = ServerName::try_from(server_name).map_err(|error| format!("{server_name}: {error}"))?;
    let now = UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(now_unix).unwrap_or_default()));
    verifier.verify_server_cert(leaf, intermediates, &name, &[], now).map(|_| ()).map_err(|error| {
        use rustls::{CertificateError, Error};
        match error {
            // Of a CA with the same name, another key.
            Error::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature) => {
                "its caBundle is not the CA of the serving certificate".to_owned()
            }
            Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            ) => format!("the serving certificate is not for {server_name}"),
            Error::InvalidCertificate(
                CertificateError::Expired | CertificateError::ExpiredContext { .. },
            ) => "the serving certificate or its CA has ended".to_owned(),
            other => other.to_string(),
        }
    })
}

/// The certificates of a PEM text, of which there has to be one.
fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Vec<_> =
        CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().map_err(|error| error.to_string())?;
    if found.is_empty() { Err("it has no block BEGIN CERTIFICATE".to_owned()) } else { Ok(found) }
}

fn not_after(certificate: &CertificateDer<'_>) -> Option<i64> {
    let (_, parsed) = parse_x509_certificate(certificate).ok()?;
    Some(parsed.validity().not_after.timestamp())
}
