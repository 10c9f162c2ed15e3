//! Measures the release binary: what it accepts and delivers, how fast it answers, what it costs.
//!
//! `make bench` runs it with everything at its default; docs/benchmarks.md says how to read the result.
//!
//! Reading order: `records` (what is put), `request` and `load` (how), `target` (to what), `measure` and `special` (the
//! runs), `discard` and `machine` (the yardsticks), `functions` (what the sandbox costs), `formats` (what a conversion
//! does), `destinations` (each kind of them), `partitions` (memory), `report`.

mod destinations;
mod discard;
mod formats;
mod functions;
mod load;
mod machine;
mod measure;
mod partitions;
mod process;
mod records;
mod report;
mod request;
mod special;
mod target;

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use clap::{Parser, ValueEnum};

use load::Pool;
use measure::{Run, Setup};
use records::{Rows, Shape};
use report::{Conditions, Report};
use target::Sink;

/// Measures the release binary of standpipe.
#[derive(Debug, Parser)]
struct Args {
    /// The binary.
    #[arg(long)]
    standpipe: PathBuf,
    /// How long each run counts, in seconds.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// How long each run goes on before that, in seconds.
    #[arg(long, default_value_t = 10)]
    warm_up: u64,
    /// Runs of each case, of which the median is shown.
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// Connections.
    #[arg(long, default_value_t = 16)]
    connections: usize,
    /// Sizes of a put, as RECORDSxBYTES, and `:dense` for records that are hard to compress.
    #[arg(long, value_delimiter = ',', value_parser = shape, default_value = "500x512,500x1024")]
    shapes: Vec<Shape>,
    /// Where the stream delivers to.
    #[arg(long, value_delimiter = ',', default_value = "discard,versitygw")]
    sinks: Vec<Sink>,
    /// A fixed pace for the full load, in MB of record data a second; without it, as fast as answered.
    #[arg(long)]
    pace: Option<f64>,
    /// The stream's gzip level; without it, standpipe's own choice.
    #[arg(long)]
    gzip_level: Option<u32>,
    /// How much is put while the destination is down, in GB.
    #[arg(long, default_value_t = 2.0)]
    backlog_gb: f64,
    /// How much JSON is converted, in MiB.
    #[arg(long, default_value_t = 256)]
    formats_mib: usize,
    /// How much goes to each kind of destination, in MiB.
    #[arg(long, default_value_t = 1024)]
    destinations_mib: usize,
    /// How much is put in a window whose rows have partitions, in MiB.
    #[arg(long, default_value_t = 272)]
    partitions_mib: usize,
    /// What to measure.
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "scale,full,kept,half,step,backlog,disk,functions,formats,destinations,partitions"
    )]
    parts: Vec<Part>,
    /// Where the figures go as JSON.
    #[arg(long, default_value = "bench.json")]
    json: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// The generator against a server that answers at once.
    Scale,
    /// Full load.
    Full,
    /// The most that deliveries keep up with, for the first case to each store.
    Kept,
    /// Half of that, or of full load.
    Half,
    /// From nothing to full load and back.
    Step,
    /// A destination that is down.
    Backlog,
    /// The disk alone.
    Disk,
    /// Functions in the sandbox against the same work done natively.
    Functions,
    /// JSON to Parquet and ORC.
    Formats,
    /// Each kind of destination, to real servers where there are some.
    Destinations,
    /// The memory that a window with thousands of partitions takes.
    Partitions,
}

fn shape(text: &str) -> Result<Shape, String> {
    let (text, rows) = match text.strip_suffix(":dense") {
        Some(text) => (text, Rows::Dense),
        None => (text, Rows::Log),
    };
    let parse = |number: &str| number.parse::<usize>().ok().filter(|number| *number > 0);
    let (records, record_bytes) = text.split_once('x').ok_or("not RECORDSxBYTES")?;
    let (records, record_bytes) = (parse(records), parse(record_bytes).filter(|bytes| *bytes >= 400));
    let (records, record_bytes) =
        records.zip(record_bytes).ok_or("not 1 to 500 records of 400 bytes or more")?;
    Ok(Shape { rows, records, record_bytes })
}

fn main() -> Result<()> {
    let args = Args::parse();
    ensure!(args.standpipe.is_file(), "there is no {}", args.standpipe.display());
    let binary = args.standpipe.canonicalize()?;
    let report = Bench { args: &args, setup: setup(&args, binary) }.run()?;
    report.save(&args.json)?;
    let mut out = io::stdout().lock();
    report.print(&mut out)?;
    writeln!(out, "\nall figures: {}", args.json.display())?;
    Ok(())
}

fn setup(args: &Args, binary: PathBuf) -> Setup {
    Setup {
        binary,
        gzip_level: args.gzip_level,
        connections: args.connections,
        warm_up: Duration::from_secs(args.warm_up),
        time: Duration::from_secs(args.seconds),
    }
}

struct Bench<'a> {
    args: &'a Args,
    setup: Setup,
}

impl Bench<'_> {
    fn has(&self, part: Part) -> bool {
        self.args.parts.contains(&part)
    }

    fn run(&self) -> Result<Report> {
        let mut report = Report { conditions: Conditions::now(), ..Report::default() };
        let first = Pool::new(*self.args.shapes.first().context("no shape to put")?);
        if self.has(Part::Scale) {
            say("the generator alone")?;
            report.sha256_mb_per_s = Some(machine::sha256() / 1e6);
            report.scale_mb_per_s = Some(self.setup.scale(&first)?);
        }
        if self.has(Part::Full) {
            self.full(&mut report)?;
        }
        if self.has(Part::Kept) {
            self.kept(&first, &mut report)?;
        }
        let reached = report.kept().map(|run| run.mb_per_s * 1e6);
        if let Some(reached) = reached.filter(|_| self.has(Part::Half)) {
            say("half load")?;
            report.half = Some(self.setup.run(&first, self.args.sinks[0], Some(reached / 2.0))?);
        }
        if self.has(Part::Step) {
            say("from nothing to full load and back")?;
            report.step = Some(self.setup.step(&first)?);
        }
        if self.has(Part::Backlog) {
            say("a destination that is down")?;
            report.backlog = Some(self.setup.backlog(&first, (self.args.backlog_gb * 1e9) as u64)?);
        }
        if self.has(Part::Disk) {
            say("the disk alone")?;
            let group = report.medians.first().map_or(1 << 20, |run| run.group_bytes as usize);
            let dir = standpipe_testkit::cache::run_dir("disk")?;
            let rate = machine::ceiling(&dir, group.max(4096), Duration::from_secs(5))?;
            std::fs::remove_dir(&dir)?;
            report.disk_mb_per_s = Some(rate / 1e6);
        }
        if self.has(Part::Functions) {
            say("functions")?;
            report.functions = functions::measure()?;
        }
        if self.has(Part::Formats) {
            say("formats")?;
            report.formats = Some(formats::measure(&self.args.standpipe, self.args.formats_mib)?);
        }
        if self.has(Part::Destinations) {
            say("destinations")?;
            report.destinations = destinations::measure(&self.args.standpipe, self.args.destinations_mib)?;
        }
        if self.has(Part::Partitions) {
            say("partitions")?;
            report.partitions = partitions::measure(&self.args.standpipe, self.args.partitions_mib)?;
        }
        Ok(report)
    }

    fn kept(&self, pool: &Pool, report: &mut Report) -> Result<()> {
        let behind = |run: &&Run| run.shape == pool.shape && !run.keeps_up();
        let medians: Vec<Run> = report.medians.iter().filter(behind).cloned().collect();
        for run in &medians {
            let pace = self.setup.kept_pace(pool, run)?;
            let runs = (0..self.args.runs).map(|_| self.setup.run(pool, run.sink, Some(pace)));
            let runs = runs.collect::<Result<Vec<_>>>()?;
            say(&format!("{} to {:?}: deliveries keep up with {:.1} MB/s", run.shape, run.sink, pace / 1e6))?;
            report.sustained.extend(Report::median(&runs));
        }
        Ok(())
    }

    fn full(&self, report: &mut Report) -> Result<()> {
        for shape in &self.args.shapes {
            let pool = Pool::new(*shape);
            for sink in &self.args.sinks {
                let mut runs: Vec<Run> = Vec::new();
                for number in 1..=self.args.runs {
                    let run = self.setup.run(&pool, *sink, self.args.pace.map(|pace| pace * 1e6))?;
                    say(&format!(
                        "{shape} to {sink:?}, run {number}: {:.1} MB/s accepted, {:.1} delivered",
                        run.mb_per_s, run.delivered_mb_per_s
                    ))?;
                    runs.push(run);
                }
                report.medians.extend(Report::median(&runs));
                report.runs.extend(runs);
            }
        }
        Ok(())
    }
}

/// Says what is going on, beside the report.
fn say(text: &str) -> io::Result<()> {
    writeln!(io::stderr().lock(), "bench: {text}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shape_is_read_as_it_is_written() {
        let expect = |rows| Ok(Shape { rows, records: 500, record_bytes: 512 });
        assert_eq!(shape("500x512"), expect(Rows::Log));
        assert_eq!(shape("500x512:dense"), expect(Rows::Dense));
        for wrong in ["500", "x512", "0x512", "5x10", "5x"] {
            assert!(shape(wrong).is_err(), "{wrong}");
        }
    }
}
