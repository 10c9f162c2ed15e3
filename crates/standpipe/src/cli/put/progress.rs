//! How far a put has come: a bar on a terminal, a line every ten seconds elsewhere, and the summary at the end.

use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use indicatif::{HumanBytes, ProgressBar, ProgressStyle};

use super::send::Outcome;
use crate::cli::{complain, count};

/// How often progress is told where there is no terminal.
const PLAIN_EVERY: Duration = Duration::from_secs(10);

/// What has been acknowledged and what has not.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Tally {
    /// Records that the daemon has acknowledged.
    pub(super) records: u64,
    /// Their bytes.
    pub(super) bytes: u64,
    /// Records that were not acknowledged, whatever the reason.
    pub(super) missed: u64,
}

/// Follows a put.
#[derive(Debug)]
pub(super) struct Progress {
    pub(super) tally: Tally,
    bar: Option<ProgressBar>,
    started: Instant,
    told: Instant,
}

impl Progress {
    /// Begins; `total` is the bytes of the input where that is known.
    pub(super) fn begin(total: Option<u64>) -> Self {
        let now = Instant::now();
        let bar = std::io::stderr().is_terminal().then(|| bar(total));
        Self { tally: Tally::default(), bar, started: now, told: now }
    }

    /// Takes in what became of a batch; `consumed` is its bytes of the input.
    pub(super) fn add(&mut self, outcome: &Outcome, consumed: u64) {
        self.tally.records += outcome.records;
        self.tally.bytes += outcome.bytes;
        self.tally.missed += outcome.missed;
        match &self.bar {
            Some(bar) => {
                bar.inc(consumed);
                bar.set_message(format!("{} records", self.tally.records));
            }
            None if self.told.elapsed() >= PLAIN_EVERY => {
                self.told = Instant::now();
                complain(&self.summary());
            }
            None => {}
        }
    }

    /// Takes the bar away.
    pub(super) fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    /// Records, bytes, seconds and rates on one line.
    pub(super) fn summary(&self) -> String {
        let Tally { records, bytes, .. } = self.tally;
        // A put too quick to be timed must not divide by zero.
        let seconds = self.started.elapsed().as_secs_f64().max(0.001);
        let per_second = records as f64 / seconds;
        let rate = HumanBytes((bytes as f64 / seconds) as u64);
        let (what, size) = (count(records, "record"), HumanBytes(bytes));
        format!("{what}, {size} in {seconds:.1} s: {per_second:.0} records/s, {rate}/s")
    }
}

fn bar(total: Option<u64>) -> ProgressBar {
    let (bar, template) = match total {
        Some(total) => {
            (ProgressBar::new(total), "{wide_bar} {bytes}/{total_bytes}  {msg}  {bytes_per_sec}  {eta} left")
        }
        None => (ProgressBar::no_length(), "{spinner} {bytes}  {msg}  {bytes_per_sec}  {elapsed}"),
    };
    let style = ProgressStyle::with_template(template).expect("the templates above are well formed");
    bar.with_style(style)
}
