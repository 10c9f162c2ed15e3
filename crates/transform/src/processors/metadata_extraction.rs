//! `MetadataExtraction`: partition keys by a jq query (`partitionKeyFromQuery`).

use std::collections::{BTreeMap, BTreeSet};

use jaq_json::Val;

use super::jq::{Fault, Program, on_stack};
use super::{OptionError, json};
use crate::chain::Processor;
use crate::row::{Failure, FailureKind, Output, Record, Row, Source};

/// The code of records that have no keys.
const FAILED: &str = "DynamicPartitioning.MetadataExtractionFailed";
/// The message of keys that are null or empty, in AWS's words.
const NULL_OR_EMPTY: &str = "partitionKeys values must not be null or empty";

/// Gives each row the partition keys that a query finds in it.
#[derive(Debug)]
pub struct MetadataExtraction {
    query: Program,
}

impl MetadataExtraction {
    /// Takes `MetadataExtractionQuery` and `JsonParsingEngine`.
    ///
    /// # Errors
    /// The query is too long, no jq, or uses what would make its result depend on more than the record; the engine is
    /// another than `JQ-1.6`.
    pub fn new(query: &str, engine: &str) -> Result<Self, OptionError> {
        let wrong =
            |field, value, reason: String| OptionError::new("MetadataExtraction", field, value, reason);
        if engine != "JQ-1.6" {
            return Err(wrong("JsonParsingEngine", engine, "has to be one of JQ-1.6".to_owned()));
        }
        let compiled = Program::new(query);
        Ok(Self {
            query: compiled.map_err(|error| wrong("MetadataExtractionQuery", query, error.to_string()))?,
        })
    }

    /// The keys that every record gets, where the query says so: it is one object, whose keys are no expressions.
    pub fn known_keys(&self) -> Option<BTreeSet<String>> {
        self.query.object_keys()
    }

    fn keys(&self, row: &[u8]) -> Result<BTreeMap<String, String>, String> {
        let mut values = json::values(row).map_err(|error| error.to_string())?;
        let (value, bytes) = match (values.next(), values.next()) {
            (Some(value), None) => value.map_err(|error| error.to_string())?,
            (None, _) => return Err("the record is empty".to_owned()),
            (Some(_), Some(_)) => return Err("the record is more than one JSON document".to_owned()),
        };
        let mut keys: Option<BTreeMap<String, String>> = None;
        let ran = self.query.run(value, bytes, |output| {
            if keys.is_some() {
                return Err(Fault::Error("the query gives more than one result".to_owned()));
            }
            keys = Some(keys_of(&output).map_err(Fault::Error)?);
            Ok(())
        });
        ran.map_err(|fault| fault.to_string())?;
        keys.ok_or_else(|| "the query gives no result".to_owned())
    }
}

/// The keys in what a query gives.
fn keys_of(output: &Val) -> Result<BTreeMap<String, String>, String> {
    let Val::Obj(entries) = output else { return Err("the query does not give an object".to_owned()) };
    entries
        .iter()
        .map(|(name, value)| match (name, json::key_text(value)) {
            (Val::TStr(name), Some(value)) => Ok((String::from_utf8_lossy(name).into_owned(), value)),
            (_, None) if matches!(value, Val::Arr(_) | Val::Obj(_)) => {
                Err("partitionKeys values must be strings, numbers or booleans".to_owned())
            }
            _ => Err(NULL_OR_EMPTY.to_owned()),
        })
        .collect()
}

impl Processor for MetadataExtraction {
    fn process(&self, _: &Source, _: &[Record], rows: Vec<Row>, out: &mut Output) {
        let found: Vec<_> = on_stack(|| rows.iter().map(|row| self.keys(&row.data)).collect());
        for (mut row, keys) in rows.into_iter().zip(found) {
            match keys {
                Ok(keys) => {
                    row.query_keys.extend(keys);
                    out.keep(row);
                }
                Err(message) => {
                    out.fail(row.origin, Failure::once(FailureKind::Processing, FAILED, message));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tests::run;
    use super::*;

    fn extraction(query: &str) -> MetadataExtraction {
        MetadataExtraction::new(query, "JQ-1.6").unwrap()
    }

    fn keys_found(query: &str, row: &str) -> Result<Vec<(String, String)>, String> {
        let mut done = run(extraction(query), &[row]);
        match done.failures.remove(&0) {
            Some(failure) => {
                assert_eq!((&failure.code[..], failure.attempts), (FAILED, 1));
                Err(failure.message)
            }
            None => {
                assert_eq!(done.rows[0].data, row, "the data stays as it is");
                Ok(done.rows.remove(0).query_keys.into_iter().collect())
            }
        }
    }

    #[test]
    fn the_example_of_the_guide_gives_its_keys() {
        let query =
            "{customer_id: .customer_id, device: .type.device, year: .event_timestamp|strftime(\"%Y\")}";
        let row = r#"{"type":{"device":"mobile","event":"user_clicked_submit_button"},"customer_id":"1234567890",
            "event_timestamp":1565382027,"region":"sample_region"}"#;
        let pairs = [("customer_id", "1234567890"), ("device", "mobile"), ("year", "2019")];
        assert_eq!(keys_found(query, row), Ok(pairs.map(|(k, v)| (k.to_owned(), v.to_owned())).to_vec()));
    }

    #[test]
    fn numbers_and_truths_are_written_as_text() {
        let row = r#"{"a":1.0,"b":true,"c":12345678901234567890,"d":"x y","e":1.50}"#;
        let texts: Vec<_> = keys_found(".", row).unwrap().into_iter().map(|(_, value)| value).collect();
        assert_eq!(texts, ["1", "true", "12345678901234567890", "x y", "1.5"]);
    }

    #[test]
    fn a_key_that_is_null_or_empty_fails_in_the_words_of_firehose() {
        for row in ["{}", r#"{"a":null}"#, r#"{"a":""}"#] {
            assert_eq!(keys_found("{a}", row), Err(NULL_OR_EMPTY.to_owned()), "{row}");
        }
    }

    #[test]
    fn what_gives_no_keys_fails_and_says_why() {
        for (query, row, why) in [
            ("{a}", "plain", "the record is not JSON: expected value at line 1 column 1"),
            ("{a}", "", "the record is empty"),
            ("{a}", "{\"a\":1}{\"a\":2}", "the record is more than one JSON document"),
            ("{a}", "[1]", "cannot index [1] with \"a\""),
            ("{a: .a[]}", "{\"a\":[1,2]}", "the query gives more than one result"),
            ("empty", "{}", "the query gives no result"),
            (".a", "{\"a\":1}", "the query does not give an object"),
            ("{a}", "{\"a\":{\"b\":1}}", "partitionKeys values must be strings, numbers or booleans"),
            (
                "{a: .a | strftime(\"%Y\")}",
                "{\"a\":1565382027000000000}",
                "1565382027000000000 is no time in seconds",
            ),
            ("{a: (.a | tonumber)}", "{\"a\":\"x\"}", "x cannot be parsed as a number"),
        ] {
            assert_eq!(keys_found(query, row), Err(why.to_owned()), "{query} of {row}");
        }
    }

    #[test]
    fn the_engine_and_the_query_are_checked() {
        let error = |query, engine| MetadataExtraction::new(query, engine).unwrap_err().to_string();
        assert_eq!(
            error("{a}", "JQ-1.7"),
            "MetadataExtraction: JsonParsingEngine `JQ-1.7` has to be one of JQ-1.6"
        );
        assert!(error("{a: now}", "JQ-1.6").contains("uses `now`, which is not available"));
    }

    #[test]
    fn the_keys_of_a_query_are_known_where_they_are_written_down() {
        let keys = |query| extraction(query).known_keys().map(|keys| Vec::from_iter(keys).join(" "));
        for (query, expected) in [
            ("{a}", "a"),
            (" { b : .x | tostring , \"a b\" : 1 , (\"c\") : 2, d: {e: 1} } # why", "a b b c d"),
            ("{}", ""),
            ("{\"a\\u0062\"}", "ab"),
        ] {
            assert_eq!(keys(query).as_deref(), Some(expected), "{query}");
        }
        for query in
            [".", "{a} + {b}", "{(.a): 1}", "{\"a\\(.b)\": 1}", "if .a then {a} else {b} end", "{$__x}"]
        {
            let query = if query == "{$__x}" { ". as $x | {$x}" } else { query };
            assert_eq!(keys(query), None, "{query}");
        }
    }

    proptest! {
        #[test]
        fn the_text_of_a_string_is_the_string(value in "\\PC+") {
            let row = serde_json::json!({"a": value}).to_string();
            prop_assert_eq!(keys_found("{a}", &row), Ok(vec![("a".to_owned(), value)]));
        }

        #[test]
        fn rubbish_fails(row in "[{}\\[\\]\":,0-9a \\\\]{0,40}") {
            run(extraction("{a}"), &[row]);
        }
    }
}
