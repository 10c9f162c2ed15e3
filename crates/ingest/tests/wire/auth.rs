//! Signatures, as seen from outside.

use aws_sigv4::http_request::SignatureLocation;
use http_body_util::Full;
use hyper::body::Bytes;

use crate::harness::{Call, Memory, NOW, Server, TEMPORARY_KEY, TOKEN, single};
use standpipe_ingest::{Options, Proof};

fn put() -> Call {
    Call::new("PutRecord", single("s", b"hello").to_string())
}

#[tokio::test]
async fn signed_requests_are_accepted_on_both_protocols_and_in_both_places() {
    let server = Server::start().await;
    for http2 in [false, true] {
        for location in [SignatureLocation::Headers, SignatureLocation::QueryParams] {
            let answer = server.send(Call { http2, location, ..put() }).await;
            assert_eq!(answer.status, 200, "{http2} {location:?} {}", answer.text());
            let temporary = Call { access_key: TEMPORARY_KEY, token: Some(TOKEN), http2, location, ..put() };
            let answer = server.send(temporary).await;
            assert_eq!(answer.status, 200, "{http2} {location:?} {}", answer.text());
        }
    }
    assert_eq!(server.memory.puts.lock().unwrap().len(), 8);
}

#[tokio::test]
async fn requests_that_are_not_rightly_signed_are_refused() {
    let server = Server::start().await;
    let wrong_secret = server.send(Call { secret: "other", ..put() }).await;
    wrong_secret.is_error(400, "InvalidSignatureException", "does not match the signature you provided");
    let unknown = server.send(Call { access_key: "AKIDUNKNOWN", ..put() }).await;
    unknown.is_error(
        400,
        "UnrecognizedClientException",
        "The security token included in the request is invalid.",
    );
    let no_token = server.send(Call { access_key: TEMPORARY_KEY, ..put() }).await;
    no_token.is_error(400, "UnrecognizedClientException", "");
    let extra_token = server.send(Call { token: Some(TOKEN), ..put() }).await;
    extra_token.is_error(400, "UnrecognizedClientException", "");
    let late = server.send(Call { at: NOW - 600, ..put() }).await;
    late.is_error(
        400,
        "InvalidSignatureException",
        "Signature expired: 20260101T000000Z is now earlier than 20260101T000500Z (20260101T001000Z - 5 min.)",
    );
    assert_eq!(late.header("date"), "Thu, 01 Jan 2026 00:10:00 GMT");

    let mut tampered = put().into_request();
    *tampered.body_mut() = Full::new(Bytes::from(single("s", b"hullo").to_string()));
    server.exchange(tampered, false).await.is_error(400, "InvalidSignatureException", "");
    let mut unsigned = put().into_request();
    unsigned.headers_mut().remove("authorization");
    server.exchange(unsigned, false).await.is_error(
        400,
        "MissingAuthenticationTokenException",
        "Missing Authentication Token",
    );
    assert!(server.memory.puts.lock().unwrap().is_empty());
}

#[tokio::test]
async fn without_credentials_requests_are_taken_as_they_come() {
    let server =
        Server::start_with(Memory { proof: Proof::Nothing, ..Memory::default() }, Options::default()).await;
    assert_eq!(server.send(Call { secret: "any", ..put() }).await.status, 200);
    let mut unsigned = put().into_request();
    unsigned.headers_mut().remove("authorization");
    assert_eq!(server.exchange(unsigned, false).await.status, 200);
}
