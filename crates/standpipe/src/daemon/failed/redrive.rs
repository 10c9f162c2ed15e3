//! Sending the error output of a stream again: a task for each stream, which an operator starts, follows and may stop.
//!
//! # Invariants
//! - A block is noted before it is put, and what is noted is put again as it was: see [`mark`](super::mark).
//! - Objects that are stored after the redrive began are none of it, so that what fails once more does not go round.
//! - Memory: a block of records, a line and a piece of an object.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;
use standpipe_ingest::{Put, Service as _};
use standpipe_model::{PutDigest, RecordBlock, RecordBlockBuilder, StreamName, Timestamp};
use tokio::task::{JoinHandle, block_in_place};
use tokio_util::sync::CancellationToken;

use super::lines::Lines;
use super::mark::{FOLDER, Mark, Place, settle};
use super::{ErrorOutput, FailedError, Found, Page, Wanted};
use crate::daemon::api::Api;
use crate::daemon::{Daemon, STOP_GRACE};
use crate::durable;
use crate::stream::Stream;
use crate::worker::chain;

/// The most records of a block, as of a put.
const BLOCK_RECORDS: u32 = 500;
/// The most bytes of its records, as of a put.
const BLOCK_BYTES: usize = 4 << 20;
/// The first pause where a store or the journal is busy; it doubles up to the longest.
const PAUSE: Duration = Duration::from_millis(250);
/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(15);
/// How often the log is told that it waits.
const TOLD_EVERY: Duration = Duration::from_hours(1);

/// What is to be sent, and how.
#[derive(Debug, Clone)]
pub(super) struct Orders {
    pub(super) wanted: Wanted,
    /// The stream that it goes to.
    pub(super) to: StreamName,
    /// Also what has been redriven before.
    pub(super) again: bool,
    /// Only counting.
    pub(super) dry_run: bool,
    /// Records per second, at the most.
    pub(super) rate: Option<u32>,
}

/// How a redrive stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum State {
    #[default]
    Running,
    Done,
    Stopped,
    Failed,
}

/// How far a redrive has come.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct Progress {
    pub(super) state: State,
    /// Why it failed.
    error: Option<String>,
    /// What it waits for.
    waiting: Option<String>,
    to: String,
    dry_run: bool,
    started_at: Timestamp,
    ended_at: Option<Timestamp>,
    /// Objects and bytes that there are to do, once they are counted.
    objects_found: Option<u64>,
    bytes_found: Option<u64>,
    /// Objects that are done, those that had been redriven before among them.
    objects: u64,
    /// Of these, those that had been.
    skipped: u64,
    bytes: u64,
    /// Records that were put.
    records: u64,
    /// Lines that hold no record.
    unreadable: u64,
    /// The object that it is at.
    key: Option<String>,
}

/// A redrive.
#[derive(Debug)]
pub(super) struct Redrive {
    progress: Mutex<Progress>,
    stop: CancellationToken,
}

impl Redrive {
    pub(super) fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks it to stop behind the block that it is at.
    pub(super) fn stop(&self) {
        self.stop.cancel();
    }

    fn is_running(&self) -> bool {
        self.progress().state == State::Running
    }
}

/// The latest redrive of each stream since the start.
#[derive(Debug, Default)]
pub(in crate::daemon) struct Redrives {
    latest: Mutex<Latest>,
    unsaved: Mutex<Unsaved>,
}

/// Marks that the disk has not taken, each with the folder that it is for: those of the objects that redrives were at.
type Unsaved = Vec<(PathBuf, Mark)>;

/// Each with its task.
type Latest = BTreeMap<StreamName, (Arc<Redrive>, JoinHandle<()>)>;

impl Redrives {
    fn all(&self) -> MutexGuard<'_, Latest> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn unsaved(&self) -> MutexGuard<'_, Unsaved> {
        self.unsaved.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a mark for whoever goes on, as the disk does not take it.
    fn note_unsaved(&self, folder: &Path, mark: &Mark) {
        self.note_saved(folder, mark);
        self.unsaved().push((folder.to_owned(), mark.clone()));
    }

    /// The disk has it.
    fn note_saved(&self, folder: &Path, mark: &Mark) {
        self.unsaved().retain(|(of, unsaved)| of != folder || unsaved.object() != mark.object());
    }

    /// The folder of a stream is put away, and all its marks.
    pub(in crate::daemon) fn forget_marks(&self, stream: &Path) {
        self.unsaved().retain(|(folder, _)| !folder.starts_with(stream));
    }

    /// The mark of an object that the disk has not taken.
    fn unsaved_of(&self, folder: &Path, object: [&str; 3]) -> Option<Mark> {
        let unsaved = self.unsaved();
        let found = unsaved.iter().find(|(of, mark)| of == folder && mark.object() == object);
        found.map(|(_, mark)| mark.clone())
    }

    /// The latest of a stream.
    pub(super) fn of(&self, stream: &StreamName) -> Option<Arc<Redrive>> {
        self.all().get(stream).map(|(redrive, _)| Arc::clone(redrive))
    }

    /// Begins one.
    ///
    /// # Errors
    /// [`FailedError`]: one is under way, or what was redriven cannot be noted.
    pub(super) fn start(
        &self,
        daemon: &Arc<Daemon>,
        stream: &Stream,
        output: ErrorOutput,
        orders: Orders,
    ) -> Result<Arc<Redrive>, FailedError> {
        let mut all = self.all();
        if all.get(stream.name()).is_some_and(|(redrive, _)| redrive.is_running()) {
            return Err(FailedError::Busy);
        }
        let folder = daemon.catalog.folder(stream.name()).join(FOLDER);
        block_in_place(|| durable::create_dir(&folder)).map_err(FailedError::Mark)?;
        let now = daemon.context.timer.now();
        let progress = Progress {
            to: orders.to.to_string(),
            dry_run: orders.dry_run,
            started_at: now,
            ..Progress::default()
        };
        let redrive = Arc::new(Redrive { progress: Mutex::new(progress), stop: CancellationToken::new() });
        let wanted = Wanted { until: Some(orders.wanted.until.unwrap_or(now).min(now)), ..orders.wanted };
        let run = Run {
            daemon: Arc::clone(daemon),
            stream: stream.name().clone(),
            output,
            folder,
            orders: Orders { wanted, ..orders },
            redrive: Arc::clone(&redrive),
            started: Instant::now(),
        };
        let running = tokio::spawn(run.run_out());
        all.insert(stream.name().clone(), (Arc::clone(&redrive), running));
        Ok(redrive)
    }

    /// Stops all of them, so that each has noted where it is, as far as that is quick.
    pub(in crate::daemon) async fn stop(&self) {
        let all = std::mem::take(&mut *self.all());
        let stopping = all.into_values().map(|(redrive, running)| {
            redrive.stop();
            tokio::time::timeout(STOP_GRACE, running)
        });
        // One that takes longer goes on after the next start as after a crash.
        drop(futures::future::join_all(stopping).await);
    }
}

impl Daemon {
    /// Finds out about the blocks that an earlier process was at, while the journals still know.
    pub(in crate::daemon) fn settle_redrives(&self) {
        for stream in self.streams() {
            let folder = self.catalog.folder(stream.name()).join(FOLDER);
            let settled = settle(&folder, |to, digest| {
                self.stream(to).is_some_and(|to| to.journal().has_accepted(digest))
            });
            if let Err(error) = settled {
                tracing::warn!(stream = %stream.name(), %error, "how far a redrive had come could not be settled");
            }
        }
    }
}

/// A redrive at work.
struct Run {
    daemon: Arc<Daemon>,
    stream: StreamName,
    output: ErrorOutput,
    folder: PathBuf,
    orders: Orders,
    redrive: Arc<Redrive>,
    started: Instant,
}

/// A wait for something that may take long.
#[derive(Debug)]
struct Wait {
    pause: Duration,
    /// When the log was told of it.
    told: Option<Instant>,
}

impl Default for Wait {
    fn default() -> Self {
        Self { pause: PAUSE, told: None }
    }
}

impl Wait {
    /// Whether the log is to be told of it now, which is at once and then each hour.
    fn is_to_be_told(&mut self) -> bool {
        let is_due = self.told.is_none_or(|told| told.elapsed() >= TOLD_EVERY);
        self.told = if is_due { Some(Instant::now()) } else { self.told };
        is_due
    }
}

/// Records that are put in one piece, and where that ends.
struct Block {
    records: RecordBlock,
    end: Place,
}

impl Run {
    async fn run_out(self) {
        tracing::info!(stream = %self.stream, to = %self.orders.to, dry_run = self.orders.dry_run, "redrive begins");
        let outcome = self.all().await;
        let mut progress = self.redrive.progress();
        (progress.waiting, progress.key) = (None, None);
        progress.ended_at = Some(self.daemon.context.timer.now());
        progress.state = match &outcome {
            Ok(()) => State::Done,
            Err(FailedError::Stopped) => State::Stopped,
            Err(error) => {
                progress.error = Some(chain(error));
                State::Failed
            }
        };
        tracing::info!(stream = %self.stream, state = ?progress.state, objects = progress.objects,
            records = progress.records, unreadable = progress.unreadable, error = progress.error, "redrive ends");
    }

    async fn all(&self) -> Result<(), FailedError> {
        let (mut objects, mut bytes, mut after) = (0, 0, None);
        loop {
            let page = self.page(after).await?;
            objects += page.objects.len() as u64;
            bytes += page.objects.iter().map(|found| found.object.bytes).sum::<u64>();
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        {
            let mut progress = self.redrive.progress();
            (progress.objects_found, progress.bytes_found) = (Some(objects), Some(bytes));
        }
        loop {
            let page = self.page(after).await?;
            for found in &page.objects {
                self.object(found).await?;
            }
            after = page.next;
            if after.is_none() {
                return Ok(());
            }
        }
    }

    async fn page(&self, after: Option<String>) -> Result<Page, FailedError> {
        let mut wait = Wait::default();
        loop {
            match self.output.page(&self.orders.wanted, after.as_deref()).await {
                Ok(page) => return Ok(page),
                Err(error) => self.after(error, &mut wait).await?,
            }
        }
    }

    async fn object(&self, found: &Found) -> Result<(), FailedError> {
        self.redrive.progress().key = Some(found.object.key.clone());
        if let Some(mut mark) = self.begin(found)? {
            if !self.orders.dry_run {
                self.write(|| mark.note_current(&self.folder), || {}).await?;
            }
            let outcome = self.lines(found, &mut mark).await;
            if !self.orders.dry_run {
                if outcome.is_ok() {
                    mark.finished_at = Some(self.daemon.context.timer.now());
                }
                self.save(&mark).await?;
            }
            outcome?;
            if mark.done.unreadable > 0 {
                tracing::warn!(stream = %self.stream, key = mark.key, lines = mark.done.unreadable,
                    "an object of the error output has lines without a record");
            }
        } else {
            self.redrive.progress().skipped += 1;
        }
        let mut progress = self.redrive.progress();
        progress.objects += 1;
        progress.bytes += found.object.bytes;
        Ok(())
    }

    /// Where to begin in an object; nowhere where it has been redriven.
    fn begin(&self, found: &Found) -> Result<Option<Mark>, FailedError> {
        let object = [&*self.output.store, &*self.output.bucket, &*found.object.key];
        let unsaved = self.daemon.redrives.unsaved_of(&self.folder, object);
        let load = || block_in_place(|| Mark::load(&self.folder, object)).map_err(FailedError::Mark);
        let known = unsaved.map_or_else(load, |unsaved| Ok(Some(unsaved)))?;
        let to = &self.orders.to;
        match known {
            None => Ok(Some(Mark::begin(object, to.clone(), 1))),
            Some(known) if self.orders.again => Ok(Some(Mark::begin(object, to.clone(), known.round + 1))),
            Some(Mark { finished_at: Some(_), .. }) => Ok(None),
            Some(known) if known.to == *to => Ok(Some(known)),
            Some(known) => {
                Err(FailedError::BegunElsewhere { key: found.object.key.clone(), begun: known.to })
            }
        }
    }

    async fn lines(&self, found: &Found, mark: &mut Mark) -> Result<(), FailedError> {
        let mut lines = Lines::new(&self.output, found, mark.done.bytes);
        loop {
            let block = self.block(&mut lines, mark.done, mark.pending.map(|pending| pending.bytes)).await?;
            if block.end == mark.done {
                return Ok(());
            }
            self.send(mark, block).await?;
        }
    }

    /// The next records, up to `until` where that is given.
    async fn block(
        &self,
        lines: &mut Lines<'_>,
        done: Place,
        until: Option<u64>,
    ) -> Result<Block, FailedError> {
        let most = self.orders.rate.map_or(BLOCK_RECORDS, |rate| rate.clamp(1, BLOCK_RECORDS));
        let (mut records, mut end) = (RecordBlockBuilder::with_capacity(0, 0), done);
        let mut wait = Wait::default();
        while until.map_or(records.count() < most, |until| end.bytes < until) {
            let line = match lines.next().await {
                Ok(Some(line)) => line,
                Ok(None) => break,
                Err(error) => {
                    self.after(error.into(), &mut wait).await?;
                    continue;
                }
            };
            match &line.record {
                Ok(record) if until.is_none() && records.record_bytes() + record.data.len() > BLOCK_BYTES => {
                    lines.hold(line);
                    break;
                }
                Ok(record) => {
                    records.push(&record.data);
                    end.records += 1;
                }
                Err(_) => end.unreadable += 1,
            }
            end.bytes = line.end;
        }
        Ok(Block { records: records.finish(), end })
    }

    async fn send(&self, mark: &mut Mark, Block { records, end }: Block) -> Result<(), FailedError> {
        self.pace().await?;
        let count = u64::from(records.count());
        if !self.orders.dry_run && count > 0 {
            let is_new = mark.pending.is_none();
            if is_new {
                mark.pending = Some(end);
                if let Err(error) = self.save(mark).await {
                    mark.pending = None;
                    return Err(error);
                }
            }
            let put = self.put(records, mark.digest(end)).await;
            if put.is_err() && is_new {
                // Nothing of it was accepted.
                mark.pending = None;
            }
            put?;
            self.daemon.context.metrics.redriven(&self.stream, count);
        }
        {
            let mut progress = self.redrive.progress();
            progress.records += count;
            progress.unreadable += end.unreadable - mark.done.unreadable;
        }
        mark.done = end;
        mark.pending = None;
        Ok(())
    }

    /// Puts a block; waits while the stream has no room.
    async fn put(&self, block: RecordBlock, digest: PutDigest) -> Result<(), FailedError> {
        let (to, api, mut wait) = (&self.orders.to, Api(Arc::clone(&self.daemon)), Wait::default());
        loop {
            let put = Put { stream: to.clone(), block: block.clone(), digest: Some(digest) };
            match api.put(put).await {
                Ok(_) => return Ok(()),
                Err(source) => {
                    self.after(FailedError::Put { to: to.clone(), source }, &mut wait).await?;
                }
            }
        }
    }

    /// Writes a mark, as soon as the disk takes it. Until then it is known in this process: what it says to be put is not
    /// put again.
    async fn save(&self, mark: &Mark) -> Result<(), FailedError> {
        let redrives = &self.daemon.redrives;
        let unsaved = || redrives.note_unsaved(&self.folder, mark);
        self.write(|| mark.save(&self.folder), unsaved).await?;
        redrives.note_saved(&self.folder, mark);
        Ok(())
    }

    /// Writes what is kept of the redrive, as soon as the disk takes it; `unwritten` is called each time it does not.
    async fn write(
        &self,
        mut write: impl FnMut() -> io::Result<()>,
        unwritten: impl Fn(),
    ) -> Result<(), FailedError> {
        let mut wait = Wait::default();
        loop {
            match block_in_place(&mut write) {
                Ok(()) => return Ok(()),
                // The stream is gone, and all its marks.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    return Err(FailedError::Mark(error));
                }
                Err(error) => {
                    unwritten();
                    self.after(FailedError::Mark(error), &mut wait).await?;
                }
            }
        }
    }

    /// Waits until the rate allows for more, and ends where it is to.
    async fn pace(&self) -> Result<(), FailedError> {
        let sent = self.redrive.progress().records;
        let due = self
            .orders
            .rate
            .filter(|_| !self.orders.dry_run)
            .map_or(Duration::ZERO, |rate| Duration::from_secs_f64(sent as f64 / f64::from(rate.max(1))));
        self.pause(due.saturating_sub(self.started.elapsed())).await
    }

    async fn pause(&self, pause: Duration) -> Result<(), FailedError> {
        let paused = self.redrive.stop.run_until_cancelled(tokio::time::sleep(pause)).await;
        paused.filter(|()| !self.redrive.stop.is_cancelled()).ok_or(FailedError::Stopped)
    }

    /// Waits where trying again may help after an error, longer from time to time.
    async fn after(&self, error: FailedError, wait: &mut Wait) -> Result<(), FailedError> {
        if !error.is_temporary() {
            return Err(error);
        }
        let why = chain(&error);
        if wait.is_to_be_told() {
            tracing::warn!(stream = %self.stream, to = %self.orders.to, why, "a redrive waits");
        }
        self.redrive.progress().waiting = Some(why);
        self.pause(wait.pause).await?;
        self.redrive.progress().waiting = None;
        wait.pause = (wait.pause * 2).min(PAUSE_MAX);
        Ok(())
    }
}
