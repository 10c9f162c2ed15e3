//! The lines of an object of the error output, read in pieces, and the records in them.
//!
//! Memory: a piece and a line. What cannot be read is told of, line by line, and keeps no other line from being read.

use base64_simd::STANDARD;
use serde_json::Value;
use standpipe_model::{ObjectTarget, SinkError};

use super::{ErrorOutput, Found};

/// How much is read at once.
const PIECE: u64 = 1 << 20;
/// The longest line that is read: a record of the greatest size in base64, with a long message.
const LINE_MAX: usize = 4 << 20;
/// The most bytes of a record, by the Firehose API.
const RECORD_MAX: usize = 1_024_000;

/// A record that failed, as a line tells of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Failed {
    /// The record as it was put.
    pub(super) data: Vec<u8>,
    pub(super) code: String,
    pub(super) message: String,
    pub(super) attempts: Option<u64>,
    /// Milliseconds since the Unix epoch.
    pub(super) arrived_at: Option<u64>,
}

/// Why a line holds no record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unreadable {
    /// Not JSON.
    #[error("it is not JSON")]
    Json,
    /// No record.
    #[error("it has no rawData")]
    NoData,
    /// A record, but damaged.
    #[error("its rawData is not base64")]
    Base64,
    /// More than a record can be.
    #[error("its record is longer than a record may be")]
    TooLong,
}

/// A line, and where the next one begins.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) end: u64,
    pub(super) record: Result<Failed, Unreadable>,
}

/// Reads the record of a line.
fn parse(line: &[u8]) -> Result<Failed, Unreadable> {
    let line: Value = serde_json::from_slice(line).map_err(|_| Unreadable::Json)?;
    let raw = line.get("rawData").and_then(Value::as_str).ok_or(Unreadable::NoData)?;
    let data = STANDARD.decode_to_vec(raw).map_err(|_| Unreadable::Base64)?;
    if data.len() > RECORD_MAX {
        return Err(Unreadable::TooLong);
    }
    // What could not be converted has the second name, in AWS's error output too.
    let text = |name: &str, other: &str| {
        let value = line.get(name).or_else(|| line.get(other));
        value.and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    Ok(Failed {
        data,
        code: text("errorCode", "lastErrorCode"),
        message: text("errorMessage", "lastErrorMessage"),
        attempts: line.get("attemptsMade").and_then(Value::as_u64),
        arrived_at: line.get("arrivalTimestamp").and_then(Value::as_u64),
    })
}

/// Cuts bytes into lines.
#[derive(Debug)]
struct Cutter {
    buffer: Vec<u8>,
    /// Where in the buffer the next line begins.
    at: usize,
    /// Where in the object it begins.
    end: u64,
    /// The line is longer than any that is read; its bytes go nowhere.
    skipping: bool,
}

impl Cutter {
    fn push(&mut self, piece: &[u8]) {
        self.buffer.drain(..self.at);
        self.at = 0;
        self.buffer.extend_from_slice(piece);
    }

    /// The next line that is complete, or the rest where nothing `follows`; blank ones are none.
    fn next(&mut self, follows: bool) -> Option<Line> {
        loop {
            let rest = &self.buffer[self.at..];
            let newline = rest.iter().position(|byte| *byte == b'\n');
            let len = match newline {
                Some(len) => len + 1,
                None if follows && rest.len() <= LINE_MAX => return None,
                None => rest.len(),
            };
            let line = &rest[..len];
            let is_long = std::mem::replace(&mut self.skipping, newline.is_none() && follows);
            let is_blank = line.iter().all(u8::is_ascii_whitespace);
            let record = match is_long || self.skipping || len > LINE_MAX {
                true => Err(Unreadable::TooLong),
                false => parse(line),
            };
            self.at += len;
            self.end += len as u64;
            match (self.skipping, is_long, is_blank) {
                (true, ..) => return None,
                (false, false, true) if len == 0 => return None,
                (false, false, true) => {}
                _ => return Some(Line { end: self.end, record }),
            }
        }
    }
}

/// The lines of an object.
#[derive(Debug)]
pub(super) struct Lines<'a> {
    output: &'a ErrorOutput,
    target: ObjectTarget,
    /// The object's size.
    bytes: u64,
    read: u64,
    cutter: Cutter,
    /// One that was taken and not wanted.
    held: Option<Line>,
}

impl<'a> Lines<'a> {
    /// From the line that begins at `from` on.
    pub(super) fn new(output: &'a ErrorOutput, of: &Found, from: u64) -> Self {
        let target = ObjectTarget { bucket: output.bucket.clone(), key: of.object.key.clone() };
        let cutter = Cutter { buffer: Vec::new(), at: 0, end: from, skipping: false };
        Self { output, target, bytes: of.object.bytes, read: from, cutter, held: None }
    }

    /// The next line; `None` at the end. After an error it may be asked again.
    ///
    /// # Errors
    /// The store's.
    pub(super) async fn next(&mut self) -> Result<Option<Line>, SinkError> {
        if let Some(line) = self.held.take() {
            return Ok(Some(line));
        }
        loop {
            let follows = self.read < self.bytes;
            match self.cutter.next(follows) {
                Some(line) => return Ok(Some(line)),
                None if !follows => return Ok(None),
                None => {}
            }
            let len = PIECE.min(self.bytes - self.read);
            let piece = self.output.client.read_part(&self.target, self.read, len).await?;
            if piece.is_empty() {
                // It is shorter by now.
                self.bytes = self.read;
            }
            self.read += piece.len() as u64;
            self.cutter.push(&piece);
        }
    }

    /// Has a line come again as the next one.
    pub(super) fn hold(&mut self, line: Line) {
        self.held = Some(line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(text: &[u8], piece: usize) -> Vec<(u64, Result<String, Unreadable>)> {
        let mut cutter = Cutter { buffer: Vec::new(), at: 0, end: 0, skipping: false };
        let mut lines = Vec::new();
        let mut pieces = text.chunks(piece).peekable();
        while let Some(piece) = pieces.next() {
            cutter.push(piece);
            while let Some(line) = cutter.next(pieces.peek().is_some()) {
                let record = line.record.map(|record| String::from_utf8(record.data).unwrap());
                lines.push((line.end, record));
            }
        }
        lines
    }

    #[test]
    fn a_line_of_any_part_of_the_error_output_is_read() {
        let ours =
            br#"{"rawData":"aGk=","errorCode":"A","errorMessage":"b","attemptsMade":4,"arrivalTimestamp":1}"#;
        let converted = br#"{"attemptsMade":1,"lastErrorCode":"A","lastErrorMessage":"b","rawData":"aGk="}"#;
        for (line, attempts, arrived_at) in [(&ours[..], Some(4), Some(1)), (converted, Some(1), None)] {
            let (code, message, data) = ("A".to_owned(), "b".to_owned(), b"hi".to_vec());
            assert_eq!(parse(line), Ok(Failed { data, code, message, attempts, arrived_at }));
        }
        assert_eq!(parse(b"rubbish"), Err(Unreadable::Json));
        assert_eq!(parse(br#"{"rawdata":"aGk="}"#), Err(Unreadable::NoData));
        assert_eq!(parse(br#"{"rawData":"?"}"#), Err(Unreadable::Base64));
        let long = STANDARD.encode_to_string(vec![b'x'; RECORD_MAX + 1]);
        assert_eq!(parse(format!("{{\"rawData\":\"{long}\"}}").as_bytes()), Err(Unreadable::TooLong));
    }

    #[test]
    fn lines_are_cut_alike_whatever_pieces_they_come_in() {
        let text = b"{\"rawData\":\"aGk=\"}\nrubbish\n\n{\"rawData\":\"YQ==\"}\r\n{\"rawData\":\"\"}";
        let expect = [
            (19, Ok("hi".to_owned())),
            (27, Err(Unreadable::Json)),
            (48, Ok("a".to_owned())),
            (62, Ok(String::new())),
        ];
        for piece in 1..text.len() + 1 {
            assert_eq!(cut(text, piece), expect, "{piece}");
        }
        assert_eq!(cut(b"\n\n", 1), []);
    }

    #[test]
    fn a_line_that_is_too_long_is_passed_over() {
        let long = [vec![b'x'; 3 * LINE_MAX], b"\n{\"rawData\":\"YQ==\"}\n".to_vec()].concat();
        let end = long.len() as u64;
        for piece in [PIECE as usize, long.len()] {
            assert_eq!(cut(&long, piece), [(end - 19, Err(Unreadable::TooLong)), (end, Ok("a".to_owned()))]);
        }
    }
}
