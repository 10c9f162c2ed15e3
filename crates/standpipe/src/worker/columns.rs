//! The bytes of an object whose rows are converted: columns gathered to row groups, encoded in parallel, joined in order.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt};
use standpipe_convert::{FileFormat, FileJoiner, FilePart, RecordBatch};
use standpipe_model::BodyError;
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, spawn_blocking};

use super::body::ObjectBody;
use super::fates::{Counted, Made};
use super::pieces::{Pieces, failed};

/// About so many bytes of columns are a row group, unless the stream says less. The rows of one that is being gathered
/// and of [`ENCODING_MAX`] others are in memory.
const ROW_GROUP_BYTES: usize = 16 << 20;
/// Row groups of one object that are encoded at once.
const ENCODING_MAX: usize = 2;
/// The memory that the row groups of one object take at the most.
pub(crate) const CONVERTING_BYTES: u64 = ((ENCODING_MAX + 1) * ROW_GROUP_BYTES) as u64;

/// How an object's file is written.
#[derive(Debug, Clone)]
pub(crate) struct FileSettings {
    pub(crate) format: Arc<FileFormat>,
    /// What readers find in the file beside the rows.
    pub(crate) metadata: Vec<(String, String)>,
    pub(crate) processors: Arc<Semaphore>,
}

/// A file in the making.
struct Making {
    rows: Counted<RecordBatch>,
    settings: FileSettings,
    joiner: FileJoiner,
    /// What the latest chunk has beyond the row group that is being gathered, with its bytes.
    left: Option<(RecordBatch, usize)>,
    gathered: Vec<RecordBatch>,
    gathered_bytes: usize,
    gathered_rows: usize,
    encoding: VecDeque<JoinHandle<Result<FilePart, BodyError>>>,
    /// All chunks have come.
    ended: bool,
}

/// Begins to make an object.
///
/// # Errors
/// The records could not be read.
pub(crate) async fn open(
    pieces: Pieces<Made<RecordBatch>>,
    settings: FileSettings,
) -> Result<ObjectBody, BodyError> {
    let (joiner, head) = settings.format.start(&settings.metadata).map_err(failed)?;
    let rows = Counted::new(pieces);
    let seen = rows.seen();
    let mut making = Making {
        rows,
        settings,
        joiner,
        left: None,
        gathered: Vec::new(),
        gathered_bytes: 0,
        gathered_rows: 0,
        encoding: VecDeque::new(),
        ended: false,
    };
    // A file without rows is none, which shows only when the first row group does.
    let Some(first) = making.next().await? else { return Ok(ObjectBody { body: None, seen }) };
    let body = stream::iter([Ok(head), Ok(first)]).chain(rest(making));
    Ok(ObjectBody { body: Some(body.boxed()), seen })
}

fn rest(making: Making) -> BoxStream<'static, Result<Bytes, BodyError>> {
    let steps = stream::unfold(Some(making), |making| async move {
        let mut making = making?;
        match making.next().await {
            Ok(Some(bytes)) => Some((Ok(bytes), Some(making))),
            Ok(None) => Some((making.joiner.finish().map_err(failed), None)),
            Err(error) => Some((Err(error), None)),
        }
    });
    steps.boxed()
}

impl Making {
    /// The bytes of the next row group; `None` behind the last.
    async fn next(&mut self) -> Result<Option<Bytes>, BodyError> {
        while !self.ended && self.encoding.len() < ENCODING_MAX {
            self.gather().await?;
        }
        let Some(first) = self.encoding.pop_front() else { return Ok(None) };
        let part = first.await.map_err(failed)??;
        self.joiner.push(part).map(Some).map_err(failed)
    }

    /// Takes the next chunk, or what fits of it, and has a row group encoded when there is enough for one.
    async fn gather(&mut self) -> Result<(), BodyError> {
        let rows_max = self.settings.format.part_rows_max();
        let next = match self.left.take() {
            Some(left) => Some(left),
            None => self.rows.next().await?.map(|rows| {
                let bytes = rows.get_array_memory_size();
                (rows, bytes)
            }),
        };
        match next {
            Some((rows, bytes)) if rows.num_rows() > 0 => {
                let taken = rows.num_rows().min(rows_max - self.gathered_rows);
                // A slice says that it has the bytes of the whole.
                let share = bytes / rows.num_rows() * taken;
                if taken < rows.num_rows() {
                    self.left = Some((rows.slice(taken, rows.num_rows() - taken), bytes - share));
                }
                self.gathered_bytes += share;
                self.gathered_rows += taken;
                self.gathered.push(rows.slice(0, taken));
            }
            Some(_) => {}
            None => self.ended = true,
        }
        let format = &self.settings.format;
        let bytes = ROW_GROUP_BYTES.min(format.part_bytes_max());
        let full = self.gathered_bytes >= bytes || self.gathered_rows >= rows_max;
        if !self.gathered.is_empty() && (full || self.ended) {
            let rows = std::mem::take(&mut self.gathered);
            (self.gathered_bytes, self.gathered_rows) = (0, 0);
            let (format, processors) = (Arc::clone(format), Arc::clone(&self.settings.processors));
            let processor = processors.acquire_owned().await.map_err(failed)?;
            self.encoding.push_back(spawn_blocking(move || {
                let _processor = processor;
                format.encode(&rows).map_err(failed)
            }));
        }
        Ok(())
    }
}
