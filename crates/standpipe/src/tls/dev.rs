//! `serve --dev-tls`: a certificate authority of this data directory, and a certificate for this machine's names.
//!
//! Clients trust the authority once; the certificate is renewed under it.
//!
//! # Invariants
//! - Keys are readable by their owner alone.
//! - The authority's name derives from its key, so that two of them in one list of trusted ones are told apart.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::RootCertStore;
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use standpipe_ingest::{TlsContext, TlsOptions, TlsVersion};
use standpipe_model::{Secret, Timestamp};

use crate::config::TlsConfig;
use crate::durable;

/// How long an authority is good for.
const AUTHORITY_LIFETIME: Duration = Duration::from_hours(10 * 365 * 24);
/// How long a certificate is good for: what the strictest clients take.
const LIFETIME: Duration = Duration::from_hours(397 * 24);
/// How long before its end a certificate is renewed.
const RENEWED_BEFORE: Duration = Duration::from_hours(30 * 24);
/// Clocks of clients may be behind by this much.
const SKEW: Duration = Duration::from_hours(1);

/// The certificates could not be made.
#[derive(Debug, thiserror::Error)]
pub enum DevTlsError {
    /// The folder or a file in it.
    #[error("cannot write to {path}")]
    Write {
        /// The folder.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// A key or a certificate.
    #[error("cannot make a certificate")]
    Make(#[from] rcgen::Error),
}

fn folder(data_dir: &Path) -> PathBuf {
    data_dir.join("dev-tls")
}

/// The authority's certificate, which clients must trust.
pub fn ca_file(data_dir: &Path) -> PathBuf {
    folder(data_dir).join("ca.pem")
}

/// The TLS that `--dev-tls` stands for.
pub fn config(data_dir: &Path) -> TlsConfig {
    let folder = folder(data_dir);
    TlsConfig {
        certificate: folder.join("certificate.pem"),
        key: folder.join("key.pem"),
        min_version: TlsVersion::Tls12,
        clients: None,
        plain_listen: None,
    }
}

/// Makes what is missing, does not fit this machine, or expires soon; leaves the rest as it is.
///
/// # Errors
/// [`DevTlsError`].
pub fn ensure(data_dir: &Path, now: Timestamp) -> Result<(), DevTlsError> {
    let folder = folder(data_dir);
    let failed = |source| DevTlsError::Write { path: folder.clone(), source };
    durable::create_dir(&folder).map_err(failed)?;
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).map_err(failed)?;
    let TlsConfig { certificate, key, .. } = config(data_dir);
    let (ca, ca_key) = (ca_file(data_dir), folder.join("ca-key.pem"));
    let at = UNIX_EPOCH + Duration::from_millis(now.as_millis());
    let lasts = |certificate: &Path, key: &Path, longer_than: Duration| {
        expiry(certificate, key).is_some_and(|expiry| expiry.since(now) > longer_than)
    };
    if !lasts(&ca, &ca_key, LIFETIME) {
        let authority = KeyPair::generate()?;
        durable::write_private(&ca_key, authority.serialize_pem().as_bytes()).map_err(failed)?;
        let made = authority_params(&authority, at).self_signed(&authority)?;
        durable::write(&ca, made.pem().as_bytes()).map_err(failed)?;
        tracing::info!(path = %ca.display(), "certificate authority made");
    }
    let names = names();
    if !lasts(&certificate, &key, RENEWED_BEFORE) || !fits(&certificate, &ca, &names, at) {
        let authority = KeyPair::from_pem(&fs::read_to_string(&ca_key).map_err(failed)?)?;
        let issuer = Issuer::new(authority_params(&authority, at), authority);
        let own = KeyPair::generate()?;
        let made = params(&names, at)?.signed_by(&own, &issuer)?;
        durable::write_private(&key, own.serialize_pem().as_bytes()).map_err(failed)?;
        durable::write(&certificate, made.pem().as_bytes()).map_err(failed)?;
        tracing::info!(?names, path = %certificate.display(), "certificate made");
    }
    Ok(())
}

/// The names of this machine that the certificate is for.
pub fn names() -> Vec<String> {
    let mut names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).to_vec();
    let system = rustix::system::uname();
    if let Ok(own) = system.nodename().to_str()
        && matches!(ServerName::try_from(own), Ok(ServerName::DnsName(_)))
        && !names.iter().any(|name| name == own)
    {
        names.push(own.to_owned());
    }
    names
}

/// When a certificate expires that belongs to its key; `None` where one of the two is missing or wrong.
fn expiry(certificate: &Path, key: &Path) -> Option<Timestamp> {
    let options = TlsOptions {
        certificate: fs::read_to_string(certificate).ok()?,
        key: Secret::new(fs::read_to_string(key).ok()?),
        clients: None,
        min_version: TlsVersion::Tls12,
    };
    Some(TlsContext::new(&options).ok()?.expires_at())
}

/// Whether clients that trust the authority take the certificate for each of the names.
fn fits(certificate: &Path, ca: &Path, names: &[String], at: SystemTime) -> bool {
    let check = || -> Option<()> {
        let certificate = CertificateDer::from_pem_file(certificate).ok()?;
        let parsed = ParsedCertificate::try_from(&certificate).ok()?;
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(ca).ok()?).ok()?;
        let provider = rustls::crypto::ring::default_provider();
        let algorithms = provider.signature_verification_algorithms.all;
        let at = UnixTime::since_unix_epoch(at.duration_since(UNIX_EPOCH).ok()?);
        verify_server_cert_signed_by_trust_anchor(&parsed, &roots, &[], at, algorithms).ok()?;
        names
            .iter()
            .try_for_each(|name| verify_server_name(&parsed, &ServerName::try_from(name.as_str()).ok()?).ok())
    };
    check().is_some()
}

fn authority_params(key: &KeyPair, at: SystemTime) -> CertificateParams {
    let mut params = CertificateParams::default();
    let id = hex::encode(params.key_identifier(key));
    let short = id.get(..8).unwrap_or(&id);
    params.distinguished_name.remove(DnType::CommonName);
    params.distinguished_name.push(DnType::CommonName, format!("standpipe development CA {short}"));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.not_before = (at - SKEW).into();
    params.not_after = (at + AUTHORITY_LIFETIME).into();
    params
}

fn params(names: &[String], at: SystemTime) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name.remove(DnType::CommonName);
    params.distinguished_name.push(DnType::CommonName, "standpipe");
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.not_before = (at - SKEW).into();
    params.not_after = (at + LIFETIME).into();
    Ok(params)
}
