//! JSON as the processors read and write it.
//!
//! # Limits
//! A document nests at most 128 levels (serde_json's limit) and has no number of more than [`NUMBER_BYTES_MAX`].

use std::ops::Range;

use jaq_json::{Num, Val};
use serde::de::IgnoredAny;

/// The most digits that a number may have: to read and write one takes time by the square of them.
const NUMBER_BYTES_MAX: usize = 1_000;
/// The levels that a written document may have; what reads it has such a limit too.
const DEPTH_MAX: usize = 128;

/// Why a row is not what it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    #[error("the record is not UTF-8")]
    Utf8,
    #[error("the record is not JSON: {0}")]
    Json(String),
    #[error("the record has a number of more than {NUMBER_BYTES_MAX} digits")]
    Number,
}

/// Why a value cannot be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unwritable {
    #[error("an output is longer than {0} bytes")]
    Long(usize),
    #[error("an output nests more than {DEPTH_MAX} levels")]
    Deep,
    #[error("an object of an output has a key that is not a string")]
    Key,
}

/// The places of a row's JSON documents, which may follow each other with white space between them or without.
pub(crate) fn documents(row: &[u8]) -> impl Iterator<Item = Result<Range<usize>, Malformed>> {
    let mut stream = serde_json::Deserializer::from_slice(row).into_iter::<IgnoredAny>();
    std::iter::from_fn(move || {
        let before = stream.byte_offset();
        let document = stream.next()?;
        let space = row[before..].iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        Some(match document {
            Ok(_) => Ok(before + space..stream.byte_offset()),
            Err(error) => Err(Malformed::Json(error.to_string())),
        })
    })
}

/// A row's JSON documents, to be handed to a program, each with its size.
pub(crate) fn values(row: &[u8]) -> Result<impl Iterator<Item = Result<(Val, usize), Malformed>>, Malformed> {
    std::str::from_utf8(row).map_err(|_| Malformed::Utf8)?;
    if longest_number(row) > NUMBER_BYTES_MAX {
        return Err(Malformed::Number);
    }
    Ok(documents(row).map(|place| {
        let document = &row[place?];
        let value = jaq_json::read::parse_single(document);
        value.map(|value| (value, document.len())).map_err(|error| Malformed::Json(error.to_string()))
    }))
}

/// The length of the longest run of digits outside of strings.
fn longest_number(row: &[u8]) -> usize {
    let (mut longest, mut run) = (0, 0);
    let mut at = 0;
    while let Some(byte) = row.get(at) {
        run = if byte.is_ascii_digit() { run + 1 } else { 0 };
        longest = longest.max(run);
        at = if *byte == b'"' { string_end(row, at) } else { at + 1 };
    }
    longest
}

/// Where the string ends that begins at `at`: behind its closing quote.
pub(crate) fn string_end(row: &[u8], at: usize) -> usize {
    let mut at = at + 1;
    while let Some(found) = row.get(at..).and_then(|rest| memchr::memchr2(b'"', b'\\', rest)) {
        if row[at + found] == b'"' {
            return at + found + 1;
        }
        at += found + 2;
    }
    row.len()
}

/// Writes a value as compact JSON, of at most `limit` bytes.
pub(crate) fn write(out: &mut Vec<u8>, value: &Val, limit: usize) -> Result<(), Unwritable> {
    let end = out.len().saturating_add(limit);
    Writer { out, end, limit }.value(value, 0)
}

struct Writer<'a> {
    out: &'a mut Vec<u8>,
    end: usize,
    limit: usize,
}

impl Writer<'_> {
    fn value(&mut self, value: &Val, depth: usize) -> Result<(), Unwritable> {
        if self.out.len() > self.end {
            return Err(Unwritable::Long(self.limit));
        }
        if depth > DEPTH_MAX {
            return Err(Unwritable::Deep);
        }
        match value {
            Val::Null => self.out.extend_from_slice(b"null"),
            Val::Bool(truth) => self.out.extend_from_slice(if *truth { b"true" } else { b"false" }),
            Val::Num(number) => self.number(number),
            Val::TStr(text) | Val::BStr(text) => self.text(text),
            Val::Arr(values) => {
                self.out.push(b'[');
                for (number, value) in values.iter().enumerate() {
                    if number > 0 {
                        self.out.push(b',');
                    }
                    self.value(value, depth + 1)?;
                }
                self.out.push(b']');
            }
            Val::Obj(entries) => {
                self.out.push(b'{');
                for (number, (key, value)) in entries.iter().enumerate() {
                    if number > 0 {
                        self.out.push(b',');
                    }
                    let Val::TStr(key) = key else { return Err(Unwritable::Key) };
                    self.text(key);
                    self.out.push(b':');
                    self.value(value, depth + 1)?;
                }
                self.out.push(b'}');
            }
        }
        if self.out.len() > self.end { Err(Unwritable::Long(self.limit)) } else { Ok(()) }
    }

    fn number(&mut self, number: &Num) {
        match number {
            Num::Float(float) => self.out.extend_from_slice(float_text(*float).as_bytes()),
            // Of a number that was only passed through, each digit stays; JSON has no leading `+`, and neither has it.
            exact => self.out.extend_from_slice(exact.to_string().as_bytes()),
        }
    }

    fn text(&mut self, text: &[u8]) {
        let text = String::from_utf8_lossy(text);
        serde_json::to_writer(&mut *self.out, &*text).expect("a string is written into memory");
    }
}

/// A number as jq 1.6 writes it: the shortest digits that mean it, whole numbers without a fraction, exponents of two
/// digits; no number is `null`, and what is too large is the largest.
fn float_text(float: f64) -> String {
    if float.is_nan() {
        return "null".to_owned();
    }
    let float = float.clamp(f64::MIN, f64::MAX);
    let text = format!("{float:e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let count = i32::try_from(digits.bytes().filter(u8::is_ascii_digit).count()).unwrap_or(i32::MAX);
    if (-4..count + 15).contains(&exponent) {
        return float.to_string();
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
}

/// A value as the text of a key: strings as they are, numbers and truths as jq 1.6 writes them; nothing for a value
/// that is neither, or that is null or empty.
pub(crate) fn key_text(value: &Val) -> Option<String> {
    let text = match value {
        Val::TStr(text) => String::from_utf8(text.to_vec()).ok()?,
        Val::Bool(truth) => truth.to_string(),
        Val::Num(Num::Dec(decimal)) => float_text(decimal.parse().ok()?),
        Val::Num(Num::Float(float)) if float.is_nan() => return None,
        Val::Num(Num::Float(float)) => float_text(*float),
        Val::Num(whole) => whole.to_string(),
        Val::Null | Val::BStr(_) | Val::Arr(_) | Val::Obj(_) => return None,
    };
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn places(row: &[u8]) -> Result<Vec<&[u8]>, Malformed> {
        documents(row).map(|place| place.map(|place| &row[place])).collect()
    }

    #[test]
    fn documents_follow_each_other_with_or_without_space() {
        let both: Vec<&[u8]> = vec![br#"{"a":1}"#, br#"{"b":"}{"}"#];
        assert_eq!(places(br#"{"a":1}{"b":"}{"}"#), Ok(both.clone()));
        assert_eq!(places(b"\n {\"a\":1}\r\n\t{\"b\":\"}{\"} \n"), Ok(both));
        assert_eq!(places(b" \n"), Ok(vec![]));
        assert!(places(br#"{"a":1} rubbish"#).is_err());
        assert!(places(br#"{"a":"#).is_err());
    }

    #[test]
    fn what_would_take_stack_or_time_is_refused() {
        let deep = [b'['; 100_000];
        assert!(values(&deep).unwrap().next().unwrap().is_err());
        let long = format!("[{}]", "1".repeat(NUMBER_BYTES_MAX + 1));
        assert!(matches!(values(long.as_bytes()).err(), Some(Malformed::Number)));
        let text = format!("[\"\\\"{}\"]", "1".repeat(NUMBER_BYTES_MAX + 1));
        assert!(values(text.as_bytes()).unwrap().next().unwrap().is_ok());
    }

    #[test]
    fn only_json_is_json() {
        for row in ["NaN", "# no", "{1:2}", "+1", "b\"x\"", "{\"a\":Infinity}", "[1,]"] {
            assert!(values(row.as_bytes()).unwrap().next().unwrap().is_err(), "{row}");
        }
        assert!(matches!(values(b"\"\xff\"").err(), Some(Malformed::Utf8)));
    }

    #[test]
    fn keys_are_written_as_jq_1_6_writes_them() {
        // What jq 1.6 says to `tostring`, but for whole numbers beyond 2^53, which stay exact.
        for (json, text) in [
            ("1.0", "1"),
            ("3.00", "3"),
            ("1.10", "1.1"),
            ("1e1000", "1.7976931348623157e+308"),
            ("1e-7", "1e-07"),
            ("1e17", "1e+17"),
            ("1E2", "100"),
            ("123456789.123456789", "123456789.12345679"),
            ("12345678901234567890", "12345678901234567890"),
            ("true", "true"),
            ("\"x\"", "x"),
        ] {
            let (value, _) = values(json.as_bytes()).unwrap().next().unwrap().unwrap();
            assert_eq!(key_text(&value).as_deref(), Some(text), "{json}");
        }
        for json in ["null", "\"\"", "[]", "{}"] {
            let (value, _) = values(json.as_bytes()).unwrap().next().unwrap().unwrap();
            assert_eq!(key_text(&value), None, "{json}");
        }
    }

    proptest! {
        #[test]
        fn rubbish_is_refused_and_never_more(row in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(values) = values(&row) {
                values.for_each(drop);
            }
            string_end(&row, 0);
        }

        #[test]
        fn what_is_read_is_written_with_each_digit(
            number in "-?(0|[1-9][0-9]{0,30})(\\.[0-9]{1,30})?",
            text in ".*",
        ) {
            prop_assume!(number != "-0");
            let row = format!("[{number},{{{}:[]}}]", serde_json::to_string(&text).unwrap());
            let (value, _) = values(row.as_bytes()).unwrap().next().unwrap().unwrap();
            let mut out = Vec::new();
            write(&mut out, &value, 1 << 20).unwrap();
            prop_assert_eq!(String::from_utf8(out).unwrap(), row);
        }
    }
}
