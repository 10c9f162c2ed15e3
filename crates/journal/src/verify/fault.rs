//! What can be wrong with a journal's files, in words for an operator.

use std::path::PathBuf;

use serde::Serialize;
use standpipe_model::{BatchId, DestinationId, Position};

use crate::format::VERSION;

/// Something that is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The file.
    pub path: PathBuf,
    /// The place in it, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset: Option<u64>,
    /// What is wrong.
    pub fault: Fault,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.path.display())?;
        if let Some(offset) = self.offset {
            write!(f, " at byte {offset}")?;
        }
        write!(f, ": {}", self.fault)
    }
}

/// What can be wrong with a journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// See the message, as for all of them.
    #[error("the head cannot be read")]
    Head,
    /// Written by a newer standpipe.
    #[error("journal format {found}; this build reads up to {VERSION}")]
    Newer {
        /// Its version.
        found: u16,
    },
    /// The segment is encrypted, and its data key is gone from both places where it was.
    #[error("neither key slot can be read, so that no body can")]
    KeySlots,
    /// The name and the head say different things.
    #[error("the head says that this is segment {sequence}")]
    Sequence {
        /// The head's sequence.
        sequence: u64,
    },
    /// The file was cut short, or has grown.
    #[error("the file has {found} bytes, its head says {expected}")]
    Length {
        /// The file's length.
        found: u64,
        /// The head's capacity.
        expected: u64,
    },
    /// What stands in its place was never written there.
    #[error("the footer cannot be read")]
    Footer,
    /// The footer and the frames say different things.
    #[error("the footer says {footer} {what}, the frames say {frames}")]
    Disagree {
        /// Of what.
        what: &'static str,
        /// The footer's number.
        footer: u64,
        /// The frames'.
        frames: u64,
    },
    /// A frame's header is damaged, or something stands where no frame was written.
    #[error("these bytes are no frame")]
    NoFrame,
    /// A frame's body is damaged.
    #[error("the body of a {kind} frame is damaged (position {first}, {count} records)")]
    Body {
        /// The frame's kind.
        kind: &'static str,
        /// Its first position.
        first: Position,
        /// Its records.
        count: u32,
    },
    /// A DATA frame whose records do not add up.
    #[error("a DATA frame does not hold the {count} records that it says")]
    Records {
        /// What its header says.
        count: u32,
    },
    /// A control frame that is not the JSON of its kind.
    #[error("a {kind} frame cannot be understood: {error}")]
    Control {
        /// The frame's kind.
        kind: &'static str,
        /// The cause.
        error: String,
    },
    /// A commit group that begins behind its own frame.
    #[error("a frame says that its commit group began at byte {group_start}")]
    Group {
        /// What it says.
        group_start: u32,
    },
    /// Positions that nobody has delivered and nobody can read.
    #[error("positions {first} to {last} are missing")]
    Missing {
        /// The first.
        first: Position,
        /// The last.
        last: Position,
    },
    /// Positions that were given out twice.
    #[error("position {found} comes again, {expected} was expected")]
    Again {
        /// The position that was expected.
        expected: Position,
        /// The position that came.
        found: Position,
    },
    /// Segments begin with the state.
    #[error("the segment does not begin with a STATE frame")]
    NoState,
    /// A STATE that the frames before it do not come to.
    #[error("the STATE is not what the frames before it come to")]
    StateDiffers,
    /// A batch settled with other than its number of records.
    #[error("batch {batch} has {expected} records, but fates for {found}")]
    Fates {
        /// The batch.
        batch: BatchId,
        /// The records of its range.
        expected: u64,
        /// The sum of its tally.
        found: u64,
    },
    /// The conservation law is broken.
    #[error(
        "destination {destination}: of {closed} closed records {accounted} are settled or in open batches"
    )]
    Conservation {
        /// The destination.
        destination: DestinationId,
        /// Records between its start and its cursor.
        closed: u64,
        /// The settled ones and those in open batches.
        accounted: u64,
    },
    /// Records were closed that were never accepted.
    #[error("destination {destination} is at position {cursor}, behind the journal's end {next}")]
    Cursor {
        /// The destination.
        destination: DestinationId,
        /// Its cursor.
        cursor: Position,
        /// The journal's end.
        next: Position,
    },
}
