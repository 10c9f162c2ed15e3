//! `standpipe transform run`: what a function, or all processors of a stream, make of the records of a file.
//!
//! Records go through the chain in pieces as large as the worker's, so that functions are called with as many at a time
//! as in the daemon. Memory stays at one piece, what comes of it, and what the splitter holds.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{anyhow, bail};
use bytes::Bytes;
use clap::Args;
use serde_json::json;
use standpipe_model::{Clock as _, Position, StreamName, stream_arn};
use standpipe_sinks::key::ObjectKeys;
use standpipe_transform::{Chain, Record, Source};

use super::super::serve::{LogFormat, log_to_stderr};
use super::super::{CONFIG_PATH, count, env, input, print, runtime};
use super::outcome::{Outcome, outcomes};
use crate::clock::{OsEntropy, OsTimer};
use crate::config::{Config, did_you_mean};
use crate::functions;
use crate::processors::{Loaded, ProcessorSpec, WasmCall, chain};
use crate::spec::S3Destination;
use crate::worker::chunk_bytes;

/// Arguments of `transform run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// The function or the stream, as the configuration names it.
    #[arg(value_name = "FUNCTION_OR_STREAM")]
    pub name: String,
    /// It is a function, though a stream has the name too.
    #[arg(long, conflicts_with = "stream")]
    pub function: bool,
    /// It is a stream, though a function has the name too.
    #[arg(long)]
    pub stream: bool,
    /// The destination that is meant, where the stream has several.
    #[arg(long, value_name = "ID")]
    pub destination: Option<String>,
    /// The file with a record on each line; standard input for `-`.
    #[arg(long, short, value_name = "FILE")]
    pub input: PathBuf,
    /// The configuration file.
    #[arg(long, short, default_value = CONFIG_PATH, value_name = "FILE")]
    pub config: PathBuf,
    /// Stop after so many records.
    #[arg(long, value_name = "N")]
    pub limit: Option<u64>,
    /// Keep each line's newline in its record.
    #[arg(long)]
    pub keep_newline: bool,
    /// How to show it; `json` is one object a line.
    #[arg(long, value_enum, default_value = "text")]
    pub output: Format,
}

/// How outcomes are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people.
    Text,
    /// One object a line.
    Json,
}

pub(super) fn run(args: &RunArgs) -> anyhow::Result<ExitCode> {
    log_to_stderr(LogFormat::Text);
    let config = Config::load(&args.config, &env).map_err(|problems| anyhow!("{problems}"))?;
    let mut trial = Trial::new(Target::find(args, &config)?, args.output, args.limit);
    if trial.takes_more() {
        trial.totals.too_long = input::records(&args.input, args.keep_newline, |data| {
            print(&trial.push(data))?;
            Ok(trial.takes_more())
        })?;
    }
    print(&trial.end())?;
    Ok(if trial.totals.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What records are taken through.
#[derive(Debug)]
pub(super) struct Target {
    chain: Arc<Chain>,
    loaded: Loaded,
    /// Where rows go by what is in them.
    keys: Option<ObjectKeys>,
    source: Source,
    chunk_bytes: u64,
}

impl Target {
    /// Finds what is named, and loads the functions and tables that it needs; no others.
    pub(super) fn find(args: &RunArgs, config: &Config) -> anyhow::Result<Self> {
        let name = &args.name;
        let stream = config.streams.iter().find(|stream| stream.name.as_str() == name && !args.function);
        let is_function = config.functions.contains_key(name) && !args.stream;
        let branch = stream.map(|stream| stream.which(args.destination.as_deref())).transpose()?;
        let processors = match (is_function, &branch) {
            (true, None) => vec![ProcessorSpec::Wasm(WasmCall::of(name))],
            (false, Some(branch)) => branch.processors.to_vec(),
            (true, Some(_)) => {
                bail!("\"{name}\" is the name of a function and of a stream: say --function or --stream")
            }
            (false, None) => return Err(unknown(args, config)),
        };
        let Config { mut functions, mut tables, .. } = config.clone();
        functions.retain(|name, _| processors.iter().any(|one| one.function() == Some(name)));
        let is_given = |table: &String| functions.values().any(|function| function.tables.contains(table));
        tables.retain(|name, _| is_given(name) || processors.iter().any(|one| one.table() == Some(name)));
        let objects = runtime()?.block_on(functions::read_objects(&config.stores, &tables))?;
        let loaded = functions::load(&functions, &tables, &objects, OsTimer::start(), Arc::new(OsEntropy))?;
        Ok(Self {
            chain: chain(&processors, &loaded)?,
            loaded,
            keys: branch.map(|of| keys(name, of.destination)).transpose()?.filter(ObjectKeys::is_partitioned),
            source: Source {
                stream: StreamName::parse(name)?,
                stream_arn: stream_arn(&config.region, &config.account_id, name),
                region: config.region.clone(),
            },
            chunk_bytes: chunk_bytes(&processors),
        })
    }
}

fn keys(stream: &str, to: &S3Destination) -> anyhow::Result<ObjectKeys> {
    let of = StreamName::parse(stream)?;
    let is_partitioned = to.partitioning.is_some();
    let (prefix, errors) = (&to.prefix, &to.error_output_prefix);
    Ok(ObjectKeys::new(of, prefix, errors, &to.custom_time_zone, "", is_partitioned)?)
}

fn unknown(args: &RunArgs, config: &Config) -> anyhow::Error {
    let functions = config.functions.keys().map(String::as_str).filter(|_| !args.stream);
    let streams = config.streams.iter().map(|stream| stream.name.as_str()).filter(|_| !args.function);
    let names: Vec<&str> = functions.chain(streams).collect();
    let what = match (args.function, args.stream) {
        (true, _) => "function",
        (_, true) => "stream",
        _ => "function or stream",
    };
    let (name, config, near) = (&args.name, args.config.display(), did_you_mean(&args.name, names.clone()));
    let there = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    anyhow!("{config} has no {what} \"{name}\"{near} (it has: {there})")
}

/// What became of all records together.
#[derive(Debug, Default)]
pub(super) struct Totals {
    pub(super) records: u64,
    pub(super) rows: u64,
    pub(super) dropped: u64,
    pub(super) failed: u64,
    pub(super) too_long: u64,
    pub(super) took: Duration,
}

impl Totals {
    pub(super) fn is_good(&self) -> bool {
        self.failed + self.too_long == 0
    }

    pub(super) fn show(&self, memory_bytes: Option<usize>, format: Format) -> String {
        let Self { records, rows, dropped, failed, too_long, took } = self;
        let micros = took.as_secs_f64() * 1e6 / (*records).max(1) as f64;
        if format == Format::Json {
            let totals = json!({ "records": records, "rows": rows, "dropped": dropped, "failed": failed,
                "too_long": too_long, "micros_per_record": micros, "memory_bytes": memory_bytes });
            return format!("{}\n", json!({ "totals": totals }));
        }
        let mut text = format!(
            "{}: {}, {dropped} dropped, {failed} failed",
            count(*records, "record"),
            count(*rows, "row")
        );
        if *too_long > 0 {
            text += &format!(", {} longer than a record may be", count(*too_long, "line"));
        }
        text += &format!("; {micros:.1} µs per record");
        if let Some(bytes) = memory_bytes {
            text += &format!(", a call took up to {} KiB of memory", bytes >> 10);
        }
        text + "\n"
    }
}

/// Records on their way through a target.
#[derive(Debug)]
pub(super) struct Trial {
    target: Target,
    format: Format,
    limit: u64,
    waiting: Vec<Bytes>,
    waiting_bytes: u64,
    totals: Totals,
}

impl Trial {
    pub(super) fn new(target: Target, format: Format, limit: Option<u64>) -> Self {
        let (limit, totals) = (limit.unwrap_or(u64::MAX), Totals::default());
        Self { target, format, limit, waiting: Vec::new(), waiting_bytes: 0, totals }
    }

    fn takes_more(&self) -> bool {
        self.totals.records + (self.waiting.len() as u64) < self.limit
    }

    /// Takes a record, unless there are enough; gives what is to be shown now.
    pub(super) fn push(&mut self, data: &[u8]) -> String {
        if !self.takes_more() {
            return String::new();
        }
        self.waiting.push(Bytes::copy_from_slice(data));
        self.waiting_bytes += data.len() as u64;
        if self.waiting_bytes >= self.target.chunk_bytes { self.take() } else { String::new() }
    }

    /// Takes the last records through, and gives their outcomes and the totals.
    pub(super) fn end(&mut self) -> String {
        let outcomes = self.take();
        let memory = self.target.loaded.functions.values().map(|function| function.memory_bytes());
        let memory = memory.max().filter(|bytes| *bytes > 0);
        outcomes + &self.totals.show(memory, self.format)
    }

    fn take(&mut self) -> String {
        if self.waiting.is_empty() {
            return String::new();
        }
        self.waiting_bytes = 0;
        let (now, totals) = (OsTimer::start().now(), &mut self.totals);
        let record = |(at, data)| Record { position: Position(at), arrived_at: now, data };
        let waiting = std::mem::take(&mut self.waiting);
        let records: Vec<Record> = (totals.records..).zip(waiting).map(record).collect();
        let (began, target) = (Instant::now(), &self.target);
        let done = outcomes(&target.chain, target.keys.as_ref(), &target.source, &records);
        totals.took += began.elapsed();
        let mut text = String::new();
        for outcome in done {
            totals.records += 1;
            match &outcome {
                Outcome::Kept(rows) => totals.rows += rows.len() as u64,
                Outcome::Dropped => totals.dropped += 1,
                Outcome::Failed(_) => totals.failed += 1,
            }
            outcome.show(totals.records, self.format, &mut text);
        }
        text
    }
}
