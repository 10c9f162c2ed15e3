//! Record batches to a stripe: the step that runs in parallel.
//!
//! ```text
//! stripe := (row_index bloom_filter?){column}  stream*  stripe_footer
//! ```

use arrow_array::{Array, RecordBatch, StructArray};
use arrow_schema::Field;
use bytes::Bytes;

use super::OrcOptions;
use super::column::{ColumnWriter, FinishedColumn, RowGroup};
use super::compress::{Chunks, Compressor};
use super::proto::Message;
use super::statistics::Statistics;
use super::stream::{Stream, StreamKind};
use super::types::{Kind, UnsupportedType, kinds};
use crate::codec::CompressError;

/// The zone that timestamps without one are written in; readers give back the same wall-clock time in any.
const WRITER_TIMEZONE: &str = "UTC";

/// A stripe could not be encoded. None is transient: the same rows fail again.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// A column has a type that ORC has not.
    #[error(transparent)]
    Type(#[from] UnsupportedType),
    /// The batches of a stripe differ.
    #[error("batch {batch} has other columns than the first one")]
    OtherSchema {
        /// Its place among the batches.
        batch: usize,
    },
    /// The compressor failed.
    #[error(transparent)]
    Compress(#[from] CompressError),
}

/// A stripe, to be joined to others.
#[derive(Debug, Clone)]
pub struct EncodedStripe {
    pub(super) bytes: Bytes,
    pub(super) rows: u64,
    pub(super) index_bytes: u64,
    pub(super) data_bytes: u64,
    pub(super) footer_bytes: u64,
    pub(super) options: OrcOptions,
    pub(super) kinds: Vec<Kind>,
    pub(super) statistics: Vec<Statistics>,
}

impl EncodedStripe {
    /// Its bytes.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Its rows.
    pub fn rows(&self) -> u64 {
        self.rows
    }
}

/// Encodes the rows of one stripe. The result depends on nothing else, so that stripes may be encoded in any order and
/// on any thread. Without rows it is a stripe that leaves no trace in a file.
///
/// # Errors
/// [`EncodeError`]; the caller gives up on the file, not on the process.
pub fn encode_stripe(batches: &[RecordBatch], options: &OrcOptions) -> Result<EncodedStripe, EncodeError> {
    let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
    let mut stripe = EncodedStripe {
        bytes: Bytes::new(),
        rows: rows as u64,
        index_bytes: 0,
        data_bytes: 0,
        footer_bytes: 0,
        options: options.clone(),
        kinds: Vec::new(),
        statistics: Vec::new(),
    };
    if rows > 0 {
        stripe.kinds = kinds(&batches[0].schema())?;
        let columns = write_columns(batches, &stripe.kinds, options)?;
        stripe.statistics = columns.iter().map(|column| column.statistics.clone()).collect();
        lay_out(&mut stripe, columns, options)?;
    }
    Ok(stripe)
}

fn write_columns(
    batches: &[RecordBatch],
    expected: &[Kind],
    options: &OrcOptions,
) -> Result<Vec<FinishedColumn>, EncodeError> {
    let arrays: Vec<StructArray> = batches.iter().cloned().map(StructArray::from).collect();
    let root = Field::new("", arrays[0].data_type().clone(), false);
    let mut root = ColumnWriter::new(&root, "", options)?;
    let stride = if options.row_index_stride == 0 { usize::MAX } else { options.row_index_stride as usize };
    let mut in_group = 0;
    for (batch, array) in arrays.iter().enumerate() {
        if kinds(&batches[batch].schema())? != expected {
            return Err(EncodeError::OtherSchema { batch });
        }
        let mut done = 0;
        while done < batches[batch].num_rows() {
            if in_group == 0 {
                root.start_group();
            }
            let count = (batches[batch].num_rows() - done).min(stride - in_group);
            root.write(array, std::slice::from_ref(&(done..done + count)));
            done += count;
            in_group = (in_group + count) % stride;
            if in_group == 0 {
                root.end_group();
            }
        }
    }
    if in_group > 0 {
        root.end_group();
    }
    let mut columns = Vec::new();
    root.finish(&mut columns);
    Ok(columns)
}

fn lay_out(
    stripe: &mut EncodedStripe,
    columns: Vec<FinishedColumn>,
    options: &OrcOptions,
) -> Result<(), CompressError> {
    let mut compressor = Compressor::new(options.compression)?;
    let (mut index, mut data) = (Vec::new(), Vec::new());
    let (mut index_streams, mut data_streams, mut encodings) = (Vec::new(), Vec::new(), Vec::new());
    for (number, column) in (0..).zip(columns) {
        let mut positions = vec![Vec::new(); column.groups.len()];
        for stream in column.streams {
            let start = data.len();
            let chunks = compressor.compress(&stream.bytes, &mut data)?;
            add_positions(&mut positions, &stream, &chunks);
            data_streams.push(stream_message(stream.kind, number, data.len() - start));
        }
        if options.row_index_stride > 0 {
            let entries: Vec<Message> = column.groups.iter().zip(positions).map(entry_message).collect();
            let filters: Vec<&Message> =
                column.groups.iter().filter_map(|group| group.bloom_filter.as_ref()).collect();
            let mut add = |kind, message: &Message| {
                let start = index.len();
                compressor.compress(message.as_bytes(), &mut index)?;
                index_streams.push(stream_message(kind, number, index.len() - start));
                Ok(())
            };
            add(StreamKind::RowIndex, &Message::default().messages(1, &entries))?;
            if !filters.is_empty() {
                add(StreamKind::BloomFilterUtf8, &Message::default().messages(1, filters))?;
            }
        }
        encodings.push(column.encoding);
    }
    (stripe.index_bytes, stripe.data_bytes) = (index.len() as u64, data.len() as u64);
    index.append(&mut data);
    let footer = Message::default()
        .messages(1, index_streams.iter().chain(&data_streams))
        .messages(2, &encodings)
        .bytes(3, WRITER_TIMEZONE);
    compressor.compress(footer.as_bytes(), &mut index)?;
    stripe.footer_bytes = index.len() as u64 - stripe.index_bytes - stripe.data_bytes;
    stripe.bytes = index.into();
    Ok(())
}

fn add_positions(positions: &mut [Vec<u64>], stream: &Stream, chunks: &Chunks) {
    for (positions, mark) in positions.iter_mut().zip(&stream.marks) {
        positions.extend(chunks.position(mark.byte).chain(mark.within()));
    }
}

fn entry_message((group, positions): (&RowGroup, Vec<u64>)) -> Message {
    Message::default().packed(1, positions).message(2, &group.statistics)
}

fn stream_message(kind: StreamKind, column: u64, length: usize) -> Message {
    Message::default().uint(1, kind as u64).uint(2, column).uint(3, length as u64)
}
