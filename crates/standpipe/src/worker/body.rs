//! An object's bytes, made while they are sent: chunks read from the journal, transformed and encoded in parallel,
//! joined in order.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt};
use standpipe_encode::{EncodedChunk, Entry, Joiner};
use standpipe_journal::{BatchReader, Chunk};
use standpipe_model::{Body, BodyError, Compression};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::{JoinHandle, spawn_blocking};

use super::fates::Fates;

/// About so many bytes of records are read, transformed and encoded in one piece.
pub(crate) const CHUNK_BYTES: u64 = 1 << 20;
/// The same where records may come to a thousand times their size, as bombs of gzip do: of 64 records of 1 KiB each may
/// come to 1 MiB.
pub(crate) const EXPANDING_CHUNK_BYTES: u64 = 64 << 10;
/// How many encoded chunks of one object wait to be sent, at the most; as many again may be in the making.
const CHUNKS_AHEAD: usize = 2;
/// The memory that one object's chunks take at the most: read, being encoded, and waiting.
pub(crate) const WORKING_BYTES: u64 = (CHUNKS_AHEAD as u64 + 2) * CHUNK_BYTES;

/// What a chunk comes to: its part of the object, and what became of its records.
pub(crate) struct Made {
    pub(crate) encoded: EncodedChunk,
    pub(crate) fates: Fates,
}

/// How a chunk is made; runs where it may take long.
pub(crate) type Make = Arc<dyn Fn(&Chunk) -> Result<Made, BodyError> + Send + Sync>;

/// What is known of a batch's records, filled while its object's bytes are made.
pub(crate) type Seen = Arc<Mutex<Fates>>;

/// A batch's records on their way to be an object.
pub(crate) struct ObjectBody {
    /// The bytes; `None` where not one row is to be sent.
    pub(crate) body: Option<Body>,
    /// What became of the records; whole once the body has ended, and [`Fates::complete`] then.
    pub(crate) seen: Seen,
}

type Making = JoinHandle<Result<Made, BodyError>>;

/// What comes to be joined. Only [`Piece::End`] ends an object: a channel that just closes is a failure, or a producer
/// that died half-way would make a short object look whole.
enum Piece {
    Chunk(Making),
    End { lost: u64 },
}

type Pieces = mpsc::Receiver<Result<Piece, BodyError>>;

/// The body's producer went away before the end of the batch.
#[derive(Debug, thiserror::Error)]
#[error("the object's producer ended before the batch did")]
struct Unfinished;

pub(crate) fn failed(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> BodyError {
    BodyError(error.into())
}

/// Begins to make an object of a batch.
///
/// # Errors
/// The journal could not be read.
pub(crate) async fn open(
    reader: BatchReader,
    chunk_bytes: u64,
    make: Make,
    compression: Compression,
    entry: Entry,
    processors: Arc<Semaphore>,
) -> Result<ObjectBody, BodyError> {
    let (sender, pieces) = mpsc::channel(CHUNKS_AHEAD);
    tokio::spawn(produce(reader, chunk_bytes, make, processors, sender));
    let mut making = Chunks { pieces, seen: Seen::default() };
    let seen = Arc::clone(&making.seen);
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

async fn read(mut reader: BatchReader, bytes: u64) -> Result<(BatchReader, Option<Chunk>), BodyError> {
    let read = spawn_blocking(move || {
        let chunk = reader.next_chunk(bytes)?;
        Ok::<_, io::Error>((reader, chunk))
    });
    read.await.map_err(failed)?.map_err(failed)
}

/// Reads on and starts the making of each chunk; ends when the batch does or when nobody wants it any more.
async fn produce(
    mut reader: BatchReader,
    chunk_bytes: u64,
    make: Make,
    processors: Arc<Semaphore>,
    chunks: mpsc::Sender<Result<Piece, BodyError>>,
) {
    loop {
        let chunk;
        match read(reader, chunk_bytes).await {
            Ok((again, next)) => (reader, chunk) = (again, next),
            Err(error) => {
                // Nobody listening any more is no loss: the batch is still in the journal.
                drop(chunks.send(Err(error)).await);
                return;
            }
        }
        let Some(chunk) = chunk else { break };
        let Ok(processor) = Arc::clone(&processors).acquire_owned().await else { return };
        let make = Arc::clone(&make);
        let making = spawn_blocking(move || {
            let _processor = processor;
            make(&chunk)
        });
        if chunks.send(Ok(Piece::Chunk(making))).await.is_err() {
            return;
        }
    }
    // As above.
    drop(chunks.send(Ok(Piece::End { lost: reader.lost() })).await);
}

/// Chunks in order, as they are made.
struct Chunks {
    pieces: Pieces,
    seen: Seen,
}

impl Chunks {
    /// The next chunk; `None` behind the last.
    async fn next(&mut self) -> Result<Option<EncodedChunk>, BodyError> {
        let seen = |note: &mut dyn FnMut(&mut Fates)| {
            note(&mut self.seen.lock().unwrap_or_else(PoisonError::into_inner));
        };
        match self.pieces.recv().await {
            Some(Ok(Piece::Chunk(making))) => {
                let Made { encoded, fates } = making.await.map_err(failed)??;
                seen(&mut |all| all.add(&fates));
                Ok(Some(encoded))
            }
            Some(Ok(Piece::End { lost })) => {
                seen(&mut |all| (all.lost, all.complete) = (lost, true));
                Ok(None)
            }
            Some(Err(error)) => Err(error),
            None => Err(failed(Unfinished)),
        }
    }
}

fn join(making: Chunks, joiner: Joiner) -> BoxStream<'static, Result<Bytes, BodyError>> {
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
