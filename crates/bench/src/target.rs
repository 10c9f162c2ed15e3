//! What is measured: the real daemon with one gzip stream, and the store that it delivers to.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde::Serialize;
use standpipe_testkit::Daemon;
use standpipe_testkit::s3::S3;
use standpipe_testkit::servers::{S3Access, Versitygw};

use crate::discard::{self, Pretend};
use crate::process::{self, Memory};
use crate::records::STREAM;

/// Where the stream delivers to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Sink {
    /// A server in this process that takes every object and keeps none.
    Discard,
    /// A real S3 server with a folder behind it.
    Versitygw,
    /// Nobody there.
    Down,
}

/// The daemon and its store, both ended when this is dropped.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) daemon: Daemon,
    store: Option<Versitygw>,
    gzip_level: Option<u32>,
}

/// The numbers of one moment.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Point {
    /// Since the load began.
    pub(crate) at: Duration,
    /// Records accepted and not settled.
    pub(crate) in_journal: f64,
    /// Records delivered.
    pub(crate) delivered: f64,
    /// Bytes of objects.
    pub(crate) object_bytes: f64,
    /// Bytes written to the journal.
    pub(crate) written_bytes: f64,
    /// Group commits.
    pub(crate) syncs: f64,
    /// Time spent in them.
    pub(crate) sync_seconds: f64,
    /// Processor seconds of the daemon.
    pub(crate) cpu_daemon: f64,
    /// Processor seconds of daemon, store and generator.
    pub(crate) cpu_all: f64,
    /// The daemon's memory.
    pub(crate) memory: Memory,
}

impl Target {
    /// Starts the store that `sink` stands for and `binary` before it.
    ///
    /// # Errors
    /// When either does not start.
    pub(crate) fn start(binary: &Path, sink: Sink, gzip_level: Option<u32>) -> Result<Self> {
        let store = match sink {
            Sink::Versitygw => Some(Versitygw::start()?),
            _ => None,
        };
        let access = match (&store, sink) {
            (Some(store), _) => with_bucket(store.access())?,
            (None, Sink::Down) => somewhere("http://127.0.0.1:9".to_owned()),
            (None, _) => somewhere(discard::start(Pretend::S3)?),
        };
        let daemon = Daemon::start(PathBuf::from(binary), configuration(&access, gzip_level))?;
        Ok(Self { daemon, store, gzip_level })
    }

    /// Makes the stream deliver to a discard server from now on.
    ///
    /// # Errors
    /// When the daemon does not take the configuration.
    pub(crate) fn revive(&mut self) -> Result<()> {
        let access = somewhere(discard::start(Pretend::S3)?);
        self.daemon.reconfigure(configuration(&access, self.gzip_level))?;
        let reply = self.daemon.post("/reload", "")?;
        anyhow::ensure!(reply.is_ok(), "the reload was refused: {}", reply.body);
        Ok(())
    }

    /// The last lines of the daemon's log.
    pub(crate) fn log_end(&self) -> String {
        let log = self.daemon.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(8)..].join("\n")
    }

    /// The numbers of this moment.
    ///
    /// # Errors
    /// When the daemon is gone.
    pub(crate) fn look(&self, at: Duration) -> Result<Point> {
        let metrics = self.daemon.get("/metrics")?.body;
        let sum = |name: &str| sum(&metrics, name);
        let cpu_daemon = process::cpu_seconds(self.daemon.pid())?;
        let mut cpu_all = cpu_daemon + process::cpu_seconds(std::process::id())?;
        if let Some(store) = &self.store {
            cpu_all += process::cpu_seconds(store.process().pid())?;
        }
        Ok(Point {
            at,
            in_journal: sum("standpipe_records_in_journal"),
            delivered: sum("standpipe_records_delivered_total"),
            object_bytes: sum("standpipe_delivery_object_bytes_total"),
            written_bytes: sum("standpipe_journal_written_bytes_total"),
            syncs: sum("standpipe_journal_sync_seconds_count"),
            sync_seconds: sum("standpipe_journal_sync_seconds_sum"),
            cpu_daemon,
            cpu_all,
            memory: process::memory(self.daemon.pid())?,
        })
    }
}

/// A store with the bucket of the stream.
pub(crate) fn with_bucket(access: &S3Access) -> Result<S3Access> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(S3::open(access)?.create_bucket(STREAM)).context("make the bucket")?;
    Ok(access.clone())
}

fn somewhere(endpoint: String) -> S3Access {
    let (access_key_id, secret_access_key) = ("bench".to_owned(), "bench-secret".to_owned());
    S3Access { endpoint, access_key_id, secret_access_key, ca_file: None }
}

fn configuration(access: &S3Access, gzip_level: Option<u32>) -> String {
    let level = gzip_level.map_or(String::new(), |level| format!("        compression_level: {level}\n"));
    format!(
        "stores:\n  lake: {}\ndefault_store: lake\nstreams:\n  - name: {STREAM}\n    destination:\n      s3:\n        \
         bucket: {STREAM}\n        compression: gzip\n        delimiter: newline\n        \
         buffering: {{ size: 5MiB, interval: 60s }}\n{level}",
        access.store_yaml()
    )
}

/// The sum of a metric over its labels.
pub(crate) fn sum(metrics: &str, name: &str) -> f64 {
    let values = metrics.lines().filter_map(|line| {
        let rest = line.strip_prefix(name)?;
        rest.starts_with(['{', ' ']).then(|| rest.rsplit(' ').next()?.parse::<f64>().ok())?
    });
    values.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_is_summed_over_its_labels_and_not_taken_for_another() {
        let text = "# HELP a Help.\na{x=\"1\"} 2\na{x=\"2\"} 3.5\na_count 100\nb 7\n";
        assert_eq!((sum(text, "a"), sum(text, "b"), sum(text, "c")), (5.5, 7.0, 0.0));
    }
}
