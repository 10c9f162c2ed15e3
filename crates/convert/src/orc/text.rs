//! Columns of texts and bytes: one after another, or by their number in a dictionary.
//!
//! Which of the two is only known when the stripe ends, so that the values are kept until then.

use std::collections::HashMap;

use super::FormatVersion;
use super::stream::{IntegerStream, Stream, StreamKind};

/// After so many values a dictionary must have paid already, or the column has none.
const EARLY_CHECK_VALUES: usize = 10_000;

/// The values of a stripe.
#[derive(Debug, Default)]
pub(super) struct Texts {
    bytes: Vec<u8>,
    lengths: Vec<u32>,
    /// How many bytes and values come before each row group.
    marks: Vec<(usize, usize)>,
}

/// A dictionary: its entries in order, and the number of each value's.
struct Dictionary<'a> {
    entries: Vec<&'a [u8]>,
    numbers: Vec<u32>,
}

impl Texts {
    /// Adds values that lie one behind the other, by the ends of Arrow's.
    pub(super) fn extend(&mut self, bytes: &[u8], ends: &[i32]) {
        let (first, last) = (ends[0] as usize, ends[ends.len() - 1] as usize);
        self.bytes.extend_from_slice(&bytes[first..last]);
        self.lengths.extend(ends.windows(2).map(|pair| (pair[1] - pair[0]) as u32));
    }

    pub(super) fn mark(&mut self) {
        self.marks.push((self.bytes.len(), self.lengths.len()));
    }

    /// The streams, and the size of the dictionary if there is one. `threshold` is the most entries of a dictionary as
    /// a part of the values; `None` never makes one.
    pub(super) fn finish(
        self,
        version: FormatVersion,
        threshold: Option<f64>,
    ) -> (Vec<Stream>, Option<usize>) {
        let Some(Dictionary { entries, numbers }) = threshold.and_then(|part| self.dictionary(part)) else {
            let lengths = self.in_groups(StreamKind::Length, version, &self.lengths);
            let mut data = Stream::new(StreamKind::Data);
            self.marks.iter().for_each(|(byte, _)| data.mark_at(*byte));
            data.bytes = self.bytes;
            return (vec![data, lengths], None);
        };
        let data = self.in_groups(StreamKind::Data, version, &numbers);
        let mut dictionary = Stream::new(StreamKind::DictionaryData);
        dictionary.bytes = entries.concat();
        let mut lengths = IntegerStream::new(StreamKind::Length, version, false);
        lengths.extend(entries.iter().map(|entry| entry.len() as i64));
        (vec![data, dictionary, lengths.finish()], Some(entries.len()))
    }

    /// A stream of one number for each value, with its row groups.
    fn in_groups(&self, kind: StreamKind, version: FormatVersion, numbers: &[u32]) -> Stream {
        let mut stream = IntegerStream::new(kind, version, false);
        let mut done = 0;
        for (_, value) in &self.marks {
            stream.extend(numbers[done..*value].iter().copied().map(i64::from));
            stream.mark();
            done = *value;
        }
        stream.extend(numbers[done..].iter().copied().map(i64::from));
        stream.finish()
    }

    fn dictionary(&self, threshold: f64) -> Option<Dictionary<'_>> {
        let allowed = |values: usize| (values as f64 * threshold) as usize;
        let mut seen: HashMap<&[u8], u32> = HashMap::new();
        let mut numbers = Vec::with_capacity(self.lengths.len());
        let mut start = 0;
        for (at, length) in self.lengths.iter().enumerate() {
            let end = start + *length as usize;
            let next = seen.len() as u32;
            numbers.push(*seen.entry(&self.bytes[start..end]).or_insert(next));
            start = end;
            let too_many = seen.len() > allowed(self.lengths.len());
            if too_many || at + 1 == EARLY_CHECK_VALUES && seen.len() > allowed(EARLY_CHECK_VALUES) {
                return None;
            }
        }
        let mut sorted: Vec<(&[u8], u32)> = seen.into_iter().collect();
        sorted.sort_unstable();
        let mut places = vec![0; sorted.len()];
        for (place, (_, number)) in (0..).zip(&sorted) {
            places[*number as usize] = place;
        }
        numbers.iter_mut().for_each(|number| *number = places[*number as usize]);
        Some(Dictionary { entries: sorted.into_iter().map(|(entry, _)| entry).collect(), numbers })
    }
}
