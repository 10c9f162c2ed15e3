//! Files of any format, in parts.

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use bytes::Bytes;

use crate::avro::{self, AvroFormat, EncodedBlocks};
use crate::codec::CompressError;
use crate::orc::{self, EncodedStripe, OptionsError, OrcOptions, encode_stripe};
use crate::parquet::{self, ParquetFormat, RowGroup};

/// How the files of a table are written.
#[derive(Debug, Clone)]
pub enum FileFormat {
    /// Parquet.
    Parquet(ParquetFormat),
    /// ORC.
    Orc(OrcFormat),
    /// Avro.
    Avro(AvroFormat),
}

/// The ORC files of a table.
#[derive(Debug, Clone)]
pub struct OrcFormat {
    schema: SchemaRef,
    options: OrcOptions,
}

impl OrcFormat {
    /// The files of a table with these settings.
    ///
    /// # Errors
    /// [`OptionsError`].
    pub fn new(schema: SchemaRef, options: OrcOptions) -> Result<Self, OptionsError> {
        options.validate(&schema)?;
        Ok(Self { schema, options })
    }
}

/// An encoded part of a file: a row group, a stripe or some blocks.
#[derive(Debug)]
pub enum FilePart {
    /// A row group of Parquet.
    Parquet(RowGroup),
    /// A stripe of ORC.
    Orc(EncodedStripe),
    /// Blocks of Avro.
    Avro(EncodedBlocks),
}

/// Joins the parts of a file. The file is what [`start`](FileFormat::start), [`push`](FileJoiner::push) and
/// [`finish`](FileJoiner::finish) return, one behind the other.
#[derive(Debug)]
pub struct FileJoiner {
    joiner: Joiner,
    /// What readers find in the file's footer.
    metadata: Vec<(String, String)>,
}

#[derive(Debug)]
enum Joiner {
    Parquet(parquet::Joiner),
    Orc(orc::Joiner),
    Avro(avro::Joiner),
}

/// A file cannot be written: its parts do not belong together, or the rows are not of its table.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// Parquet.
    #[error(transparent)]
    Parquet(#[from] ::parquet::errors::ParquetError),
    /// A setting of ORC.
    #[error(transparent)]
    Options(#[from] OptionsError),
    /// A stripe.
    #[error(transparent)]
    Stripe(#[from] orc::EncodeError),
    /// The stripes of a file.
    #[error(transparent)]
    Join(#[from] orc::JoinError),
    /// The footer of a file.
    #[error(transparent)]
    Footer(#[from] CompressError),
    /// Blocks.
    #[error(transparent)]
    Blocks(#[from] avro::EncodeError),
    /// A part of one format in a file of the other: a mistake of the caller.
    #[error("a part of one format cannot be part of a file of another")]
    OtherFormat,
}

impl FileFormat {
    /// The most rows of a part.
    pub fn part_rows_max(&self) -> usize {
        match self {
            Self::Parquet(format) => format.row_group_rows(),
            Self::Orc(_) | Self::Avro(_) => usize::MAX,
        }
    }

    /// The most bytes of columns of a part, as far as the settings say.
    pub fn part_bytes_max(&self) -> usize {
        match self {
            Self::Parquet(format) => format.block_size_bytes(),
            Self::Orc(format) => usize::try_from(format.options.stripe_size_bytes).unwrap_or(usize::MAX),
            Self::Avro(_) => usize::MAX,
        }
    }

    /// Encodes rows as one part; runs on any thread.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn encode(&self, rows: &[RecordBatch]) -> Result<FilePart, FileError> {
        match self {
            Self::Parquet(format) => Ok(FilePart::Parquet(format.encode(rows)?)),
            Self::Orc(format) => Ok(FilePart::Orc(encode_stripe(rows, &format.options)?)),
            Self::Avro(format) => Ok(FilePart::Avro(format.encode(rows)?)),
        }
    }

    /// Begins a file, with what readers find in it beside the rows; the bytes are its first.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn start(&self, metadata: &[(String, String)]) -> Result<(FileJoiner, Bytes), FileError> {
        let (joiner, head) = match self {
            Self::Parquet(format) => {
                let (joiner, head) = format.start()?;
                (Joiner::Parquet(joiner), head)
            }
            Self::Orc(format) => {
                let (joiner, head) = orc::Joiner::start(&format.schema, &format.options)?;
                (Joiner::Orc(joiner), head)
            }
            Self::Avro(format) => {
                let (joiner, head) = format.start(metadata);
                (Joiner::Avro(joiner), head)
            }
        };
        Ok((FileJoiner { joiner, metadata: metadata.to_vec() }, head))
    }
}

impl FileJoiner {
    /// Adds a part.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn push(&mut self, part: FilePart) -> Result<Bytes, FileError> {
        match (&mut self.joiner, part) {
            (Joiner::Parquet(joiner), FilePart::Parquet(group)) => Ok(joiner.push(group)?),
            (Joiner::Orc(joiner), FilePart::Orc(stripe)) => Ok(joiner.push(stripe)?),
            (Joiner::Avro(joiner), FilePart::Avro(blocks)) => Ok(joiner.push(&blocks)),
            _ => Err(FileError::OtherFormat),
        }
    }

    /// Ends the file.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn finish(self) -> Result<Bytes, FileError> {
        match self.joiner {
            Joiner::Parquet(joiner) => Ok(joiner.finish(&self.metadata)?),
            Joiner::Orc(joiner) => Ok(joiner.finish(&self.metadata)?),
            Joiner::Avro(_) => Ok(Bytes::new()),
        }
    }
}
