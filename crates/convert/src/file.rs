//! Files of either format, in parts.

use arrow_array::RecordBatch;
use bytes::Bytes;

use crate::parquet::{Joiner, ParquetFormat, RowGroup};

/// How the files of a table are written.
#[derive(Debug, Clone)]
pub enum FileFormat {
    /// Parquet.
    Parquet(ParquetFormat),
}

/// An encoded part of a file: a row group or a stripe.
#[derive(Debug)]
pub enum FilePart {
    /// A row group of Parquet.
    Parquet(RowGroup),
}

/// Joins the parts of a file. The file is what [`start`](FileFormat::start), [`push`](FileJoiner::push) and
/// [`finish`](FileJoiner::finish) return, one behind the other.
#[derive(Debug)]
pub enum FileJoiner {
    /// Parquet.
    Parquet(Joiner),
}

/// A file cannot be written: its parts do not belong together, or the rows are not of its table.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// Parquet.
    #[error(transparent)]
    Parquet(#[from] parquet::errors::ParquetError),
}

impl FileFormat {
    /// The most rows of a part.
    pub fn part_rows_max(&self) -> usize {
        match self {
            Self::Parquet(format) => format.row_group_rows(),
        }
    }

    /// The most bytes of columns of a part, as far as the settings say.
    pub fn part_bytes_max(&self) -> usize {
        match self {
            Self::Parquet(format) => format.block_size_bytes(),
        }
    }

    /// Encodes rows as one part; runs on any thread.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn encode(&self, rows: &[RecordBatch]) -> Result<FilePart, FileError> {
        match self {
            Self::Parquet(format) => Ok(FilePart::Parquet(format.encode(rows)?)),
        }
    }

    /// Begins a file; the bytes are its first.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn start(&self) -> Result<(FileJoiner, Bytes), FileError> {
        match self {
            Self::Parquet(format) => {
                let (joiner, head) = format.start()?;
                Ok((FileJoiner::Parquet(joiner), head))
            }
        }
    }
}

impl FileJoiner {
    /// Adds a part.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn push(&mut self, part: FilePart) -> Result<Bytes, FileError> {
        match (self, part) {
            (Self::Parquet(joiner), FilePart::Parquet(group)) => Ok(joiner.push(group)?),
        }
    }

    /// Ends the file, with what readers find in its footer.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn finish(self, metadata: &[(String, String)]) -> Result<Bytes, FileError> {
        match self {
            Self::Parquet(joiner) => Ok(joiner.finish(metadata)?),
        }
    }
}
