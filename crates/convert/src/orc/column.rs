//! A column of a stripe, and its members: Arrow's arrays to streams, statistics and row groups.
//!
//! # Invariants
//! - A member has only the rows of which its parent is not null: rows are therefore given as ranges of an array.

use std::borrow::Cow;
use std::ops::Range;

use arrow_array::cast::AsArray;
use arrow_array::{Array, MapArray};
use arrow_schema::{DataType, Field};

use super::bloom::BloomFilter;
use super::proto::Message;
use super::statistics::{Statistics, Summary};
use super::stream::{BitStream, Stream, StreamKind};
use super::types::{Kind, UnsupportedType, member_path, members};
use super::values::Values;
use super::{FormatVersion, OrcOptions};

/// Rows of an array, in their order.
pub(super) type Rows = [Range<usize>];

/// Writes a column and its members.
pub(super) struct ColumnWriter {
    kind: Kind,
    scale: u8,
    version: FormatVersion,
    present: BitStream,
    values: Values,
    bloom_filter: Option<BloomFilter>,
    /// Of the row group that is being written.
    group: Statistics,
    stripe: Statistics,
    groups: Vec<RowGroup>,
    members: Vec<Self>,
}

/// What the row index says of a row group beside its positions.
pub(super) struct RowGroup {
    pub(super) statistics: Message,
    pub(super) bloom_filter: Option<Message>,
}

/// A column of a stripe that is complete.
pub(super) struct FinishedColumn {
    pub(super) encoding: Message,
    pub(super) streams: Vec<Stream>,
    pub(super) groups: Vec<RowGroup>,
    pub(super) statistics: Statistics,
}

impl ColumnWriter {
    pub(super) fn new(field: &Field, path: &str, options: &OrcOptions) -> Result<Self, UnsupportedType> {
        let data_type = field.data_type();
        let Some(kind) = Kind::of(data_type) else {
            return Err(UnsupportedType { column: path.to_owned(), data_type: data_type.clone() });
        };
        let scale = if let DataType::Decimal128(_, scale) = data_type { *scale as u8 } else { 0 };
        let new = |member: &Field| Self::new(member, &member_path(kind, path, member.name()), options);
        let members = members(data_type).iter().map(|member| new(member)).collect::<Result<_, _>>()?;
        let bloom_filter = options
            .has_bloom_filter(kind, path)
            .then(|| BloomFilter::new(options.row_index_stride, options.bloom_filter_fpp));
        Ok(Self {
            kind,
            scale,
            version: options.format_version,
            present: BitStream::new(StreamKind::Present),
            values: Values::new(kind, scale, options),
            bloom_filter,
            group: Statistics::new(Summary::of(kind, scale)),
            stripe: Statistics::new(Summary::of(kind, scale)),
            groups: Vec::new(),
            members,
        })
    }

    /// Adds rows; `array` is of the type that the column was made for.
    pub(super) fn write(&mut self, array: &dyn Array, rows: &Rows) {
        let rows = self.write_present(array, rows);
        self.group.values += rows.iter().map(|rows| rows.len() as u64).sum::<u64>();
        self.values.write(array, &rows, &mut self.group.summary, self.bloom_filter.as_mut());
        match array.data_type() {
            DataType::Struct(_) => {
                for (member, array) in self.members.iter_mut().zip(array.as_struct().columns()) {
                    member.write(array, &rows);
                }
            }
            DataType::List(_) => {
                let list = array.as_list::<i32>();
                self.members[0].write(list.values(), &items(list.value_offsets(), &rows));
            }
            DataType::Map(..) => {
                let map: &MapArray = array.as_map();
                let rows = items(map.value_offsets(), &rows);
                self.members[0].write(map.keys(), &rows);
                self.members[1].write(map.values(), &rows);
            }
            _ => {}
        }
    }

    /// Notes which rows have a value, and returns those.
    fn write_present<'a>(&mut self, array: &dyn Array, rows: &'a Rows) -> Cow<'a, Rows> {
        let Some(nulls) = array.nulls().filter(|nulls| nulls.null_count() > 0) else {
            rows.iter().for_each(|rows| self.present.push_all(true, rows.len()));
            return Cow::Borrowed(rows);
        };
        let mut valid = Vec::new();
        for rows in rows {
            let mut done = rows.start;
            for (start, end) in nulls.slice(rows.start, rows.len()).valid_slices() {
                let values = rows.start + start..rows.start + end;
                self.present.push_all(false, values.start - done);
                self.present.push_all(true, values.len());
                self.group.has_null |= values.start > done;
                done = values.end;
                valid.push(values);
            }
            self.present.push_all(false, rows.end - done);
            self.group.has_null |= rows.end > done;
        }
        Cow::Owned(valid)
    }

    /// Starts a row group.
    pub(super) fn start_group(&mut self) {
        self.present.mark();
        self.values.mark();
        self.members.iter_mut().for_each(Self::start_group);
    }

    /// Ends a row group; without a row index there is one, the stripe.
    pub(super) fn end_group(&mut self) {
        self.stripe.merge(&self.group);
        let bloom_filter = self.bloom_filter.as_mut().map(BloomFilter::take);
        self.groups.push(RowGroup { statistics: self.group.message(), bloom_filter });
        self.group = Statistics::new(Summary::of(self.kind, self.scale));
        self.members.iter_mut().for_each(Self::end_group);
    }

    /// Appends the column and then its members.
    pub(super) fn finish(self, columns: &mut Vec<FinishedColumn>) {
        let (mut streams, dictionary_size) = self.values.finish();
        if self.stripe.has_null {
            streams.insert(0, self.present.finish());
        }
        let encoding = encoding(self.kind, self.version, dictionary_size);
        // Hashes of texts are of their UTF-8, and of times in UTC.
        let encoding = if self.bloom_filter.is_some() { encoding.uint(3, 1) } else { encoding };
        columns.push(FinishedColumn { encoding, streams, groups: self.groups, statistics: self.stripe });
        self.members.into_iter().for_each(|member| member.finish(columns));
    }
}

/// The rows of the items of lists: those of a range of lists lie one behind the other.
fn items(ends: &[i32], rows: &Rows) -> Vec<Range<usize>> {
    rows.iter().map(|rows| ends[rows.start] as usize..ends[rows.end] as usize).collect()
}

/// Direct or by a dictionary, and of which version where runs of integers are part of it.
fn encoding(kind: Kind, version: FormatVersion, dictionary_size: Option<usize>) -> Message {
    let has_integers =
        !matches!(kind, Kind::Boolean | Kind::Byte | Kind::Float | Kind::Double | Kind::Struct);
    let second = has_integers && version == FormatVersion::V0_12;
    let number = u64::from(dictionary_size.is_some()) + if second { 2 } else { 0 };
    Message::default().uint(1, number).with(dictionary_size, |message, size| message.uint(2, size as u64))
}
