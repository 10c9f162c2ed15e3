//! Processors one behind the other.

use std::collections::BTreeMap;
use std::fmt::Debug;

use crate::row::{Failure, Output, Record, Row, Source};

/// One step of a chain. It may take long: the caller runs it where that holds up nobody.
pub trait Processor: Send + Sync + Debug {
    /// Takes the rows of a chunk, in order, and passes on what becomes of each. `records` are those of the chunk;
    /// [`Origin::record`](crate::Origin) counts them.
    fn process(&self, source: &Source, records: &[Record], rows: Vec<Row>, out: &mut Output);

    /// Whether the same rows always give the same result; what is impure is kept in a spool.
    fn is_pure(&self) -> bool {
        true
    }
}

/// What became of a chunk's records.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Transformed {
    /// The rows to deliver, in the order of their origins.
    pub rows: Vec<Row>,
    /// The records that failed, by number.
    pub failures: BTreeMap<u32, Failure>,
    /// How many records came to nothing.
    pub dropped: u64,
}

/// The processors of a stream, in their order.
#[derive(Debug, Default)]
pub struct Chain(Vec<Box<dyn Processor>>);

impl Chain {
    /// A chain of these.
    pub fn new(processors: Vec<Box<dyn Processor>>) -> Self {
        Self(processors)
    }

    /// Whether the same records always give the same rows.
    pub fn is_pure(&self) -> bool {
        self.0.iter().all(|processor| processor.is_pure())
    }

    /// Whether it changes nothing.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes the records of a chunk through all processors.
    pub fn run(&self, source: &Source, records: &[Record]) -> Transformed {
        let mut rows: Vec<Row> =
            (0..).zip(records).map(|(number, record)| Row::of(number, record.data.clone())).collect();
        let mut failures: BTreeMap<u32, Failure> = BTreeMap::new();
        for processor in &self.0 {
            let mut out = Output::default();
            processor.process(source, records, rows, &mut out);
            for (record, failure) in out.failures {
                failures.entry(record).or_insert(failure);
            }
            rows = out.rows;
            rows.retain(|row| !failures.contains_key(&row.origin.record));
            number_anew(&mut rows);
        }
        let mut kept = 0;
        let mut last = None;
        for row in &rows {
            if last != Some(row.origin.record) {
                (last, kept) = (Some(row.origin.record), kept + 1);
            }
        }
        let dropped = records.len() as u64 - failures.len() as u64 - kept;
        Transformed { rows, failures, dropped }
    }
}

/// Puts rows into the order of their records and numbers those of each anew, as a processor may have made several of
/// one. The order within a record stays.
fn number_anew(rows: &mut [Row]) {
    rows.sort_by_key(|row| row.origin.record);
    let (mut last, mut sub) = (None, 0);
    for row in rows {
        sub = if last == Some(row.origin.record) { sub + 1 } else { 0 };
        last = Some(row.origin.record);
        row.origin.sub = sub;
    }
}

#[cfg(test)]
mod tests {
    use standpipe_model::{Position, StreamName, Timestamp};

    use super::*;
    use crate::{FailureKind, Origin};

    /// Splits at commas; drops what is empty, fails what is `bad`.
    #[derive(Debug)]
    struct Split;

    impl Processor for Split {
        fn process(&self, _: &Source, _: &[Record], rows: Vec<Row>, out: &mut Output) {
            for row in rows {
                for part in row.data.split(|byte| *byte == b',') {
                    match part {
                        b"" => {}
                        b"bad" => out.fail(row.origin, Failure::once(FailureKind::Processing, "c", "m")),
                        part => out.keep(row.clone().with_data(row.data.slice_ref(part))),
                    }
                }
            }
        }
    }

    #[test]
    fn every_record_is_kept_dropped_or_failed_and_rows_stay_in_order() {
        let source = Source {
            stream: StreamName::parse("s").unwrap(),
            stream_arn: "arn".to_owned(),
            region: "r".to_owned(),
        };
        let records: Vec<Record> = ["a,b", "", "x,bad,y", "c"]
            .iter()
            .zip(7..)
            .map(|(data, position)| Record {
                position: Position(position),
                arrived_at: Timestamp(1),
                data: data.as_bytes().into(),
            })
            .collect();
        let done = Chain::new(vec![Box::new(Split), Box::new(Split)]).run(&source, &records);
        let rows: Vec<(Origin, &[u8])> = done.rows.iter().map(|row| (row.origin, &row.data[..])).collect();
        let origin = |record, sub| Origin { record, sub };
        assert_eq!(rows, [(origin(0, 0), &b"a"[..]), (origin(0, 1), b"b"), (origin(3, 0), b"c")]);
        assert_eq!((done.failures.keys().copied().collect::<Vec<_>>(), done.dropped), (vec![2], 1));
    }
}
