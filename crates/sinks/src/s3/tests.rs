//! Settings and classes of errors, as tables. What a store does is the conformance suite's.

use standpipe_model::{ErrorClass, Secret};

use super::error::classify;
use super::{S3Credentials, S3Options, S3OptionsError, S3Sink};

fn options() -> S3Options {
    S3Options::new(S3Credentials::Static {
        access_key_id: "key".to_owned(),
        secret_access_key: Secret::new("hunter2"),
        session_token: None,
    })
}

#[test]
fn an_answer_is_classed_by_what_to_do_next() {
    use ErrorClass::{Misconfigured, Refused, Throttled, Transient};
    for (status, code, expected) in [
        (400, "KeyTooLongError", Refused),
        (400, "XMinioInvalidObjectName", Refused),
        (403, "AccessDenied", Misconfigured),
        (403, "SignatureDoesNotMatch", Misconfigured),
        (404, "InvalidAccessKeyId", Misconfigured),
        (404, "NoSuchBucket", Misconfigured),
        (301, "PermanentRedirect", Misconfigured),
        (400, "KMS.DisabledException", Misconfigured),
        (400, "InvalidStorageClass", Misconfigured),
        (400, "EntityTooLarge", Misconfigured),
        (501, "NotImplemented", Misconfigured),
        (503, "SlowDown", Throttled),
        (429, "Unheard", Throttled),
        (503, "Unheard", Throttled),
        (500, "InternalError", Transient),
        (404, "NoSuchUpload", Transient),
        (409, "ConditionalRequestConflict", Transient),
        (400, "RequestTimeout", Transient),
        (400, "BadDigest", Transient),
        (400, "Unheard", Transient),
        (418, "Unheard", Transient),
        (502, "", Transient),
        (403, "", Misconfigured),
        (404, "", Misconfigured),
    ] {
        let code = Some(code).filter(|code| !code.is_empty());
        assert_eq!(classify(Some(status), code), expected, "{status} {code:?}");
    }
    assert_eq!(classify(None, None), Transient);
}

#[test]
fn settings_that_cannot_work_are_refused() {
    let check = |change: fn(&mut S3Options), expected: Result<(), S3OptionsError>| {
        let mut options = options();
        change(&mut options);
        assert_eq!(S3Sink::new(options).map(drop), expected);
    };
    check(|_| {}, Ok(()));
    check(|options| options.endpoint = Some("http://127.0.0.1:9000/base".to_owned()), Ok(()));
    for endpoint in ["ftp://host", "host", "https://", "http://user:pass@host", "http://host?x"] {
        let mut options = options();
        options.endpoint = Some(endpoint.to_owned());
        assert_eq!(options.validate(), Err(S3OptionsError::Endpoint), "{endpoint}");
    }
    check(|options| options.region = String::new(), Err(S3OptionsError::Region(String::new())));
    check(|options| options.part_bytes = 1 << 20, Err(S3OptionsError::PartBytes(1 << 20)));
    check(|options| options.parts_in_flight = 0, Err(S3OptionsError::PartsInFlight(0)));
    check(
        |options| options.request_timeout = std::time::Duration::ZERO,
        Err(S3OptionsError::Timeout("request_timeout")),
    );
    let mut options = options();
    options.ca_pem = Some(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_vec());
    assert!(matches!(S3Sink::new(options), Err(S3OptionsError::Certificates(_))));
}

#[test]
fn no_secret_reaches_a_debug_print() {
    let printed = format!("{:?} {:?}", options(), S3Sink::new(options()).expect("good settings"));
    assert!(!printed.contains("hunter2"), "{printed}");
}
