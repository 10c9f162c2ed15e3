//! KPL de-aggregation: what the Kinesis Producer Library put together is taken apart.
//!
//! An aggregated record is a magic number, a protobuf message and the message's MD5:
//!
//! ```text
//! F3 89 9A C2 | AggregatedRecord { repeated Record records = 3 } | MD5, 16 bytes
//!                                  Record { required bytes data = 3 }
//! ```
//!
//! What is not that to the last byte is a record as it is, as for the Kinesis Client Library: the producer may well
//! have put a record that begins with the number.

use bytes::Bytes;
use md5::{Digest, Md5};

use crate::chain::Processor;
use crate::row::{Output, Record, Row, Source};

const MAGIC: [u8; 4] = [0xf3, 0x89, 0x9a, 0xc2];
const DIGEST_BYTES: usize = 16;
/// The field of the records in an aggregated one, and that of the data in a record.
const FIELD: u64 = 3;

/// Takes apart what the Kinesis Producer Library put together.
#[derive(Debug, Default)]
pub struct KplDeAggregation;

impl KplDeAggregation {
    /// It has no options.
    pub fn new() -> Self {
        Self
    }
}

impl Processor for KplDeAggregation {
    fn process(&self, _: &Source, _: &[Record], rows: Vec<Row>, out: &mut Output) {
        for row in rows {
            match records(&row.data) {
                None => out.keep(row),
                Some(records) => {
                    for data in records {
                        let data = row.data.slice_ref(data);
                        out.keep(row.clone().with_data(data));
                    }
                }
            }
        }
    }
}

/// The data of the records in a row; nothing if it is not aggregated.
fn records(row: &Bytes) -> Option<Vec<&[u8]>> {
    let rest = row.strip_prefix(&MAGIC)?;
    let (message, digest) = rest.split_at_checked(rest.len().checked_sub(DIGEST_BYTES)?)?;
    if Md5::digest(message)[..] != *digest {
        return None;
    }
    let mut all = Vec::new();
    for record in fields(message) {
        if let Some(record) = record? {
            // Of a field that comes twice, protobuf takes the last.
            let data = fields(record).try_fold(None, |last, data| Some(data?.or(last)))?;
            all.push(data?);
        }
    }
    Some(all)
}

/// The fields of a protobuf message: the content of each that is [`FIELD`], nothing for each other; at last `None` if
/// the message is broken.
fn fields(mut message: &[u8]) -> impl Iterator<Item = Option<Option<&[u8]>>> {
    std::iter::from_fn(move || {
        (!message.is_empty()).then(|| {
            let field = field(&mut message);
            if field.is_none() {
                message = &[];
            }
            field
        })
    })
}

fn field<'a>(message: &mut &'a [u8]) -> Option<Option<&'a [u8]>> {
    let tag = varint(message)?;
    let bytes = match tag & 7 {
        0 => {
            varint(message)?;
            return Some(None);
        }
        1 => 8,
        2 => usize::try_from(varint(message)?).ok()?,
        5 => 4,
        _ => return None,
    };
    let (content, rest) = message.split_at_checked(bytes)?;
    *message = rest;
    Some((tag == FIELD << 3 | 2).then_some(content))
}

fn varint(message: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = message.split_first()?;
        *message = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tests::run;
    use super::*;

    fn push_varint(out: &mut Vec<u8>, mut value: usize) {
        while value > 0x7f {
            out.push(value as u8 | 0x80);
            value >>= 7;
        }
        out.push(value as u8);
    }

    fn push_field(out: &mut Vec<u8>, number: u8, content: &[u8]) {
        out.push(number << 3 | 2);
        push_varint(out, content.len());
        out.extend_from_slice(content);
    }

    /// As the library writes it, with a table of partition keys and an index into it.
    fn message(records: &[Vec<u8>]) -> Vec<u8> {
        let mut message = Vec::new();
        push_field(&mut message, 1, b"partition key");
        for data in records {
            let mut record = vec![1 << 3, 0];
            push_field(&mut record, 3, data);
            push_field(&mut message, 3, &record);
        }
        message
    }

    fn aggregated(message: &[u8]) -> Vec<u8> {
        [&MAGIC[..], message, &Md5::digest(message)[..]].concat()
    }

    fn rows(record: &[u8]) -> Vec<Vec<u8>> {
        run(KplDeAggregation::new(), &[record]).rows.iter().map(|row| row.data.to_vec()).collect()
    }

    #[test]
    fn an_aggregated_record_is_taken_apart() {
        let records = [b"one".to_vec(), vec![], vec![b'x'; 300]];
        assert_eq!(rows(&aggregated(&message(&records))), records);
    }

    #[test]
    fn the_bytes_of_a_known_record_are_understood() {
        // Written out by hand: key table ["a"], one record with key 0 and data "hi".
        let message = [0x0a, 0x01, b'a', 0x1a, 0x06, 0x08, 0x00, 0x1a, 0x02, b'h', b'i'];
        assert_eq!(rows(&aggregated(&message)), [b"hi"]);
    }

    #[test]
    fn what_is_not_aggregated_to_the_last_byte_stays() {
        let mut wrong_digest = aggregated(&message(&[b"one".to_vec()]));
        *wrong_digest.last_mut().unwrap() ^= 1;
        let broken = aggregated(&[0x1a, 0x7f, 0]);
        let without_data = aggregated(&[0x1a, 0x02, 0x08, 0x00]);
        for record in [&b"plain"[..], b"", &MAGIC, &wrong_digest, &broken, &without_data] {
            assert_eq!(rows(record), [record]);
        }
    }

    #[test]
    fn an_aggregated_record_without_records_comes_to_nothing() {
        assert_eq!(run(KplDeAggregation::new(), &[aggregated(&message(&[]))]).dropped, 1);
    }

    proptest! {
        #[test]
        fn whatever_was_put_together_comes_apart(
            records in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..200), 1..10)
        ) {
            prop_assert_eq!(rows(&aggregated(&message(&records))), records);
        }

        #[test]
        fn a_broken_message_stays(message in proptest::collection::vec(any::<u8>(), 0..100)) {
            run(KplDeAggregation::new(), &[aggregated(&message)]);
        }
    }
}
