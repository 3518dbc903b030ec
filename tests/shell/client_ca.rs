//! `--client-ca`: who may ask, and how the file is replaced.

use std::fs;
use std::io;
use std::sync::Arc;

use rcgen::{CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::process::{Webhook, command, start};
use crate::support::{PATIENCE, mk_review};

type Ca = CertifiedIssuer<'static, KeyPair>;

fn mk_ca() -> Ca {
    let mut params = CertificateParams::default();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().expect("key")).expect("CA")
}

/// One request as a client that shows a certificate of `ca`, or none. The whole answer.
async fn ask(webhook: &Webhook, ca: Option<&Ca>, path: &str) -> io::Result<String> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(webhook.ca.clone()).expect("a CA");
    let config = rustls::ClientConfig::builder_with_provider(sidecarset::tls::provider())
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots);
    let config = match ca {
        Some(ca) => {
            let key = KeyPair::generate().expect("key");
            let mut params = CertificateParams::default();
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
            let certificate = params.signed_by(&key, ca).expect("signed");
            let key: PrivateKeyDer<'static> = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
            config.with_client_auth_cert(vec![certificate.into()], key).expect("they fit")
        }
        None => config.with_no_client_auth(),
    };
    let tcp = TcpStream::connect(webhook.address).await?;
    let name = ServerName::try_from("localhost").expect("a name");
    let mut stream = TlsConnector::from(Arc::new(config)).connect(name, tcp).await?;
    let body = mk_review().to_string();
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all((head + &body).as_bytes()).await?;
    let mut answer = Vec::new();
    match tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("an answer in time") {
        // An answer is complete without a goodbye; no answer at all is a refusal.
        Err(error) if answer.is_empty() => Err(error),
        _ => Ok(String::from_utf8_lossy(&answer).into_owned()),
    }
}

#[tokio::test]
async fn only_api_servers_may_ask_for_admission() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let file = dir.path().join("clients.crt");
    let (ours, other) = (mk_ca(), mk_ca());
    fs::write(&file, ours.pem()).expect("written");
    let webhook = start(&[&format!("--client-ca={}", file.display())]).await;

    let answer = ask(&webhook, Some(&ours), "/mutate-pod").await.expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("patchType"), "{answer}");
    let refused = ask(&webhook, None, "/mutate-pod").await.expect("an answer");
    assert!(
        refused.starts_with("HTTP/1.1 403") && refused.contains("a client certificate is needed"),
        "{refused}"
    );
    // Conversion: an API server shows no certificate there.
    let converted = ask(&webhook, None, "/convert").await.expect("an answer");
    assert!(converted.starts_with("HTTP/1.1 200") && converted.contains("convertedObjects"), "{converted}");
    for path in ["/mutate-pod", "/convert"] {
        ask(&webhook, Some(&other), path).await.expect_err("a certificate of another CA");
    }

    // Another CA in the file takes effect by itself, nonsense does not.
    let fits = async |good: &Ca, bad: &Ca| {
        let answer = ask(&webhook, Some(good), "/mutate-pod").await;
        answer.is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
            && ask(&webhook, Some(bad), "/mutate-pod").await.is_err()
    };
    fs::write(&file, other.pem()).expect("written");
    let begun = std::time::Instant::now();
    while !fits(&other, &ours).await {
        assert!(begun.elapsed() < PATIENCE, "the new CA never took effect");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    fs::write(&file, "nonsense").expect("written");
    let told = "the CAs of clients do not load";
    crate::support::until("the log says so", || webhook.log_has(told)).await;
    assert!(fits(&other, &ours).await, "the last good CA stays");
}

#[test]
fn a_file_without_a_ca_stops_the_start() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let file = dir.path().join("clients.crt");
    fs::write(&file, "").expect("written");
    let sets = format!("--sidecarsets={}", dir.path().display());
    let output = command(&[&sets, "--listen=127.0.0.1:0", "--probe-listen=127.0.0.1:0"])
        .arg(format!("--client-ca={}", file.display()))
        .output()
        .expect("it ran");
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{told}");
    assert!(told.contains("clients.crt: no usable CA: it has no block BEGIN CERTIFICATE"), "{told}");
}
