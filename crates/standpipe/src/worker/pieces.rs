//! The way of a batch's chunks: read one behind the other, worked on in parallel, given out in order.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use standpipe_journal::{BatchReader, Chunk, SpoolReader};
use standpipe_model::{BodyError, Position, RECORD_PREFIX_LEN, Records, Timestamp};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::{JoinHandle, spawn_blocking};

/// How many chunks wait to be taken, at the most; as many again may be in the making.
pub(crate) const CHUNKS_AHEAD: usize = 2;

/// Where chunks come from; blocking.
pub(crate) trait Chunks: Send + 'static {
    /// About `want` bytes; `None` behind the last.
    fn next_chunk(&mut self, want: u64) -> io::Result<Option<Chunk>>;

    /// How many records could not be read.
    fn lost(&self) -> u64 {
        0
    }
}

impl Chunks for BatchReader {
    fn next_chunk(&mut self, want: u64) -> io::Result<Option<Chunk>> {
        BatchReader::next_chunk(self, want)
    }

    fn lost(&self) -> u64 {
        BatchReader::lost(self)
    }
}

impl Chunks for SpoolReader {
    fn next_chunk(&mut self, want: u64) -> io::Result<Option<Chunk>> {
        SpoolReader::next_chunk(self, want)
    }
}

/// Cuts chunks into pieces of at most so many records: where a few bytes of a record come to many of columns.
pub(crate) struct Split<C> {
    inner: C,
    records_max: usize,
    rest: VecDeque<(Bytes, Position, Timestamp)>,
}

impl<C: Chunks> Split<C> {
    pub(crate) fn new(inner: C, records_max: usize) -> Self {
        Self { inner, records_max, rest: VecDeque::new() }
    }
}

impl<C: Chunks> Chunks for Split<C> {
    fn next_chunk(&mut self, want: u64) -> io::Result<Option<Chunk>> {
        if self.rest.is_empty() {
            let Some(chunk) = self.inner.next_chunk(want)? else { return Ok(None) };
            if chunk.records <= self.records_max as u64 {
                return Ok(Some(chunk));
            }
            let payloads = chunk.payloads.into_iter().zip(chunk.origins);
            self.rest = payloads.map(|(payload, (first, arrived_at))| (payload, first, arrived_at)).collect();
        }
        let mut piece = Chunk { payloads: Vec::new(), origins: Vec::new(), records: 0, bytes: 0 };
        while piece.records < self.records_max as u64
            && let Some((payload, first, arrived_at)) = self.rest.pop_front()
        {
            let room = self.records_max - piece.records as usize;
            let (mut count, mut len) = (0, 0);
            for record in Records::new(&payload).take(room) {
                (count, len) = (count + 1, len + RECORD_PREFIX_LEN + record.len());
            }
            if len < payload.len() {
                self.rest.push_front((payload.slice(len..), first.advance(count), arrived_at));
            }
            piece.records += count;
            piece.bytes += len as u64;
            piece.payloads.push(payload.slice(..len));
            piece.origins.push((first, arrived_at));
        }
        Ok(Some(piece))
    }

    fn lost(&self) -> u64 {
        self.inner.lost()
    }
}

/// What is done with a chunk; runs where it may take long.
pub(crate) type Work<T> = Arc<dyn Fn(&Chunk) -> Result<T, BodyError> + Send + Sync>;

/// What comes out. Only [`Piece::End`] is the end: a channel that just closes is a failure, or a producer that died
/// half-way would make a short object look whole.
enum Piece<T> {
    Chunk(JoinHandle<Result<T, BodyError>>),
    End { lost: u64 },
}

/// The producer went away before the end.
#[derive(Debug, thiserror::Error)]
#[error("the reading of a batch ended before the batch did")]
struct Unfinished;

pub(crate) fn failed(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> BodyError {
    BodyError(error.into())
}

/// What the chunks of a batch come to, in order.
pub(crate) struct Pieces<T> {
    receiver: mpsc::Receiver<Result<Piece<T>, BodyError>>,
    lost: u64,
}

impl<T: Send + 'static> Pieces<T> {
    /// Begins to read, about `chunk_bytes` at a time.
    pub(crate) fn start(
        reader: impl Chunks,
        chunk_bytes: u64,
        work: Work<T>,
        processors: Arc<Semaphore>,
    ) -> Self {
        let (sender, receiver) = mpsc::channel(CHUNKS_AHEAD);
        tokio::spawn(produce(reader, chunk_bytes, work, processors, sender));
        Self { receiver, lost: 0 }
    }

    /// The next one; `None` behind the last.
    ///
    /// # Errors
    /// The reading or the work failed.
    pub(crate) async fn next(&mut self) -> Result<Option<T>, BodyError> {
        match self.receiver.recv().await {
            Some(Ok(Piece::Chunk(making))) => making.await.map_err(failed)?.map(Some),
            Some(Ok(Piece::End { lost })) => {
                self.lost = lost;
                Ok(None)
            }
            Some(Err(error)) => Err(error),
            None => Err(failed(Unfinished)),
        }
    }

    /// How many records could not be read; known behind the last.
    pub(crate) fn lost(&self) -> u64 {
        self.lost
    }
}

async fn read<C: Chunks>(mut reader: C, bytes: u64) -> Result<(C, Option<Chunk>), BodyError> {
    let read = spawn_blocking(move || {
        let chunk = reader.next_chunk(bytes)?;
        Ok::<_, io::Error>((reader, chunk))
    });
    read.await.map_err(failed)?.map_err(failed)
}

/// Reads on and starts the work on each chunk; ends when the batch does or when nobody wants it any more.
async fn produce<T: Send + 'static>(
    mut reader: impl Chunks,
    chunk_bytes: u64,
    work: Work<T>,
    processors: Arc<Semaphore>,
    pieces: mpsc::Sender<Result<Piece<T>, BodyError>>,
) {
    loop {
        let chunk;
        match read(reader, chunk_bytes).await {
            Ok((again, next)) => (reader, chunk) = (again, next),
            Err(error) => {
                // Nobody listening any more is no loss: the batch is still in the journal.
                drop(pieces.send(Err(error)).await);
                return;
            }
        }
        let Some(chunk) = chunk else { break };
        let Ok(processor) = Arc::clone(&processors).acquire_owned().await else { return };
        let work = Arc::clone(&work);
        let making = spawn_blocking(move || {
            let _processor = processor;
            work(&chunk)
        });
        if pieces.send(Ok(Piece::Chunk(making))).await.is_err() {
            return;
        }
    }
    // As above.
    drop(pieces.send(Ok(Piece::End { lost: reader.lost() })).await);
}

#[cfg(test)]
mod tests {
    use standpipe_model::RecordBlockBuilder;

    use super::*;

    struct Whole(Option<Chunk>);

    impl Chunks for Whole {
        fn next_chunk(&mut self, _want: u64) -> io::Result<Option<Chunk>> {
            Ok(self.0.take())
        }
    }

    #[test]
    fn a_chunk_is_split_between_records_and_each_keeps_its_place() {
        let payload = |texts: &[&str]| {
            let mut block = RecordBlockBuilder::with_capacity(texts.len(), 0);
            texts.iter().for_each(|text| block.push(text.as_bytes()));
            block.finish().payload().clone()
        };
        let payloads = vec![payload(&["a", "bb", ""]), payload(&["c"]), payload(&["d", "e", "f", "g"])];
        let origins = [7, 10, 20].map(|first| (Position(first), Timestamp(first))).to_vec();
        let chunk = Chunk { payloads, origins, records: 8, bytes: 0 };
        let all = |chunk: &Chunk| chunk.records().collect::<Vec<_>>();
        for records_max in 1..10 {
            let mut split = Split::new(Whole(Some(chunk.clone())), records_max);
            let mut pieces = Vec::new();
            while let Some(piece) = split.next_chunk(1).unwrap() {
                assert!(piece.records as usize <= records_max);
                assert_eq!(piece.records as usize, piece.iter().count());
                pieces.extend(all(&piece));
            }
            assert_eq!(pieces, all(&chunk));
        }
    }
}
