//! `standpipe transform run`: what a function, or all processors of a stream, make of the records of a file.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};
use bytes::Bytes;
use clap::Args;
use serde_json::json;
use standpipe_model::{Clock as _, Position, StreamName, stream_arn};
use standpipe_sinks::key::ObjectKeys;
use standpipe_transform::{Chain, Record, Source};

use super::super::put::lines::Splitter;
use super::super::{CONFIG_PATH, count, env, print};
use super::outcome::{Outcome, outcomes};
use crate::clock::{OsEntropy, OsTimer};
use crate::config::{Config, did_you_mean};
use crate::functions;
use crate::processors::{LoadedFunctions, ProcessorSpec, WasmCall, chain};

/// Arguments of `transform run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// The function, or the stream; a function where both have the name.
    #[arg(value_name = "FUNCTION_OR_STREAM")]
    pub name: String,
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

/// What records are taken through.
struct Target {
    chain: Arc<Chain>,
    functions: LoadedFunctions,
    keys: Option<ObjectKeys>,
    source: Source,
}

#[derive(Default)]
struct Totals {
    records: u64,
    rows: u64,
    dropped: u64,
    failed: u64,
    took: Duration,
}

pub(super) fn run(args: &RunArgs) -> anyhow::Result<ExitCode> {
    let config = Config::load(&args.config, &env).map_err(|problems| anyhow!("{problems}"))?;
    let target = Target::find(&args.name, &config)?;
    let mut totals = Totals::default();
    let mut splitter = Splitter::new(args.keep_newline);
    let mut input = open(&args.input)?;
    let mut chunk = vec![0; 256 << 10];
    let limit = args.limit.unwrap_or(u64::MAX);
    while totals.records < limit {
        let read = input.read(&mut chunk).with_context(|| format!("cannot read {}", args.input.display()))?;
        match read {
            0 => {
                splitter.end_input();
                splitter.flush();
            }
            len => splitter.push(&chunk[..len]),
        }
        while let Some(block) = splitter.next() {
            let wanted = usize::try_from(limit - totals.records).unwrap_or(usize::MAX);
            let data: Vec<Bytes> = block.iter().take(wanted).map(Bytes::copy_from_slice).collect();
            target.take(data, args.output, &mut totals)?;
        }
        if read == 0 {
            break;
        }
    }
    print(&target.summary(&totals, splitter.too_long(), args.output))?;
    Ok(if totals.failed == 0 && splitter.too_long() == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn open(path: &Path) -> anyhow::Result<Box<dyn Read>> {
    if path == Path::new("-") {
        return Ok(Box::new(io::stdin().lock()));
    }
    Ok(Box::new(File::open(path).with_context(|| format!("cannot read {}", path.display()))?))
}

impl Target {
    fn find(name: &str, config: &Config) -> anyhow::Result<Self> {
        let stream = config.streams.iter().find(|stream| stream.name.as_str() == name);
        let (processors, stream) = match (config.functions.contains_key(name), stream) {
            (true, _) => (vec![ProcessorSpec::Wasm(WasmCall::of(name))], None),
            (false, Some(stream)) => (stream.processors.clone(), Some(stream)),
            (false, None) => {
                let names = || {
                    let streams = config.streams.iter().map(|stream| stream.name.as_str());
                    config.functions.keys().map(String::as_str).chain(streams)
                };
                let known = names().collect::<Vec<_>>().join(", ");
                let near = did_you_mean(name, names());
                return Err(anyhow!("there is no function or stream \"{name}\"{near} (there are: {known})"));
            }
        };
        let mut configs = config.functions.clone();
        configs.retain(|name, _| processors.iter().any(|one| one.function() == Some(name)));
        let functions = functions::load(&configs, OsTimer::start(), Arc::new(OsEntropy))?;
        let partitioned = stream.filter(|stream| stream.destination.partitioning.is_some());
        let keys = partitioned.map(|stream| {
            let to = &stream.destination;
            let (prefix, errors) = (&to.prefix, &to.error_output_prefix);
            ObjectKeys::new(stream.name.clone(), prefix, errors, &to.custom_time_zone, "", true)
        });
        let stream_name = StreamName::parse(name)?;
        let arn = stream_arn(&config.region, &config.account_id, name);
        let source = Source { stream: stream_name, stream_arn: arn, region: config.region.clone() };
        Ok(Self { chain: chain(&processors, &functions)?, functions, keys: keys.transpose()?, source })
    }

    fn take(&self, data: Vec<Bytes>, format: Format, totals: &mut Totals) -> anyhow::Result<()> {
        let now = OsTimer::start().now();
        let record = |(at, data)| Record { position: Position(at), arrived_at: now, data };
        let records: Vec<Record> = (totals.records..).zip(data).map(record).collect();
        let began = Instant::now();
        let done = outcomes(&self.chain, self.keys.as_ref(), &self.source, &records);
        totals.took += began.elapsed();
        let mut text = String::new();
        for (record, outcome) in records.iter().zip(&done) {
            match outcome {
                Outcome::Kept(rows) => totals.rows += rows.len() as u64,
                Outcome::Dropped => totals.dropped += 1,
                Outcome::Failed(_) => totals.failed += 1,
            }
            outcome.show(record.position.0 + 1, format, &mut text);
        }
        totals.records += records.len() as u64;
        print(&text)
    }

    fn summary(&self, totals: &Totals, too_long: u64, format: Format) -> String {
        let memory = self.functions.values().map(|function| function.memory_bytes()).max();
        let Totals { records, rows, dropped, failed, took } = totals;
        let micros = took.as_secs_f64() * 1e6 / (*records).max(1) as f64;
        if format == Format::Json {
            let totals = json!({ "records": records, "rows": rows, "dropped": dropped, "failed": failed,
                "too_long": too_long, "micros_per_record": micros, "memory_bytes": memory });
            return format!("{}\n", json!({ "totals": totals }));
        }
        let memory = memory.map(|bytes| format!(", at most {} KiB of memory in a call", bytes >> 10));
        let long =
            if too_long > 0 { format!(", {too_long} longer than a record may be") } else { String::new() };
        let (records, rows) = (count(*records, "record"), count(*rows, "row"));
        let memory = memory.unwrap_or_default();
        format!(
            "{records}: {rows}, {dropped} dropped, {failed} failed{long}; {micros:.1} µs per record{memory}\n"
        )
    }
}
