//! The keys of a stream's objects and of its error output.

use std::fmt::Write;
use std::ops::Range;

use chrono_tz::Tz;
use standpipe_model::{BatchId, StreamName, Timestamp};

use super::derived::Seed;
use super::expr::{Part, PrefixExpr};
use super::partition::Partition;
use super::time::Moment;
use super::validate::{PREFIX_CHARS_MAX, PrefixError, parse_pair, sample};

/// The longest key that S3 takes, in bytes.
const KEY_BYTES_MAX: usize = 1_024;
/// The most bytes of version, time and UUID, with the dashes before them.
const SUFFIX_BYTES_MAX: usize = 21 + 20 + 37;
/// The longest file extension, with its dot.
const EXTENSION_MAX: usize = 128;
/// The time in the suffix, for chrono.
const SUFFIX_TIME: &str = "%Y-%m-%d-%H-%M-%S";

/// Makes the keys of one stream's objects at one destination.
#[derive(Debug, Clone)]
pub struct ObjectKeys {
    pub(super) stream: StreamName,
    pub(super) prefix: PrefixExpr,
    pub(super) error_prefix: PrefixExpr,
    zone: Tz,
    extension: String,
    /// The bytes of an object's key without the values of partition keys, at most.
    pub(super) fixed_bytes: usize,
}

/// A key that no store takes. It depends on the data alone, so that another attempt would not help.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The evaluated prefix is too long.
    #[error("the evaluated prefix has {chars} characters, allowed are {PREFIX_CHARS_MAX}")]
    PrefixTooLong {
        /// Its length in characters.
        chars: usize,
    },
    /// The key is too long.
    #[error("the object key has {bytes} bytes, allowed are {KEY_BYTES_MAX}")]
    KeyTooLong {
        /// Its length in bytes.
        bytes: usize,
    },
}

impl ObjectKeys {
    /// Takes the settings as written. An empty `zone` is UTC; an empty `extension` is none, so a caller passes the
    /// compression's own where the stream sets no other. `partitioned` is whether dynamic partitioning is enabled.
    ///
    /// # Errors
    /// What [`validate`](super::validate) finds, or a zone or an extension that the service would refuse.
    pub fn new(
        stream: StreamName,
        prefix: &str,
        error_output_prefix: &str,
        zone: &str,
        extension: &str,
        partitioned: bool,
    ) -> Result<Self, PrefixError> {
        let (prefix, error_prefix) = parse_pair(prefix, error_output_prefix, partitioned)?;
        let (zone, extension) = (parse_zone(zone)?, parse_extension(extension)?);
        let suffix_bytes = stream.as_str().len() + SUFFIX_BYTES_MAX + extension.len();
        let fixed_bytes = sample(&prefix, &[]).0.len() + suffix_bytes;
        Ok(Self { stream, prefix, error_prefix, zone, extension, fixed_bytes })
    }

    /// The same with `mark` behind each object's name, before its extension: so what is delivered once more can be told
    /// from what was there before.
    #[must_use]
    pub fn marked(self, mark: &str) -> Self {
        let extension = format!("{mark}{}", self.extension);
        Self { extension, fixed_bytes: self.fixed_bytes + mark.len(), ..self }
    }

    /// The key of the `ordinal`-th object of a batch. `arrived_at` is the arrival of the object's oldest record,
    /// `partition` the one that its rows share where the stream [is partitioned](Self::is_partitioned).
    ///
    /// # Errors
    /// [`KeyError`] where the key is too long for any store.
    pub fn object_key(
        &self,
        version: u64,
        batch: BatchId,
        ordinal: u32,
        arrived_at: Timestamp,
        partition: Option<&Partition>,
    ) -> Result<String, KeyError> {
        debug_assert_eq!(partition.is_some(), self.is_partitioned(), "a partition's object has its values");
        let seed = Seed { batch, ordinal, purpose: "" };
        let values = partition.map_or(&[][..], Partition::values);
        self.key(&self.prefix, values, version, seed, arrived_at, &self.extension)
    }

    /// The key of the `ordinal`-th error object of a batch, for one kind of error (`processing-failed`, …). Error
    /// objects have no extension.
    ///
    /// # Errors
    /// [`KeyError`] where the key is too long for any store.
    pub fn error_key(
        &self,
        error_output_type: &str,
        version: u64,
        batch: BatchId,
        ordinal: u32,
        arrived_at: Timestamp,
    ) -> Result<String, KeyError> {
        let seed = Seed { batch, ordinal, purpose: error_output_type };
        self.key(&self.error_prefix, &[], version, seed, arrived_at, "")
    }

    fn key(
        &self,
        prefix: &PrefixExpr,
        values: &[String],
        version: u64,
        seed: Seed<'_>,
        arrived_at: Timestamp,
        extension: &str,
    ) -> Result<String, KeyError> {
        let moment = Moment(arrived_at.to_utc().with_timezone(&self.zone));
        let (mut key, _) = evaluate(prefix, values, &moment, seed, seed.purpose);
        let chars = key.chars().count();
        if chars > PREFIX_CHARS_MAX {
            return Err(KeyError::PrefixTooLong { chars });
        }
        let time = moment.0.format(SUFFIX_TIME);
        append(|out| write!(out, "{}-{version}-{time}-{}{extension}", self.stream, seed.uuid()), &mut key);
        match key.len() {
            bytes if bytes > KEY_BYTES_MAX => Err(KeyError::KeyTooLong { bytes }),
            _ => Ok(key),
        }
    }
}

/// The text of a prefix at a moment. `error_output_type` stands wherever the prefix asks for it, `values` stand in the
/// places of partition keys, in their order; these places come with the text.
pub(super) fn evaluate(
    prefix: &PrefixExpr,
    values: &[String],
    at: &Moment,
    seed: Seed<'_>,
    error_output_type: &str,
) -> (String, Vec<Range<usize>>) {
    let (mut text, mut places) = (String::new(), Vec::new());
    let mut random_strings = 0;
    let mut values = values.iter();
    for part in &prefix.parts {
        match part {
            Part::Literal(literal) => text.push_str(literal),
            Part::Timestamp(pattern) => append(|out| pattern.write(at, out), &mut text),
            Part::RandomString => {
                text.push_str(&seed.random_string(random_strings));
                random_strings += 1;
            }
            Part::ErrorOutputType => text.push_str(error_output_type),
            Part::PartitionKey(..) => {
                let begin = text.len();
                text.push_str(values.next().map_or("", String::as_str));
                places.push(begin..text.len());
            }
        }
    }
    (text, places)
}

/// Writes into a string, which takes everything.
fn append(write: impl FnOnce(&mut String) -> std::fmt::Result, out: &mut String) {
    let written = write(out);
    debug_assert!(written.is_ok(), "a string takes everything");
}

fn parse_zone(zone: &str) -> Result<Tz, PrefixError> {
    if zone.is_empty() {
        return Ok(Tz::UTC);
    }
    let shaped = zone.chars().all(|c| c.is_ascii_alphabetic() || matches!(c, '/' | '_'));
    zone.parse().ok().filter(|_| shaped).ok_or_else(|| PrefixError::TimeZone(zone.to_owned()))
}

fn parse_extension(extension: &str) -> Result<String, PrefixError> {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "!-_.*'()".contains(c);
    let shaped = extension.is_empty()
        || (extension.len() <= EXTENSION_MAX
            && extension.strip_prefix('.').is_some_and(|rest| !rest.is_empty() && rest.chars().all(allowed)));
    shaped.then(|| extension.to_owned()).ok_or_else(|| PrefixError::Extension(extension.to_owned()))
}
