//! Record format conversion: rows of JSON to columns by a schema, and columns to the files of analytics.
//!
//! Rows are read one by one straight into the buffers of columns, so that a row that does not fit the schema is said by
//! itself and leaves nothing behind. Columns then become a part of a file on any thread, and the parts are joined in
//! order, so that no file is ever in memory as a whole.
//!
//! # Invariants
//! - A row is in the columns as a whole or not at all.
//! - The same rows and the same settings give the same parts.

pub mod orc;
