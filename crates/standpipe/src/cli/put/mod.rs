//! `standpipe put`: lines of files or of standard input to a stream, several requests at a time.
//!
//! ```text
//! reading thread ─► chunks ─► Splitter ─► batches ─► up to --in-flight requests ─► Progress
//! ```
//!
//! Each stage waits for the next, so memory stays at a few batches. A batch that is given up ends the put: what was not
//! acknowledged is counted, and the command fails.

pub(super) mod lines;
mod progress;
mod send;
#[cfg(test)]
mod tests;

use std::io::{self, Read};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use clap::Args;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use self::lines::Splitter;
use self::progress::Progress;
use self::send::{Outcome, send};
use super::client::{ConnectArgs, FirehoseClient};
use super::{complain, count, input, print};

/// Bytes that are read at once.
const CHUNK: usize = 256 << 10;
/// How long records wait for their batch to fill when the input is slow, as with `tail -f`.
const LINGER: Duration = Duration::from_millis(200);

/// Arguments of `put`.
#[derive(Debug, Clone, Args)]
pub struct PutArgs {
    /// The stream.
    #[arg(long, short)]
    pub stream: String,
    /// The files; standard input where none is named, or `-`.
    pub files: Vec<PathBuf>,
    /// Keep each line's newline in its record; else it is left to the stream's delimiter.
    #[arg(long)]
    pub keep_newline: bool,
    /// Requests at a time; with 1, records arrive in the order of the lines.
    #[arg(long, default_value = "8", value_name = "N")]
    pub in_flight: NonZeroUsize,
    /// How to reach the daemon.
    #[command(flatten)]
    pub connect: ConnectArgs,
}

pub(super) async fn run(args: &PutArgs) -> anyhow::Result<ExitCode> {
    let client = FirehoseClient::connect(&args.connect)?;
    let files = if args.files.is_empty() { vec![PathBuf::from("-")] } else { args.files.clone() };
    let mut progress = Progress::begin(total(&files));
    let (tx, rx) = mpsc::channel(4);
    // Not a task: one that waits for a terminal could not be cancelled and would hold up the end.
    std::thread::spawn(move || read_all(&files, &tx));
    let sending = Sending::new(args, client).run(rx, &mut progress).await;
    progress.end();
    let missed = progress.tally.missed;
    print(&format!("{}\n", progress.summary()))?;
    if let Err(error) = &sending {
        complain(&format!("standpipe: {error:#}"));
    }
    if missed > 0 {
        complain(&format!("standpipe: not acknowledged: {}", count(missed, "record")));
    }
    Ok(if missed == 0 && sending.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What the reading thread hands over.
#[derive(Debug)]
enum Input {
    Bytes(Bytes),
    /// One input has ended; its last line is complete.
    End,
    /// An input cannot be read; none follows.
    Failed(anyhow::Error),
}

/// Batches on their way.
struct Sending<'a> {
    args: &'a PutArgs,
    client: FirehoseClient,
    splitter: Splitter,
    /// When what is filling goes out, full or not.
    due: Option<Instant>,
    requests: JoinSet<(Outcome, u64)>,
}

impl<'a> Sending<'a> {
    fn new(args: &'a PutArgs, client: FirehoseClient) -> Self {
        let splitter = Splitter::new(args.keep_newline);
        Self { args, client, splitter, due: None, requests: JoinSet::new() }
    }

    /// Sends all that comes until the input ends, or until a batch is given up.
    async fn run(mut self, mut input: mpsc::Receiver<Input>, progress: &mut Progress) -> anyhow::Result<()> {
        let mut open = true;
        let mut failure: Option<anyhow::Error> = None;
        while open || self.splitter.is_ready() || !self.requests.is_empty() {
            self.start_requests();
            let ready = self.splitter.is_ready();
            let due = self.due.unwrap_or_else(Instant::now);
            tokio::select! {
                Some(done) = self.requests.join_next() => {
                    let (outcome, consumed) = done.context("a request ended abnormally")?;
                    progress.add(&outcome, consumed);
                    if let Some(error) = outcome.error {
                        open = false;
                        progress.tally.missed += self.splitter.waiting();
                        self.splitter = Splitter::new(self.args.keep_newline);
                        failure.get_or_insert(error.into());
                    }
                }
                next = input.recv(), if open && !ready => match next {
                    Some(Input::Failed(error)) => failure = Some(error),
                    next => open = self.take(next),
                },
                () = sleep_until(due), if self.due.is_some() && !ready => self.flush(),
            }
        }
        progress.tally.missed += self.splitter.too_long();
        if self.splitter.too_long() > 0 {
            complain(&format!(
                "standpipe: {} lines are longer than a record may be",
                self.splitter.too_long()
            ));
        }
        failure.map_or(Ok(()), Err)
    }

    fn start_requests(&mut self) {
        while self.requests.len() < self.args.in_flight.get() {
            let Some(batch) = self.splitter.next() else { return };
            let newlines = if self.args.keep_newline { 0 } else { u64::from(batch.count()) };
            let consumed = batch.record_bytes() + newlines;
            let sending = send(self.client.clone(), self.args.stream.clone(), batch);
            self.requests.spawn(async move { (sending.await, consumed) });
        }
    }

    /// Takes what was read; whether there may be more.
    fn take(&mut self, input: Option<Input>) -> bool {
        match &input {
            Some(Input::Bytes(bytes)) => self.splitter.push(bytes),
            Some(Input::End) => self.splitter.end_input(),
            Some(Input::Failed(_)) | None => self.flush(),
        }
        let filling = self.splitter.is_filling();
        self.due = filling.then(|| self.due.unwrap_or_else(|| Instant::now() + LINGER));
        input.is_some()
    }

    fn flush(&mut self) {
        self.due = None;
        self.splitter.flush();
    }
}

/// The bytes of all files together, where each of them is a regular file.
fn total(files: &[PathBuf]) -> Option<u64> {
    let len = |path: &PathBuf| path.metadata().ok().filter(std::fs::Metadata::is_file).map(|meta| meta.len());
    files.iter().map(len).sum()
}

/// Reads the inputs one after the other, until the receiver has gone.
fn read_all(files: &[PathBuf], to: &mpsc::Sender<Input>) {
    for path in files {
        let done = input::open(path).and_then(|mut from| read(&mut *from, to));
        match done.with_context(|| format!("cannot read {}", path.display())) {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => {
                to.blocking_send(Input::Failed(error)).ok();
                return;
            }
        }
    }
}

/// Reads one input to its end; whether the receiver is still there.
fn read(from: &mut dyn Read, to: &mpsc::Sender<Input>) -> io::Result<bool> {
    let mut chunk = vec![0; CHUNK];
    loop {
        let len = input::read(from, &mut chunk)?;
        if len == 0 {
            return Ok(to.blocking_send(Input::End).is_ok());
        }
        if to.blocking_send(Input::Bytes(Bytes::copy_from_slice(&chunk[..len]))).is_err() {
            return Ok(false);
        }
    }
}
