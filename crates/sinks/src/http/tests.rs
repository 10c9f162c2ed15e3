//! The HTTP endpoint without a network: bodies, answers, secrets.

use standpipe_model::{Request, Secret, Timestamp};

use super::request::{body, is_taken};
use super::{HttpFormat, HttpOptions, HttpSink};
use crate::client::ClientOptions;
use crate::sample;

fn request(texts: &[&str]) -> Request {
    sample::request(sample::rows(texts), Timestamp(1_578_090_901_599))
}

#[test]
fn rows_become_a_body_by_the_format() {
    let text = |format, rows: &[&'static str]| {
        let made = body(format, &request(rows));
        (String::from_utf8(made.body).unwrap(), made.refused.iter().map(|one| one.row).collect::<Vec<_>>())
    };
    let rows = ["{\"a\":1}", "", "x\n"];
    let firehose = concat!(
        r#"{"requestId":"01010101-0101-0101-0101-010101010101","timestamp":1578090901599,"#,
        r#""records":[{"data":"eyJhIjoxfQ=="},{"data":""},{"data":"eAo="}]}"#
    );
    assert_eq!(text(HttpFormat::Firehose, &rows), (firehose.to_owned(), vec![]));
    assert_eq!(text(HttpFormat::Ndjson, &rows), ("{\"a\":1}\n\nx\n".to_owned(), vec![]));
    assert_eq!(text(HttpFormat::Raw, &rows), ("{\"a\":1}x\n".to_owned(), vec![]));
    assert_eq!(text(HttpFormat::JsonArray, &rows), ("[{\"a\":1}]".to_owned(), vec![1, 2]));
    assert_eq!(text(HttpFormat::JsonArray, &["no"]), (String::new(), vec![0]));
}

#[test]
fn an_answer_counts_only_when_it_is_that_of_the_protocol() {
    let id = "01010101-0101-0101-0101-010101010101";
    for (content_type, text, expect) in [
        ("application/json", format!(r#"{{"requestId":"{id}","timestamp":1}}"#), true),
        ("application/json; charset=utf-8", format!(r#"{{"requestId":"{id}","timestamp":1.5}}"#), true),
        ("application/json", format!(r#"{{"requestId":"{id}","timestamp":1,"errorMessage":null}}"#), true),
        ("application/json", format!(r#"{{"requestId":"{id}","timestamp":"1"}}"#), false),
        ("application/json", format!(r#"{{"requestId":"{id}"}}"#), false),
        ("application/json", r#"{"requestId":null}"#.to_owned(), false),
        ("application/json", r#"{"requestId":"other","timestamp":1}"#.to_owned(), false),
        ("application/json", format!(r#"{{"requestId":"{id}","timestamp":1,"more":2}}"#), false),
        ("text/plain", format!(r#"{{"requestId":"{id}","timestamp":1}}"#), false),
    ] {
        assert_eq!(is_taken(&request(&["x"]), Some(content_type), text.as_bytes()), expect, "{text}");
    }
}

#[test]
fn debug_shows_nothing_of_an_endpoints_secrets() {
    let options = HttpOptions {
        url: "https://user:word@example.com:8443/in?token=hidden".to_owned(),
        format: HttpFormat::Firehose,
        access_key: Some(Secret::new("hidden")),
        headers: vec![("DD-API-KEY".to_owned(), Secret::new("hidden"))],
        common_attributes: vec![("team".to_owned(), "web".to_owned())],
        gzip: true,
        client: ClientOptions::default(),
    };
    let sink = HttpSink::new(&options).unwrap();
    assert_eq!(format!("{sink:?}"), "HttpSink { place: \"https://example.com:8443\", .. }");
    let bad = HttpOptions { headers: vec![("a b".to_owned(), Secret::new("x"))], ..options };
    assert_eq!(HttpSink::new(&bad).unwrap_err().to_string(), "the header 'a b' cannot be sent");
}
