//! The naming rules of the service, as tables.

use standpipe_model::{BatchId, StreamName, Timestamp};

use super::{KeyError, ObjectKeys, PrefixError, validate};

/// 2026-07-13T14:05:33.007Z.
const ARRIVED: Timestamp = Timestamp(1_783_951_533_007);
const BATCH: BatchId = BatchId(*b"0123456789abcdef");

fn keys(prefix: &str, error: &str, zone: &str, extension: &str) -> Result<ObjectKeys, PrefixError> {
    ObjectKeys::new(StreamName::parse("fh").expect("a good name"), prefix, error, zone, extension, false)
}

fn object_key(prefix: &str, error: &str) -> String {
    keys(prefix, error, "", "").expect(prefix).object_key(1, BATCH, 0, ARRIVED, None).expect(prefix)
}

fn error_key(prefix: &str, error: &str) -> String {
    let keys = keys(prefix, error, "", ".gz").expect(prefix);
    keys.error_key("processing-failed", 1, BATCH, 0, ARRIVED).expect(prefix)
}

const SUFFIX: &str = "fh-1-2026-07-13-14-05-33-";
const ERROR: &str = "e/!{firehose:error-output-type}/";

#[test]
fn prefixes_evaluate_as_the_service_evaluates_them() {
    for (prefix, error, expected) in [
        ("", "", "2026/07/13/14/"),
        ("legacy", "", "legacy2026/07/13/14/"),
        ("a/b/", "literal/", "a/b/2026/07/13/14/"),
        ("x/!{timestamp:yyyy}/", ERROR, "x/2026/"),
        ("x/!{timestamp:'year='yyyy'/month='MM}/f", ERROR, "x/year=2026/month=07/f"),
        ("!{timestamp:yyyy}-!{timestamp:YYYY}", ERROR, "2026-2026"),
        ("plain", ERROR, "plain2026/07/13/14/"),
        ("dollar!/{x}/", "", "dollar!/{x}/2026/07/13/14/"),
    ] {
        let key = object_key(prefix, error);
        let uuid = key.strip_prefix(&format!("{expected}{SUFFIX}")).unwrap_or_else(|| panic!("{key}"));
        assert_eq!(uuid.len(), 36, "{key}");
    }
}

#[test]
fn error_prefixes_evaluate_as_the_service_evaluates_them() {
    for (prefix, error, expected) in [
        ("", "", "processing-failed/2026/07/13/14/"),
        ("myFirehosePrefix/", "", "myFirehosePrefix/processing-failed/2026/07/13/14/"),
        ("data/", "err/", "err/processing-failed/2026/07/13/14/"),
        ("d/", ERROR, "e/processing-failed/"),
        ("d/", "!{firehose:error-output-type}!{timestamp:/HH/}", "processing-failed/14/"),
    ] {
        let key = error_key(prefix, error);
        let uuid = key.strip_prefix(&format!("{expected}{SUFFIX}")).unwrap_or_else(|| panic!("{key}"));
        assert_eq!(uuid.len(), 36, "error objects have no extension: {key}");
    }
}

#[test]
fn a_key_is_the_same_at_every_attempt_and_differs_between_objects() {
    let prefix = "!{firehose:random-string}/!{firehose:random-string}/";
    let made = keys(prefix, ERROR, "", "").expect("a good prefix");
    let key = |batch, ordinal| made.object_key(1, batch, ordinal, ARRIVED, None).expect("a short key");
    let first = key(BATCH, 0);
    assert_eq!(first, key(BATCH, 0));
    assert_ne!(first, key(BATCH, 1));
    assert_ne!(first, key(BatchId([7; 16]), 0));
    let parts: Vec<_> = first.split('/').collect();
    assert_eq!((parts[0].len(), parts[1].len()), (11, 11), "{first}");
    assert_ne!(parts[0], parts[1], "each occurrence is a new one");
    let uuid = first.get(first.len() - 36..).expect("ascii");
    assert_eq!(uuid.split('-').map(str::len).collect::<Vec<_>>(), [8, 4, 4, 4, 12]);
    assert!(uuid.split('-').nth(2).is_some_and(|group| group.starts_with('4')), "{uuid}");
}

/// Keys are an on-disk contract: a batch that was closed by one build must be delivered under the same key by the next.
#[test]
fn keys_do_not_change_between_builds() {
    let made = keys("!{firehose:random-string}/", ERROR, "", ".gz").expect("a good prefix");
    assert_eq!(
        made.object_key(3, BATCH, 5, ARRIVED, None).as_deref(),
        Ok("1eue46k6cwq/fh-3-2026-07-13-14-05-33-09e209f6-9cd2-4c05-a312-73e22ac0b780.gz")
    );
    assert_eq!(
        made.error_key("format-conversion-failed", 3, BATCH, 5, ARRIVED).as_deref(),
        Ok("e/format-conversion-failed/fh-3-2026-07-13-14-05-33-973b361c-209b-4367-a119-7b81cbcf8fad")
    );
}

#[test]
fn the_custom_zone_moves_prefix_and_suffix() {
    let made = keys("", "", "America/Sao_Paulo", ".json").expect("a known zone");
    let key = made.object_key(2, BATCH, 0, Timestamp(1_767_225_600_000), None).expect("a short key");
    assert!(key.starts_with("2025/12/31/21/fh-2-2025-12-31-21-00-00-"), "{key}");
    assert!(key.ends_with(".json"), "{key}");
    let key =
        made.error_key("splunk-failed", 2, BATCH, 0, Timestamp(1_767_225_600_000)).expect("a short key");
    assert!(key.starts_with("splunk-failed/2025/12/31/21/"), "{key}");
    for bad in ["Etc/GMT+1", "America/Port-au-Prince", "Nowhere/At_All"] {
        assert_eq!(keys("", "", bad, "").err(), Some(PrefixError::TimeZone(bad.to_owned())));
    }
}

#[test]
fn extensions_follow_the_service() {
    for good in ["", ".gz", ".tar.gz", ".a_b-c!'()*"] {
        assert!(keys("", "", "", good).is_ok(), "{good}");
    }
    for bad in ["gz", ".", ".GZ", ".a/b", &format!(".{}", "x".repeat(128))] {
        assert_eq!(keys("", "", "", bad).err(), Some(PrefixError::Extension((*bad).to_owned())));
    }
}

#[test]
fn broken_rules_are_told_in_the_words_of_the_service() {
    let long = "x".repeat(513);
    let with = |expression: &str| format!("{expression}{long}");
    let type_expression = "!{firehose:error-output-type}";
    for (prefix, error, expected) in [
        (
            "!{timestamp:yyyy}",
            "",
            "ErrorOutputPrefix cannot be null or empty when Prefix contains expressions",
        ),
        (
            "!{timestamp:yyyy}",
            "err/",
            "ErrorOutputPrefix must contain at least one occurrence of !{firehose:error-output-type}",
        ),
        (
            "",
            "!{timestamp:yyyy}",
            "ErrorOutputPrefix must contain at least one occurrence of !{firehose:error-output-type}",
        ),
        (
            type_expression,
            type_expression,
            "Prefix must not contain any occurrence of !{firehose:error-output-type}",
        ),
        (
            "",
            "!{partitionKeyFromQuery:k}!{firehose:error-output-type}",
            "Dynamic Partitioning Namespaces can't be part of an error prefix expression",
        ),
        (&long, "", "Length of evaluated prefix cannot be greater than 512"),
        ("", &with(type_expression), "Length of evaluated ErrorOutputPrefix cannot be greater than 512"),
        ("a!{b", "", "Invalid expression usage"),
        ("!{timestamp}", ERROR, "Invalid expression usage"),
        ("!{time:yyyy}", ERROR, "Namespace to the left of colon (time) is an invalid keyword!"),
        (
            "!{timestamp:T}",
            ERROR,
            "Invalid conversion character used in the value of the expression in Prefix",
        ),
        (
            "!{timestamp:}",
            ERROR,
            "Invalid conversion character used in the value of the expression in Prefix",
        ),
        (
            "!{firehose:random}",
            ERROR,
            "Invalid conversion character used in the value of the expression in Prefix",
        ),
        (
            "",
            "!{timestamp:b}!{firehose:error-output-type}",
            "Invalid conversion character used in the value of the expression in ErrorOutputPrefix",
        ),
    ] {
        let expected = format!("Ths supplied prefix(es) do not satisfy the following constraint: {expected}");
        assert_eq!(
            validate(prefix, error, false).map_err(|error| error.to_string()),
            Err(expected),
            "{prefix} {error}"
        );
    }
}

#[test]
fn a_key_that_grew_too_long_is_refused_when_it_is_made() {
    let made = keys(&"é".repeat(498), "e/", "", "").expect("512 characters are allowed");
    assert_eq!(
        made.object_key(1, BATCH, 0, ARRIVED, None),
        Err(KeyError::KeyTooLong { bytes: 996 + 14 + 25 + 36 })
    );
    // The name of the zone is longer in summer than it was in the check.
    let made = keys(&format!("{}!{{timestamp:zzzz}}", "x".repeat(486)), ERROR, "Europe/Berlin", "");
    let made = made.expect("short enough in UTC");
    assert_eq!(made.object_key(1, BATCH, 0, ARRIVED, None), Err(KeyError::PrefixTooLong { chars: 486 + 28 }));
}

#[test]
fn keys_of_partitions_are_refused_without_partitioning() {
    for prefix in ["!{partitionKeyFromQuery:k}", "a/!{partitionKeyFromLambda:k}/"] {
        let error = validate(prefix, ERROR, false).expect_err(prefix).to_string();
        let rule = "Dynamic Partitioning Namespaces can only be part of a prefix expression when Dynamic Partitioning is enabled.";
        assert_eq!(error, rule);
    }
}
