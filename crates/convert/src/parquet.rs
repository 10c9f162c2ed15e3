//! Columns to Parquet: row groups are encoded on any thread and joined in order.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use bytes::Bytes;
use parquet::arrow::arrow_writer::{
    ArrowColumnChunk, ArrowColumnWriter, ArrowRowGroupWriterFactory, compute_leaves,
};
use parquet::arrow::{ArrowSchemaConverter, add_encoded_arrow_schema_to_metadata};
use parquet::basic::{GzipLevel, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::{KeyValue, ParquetMetaDataReader, SortingColumn};
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesPtr, WriterVersion};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::ColumnPath;
use serde::{Deserialize, Serialize};

/// How pages are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Compression {
    /// `UNCOMPRESSED`
    Uncompressed,
    /// `GZIP`
    Gzip,
    /// `SNAPPY`
    #[default]
    Snappy,
    /// `ZSTD`, which AWS does not have.
    Zstd,
    /// `LZ4_RAW`, which AWS does not have.
    Lz4Raw,
}

/// What readers find beside the values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Statistics {
    /// Nothing.
    None,
    /// The least and the greatest value of each row group's column.
    Chunk,
    /// Of each page too, with a page index.
    #[default]
    Page,
}

/// How files are written; the first six are members of `ParquetSerDe`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParquetOptions {
    /// The most bytes of a row group, as far as memory allows (`BlockSizeBytes`).
    pub block_size_bytes: u64,
    /// The most bytes of a page (`PageSizeBytes`).
    pub page_size_bytes: u64,
    /// How pages are compressed (`Compression`).
    pub compression: Compression,
    /// Whether values that come again are kept once (`EnableDictionaryCompression`).
    pub dictionary: bool,
    /// The format of pages (`WriterVersion`): 1 or 2.
    pub writer_version: u8,
    /// The most bytes that row groups are moved by so that they do not cross blocks of HDFS (`MaxPaddingBytes`). Object
    /// stores have no blocks: nothing is moved, whatever it says.
    pub max_padding_bytes: u64,
    /// What readers find beside the values.
    pub statistics: Statistics,
    /// Columns with bloom filters.
    pub bloom_filters: Vec<String>,
    /// Columns that the rows of a row group are sorted by, each with whether it descends.
    pub sort_columns: Vec<(String, bool)>,
    /// The most rows of a row group.
    pub row_group_rows: u64,
}

impl Default for ParquetOptions {
    fn default() -> Self {
        Self {
            block_size_bytes: 256 << 20,
            page_size_bytes: 1 << 20,
            compression: Compression::Snappy,
            dictionary: true,
            writer_version: 1,
            max_padding_bytes: 0,
            statistics: Statistics::Page,
            bloom_filters: Vec::new(),
            sort_columns: Vec::new(),
            row_group_rows: 1 << 20,
        }
    }
}

/// Settings do not fit a table.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OptionError {
    /// A column that does not exist is named.
    #[error("{setting}: there is no column '{column}'")]
    NoColumn {
        /// The setting.
        setting: &'static str,
        /// The column.
        column: String,
    },
    /// Rows cannot be sorted by a column of its type.
    #[error("sort_columns: rows cannot be sorted by '{0}', which is nested")]
    Unsortable(String),
    /// The schema has no form in Parquet.
    #[error("the schema has no form in Parquet: {0}")]
    Schema(String),
}

/// The files of a table.
#[derive(Debug, Clone)]
pub struct ParquetFormat {
    schema: SchemaRef,
    descriptor: parquet::schema::types::SchemaDescPtr,
    properties: WriterPropertiesPtr,
    /// Columns to sort by, by number.
    sort: Vec<(usize, bool)>,
    row_group_rows: usize,
    block_size_bytes: usize,
}

/// An encoded row group.
pub struct RowGroup {
    columns: Vec<ArrowColumnChunk>,
    rows: usize,
}

impl std::fmt::Debug for RowGroup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RowGroup").field("rows", &self.rows).finish_non_exhaustive()
    }
}

impl RowGroup {
    /// Its rows.
    pub fn rows(&self) -> usize {
        self.rows
    }
}

impl ParquetFormat {
    /// The files of a table with these settings.
    ///
    /// # Errors
    /// [`OptionError`].
    pub fn new(schema: SchemaRef, options: &ParquetOptions) -> Result<Self, OptionError> {
        let number = |setting, column: &String| {
            let found = schema.fields().iter().position(|field| field.name() == column);
            found.ok_or_else(|| OptionError::NoColumn { setting, column: column.clone() })
        };
        let mut sort = Vec::new();
        for (column, descends) in &options.sort_columns {
            let at = number("sort_columns", column)?;
            if schema.field(at).data_type().is_nested() {
                return Err(OptionError::Unsortable(column.clone()));
            }
            sort.push((at, *descends));
        }
        let mut builder = properties(options);
        for column in &options.bloom_filters {
            number("bloom_filters", column)?;
            builder = builder.set_column_bloom_filter_enabled(ColumnPath::from(column.as_str()), true);
        }
        let descriptor = ArrowSchemaConverter::new().convert(&schema);
        let descriptor = descriptor.map_err(|error| OptionError::Schema(error.to_string()))?;
        builder = builder.set_sorting_columns(sorting(&schema, &descriptor, &sort));
        let mut properties = builder.build();
        add_encoded_arrow_schema_to_metadata(&schema, &mut properties);
        let size = |size| usize::try_from(size).unwrap_or(usize::MAX);
        Ok(Self {
            schema,
            descriptor: Arc::new(descriptor),
            properties: Arc::new(properties),
            sort,
            row_group_rows: size(options.row_group_rows),
            block_size_bytes: size(options.block_size_bytes),
        })
    }

    pub(crate) fn row_group_rows(&self) -> usize {
        self.row_group_rows
    }

    pub(crate) fn block_size_bytes(&self) -> usize {
        self.block_size_bytes
    }

    /// Encodes rows as one row group; runs on any thread.
    ///
    /// # Errors
    /// The rows are not of the table.
    pub fn encode(&self, rows: &[RecordBatch]) -> Result<RowGroup, ParquetError> {
        let sorted = self.sorted(rows)?;
        let rows = sorted.as_ref().map_or(rows, std::slice::from_ref);
        let writers = ArrowRowGroupWriterFactory::new(&self.writer(io::sink())?, Arc::clone(&self.schema));
        let mut writers = writers.create_column_writers(0)?;
        for batch in rows {
            let columns = self.schema.fields().iter().zip(batch.columns());
            let leaves = columns.map(|(field, column)| compute_leaves(field, column));
            let leaves = leaves.collect::<Result<Vec<_>, _>>()?;
            for (writer, leaf) in writers.iter_mut().zip(leaves.iter().flatten()) {
                writer.write(leaf)?;
            }
        }
        let columns = writers.into_iter().map(ArrowColumnWriter::close).collect::<Result<_, _>>()?;
        Ok(RowGroup { columns, rows: rows.iter().map(RecordBatch::num_rows).sum() })
    }

    /// Begins a file; the bytes are its first.
    ///
    /// # Errors
    /// The schema has no form in Parquet, which [`new`](ParquetFormat::new) has found out.
    pub fn start(&self) -> Result<(Joiner, Bytes), ParquetError> {
        let out = Out::default();
        let writer = self.writer(out.clone())?;
        let mut joiner = Joiner { writer, out };
        let head = joiner.written()?;
        Ok((joiner, head))
    }

    fn writer<W: io::Write + Send>(&self, out: W) -> Result<SerializedFileWriter<W>, ParquetError> {
        SerializedFileWriter::new(out, self.descriptor.root_schema_ptr(), Arc::clone(&self.properties))
    }

    /// The rows in one piece in the order that was asked for, where one was.
    fn sorted(&self, rows: &[RecordBatch]) -> Result<Option<RecordBatch>, ParquetError> {
        if self.sort.is_empty() {
            return Ok(None);
        }
        let rows = arrow_select::concat::concat_batches(&self.schema, rows)?;
        let by = self.sort.iter().map(|(column, descending)| arrow_ord::sort::SortColumn {
            values: Arc::clone(rows.column(*column)),
            options: Some(arrow_schema::SortOptions { descending: *descending, nulls_first: false }),
        });
        let order = arrow_ord::sort::lexsort_to_indices(&by.collect::<Vec<_>>(), None)?;
        Ok(Some(arrow_select::take::take_record_batch(&rows, &order)?))
    }
}

/// The leaf of each column that rows are sorted by.
fn sorting(
    schema: &SchemaRef,
    descriptor: &parquet::schema::types::SchemaDescriptor,
    sort: &[(usize, bool)],
) -> Option<Vec<SortingColumn>> {
    let leaf = |column: usize| {
        let name = schema.field(column).name();
        let found = descriptor.columns().iter().position(|leaf| leaf.path().parts() == [name.as_str()])?;
        i32::try_from(found).ok()
    };
    let columns = sort.iter().filter_map(|(column, descending)| {
        Some(SortingColumn { column_idx: leaf(*column)?, descending: *descending, nulls_first: false })
    });
    (!sort.is_empty()).then(|| columns.collect())
}

fn properties(options: &ParquetOptions) -> parquet::file::properties::WriterPropertiesBuilder {
    use parquet::basic::Compression as Codec;
    let codec = match options.compression {
        Compression::Uncompressed => Codec::UNCOMPRESSED,
        Compression::Gzip => Codec::GZIP(GzipLevel::default()),
        Compression::Snappy => Codec::SNAPPY,
        Compression::Zstd => Codec::ZSTD(ZstdLevel::default()),
        Compression::Lz4Raw => Codec::LZ4_RAW,
    };
    let version =
        if options.writer_version == 2 { WriterVersion::PARQUET_2_0 } else { WriterVersion::PARQUET_1_0 };
    let statistics = match options.statistics {
        Statistics::None => EnabledStatistics::None,
        Statistics::Chunk => EnabledStatistics::Chunk,
        Statistics::Page => EnabledStatistics::Page,
    };
    let page_size = usize::try_from(options.page_size_bytes).unwrap_or(usize::MAX);
    WriterProperties::builder()
        .set_created_by(concat!("standpipe version ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_compression(codec)
        .set_writer_version(version)
        .set_dictionary_enabled(options.dictionary)
        .set_data_page_size_limit(page_size)
        .set_statistics_enabled(statistics)
        .set_offset_index_disabled(options.statistics != Statistics::Page)
}

/// Joins row groups to a file. The file is what [`start`](ParquetFormat::start), [`push`](Joiner::push) and
/// [`finish`](Joiner::finish) return, one behind the other.
pub struct Joiner {
    writer: SerializedFileWriter<Out>,
    out: Out,
}

impl std::fmt::Debug for Joiner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Joiner")
    }
}

impl Joiner {
    /// Adds a row group.
    ///
    /// # Errors
    /// It is not of the file's table.
    pub fn push(&mut self, group: RowGroup) -> Result<Bytes, ParquetError> {
        let mut writer = self.writer.next_row_group()?;
        for column in group.columns {
            column.append_to_row_group(&mut writer)?;
        }
        writer.close()?;
        self.written()
    }

    /// Ends the file, with what readers find in its footer.
    ///
    /// # Errors
    /// A row group is missing something.
    pub fn finish(mut self, metadata: &[(String, String)]) -> Result<Bytes, ParquetError> {
        for (key, value) in metadata {
            self.writer.append_key_value_metadata(KeyValue::new(key.clone(), value.clone()));
        }
        self.writer.finish()?;
        Ok(self.out.take())
    }

    fn written(&mut self) -> Result<Bytes, ParquetError> {
        self.writer.flush()?;
        Ok(self.out.take())
    }
}

/// The bytes behind a footer: its length, and the format's name.
const FOOTER_END: usize = 8;

/// How many rows a file has, or how many of its last bytes say so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Footer {
    /// So many rows.
    Rows(i64),
    /// The footer with its end has so many bytes, more than were given.
    Longer(u64),
}

/// Reads the footer of a file, of which `last` are the last bytes.
///
/// # Errors
/// It is none.
pub fn footer(last: &[u8]) -> Result<Footer, ParquetError> {
    let none = || ParquetError::General("the file does not end as one of Parquet".to_owned());
    let (before, end) = last.split_last_chunk::<FOOTER_END>().ok_or_else(none)?;
    let [a, b, c, d, name @ ..] = *end;
    let len = u32::from_le_bytes([a, b, c, d]) as usize;
    if name != *b"PAR1" {
        return Err(none());
    }
    let Some(start) = before.len().checked_sub(len) else {
        return Ok(Footer::Longer((len + FOOTER_END) as u64));
    };
    let metadata = ParquetMetaDataReader::decode_metadata(&before[start..])?;
    Ok(Footer::Rows(metadata.file_metadata().num_rows()))
}

/// What a writer has written and nobody has taken yet.
#[derive(Debug, Clone, Default)]
struct Out(Arc<Mutex<Vec<u8>>>);

impl Out {
    fn take(&self) -> Bytes {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner)).into()
    }
}

impl io::Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
