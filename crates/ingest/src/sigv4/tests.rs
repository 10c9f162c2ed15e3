//! Vectors that AWS has published, requests that AWS's own signer signed, and each of those tampered with.

use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    self, PayloadChecksumKind, SignableBody, SignableRequest, SignatureLocation, SigningSettings,
};
use aws_sigv4::sign::v4;
use http::Request;
use standpipe_model::Secret;

use super::*;

const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
/// 2015-08-30T12:36:00Z.
const NOW: u64 = 1_440_938_160;

/// The signature that we compute for a published request, whatever its service.
fn computed(request: &str, scope: &str, signed_headers: &str) -> String {
    let mut lines = request.lines();
    let mut first = lines.next().unwrap().split(' ');
    let (method, uri) = (first.next().unwrap(), first.next().unwrap());
    let mut builder = Request::builder().method(method).uri(uri);
    for line in lines {
        let (name, value) = line.split_once(':').unwrap();
        builder = builder.header(name, value);
    }
    let authorization = format!(
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/{scope}, SignedHeaders={signed_headers}, Signature=00"
    );
    let request = builder.header("Authorization", authorization).body(()).unwrap();
    let signed = signed(&request, &EMPTY);
    let claim = parse::claim(&signed).unwrap();
    let payload = payload_hash(&signed).unwrap();
    signature(&signed, &claim, &payload, &keys::derive(&claim, &Secret::new(SECRET))).unwrap()
}

/// SHA-256 of nothing.
const EMPTY: [u8; 32] = [
    0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24, 0x27,
    0xae, 0x41, 0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55,
];

fn signed<'a>(request: &'a Request<()>, body_sha256: &'a [u8; 32]) -> Signed<'a> {
    Signed {
        method: request.method().as_str(),
        path: request.uri().path(),
        query: request.uri().query().unwrap_or_default(),
        authority: request.uri().authority().map(|authority| authority.as_str()),
        headers: request.headers(),
        body_sha256,
    }
}

#[test]
fn the_documented_list_users_example_has_its_documented_signature() {
    let request = "GET /?Action=ListUsers&Version=2010-05-08\n\
                   content-type:application/x-www-form-urlencoded; charset=utf-8\n\
                   host:iam.amazonaws.com\n\
                   x-amz-date:20150830T123600Z";
    assert_eq!(
        computed(request, "20150830/us-east-1/iam/aws4_request", "content-type;host;x-amz-date"),
        "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7"
    );
}

#[test]
fn vectors_of_the_published_suite_have_their_signatures() {
    let check = |first: &str, expect: &str| {
        let request = format!("{first}\nhost:example.amazonaws.com\nx-amz-date:20150830T123600Z");
        let scope = "20150830/us-east-1/service/aws4_request";
        assert_eq!(computed(&request, scope, "host;x-amz-date"), expect, "{first}");
    };
    check("GET /", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31");
    check("POST /", "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b");
    check(
        "GET /?Param2=value2&Param1=value1",
        "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
    );
}

/// What a test changes before or after signing.
struct Case {
    secret: &'static str,
    token: Option<&'static str>,
    service: &'static str,
    signed_at: u64,
    location: SignatureLocation,
    expires: Duration,
    checksum: PayloadChecksumKind,
    headers: &'static [(&'static str, &'static str)],
    unsigned_headers: &'static [(&'static str, &'static str)],
    body_came: &'static [u8],
    expects_token: Option<&'static str>,
    token_ends: Option<u64>,
}

impl Default for Case {
    fn default() -> Self {
        Self {
            secret: SECRET,
            token: None,
            service: "firehose",
            signed_at: NOW,
            location: SignatureLocation::Headers,
            expires: Duration::from_secs(900),
            checksum: PayloadChecksumKind::NoHeader,
            headers: &[("x-amz-target", "Firehose_20150804.PutRecord")],
            unsigned_headers: &[],
            body_came: BODY,
            expects_token: None,
            token_ends: None,
        }
    }
}

const BODY: &[u8] = b"{\"a\": 1}";

impl Case {
    /// Has AWS's signer sign the request.
    fn sign(&self) -> Request<()> {
        let identity =
            Credentials::new("AKIDEXAMPLE", self.secret, self.token.map(str::to_owned), None, "test").into();
        let mut settings = SigningSettings::default();
        settings.signature_location = self.location;
        settings.expires_in = (self.location == SignatureLocation::QueryParams).then_some(self.expires);
        settings.payload_checksum_kind = self.checksum;
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(self.signed_at);
        let params = v4::SigningParams::builder().identity(&identity).region("eu-west-1").name(self.service);
        let params = params.time(at).settings(settings).build().unwrap().into();
        let uri = "http://localhost:4573/some%20path?b=2&a=1";
        let mut request = Request::post(uri).header("host", "localhost:4573");
        for (name, value) in self.headers {
            request = request.header(*name, *value);
        }
        let mut request = request.body(()).unwrap();
        let headers = request.headers().iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap()));
        let signable = SignableRequest::new("POST", uri, headers, SignableBody::Bytes(BODY)).unwrap();
        let (instructions, _) = http_request::sign(signable, &params).unwrap().into_parts();
        instructions.apply_to_request_http1x(&mut request);
        for (name, value) in self.unsigned_headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        request
    }

    fn verify_request(&self, request: &Request<()>, keys: &SigningKeys) -> Result<String, ApiError> {
        let body_sha256 = Sha256::digest(self.body_came).into();
        verify(&signed(request, &body_sha256), Timestamp(NOW * 1000), keys, |id| {
            (id == "AKIDEXAMPLE").then(|| {
                let mut credential = Credential::new(id, Secret::new(SECRET));
                credential.session_token = self.expects_token.map(Secret::new);
                credential.expires_at = self.token_ends.map(|seconds| Timestamp(seconds * 1000));
                Arc::new(credential)
            })
        })
        .map(|credential| credential.access_key_id.clone())
    }

    fn verify(&self) -> Result<String, ApiError> {
        self.verify_request(&self.sign(), &SigningKeys::default())
    }

    #[track_caller]
    fn refused(&self, code: ErrorCode, text: &str) {
        let error = self.verify().unwrap_err();
        assert_eq!(error.code, code, "{error}");
        let message = error.message.unwrap_or_default();
        assert!(message.contains(text), "{message}");
    }
}

#[test]
fn what_the_sdk_signs_is_accepted() {
    let accepted = Ok("AKIDEXAMPLE".to_owned());
    assert_eq!(Case::default().verify(), accepted);
    assert_eq!(Case { location: SignatureLocation::QueryParams, ..Case::default() }.verify(), accepted);
    assert_eq!(Case { checksum: PayloadChecksumKind::XAmzSha256, ..Case::default() }.verify(), accepted);
    let token = Case { token: Some("tok/en+="), expects_token: Some("tok/en+="), ..Case::default() };
    assert_eq!(token.verify(), accepted);
    assert_eq!(Case { location: SignatureLocation::QueryParams, ..token }.verify(), accepted);
}

#[test]
fn what_the_sdk_for_javascript_signs_over_http2_has_its_signature() {
    // Recorded from @aws-sdk/client-firehose with a NodeHttp2Handler; the secret is "b".
    let body = br#"{"DeliveryStreamName":"s","Record":{"Data":"eA=="}}"#;
    let signs = ":authority;amz-sdk-invocation-id;amz-sdk-request;content-length;content-type;x-amz-content-sha256;\
                 x-amz-date;x-amz-target;x-amz-user-agent";
    let signature = "3b378f15545b7364c50484716be376856fd52c4c8bc5ddb3a94bfa87fa37a33a";
    let request = Request::post("https://127.0.0.1:9/")
        .header("content-type", "application/x-amz-json-1.1")
        .header("x-amz-target", "Firehose_20150804.PutRecord")
        .header("content-length", "51")
        .header("x-amz-user-agent", "aws-sdk-js/3.1168.0")
        .header("amz-sdk-invocation-id", "b7e21519-d3d1-465c-afe7-2f4b29f23b42")
        .header("amz-sdk-request", "attempt=1; max=1")
        .header("x-amz-date", "20261128T161617Z")
        .header("x-amz-content-sha256", "6dedcbb09915226abefce428090871d0cb3ee4894125c5a03660fde115f5bc92")
        .header(
            "authorization",
            format!(
                "AWS4-HMAC-SHA256 Credential=a/20261128/us-east-1/firehose/aws4_request, SignedHeaders={signs}, \
                 Signature={signature}"
            ),
        );
    let verified = |request: &Request<()>| {
        let body_sha256 = Sha256::digest(body).into();
        let at = Timestamp(1_795_882_577_000);
        verify(&signed(request, &body_sha256), at, &SigningKeys::default(), |_| {
            Some(Arc::new(Credential::new("a", Secret::new("b"))))
        })
        .map(|credential| credential.access_key_id.clone())
    };
    let mut request = request.body(()).unwrap();
    assert_eq!(verified(&request), Ok("a".to_owned()));
    *request.uri_mut() = "https://127.0.0.1:10/".parse().unwrap();
    assert_eq!(verified(&request).unwrap_err().code, ErrorCode::InvalidSignature, "it binds the host");
}

#[test]
fn blanks_and_repeats_of_signed_headers_are_canonicalised() {
    let headers = &[
        ("x-amz-target", "Firehose_20150804.PutRecord"),
        ("x-many", "  a   b  "),
        ("x-many", "c"),
        ("x-empty", ""),
    ];
    assert!(Case { headers, ..Case::default() }.verify().is_ok());
}

#[test]
fn a_request_without_a_signature_is_told_so() {
    let request = Request::post("/").body(()).unwrap();
    let error = Case::default().verify_request(&request, &SigningKeys::default()).unwrap_err();
    assert_eq!(error, ApiError::new(ErrorCode::MissingAuthenticationToken, "Missing Authentication Token"));
    let request = Request::post("/").header("authorization", "Basic YTpi").body(()).unwrap();
    let error = Case::default().verify_request(&request, &SigningKeys::default()).unwrap_err();
    assert_eq!(error.code, ErrorCode::MissingAuthenticationToken);
}

#[test]
fn an_incomplete_header_lists_what_it_lacks() {
    let request =
        Request::post("/").header("authorization", "AWS4-HMAC-SHA256 Signature=ab").body(()).unwrap();
    let error = Case::default().verify_request(&request, &SigningKeys::default()).unwrap_err();
    assert_eq!(
        error,
        ApiError::new(
            ErrorCode::IncompleteSignature,
            "Authorization header requires 'Credential' parameter. Authorization header requires 'SignedHeaders' \
             parameter. Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header. \
             Authorization=AWS4-HMAC-SHA256 Signature=ab"
        )
    );
    let request = Request::post("/?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Date=1").body(()).unwrap();
    let error = Case::default().verify_request(&request, &SigningKeys::default()).unwrap_err();
    assert_eq!(
        error,
        ApiError::new(
            ErrorCode::IncompleteSignature,
            "AWS query-string parameters must include 'X-Amz-Credential'. AWS query-string parameters must include \
             'X-Amz-Signature'. AWS query-string parameters must include 'X-Amz-SignedHeaders'. Re-examine the \
             query-string parameters."
        )
    );
}

#[test]
fn two_signatures_are_one_too_many() {
    Case {
        location: SignatureLocation::QueryParams,
        unsigned_headers: &[("authorization", "AWS4-HMAC-SHA256 x")],
        ..Case::default()
    }
    .refused(ErrorCode::InvalidSignature, "Found both 'X-Amz-Algorithm'");
}

#[test]
fn a_wrong_secret_is_refused() {
    Case { secret: "other", ..Case::default() }.refused(ErrorCode::InvalidSignature, "does not match");
}

#[test]
fn a_tampered_body_is_refused() {
    let case = || Case { body_came: b"{\"a\": 2}", ..Case::default() };
    case().refused(ErrorCode::InvalidSignature, "does not match");
    Case { location: SignatureLocation::QueryParams, ..case() }
        .refused(ErrorCode::InvalidSignature, "does not match");
}

#[test]
fn a_payload_hash_that_is_not_the_bodys_is_refused() {
    const OF_NOTHING: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    Case { unsigned_headers: &[("x-amz-content-sha256", OF_NOTHING)], ..Case::default() }
        .refused(ErrorCode::InvalidSignature, "does not match");
    // Saying so afterwards does not unsign the body.
    Case { unsigned_headers: &[("x-amz-content-sha256", "UNSIGNED-PAYLOAD")], ..Case::default() }
        .refused(ErrorCode::InvalidSignature, "does not match");
}

#[test]
fn a_tampered_signed_header_is_refused() {
    Case {
        unsigned_headers: &[("x-amz-target", "Firehose_20150804.DeleteDeliveryStream")],
        ..Case::default()
    }
    .refused(ErrorCode::InvalidSignature, "does not match");
}

#[test]
fn a_target_that_is_not_signed_is_refused() {
    Case {
        headers: &[],
        unsigned_headers: &[("x-amz-target", "Firehose_20150804.DeleteDeliveryStream")],
        ..Case::default()
    }
    .refused(ErrorCode::InvalidSignature, "'X-Amz-Target' must be a 'SignedHeader'");
}

#[test]
fn a_tampered_path_or_query_or_method_is_refused() {
    for change in ["uri", "query", "method"] {
        let mut request = Case::default().sign();
        match change {
            "uri" => *request.uri_mut() = "http://localhost:4573/other?b=2&a=1".parse().unwrap(),
            "query" => *request.uri_mut() = "http://localhost:4573/some%20path?b=2&a=2".parse().unwrap(),
            _ => *request.method_mut() = http::Method::GET,
        }
        let error = Case::default().verify_request(&request, &SigningKeys::default()).unwrap_err();
        assert_eq!(error.code, ErrorCode::InvalidSignature, "{change}");
    }
}

#[test]
fn another_services_scope_is_refused() {
    Case { service: "kinesis", ..Case::default() }
        .refused(ErrorCode::InvalidSignature, "Credential should be scoped to correct service: 'firehose'.");
}

#[test]
fn dates_beyond_five_minutes_are_refused_and_up_to_them_accepted() {
    for seconds in [300, 0] {
        assert!(Case { signed_at: NOW - seconds, ..Case::default() }.verify().is_ok(), "-{seconds}");
        assert!(Case { signed_at: NOW + seconds, ..Case::default() }.verify().is_ok(), "+{seconds}");
    }
    Case { signed_at: NOW - 301, ..Case::default() }.refused(
        ErrorCode::InvalidSignature,
        "Signature expired: 20150830T123059Z is now earlier than 20150830T123100Z (20150830T123600Z - 5 min.)",
    );
    Case { signed_at: NOW + 301, ..Case::default() }.refused(
        ErrorCode::InvalidSignature,
        "Signature not yet current: 20150830T124101Z is still later than 20150830T124100Z (20150830T123600Z + 5 \
         min.)",
    );
}

#[test]
fn a_presigned_request_lives_no_longer_than_it_says_nor_than_any_other() {
    let presigned = |age, expires| {
        let location = SignatureLocation::QueryParams;
        Case { location, signed_at: NOW - age, expires: Duration::from_secs(expires), ..Case::default() }
    };
    assert!(presigned(60, 60).verify().is_ok());
    presigned(61, 60).refused(ErrorCode::InvalidSignature, "Signature expired");
    assert!(presigned(300, 900).verify().is_ok());
    presigned(301, 900).refused(ErrorCode::InvalidSignature, "Signature expired");
}

#[test]
fn session_tokens_must_be_the_credentials_own() {
    let invalid = "The security token included in the request is invalid.";
    for (token, expects_token) in [(None, Some("t")), (Some("t"), None), (Some("t"), Some("u"))] {
        Case { token, expects_token, ..Case::default() }.refused(ErrorCode::UnrecognizedClient, invalid);
    }
}

#[test]
fn a_session_token_is_good_until_its_end_and_then_called_expired() {
    let ending = |seconds| Case {
        token: Some("t"),
        expects_token: Some("t"),
        token_ends: Some(seconds),
        ..Case::default()
    };
    assert!(ending(NOW + 1).verify().is_ok());
    for end in [NOW, NOW - 1] {
        ending(end).refused(ErrorCode::ExpiredToken, "The security token included in the request is expired");
    }
    Case { token: Some("u"), ..ending(NOW - 1) }.refused(ErrorCode::UnrecognizedClient, "");
}

#[test]
fn an_unknown_access_key_is_refused() {
    let request = Case::default().sign();
    let body_sha256 = Sha256::digest(BODY).into();
    let error =
        verify(&signed(&request, &body_sha256), Timestamp(NOW * 1000), &SigningKeys::default(), |_| None)
            .unwrap_err();
    assert_eq!(error.code, ErrorCode::UnrecognizedClient);
}

#[test]
fn a_remembered_key_serves_again_but_not_after_rotation() {
    let (keys, request) = (SigningKeys::default(), Case::default().sign());
    assert!(Case::default().verify_request(&request, &keys).is_ok());
    assert!(Case::default().verify_request(&request, &keys).is_ok());
    let body_sha256 = Sha256::digest(BODY).into();
    let rotated = verify(&signed(&request, &body_sha256), Timestamp(NOW * 1000), &keys, |_| {
        Some(Arc::new(Credential::new("AKIDEXAMPLE", Secret::new("rotated"))))
    });
    assert_eq!(rotated.unwrap_err().code, ErrorCode::InvalidSignature);
}
