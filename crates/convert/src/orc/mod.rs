//! ORC files, as columns become stripes and stripes a file.
//!
//! [`encode_stripe`] turns record batches into a stripe, as a pure function that any number of threads may run at once;
//! a [`Joiner`] takes the stripes in order and adds what belongs to the file as a whole.
//!
//! # Limits
//! - A stripe is in memory as its batches, its streams and its compressed bytes. The caller cuts stripes.
//! - A timestamp within the last second before 1970 that is not within its first millisecond reads as a second later:
//!   the format cannot say it, and every writer has it so. [`is_exact`] tells.
//! - `char` and `varchar` are types of the footer; texts are neither cut nor filled up here.
//!
//! # Invariants
//! - The same batches and options give the same bytes.
//!
//! # Example
//! ```
//! use std::sync::Arc;
//!
//! use arrow_array::{ArrayRef, Int64Array, RecordBatch};
//! use standpipe_convert::orc::{Joiner, OrcOptions, encode_stripe};
//!
//! let column: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None]));
//! let batch = RecordBatch::try_from_iter([("n", column)])?;
//! let options = OrcOptions::default();
//! let (mut joiner, header) = Joiner::start(&batch.schema(), &options)?;
//! let mut file = header.to_vec();
//! for _ in 0..2 {
//!     file.extend_from_slice(&joiner.push(encode_stripe(&[batch.clone()], &options)?)?);
//! }
//! file.extend_from_slice(&joiner.finish(&[])?);
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```

mod options;
mod types;

mod join;
mod stripe;

mod column;
mod values;

mod text;
mod timestamp;

mod bloom;
mod statistics;

mod integer;
mod stream;

mod compress;
mod proto;

pub use join::{JoinError, Joiner};
pub use options::{Compression, FormatVersion, OptionsError, OrcOptions};
pub use stripe::{EncodeError, EncodedStripe, encode_stripe};
pub use timestamp::is_exact;
pub use types::{TYPE_KEY, UnsupportedType};
