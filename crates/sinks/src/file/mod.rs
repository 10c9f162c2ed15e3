//! The local folder as an object store: `<root>/<bucket>/<key>`.
//!
//! An object is written to a temporary file beside its final name, synced, published under its key only if nothing is
//! there yet, and its folder synced, so that a receipt means that the object survives a power cut. (object_store's
//! local file system syncs nothing, hence this sink.)
//!
//! # Invariants
//! - A file under a key is whole: no reader ever sees a part of an object.
//! - No key leads out of the root, and no object replaces another.
//! - What an attempt leaves behind when the process dies is named `.standpipe-tmp-…`; [`sweep`](standpipe_model::Sink::sweep)
//!   removes it. A dropped attempt cleans up behind itself.
//!
//! # Limits
//! A key's segments have at most 255 bytes. An attempt holds at most four pieces of the body in memory.

mod browse;
mod folders;
mod options;
mod path;
mod read;
mod sink;
mod write;

#[cfg(test)]
mod tests;

pub use options::FileOptions;
pub(crate) use path::SEGMENT_BYTES_MAX;
pub use path::{PathError, check_key};
pub use sink::FileSink;
