//! An object's bytes, made while they are sent: chunks transformed and encoded in parallel, joined in order.

use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt};
use standpipe_encode::{EncodedChunk, Entry, Joiner};
use standpipe_model::{Body, BodyError, Compression};

use super::fates::{Counted, Made, Seen};
use super::pieces::{CHUNKS_AHEAD, Pieces, Work, failed};
use crate::processors::ProcessorSpec;

/// About so many bytes of records are read, transformed and encoded in one piece.
const CHUNK_BYTES: u64 = 1 << 20;
/// The same where records may come to a thousand times their size, as bombs of gzip do: of 64 records of 1 KiB each may
/// come to 1 MiB.
const EXPANDING_CHUNK_BYTES: u64 = 64 << 10;
/// The memory that one object's chunks take at the most: read, being encoded, and waiting.
pub(crate) const WORKING_BYTES: u64 = (CHUNKS_AHEAD as u64 + 2) * CHUNK_BYTES;

/// About so many bytes of records go through these processors in one piece.
pub(crate) fn chunk_bytes(processors: &[ProcessorSpec]) -> u64 {
    if processors.iter().any(ProcessorSpec::expands) { EXPANDING_CHUNK_BYTES } else { CHUNK_BYTES }
}

/// How a chunk is made.
pub(crate) type Make = Work<Made<EncodedChunk>>;

/// A batch's records on their way to be an object.
pub(crate) struct ObjectBody {
    /// The bytes; `None` where not one row is to be sent.
    pub(crate) body: Option<Body>,
    /// What became of the records; whole once the body has ended, and [`Fates::complete`] then.
    pub(crate) seen: Seen,
}

/// Begins to make an object.
///
/// # Errors
/// The records could not be read.
pub(crate) async fn open(
    pieces: Pieces<Made<EncodedChunk>>,
    compression: Compression,
    entry: Entry,
) -> Result<ObjectBody, BodyError> {
    let mut making = Counted::new(pieces);
    let seen = making.seen();
    // An object without rows is none, which shows only when the first row does.
    let first = loop {
        match making.next().await? {
            Some(chunk) if chunk.rows() == 0 => {}
            other => break other,
        }
    };
    let Some(first) = first else { return Ok(ObjectBody { body: None, seen }) };
    let (mut joiner, header) = Joiner::start(compression, entry).map_err(failed)?;
    let head = joiner.push(&first).map_err(failed)?;
    let begin = stream::iter([Ok(header), Ok(head)]);
    let body = begin.chain(join(making, joiner)).filter(|piece| {
        let keep = piece.as_ref().map_or(true, |bytes| !bytes.is_empty());
        async move { keep }
    });
    Ok(ObjectBody { body: Some(body.boxed()), seen })
}

fn join(making: Counted<EncodedChunk>, joiner: Joiner) -> BoxStream<'static, Result<Bytes, BodyError>> {
    let steps = stream::unfold(Some((making, joiner)), |state| async move {
        let (mut making, mut joiner) = state?;
        match making.next().await {
            Ok(Some(chunk)) => match joiner.push(&chunk).map_err(failed) {
                Ok(bytes) => Some((Ok(bytes), Some((making, joiner)))),
                Err(error) => Some((Err(error), None)),
            },
            Ok(None) => Some((Ok(joiner.finish()), None)),
            Err(error) => Some((Err(error), None)),
        }
    });
    steps.boxed()
}
