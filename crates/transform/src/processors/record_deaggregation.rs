//! `RecordDeAggregation`: several records in one are taken apart.
//!
//! # Limits
//! Of a row that has more than [`SUB_RECORDS_MAX`], as in Firehose, none is taken out: it stays whole.

use std::ops::Range;

use bytes::Bytes;
use memchr::memmem;

use super::{OptionError, json};
use crate::chain::Processor;
use crate::row::{Failure, FailureKind, Output, Record, Row, Source};

/// The most records that are taken out of one.
pub const SUB_RECORDS_MAX: usize = 500;

/// How the records of a record are told apart (`SubRecordType`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SubRecordType {
    /// They are JSON documents, with white space between them or without.
    Json,
    /// They have these bytes between them.
    Delimited(Vec<u8>),
}

/// Takes records apart.
#[derive(Debug)]
pub struct RecordDeAggregation {
    by: SubRecordType,
}

impl RecordDeAggregation {
    /// Takes `SubRecordType`, and `Delimiter` in base64.
    ///
    /// # Errors
    /// The type is neither `JSON` nor `DELIMITED`, or the latter has no delimiter.
    pub fn new(sub_record_type: &str, delimiter: Option<&str>) -> Result<Self, OptionError> {
        let wrong = |field, value, reason| Err(OptionError::new("RecordDeAggregation", field, value, reason));
        let by = match (sub_record_type, delimiter) {
            ("JSON", _) => SubRecordType::Json,
            ("DELIMITED", None | Some("")) => {
                return wrong("Delimiter", "", "should be present for DELIMITED");
            }
            ("DELIMITED", Some(base64)) => match base64_simd::STANDARD.decode_to_vec(base64) {
                Ok(delimiter) => SubRecordType::Delimited(delimiter),
                Err(_) => return wrong("Delimiter", base64, "has to be base64"),
            },
            (other, _) => return wrong("SubRecordType", other, "has to be one of JSON, DELIMITED"),
        };
        Ok(Self { by })
    }

    /// The places of a row's records; nothing if it stays whole.
    fn places(&self, row: &Bytes) -> Result<Option<Vec<Range<usize>>>, json::Malformed> {
        let mut places = Vec::new();
        let mut add = |place: Range<usize>| {
            if !place.is_empty() {
                places.push(place);
            }
            places.len() <= SUB_RECORDS_MAX
        };
        match &self.by {
            SubRecordType::Json => {
                for place in json::documents(row) {
                    let place = place?;
                    if row[place.start] != b'{' {
                        return Err(json::Malformed::Json("a document is not an object".to_owned()));
                    }
                    if !add(place) {
                        return Ok(None);
                    }
                }
            }
            SubRecordType::Delimited(delimiter) => {
                let mut begin = 0;
                for end in memmem::find_iter(row, delimiter).chain([row.len()]) {
                    if !add(begin..end) {
                        return Ok(None);
                    }
                    begin = end + delimiter.len();
                }
            }
        }
        Ok(Some(places))
    }
}

impl Processor for RecordDeAggregation {
    fn process(&self, _: &Source, _: &[Record], rows: Vec<Row>, out: &mut Output) {
        for row in rows {
            match self.places(&row.data) {
                Ok(None) => out.keep(row),
                Ok(Some(places)) => {
                    for place in places {
                        out.keep(row.clone().with_data(row.data.slice(place)));
                    }
                }
                Err(error) => {
                    let code = "RecordDeAggregation.MalformedRecord";
                    out.fail(row.origin, Failure::once(FailureKind::Processing, code, format!("{error}.")));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tests::{codes, kept, run};
    use super::*;

    #[test]
    fn json_documents_are_taken_apart_and_stay_as_they_were_written() {
        let processor = RecordDeAggregation::new("JSON", None).unwrap();
        let done = run(processor, &[r#"{"a":1}{"a": "}{"}"#, "{\"a\":1.50}\n\n{\"a\":2}\n", " "]);
        assert_eq!(kept(&done), [r#"{"a":1}"#, r#"{"a": "}{"}"#, r#"{"a":1.50}"#, r#"{"a":2}"#]);
        assert_eq!(done.dropped, 1);
    }

    #[test]
    fn what_is_not_json_fails_whole_and_so_does_an_array() {
        let processor = RecordDeAggregation::new("JSON", None).unwrap();
        let done = run(processor, &[r#"{"a":1}{"a":"#, r#"[{"a":1},{"a":2}]"#, "1 2", "plain"]);
        assert_eq!(kept(&done), [""; 0]);
        assert_eq!(codes(&done), ["RecordDeAggregation.MalformedRecord"; 4]);
    }

    #[test]
    fn delimited_records_are_taken_apart_and_empty_ones_go() {
        let processor = RecordDeAggregation::new("DELIMITED", Some("IyMjIw==")).unwrap();
        let done = run(processor, &["a####b#####c####", "####", "whole"]);
        assert_eq!(kept(&done), ["a", "b", "#c", "whole"]);
        assert_eq!(done.dropped, 1);
    }

    #[test]
    fn more_than_500_stay_whole() {
        for (processor, one) in [
            (RecordDeAggregation::new("JSON", None).unwrap(), "{}"),
            (RecordDeAggregation::new("DELIMITED", Some("Cg==")).unwrap(), "x\n"),
        ] {
            let done = run(processor, &[one.repeat(500), one.repeat(501)]);
            assert_eq!(done.rows.len(), 501);
            assert_eq!(&done.rows[500].data[..], one.repeat(501).as_bytes());
        }
    }

    #[test]
    fn options_are_those_of_firehose() {
        let error = |of, delimiter| RecordDeAggregation::new(of, delimiter).unwrap_err().to_string();
        assert_eq!(
            error("CSV", None),
            "RecordDeAggregation: SubRecordType `CSV` has to be one of JSON, DELIMITED"
        );
        assert_eq!(
            error("DELIMITED", None),
            "RecordDeAggregation: Delimiter `` should be present for DELIMITED"
        );
        assert_eq!(error("DELIMITED", Some("#")), "RecordDeAggregation: Delimiter `#` has to be base64");
    }

    proptest! {
        #[test]
        fn nothing_gets_lost(parts in proptest::collection::vec("[a-z]{1,5}", 0..20)) {
            let processor = RecordDeAggregation::new("DELIMITED", Some("Cg==")).unwrap();
            prop_assert_eq!(kept(&run(processor, &[parts.join("\n")])), parts);
        }

        #[test]
        fn rubbish_is_kept_dropped_or_fails(row in "[{}\\[\\]\":,0-9a \\\\]{0,40}") {
            run(RecordDeAggregation::new("JSON", None).unwrap(), &[row]);
        }
    }
}
