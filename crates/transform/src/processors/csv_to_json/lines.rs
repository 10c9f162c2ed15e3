//! The lines of a record and their fields.

use csv_core::{ReadRecordResult, Reader};

/// A line.
#[derive(Debug, Default)]
pub(super) struct Line {
    /// Its number, from 1.
    pub(super) number: u64,
    fields: String,
    ends: Vec<usize>,
}

impl Line {
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(super) fn fields(&self) -> impl Iterator<Item = &str> {
        let begins = std::iter::once(0).chain(self.ends.iter().copied());
        begins.zip(&self.ends).map(|(begin, end)| &self.fields[begin..*end])
    }
}

/// The lines of a record.
pub(super) struct Lines<'a> {
    reader: &'a mut Reader,
    rest: &'a [u8],
    fields: Vec<u8>,
    ends: Vec<usize>,
}

impl<'a> Lines<'a> {
    pub(super) fn new(reader: &'a mut Reader, record: &'a [u8]) -> Self {
        reader.reset();
        // The fields of a line are never longer than it is as it is written.
        Self { reader, rest: record, fields: vec![0; record.len()], ends: vec![0; 32] }
    }
}

impl Iterator for Lines<'_> {
    type Item = Line;

    fn next(&mut self) -> Option<Line> {
        let number = self.reader.line();
        let (mut bytes, mut fields) = (0, 0);
        loop {
            let read =
                self.reader.read_record(self.rest, &mut self.fields[bytes..], &mut self.ends[fields..]);
            let (result, taken, more_bytes, more_fields) = read;
            self.rest = &self.rest[taken..];
            bytes += more_bytes;
            fields += more_fields;
            match result {
                // What is asked once more with nothing left is told that this was all.
                ReadRecordResult::InputEmpty => {}
                ReadRecordResult::OutputFull => self.fields.resize(2 * self.fields.len() + 1, 0),
                ReadRecordResult::OutputEndsFull => self.ends.resize(2 * self.ends.len(), 0),
                ReadRecordResult::End => return None,
                ReadRecordResult::Record => {
                    let text = String::from_utf8_lossy(&self.fields[..bytes]).into_owned();
                    return Some(Line { number, fields: text, ends: self.ends[..fields].to_vec() });
                }
            }
        }
    }
}
