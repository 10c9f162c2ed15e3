//! Which certificates and keys are taken, what is read out of them, and what is said about the others.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use standpipe_testkit::{Authority, Issued};

use super::*;

const DAY: Duration = Duration::from_hours(24);

/// Keys that openssl made for nobody: RSA in PKCS #1 and PKCS #8, and one of an elliptic curve in SEC 1.
const PKCS1: &str = include_str!("fixtures/rsa-pkcs1.pem");
const PKCS8: &str = include_str!("fixtures/rsa-pkcs8.pem");
const SEC1: &str = include_str!("fixtures/ec-sec1.pem");

fn options(issued: &Issued) -> TlsOptions {
    TlsOptions {
        certificate: issued.certificate().to_owned(),
        key: Secret::new(issued.key()),
        clients: None,
        min_version: TlsVersion::Tls12,
    }
}

fn refused(options: &TlsOptions) -> (TlsPart, String) {
    let error = TlsContext::new(options).unwrap_err();
    (error.part(), error.to_string())
}

#[test]
fn a_chain_expires_with_the_first_of_its_certificates() {
    let authority = Authority::new("ca").unwrap();
    let [long, short] = [300, 30].map(|days| authority.server("s", days * DAY).unwrap());
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let days =
        |context: &TlsContext| (context.expires_at().as_millis() / 1000 - now.as_secs() + 3600) / 86_400;
    let mut options = options(&long);
    assert_eq!(days(&TlsContext::new(&options).unwrap()), 300);
    options.certificate += short.certificate();
    assert_eq!(days(&TlsContext::new(&options).unwrap()), 30);
}

#[test]
fn keys_may_be_in_any_of_the_usual_forms() {
    for (key, certificate) in [
        (PKCS1, include_str!("fixtures/rsa.pem")),
        (PKCS8, include_str!("fixtures/rsa.pem")),
        (SEC1, include_str!("fixtures/ec.pem")),
    ] {
        let options = TlsOptions {
            certificate: certificate.to_owned(),
            key: Secret::new(key),
            clients: None,
            min_version: TlsVersion::Tls12,
        };
        TlsContext::new(&options).unwrap();
    }
}

#[test]
fn what_cannot_be_used_is_named() {
    let authority = Authority::new("ca").unwrap();
    let (one, other) = (authority.server("a", DAY).unwrap(), authority.server("b", DAY).unwrap());
    let good = options(&one);
    let cut = good.certificate.get(..200).unwrap().to_owned();
    let (certificate, key, ca) = (TlsPart::Certificate, TlsPart::Key, TlsPart::ClientCa);
    let clients = |pem: &str| Some((pem.to_owned(), ClientAuth::Required));
    for (options, part, text) in [
        (
            TlsOptions { certificate: String::new(), ..good.clone() },
            certificate,
            "there is no certificate in it",
        ),
        (
            TlsOptions { certificate: one.key().to_owned(), ..good.clone() },
            certificate,
            "there is no certificate in it",
        ),
        (TlsOptions { certificate: cut, ..good.clone() }, certificate, "the certificate is damaged"),
        (TlsOptions { key: Secret::new(""), ..good.clone() }, key, "there is no private key in it"),
        (
            TlsOptions { key: Secret::new(one.certificate()), ..good.clone() },
            key,
            "there is no private key in it",
        ),
        (
            TlsOptions { key: Secret::new("-----BEGIN PRIVATE KEY-----\n?"), ..good.clone() },
            key,
            "the private key is damaged",
        ),
        (
            TlsOptions { key: Secret::new(other.key()), ..good.clone() },
            certificate,
            "certificate and key cannot be used together",
        ),
        (TlsOptions { clients: clients(""), ..good.clone() }, ca, "there is no CA certificate in it"),
    ] {
        let (found, message) = refused(&options);
        assert_eq!(found, part, "{message}");
        assert!(message.starts_with(text), "{message}");
    }
    assert!(!format!("{good:?}").contains("PRIVATE"));
}

#[test]
fn the_subject_is_read_in_the_form_of_rfc_4514() {
    let issued = Authority::new("ca").unwrap().client("producer, \"7\"").unwrap();
    let der = certificates(issued.certificate()).unwrap();
    assert_eq!(certificate::subject(&der[0]).as_deref(), Some("CN=producer\\, \\\"7\\\""));
    assert_eq!(certificate::subject(b"nonsense"), None);
}
