//! A batch: a closed range of a stream's positions, with the identity that everything delivered from it derives from.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Entropy, Position};

/// The random 128-bit id that a batch draws once, when it closes. Object keys, document ids and request ids derive
/// from it, so that a repeated attempt names the same thing.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BatchId(pub [u8; 16]);

impl BatchId {
    /// Draws a new id.
    pub fn draw(entropy: &dyn Entropy) -> Self {
        let mut id = [0; 16];
        entropy.fill(&mut id);
        Self(id)
    }

    /// Reads the form that `Display` prints.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() != 32 || !text.is_ascii() {
            return None;
        }
        let mut id = [0; 16];
        for (byte, pair) in id.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            let digit = |c: u8| char::from(c).to_digit(16);
            *byte = (digit(pair[0])? * 16 + digit(pair[1])?) as u8;
        }
        Some(Self(id))
    }
}

impl fmt::Display for BatchId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for BatchId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for BatchId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for BatchId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom("a batch id is 32 hexadecimal digits"))
    }
}

/// The positions of a batch, both ends included; never empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "Ends")]
pub struct BatchRange {
    /// The first record's position.
    pub first: Position,
    /// The last record's position.
    pub last: Position,
}

/// The ends of a range as they are read.
#[derive(Deserialize)]
struct Ends {
    first: Position,
    last: Position,
}

impl TryFrom<Ends> for BatchRange {
    type Error = &'static str;

    fn try_from(Ends { first, last }: Ends) -> Result<Self, Self::Error> {
        if first <= last {
            Ok(Self { first, last })
        } else {
            Err("the range of a batch ends before it begins")
        }
    }
}

impl BatchRange {
    /// The number of positions in the range.
    pub fn count(&self) -> u64 {
        self.last.0 - self.first.0 + 1
    }

    /// The first position behind the range.
    pub fn end(&self) -> Position {
        self.last.advance(1)
    }
}

/// Why a batch was closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CloseReason {
    /// Its raw bytes reached the size hint.
    Size,
    /// Its oldest record reached the interval.
    Age,
    /// The journal reached its high-water mark.
    Pressure,
    /// An operator asked for a drain.
    Drain,
}

impl CloseReason {
    /// The word used in metrics, logs and object metadata.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Size => "size",
            Self::Age => "age",
            Self::Pressure => "pressure",
            Self::Drain => "drain",
        }
    }
}

/// Where the records of a batch ended, at one destination. The terms add up to the batch's record count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Tally {
    /// Records that reached the destination.
    pub delivered: u64,
    /// Records that a processor dropped, or an operator discarded.
    pub dropped: u64,
    /// Records written to the error output.
    pub backed_up: u64,
    /// Records that the journal could not read back; reported and alarmed, never hidden.
    pub lost: u64,
}

impl Tally {
    /// The sum of all terms.
    pub fn total(&self) -> u64 {
        self.delivered + self.dropped + self.backed_up + self.lost
    }

    /// The same with so many of its delivered records in the error output instead.
    #[must_use]
    pub fn back_up(mut self, records: u64) -> Self {
        // What cannot be read any more counts as lost already.
        let records = records.min(self.delivered);
        self.delivered -= records;
        self.backed_up += records;
        self
    }
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.delivered += other.delivered;
        self.dropped += other.dropped;
        self.backed_up += other.backed_up;
        self.lost += other.lost;
    }
}

/// How an object's bytes are compressed. The serde names are those of the Firehose API's `CompressionFormat`, with
/// ours added.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub enum Compression {
    /// As they are.
    #[default]
    #[serde(rename = "UNCOMPRESSED")]
    Uncompressed,
    /// One gzip member.
    #[serde(rename = "GZIP")]
    Gzip,
    /// A ZIP archive with one deflated entry.
    #[serde(rename = "ZIP")]
    Zip,
    /// The xerial snappy-java stream.
    #[serde(rename = "Snappy")]
    Snappy,
    /// Hadoop's block-compressed snappy.
    #[serde(rename = "HADOOP_SNAPPY")]
    HadoopSnappy,
    /// Zstandard frames (not in the Firehose API).
    #[serde(rename = "ZSTD")]
    Zstd,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_id_reads_back_as_printed() {
        let id = BatchId(*b"0123456789abcdef");
        assert_eq!(BatchId::parse(&id.to_string()), Some(id));
        assert_eq!(BatchId::parse("zz"), None);
        assert_eq!(BatchId::parse(&"g".repeat(32)), None);
    }
}
