//! `redact`: values at paths, and what matches patterns, are replaced or hashed.
//!
//! All else of a record stays as it was written, to the byte. It fails closed: a record in which the paths cannot be
//! looked for is not delivered.
//!
//! # Limits
//! A replacement has at most [`REPLACEMENT_BYTES_MAX`], and no pattern matches nothing: what comes out is at most as
//! many times as long.

mod paths;

use std::borrow::Cow;
use std::ops::Range;

use bytes::Bytes;
use hmac::{Hmac, Mac};
use regex::bytes::Regex;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use standpipe_model::Secret;

use self::paths::Paths;
use super::{OptionError, json};
use crate::chain::Processor;
use crate::row::{Failure, FailureKind, Output, Record, Row, Source};

/// The longest replacement.
const REPLACEMENT_BYTES_MAX: usize = 100;

/// What takes the place of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// The replacement.
    #[default]
    Replace,
    /// The value's SHA-256 in hexadecimal digits; with a key, its HMAC.
    Hash,
}

/// The options of `redact`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RedactOptions {
    /// Where values are: `.user.email`, `.cards[].number`, `..password` (anywhere), `.["a key"]`.
    pub paths: Vec<String>,
    /// Regular expressions of what is looked for in the text of records.
    pub patterns: Vec<String>,
    /// What takes the place of a value.
    pub method: Method,
    /// The replacement.
    pub replacement: String,
    /// The key of hashes. Without one, who knows what a value may be finds out by trying.
    pub key: Option<Secret>,
}

impl Default for RedactOptions {
    fn default() -> Self {
        Self {
            paths: Vec::new(),
            patterns: Vec::new(),
            method: Method::Replace,
            replacement: "***".to_owned(),
            key: None,
        }
    }
}

/// Replaces or hashes parts of records.
#[derive(Debug)]
pub struct Redact {
    paths: Paths,
    patterns: Vec<Regex>,
    by: By,
}

#[derive(Debug)]
enum By {
    Replacement(String),
    Hash(Option<Secret>),
}

/// A part of a row, and what takes its place.
type Edit = (Range<usize>, Vec<u8>);

impl Redact {
    /// Takes the options.
    ///
    /// # Errors
    /// There are neither paths nor patterns, one of them cannot be read or matches nothing at all, or the replacement
    /// is too long.
    pub fn new(options: &RedactOptions) -> Result<Self, OptionError> {
        let wrong = |field, value: &str, reason: String| OptionError::new("redact", field, value, reason);
        if options.paths.is_empty() && options.patterns.is_empty() {
            return Err(wrong("paths", "[]", "must have a path, or `patterns` a pattern".to_owned()));
        }
        if options.replacement.len() > REPLACEMENT_BYTES_MAX {
            let reason = format!("must have at most {REPLACEMENT_BYTES_MAX} bytes");
            return Err(wrong("replacement", &options.replacement, reason));
        }
        if options.key.is_some() && options.method != Method::Hash {
            return Err(wrong("key", "***", "is for `method: hash` only".to_owned()));
        }
        let paths =
            Paths::new(&options.paths).map_err(|(path, reason)| wrong("paths", path, reason.to_owned()))?;
        let pattern = |text: &String| {
            let pattern = Regex::new(text).map_err(|error| wrong("patterns", text, last_line(&error)))?;
            if pattern.is_match(b"") {
                return Err(wrong("patterns", text, "matches nothing at all, and so everywhere".to_owned()));
            }
            Ok(pattern)
        };
        let patterns = options.patterns.iter().map(pattern).collect::<Result<_, _>>()?;
        let by = match options.method {
            Method::Replace => By::Replacement(options.replacement.clone()),
            Method::Hash => By::Hash(options.key.clone()),
        };
        Ok(Self { paths, patterns, by })
    }

    /// A row without what has to go; nothing if it stays as it is.
    fn redacted(&self, row: &Bytes) -> Result<Option<Vec<u8>>, String> {
        let mut edits: Vec<Edit> = Vec::new();
        if !self.paths.is_empty() {
            std::str::from_utf8(row).map_err(|error| error.to_string())?;
            let places = self.paths.places(row).map_err(|error| error.to_string())?;
            edits.extend(places.into_iter().map(|place| {
                let value = self.instead(&plain(&row[place.clone()]));
                (place, quoted(&value))
            }));
        }
        if !self.patterns.is_empty() {
            let is_json = !self.paths.is_empty() || json::documents(row).all(|document| document.is_ok());
            if is_json {
                self.edit_tokens(row, &mut edits);
            } else {
                return Ok(self.without_matches(row));
            }
        }
        Ok((!edits.is_empty()).then(|| edited(row, edits)))
    }

    /// Looks for the patterns in the strings and numbers of JSON, as what they mean rather than as they are written.
    fn edit_tokens(&self, row: &[u8], edits: &mut Vec<Edit>) {
        let mut at = 0;
        while let Some(begin) = row[at..].iter().position(|byte| matches!(byte, b'"' | b'-' | b'0'..=b'9')) {
            let begin = at + begin;
            let is_number = |byte: &u8| matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E' | b'0'..=b'9');
            at = match row[begin] {
                b'"' => json::string_end(row, begin),
                _ => begin + row[begin..].iter().take_while(|byte| is_number(byte)).count(),
            };
            if let Some(without) = self.without_matches(&plain(&row[begin..at])) {
                edits.push((begin..at, quoted(&without)));
            }
        }
    }

    /// A text without what matches; nothing if none does.
    fn without_matches(&self, text: &[u8]) -> Option<Vec<u8>> {
        let mut without: Option<Vec<u8>> = None;
        for pattern in &self.patterns {
            let text = without.as_deref().unwrap_or(text);
            let instead = |found: &regex::bytes::Captures<'_>| self.instead(&found[0]);
            if let Cow::Owned(changed) = pattern.replace_all(text, instead) {
                without = Some(changed);
            }
        }
        without
    }

    /// What takes the place of a value.
    fn instead(&self, value: &[u8]) -> Vec<u8> {
        match &self.by {
            By::Replacement(replacement) => replacement.clone().into_bytes(),
            By::Hash(None) => hex::encode(Sha256::digest(value)).into_bytes(),
            By::Hash(Some(key)) => {
                let mac = Hmac::<Sha256>::new_from_slice(key.expose().as_bytes());
                let mac = mac.expect("a key of HMAC may have any length").chain_update(value);
                hex::encode(mac.finalize().into_bytes()).into_bytes()
            }
        }
    }
}

impl Processor for Redact {
    fn process(&self, _: &Source, _: &[Record], rows: Vec<Row>, out: &mut Output) {
        for row in rows {
            match self.redacted(&row.data) {
                Ok(None) => out.keep(row),
                Ok(Some(data)) => out.keep(row.with_data(data)),
                Err(message) => {
                    let message =
                        format!("The record is not JSON, in which paths could be looked for: {message}.");
                    out.fail(
                        row.origin,
                        Failure::once(FailureKind::Processing, "Redact.MalformedRecord", message),
                    );
                }
            }
        }
    }
}

/// What a value of JSON means: a string's characters, anything else as it is written.
fn plain(value: &[u8]) -> Cow<'_, [u8]> {
    match value {
        [b'"', text @ .., b'"'] if !text.contains(&b'\\') => Cow::Borrowed(text),
        [b'"', ..] => match serde_json::from_slice::<String>(value) {
            Ok(text) => Cow::Owned(text.into_bytes()),
            Err(_) => Cow::Borrowed(value),
        },
        other => Cow::Borrowed(other),
    }
}

fn quoted(text: &[u8]) -> Vec<u8> {
    serde_json::to_vec(&String::from_utf8_lossy(text)).expect("a string is written into memory")
}

/// A row with other parts. Of edits that overlap the outer one counts.
fn edited(row: &[u8], mut edits: Vec<Edit>) -> Vec<u8> {
    edits.sort_by_key(|(place, _)| (place.start, std::cmp::Reverse(place.end)));
    let mut out = Vec::with_capacity(row.len());
    let mut at = 0;
    for (place, instead) in edits {
        if place.start >= at {
            out.extend_from_slice(&row[at..place.start]);
            out.extend_from_slice(&instead);
            at = place.end;
        }
    }
    out.extend_from_slice(&row[at..]);
    out
}

/// The last line of a message that shows the expression too.
fn last_line(error: &regex::Error) -> String {
    let text = error.to_string();
    text.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned()
}

#[cfg(test)]
mod tests;
