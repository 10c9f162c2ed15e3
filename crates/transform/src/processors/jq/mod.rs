//! `jq`: reshapes, filters and multiplies records by a program.
//!
//! A record is a stream of JSON documents, as it is for jq: the program runs for each of them. Each output is a row;
//! a record without outputs is dropped.

mod budget;
mod functions;
mod program;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

pub(crate) use budget::on_stack;
pub(crate) use program::{Fault, Program};

use super::OptionError;
use super::json;
use crate::chain::Processor;
use crate::row::{Failure, FailureKind, Output, Record, Row, Source};

/// The most bytes that a record comes to.
const OUTPUT_BYTES_MAX: usize = 16 << 20;

/// The options of `jq`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JqOptions {
    /// The program.
    pub program: String,
    /// Whether the program's input is the record as a string rather than the JSON in it.
    #[serde(default)]
    pub raw_input: bool,
    /// Whether an output that is a string is written as it is rather than as JSON.
    #[serde(default)]
    pub raw_output: bool,
}

/// Reshapes, filters and multiplies records by a program.
#[derive(Debug)]
pub struct Jq {
    program: Program,
    raw_input: bool,
    raw_output: bool,
}

impl Jq {
    /// Compiles the program.
    ///
    /// # Errors
    /// It is too long, no jq, or uses what would make its result depend on more than the record.
    pub fn new(options: &JqOptions) -> Result<Self, OptionError> {
        let program = Program::new(&options.program)
            .map_err(|error| OptionError::new("jq", "program", &options.program, error.to_string()))?;
        Ok(Self { program, raw_input: options.raw_input, raw_output: options.raw_output })
    }

    /// What a row comes to: the ends of its outputs in `out`.
    fn run(&self, row: &Bytes, out: &mut Vec<u8>) -> Result<Vec<usize>, (&'static str, String)> {
        let malformed = |error: json::Malformed| ("Jq.MalformedRecord", error.to_string());
        let begin = out.len();
        let mut ends = Vec::new();
        let mut run = |(value, bytes): (jaq_json::Val, usize)| {
            let done = self.program.run(value, bytes, |output| {
                self.write(out, begin, &output)?;
                ends.push(out.len());
                Ok(())
            });
            done.map_err(|fault| match fault {
                Fault::Error(message) => ("Jq.ProgramError", message),
                limit => ("Jq.LimitExceeded", limit.to_string()),
            })
        };
        if self.raw_input {
            std::str::from_utf8(row).map_err(|_| malformed(json::Malformed::Utf8))?;
            run((jaq_json::Val::utf8_str(row.clone()), row.len()))?;
        } else {
            for value in json::values(row).map_err(malformed)? {
                run(value.map_err(malformed)?)?;
            }
        }
        Ok(ends)
    }

    fn write(&self, out: &mut Vec<u8>, begin: usize, output: &jaq_json::Val) -> Result<(), Fault> {
        let room = OUTPUT_BYTES_MAX.saturating_sub(out.len() - begin);
        match output {
            jaq_json::Val::TStr(text) if self.raw_output && text.len() <= room => out.extend_from_slice(text),
            output => {
                json::write(out, output, room).map_err(|error| Fault::Error(error.to_string()))?;
            }
        }
        Ok(())
    }
}

impl Processor for Jq {
    fn process(&self, _: &Source, _: &[Record], rows: Vec<Row>, out: &mut Output) {
        let (data, done) = on_stack(|| {
            let mut data = Vec::with_capacity(rows.iter().map(|row| row.data.len()).sum());
            let done: Vec<_> = rows
                .iter()
                .map(|row| {
                    let begin = data.len();
                    let ends = self.run(&row.data, &mut data);
                    if ends.is_err() {
                        data.truncate(begin);
                    }
                    ends
                })
                .collect();
            (Bytes::from(data), done)
        });
        let mut begin = 0;
        for (row, done) in rows.into_iter().zip(done) {
            match done {
                Ok(ends) => {
                    for end in ends {
                        out.keep(row.clone().with_data(data.slice(begin..end)));
                        begin = end;
                    }
                }
                Err((code, message)) => {
                    out.fail(row.origin, Failure::once(FailureKind::Processing, code, message));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
