//! Reads what a request claims about its signature, from its `Authorization` header or its query string.

use std::borrow::Cow;
use std::time::Duration;

use chrono::{DateTime, NaiveDateTime};
use http::HeaderMap;
use standpipe_model::Timestamp;

use super::{ALGORITHM, Signed, canonical::decode_percent, invalid};
use crate::{ApiError, ErrorCode};

/// Where the signature was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    Header,
    Query,
}

/// A signature and what it says it was made from. Nothing of it is verified.
#[derive(Debug, Clone)]
pub(super) struct Claim {
    pub(super) source: Source,
    pub(super) access_key_id: String,
    pub(super) scope_date: String,
    pub(super) region: String,
    pub(super) service: String,
    pub(super) terminator: String,
    /// Names joined by `;`, as received.
    pub(super) signed_headers: String,
    pub(super) signature: String,
    pub(super) token: Option<String>,
    /// `YYYYMMDDTHHMMSSZ`.
    pub(super) date: String,
    pub(super) signed_at: Timestamp,
    /// `X-Amz-Expires` of a presigned request.
    pub(super) expires: Option<Duration>,
}

/// What `request` claims.
///
/// # Errors
/// `MissingAuthenticationTokenException` where there is no claim, `IncompleteSignatureException` where it lacks
/// parts, `InvalidSignatureException` where there are two.
pub(super) fn claim(request: &Signed<'_>) -> Result<Claim, ApiError> {
    let header = request.headers.get(http::header::AUTHORIZATION);
    let in_query = query_parameter(request.query, "X-Amz-Algorithm").is_some();
    match header {
        Some(_) if in_query => Err(invalid(
            "Found both 'X-Amz-Algorithm' as a query-string param and 'Authorization' as HTTP header.",
        )),
        Some(header) => from_header(&String::from_utf8_lossy(header.as_bytes()), request.headers),
        None if in_query => from_query(request.query, request.headers),
        None => Err(missing()),
    }
}

fn missing() -> ApiError {
    ApiError::new(ErrorCode::MissingAuthenticationToken, "Missing Authentication Token")
}

fn incomplete(message: String) -> ApiError {
    ApiError::new(ErrorCode::IncompleteSignature, message)
}

fn header_text(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).trim().to_owned())
}

fn from_header(header: &str, headers: &HeaderMap) -> Result<Claim, ApiError> {
    let header = header.trim();
    if !header.starts_with("AWS4-") {
        return Err(missing());
    }
    let part = |name: &str| {
        let mut parts = header.split([',', ' ']).skip(1);
        parts.find_map(|part| part.strip_prefix(name)?.strip_prefix('=')).filter(|value| !value.is_empty())
    };
    let date = header_text(headers, "x-amz-date").or_else(|| header_text(headers, "date"));
    let (credential, signature, signed) = (part("Credential"), part("Signature"), part("SignedHeaders"));
    match (credential, signature, signed, date) {
        (Some(credential), Some(signature), Some(signed_headers), Some(date))
            if header.starts_with(&format!("{ALGORITHM} ")) =>
        {
            let token = header_text(headers, "x-amz-security-token");
            assemble(Source::Header, credential, signature, signed_headers, token, &date)
        }
        (credential, signature, signed, date) => {
            let lacks = [
                (credential.is_none(), "Authorization header requires 'Credential' parameter. "),
                (signature.is_none(), "Authorization header requires 'Signature' parameter. "),
                (signed.is_none(), "Authorization header requires 'SignedHeaders' parameter. "),
                (
                    date.is_none(),
                    "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header. ",
                ),
            ];
            let lacks: String = lacks.iter().filter(|(lacks, _)| *lacks).map(|(_, text)| *text).collect();
            Err(incomplete(format!("{lacks}Authorization={header}")))
        }
    }
}

fn from_query(query: &str, headers: &HeaderMap) -> Result<Claim, ApiError> {
    let names = ["X-Amz-Credential", "X-Amz-Signature", "X-Amz-SignedHeaders", "X-Amz-Date"];
    let found = names.map(|name| query_parameter(query, name).filter(|value| !value.is_empty()));
    let [Some(credential), Some(signature), Some(signed_headers), Some(date)] = &found else {
        let lacks = names.iter().zip(&found).filter(|(_, value)| value.is_none());
        let lacks: String =
            lacks.map(|(name, _)| format!("AWS query-string parameters must include '{name}'. ")).collect();
        return Err(incomplete(format!("{lacks}Re-examine the query-string parameters.")));
    };
    if query_parameter(query, "X-Amz-Algorithm").as_deref() != Some(ALGORITHM) {
        return Err(incomplete("Re-examine the query-string parameters.".to_owned()));
    }
    let token = query_parameter(query, "X-Amz-Security-Token").map(Cow::into_owned);
    let token = token.or_else(|| header_text(headers, "x-amz-security-token"));
    let claim = assemble(Source::Query, credential, signature, signed_headers, token, date)?;
    let expires = query_parameter(query, "X-Amz-Expires").and_then(|value| value.parse().ok());
    Ok(Claim { expires: expires.map(Duration::from_secs), ..claim })
}

fn assemble(
    source: Source,
    credential: &str,
    signature: &str,
    signed_headers: &str,
    token: Option<String>,
    date: &str,
) -> Result<Claim, ApiError> {
    let scope: Vec<&str> = credential.split('/').collect();
    let [access_key_id, scope_date, region, service, terminator] = scope[..] else {
        return Err(incomplete(format!(
            "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got \
             '{credential}'."
        )));
    };
    let Some(signed_at) = parse_date(date) else {
        return Err(incomplete(format!(
            "Date must be in ISO-8601 'basic format'. Got '{date}'. See http://en.wikipedia.org/wiki/ISO_8601"
        )));
    };
    Ok(Claim {
        source,
        access_key_id: access_key_id.to_owned(),
        scope_date: scope_date.to_owned(),
        region: region.to_owned(),
        service: service.to_owned(),
        terminator: terminator.to_owned(),
        signed_headers: signed_headers.to_owned(),
        signature: signature.to_owned(),
        token,
        date: basic_date(signed_at),
        signed_at,
        expires: None,
    })
}

/// ISO 8601's basic format, or the form of HTTP's own `Date` header.
fn parse_date(text: &str) -> Option<Timestamp> {
    let millis = match NaiveDateTime::parse_from_str(text, "%Y%m%dT%H%M%SZ") {
        Ok(date) => date.and_utc().timestamp_millis(),
        Err(_) => DateTime::parse_from_rfc2822(text).ok()?.timestamp_millis(),
    };
    // Years beyond four digits do not fit the format that is signed.
    let four_digits = 253_402_300_800_000;
    u64::try_from(millis).ok().filter(|millis| *millis < four_digits).map(Timestamp)
}

/// `YYYYMMDDTHHMMSSZ`.
pub(super) fn basic_date(at: Timestamp) -> String {
    at.to_utc().format("%Y%m%dT%H%M%SZ").to_string()
}

/// The decoded value of the first query parameter of that name.
fn query_parameter<'q>(query: &'q str, name: &str) -> Option<Cow<'q, str>> {
    query.split('&').find_map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (key == name).then(|| match decode_percent(value) {
            Cow::Borrowed(_) => Cow::Borrowed(value),
            Cow::Owned(bytes) => Cow::Owned(String::from_utf8_lossy(&bytes).into_owned()),
        })
    })
}
