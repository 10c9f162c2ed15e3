//! Firehose's rules for a pair of prefixes, in the order and with the messages of the service.

use std::ops::Range;

use chrono::{TimeZone, Utc};
use chrono_tz::Tz;
use standpipe_model::BatchId;

use super::derived::Seed;
use super::expr::{self, ParseError, PrefixExpr};
use super::keys::evaluate;
use super::time::Moment;

/// The longest evaluated prefix, in characters.
pub(super) const PREFIX_CHARS_MAX: usize = 512;

/// A prefix breaks a rule. The texts are the service's own, its misspelling included: clients match on them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PrefixError {
    /// Expressions in the prefix ask for an error output prefix.
    #[error("{LEAD_IN}ErrorOutputPrefix cannot be null or empty when Prefix contains expressions")]
    ErrorPrefixMissing,
    /// The error output prefix must say which kind of error it holds.
    #[error(
        "{LEAD_IN}ErrorOutputPrefix must contain at least one occurrence of !{{firehose:error-output-type}}"
    )]
    ErrorTypeMissing,
    /// The prefix of good data cannot name a kind of error.
    #[error("{LEAD_IN}Prefix must not contain any occurrence of !{{firehose:error-output-type}}")]
    ErrorTypeInPrefix,
    /// Partition keys are unknown where an error arises.
    #[error("{LEAD_IN}Dynamic Partitioning Namespaces can't be part of an error prefix expression")]
    PartitionKeyInErrorPrefix,
    /// Partition keys need dynamic partitioning.
    #[error(
        "Dynamic Partitioning Namespaces can only be part of a prefix expression when Dynamic Partitioning is enabled."
    )]
    PartitioningDisabled,
    /// Dynamic partitioning needs partition keys.
    #[error("S3 Prefix should contain Dynamic Partitioning namespaces when Dynamic Partitioning is enabled")]
    PartitionKeyMissing,
    /// The evaluated prefix is too long.
    #[error("{LEAD_IN}Length of evaluated {} cannot be greater than 512", if *error_output { "ErrorOutputPrefix" } else { "prefix" })]
    Length {
        /// Whether it is the error output prefix.
        error_output: bool,
    },
    /// An expression has no end or no colon.
    #[error("{LEAD_IN}Invalid expression usage")]
    Usage,
    /// An expression's namespace is unknown.
    #[error("{LEAD_IN}Namespace to the left of colon ({0}) is an invalid keyword!")]
    Namespace(String),
    /// An expression's value is not one its namespace takes.
    #[error("{LEAD_IN}Invalid conversion character used in the value of the expression in {}", if *error_output { "ErrorOutputPrefix" } else { "Prefix" })]
    Value {
        /// Whether it is in the error output prefix.
        error_output: bool,
    },
    /// The custom time zone is not in the time zone database, or not of the form that the service takes.
    #[error("custom time zone '{0}' is not the name of a time zone of letters, '/' and '_'")]
    TimeZone(String),
    /// The file extension is not of the form that the service takes.
    #[error("file extension '{0}' is not a dot and up to 127 characters of a-z, 0-9 and !-_.*'()")]
    Extension(String),
}

/// Precedes the text of a rule, except for those of partitioning by itself; the misspelling is the service's.
const LEAD_IN: &str = "Ths supplied prefix(es) do not satisfy the following constraint: ";

/// Checks a pair of prefixes as the service does when a stream is created, with dynamic partitioning or without.
///
/// # Errors
/// The first rule that is broken, in the service's order.
pub fn validate(prefix: &str, error_output_prefix: &str, partitioned: bool) -> Result<(), PrefixError> {
    parse_pair(prefix, error_output_prefix, partitioned).map(|_| ())
}

/// [`validate`], keeping what it parsed: the prefixes of data and of error output, with their default folders.
pub(super) fn parse_pair(
    prefix: &str,
    error: &str,
    partitioned: bool,
) -> Result<(PrefixExpr, PrefixExpr), PrefixError> {
    check_namespaces(prefix, error, partitioned)?;
    let default_of_error = if error.is_empty() { prefix } else { error };
    let prefix = PrefixExpr::parse_parts(prefix).map(PrefixExpr::with_folders);
    let error = PrefixExpr::parse_parts(default_of_error).map(PrefixExpr::with_error_folders);
    // A prefix that does not parse has no evaluated length, so the rule about lengths looks at those that do.
    for (parsed, error_output) in [(&prefix, false), (&error, true)] {
        if parsed.as_ref().is_ok_and(|parsed| sample_chars(parsed) > PREFIX_CHARS_MAX) {
            return Err(PrefixError::Length { error_output });
        }
    }
    let rename = |error_output| move |error| PrefixError::from_parse(error, error_output);
    Ok((prefix.map_err(rename(false))?, error.map_err(rename(true))?))
}

/// The rules about which namespace may stand where, which come before every other.
fn check_namespaces(prefix: &str, error: &str, partitioned: bool) -> Result<(), PrefixError> {
    let expressions = expr::has_expressions(prefix);
    if expressions && error.is_empty() {
        Err(PrefixError::ErrorPrefixMissing)
    } else if (expressions || expr::has_expressions(error)) && !expr::has_error_output_type(error) {
        Err(PrefixError::ErrorTypeMissing)
    } else if expr::has_error_output_type(prefix) {
        Err(PrefixError::ErrorTypeInPrefix)
    } else if expr::has_partition_keys(error) {
        Err(PrefixError::PartitionKeyInErrorPrefix)
    } else {
        match (partitioned, expr::has_partition_keys(prefix)) {
            (false, true) => Err(PrefixError::PartitioningDisabled),
            (true, false) => Err(PrefixError::PartitionKeyMissing),
            _ => Ok(()),
        }
    }
}

/// The length of the prefix, without the values of partition keys, which nothing is known of.
fn sample_chars(prefix: &PrefixExpr) -> usize {
    sample(prefix, &[]).0.chars().count()
}

/// The prefix at a moment whose names are long ones: a Wednesday in September, in the afternoon; and the places of values.
pub(super) fn sample(prefix: &PrefixExpr, values: &[String]) -> (String, Vec<Range<usize>>) {
    let moment = Moment(Utc.timestamp_nanos(1_789_563_599_999_000_000).with_timezone(&Tz::UTC));
    let seed = Seed { batch: BatchId([0; 16]), ordinal: 0, purpose: "" };
    evaluate(prefix, values, &moment, seed, "AmazonOpenSearchService-failed")
}

impl PrefixError {
    fn from_parse(error: ParseError, error_output: bool) -> Self {
        match error {
            ParseError::Usage => Self::Usage,
            ParseError::Namespace(namespace) => Self::Namespace(namespace),
            ParseError::Value => Self::Value { error_output },
        }
    }
}

impl PrefixExpr {
    /// Parses a prefix of good data by itself. The rules between a prefix and its error output prefix are
    /// [`validate`]'s.
    ///
    /// # Errors
    /// Why the prefix does not parse.
    pub fn parse(prefix: &str) -> Result<Self, PrefixError> {
        Self::parse_parts(prefix).map_err(|error| PrefixError::from_parse(error, false))
    }
}
