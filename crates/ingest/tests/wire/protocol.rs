//! The order of checks before authentication, and the headers of every answer.

use http::{Method, Request};
use http_body_util::Full;
use hyper::body::Bytes;

use crate::harness::{Answer, Call, Server, single};

/// An unsigned request.
async fn send(server: &Server, method: Method, headers: &[(&str, &str)], body: &'static str) -> Answer {
    let mut request = Request::builder().method(method).uri("/any/path?x=y").header("host", "h");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    server.exchange(request.body(Full::new(Bytes::from_static(body.as_bytes()))).unwrap(), false).await
}

const JSON: (&str, &str) = ("content-type", "application/x-amz-json-1.1");
const PUT: (&str, &str) = ("x-amz-target", "Firehose_20150804.PutRecord");
const UNKNOWN: (&str, &str) = ("x-amz-target", "Firehose_20150804.PutRecords");
const NO_OPERATION: &str = "<AccessDeniedException>\n  <Message>Unable to determine service/operation name to be authorized</Message>\n</AccessDeniedException>\n";

#[tokio::test]
async fn checks_come_in_the_order_of_aws() {
    let server = Server::start().await;
    let serialization = "{\"__type\":\"SerializationException\"}";
    let unknown = "{\"__type\":\"UnknownOperationException\"}";
    for (method, headers, body, status, expect) in [
        (Method::GET, &[JSON, PUT][..], "", 403, NO_OPERATION),
        (Method::POST, &[JSON, PUT], "", 400, serialization),
        (Method::POST, &[JSON, UNKNOWN], "", 400, unknown),
        (Method::POST, &[JSON], "", 400, unknown),
        (Method::POST, &[], "{}", 403, NO_OPERATION),
        (Method::POST, &[("content-type", "text/plain")], "{}", 403, NO_OPERATION),
        (Method::POST, &[("content-type", "text/plain"), PUT], "{}", 404, "<UnknownOperationException/>\n"),
        (Method::POST, &[JSON, PUT], "[]", 400, serialization),
        (Method::POST, &[JSON, PUT], "{", 400, serialization),
        (Method::POST, &[JSON, UNKNOWN], "{", 400, serialization),
        (Method::POST, &[JSON, UNKNOWN], "{}", 400, unknown),
    ] {
        let answer = send(&server, method.clone(), headers, body).await;
        assert_eq!((answer.status.as_u16(), answer.text()), (status, expect), "{method} {headers:?} {body}");
        assert_eq!(answer.header("x-amzn-requestid").len(), 36);
    }
    let no_auth = send(&server, Method::POST, &[JSON, PUT], "{}").await;
    no_auth.is_error(400, "MissingAuthenticationTokenException", "Missing Authentication Token");
}

#[tokio::test]
async fn content_types_may_have_parameters_or_be_plain_json() {
    let server = Server::start().await;
    for content_type in
        ["application/x-amz-json-1.1; charset=utf-8", "application/json", "Application/X-Amz-Json-1.1"]
    {
        let answer = send(&server, Method::POST, &[("content-type", content_type), PUT], "{}").await;
        answer.is_error(400, "MissingAuthenticationTokenException", "");
    }
}

#[tokio::test]
async fn every_answer_has_the_headers_that_clients_read() {
    let server = Server::start().await;
    let answer = server.call("PutRecord", &single("s", b"x")).await;
    assert_eq!(answer.header("content-type"), "application/x-amz-json-1.1");
    assert_eq!(answer.header("content-length"), answer.body.len().to_string());
    assert_eq!(answer.header("date"), "Thu, 01 Jan 2026 00:10:00 GMT");
    assert_eq!(answer.header("x-amz-id-2").len(), 96);
    let again = server.call("PutRecord", &single("s", b"x")).await;
    assert_ne!(answer.header("x-amzn-requestid"), again.header("x-amzn-requestid"));
    assert_eq!(answer.header("access-control-allow-origin"), "");
}

#[tokio::test]
async fn browsers_are_answered() {
    let server = Server::start().await;
    let preflight = [
        ("origin", "https://page.test"),
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", "x-amz-target,authorization"),
    ];
    let answer = send(&server, Method::OPTIONS, &preflight, "").await;
    assert_eq!((answer.status.as_u16(), answer.text()), (200, ""));
    assert_eq!(answer.header("access-control-allow-origin"), "*");
    assert_eq!(answer.header("access-control-allow-methods"), "POST");
    assert_eq!(answer.header("access-control-allow-headers"), "x-amz-target,authorization");
    assert_eq!(answer.header("access-control-max-age"), "172800");
    let plain = send(&server, Method::OPTIONS, &[], "").await;
    assert_eq!((plain.status.as_u16(), plain.text()), (403, NO_OPERATION));

    let headers = vec![("origin", "https://page.test".to_owned())];
    let answer = server.send(Call { headers, ..Call::new("PutRecord", single("s", b"x").to_string()) }).await;
    assert_eq!(answer.header("access-control-allow-origin"), "*");
    assert!(answer.header("access-control-expose-headers").contains("x-amzn-RequestId"));
}
