//! JSON to Parquet, ORC, Avro and lines of JSON on one thread, against pyarrow and DuckDB on the same file with the same
//! columns; and the memory that a daemon takes for a buffer that is converted.

use std::fs::{self, File};
use std::hint::black_box;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, Serialize};
use standpipe_convert::avro::{self, AvroFormat};
use standpipe_convert::infer::Inferred;
use standpipe_convert::orc::OrcOptions;
use standpipe_convert::parquet::{Compression, ParquetFormat, ParquetOptions};
use standpipe_convert::{
    Column, Deserializer, FileFormat, FileJoiner, JsonLines, OrcFormat, RecordBatch, RowReader, TableSchema,
};
use standpipe_testkit::clients::{Python, finish};
use standpipe_testkit::{Daemon, cache};

use crate::destinations::put_lines;
use crate::process::{cpu_seconds, memory};
use crate::target::sum;

/// The demo's flights, over and over.
pub(crate) const FLIGHTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/data/flights.ndjson");
/// Of so many looks the better one counts, whoever converts.
const LOOKS: usize = 2;
/// Rows of a record batch and of a row group, about as a worker has them.
const BATCH_ROWS: usize = 4 << 10;
const GROUP_ROWS: usize = 128 << 10;
const COLUMNS: [(&str, &str); 19] = [
    ("year", "int"),
    ("month", "int"),
    ("day", "int"),
    ("dep_time", "int"),
    ("sched_dep_time", "int"),
    ("dep_delay", "int"),
    ("arr_time", "int"),
    ("sched_arr_time", "int"),
    ("arr_delay", "int"),
    ("carrier", "string"),
    ("flight", "int"),
    ("tailnum", "string"),
    ("origin", "string"),
    ("dest", "string"),
    ("air_time", "int"),
    ("distance", "int"),
    ("hour", "int"),
    ("minute", "int"),
    ("time_hour", "timestamp"),
];

/// A conversion, by whom.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Conversion {
    pub(crate) by: String,
    pub(crate) to: String,
    /// JSON a second of processor time, on one thread.
    pub(crate) mb_per_cpu_s: f64,
    pub(crate) file_mb: f64,
}

/// All of it.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Formats {
    pub(crate) conversions: Vec<Conversion>,
    /// The peak of a daemon that converts a buffer of 128 MiB, and of one that has done nothing yet.
    pub(crate) rss_peak_mib: f64,
    pub(crate) rss_idle_mib: f64,
    pub(crate) buffer_mb: f64,
}

/// Measures it on so many MiB of JSON.
///
/// # Errors
/// When a reader cannot be had, a row does not convert, or the daemon does not start.
pub(crate) fn measure(binary: &Path, json_mib: usize) -> Result<Formats> {
    let dir = cache::run_dir("formats")?;
    let json = dir.join("flights.json");
    let once = fs::read(FLIGHTS).context("read the flights")?;
    let mut file = File::create(&json)?;
    let times = (json_mib << 20).div_ceil(once.len());
    (0..times).try_for_each(|_| file.write_all(&once))?;
    let mut formats = Formats::default();
    let table = table()?;
    for (to, format) in files(&table)? {
        formats.conversions.push(convert(&json, &table, to, Some(&format))?);
    }
    formats.conversions.push(convert(&json, &table, "lines of JSON", None)?);
    formats.conversions.push(infer(&json)?);
    let mut python = Command::new(Python::installed()?.interpreter());
    python.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/src/formats.py")).arg(&json).arg(&dir);
    python.args(COLUMNS.map(|(name, kind)| format!("{name}:{kind}")));
    let others: Vec<Conversion> = serde_json::from_value(finish(python)?)?;
    formats.conversions.extend(others);
    buffer(binary, &once, &mut formats)?;
    fs::remove_dir_all(&dir)?;
    Ok(formats)
}

fn table() -> Result<TableSchema> {
    let columns = COLUMNS.iter().map(|(name, kind)| Column::parse(name, kind)).collect::<Result<_, _>>()?;
    Ok(TableSchema::new(columns)?)
}

fn files(table: &TableSchema) -> Result<Vec<(&'static str, FileFormat)>> {
    let parquet = |compression, dictionary| {
        let options = ParquetOptions { compression, dictionary, ..ParquetOptions::default() };
        ParquetFormat::new(table.to_arrow(), &options).map(FileFormat::Parquet)
    };
    // As the configuration file has it.
    let orc = OrcOptions { dictionary_key_threshold: 0.8, ..OrcOptions::default() };
    Ok(vec![
        ("parquet, snappy", parquet(Compression::Snappy, true)?),
        ("parquet, snappy, no dictionary", parquet(Compression::Snappy, false)?),
        ("parquet, zstd", parquet(Compression::Zstd, true)?),
        ("orc, snappy", FileFormat::Orc(OrcFormat::new(table.to_arrow(), orc)?)),
        (
            "avro, snappy",
            FileFormat::Avro(AvroFormat::new(&table.to_arrow(), "lake.flights", avro::Compression::Snappy)?),
        ),
    ])
}

/// Converts a file to files of this format, or to lines of JSON where it is none.
fn convert(json: &Path, table: &TableSchema, to: &str, format: Option<&FileFormat>) -> Result<Conversion> {
    let looks = (0..LOOKS).map(|_| look(json, table, format)).collect::<Result<Vec<_>>>()?;
    let best = looks.into_iter().min_by(|one, other| one.0.total_cmp(&other.0));
    let (seconds, bytes) = best.context("no look was taken")?;
    Ok(Conversion {
        by: "standpipe".to_owned(),
        to: to.to_owned(),
        mb_per_cpu_s: fs::metadata(json)?.len() as f64 / 1e6 / seconds,
        file_mb: bytes as f64 / 1e6,
    })
}

/// How many seconds of processor time it takes, reading the file included as it is for the others, and how many bytes it
/// comes to.
fn look(json: &Path, table: &TableSchema, format: Option<&FileFormat>) -> Result<(f64, usize)> {
    let began = cpu_seconds(std::process::id())?;
    let mut text = BufReader::with_capacity(1 << 20, File::open(json)?);
    let mut reader = RowReader::new(table, &Deserializer::default());
    let (mut joiner, head) = format.map(|format| format.start(&[])).transpose()?.unzip();
    let (mut batches, mut rows, mut bytes) = (Vec::new(), 0, head.map_or(0, |head| head.len()));
    let mut line = Vec::new();
    while text.read_until(b'\n', &mut line)? > 0 {
        rows += reader.push(&line)?;
        line.clear();
        let is_last = text.fill_buf()?.is_empty();
        if reader.rows() == BATCH_ROWS || is_last {
            batches.push(reader.finish()?);
        }
        if rows >= GROUP_ROWS && reader.rows() == 0 || is_last {
            bytes += match format.zip(joiner.as_mut()) {
                Some((format, joiner)) => joiner.push(format.encode(&batches)?)?.len(),
                None => to_lines(&batches)?,
            };
            (rows, batches) = (0, Vec::new());
        }
    }
    bytes += joiner.map(FileJoiner::finish).transpose()?.map_or(0, |end| end.len());
    Ok((cpu_seconds(std::process::id())? - began, bytes))
}

/// Looks through a file for what its columns are, as `schema: infer` does with each batch before it is converted.
fn infer(json: &Path) -> Result<Conversion> {
    let mut seconds = f64::MAX;
    for _ in 0..LOOKS {
        let began = cpu_seconds(std::process::id())?;
        let mut inferred = Inferred::beyond(&TableSchema::default(), &Deserializer::default(), 1_000);
        let mut text = BufReader::with_capacity(1 << 20, File::open(json)?);
        let mut line = Vec::new();
        while text.read_until(b'\n', &mut line)? > 0 {
            inferred.add(&line)?;
            line.clear();
        }
        ensure!(inferred.evolved()?.columns().len() == COLUMNS.len(), "not all columns were seen");
        seconds = seconds.min(cpu_seconds(std::process::id())? - began);
    }
    let (by, to) = ("standpipe".to_owned(), "columns (schema: infer)".to_owned());
    Ok(Conversion { by, to, mb_per_cpu_s: fs::metadata(json)?.len() as f64 / 1e6 / seconds, file_mb: 0.0 })
}

fn to_lines(batches: &[RecordBatch]) -> Result<usize> {
    let mut bytes = 0;
    for batch in batches {
        let (lines, mut text) = (JsonLines::of(batch)?, Vec::new());
        (0..batch.num_rows()).try_for_each(|row| lines.put(row, &mut text, usize::MAX))?;
        bytes += black_box(text).len();
    }
    Ok(bytes)
}

/// Lets a daemon convert one buffer of 128 MiB, put with its own command.
fn buffer(binary: &Path, once: &[u8], formats: &mut Formats) -> Result<()> {
    let dir = cache::run_dir("formats-lake")?;
    let columns: Vec<String> = COLUMNS.iter().map(|(name, kind)| format!("{name}: {kind}")).collect();
    let daemon = Daemon::start(
        binary,
        format!(
            "stores: {{ lake: {{ type: file, path: {} }} }}\nschemas: {{ lake.flights: {{ columns: {{ {} }} }} }}\nstreams:\n  \
             - name: flights\n    format: {{ parquet: {{ schema: lake.flights }} }}\n    destination:\n      s3: {{ store: \
             lake, bucket: b, prefix: f/, buffering: {{ size: 128MiB, interval: 900s }} }}\n",
            dir.join("lake").display(),
            columns.join(", ")
        ),
    )?;
    formats.rss_idle_mib = mib(memory(daemon.pid())?.peak);
    let input = dir.join("input.ndjson");
    // A little more than a buffer, so that it closes by its size.
    let times = (136 << 20) / once.len() + 1;
    let mut file = File::create(&input)?;
    (0..times).try_for_each(|_| file.write_all(once))?;
    put_lines(binary, &daemon, "flights", &input)?;
    let began = Instant::now();
    loop {
        let metrics = daemon.get("/metrics")?.body;
        if sum(&metrics, "standpipe_records_delivered_total") > 0.0 {
            break;
        }
        ensure!(began.elapsed() < Duration::from_secs(120), "the buffer was not delivered");
        thread::sleep(Duration::from_millis(50));
    }
    formats.rss_peak_mib = mib(memory(daemon.pid())?.peak);
    formats.buffer_mb = (once.len() * times) as f64 / 1e6;
    drop(daemon);
    Ok(fs::remove_dir_all(&dir)?)
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
