//! From rows to bulks, and from a bulk's answer to what became of each document.

use std::borrow::Cow;
use std::ops::Range;

use bytes::Bytes;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Value, json};
use standpipe_model::{ErrorClass, Refusal, Request, RequestRow};

use super::options::{DocumentIds, IndexOptions};
use crate::client::excerpt;

/// What is asked of an answer: of a document that was taken, its status, and its id where that should be ours.
pub(super) fn filter(ids: DocumentIds) -> &'static str {
    match ids {
        DocumentIds::FirehoseDefault => "filter_path=errors,items.*._id,items.*.status,items.*.error",
        DocumentIds::NoDocumentId => "filter_path=errors,items.*.status,items.*.error",
    }
}

/// The most that an answer about so many documents of so many bytes may have: of a value that does not fit it shows the
/// value, up to twice.
pub(super) fn answer_bytes_max(documents: usize, bytes: usize) -> usize {
    (1 << 20) + documents * 2048 + 3 * bytes
}

/// The documents of a request, one behind the other.
pub(super) struct Bulk {
    body: Bytes,
    /// Each with its row and where it ends.
    documents: Vec<(usize, usize)>,
    /// Rows that are no documents.
    pub(super) refused: Vec<Refusal>,
}

impl Bulk {
    pub(super) fn of(index: &IndexOptions, request: &Request) -> Self {
        let mut body = Vec::with_capacity(request.bytes() as usize + request.rows.len() * 128);
        let (mut documents, mut refused) = (Vec::with_capacity(request.rows.len()), Vec::new());
        for (number, row) in request.rows.iter().enumerate() {
            match document(&row.data) {
                Ok(document) => {
                    let id = index.document_id(request.batch, row.origin);
                    // Only what is created is told that it was there already; and data streams take nothing else.
                    let creates = index.data_stream || id.is_some();
                    let name = if creates { "create" } else { "index" };
                    action(name, index, row, id, &mut body);
                    body.extend_from_slice(&document);
                    body.push(b'\n');
                    documents.push((number, body.len()));
                }
                Err(message) => refused.push(Refusal {
                    row: number,
                    code: "OpenSearch.InvalidRecord".to_owned(),
                    message,
                }),
            }
        }
        Self { body: body.into(), documents, refused }
    }

    pub(super) fn len(&self) -> usize {
        self.documents.len()
    }

    /// The documents from `from` on that have at most so many bytes together, at least one.
    pub(super) fn cut(&self, from: usize, bytes_max: usize) -> Range<usize> {
        let begin = self.begin(from);
        let fitting = self.documents[from..].partition_point(|(_, end)| end - begin <= bytes_max);
        from..from + fitting.max(1)
    }

    pub(super) fn body(&self, documents: &Range<usize>) -> Bytes {
        self.body.slice(self.begin(documents.start)..self.begin(documents.end))
    }

    /// The rows of documents, ascending.
    pub(super) fn rows(&self, documents: Range<usize>) -> impl Iterator<Item = usize> {
        self.documents[documents].iter().map(|(row, _)| *row)
    }

    fn begin(&self, document: usize) -> usize {
        document.checked_sub(1).map_or(0, |before| self.documents[before].1)
    }
}

/// A bulk that asks whether the index of a row takes documents at all: it changes one that is not there. Where documents
/// may be found by nothing but an alias that leads nowhere, or only created, it is refused as they are.
pub(super) fn question(index: &IndexOptions, request: &Request, row: &RequestRow) -> Bytes {
    let mut body = Vec::new();
    action("update", index, row, Some(request.id.to_string()), &mut body);
    body.extend_from_slice(b"{\"doc\":{}}\n");
    body.into()
}

/// The line that says what is done with the document behind it.
fn action(name: &str, index: &IndexOptions, row: &RequestRow, id: Option<String>, body: &mut Vec<u8>) {
    let mut place = json!({ "_index": index.index(row.arrived_at) });
    if let Some(kind) = &index.type_name {
        place["_type"] = kind.as_str().into();
    }
    if let Some(id) = id {
        place["_id"] = id.into();
    }
    body.extend_from_slice(json!({ name: place }).to_string().as_bytes());
    body.push(b'\n');
}

/// A row as a document in one line.
fn document(data: &[u8]) -> Result<Cow<'_, [u8]>, String> {
    let no_object =
        |why: &dyn std::fmt::Display| format!("The record is no JSON object, as documents are: {why}");
    // Not all that reads JSON looks whether its texts are UTF-8.
    let text = std::str::from_utf8(data).map_err(|error| no_object(&error))?.trim_ascii();
    if !text.starts_with('{') {
        return Err(no_object(&"it does not begin with '{'"));
    }
    serde_json::from_str::<IgnoredAny>(text).map_err(|error| no_object(&error))?;
    // They cannot stand in a text of JSON, so these are between its parts.
    let is_break = |byte: &u8| matches!(byte, b'\n' | b'\r');
    if !text.as_bytes().iter().any(is_break) {
        return Ok(text.as_bytes().into());
    }
    Ok(text.bytes().map(|byte| if is_break(&byte) { b' ' } else { byte }).collect())
}

/// What became of a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Delivered,
    /// By an earlier attempt.
    Existed,
    Again(ErrorClass),
    Refused,
}

/// What is said of one document.
#[derive(Debug, Deserialize)]
pub(super) struct Outcome {
    pub(super) status: u16,
    /// Its id, where that was asked for: an ingest pipeline may have chosen another than ours.
    #[serde(rename = "_id")]
    id: Option<String>,
    #[serde(default)]
    error: Value,
}

impl Outcome {
    fn kind(&self) -> &str {
        self.error["type"].as_str().unwrap_or_default()
    }

    /// Whether the same was said of both.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        (self.status, self.kind()) == (other.status, other.kind())
    }

    /// What it comes to for a document, whose id should be `ours` where it has one of ours.
    pub(super) fn verdict(&self, ours: impl FnOnce() -> Option<String>) -> Verdict {
        match (self.status, self.kind()) {
            (200..=299, _) => Verdict::Delivered,
            (409, _) => match ours() {
                None => Verdict::Again(ErrorClass::Transient),
                ours if ours == self.id => Verdict::Existed,
                // Who knows whose document has the id that a pipeline chose.
                _ => Verdict::Refused,
            },
            (429 | 503, _) => Verdict::Again(ErrorClass::Throttled),
            // No permission, a write block, no such index; and where the status does not say whose fault it is.
            (401 | 403 | 404, _)
            | (_, "index_closed_exception" | "invalid_index_name_exception" | "validation_exception") => {
                Verdict::Again(ErrorClass::Misconfigured)
            }
            (400, "illegal_argument_exception") if self.lacks_pipeline() => {
                Verdict::Again(ErrorClass::Misconfigured)
            }
            (400..=499, _) => Verdict::Refused,
            _ => Verdict::Again(ErrorClass::Transient),
        }
    }

    /// Whether the pipeline that the index has for its documents is not there. Nothing but the words tells this from a
    /// document with too many fields, and no question that writes nothing goes through a pipeline.
    fn lacks_pipeline(&self) -> bool {
        let reason = self.error["reason"].as_str().unwrap_or_default();
        reason.starts_with("pipeline with id [") && reason.ends_with("] does not exist")
    }

    /// In the cluster's words: each cause with its type.
    pub(super) fn words(&self) -> String {
        let told = |error: &Value| match error {
            Value::String(text) => Some(text.clone()),
            Value::Object(_) => {
                let word = |name: &str| error[name].as_str().unwrap_or_default().to_owned();
                Some(format!("{}: {}", word("type"), word("reason")))
            }
            _ => None,
        };
        let words = [&self.error, &self.error["caused_by"]].into_iter().filter_map(told);
        words.map(|words| excerpt(words.as_bytes())).collect::<Vec<_>>().join("; ")
    }
}

/// The answer to a bulk of so many documents; `None` where it is none.
pub(super) fn outcomes(body: &[u8], documents: usize) -> Option<Vec<Outcome>> {
    #[derive(Deserialize)]
    struct Answer {
        items: Vec<Item>,
    }
    #[derive(Deserialize)]
    struct Item {
        #[serde(alias = "index", alias = "update")]
        create: Outcome,
    }
    let answer: Answer = serde_json::from_slice(body).ok()?;
    let outcomes: Vec<_> = answer.items.into_iter().map(|item| item.create).collect();
    (outcomes.len() == documents).then_some(outcomes)
}
