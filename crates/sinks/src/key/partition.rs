//! Dynamic partitioning: which rows share objects, by the partition keys that the prefix asks for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::expr::PartitionSource;
use super::keys::ObjectKeys;
use super::validate::sample;

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
    /// A value leads out of its folder.
    #[error("the partition key {key} is '{value}', which makes a segment . or .. of the object's key")]
    DotSegment {
        /// The key.
        key: String,
        /// Its value, shortened.
        value: String,
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

    /// Refuses values that lead out of the folder. Whether they do depends on what stands around them: `day=..` does not.
    fn check_segments(&self, values: &[String]) -> Result<(), PartitionError> {
        let suspect = values.iter().position(|value| value.split('/').any(is_dots));
        let Some(suspect) = suspect else { return Ok(()) };
        // What stands behind the last `/` is followed by the name of the stream.
        match sample(&self.prefix, values).rsplit('/').skip(1).any(is_dots) {
            true => {
                let key = self.prefix.partition_keys().nth(suspect).map_or("", |(_, key)| key);
                Err(PartitionError::DotSegment { key: key.to_owned(), value: shown(&values[suspect]) })
            }
            false => Ok(()),
        }
    }
}

fn is_dots(segment: &str) -> bool {
    matches!(segment, "." | "..")
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
        let lead_in = "Ths supplied prefix(es) do not satisfy the following constraint: ";
        let stream = || StreamName::parse("fh").expect("a good name");
        for prefix in ["", "data/", "!{timestamp:yyyy}/"] {
            let rule = "S3 Prefix should contain Dynamic Partitioning namespaces when Dynamic Partitioning is enabled";
            assert_eq!(keys(prefix).map(drop).map_err(|e| e.to_string()), Err(format!("{lead_in}{rule}")));
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
    fn a_value_that_leads_elsewhere_makes_no_partition() {
        let dots = |value: &str| {
            format!("the partition key k is '{value}', which makes a segment . or .. of the object's key")
        };
        for (prefix, value, expected) in [
            ("!{partitionKeyFromQuery:k}/", "..", Err(dots(".."))),
            ("a/!{partitionKeyFromQuery:k}/", ".", Err(dots("."))),
            ("k=!{partitionKeyFromQuery:k}/", "a/../b", Err(dots("a/../b"))),
            ("k=!{partitionKeyFromQuery:k}/", "../x", Ok("k=../x/")),
            ("k=!{partitionKeyFromQuery:k}/", "x/..", Err(dots("x/.."))),
            ("k=!{partitionKeyFromQuery:k}/", "..", Ok("k=../")),
            ("!{partitionKeyFromQuery:k}!{partitionKeyFromQuery:k}/", ".", Err(dots("."))),
            (".!{partitionKeyFromQuery:k}/", ".", Err(dots("."))),
            ("!{timestamp:yyyy/}!{partitionKeyFromQuery:k}/", "..", Err(dots(".."))),
            ("!{partitionKeyFromQuery:k}", "..", Ok("..")),
            ("!{partitionKeyFromQuery:k}/", "...", Ok(".../")),
            (
                "!{partitionKeyFromQuery:k}/",
                "a\0",
                Err("the partition key k is 'a\\0', which has control characters".to_owned()),
            ),
        ] {
            let found = folders(prefix, [("k", value)]);
            assert_eq!(found, expected.map(str::to_owned), "{value:?} in {prefix}");
        }
        let long = format!("{}\n", "x".repeat(100));
        let error = folders("!{partitionKeyFromQuery:k}/", [("k", &long)]).expect_err("a control character");
        assert!(error.contains(&format!("'{}…'", "x".repeat(60))), "{error}");
    }

    #[test]
    fn a_value_that_is_too_long_is_a_key_that_is_too_long() {
        let error = folders("!{partitionKeyFromQuery:k}/", [("k", &"x".repeat(512))]).expect_err("513");
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
                prop_assert!(!format!("{folders}fh").split('/').any(is_dots), "{folders}");
                prop_assert_eq!(folders, format!("p/{value}/{value}"));
            }
        }
    }
}
