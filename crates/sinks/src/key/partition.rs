//! Dynamic partitioning: which rows share objects, by the partition keys that the prefix asks for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::expr::PartitionSource;
use super::keys::ObjectKeys;
use super::validate::sample;
use crate::file::{PathError, SEGMENT_BYTES_MAX, check_key};

/// The characters of a value that an error shows.
const SHOWN: usize = 60;

/// What the rows of a partition have in common: the values of their partition keys, in the order in which the prefix
/// asks for them; none where it asks for none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Partition(Arc<[String]>);

/// The names of the partition keys that a prefix asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionKeys<'a> {
    /// Those of the metadata extraction (`partitionKeyFromQuery`).
    pub query: BTreeSet<&'a str>,
    /// Those of the transformation function (`partitionKeyFromLambda`).
    pub function: BTreeSet<&'a str>,
}

/// A row's partition keys do not make a prefix. It depends on the row alone, so that another attempt would not help.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PartitionError {
    /// A key that the prefix asks for is not there, or empty. The text is the service's.
    #[error("partitionKeys values must not be null or empty")]
    NullOrEmpty,
    /// A value has characters that no key of an object should have.
    #[error("the partition key {key} is '{value}', which has control characters")]
    Control {
        /// The key.
        key: String,
        /// Its value, shortened.
        value: String,
    },
    /// A value makes a segment of the key that leads elsewhere, or that few stores can hold.
    #[error("the partition key {key} is '{value}': {reason}")]
    Segment {
        /// The key.
        key: String,
        /// Its value, shortened.
        value: String,
        /// What is wrong with the segment.
        reason: PathError,
    },
}

impl Partition {
    pub(super) fn values(&self) -> &[String] {
        &self.0
    }
}

impl PartitionError {
    /// The code in the error output.
    pub fn code(&self) -> &'static str {
        "DynamicPartitioning.MetadataExtractionFailed"
    }
}

impl ObjectKeys {
    /// Whether rows have partitions: the prefix asks for partition keys.
    pub fn is_partitioned(&self) -> bool {
        self.prefix.partition_keys().next().is_some()
    }

    /// The partition keys that the prefix asks for.
    pub fn partition_keys(&self) -> PartitionKeys<'_> {
        let of = |wanted| {
            let keys = self.prefix.partition_keys();
            keys.filter_map(move |(source, key)| (source == wanted).then_some(key)).collect()
        };
        PartitionKeys { query: of(PartitionSource::Query), function: of(PartitionSource::Function) }
    }

    /// The partition of a row, by the keys that the metadata extraction and the function gave it.
    ///
    /// # Errors
    /// [`PartitionError`] where a key is missing or its value makes no path; the row then goes to the error output.
    pub fn partition(
        &self,
        query_keys: &BTreeMap<String, String>,
        function_keys: &BTreeMap<String, String>,
    ) -> Result<Partition, PartitionError> {
        let value_of = |(source, key): (PartitionSource, &str)| {
            let keys = match source {
                PartitionSource::Query => query_keys,
                PartitionSource::Function => function_keys,
            };
            let value = keys.get(key).filter(|value| !value.is_empty()).ok_or(PartitionError::NullOrEmpty)?;
            match value.contains(char::is_control) {
                true => Err(PartitionError::Control { key: key.to_owned(), value: shown(value) }),
                false => Ok(value.clone()),
            }
        };
        let values = self.prefix.partition_keys().map(value_of).collect::<Result<Vec<_>, _>>()?;
        self.check_segments(&values)?;
        Ok(Partition(values.into()))
    }

    /// Refuses values that make segments which a file store, or what keeps objects in files, cannot hold. Whether they
    /// do depends on what stands around them: `day=..` does not. What the prefix itself says is its owner's affair.
    fn check_segments(&self, values: &[String]) -> Result<(), PartitionError> {
        let plain = |value: &String| !value.contains('/') && !value.starts_with('.');
        let bytes = self.fixed_bytes + values.iter().map(String::len).sum::<usize>();
        if bytes <= SEGMENT_BYTES_MAX && values.iter().all(plain) {
            return Ok(());
        }
        let (mut key, places) = sample(&self.prefix, values);
        // What stands behind the last slash is followed by the suffix.
        key.extend(std::iter::repeat_n('x', self.fixed_bytes - sample(&self.prefix, &[]).0.len()));
        let mut begin = 0;
        for segment in key.split('/') {
            let end = begin + segment.len();
            let value = places.iter().position(|place| place.start <= end && begin <= place.end);
            if let (Some(at), Err(reason)) = (value, check_key(segment)) {
                let key = self.prefix.partition_keys().nth(at).map_or("", |(_, key)| key).to_owned();
                return Err(PartitionError::Segment { key, value: shown(&values[at]), reason });
            }
            begin = end + 1;
        }
        Ok(())
    }
}

fn shown(value: &str) -> String {
    let mut shown: String = value.chars().take(SHOWN).flat_map(char::escape_debug).collect();
    if value.chars().nth(SHOWN).is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use standpipe_model::{BatchId, StreamName, Timestamp};

    use super::super::PrefixError;
    use super::*;

    const ERROR: &str = "e/!{firehose:error-output-type}/";

    fn keys(prefix: &str) -> Result<ObjectKeys, PrefixError> {
        let stream = StreamName::parse("fh").expect("a good name");
        ObjectKeys::new(stream, prefix, ERROR, "", "", true)
    }

    fn map<const N: usize>(entries: [(&str, &str); N]) -> BTreeMap<String, String> {
        entries.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
    }

    /// The key's folders for values of the query's keys, or why there are none.
    fn folders<const N: usize>(prefix: &str, query: [(&str, &str); N]) -> Result<String, String> {
        let keys = keys(prefix).expect(prefix);
        let partition = keys.partition(&map(query), &map([("k", "function")]));
        let partition = partition.map_err(|error| error.to_string())?;
        let arrived_at = Timestamp(1_783_951_533_007);
        let key = keys.object_key(1, BatchId([7; 16]), 3, arrived_at, Some(&partition));
        let key = key.map_err(|error| error.to_string())?;
        key.split_once("fh-1-2026-07-13-14-05-33-")
            .map(|(folders, _)| folders.to_owned())
            .ok_or(format!("{key} has the suffix"))
    }

    #[test]
    fn values_stand_where_the_prefix_asks_for_them() {
        let q = "!{partitionKeyFromQuery:k}";
        let l = "!{partitionKeyFromLambda:k}";
        for (prefix, expected) in [
            (format!("k={q}/"), "k=query/"),
            (format!("{l}/{q}/{l}/"), "function/query/function/"),
            (format!("{q}/!{{timestamp:yyyy/MM}}/x"), "query/2026/07/x"),
            (q.to_owned(), "query"),
        ] {
            assert_eq!(folders(&prefix, [("k", "query")]).as_deref(), Ok(expected), "{prefix}");
        }
        assert_eq!(folders(&format!("{q}/"), [("k", "a/b=c d é")]).as_deref(), Ok("a/b=c d é/"));
    }

    #[test]
    fn partitioning_and_namespaces_come_together() {
        let stream = || StreamName::parse("fh").expect("a good name");
        for prefix in ["", "data/", "!{timestamp:yyyy}/"] {
            let rule = "S3 Prefix should contain Dynamic Partitioning namespaces when Dynamic Partitioning is enabled";
            assert_eq!(keys(prefix).map(drop).map_err(|e| e.to_string()), Err(rule.to_owned()));
            let plain = ObjectKeys::new(stream(), prefix, ERROR, "", "", false).expect(prefix);
            assert!(!plain.is_partitioned());
            assert_eq!(plain.partition(&map([]), &map([])), Ok(Partition(Arc::default())));
        }
        let prefix = "!{partitionKeyFromQuery:b}/!{partitionKeyFromLambda:l}/!{partitionKeyFromQuery:a}/!{partitionKeyFromQuery:b}";
        let made = keys(prefix).expect("good prefixes");
        assert!(made.is_partitioned());
        let (query, function) = (BTreeSet::from(["a", "b"]), BTreeSet::from(["l"]));
        assert_eq!(made.partition_keys(), PartitionKeys { query, function });
        let missing = ObjectKeys::new(stream(), prefix, "", "", "", true).map(drop);
        assert_eq!(missing, Err(PrefixError::ErrorPrefixMissing));
        let in_error = ObjectKeys::new(stream(), prefix, &format!("{ERROR}{prefix}"), "", "", true).map(drop);
        assert_eq!(in_error, Err(PrefixError::PartitionKeyInErrorPrefix));
        assert_eq!(
            keys("!{partitionKeyFromQuery:}").map(drop),
            Err(PrefixError::Value { error_output: false })
        );
    }

    #[test]
    fn a_row_without_its_keys_has_no_partition() {
        let prefix = "!{partitionKeyFromQuery:a}/!{partitionKeyFromQuery:b}/";
        for query in [vec![], vec![("a", "1")], vec![("a", "1"), ("b", "")], vec![("a", ""), ("b", "2")]] {
            let query = query.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
            let error = keys(prefix).expect("a good prefix").partition(&query, &map([("b", "2")]));
            let error = error.expect_err("a key is missing");
            assert_eq!(error.code(), "DynamicPartitioning.MetadataExtractionFailed");
            assert_eq!(error.to_string(), "partitionKeys values must not be null or empty");
        }
    }

    #[test]
    fn a_value_that_leads_elsewhere_or_fits_no_folder_makes_no_partition() {
        let of = |value: &str, why: &str| Err(format!("the partition key k is '{value}': {why}"));
        let reserved =
            |value: &str, segment: &str| of(value, &format!("the key has the reserved segment '{segment}'"));
        let empty = |value: &str| of(value, "the key has an empty segment");
        for (prefix, value, expected) in [
            ("!{partitionKeyFromQuery:k}/", "..", reserved("..", "..")),
            ("a/!{partitionKeyFromQuery:k}/", ".", reserved(".", ".")),
            ("k=!{partitionKeyFromQuery:k}/", "a/../b", reserved("a/../b", "..")),
            ("k=!{partitionKeyFromQuery:k}/", "../x", Ok("k=../x/")),
            ("k=!{partitionKeyFromQuery:k}/", "x/..", reserved("x/..", "..")),
            ("k=!{partitionKeyFromQuery:k}/", "..", Ok("k=../")),
            ("!{partitionKeyFromQuery:k}!{partitionKeyFromQuery:k}/", ".", reserved(".", "..")),
            (".!{partitionKeyFromQuery:k}/", ".", reserved(".", "..")),
            ("!{timestamp:yyyy/}!{partitionKeyFromQuery:k}/", "..", reserved("..", "..")),
            ("!{partitionKeyFromQuery:k}", "..", Ok("..")),
            ("!{partitionKeyFromQuery:k}/", "...", Ok(".../")),
            (
                "!{partitionKeyFromQuery:k}/",
                ".standpipe-tmp-1",
                reserved(".standpipe-tmp-1", ".standpipe-tmp-1"),
            ),
            ("k=!{partitionKeyFromQuery:k}/", "/home", Ok("k=/home/")),
            ("k=!{partitionKeyFromQuery:k}", "/home/", Ok("k=/home/")),
            ("!{partitionKeyFromQuery:k}/", "/home", empty("/home")),
            ("k=!{partitionKeyFromQuery:k}/", "/home/", empty("/home/")),
            ("k=!{partitionKeyFromQuery:k}/", "a//b", empty("a//b")),
            ("a//k=!{partitionKeyFromQuery:k}//", "./x", Ok("a//k=./x//")),
            ("!{partitionKeyFromQuery:k}/", "a\0", of_control("a\\0")),
        ] {
            let found = folders(prefix, [("k", value)]);
            assert_eq!(found, expected.map(str::to_owned), "{value:?} in {prefix}");
        }
        let long = format!("{}\n", "x".repeat(100));
        let error = folders("!{partitionKeyFromQuery:k}/", [("k", &long)]).expect_err("a control character");
        assert!(error.contains(&format!("'{}…'", "x".repeat(60))), "{error}");
    }

    fn of_control(value: &str) -> Result<&'static str, String> {
        Err(format!("the partition key k is '{value}', which has control characters"))
    }

    #[test]
    fn a_value_is_no_longer_than_a_file_name_with_what_stands_around_it() {
        let name_bytes = 255 - ("fh".len() + 21 + 20 + 37);
        for (prefix, bytes) in [
            ("k=!{partitionKeyFromQuery:k}/", 253),
            ("!{timestamp:yyyy}-!{partitionKeyFromQuery:k}/x/", 250),
            ("x/!{partitionKeyFromQuery:k}", name_bytes),
        ] {
            assert!(folders(prefix, [("k", &"x".repeat(bytes))]).is_ok(), "{prefix}");
            let error = folders(prefix, [("k", &"x".repeat(bytes + 1))]).expect_err(prefix);
            assert!(
                error.ends_with("a segment of the key has 256 bytes, a file name may have 255"),
                "{error}"
            );
        }
    }

    #[test]
    fn a_value_that_is_too_long_is_a_key_that_is_too_long() {
        let value = format!("{0}/{0}/{0}", "x".repeat(170));
        let error = folders("!{partitionKeyFromQuery:k}/", [("k", &value)]).expect_err("513");
        assert_eq!(error, "the evaluated prefix has 513 characters, allowed are 512");
    }

    proptest! {
        #[test]
        fn rows_share_a_partition_exactly_if_they_share_the_values(
            one in ("[a-c./]{1,3}", "[a-c./]{1,3}"), other in ("[a-c./]{1,3}", "[a-c./]{1,3}"),
        ) {
            let keys = keys("p/!{partitionKeyFromQuery:a}/!{partitionKeyFromLambda:b}/").expect("a good prefix");
            let partition = |(a, b): &(String, String)| keys.partition(&map([("a", a)]), &map([("b", b)]));
            if let (Ok(a), Ok(b)) = (partition(&one), partition(&other)) {
                prop_assert_eq!(a == b, one == other);
                prop_assert_eq!(a.cmp(&b), one.cmp(&other));
            }
        }

        #[test]
        fn no_value_leads_out_of_the_prefix(value in "[a./]{1,6}") {
            if let Ok(folders) = folders("p/!{partitionKeyFromQuery:k}/!{partitionKeyFromQuery:k}", [("k", &value)]) {
                prop_assert_eq!(check_key(&format!("{folders}fh")), Ok(()));
                prop_assert_eq!(folders, format!("p/{value}/{value}"));
            }
        }
    }
}
