//! Runs of another kind: a step from nothing to full load and back, and a destination that is down.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde::Serialize;

use crate::load::{Load, Pool};
use crate::measure::{Latency, Setup, sleep_until};
use crate::target::{Point, Sink, Target};

/// The backlog counts as gone once it is smaller than a few batches, as the last waits for its interval.
const GONE_BYTES: f64 = 20e6;
/// How long it may go on without any progress.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a step from nothing to full load and back showed.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Step {
    /// Puts of the first two seconds.
    pub(crate) first_ms: Latency,
    /// All other puts.
    pub(crate) later_ms: Latency,
    pub(crate) mb_per_s: f64,
    /// What was not delivered when the load ended.
    pub(crate) backlog_mb: f64,
    /// How long it took to deliver that.
    pub(crate) drained_s: f64,
    pub(crate) rss_idle_mib: f64,
    pub(crate) rss_peak_mib: f64,
    /// Ten seconds after the last delivery.
    pub(crate) rss_after_mib: f64,
}

/// What a destination that was down showed.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Backlog {
    pub(crate) backlog_gb: f64,
    /// While it grew.
    pub(crate) mb_per_s: f64,
    pub(crate) put_ms: Latency,
    /// Of the daemon: what a put costs by itself.
    pub(crate) cpu_s_per_gb: f64,
    pub(crate) rss_peak_mib: f64,
    /// From the start of a daemon with that backlog until it takes puts.
    pub(crate) restart_s: f64,
    pub(crate) restart_rss_peak_mib: f64,
    /// How fast it was delivered once the destination was back, with nothing else to do.
    pub(crate) drained_mb_per_s: f64,
    /// Over the delivery.
    pub(crate) drain_rss_peak_mib: f64,
    pub(crate) drain_cpu_s_per_gb: f64,
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// Waits until (nearly) everything is delivered; gives the time it took and the numbers at that moment.
fn drain(target: &Target, record_bytes: usize) -> Result<(Duration, Point)> {
    let began = Instant::now();
    let mut progress = (f64::INFINITY, began);
    loop {
        let point = target.look(began.elapsed())?;
        if point.in_journal * record_bytes as f64 <= GONE_BYTES {
            return Ok((began.elapsed(), point));
        }
        if point.in_journal < progress.0 {
            progress = (point.in_journal, Instant::now());
        }
        ensure!(
            progress.1.elapsed() < PATIENCE,
            "nothing was delivered for a minute; the log ends:\n{}",
            target.log_end()
        );
        thread::sleep(Duration::from_millis(100));
    }
}

impl Setup {
    /// Five seconds of nothing, full load, and nothing again.
    ///
    /// # Errors
    /// When something does not start or a connection breaks.
    pub(crate) fn step(&self, pool: &Pool) -> Result<Step> {
        let target = Target::start(&self.binary, Sink::Discard, self.gzip_level)?;
        thread::sleep(Duration::from_secs(5));
        let idle = target.look(Duration::ZERO)?;
        let load = Load::start(&target.daemon.endpoint(), pool, self.connections, None);
        sleep_until(&load, self.time.min(Duration::from_secs(20)));
        let took = load.elapsed();
        let samples = load.stop()?;
        let full = target.look(took)?;
        let record_bytes = pool.shape.record_bytes;
        let (drained, _) = drain(&target, record_bytes)?;
        thread::sleep(Duration::from_secs(10));
        let after = target.look(took)?;
        let first = |at: Duration| at < Duration::from_secs(2);
        Ok(Step {
            first_ms: Latency::of(samples.iter().filter(|sample| first(sample.at))),
            later_ms: Latency::of(samples.iter().filter(|sample| !first(sample.at))),
            mb_per_s: samples.len() as f64 * pool.shape.put_bytes() as f64 / took.as_secs_f64() / 1e6,
            backlog_mb: full.in_journal * record_bytes as f64 / 1e6,
            drained_s: drained.as_secs_f64(),
            rss_idle_mib: mib(idle.memory.resident),
            rss_peak_mib: mib(after.memory.peak),
            rss_after_mib: mib(after.memory.resident),
        })
    }

    /// Puts `bytes` while the destination is down, starts the daemon again, and brings the destination back.
    ///
    /// # Errors
    /// When something does not start or a connection breaks.
    pub(crate) fn backlog(&self, pool: &Pool, bytes: u64) -> Result<Backlog> {
        let mut target = Target::start(&self.binary, Sink::Down, self.gzip_level)?;
        let before = target.look(Duration::ZERO)?;
        let load = Load::start(&target.daemon.endpoint(), pool, self.connections, None);
        while load.accepted_bytes() < bytes {
            thread::sleep(Duration::from_millis(20));
            let refused = load.refused();
            ensure!(refused < 1000, "{refused} puts were refused; the log ends:\n{}", target.log_end());
        }
        let took = load.elapsed();
        let samples = load.stop()?;
        let full = target.look(took)?;
        target.daemon.kill9()?;
        let began = Instant::now();
        target.daemon.restart()?;
        let restarted = began.elapsed();
        let recovered = target.look(took)?;
        let record_bytes = pool.shape.record_bytes;
        target.revive()?;
        let (drained, end) = drain(&target, record_bytes)?;
        let moved = (recovered.in_journal - end.in_journal) * record_bytes as f64;
        let put = samples.len() as f64 * pool.shape.put_bytes() as f64;
        Ok(Backlog {
            cpu_s_per_gb: (full.cpu_daemon - before.cpu_daemon) / (put / 1e9),
            backlog_gb: full.in_journal * record_bytes as f64 / 1e9,
            mb_per_s: put / took.as_secs_f64() / 1e6,
            put_ms: Latency::of(samples.iter()),
            rss_peak_mib: mib(full.memory.peak),
            restart_s: restarted.as_secs_f64(),
            restart_rss_peak_mib: mib(recovered.memory.peak),
            drained_mb_per_s: moved / drained.as_secs_f64() / 1e6,
            drain_rss_peak_mib: mib(end.memory.peak),
            drain_cpu_s_per_gb: (end.cpu_daemon - recovered.cpu_daemon) / (moved / 1e9),
        })
    }
}
