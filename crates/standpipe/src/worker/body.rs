//! An object's bytes, made while they are sent: chunks read from the journal, encoded in parallel, joined in order.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt};
use standpipe_encode::{ChunkEncoder, EncodedChunk, Entry, Joiner};
use standpipe_journal::{BatchReader, Chunk};
use standpipe_model::{Body, BodyError, Compression};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::{JoinHandle, spawn_blocking};

/// About so many bytes of records are read and encoded in one piece.
const CHUNK_BYTES: u64 = 1 << 20;
/// How many encoded chunks of one object wait to be sent, at the most; as many again may be in the making.
const CHUNKS_AHEAD: usize = 2;
/// The memory that one object's chunks take at the most: read, being encoded, and waiting.
pub(crate) const WORKING_BYTES: u64 = (CHUNKS_AHEAD as u64 + 2) * CHUNK_BYTES;

/// A batch's records on their way to be an object.
pub(crate) struct ObjectBody {
    /// The bytes.
    pub(crate) body: Body,
    /// How many records could not be read; final once the body has ended.
    pub(crate) lost: Arc<AtomicU64>,
}

type Encoding = JoinHandle<Result<EncodedChunk, BodyError>>;

/// What comes to be joined. Only [`Piece::End`] ends an object: a channel that just closes is a failure, or a producer
/// that died half-way would make a short object look whole.
enum Piece {
    Chunk(Encoding),
    End,
}

/// The body's producer went away before the end of the batch.
#[derive(Debug, thiserror::Error)]
#[error("the object's producer ended before the batch did")]
struct Unfinished;

fn failed(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> BodyError {
    BodyError(error.into())
}

/// Begins to read a batch. `None` when not one of its records can be read.
///
/// # Errors
/// The journal could not be read.
pub(crate) async fn open(
    mut reader: BatchReader,
    encoder: ChunkEncoder,
    compression: Compression,
    entry: Entry,
    processors: Arc<Semaphore>,
) -> Result<Option<ObjectBody>, BodyError> {
    let first;
    (reader, first) = read(reader).await?;
    let Some(first) = first else { return Ok(None) };
    let (joiner, header) = Joiner::start(compression, entry).map_err(failed)?;
    let lost = Arc::new(AtomicU64::new(0));
    let (chunks, encoded) = mpsc::channel(CHUNKS_AHEAD);
    tokio::spawn(produce(reader, first, encoder, processors, chunks, Arc::clone(&lost)));
    let body = stream::once(async { Ok(header) }).chain(join(encoded, joiner)).filter(|piece| {
        let keep = piece.as_ref().map_or(true, |bytes| !bytes.is_empty());
        async move { keep }
    });
    Ok(Some(ObjectBody { body: body.boxed(), lost }))
}

async fn read(mut reader: BatchReader) -> Result<(BatchReader, Option<Chunk>), BodyError> {
    let read = spawn_blocking(move || {
        let chunk = reader.next_chunk(CHUNK_BYTES)?;
        Ok::<_, io::Error>((reader, chunk))
    });
    read.await.map_err(failed)?.map_err(failed)
}

/// Reads on and starts the encoding of each chunk; ends when the batch does or when nobody wants it any more.
async fn produce(
    mut reader: BatchReader,
    first: Chunk,
    encoder: ChunkEncoder,
    processors: Arc<Semaphore>,
    chunks: mpsc::Sender<Result<Piece, BodyError>>,
    lost: Arc<AtomicU64>,
) {
    let mut next = Some(first);
    while let Some(chunk) = next {
        let Ok(processor) = Arc::clone(&processors).acquire_owned().await else { return };
        let encoder = encoder.clone();
        let encoding = spawn_blocking(move || {
            let _processor = processor;
            encoder.encode(chunk.iter()).map_err(failed)
        });
        if chunks.send(Ok(Piece::Chunk(encoding))).await.is_err() {
            return;
        }
        match read(reader).await {
            Ok((again, chunk)) => (reader, next) = (again, chunk),
            Err(error) => {
                // Nobody listening any more is no loss: the batch is still in the journal.
                drop(chunks.send(Err(error)).await);
                return;
            }
        }
    }
    lost.store(reader.lost(), Ordering::Release);
    // As above.
    drop(chunks.send(Ok(Piece::End)).await);
}

fn join(
    encoded: mpsc::Receiver<Result<Piece, BodyError>>,
    joiner: Joiner,
) -> BoxStream<'static, Result<Bytes, BodyError>> {
    let steps = stream::unfold(Some((encoded, joiner)), |state| async move {
        let (mut encoded, mut joiner) = state?;
        match encoded.recv().await {
            Some(Ok(Piece::End)) => Some((Ok(joiner.finish()), None)),
            Some(Ok(Piece::Chunk(chunk))) => match add(&mut joiner, chunk).await {
                Ok(bytes) => Some((Ok(bytes), Some((encoded, joiner)))),
                Err(error) => Some((Err(error), None)),
            },
            Some(Err(error)) => Some((Err(error), None)),
            None => Some((Err(failed(Unfinished)), None)),
        }
    });
    steps.boxed()
}

async fn add(joiner: &mut Joiner, chunk: Encoding) -> Result<Bytes, BodyError> {
    let chunk = chunk.await.map_err(failed)??;
    joiner.push(&chunk).map_err(failed)
}
