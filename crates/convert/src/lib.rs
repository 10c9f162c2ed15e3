//! Record format conversion: rows of JSON to columns by a schema, and columns to the files of analytics.
//!
//! Rows are read one by one straight into the buffers of columns, so that a row that does not fit the schema is said by
//! itself and leaves nothing behind. Columns then become a part of a file on any thread, and the parts are joined in
//! order, so that no file is ever in memory as a whole.
//!
//! # Reading order
//! [`Type`] and [`TableSchema`] (or what [`infer`] proposes) → [`RowReader`] (by [`Deserializer`]) → [`FileFormat`] →
//! [`parquet`], [`orc`] and [`avro`], or [`JsonLines`] where the rows stay text; [`manifest`] where files become a part of a
//! table of Iceberg.
//!
//! # Invariants
//! - A record is in the columns as a whole or not at all.
//! - The same rows and the same settings give the same parts.

pub mod avro;
mod cells;
mod codec;
mod file;
mod growing;
mod json;
mod lines;
pub mod manifest;
pub mod orc;
pub mod parquet;
mod schema;
mod types;
mod varint;

pub use arrow_array::RecordBatch;
pub use arrow_schema::ArrowError;
pub use codec::CompressError;
pub use file::{FileError, FileFormat, FileJoiner, FilePart, OrcFormat};
pub use json::infer;
pub use json::{Deserializer, JodaError, KeyError, OpenX, RowError, RowPlan, RowReader, TimestampFormat};
pub use lines::JsonLines;
pub use schema::{COLUMNS_MAX, Column, SchemaError, TableSchema};
pub use types::{DEPTH_MAX, Type, TypeError};
