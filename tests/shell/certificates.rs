//! Serving certificates: the key formats, what does not fit, the last good pair, the self-made CA.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sidecarset::tls::resolver::CurrentCertificate;
use sidecarset::tls::self_made::SelfMade;
use sidecarset::tls::source::{CertificateError, CertificateSource, Keeper, PairFolder};

use crate::support::{mk_pair, mount_secret};

/// An RSA key made for this test and used nowhere else (PKCS#8, base64 of the DER).
const RSA_KEY: &str = "\
MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQCY/IAP8Ke3C3gqoNn65RPH4iUK/Bf/GWPC1FjIPY/xYg18skbHByVQ\
rIg1iKsoV0S+6dZBwsfQ4kvW8UUR2aN5vB/AIDujNwv3XOFCUx80DItFZD437G65qod8cTCcFCokFNo6v/gcFVb7wf/4gpiv6ZIUpLNg\
0MGLnBu65BqBRlRR0YJ/LQEaToI5zb5SvjISeewrSp0XqRfjHNrEmNLlmiZIE2TkwGR1Z53AGEgtL+G59ga5zCwMySb0EknGHOATe50n\
ZrVrUqkLWOEEEj890OwjgxCt3wcN7TRTG4kVGfe8aeL3EQbh0PocUG3TLO6UnW7W2rOnri4nTg8JWuyVAgMBAAECggEASbM6rnMtGM15\
sm+TE39QLDcRyVzw4oAEw1MxAiZGNe8auDvaRP94RokXhVK1wdVo1OApy7xeLo8WIhJRR+wlCPxL/26HzHU0WpJwIleQ7K4uWduU7bQF\
E4THiHevB0Hfm0pAZ5UbncvZ/6bR/ZJMpFJNgYxmrfljhDJMWZiR/Dx6qyi/FgOXxGmv5vZ3SxrvV+O1OYIW8tM0DWtkLL7E9/JH5E+S\
8pjqpA4Sx+XCHOSYUJKw2oNNNsVa3F+hEmONPdn82eEspXg4S/TTFBnrjbfjn8OXeYlO4yn8IoVaqQdReVWuzBmOhWiDxs3sMdhiVFQo\
jg4cUY9TacLXShS38QKBgQDHtIzkMijbHi4DqG7mWhjDA8a40oGOBXkHlr+M4Hy9rANkrO7QJOf1VGnsgA9ZnwctP3SUonvB6EjIBOfI\
Y5rYIjPqJepeb/G1gqs/SnhqwWlSkTvElMvCS9gKhIHdGmgrTqWY/fnGwA13ukTEaR3KWoleaRlJeXkXdZrsUYNBxwKBgQDEHIsDkbjB\
/c07+dpdnkSAc5Oqd2BC9SyqztFW6BM/PLVoU8KrXt6WI4wmrUzMrESe5oz7BE6A1FYxk+jZAStGCrbkkNOhjum+JXyRNWzQkHxYvTHd\
XBwOAYxtlu6KnjWvwIMg3WwC33HEOqg6VJVRmJH/WcEzb1Zbm26P4gGewwKBgHttarrLCZdL0tKt8kTqoG0/Uz391NarKT94e1Edmds8\
iihZ/Yulk7t7/a+PAm24rR3ZHzuSJP0WjI0bAwpGDXjRwtZPssfFVlWBukd2xm/stCS04ITCFiEy8QanGQBHhuRlSlIBfrPJFUnPVRsz\
gJcFV+uC938C1cWbCTJPutkXAoGAacTDLO+g5++MizZcEXXUmDq9f4jWwAYfSxg0S1zrVIXXiSbzrR2DixIs+ocpDpIyiEjr7E4MUOs0\
eZS+VpuMzT/mGCwMF+xOIKFzJ5Xa1Dm49ttDU5HkB6HKLSjkCpr9dYasskL5iCse3qiMJrmLtvBEfaXYz3bS6qFP5gYMvaUCgYEAv0TQ\
mJ5VKvdgQLEkCpyrZrD7kH/1PSz5fpaCEat4PThbpTQQg+feLEVEWS1CTGXqnBlxfdQgRUx6vb8qrYFws0XcXZkxcQnmP+O0BiOPoCRm\
RiGJ/EFEmjFE5t29NaIkwIACFJRG/w9LrlHavp2+xiP9dAupuMAb1nUc0c967x4=";

fn poll(chain: &str, key: &str) -> Result<bool, CertificateError> {
    let dir = tempfile::tempdir().expect("temporary folder");
    fs::write(dir.path().join("tls.crt"), chain).expect("written");
    fs::write(dir.path().join("tls.key"), key).expect("written");
    PairFolder::new(dir.path()).poll().map(|pair| pair.is_some())
}

fn armour(label: &str, der: &[u8]) -> String {
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(der))
}

/// The old form of a key inside its PKCS#8 form: the contents of the outer sequence's octet string.
fn inner_of_pkcs8(pkcs8: &[u8]) -> Vec<u8> {
    let (_, outer) = der_value(pkcs8);
    let (after_version, _) = der_value(outer);
    let (after_algorithm, _) = der_value(after_version);
    der_value(after_algorithm).1.to_vec()
}

/// Rest and contents of the first DER value in `bytes`.
fn der_value(bytes: &[u8]) -> (&[u8], &[u8]) {
    let first = usize::from(bytes[1]);
    let (head, length) = if first < 0x80 {
        (2, first)
    } else {
        let digits = &bytes[2..2 + (first & 0x7f)];
        (2 + digits.len(), digits.iter().fold(0, |sum, digit| sum * 256 + usize::from(*digit)))
    };
    (&bytes[head + length..], &bytes[head..head + length])
}

#[test]
fn the_three_key_formats_are_read() {
    let ec = mk_pair(None);
    let ec_der = rcgen::KeyPair::from_pem(&ec.key_pem).expect("own key").serialize_der();
    assert!(ec.key_pem.starts_with("-----BEGIN PRIVATE KEY-----"));
    assert!(poll(&ec.leaf_pem, &ec.key_pem).expect("PKCS#8"));
    let sec1 = armour("EC PRIVATE KEY", &inner_of_pkcs8(&ec_der));
    assert!(poll(&ec.leaf_pem, &sec1).expect("SEC1"));
    let parameters = armour("EC PARAMETERS", &[6, 8, 42, 134, 72, 206, 61, 3, 1, 7]);
    assert!(poll(&ec.leaf_pem, &(parameters + &sec1)).expect("SEC1 as openssl ecparam -genkey writes it"));

    let rsa_der = STANDARD.decode(RSA_KEY).expect("base64");
    let rsa_pkcs8 = armour("PRIVATE KEY", &rsa_der);
    let rsa = mk_pair(Some(rcgen::KeyPair::from_pem(&rsa_pkcs8).expect("RSA")));
    assert!(poll(&rsa.leaf_pem, &rsa_pkcs8).expect("PKCS#8"));
    let pkcs1 = armour("RSA PRIVATE KEY", &inner_of_pkcs8(&rsa_der));
    assert!(poll(&rsa.leaf_pem, &pkcs1).expect("PKCS#1"));
}

#[test]
fn what_does_not_fit_is_told_with_its_file() {
    let (one, other) = (mk_pair(None), mk_pair(None));
    let broken = one.leaf_pem.replace("MII", "!!!");
    for (chain, key, hints) in [
        (one.leaf_pem.as_str(), other.key_pem.as_str(), ["do not belong together", ""]),
        (one.leaf_pem.as_str(), "", ["tls.key: no usable private key", "PKCS#1"]),
        (one.leaf_pem.as_str(), one.leaf_pem.as_str(), ["tls.key: no usable private key", "BEGIN"]),
        ("", one.key_pem.as_str(), ["tls.crt: no usable certificate", "BEGIN CERTIFICATE"]),
        (one.key_pem.as_str(), one.key_pem.as_str(), ["tls.crt: no usable certificate", "leaf first"]),
        (broken.as_str(), one.key_pem.as_str(), ["tls.crt: no usable certificate", "PEM"]),
    ] {
        let text = poll(chain, key).expect_err("must not fit").to_string();
        assert!(hints.iter().all(|hint| text.contains(hint)), "{hints:?} not in {text:?}");
    }
    let missing = PairFolder::new(Path::new("/does/not/exist")).poll().expect_err("missing").to_string();
    assert!(missing.contains("cannot read /does/not/exist/tls.crt"), "{missing}");
}

#[test]
fn the_last_good_pair_stays() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let (first, second) = (mk_pair(None), mk_pair(None));
    let current = Arc::new(CurrentCertificate::default());
    let mut keeper = Keeper::new(Box::new(PairFolder::new(dir.path())), Arc::clone(&current));
    assert!(keeper.check().is_err() && !current.is_loaded(), "nothing there yet");

    mount_secret(dir.path(), "1", &first.leaf_pem, &first.key_pem);
    assert!(keeper.check().expect("good").is_some_and(|not_after| not_after > 1_700_000_000));
    assert_eq!(keeper.check().expect("good"), None, "unchanged");

    mount_secret(dir.path(), "2", &second.leaf_pem, &first.key_pem);
    assert!(keeper.check().is_err() && current.is_loaded());
    mount_secret(dir.path(), "3", &second.leaf_pem, &second.key_pem);
    assert!(keeper.check().expect("good").is_some());
}

#[test]
fn the_self_made_leaf_fits_its_ca_and_hosts() {
    let mut made = SelfMade::new(vec!["hook.example".to_owned(), "10.1.2.3".to_owned()]).expect("made");
    let pair = made.poll().expect("made").expect("the first one");
    assert!(made.poll().expect("made").is_none(), "good for a year");
    let ca = rustls::pki_types::pem::PemObject::from_pem_slice(made.ca_pem().as_bytes()).expect("PEM");
    let mut roots = rustls::RootCertStore::empty();
    roots.add(ca).expect("a CA");
    let verifier = rustls::client::WebPkiServerVerifier::builder_with_provider(
        Arc::new(roots),
        sidecarset::tls::provider(),
    )
    .build()
    .expect("a verifier");
    let verify = |name: &str| {
        let name = name.to_owned().try_into().expect("a name");
        let leaf = pair.key.end_entity_cert().expect("a leaf");
        rustls::client::danger::ServerCertVerifier::verify_server_cert(
            &*verifier,
            leaf,
            &[],
            &name,
            &[],
            rustls::pki_types::UnixTime::now(),
        )
    };
    verify("hook.example").expect("fits");
    verify("10.1.2.3").expect("fits");
    verify("other.example").expect_err("another host");
    assert!(SelfMade::new(vec!["not a host é".to_owned()]).is_err());
}
