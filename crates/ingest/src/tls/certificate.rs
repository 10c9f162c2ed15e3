//! What is read out of a certificate: when it expires, and whose it is. Trust is rustls' business.

use standpipe_model::Timestamp;
use x509_cert::Certificate;
use x509_cert::der::{self, Decode};

/// When the certificate expires.
///
/// # Errors
/// It cannot be read.
pub(super) fn expires_at(certificate: &[u8]) -> Result<Timestamp, der::Error> {
    let read = Certificate::from_der(certificate)?;
    let expiry = read.tbs_certificate().validity().not_after.to_unix_duration();
    Ok(Timestamp(u64::try_from(expiry.as_millis()).unwrap_or(u64::MAX)))
}

/// Whose certificate it is, in the form of RFC 4514 (`CN=producer,O=Example`). `None` where it cannot be read or has an
/// empty subject.
pub(super) fn subject(certificate: &[u8]) -> Option<String> {
    let read = Certificate::from_der(certificate).ok()?;
    Some(read.tbs_certificate().subject().to_string()).filter(|subject| !subject.is_empty())
}
