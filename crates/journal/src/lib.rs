//! The segmented write-ahead log of a delivery stream: nothing is acknowledged before it is on the disk here, and
//! nothing is forgotten before every record has its fate.
//!
//! ```text
//! append ──► queue ──► commit thread: one write, one sync ──► answer ──► readers, workers
//!                                        (CLOSE, DONE, SETTLE … go the same way)
//! ```
//!
//! One log per stream, in a folder of its own, of segments that start small and double with the stream's rate. The
//! files are the only truth: everything in memory is rebuilt from them by recovery, which is the only start-up path.
//!
//! A segment may be encrypted under a key of its own; [`keys`] is the seam to whoever keeps keys.
//!
//! Reading order: [`format`](mod@format) (the bytes), [`control`] (the decisions), [`journal`] (the interface), `writer` (group
//! commit), `recover`, `spool` (what was made of a batch); [`inspect`] and [`verify`](mod@verify) look into a folder without opening it.

mod budget;
mod cipher;
pub mod control;
pub mod disk;
pub mod format;
pub mod inspect;
pub mod journal;
mod keyed;
pub mod keys;
mod pool;
mod pressure;
mod puts;
mod reader;
mod recover;
mod replay;
mod rewrap;
mod segment;
mod slots;
mod spool;
pub mod verify;
mod writer;

pub use budget::{DiskBudget, Shortage};
pub use format::SegmentId;
pub use journal::{
    Append, AppendError, AppendReceipt, Arrival, Cursor, Journal, JournalOptions, Shelf, SyncObserver, Tip,
    Usage,
};
pub use pool::CommitPool;
pub use reader::{BatchReader, Chunk};
pub use recover::{OpenError, RecoveryReport};
pub use rewrap::SegmentKey;
pub use spool::{
    BUFFER_BYTES as SPOOL_BUFFER_BYTES, ObjectPlace, SpoolDamage, SpoolError, SpoolId, SpoolReader,
    SpoolWriter,
};
pub use writer::Kept;
