//! Runs with a load for a fixed time, and what they come to.

use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde::Serialize;

use crate::discard::{self, Pretend};
use crate::load::{Load, Pool, Sample};
use crate::records::Shape;
use crate::target::{Point, Sink, Target};

/// The backlog is watched over the last so many seconds.
const WATCHED: Duration = Duration::from_secs(30);

/// The runs that look for the pace that is kept up.
const SEARCH: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(20));
const SEARCH_STEPS: u32 = 5;

/// What all runs have in common.
#[derive(Debug, Clone)]
pub(crate) struct Setup {
    /// The daemon's binary.
    pub(crate) binary: PathBuf,
    /// The stream's gzip level; without one, standpipe's own choice.
    pub(crate) gzip_level: Option<u32>,
    /// Connections of the load.
    pub(crate) connections: usize,
    /// Before anything counts.
    pub(crate) warm_up: Duration,
    /// What counts.
    pub(crate) time: Duration,
}

/// Latencies in milliseconds.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(crate) struct Latency {
    /// The median.
    pub(crate) p50: f64,
    /// Of 100 puts the slowest but one.
    pub(crate) p99: f64,
    /// Of 1,000 puts the slowest but one.
    pub(crate) p999: f64,
    /// The slowest.
    pub(crate) max: f64,
}

impl Latency {
    /// Of some puts.
    pub(crate) fn of<'a>(samples: impl Iterator<Item = &'a Sample>) -> Self {
        let mut took: Vec<f64> = samples.map(|sample| sample.took.as_secs_f64() * 1e3).collect();
        took.sort_by(f64::total_cmp);
        let at = |part: f64| {
            let index = (took.len() as f64 * part) as usize;
            took.get(index.min(took.len().saturating_sub(1))).copied().unwrap_or_default()
        };
        Self { p50: at(0.5), p99: at(0.99), p999: at(0.999), max: at(1.0) }
    }
}

/// The figures of one run. MB and GB are of record data and decimal; memory is in MiB.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Run {
    pub(crate) shape: Shape,
    pub(crate) sink: Sink,
    /// The pace asked for; without one, as fast as answered.
    pub(crate) paced_mb_per_s: Option<f64>,
    pub(crate) records_per_s: f64,
    pub(crate) mb_per_s: f64,
    pub(crate) delivered_mb_per_s: f64,
    /// How fast what is not delivered grows, over the last half minute.
    pub(crate) backlog_growth_mb_per_s: f64,
    /// What was not delivered in the end.
    pub(crate) backlog_mb: f64,
    pub(crate) put_ms: Latency,
    pub(crate) refused: u64,
    pub(crate) cpu_s_per_gb_daemon: f64,
    pub(crate) cpu_s_per_gb_all: f64,
    /// Cores that the daemon kept busy.
    pub(crate) cores_daemon: f64,
    pub(crate) rss_peak_mib: f64,
    pub(crate) rss_end_mib: f64,
    pub(crate) threads: u64,
    /// The mean group commit.
    pub(crate) group_bytes: f64,
    pub(crate) sync_ms: f64,
    /// Record data to object bytes.
    pub(crate) compression: f64,
}

impl Run {
    /// Whether deliveries keep up, with 2 % for the batches that are under way.
    pub(crate) fn keeps_up(&self) -> bool {
        self.backlog_growth_mb_per_s < self.mb_per_s * 0.02
    }
}

impl Setup {
    /// Measures a fresh daemon; `pace` is in bytes of record data a second.
    ///
    /// # Errors
    /// When something does not start or a connection breaks.
    pub(crate) fn run(&self, pool: &Pool, sink: Sink, pace: Option<f64>) -> Result<Run> {
        let target = Target::start(&self.binary, sink, self.gzip_level)?;
        let puts = pace.map(|pace| pace / pool.shape.put_bytes() as f64);
        let load = Load::start(&target.daemon.endpoint(), pool, self.connections, puts);
        sleep_until(&load, self.warm_up);
        let mut points = vec![target.look(load.elapsed())?];
        while load.elapsed() < self.warm_up + self.time {
            sleep_until(&load, points[points.len() - 1].at + Duration::from_secs(1));
            points.push(target.look(load.elapsed())?);
        }
        let refused = load.refused();
        let samples = load.stop()?;
        let counted: Vec<Sample> = within(&samples, &points).copied().collect();
        let mut run = figures(pool.shape, sink, &points, &counted).context("a run of a second at least")?;
        (run.paced_mb_per_s, run.refused) = (pace.map(|pace| pace / 1e6), refused);
        Ok(run)
    }

    /// Looks for the highest pace, in bytes a second, that deliveries keep up with: between what was delivered and what
    /// was accepted in `run`, by halving, with shorter runs.
    ///
    /// # Errors
    /// When something does not start or a connection breaks.
    pub(crate) fn kept_pace(&self, pool: &Pool, run: &Run) -> Result<f64> {
        let short =
            Self { warm_up: self.warm_up.min(SEARCH.0), time: self.time.min(SEARCH.1), ..self.clone() };
        let (mut low, mut high) = (run.delivered_mb_per_s * 1e6, run.mb_per_s * 1e6);
        for _ in 0..SEARCH_STEPS {
            let pace = (low + high) / 2.0;
            let tried = short.run(pool, run.sink, Some(pace))?;
            match tried.keeps_up() && tried.mb_per_s * 1e6 > pace * 0.98 {
                true => low = pace,
                false => high = pace,
            }
        }
        Ok(low)
    }

    /// What the generator reaches against a server that answers at once, in MB a second.
    ///
    /// # Errors
    /// When a connection breaks.
    pub(crate) fn scale(&self, pool: &Pool) -> Result<f64> {
        let load = Load::start(&discard::start(Pretend::Firehose)?, pool, self.connections, None);
        sleep_until(&load, self.warm_up.min(Duration::from_secs(2)));
        let (began, before) = (load.elapsed(), load.accepted_bytes());
        sleep_until(&load, began + self.time.min(Duration::from_secs(10)));
        let (took, bytes) = (load.elapsed() - began, load.accepted_bytes() - before);
        load.stop()?;
        Ok(bytes as f64 / took.as_secs_f64() / 1e6)
    }
}

/// Sleeps until the load has run for so long.
pub(crate) fn sleep_until(load: &Load, at: Duration) {
    thread::sleep(at.saturating_sub(load.elapsed()));
}

fn within<'a>(samples: &'a [Sample], points: &[Point]) -> impl Iterator<Item = &'a Sample> {
    let from = points.first().map_or(Duration::ZERO, |point| point.at);
    let to = points.last().map_or(Duration::ZERO, |point| point.at);
    samples.iter().filter(move |sample| sample.at >= from && sample.at < to)
}

fn figures(shape: Shape, sink: Sink, points: &[Point], samples: &[Sample]) -> Option<Run> {
    let (first, last) = (points.first()?, points.last()?);
    let seconds = (last.at - first.at).as_secs_f64();
    let bytes = samples.len() as f64 * shape.put_bytes() as f64;
    let (gb, record) = (bytes / 1e9, shape.record_bytes as f64);
    let syncs = (last.syncs - first.syncs).max(1.0);
    let objects = last.object_bytes - first.object_bytes;
    let delivered = (last.delivered - first.delivered) * record;
    Some(Run {
        shape,
        sink,
        paced_mb_per_s: None,
        records_per_s: bytes / record / seconds,
        mb_per_s: bytes / seconds / 1e6,
        delivered_mb_per_s: delivered / seconds / 1e6,
        backlog_growth_mb_per_s: growth(points) * record / 1e6,
        backlog_mb: last.in_journal * record / 1e6,
        put_ms: Latency::of(samples.iter()),
        refused: 0,
        cpu_s_per_gb_daemon: (last.cpu_daemon - first.cpu_daemon) / gb,
        cpu_s_per_gb_all: (last.cpu_all - first.cpu_all) / gb,
        cores_daemon: (last.cpu_daemon - first.cpu_daemon) / seconds,
        rss_peak_mib: last.memory.peak as f64 / f64::from(1 << 20),
        rss_end_mib: last.memory.resident as f64 / f64::from(1 << 20),
        threads: last.memory.threads,
        group_bytes: (last.written_bytes - first.written_bytes) / syncs,
        sync_ms: (last.sync_seconds - first.sync_seconds) / syncs * 1e3,
        compression: if objects > 0.0 { delivered / objects } else { 0.0 },
    })
}

/// Records a second by which the backlog grows: the slope of a straight line through the last half minute.
fn growth(points: &[Point]) -> f64 {
    let end = points.last().map_or(Duration::ZERO, |point| point.at);
    let late: Vec<(f64, f64)> = points
        .iter()
        .filter(|point| end - point.at <= WATCHED)
        .map(|point| (point.at.as_secs_f64(), point.in_journal))
        .collect();
    let count = late.len() as f64;
    let mean = late.iter().fold((0.0, 0.0), |sum, (x, y)| (sum.0 + x / count, sum.1 + y / count));
    let (above, below) = late.iter().fold((0.0, 0.0), |(above, below), (x, y)| {
        (above + (x - mean.0) * (y - mean.1), below + (x - mean.0).powi(2))
    });
    if below > 0.0 { above / below } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(ms: u64) -> Sample {
        Sample { at: Duration::ZERO, took: Duration::from_millis(ms) }
    }

    #[test]
    fn percentiles_are_of_the_sorted_puts() {
        let samples: Vec<Sample> = (1..=1000).rev().map(sample).collect();
        let latency = Latency::of(samples.iter());
        assert_eq!((latency.p50, latency.p99, latency.p999, latency.max), (501.0, 991.0, 1000.0, 1000.0));
        assert_eq!(Latency::of([].iter()).max, 0.0);
    }

    #[test]
    fn growth_is_the_slope_of_the_last_half_minute() {
        let point = |second: u64, in_journal: f64| Point {
            at: Duration::from_secs(second),
            in_journal,
            ..Point::default()
        };
        let flat_then_steep: Vec<Point> = (0..60)
            .map(|second| point(second, if second < 29 { 0.0 } else { (second - 29) as f64 * 5.0 }))
            .collect();
        assert!((growth(&flat_then_steep) - 5.0).abs() < 1e-9);
        assert_eq!(growth(&[]), 0.0);
    }
}
