//! Finding the error output again: where it may lie, and which keys are of it.
//!
//! Every prefix of error output says which part it is of ([`validate`](super::validate)). What its timestamps and random
//! strings may have come to is not looked into.

use standpipe_model::StreamName;

use super::expr::Part;
use super::keys::ObjectKeys;

/// Behind the version: a time of 19 characters and a UUID of 36, each with a dash before it.
const TIME_AND_UUID: usize = 20 + 37;

impl ObjectKeys {
    /// What the keys of these parts of the error output begin with, in order; none begins with another.
    pub fn error_prefixes(&self, types: &[&str]) -> Vec<String> {
        let mut prefixes: Vec<String> = types.iter().map(|kind| self.known_of(kind)).collect();
        prefixes.sort_unstable();
        prefixes.dedup_by(|longer, kept| longer.starts_with(kept.as_str()));
        prefixes
    }

    /// The prefix up to where more than the type is needed to know it.
    fn known_of(&self, error_output_type: &str) -> String {
        let known = self.error_prefix.parts.iter().map_while(|part| match part {
            Part::Literal(text) => Some(text.as_str()),
            Part::ErrorOutputType => Some(error_output_type),
            Part::Timestamp(_) | Part::RandomString | Part::PartitionKey(..) => None,
        });
        known.collect()
    }

    /// The part of the error output that a key is of, if it is of one of these.
    pub fn error_output_type_of<'a>(&self, key: &str, types: &[&'a str]) -> Option<&'a str> {
        let prefix = prefix_of(key, &self.stream)?;
        types.iter().copied().find(|kind| matches(&self.error_prefix.parts, prefix, kind))
    }
}

/// What stands before the file name in a key of the stream's error output.
fn prefix_of<'a>(key: &'a str, stream: &StreamName) -> Option<&'a str> {
    let (before, behind) = key.split_at_checked(key.len().checked_sub(TIME_AND_UUID)?)?;
    let shaped = |(at, byte): (usize, u8)| match at {
        0 | 5 | 8 | 11 | 14 | 17 | 20 | 29 | 34 | 39 | 44 => byte == b'-',
        1..20 => byte.is_ascii_digit(),
        _ => byte.is_ascii_hexdigit(),
    };
    let (named, version) = before.rsplit_once('-').filter(|_| behind.bytes().enumerate().all(shaped))?;
    named.strip_suffix(stream.as_str()).filter(|_| version.parse::<u64>().is_ok())
}

/// Whether a text can be what the parts come to.
fn matches(parts: &[Part], text: &str, error_output_type: &str) -> bool {
    let Some((first, rest)) = parts.split_first() else { return text.is_empty() };
    let behind =
        |start: &str| text.strip_prefix(start).is_some_and(|text| matches(rest, text, error_output_type));
    match first {
        Part::Literal(literal) => behind(literal),
        Part::ErrorOutputType => behind(error_output_type),
        Part::Timestamp(_) | Part::RandomString | Part::PartitionKey(..) => {
            let ends = text.char_indices().map(|(at, _)| at).chain([text.len()]);
            ends.into_iter().any(|end| matches(rest, &text[end..], error_output_type))
        }
    }
}

#[cfg(test)]
mod tests {
    use standpipe_model::{BatchId, Timestamp};

    use super::*;

    const TYPES: [&str; 3] = ["processing-failed", "http-endpoint-failed", "decompression-failed"];

    fn keys(stream: &str, prefix: &str, error: &str) -> ObjectKeys {
        let stream = StreamName::parse(stream).expect("a name");
        ObjectKeys::new(stream, prefix, error, "", "", false).expect("good prefixes")
    }

    #[test]
    fn a_key_of_the_error_output_is_known_again_with_its_part() {
        for (prefix, error) in [
            ("", ""),
            ("data/", ""),
            ("data/", "errors/!{firehose:error-output-type}/"),
            ("data/", "e/!{timestamp:yyyy/MM}/!{firehose:error-output-type}-!{firehose:random-string}/x"),
            ("", "!{firehose:error-output-type}!{timestamp:'processing-failed'}"),
        ] {
            let keys = keys("clicks", prefix, error);
            for kind in TYPES {
                let key = keys
                    .error_key(kind, 12, BatchId([7; 16]), 3, Timestamp(1_767_226_200_123))
                    .expect("short");
                assert_eq!(keys.error_output_type_of(&key, &TYPES), Some(kind), "{key}");
                assert_eq!(keys.error_output_type_of(&key, &["splunk-failed"]), None, "{key}");
                assert!(keys.error_prefixes(&TYPES).iter().any(|prefix| key.starts_with(prefix)), "{key}");
            }
        }
    }

    #[test]
    fn keys_of_others_are_left_alone() {
        let keys = keys("clicks", "", "errors/!{firehose:error-output-type}/");
        let suffix = "-1-2026-01-01-00-10-00-0a0b0c0d-0000-4000-8000-000000000000";
        assert!(
            keys.error_output_type_of(&format!("errors/processing-failed/clicks{suffix}"), &TYPES).is_some()
        );
        for key in [
            format!("errors/processing-failed/more-clicks{suffix}"),
            format!("errors/processing-failed/views{suffix}"),
            format!("errors/processing-failed/2026/clicks{suffix}"),
            format!("errors/other-failed/clicks{suffix}"),
            format!("clicks{suffix}"),
            format!("errors/processing-failed/clicks{suffix}.gz"),
            format!("errors/processing-failed/clicks{}", suffix.replace("-1-", "-x-")),
            format!("errors/processing-failed/clicks{}", suffix.replace("00-10", "00:10")),
            "errors/processing-failed/notes".to_owned(),
            "é".repeat(40),
            String::new(),
        ] {
            assert_eq!(keys.error_output_type_of(&key, &TYPES), None, "{key}");
        }
    }

    #[test]
    fn no_more_is_listed_than_has_to_be() {
        let of = |prefix, error| keys("s", prefix, error).error_prefixes(&TYPES);
        let folders = ["decompression-failed/", "http-endpoint-failed/", "processing-failed/"];
        assert_eq!(of("", ""), folders);
        assert_eq!(of("data/", ""), folders.map(|folder| format!("data/{folder}")));
        assert_eq!(of("", "e/!{timestamp:yyyy}/!{firehose:error-output-type}/"), ["e/"]);
    }
}
