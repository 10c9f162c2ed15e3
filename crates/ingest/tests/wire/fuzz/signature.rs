//! Signature Version 4 against AWS's own signer, on requests of any path, query, headers and body.

use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{self, SignableBody, SignableRequest, SignatureLocation, SigningSettings};
use aws_sigv4::sign::v4;
use http::Request;
use standpipe_ingest::{ApiError, Credential, verify_signature};
use standpipe_model::{Secret, Timestamp};

const ACCESS_KEY: &str = "AKIDEXAMPLE";
const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
/// 2026-01-01T00:10:00Z.
const NOW: u64 = 1_767_226_200;
/// What the signer sets itself, or takes from elsewhere.
const SIGNERS_OWN: [&str; 5] =
    ["authorization", "host", "x-amz-date", "x-amz-security-token", "x-amz-content-sha256"];

/// Reads `input` as `/path?query`, lines `name: value`, an empty line and a body; looks at that request as it is, and
/// signed by AWS's signer, which must verify until something of it is changed.
pub(crate) fn run(input: &[u8]) {
    let (head, body) = split(input, b"\n\n");
    let Ok(head) = std::str::from_utf8(head) else { return };
    let Some(request) = request(head, |_| true) else { return };
    // Without the secret nothing verifies but what was signed with it and put into the corpus.
    drop(verify(&request, body));
    if !is_agreed(request.uri().query().unwrap_or_default()) {
        return;
    }
    for location in [SignatureLocation::Headers, SignatureLocation::QueryParams] {
        let Some(request) = signed(head, body, location) else { continue };
        assert_eq!(verify(&request, body).as_deref(), Ok(ACCESS_KEY), "{request:?}");
        assert!(verify(&request, &[body, b"!"].concat()).is_err(), "another body verifies");
        let mut other = request.clone();
        other.headers_mut().insert("x-amz-target", "Firehose_20150804.DeleteDeliveryStream".parse().unwrap());
        assert!(verify(&other, body).is_err(), "another operation verifies");
    }
}

/// Whether both sides read a query the same: no parameter of a signature's own, no plus, which is a space to some, and
/// escapes that are text.
fn is_agreed(query: &str) -> bool {
    let (first, escapes) = query.split_once('%').map_or((query, None), |(first, rest)| (first, Some(rest)));
    let mut decoded = first.as_bytes().to_vec();
    for escape in escapes.into_iter().flat_map(|rest| rest.split('%')) {
        let Some(byte) = escape.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok()) else {
            return false;
        };
        decoded.push(byte);
        decoded.extend_from_slice(&escape.as_bytes()[2..]);
    }
    let text = String::from_utf8(decoded).map(|text| text.to_ascii_lowercase());
    !query.contains('+') && text.is_ok_and(|text| !text.contains("x-amz-"))
}

fn split<'a>(input: &'a [u8], at: &[u8]) -> (&'a [u8], &'a [u8]) {
    match input.windows(at.len()).position(|window| window == at) {
        Some(found) => (&input[..found], &input[found + at.len()..]),
        None => (input, &[]),
    }
}

fn request(head: &str, keep: impl Fn(&str) -> bool) -> Option<Request<()>> {
    let mut lines = head.lines();
    let mut request = Request::post(format!("http://standpipe.test{}", lines.next()?));
    for line in lines {
        let (name, value) = line.split_once(':')?;
        if keep(&name.to_ascii_lowercase()) {
            request = request.header(name, value.trim());
        }
    }
    let request = request.body(()).ok()?;
    let told = request.uri().host() == Some("standpipe.test") && request.uri().port().is_none();
    told.then_some(request)
}

/// The request as AWS's signer signs it; `None` for one that it does not take.
fn signed(head: &str, body: &[u8], location: SignatureLocation) -> Option<Request<()>> {
    let mut request = request(head, |name| !SIGNERS_OWN.contains(&name) && name != "x-amz-target")?;
    request.headers_mut().insert("host", "standpipe.test".parse().unwrap());
    request.headers_mut().insert("x-amz-target", "Firehose_20150804.PutRecord".parse().unwrap());
    let identity = Credentials::new(ACCESS_KEY, SECRET, None, None, "test").into();
    let mut settings = SigningSettings::default();
    settings.expires_in = (location == SignatureLocation::QueryParams).then_some(Duration::from_secs(300));
    settings.signature_location = location;
    let at = SystemTime::UNIX_EPOCH + Duration::from_secs(NOW);
    let params = v4::SigningParams::builder().identity(&identity).region("eu-west-1").name("firehose");
    let params = params.time(at).settings(settings).build().unwrap().into();
    let headers = request.headers().iter().map(|(name, value)| {
        // To botocore and the SDK for Java a tab is a space, to this signer it is not.
        Some((name.as_str(), value.to_str().ok().filter(|text| !text.contains('\t'))?))
    });
    let headers: Vec<_> = headers.collect::<Option<_>>()?;
    let uri = request.uri().to_string();
    let signable = SignableRequest::new("POST", uri, headers.into_iter(), SignableBody::Bytes(body)).ok()?;
    let (instructions, _) = http_request::sign(signable, &params).ok()?.into_parts();
    instructions.apply_to_request_http1x(&mut request);
    Some(request)
}

fn verify(request: &Request<()>, body: &[u8]) -> Result<String, ApiError> {
    let find = |id: &str| (id == ACCESS_KEY).then(|| Credential::new(id, Secret::new(SECRET)).into());
    let found = verify_signature(request, body, Timestamp(NOW * 1000), find)?;
    Ok(found.access_key_id.clone())
}
