//! Lines to records, records to batches that one PutRecordBatch may carry.
//!
//! Memory is bounded by one batch and one record: a line longer than a record may be is counted and skipped as it
//! streams by.

use std::collections::VecDeque;

use standpipe_model::{RecordBlock, RecordBlockBuilder};

/// The most bytes of one record, by the Firehose API.
const RECORD_MAX: usize = 1_024_000;
/// The most records of one PutRecordBatch, by the Firehose API.
const BATCH_RECORDS_MAX: u32 = 500;
/// The most bytes of records in one PutRecordBatch, by the Firehose API.
const BATCH_BYTES_MAX: usize = 4 << 20;

/// Cuts a stream of bytes into batches.
#[derive(Debug)]
pub(in crate::cli) struct Splitter {
    keep_newline: bool,
    batch: RecordBlockBuilder,
    full: VecDeque<RecordBlock>,
    /// The beginning of a line whose end has not been seen.
    partial: Vec<u8>,
    /// The line is longer than a record may be; its bytes go nowhere.
    skipping: bool,
    too_long: u64,
}

impl Splitter {
    /// A splitter; `keep_newline` makes each line's end a part of its record.
    pub(in crate::cli) fn new(keep_newline: bool) -> Self {
        let batch = RecordBlockBuilder::with_capacity(0, 0);
        Self { keep_newline, batch, full: VecDeque::new(), partial: Vec::new(), skipping: false, too_long: 0 }
    }

    /// Takes more bytes of an input.
    pub(in crate::cli) fn push(&mut self, mut bytes: &[u8]) {
        while let Some(end) = bytes.iter().position(|b| *b == b'\n') {
            let (line, rest) = bytes.split_at(end + 1);
            self.extend(if self.keep_newline { line } else { &line[..end] });
            self.end_line();
            bytes = rest;
        }
        self.extend(bytes);
    }

    /// Ends an input: a last line without a line end is a record too.
    pub(in crate::cli) fn end_input(&mut self) {
        if self.skipping || !self.partial.is_empty() {
            self.end_line();
        }
    }

    /// Makes what there is a batch, full or not.
    pub(in crate::cli) fn flush(&mut self) {
        if self.batch.count() > 0 {
            let batch = std::mem::replace(&mut self.batch, RecordBlockBuilder::with_capacity(0, 0));
            self.full.push_back(batch.finish());
        }
    }

    /// The next finished batch.
    pub(in crate::cli) fn next(&mut self) -> Option<RecordBlock> {
        self.full.pop_front()
    }

    /// Whether a finished batch waits.
    pub(in crate::cli) fn is_ready(&self) -> bool {
        !self.full.is_empty()
    }

    /// Whether records wait for their batch to fill.
    pub(in crate::cli) fn is_filling(&self) -> bool {
        self.batch.count() > 0
    }

    /// Records that wait, in finished batches or not.
    pub(in crate::cli) fn waiting(&self) -> u64 {
        let full: u64 = self.full.iter().map(|batch| u64::from(batch.count())).sum();
        full + u64::from(self.batch.count())
    }

    /// Lines that were too long to be records.
    pub(in crate::cli) fn too_long(&self) -> u64 {
        self.too_long
    }

    fn extend(&mut self, bytes: &[u8]) {
        if self.partial.len() + bytes.len() > RECORD_MAX {
            self.skipping = true;
            self.partial.clear();
        }
        if !self.skipping {
            self.partial.extend_from_slice(bytes);
        }
    }

    fn end_line(&mut self) {
        if std::mem::take(&mut self.skipping) {
            self.too_long += 1;
            self.partial.clear();
            return;
        }
        if self.batch.record_bytes() + self.partial.len() > BATCH_BYTES_MAX {
            self.flush();
        }
        self.batch.push(&self.partial);
        self.partial.clear();
        if self.batch.count() == BATCH_RECORDS_MAX {
            self.flush();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The records of all batches, whatever pieces the bytes came in.
    fn split(pieces: &[&[u8]], keep_newline: bool) -> (Vec<Vec<Vec<u8>>>, u64) {
        let mut splitter = Splitter::new(keep_newline);
        pieces.iter().for_each(|piece| splitter.push(piece));
        splitter.end_input();
        splitter.flush();
        let batches = std::iter::from_fn(|| splitter.next());
        let batches: Vec<_> = batches.map(|batch| batch.iter().map(<[u8]>::to_vec).collect()).collect();
        (batches, splitter.too_long())
    }

    #[test]
    fn each_line_is_a_record() {
        let records = |bytes: &[u8], keep| split(&[bytes], keep).0.concat();
        assert_eq!(records(b"a\nbc\n", false), [b"a".to_vec(), b"bc".to_vec()]);
        assert_eq!(records(b"a\nbc\n", true), [b"a\n".to_vec(), b"bc\n".to_vec()]);
        assert_eq!(records(b"a\n\nb", false), [b"a".to_vec(), b"".to_vec(), b"b".to_vec()]);
        assert!(records(b"", false).is_empty());
        assert_eq!(records(b"\n", false), [b"".to_vec()]);
    }

    #[test]
    fn a_batch_holds_500_records_and_4_mib() {
        let (batches, _) = split(&[&b"x\n".repeat(1200)], false);
        assert_eq!(batches.iter().map(Vec::len).collect::<Vec<_>>(), [500, 500, 200]);
        let line = [vec![b'x'; RECORD_MAX], b"\n".to_vec()].concat();
        let (batches, too_long) = split(&[&line.repeat(9)], false);
        assert_eq!((batches.iter().map(Vec::len).collect::<Vec<_>>(), too_long), (vec![4, 4, 1], 0));
    }

    #[test]
    fn a_line_that_is_too_long_is_counted_and_skipped() {
        let line = [vec![b'x'; RECORD_MAX + 1], b"\nshort\n".to_vec()].concat();
        let pieces: Vec<&[u8]> = line.chunks(1 << 16).collect();
        assert_eq!(split(&pieces, false), (vec![vec![b"short".to_vec()]], 1));
        assert_eq!(split(&[&line[..RECORD_MAX + 1]], false), (vec![], 1));
    }

    proptest! {
        #[test]
        fn pieces_make_no_difference(bytes in prop::collection::vec(prop::sample::select(b"ab\n".to_vec()), 0..60), cut in 1usize..20) {
            let whole = split(&[&bytes], false);
            let pieces: Vec<&[u8]> = bytes.chunks(cut).collect();
            prop_assert_eq!(split(&pieces, false), whole);
        }
    }
}
