//! One call of a function: what goes in, and what comes out of it or went wrong.

use bytes::Bytes;
use standpipe_model::{Position, StreamName, Timestamp};
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
            (id(record.position, row.origin.sub), record.arrived_at, row)
        })
    }

    /// When the last of them arrived.
    pub(super) fn arrived_at(&self) -> Timestamp {
        let arrived_at = |row: &Row| self.records[row.origin.record as usize].arrived_at;
        self.rows.iter().map(arrived_at).max().unwrap_or_default()
    }

    pub(super) fn stream(&self) -> &'a StreamName {
        &self.source.stream
    }
}

/// What a row is known by: in the manner of AWS digits only, and all of one length in practice. Formatting with a width
/// takes several times as long, and every row needs one.
fn id(position: Position, sub: u32) -> String {
    const SUB_DIGITS: usize = 6;
    if sub >= 10_u32.pow(SUB_DIGITS as u32) {
        return format!("{:020}{sub}", position.0);
    }
    let mut id = [b'0'; 20 + SUB_DIGITS];
    for (mut number, end) in [(position.0, 20), (u64::from(sub), 20 + SUB_DIGITS)] {
        for digit in id[..end].iter_mut().rev() {
            if number == 0 {
                break;
            }
            *digit += (number % 10) as u8;
            number /= 10;
        }
    }
    id.iter().map(|digit| char::from(*digit)).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_have_a_position_and_a_part() {
        for (position, sub) in [(0, 0), (7, 12), (u64::MAX, 999_999), (10, 1_000_000), (1, u32::MAX)] {
            assert_eq!(id(Position(position), sub), format!("{position:020}{sub:06}"));
        }
    }
}
