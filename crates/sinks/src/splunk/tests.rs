//! Splunk without a network: bodies, what answers mean, secrets.

use std::time::Duration;

use standpipe_model::{ErrorClass, Secret, SinkError};

use super::request::{NO_STICKINESS, body, by_index, classify, is_acknowledged};
use super::sink::is_worth_telling;
use super::{HecEndpoint, SplunkOptions, SplunkSink};
use crate::client::ClientOptions;
use crate::sample::rows;

#[test]
fn a_record_that_is_no_event_is_refused_by_itself() {
    let blank = r#"{"event":""}"#;
    let texts = [r#"{"event":"a"}"#, r#"{"message":"b"}"#, "c", blank, r#"{"event":{"d":1}}"#];
    let made = body(HecEndpoint::Event, &rows(&texts), &[0, 1, 2, 3, 4]);
    assert_eq!(made.body, br#"{"event":"a"}{"event":{"d":1}}"#);
    assert_eq!(made.sent, [0, 4]);
    assert_eq!(made.refused.iter().map(|refusal| refusal.row).collect::<Vec<_>>(), [1, 2, 3]);
    let made = body(HecEndpoint::Raw, &rows(&texts), &[0, 1, 2, 3, 4]);
    assert_eq!((made.sent.len(), made.body), (5, texts.concat().into_bytes()));
}

#[test]
fn what_is_next_follows_from_hecs_code() {
    use ErrorClass::{Misconfigured, Refused, Throttled, Transient};
    for (status, code, expect) in [
        (403, Some(1), (Misconfigured, "Splunk.DisabledToken")),
        (403, Some(4), (Misconfigured, "Splunk.InvalidToken")),
        (401, None, (Misconfigured, "Splunk.InvalidToken")),
        (400, Some(6), (Refused, "Splunk.InvalidDataFormat")),
        (400, Some(7), (Misconfigured, "Splunk.InvalidIndex")),
        (400, Some(14), (Misconfigured, "Splunk.DisabledAck")),
        (503, Some(9), (Throttled, "Splunk.ServerError")),
        (500, Some(8), (Transient, "Splunk.ServerError")),
        (404, None, (Misconfigured, "Splunk.InvalidEndpoint")),
        (400, None, (Transient, "Splunk.ServerError")),
    ] {
        assert_eq!(classify(status, code), expect, "{status} {code:?}");
    }
}

#[test]
fn only_a_true_for_its_own_id_is_an_acknowledgement() {
    for (text, expect) in [
        (r#"{"acks":{"7":true}}"#, true),
        (r#"{"acks":{"7":false}}"#, false),
        (r#"{"acks":{"8":true}}"#, false),
        (r#"{"acks":{"7":"true"}}"#, false),
        ("", false),
    ] {
        assert_eq!(is_acknowledged(text.as_bytes(), 7), expect, "{text}");
    }
}

#[test]
fn events_are_told_apart_by_the_index_that_they_name() {
    let texts = [
        r#"{"event":1}"#,
        r#"{"event":2,"index":"b"}"#,
        r#"{"event":3,"index":null}"#,
        r#"{"event":4,"index":"a"}"#,
        r#"{"event":5,"index":"b"}"#,
    ];
    let named = |name: &str| Some(format!("{name:?}"));
    let indexes = by_index(HecEndpoint::Event, &rows(&texts), &[0, 1, 2, 3, 4]);
    assert_eq!(indexes, [(None, vec![0, 2]), (named("a"), vec![3]), (named("b"), vec![1, 4])]);
    assert_eq!(by_index(HecEndpoint::Raw, &rows(&texts), &[1, 3]), [(None, vec![1, 3])]);
}

#[test]
fn only_a_collector_that_knows_no_channel_is_told_again_after_a_while() {
    let coded = |code: &str| SinkError {
        code: Some(code.to_owned()),
        ..SinkError::new(ErrorClass::Misconfigured, "it cannot be asked")
    };
    let (minute, hour) = (Duration::from_mins(1), Duration::from_hours(1));
    assert!(!is_worth_telling(&coded(NO_STICKINESS), minute));
    assert!(is_worth_telling(&coded(NO_STICKINESS), hour));
    assert!(!is_worth_telling(&coded("Splunk.DisabledAck"), hour));
    // Who calls the question wrong says nothing of the events, which must not be given up for it.
    assert!(is_worth_telling(&SinkError::new(ErrorClass::Refused, "no data"), minute));
}

#[test]
fn debug_shows_nothing_of_the_token() {
    let options = SplunkOptions {
        url: "https://splunk:8088/".to_owned(),
        endpoint: HecEndpoint::Event,
        token: Secret::new("hidden"),
        acknowledgement: Some(Duration::from_secs(180)),
        client: ClientOptions::default(),
    };
    let sink = SplunkSink::new(&options).unwrap();
    assert_eq!(format!("{sink:?}"), "SplunkSink { place: \"https://splunk:8088\", .. }");
}
