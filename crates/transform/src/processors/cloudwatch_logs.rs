//! `CloudWatchLogProcessing`: what a subscription of CloudWatch Logs sends, behind `Decompression`.

use std::borrow::Cow;

use bytes::Bytes;
use serde::Deserialize;

use crate::chain::Processor;
use crate::row::{Failure, FailureKind, Output, Record, Row, Source};

/// Drops control messages, and takes the log events out of the others.
#[derive(Debug)]
pub struct CloudWatchLogProcessing {
    data_message_extraction: bool,
}

/// What is read of a subscription's record.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Subscription<'a> {
    #[serde(borrow)]
    message_type: Cow<'a, str>,
    #[serde(borrow, default)]
    log_events: Vec<LogEvent<'a>>,
}

#[derive(Deserialize)]
struct LogEvent<'a> {
    #[serde(borrow)]
    message: Cow<'a, str>,
}

impl CloudWatchLogProcessing {
    /// With `DataMessageExtraction` a row is the messages of its log events, joined by newlines; without it, a row
    /// stays what it is.
    pub fn new(data_message_extraction: bool) -> Self {
        Self { data_message_extraction }
    }

    /// What a row comes to; nothing if it has no log events.
    fn extracted(&self, row: &Bytes) -> Result<Option<Bytes>, serde_json::Error> {
        let mut messages: Option<Vec<u8>> = None;
        let (mut any, mut data) = (false, false);
        for subscription in serde_json::Deserializer::from_slice(row).into_iter::<Subscription<'_>>() {
            let subscription = subscription?;
            any = true;
            if subscription.message_type == "CONTROL_MESSAGE" {
                continue;
            }
            data = true;
            for event in subscription.log_events {
                let messages = match &mut messages {
                    Some(messages) => {
                        messages.push(b'\n');
                        messages
                    }
                    none => none.insert(Vec::with_capacity(row.len())),
                };
                messages.extend_from_slice(event.message.as_bytes());
            }
        }
        if !any {
            serde_json::from_slice::<Subscription<'_>>(row)?;
        }
        Ok(if self.data_message_extraction { messages.map(Bytes::from) } else { data.then(|| row.clone()) })
    }
}

impl Processor for CloudWatchLogProcessing {
    fn process(&self, _: &Source, _: &[Record], rows: Vec<Row>, out: &mut Output) {
        for row in rows {
            match self.extracted(&row.data) {
                Ok(Some(data)) => out.keep(row.with_data(data)),
                Ok(None) => {}
                Err(error) => {
                    let message = format!("The record is not what CloudWatch Logs sends: {error}.");
                    let code = "CloudWatchLogProcessing.MalformedRecord";
                    out.fail(row.origin, Failure::once(FailureKind::Decompression, code, message));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tests::{codes, kept, run};
    use super::*;

    const DATA: &str = r#"{"messageType":"DATA_MESSAGE","owner":"1","logGroup":"g","logStream":"s",
        "subscriptionFilters":["f"],"logEvents":[{"id":"1","timestamp":1,"message":"a \"quoted\"\tline"},
        {"id":"2","timestamp":2,"message":"b\nc","extractedFields":{"x":"y"}}]}"#;
    const CONTROL: &str = r#"{"messageType":"CONTROL_MESSAGE","owner":"CloudwatchLogs","logGroup":"","logStream":"",
        "subscriptionFilters":[],"logEvents":[{"id":"","timestamp":1,"message":"CWL CONTROL MESSAGE: Checking"}]}"#;
    const NONE: &str = r#"{"messageType":"DATA_MESSAGE","logEvents":[]}"#;

    #[test]
    fn with_extraction_a_row_is_its_messages_joined_by_newlines() {
        let both = format!("{DATA}\n{CONTROL}{DATA}");
        let done = run(CloudWatchLogProcessing::new(true), &[DATA, CONTROL, NONE, &both]);
        let messages = "a \"quoted\"\tline\nb\nc".to_owned();
        assert_eq!(kept(&done), [messages.clone(), format!("{messages}\n{messages}")]);
        assert_eq!(done.dropped, 2);
    }

    #[test]
    fn without_extraction_a_row_stays_and_control_messages_go() {
        let done = run(CloudWatchLogProcessing::new(false), &[DATA, CONTROL, NONE]);
        assert_eq!(kept(&done), [DATA, NONE]);
        assert_eq!(done.dropped, 1);
    }

    #[test]
    fn what_is_no_subscription_fails() {
        let rows = [
            "",
            "plain",
            "[]",
            "{}",
            r#"{"messageType":1}"#,
            r#"{"messageType":"DATA_MESSAGE","logEvents":[1]}"#,
        ];
        let done = run(CloudWatchLogProcessing::new(true), &rows);
        assert_eq!(codes(&done), ["CloudWatchLogProcessing.MalformedRecord"; 6]);
        assert!(done.failures.values().all(|failure| failure.kind == FailureKind::Decompression));
    }

    proptest! {
        #[test]
        fn messages_come_out_as_they_went_in(messages in proptest::collection::vec("\\PC*", 1..5)) {
            let events: Vec<_> = messages.iter().map(|message| serde_json::json!({"message": message})).collect();
            let row = serde_json::json!({"messageType": "DATA_MESSAGE", "logEvents": events}).to_string();
            let done = run(CloudWatchLogProcessing::new(true), &[row]);
            prop_assert_eq!(kept(&done), [messages.join("\n")]);
        }
    }
}
