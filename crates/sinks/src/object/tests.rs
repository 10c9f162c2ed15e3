//! Classes of errors; the conformance suite covers what is stored.

use object_store::Error;
use standpipe_model::{ErrorClass, Sink};

use super::request::class;

#[test]
fn an_unknown_error_is_tried_again() {
    let source = || "x".into();
    let path = || "key".to_owned();
    for (error, expected) in [
        (Error::Generic { store: "x", source: source() }, ErrorClass::Transient),
        (Error::NotFound { path: path(), source: source() }, ErrorClass::Misconfigured),
        (Error::PermissionDenied { path: path(), source: source() }, ErrorClass::Misconfigured),
        (Error::Unauthenticated { path: path(), source: source() }, ErrorClass::Misconfigured),
        (object_store::path::Path::parse("a//b").expect_err("empty").into(), ErrorClass::Refused),
    ] {
        assert_eq!(class(&error), expected, "{error}");
    }
}

#[cfg(feature = "azure")]
#[tokio::test]
async fn a_store_that_cannot_be_opened_or_reached_is_classed() {
    use super::{ObjectProvider, ObjectSink, ObjectStoreOptions};
    let with_key = |key: &str| {
        ObjectSink::new(ObjectStoreOptions::new(ObjectProvider::Azure {
            account: "account".to_owned(),
            access_key: Some(standpipe_model::Secret::new(key)),
            endpoint: Some("http://127.0.0.1:1".to_owned()),
        }))
    };
    let error = with_key("not base64!").probe("bucket").await.expect_err("no key");
    assert_eq!(error.class, ErrorClass::Misconfigured, "{error}");
    let error = with_key("aHVudGVyMg==").probe("bucket").await.expect_err("nobody there");
    assert_eq!(error.class, ErrorClass::Transient, "{error}");
    assert!(!format!("{error} {:?}", with_key("aHVudGVyMg==")).contains("aHVudGVyMg"), "{error}");
}
