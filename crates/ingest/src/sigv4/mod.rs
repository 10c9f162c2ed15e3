//! Signature Version 4: who signed this request, and did they?
//!
//! The verifier canonicalises exactly the headers that the client signed, as they were received. The region of the
//! scope may be any: clients that do not know the host make one up. What binds a signature to this request is
//! checked beyond the signature itself: the service, the date, the body's hash, and that `host` (or HTTP/2's
//! `:authority`) and `x-amz-target` are among the signed headers, so that a captured put cannot be sent again as a deletion.
//!
//! # Limits
//! - A signature is good for five minutes in either direction, a presigned one no longer than it says itself.
//! - At most [`keys::KEYS_MAX`] derived signing keys are remembered, each only after a request that it verified.

mod canonical;
mod keys;
mod parse;

use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use sha2::{Digest, Sha256};
use standpipe_model::Timestamp;
use subtle::ConstantTimeEq;

pub(crate) use keys::SigningKeys;
use parse::{Claim, Source};

use crate::{ApiError, Credential, ErrorCode};

/// How far a request's date may be from ours, either way.
const SKEW_MAX: Duration = Duration::from_secs(5 * 60);
const SERVICE: &str = "firehose";
const ALGORITHM: &str = "AWS4-HMAC-SHA256";
/// What HTTP/2 has for `host`, and the SDK for JavaScript signs there.
const AUTHORITY: &str = ":authority";

/// The parts of a request that a signature covers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Signed<'a> {
    pub(crate) method: &'a str,
    pub(crate) path: &'a str,
    pub(crate) query: &'a str,
    /// The host that HTTP/2 sends outside of the headers.
    pub(crate) authority: Option<&'a str>,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) body_sha256: &'a [u8; 32],
}

/// Verifies `request`; returns the key that signed it.
///
/// # Errors
/// AWS's authentication errors, in AWS's order.
pub(crate) fn verify(
    request: &Signed<'_>,
    now: Timestamp,
    keys: &SigningKeys,
    find: impl FnOnce(&str) -> Option<Arc<Credential>>,
) -> Result<Arc<Credential>, ApiError> {
    let claim = parse::claim(request)?;
    let Some(credential) = find(&claim.access_key_id) else { return Err(unrecognized()) };
    check_token(&claim, &credential, now)?;
    check_scope(&claim)?;
    check_date(&claim, now)?;
    check_coverage(&claim, request)?;

    let payload = payload_hash(request)?;
    let key = keys.get(&claim, &credential.secret_access_key);
    let expected = signature(request, &claim, &payload, &key.bytes).ok_or_else(mismatch)?;
    if !bool::from(expected.as_bytes().ct_eq(claim.signature.as_bytes())) {
        return Err(mismatch());
    }
    keys.remember(&claim, &credential.secret_access_key, key);
    Ok(credential)
}

/// [`verify`] on a whole request and without remembered keys: the door that fuzzing comes through.
///
/// # Errors
/// AWS's authentication errors, in AWS's order.
#[doc(hidden)]
pub fn verify_signature<B>(
    request: &http::Request<B>,
    body: &[u8],
    now: Timestamp,
    find: impl FnOnce(&str) -> Option<Arc<Credential>>,
) -> Result<Arc<Credential>, ApiError> {
    let signed = Signed {
        method: request.method().as_str(),
        path: request.uri().path(),
        query: request.uri().query().unwrap_or_default(),
        authority: request.uri().authority().map(|authority| authority.as_str()),
        headers: request.headers(),
        body_sha256: &Sha256::digest(body).into(),
    };
    verify(&signed, now, &SigningKeys::default(), find)
}

/// The signature that `request` should have; `None` when a header that it says to sign is missing.
fn signature(request: &Signed<'_>, claim: &Claim, payload: &str, key: &[u8; 32]) -> Option<String> {
    let canonical = canonical::request(request, claim, payload)?;
    let to_sign = format!(
        "{ALGORITHM}\n{}\n{}/{}/{}/{}\n{}",
        claim.date,
        claim.scope_date,
        claim.region,
        claim.service,
        claim.terminator,
        hex(&Sha256::digest(canonical).into()),
    );
    Some(hex(&keys::hmac(key, to_sign.as_bytes())))
}

fn unrecognized() -> ApiError {
    ApiError::new(ErrorCode::UnrecognizedClient, "The security token included in the request is invalid.")
}

fn invalid(message: impl Into<std::borrow::Cow<'static, str>>) -> ApiError {
    ApiError::new(ErrorCode::InvalidSignature, message)
}

fn mismatch() -> ApiError {
    invalid(
        "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access \
         Key and signing method. Consult the service documentation for details.",
    )
}

/// A temporary credential needs its own token; a long-term one needs none, and AWS refuses it with any.
fn check_token(claim: &Claim, credential: &Credential, now: Timestamp) -> Result<(), ApiError> {
    let good = match (&claim.token, &credential.session_token) {
        (None, None) => true,
        (Some(sent), Some(expected)) => bool::from(sent.as_bytes().ct_eq(expected.expose().as_bytes())),
        _ => false,
    };
    if !good {
        return Err(unrecognized());
    }
    match credential.expires_at {
        Some(end) if end <= now => Err(ApiError::new(
            ErrorCode::ExpiredToken,
            "The security token included in the request is expired",
        )),
        _ => Ok(()),
    }
}

fn check_scope(claim: &Claim) -> Result<(), ApiError> {
    if claim.service != SERVICE {
        return Err(invalid(format!("Credential should be scoped to correct service: '{SERVICE}'.")));
    }
    if claim.region.is_empty() {
        return Err(invalid("Credential should be scoped to a valid region."));
    }
    if claim.terminator != "aws4_request" {
        return Err(invalid(format!(
            "Credential should be scoped with a valid terminator: 'aws4_request', not '{}'.",
            claim.terminator
        )));
    }
    if !claim.date.starts_with(&claim.scope_date) || claim.scope_date.len() != 8 {
        return Err(invalid(format!(
            "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '{}' != \
             '{}', from '{}'.",
            claim.scope_date,
            claim.date.get(..8).unwrap_or_default(),
            claim.date
        )));
    }
    Ok(())
}

fn check_date(claim: &Claim, now: Timestamp) -> Result<(), ApiError> {
    // Both in whole seconds, as the request's date is.
    let (now, signed) = (now.as_millis() / 1000, claim.signed_at.as_millis() / 1000);
    let basic = |seconds: u64| parse::basic_date(Timestamp(seconds * 1000));
    let life = claim.expires.map_or(SKEW_MAX, |expires| expires.min(SKEW_MAX)).as_secs();
    if signed + life < now {
        return Err(invalid(format!(
            "Signature expired: {} is now earlier than {} ({} - {} min.)",
            claim.date,
            basic(now - life),
            basic(now),
            life / 60,
        )));
    }
    if signed > now + SKEW_MAX.as_secs() {
        return Err(invalid(format!(
            "Signature not yet current: {} is still later than {} ({} + 5 min.)",
            claim.date,
            basic(now + SKEW_MAX.as_secs()),
            basic(now),
        )));
    }
    Ok(())
}

/// The signature must cover where the request goes and what it asks for.
fn check_coverage(claim: &Claim, request: &Signed<'_>) -> Result<(), ApiError> {
    let signs = |name: &str| claim.signed_headers.split(';').any(|signed| signed.eq_ignore_ascii_case(name));
    if !signs("host") && !signs(AUTHORITY) {
        return Err(invalid("'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization."));
    }
    if request.headers.contains_key("x-amz-target") && !signs("x-amz-target") {
        return Err(invalid("'X-Amz-Target' must be a 'SignedHeader' in the AWS Authorization."));
    }
    Ok(())
}

/// The payload hash that goes into the canonical request: always that of the body that came, unless the client says
/// outright that it did not sign it.
fn payload_hash(request: &Signed<'_>) -> Result<String, ApiError> {
    let actual = hex(request.body_sha256);
    match request.headers.get("x-amz-content-sha256").map(|value| value.as_bytes()) {
        None => Ok(actual),
        Some(b"UNSIGNED-PAYLOAD") => Ok("UNSIGNED-PAYLOAD".to_owned()),
        Some(claimed) if claimed.eq_ignore_ascii_case(actual.as_bytes()) => {
            Ok(String::from_utf8_lossy(claimed).into_owned())
        }
        Some(_) => Err(mismatch()),
    }
}

fn hex(bytes: &[u8; 32]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |value: u8| char::from(DIGITS[usize::from(value & 15)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(*byte)]).collect()
}

/// Where a request carries its signature, for the canonical query.
fn in_query(claim: &Claim) -> bool {
    claim.source == Source::Query
}

#[cfg(test)]
mod tests;
