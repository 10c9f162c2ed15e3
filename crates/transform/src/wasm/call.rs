//! One call of a function: what goes in, and what comes out of it or went wrong.

use bytes::Bytes;
use standpipe_model::{StreamName, Timestamp};
use wasmtime::Trap;

use super::preview1::Exit;
use super::state::State;
use crate::row::{Record, Row, Source};

/// Characters of a reason that are kept; it goes to the error output with each record.
const REASON_BYTES_MAX: usize = 1024;

/// The rows of a call with the records that they come from.
pub(super) struct Batch<'a> {
    pub(super) source: &'a Source,
    pub(super) records: &'a [Record],
    pub(super) rows: &'a [Row],
}

impl<'a> Batch<'a> {
    /// The rows with their ids and when they arrived.
    pub(super) fn each(&self) -> impl ExactSizeIterator<Item = (String, Timestamp, &'a Row)> {
        let records = self.records;
        self.rows.iter().map(move |row| {
            let record = &records[row.origin.record as usize];
            // In the manner of AWS: digits only, and all of one length in practice.
            (format!("{:020}{:06}", record.position.0, row.origin.sub), record.arrived_at, row)
        })
    }

    /// When the last of them arrived.
    pub(super) fn arrived_at(&self) -> Timestamp {
        self.each().map(|(_, arrived_at, _)| arrived_at).max().unwrap_or_default()
    }

    pub(super) fn stream(&self) -> &'a StreamName {
        &self.source.stream
    }
}

/// What a function says of a row.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Ok { data: Bytes, partition_keys: Vec<(String, String)>, headers: Vec<(String, String)> },
    Dropped,
    Failed { code: &'static str, message: String },
}

/// A call came to nothing.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct CallError {
    /// What the error output says (`errorCode`).
    pub(super) code: &'static str,
    /// The same in words (`errorMessage`).
    pub(super) message: String,
    /// Whether it is tried again.
    pub(super) again: bool,
}

/// AWS's words for a function that failed.
const FUNCTION_ERROR: &str = "The Lambda function was successfully invoked but it returned an error result.";
/// As near to AWS's words as is known.
const TIMED_OUT: &str = "The Lambda function did not respond before its time limit.";

impl CallError {
    /// The function failed; `reason` is for who wrote it.
    pub(super) fn failed(reason: &str) -> Self {
        let reason = cut(reason);
        Self {
            code: "Lambda.FunctionError",
            message: format!("{FUNCTION_ERROR} Reason: {reason}"),
            again: true,
        }
    }

    /// It answered with something that it would answer with again.
    pub(super) fn malformed(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), again: false }
    }

    /// What an instance ended with.
    pub(super) fn of(error: &wasmtime::Error, state: &mut State) -> Self {
        state.end_line();
        if is_deadline(error) {
            return Self { code: "Lambda.FunctionTimedOut", message: TIMED_OUT.to_owned(), again: true };
        }
        let cause =
            error.downcast_ref::<Exit>().map_or_else(|| error.root_cause().to_string(), Exit::to_string);
        match state.last_lines.trim_end() {
            "" => Self::failed(&cause),
            lines => Self::failed(&format!("{cause}\n{lines}")),
        }
    }

    pub(super) fn is_deadline(&self) -> bool {
        self.code == "Lambda.FunctionTimedOut"
    }
}

/// Whether the deadline ended an instance.
pub(super) fn is_deadline(error: &wasmtime::Error) -> bool {
    error.downcast_ref::<Trap>() == Some(&Trap::Interrupt)
}

/// A text from a guest, as much of it as is kept.
pub(super) fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(REASON_BYTES_MAX)]
}
