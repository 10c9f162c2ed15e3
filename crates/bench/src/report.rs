//! The report: everything as JSON, the essence as text, and where the floor stands.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use anyhow::{Context as _, Result};
use serde::Serialize;

use crate::destinations::Delivered;
use crate::formats::Formats;
use crate::functions::FunctionRun;
use crate::measure::Run;
use crate::partitions::Window;
use crate::special::{Backlog, Step};

/// What the fastest peer with a memory buffer took on a machine of scale [`SCALE_MB_PER_S`], and the least CPU of any.
const FLOOR_MB_PER_S: f64 = 136.0;
const FLOOR_CPU_S_PER_GB: f64 = 10.2;
const FLOOR_P99_MS: f64 = 50.0;
const FLOOR_RSS_MIB: f64 = 128.0;
/// What a discard server took from the peers' generator, on the machine that they were measured on. That generator was
/// another one than this, so the ratio of the two compares programs as much as machines.
const SCALE_MB_PER_S: f64 = 1052.0;
/// What a core of that machine hashed, which does not depend on a generator.
const SCALE_SHA256_MB_PER_S: f64 = 1470.0;

/// The machine, and how busy it was.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Conditions {
    date: String,
    processor: String,
    cores: usize,
    kernel: String,
    /// The load average of the last minute when the run began.
    load_before: String,
}

impl Conditions {
    /// Those of now.
    pub(crate) fn now() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let model = read("/proc/cpuinfo").lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            (key.trim() == "model name").then(|| value.trim().to_owned())
        });
        Self {
            date: chrono::Utc::now().format("%Y-%m-%d %H:%M UTC").to_string(),
            processor: model.unwrap_or_default(),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            load_before: read("/proc/loadavg").split(' ').next().unwrap_or_default().to_owned(),
        }
    }
}

/// Everything that was measured.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Report {
    pub(crate) conditions: Conditions,
    /// What the generator reaches against a server that answers at once.
    pub(crate) scale_mb_per_s: Option<f64>,
    /// What a core hashes with SHA-256.
    pub(crate) sha256_mb_per_s: Option<f64>,
    /// What the disk does with groups as large as the journal's.
    pub(crate) disk_mb_per_s: Option<f64>,
    /// Every run at full load.
    pub(crate) runs: Vec<Run>,
    /// For each case its median run.
    pub(crate) medians: Vec<Run>,
    /// The most that deliveries keep up with, for each case where they do not at full load.
    pub(crate) sustained: Vec<Run>,
    /// At half of what is kept up.
    pub(crate) half: Option<Run>,
    pub(crate) step: Option<Step>,
    pub(crate) backlog: Option<Backlog>,
    pub(crate) functions: Vec<FunctionRun>,
    pub(crate) formats: Option<Formats>,
    pub(crate) destinations: Vec<Delivered>,
    pub(crate) partitions: Vec<Window>,
}

impl Report {
    /// The run of the middle among `runs`, by throughput.
    pub(crate) fn median(runs: &[Run]) -> Option<Run> {
        let mut sorted: Vec<&Run> = runs.iter().collect();
        sorted.sort_by(|a, b| a.mb_per_s.total_cmp(&b.mb_per_s));
        sorted.get(runs.len() / 2).copied().cloned()
    }

    /// Writes it as JSON.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(crate) fn save(&self, path: &Path) -> Result<()> {
        fs::write(path, serde_json::to_vec_pretty(self)?).with_context(|| format!("write {}", path.display()))
    }

    /// Prints the tables.
    ///
    /// # Errors
    /// When the output is closed.
    pub(crate) fn print(&self, out: &mut impl Write) -> io::Result<()> {
        let Conditions { date, processor, cores, kernel, load_before } = &self.conditions;
        writeln!(
            out,
            "{date}, {cores} cores of {processor}, Linux {kernel}, load average {load_before} before\n"
        )?;
        if !self.medians.is_empty() {
            heading(out)?;
        }
        self.medians.iter().try_for_each(|run| row(out, "full", run))?;
        self.sustained.iter().try_for_each(|run| row(out, "kept", run))?;
        self.half.iter().try_for_each(|run| row(out, "half", run))?;
        writeln!(out)?;
        if let Some(scale) = self.scale_mb_per_s {
            writeln!(out, "generator against a server that answers at once: {scale:.0} MB/s")?;
        }
        if let Some(hash) = self.sha256_mb_per_s {
            writeln!(out, "SHA-256 on one core: {hash:.0} MB/s")?;
        }
        if let Some(disk) = self.disk_mb_per_s {
            writeln!(out, "write and fdatasync alone, groups as large as the journal's: {disk:.0} MB/s")?;
        }
        self.step.iter().try_for_each(|step| print_step(out, step))?;
        self.backlog.iter().try_for_each(|backlog| print_backlog(out, backlog))?;
        print_functions(out, &self.functions)?;
        self.formats.iter().try_for_each(|formats| print_formats(out, formats))?;
        print_destinations(out, &self.destinations)?;
        self.partitions.iter().try_for_each(|window| print_window(out, window))?;
        self.print_floor(out)
    }

    /// The run that the floor is held against: the first case, at a load that deliveries keep up with.
    pub(crate) fn kept(&self) -> Option<&Run> {
        let first = self.medians.first()?;
        let same = |run: &&Run| run.shape == first.shape && run.sink == first.sink;
        Some(self.sustained.iter().find(same).unwrap_or(first))
    }

    fn print_floor(&self, out: &mut impl Write) -> io::Result<()> {
        let Some(run) = self.kept() else { return Ok(()) };
        writeln!(out, "\nfloor ({}, to {:?})", run.shape, run.sink)?;
        if let Some(scale) = self.scale_mb_per_s {
            let floor = FLOOR_MB_PER_S * scale / SCALE_MB_PER_S;
            let name = format!("MB/s, by generator ({FLOOR_MB_PER_S} x {scale:.0} / {SCALE_MB_PER_S})");
            verdict(out, &name, run.mb_per_s, ">", floor)?;
        }
        if let Some(scale) = self.sha256_mb_per_s {
            let floor = FLOOR_MB_PER_S * scale / SCALE_SHA256_MB_PER_S;
            let name = format!("MB/s, by SHA-256 ({FLOOR_MB_PER_S} x {scale:.0} / {SCALE_SHA256_MB_PER_S})");
            verdict(out, &name, run.mb_per_s, ">", floor)?;
        }
        verdict(
            out,
            "MB/s by which the backlog grows",
            run.backlog_growth_mb_per_s,
            "<",
            run.mb_per_s * 0.02,
        )?;
        if let Some(half) = &self.half {
            verdict(out, "p99 at half load, ms", half.put_ms.p99, "<", FLOOR_P99_MS)?;
        }
        let backlog =
            self.backlog.iter().flat_map(|b| [b.rss_peak_mib, b.restart_rss_peak_mib, b.drain_rss_peak_mib]);
        let rss = self.runs.iter().map(|run| run.rss_peak_mib).chain(backlog).fold(0.0, f64::max);
        verdict(out, "peak RSS of any run, MiB", rss, "<", FLOOR_RSS_MIB)?;
        verdict(out, "CPU-s per GB, all processes", run.cpu_s_per_gb_all, "<", FLOOR_CPU_S_PER_GB)
    }
}

fn verdict(out: &mut impl Write, what: &str, value: f64, relation: &str, bound: f64) -> io::Result<()> {
    let good = if relation == "<" { value < bound } else { value > bound };
    let word = if good { "ok" } else { "MISSED" };
    writeln!(out, "  {word:<6} {what:<42} {value:>8.1} {relation} {bound:.1}")
}

fn heading(out: &mut impl Write) -> io::Result<()> {
    writeln!(
        out,
        "{:<5} {:<15} {:<10} {:>9} {:>7} {:>9} {:>8} {:>7} {:>7} {:>7} {:>8} {:>8} {:>7} {:>8} {:>7} {:>6}",
        "load",
        "puts",
        "store",
        "records/s",
        "MB/s",
        "delivered",
        "backlog",
        "p50 ms",
        "p99 ms",
        "p999",
        "CPU-s/GB",
        "(daemon)",
        "RSS MiB",
        "group kB",
        "sync ms",
        "ratio"
    )
}

fn row(out: &mut impl Write, load: &str, run: &Run) -> io::Result<()> {
    let Run { shape, sink, mb_per_s, delivered_mb_per_s: delivered, put_ms, .. } = run;
    let keeps = if run.keeps_up() { "steady" } else { "grows" };
    let (shape, sink) = (shape.to_string(), format!("{sink:?}").to_lowercase());
    writeln!(
        out,
        "{load:<5} {shape:<15} {sink:<10} {:>9.0} {mb_per_s:>7.1} {delivered:>9.1} {keeps:>8} {:>7.1} {:>7.1} {:>7.1} \
         {:>8.2} {:>8.2} {:>7.1} {:>8.0} {:>7.2} {:>6.2}",
        run.records_per_s,
        put_ms.p50,
        put_ms.p99,
        put_ms.p999,
        run.cpu_s_per_gb_all,
        run.cpu_s_per_gb_daemon,
        run.rss_peak_mib,
        run.group_bytes / 1e3,
        run.sync_ms,
        run.compression,
    )
}

fn print_formats(out: &mut impl Write, formats: &Formats) -> io::Result<()> {
    writeln!(out, "\n{:<12} {:<32} {:>10} {:>9}", "JSON by", "to", "MB/cpu-s", "file MB")?;
    for conversion in &formats.conversions {
        let (by, to) = (&conversion.by, &conversion.to);
        writeln!(out, "{by:<12} {to:<32} {:>10.0} {:>9.1}", conversion.mb_per_cpu_s, conversion.file_mb)?;
    }
    writeln!(
        out,
        "a daemon that converts a buffer of {:.0} MB: {:.0} MiB at its peak, {:.0} before",
        formats.buffer_mb, formats.rss_peak_mib, formats.rss_idle_mib
    )
}

fn print_destinations(out: &mut impl Write, all: &[Delivered]) -> io::Result<()> {
    if all.is_empty() {
        return Ok(());
    }
    let (own, others) = ("daemon", "others");
    writeln!(
        out,
        "\n{:<32} {:>9} {:>7} {own:>8} {others:>8} {:>5}",
        "delivered to", "records/s", "MB/s", "busy"
    )?;
    all.iter().try_for_each(|Delivered { to, records_per_s, mb_per_s, daemon_cpu_s_per_gb, others_cpu_s_per_gb, busy }| {
        writeln!(
            out,
            "{to:<32} {records_per_s:>9.0} {mb_per_s:>7.1} {daemon_cpu_s_per_gb:>8.1} {others_cpu_s_per_gb:>8.1} {busy:>5.1}"
        )
    })?;
    writeln!(out, "daemon, others: CPU-s per GB; busy: processors on average")
}

fn print_window(out: &mut impl Write, window: &Window) -> io::Result<()> {
    let Window { partitions, rows, mb, objects, rss_peak_mib } = window;
    writeln!(
        out,
        "a window of {rows} rows, {mb:.0} MB, with {partitions} partitions: {objects} objects, {rss_peak_mib:.0} MiB at its peak"
    )
}

fn print_functions(out: &mut impl Write, functions: &[FunctionRun]) -> io::Result<()> {
    if functions.is_empty() {
        return Ok(());
    }
    writeln!(
        out,
        "\n{:<12} {:<16} {:>9} {:>9} {:>11} {:>11} {:>6}",
        "function", "by", "us/record", "of native", "records/s", "all cores", "times"
    )?;
    functions.iter().try_for_each(|run| {
        let FunctionRun {
            job,
            by,
            us_per_record,
            of_native,
            records_per_s: one,
            records_per_s_all_cores: all,
        } = run;
        let times = all / one;
        writeln!(
            out,
            "{job:<12} {by:<16} {us_per_record:>9.2} {of_native:>9.2} {one:>11.0} {all:>11.0} {times:>6.2}"
        )
    })
}

fn print_step(out: &mut impl Write, step: &Step) -> io::Result<()> {
    writeln!(
        out,
        "nothing to full load and back: {:.0} MB/s; p99 {:.1} ms in the first two seconds, {:.1} ms later; {:.0} MB of \
         backlog delivered {:.1} s after; RSS {:.0} MiB idle, {:.0} peak, {:.0} ten seconds after",
        step.mb_per_s,
        step.first_ms.p99,
        step.later_ms.p99,
        step.backlog_mb,
        step.drained_s,
        step.rss_idle_mib,
        step.rss_peak_mib,
        step.rss_after_mib
    )
}

fn print_backlog(out: &mut impl Write, backlog: &Backlog) -> io::Result<()> {
    writeln!(
        out,
        "destination down: {:.1} GB at {:.0} MB/s, p99 {:.1} ms, {:.2} CPU-s per GB (daemon), peak RSS {:.0} MiB; started again in {:.1} s, {:.0} \
         MiB; delivered at {:.0} MB/s once it was back, {:.2} CPU-s per GB, {:.0} MiB",
        backlog.backlog_gb,
        backlog.mb_per_s,
        backlog.put_ms.p99,
        backlog.cpu_s_per_gb,
        backlog.rss_peak_mib,
        backlog.restart_s,
        backlog.restart_rss_peak_mib,
        backlog.drained_mb_per_s,
        backlog.drain_cpu_s_per_gb,
        backlog.drain_rss_peak_mib
    )
}
