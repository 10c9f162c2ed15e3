//! Names, ids and positions: the newtypes that cross crate boundaries.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A delivery stream's name: 1 to 64 characters of `[a-zA-Z0-9_.-]` (the Firehose API's rule).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct StreamName(Arc<str>);

/// A name broke its rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The length is outside the limits.
    #[error("{what} has {len} characters, allowed are 1 to {max}")]
    Length {
        /// What kind of name it is.
        what: &'static str,
        /// The length found, in characters.
        len: usize,
        /// The longest allowed, in characters.
        max: usize,
    },
    /// A character is not allowed.
    #[error("{what} '{value}' holds '{found}', allowed are letters, digits and {also}")]
    Character {
        /// What kind of name it is.
        what: &'static str,
        /// The whole name as given.
        value: String,
        /// The first offending character.
        found: char,
        /// The punctuation that is allowed.
        also: &'static str,
    },
}

/// The ARN of the stream of that name, which need not be one that a stream can have here.
pub fn stream_arn(region: &str, account_id: &str, name: &str) -> String {
    format!("arn:aws:firehose:{region}:{account_id}:deliverystream/{name}")
}

impl StreamName {
    /// The longest name, in characters.
    pub const MAX_LEN: usize = 64;

    /// Checks and takes a name.
    ///
    /// # Errors
    /// [`NameError`] names the length or the first character that breaks the rule. `.` and `..` are allowed by the
    /// API but not here, where a stream is also a folder.
    pub fn parse(name: &str) -> Result<Self, NameError> {
        let what = "stream name";
        let len = name.chars().count();
        if len == 0 || len > Self::MAX_LEN {
            return Err(NameError::Length { what, len, max: Self::MAX_LEN });
        }
        let bad = name.chars().find(|c| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-')));
        let bad = bad.or_else(|| name.chars().all(|c| c == '.').then_some('.'));
        match bad {
            Some(found) => {
                Err(NameError::Character { what, value: name.to_owned(), found, also: "'_', '.', '-'" })
            }
            None => Ok(Self(name.into())),
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for StreamName {
    type Error = NameError;

    fn try_from(name: String) -> Result<Self, NameError> {
        Self::parse(&name)
    }
}

impl From<StreamName> for String {
    fn from(name: StreamName) -> Self {
        name.0.as_ref().to_owned()
    }
}

impl fmt::Display for StreamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for StreamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// A destination of a stream, stable for the stream's life: 1 to 100 characters of `[a-zA-Z0-9-]`, as the API's
/// `DestinationId` (never an index into a list).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DestinationId(Arc<str>);

impl DestinationId {
    /// Checks an id against the API's rule.
    ///
    /// # Errors
    /// [`NameError`].
    pub fn parse(id: &str) -> Result<Self, NameError> {
        let what = "destination id";
        if id.is_empty() || id.len() > 100 {
            return Err(NameError::Length { what, len: id.chars().count(), max: 100 });
        }
        match id.chars().find(|c| !(c.is_ascii_alphanumeric() || *c == '-')) {
            Some(found) => Err(NameError::Character { what, value: id.to_owned(), found, also: "'-'" }),
            None => Ok(Self(id.into())),
        }
    }

    /// The one destination of a stream made through the API.
    pub fn primary() -> Self {
        Self("destinationId-000000000001".into())
    }

    /// Whether it is that one.
    pub fn is_primary(&self) -> bool {
        *self == Self::primary()
    }

    /// The backup of all source records (`S3BackupMode: Enabled`).
    pub fn backup() -> Self {
        Self("backup-000000000001".into())
    }

    /// That of a replay, which is a destination for a while.
    pub fn replay(number: u32) -> Self {
        Self(format!("replay-{number:08x}").into())
    }

    /// What stands for all replays where one more or less must not matter.
    pub fn any_replay() -> Self {
        Self("replay".into())
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DestinationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A record's place in its stream: dense, increasing, starting at 0, never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u64")]
pub struct Position(pub u64);

impl From<Position> for u64 {
    fn from(position: Position) -> u64 {
        position.0
    }
}

impl TryFrom<u64> for Position {
    type Error = &'static str;

    fn try_from(position: u64) -> Result<Self, Self::Error> {
        if position < Self::END.0 { Ok(Self(position)) } else { Err("no stream comes to that position") }
    }
}

impl Position {
    /// No stream comes to so many records: what is read and lies beyond is nonsense, and sums of what lies before fit.
    pub const END: Self = Self(1 << 62);

    /// The position `count` records further on.
    pub fn advance(self, count: u64) -> Self {
        Self(self.0.saturating_add(count))
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What makes two puts the same put: a 128-bit hash of credential, SDK invocation id, stream and body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PutDigest(pub [u8; 16]);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stream_names_follow_the_rule_of_the_api() {
        for good in ["a", "clicks", "A-b_c.9", &"x".repeat(64)] {
            assert_eq!(StreamName::parse(good).map(String::from), Ok(good.to_owned()));
        }
        for bad in ["", &"x".repeat(65), "a b", "a/b", "é", ".", ".."] {
            assert!(StreamName::parse(bad).is_err(), "{bad:?}");
        }
    }
}
