//! From rows to HEC's body, and what its answers mean.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use standpipe_model::{ErrorClass, Refusal, RequestRow};

use super::options::HecEndpoint;

/// A body with the indexes of the rows in it, and the rows that could not become part of it.
pub(super) struct Made {
    pub(super) body: Vec<u8>,
    pub(super) sent: Vec<usize>,
    pub(super) refused: Vec<Refusal>,
}

/// The body of the rows with those numbers.
pub(super) fn body(endpoint: HecEndpoint, rows: &[RequestRow], numbers: &[usize]) -> Made {
    let (mut body, mut sent, mut refused) = (Vec::new(), Vec::new(), Vec::new());
    for &number in numbers {
        match misfit(endpoint, &rows[number].data) {
            None => {
                body.extend_from_slice(&rows[number].data);
                sent.push(number);
            }
            Some(message) => {
                refused.push(Refusal { row: number, code: INVALID_DATA.to_owned(), message });
            }
        }
    }
    Made { body, sent, refused }
}

const INVALID_DATA: &str = "Splunk.InvalidDataFormat";
/// An index that is not there, or that the token may not write to.
pub(super) const NO_INDEX: &str = "Splunk.InvalidIndex";
/// Whoever is asked is not the one who was told.
pub(super) const NO_STICKINESS: &str = "Splunk.ProxyWithoutStickySessions";

/// An index as events name it, `None` for the token's, with the rows that go there.
pub(super) type Index = (Option<String>, Vec<usize>);

/// The indexes of the rows with those numbers.
pub(super) fn by_index(endpoint: HecEndpoint, rows: &[RequestRow], numbers: &[usize]) -> Vec<Index> {
    let mut indexes: BTreeMap<Option<String>, Vec<usize>> = BTreeMap::new();
    for &number in numbers {
        let event: Value = match endpoint {
            HecEndpoint::Event => serde_json::from_slice(&rows[number].data).unwrap_or_default(),
            HecEndpoint::Raw => Value::Null,
        };
        let index = Some(&event["index"]).filter(|index| !index.is_null()).map(Value::to_string);
        indexes.entry(index).or_default().push(number);
    }
    indexes.into_iter().collect()
}

/// Why a record cannot be sent.
fn misfit(endpoint: HecEndpoint, data: &[u8]) -> Option<String> {
    if endpoint == HecEndpoint::Raw {
        return None;
    }
    match serde_json::from_slice::<Value>(data) {
        Ok(Value::Object(members)) if members.get("event").is_some_and(|event| !is_blank(event)) => None,
        Ok(_) => Some("The record is no object with a member \"event\" that is not blank.".to_owned()),
        Err(error) => Some(format!("The record is no JSON: {error}")),
    }
}

fn is_blank(event: &Value) -> bool {
    event.is_null() || event.as_str().is_some_and(str::is_empty)
}

/// An answer of HEC.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Answer {
    #[serde(default)]
    pub(super) text: String,
    #[serde(default)]
    pub(super) code: Option<u32>,
    #[serde(default, rename = "ackId")]
    pub(super) ack_id: Option<u64>,
    /// The number of the event that is wrong.
    #[serde(default, rename = "invalid-event-number")]
    pub(super) invalid_event: Option<usize>,
}

/// What the worker does after an answer that is no success, and AWS's code for it. HEC's own code decides where it gave
/// one that is known.
pub(super) fn classify(status: u16, code: Option<u32>) -> (ErrorClass, &'static str) {
    use ErrorClass::{Misconfigured, Refused, Throttled, Transient};
    match (code, status) {
        (Some(1), _) => (Misconfigured, "Splunk.DisabledToken"),
        (Some(2..=4), _) => (Misconfigured, "Splunk.InvalidToken"),
        (Some(5 | 6 | 12 | 13 | 15), 400) => (Refused, INVALID_DATA),
        (Some(7), _) => (Misconfigured, NO_INDEX),
        // The channel is missing or not known.
        (Some(10 | 11), _) => (Misconfigured, NO_STICKINESS),
        (Some(14), _) => (Misconfigured, "Splunk.DisabledAck"),
        (Some(9), _) | (_, 429 | 503) => (Throttled, "Splunk.ServerError"),
        (_, 413) => (Refused, "Splunk.ServerError"),
        (_, 401 | 403) => (Misconfigured, "Splunk.InvalidToken"),
        (_, 300..=399 | 404 | 405) => (Misconfigured, "Splunk.InvalidEndpoint"),
        _ => (Transient, "Splunk.ServerError"),
    }
}

/// Whether the indexer acknowledges `id`.
pub(super) fn is_acknowledged(body: &[u8], id: u64) -> bool {
    let answer: Value = serde_json::from_slice(body).unwrap_or_default();
    answer["acks"][id.to_string()] == Value::Bool(true)
}
