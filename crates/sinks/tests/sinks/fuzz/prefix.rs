//! Prefix expressions: what is accepted evaluates, always to the same key, and to one that a store takes.

use std::collections::{BTreeMap, BTreeSet};

use standpipe_model::{BatchId, StreamName, Timestamp};

use super::key::{KeyError, ObjectKeys, PartitionError, PrefixError, PrefixExpr, validate};

/// 9999-12-31T23:59:59.999Z; arrivals are our own clock's.
const LAST: u64 = 253_402_300_799_999;

/// Reads `input` as eight bytes of time and five lines: prefix, error output prefix, time zone, extension, the value of
/// each partition key.
pub(crate) fn run(input: &[u8]) {
    [false, true].into_iter().for_each(|partitioned| run_as(input, partitioned));
}

fn run_as(input: &[u8], partitioned: bool) {
    let Some((time, text)) = input.split_first_chunk::<8>() else { return };
    let Ok(text) = std::str::from_utf8(text) else { return };
    let mut lines = text.split('\n').chain(std::iter::repeat(""));
    let [prefix, error, zone, extension, value] = std::array::from_fn(|_| lines.next().unwrap_or_default());
    let arrived = Timestamp(u64::from_le_bytes(*time) % (LAST + 1));
    let stream = StreamName::parse("fuzzed").expect("a valid name");

    let valid = validate(prefix, error, partitioned);
    let keys = match ObjectKeys::new(stream, prefix, error, zone, extension, partitioned) {
        Ok(keys) => keys,
        Err(PrefixError::TimeZone(_) | PrefixError::Extension(_)) => return,
        Err(refused) => {
            assert_eq!(valid, Err(refused), "the two checks agree");
            return;
        }
    };
    assert_eq!(valid, Ok(()), "the two checks agree");
    let parsed = PrefixExpr::parse(prefix).expect("a valid prefix parses by itself");

    let batch = BatchId(std::array::from_fn(|at| time[at % 8]));
    assert_eq!(keys.is_partitioned(), partitioned);
    let asked = keys.partition_keys();
    let values = |names: BTreeSet<&str>| -> BTreeMap<String, String> {
        names.into_iter().map(|name| (name.to_owned(), value.to_owned())).collect()
    };
    let partition = match keys.partition(&values(asked.query), &values(asked.function)) {
        Ok(partition) => partitioned.then_some(partition),
        Err(error) => {
            assert_eq!(error == PartitionError::NullOrEmpty, value.is_empty(), "{error} for {value:?}");
            return;
        }
    };
    let object = || keys.object_key(1, batch, 7, arrived, partition.as_ref());
    assert_eq!(object(), object(), "the same object");
    check(object(), extension);
    let failed = || keys.error_key("processing-failed", 1, batch, 7, arrived);
    assert_eq!(failed(), failed(), "the same error object");
    check(failed(), "");
    if let Ok(key) = object() {
        let literal = prefix.split("!{").next().unwrap_or_default();
        assert!(key.starts_with(literal), "{key:?} begins with {literal:?}");
        let folders = key[literal.len()..].split('/').count();
        let dots = |segment| matches!(segment, "." | "..");
        assert!(!partitioned || prefix.contains('.') || !key.split('/').any(dots), "{key:?}");
        assert!(parsed.has_expressions() || folders == 5, "{key:?} has the default folders");
    }
}

fn check(key: Result<String, KeyError>, extension: &str) {
    match key {
        Ok(key) => {
            assert!(key.len() <= 1024 && key.ends_with(extension), "{key:?}");
            assert!(key.contains("fuzzed-1-"), "{key:?}");
        }
        Err(KeyError::PrefixTooLong { chars }) => assert!(chars > 512),
        Err(KeyError::KeyTooLong { bytes }) => assert!(bytes > 1024),
    }
}
