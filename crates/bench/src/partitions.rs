//! What memory a daemon takes for a window whose rows go to the objects of many partitions, and of one.

use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde::Serialize;
use standpipe_testkit::{Daemon, cache};

use crate::destinations::{put_lines, wait_delivered};
use crate::formats::FLIGHTS;
use crate::process::memory;

const STREAM: &str = "rows";
const PARTITIONS: usize = 5_000;
/// Flights of a row, which is about 900 bytes then.
const FLIGHTS_OF_A_ROW: usize = 3;
/// The window, in which everything is put.
const WINDOW: Duration = Duration::from_secs(30);

/// What came of a window.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Window {
    pub(crate) partitions: usize,
    pub(crate) rows: usize,
    /// Of record data.
    pub(crate) mb: f64,
    pub(crate) objects: usize,
    pub(crate) rss_peak_mib: f64,
}

/// Puts so many MiB in one window, once for each number of partitions.
///
/// # Errors
/// When the daemon does not start, a row is not delivered, or putting takes longer than a window.
pub(crate) fn measure(binary: &Path, mib: usize) -> Result<Vec<Window>> {
    [PARTITIONS, 1].into_iter().map(|partitions| window(binary, mib, partitions)).collect()
}

fn window(binary: &Path, mib: usize, partitions: usize) -> Result<Window> {
    let dir = cache::run_dir("partitions")?;
    let (input, rows, bytes) = input(&dir, mib, partitions)?;
    let lake = dir.join("lake");
    let daemon = Daemon::start(
        binary,
        format!(
            "stores: {{ lake: {{ type: file, path: {} }} }}\nstreams:\n  - name: {STREAM}\n    destination:\n      s3: {{ \
             prefix: 'rows/device=!{{partitionKeyFromQuery:device}}/', error_output_prefix: \
             'errors/!{{firehose:error-output-type}}/', compression: gzip, delimiter: newline, partitioning: {{ keys: {{ \
             device: .device }}, limit: {PARTITIONS} }}, buffering: {{ size: 5MiB, interval: {}s }} }}\n",
            lake.display(),
            WINDOW.as_secs(),
        ),
    )?;
    let began = Instant::now();
    put_lines(binary, &daemon, STREAM, &input)?;
    ensure!(began.elapsed() < WINDOW, "the rows did not come within one window: put fewer");
    wait_delivered(&daemon, rows, began)?;
    let rss_peak_mib = memory(daemon.pid())?.peak as f64 / f64::from(1 << 20);
    drop(daemon);
    let objects = files_below(&lake.join("rows"))?;
    fs::remove_dir_all(&dir)?;
    Ok(Window { partitions, rows, mb: bytes as f64 / 1e6, objects, rss_peak_mib })
}

/// A file of so many MiB, how many lines it has, and how many bytes of records; partitions take turns.
fn input(dir: &Path, mib: usize, partitions: usize) -> Result<(PathBuf, usize, usize)> {
    let flights = fs::read_to_string(FLIGHTS).context("read the flights")?;
    let mut flights = flights.lines().cycle();
    let path = dir.join("input.ndjson");
    let mut file = BufWriter::new(File::create(&path)?);
    let (mut rows, mut bytes) = (0, 0);
    while bytes < mib << 20 {
        let of_row: Vec<&str> = flights.by_ref().take(FLIGHTS_OF_A_ROW).collect();
        let row = format!("{{\"device\":\"d{}\",\"flights\":[{}]}}", rows % partitions, of_row.join(","));
        writeln!(file, "{row}")?;
        (rows, bytes) = (rows + 1, bytes + row.len());
    }
    file.flush()?;
    Ok((path, rows, bytes))
}

fn files_below(folder: &Path) -> Result<usize> {
    let mut files = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        files += if entry.file_type()?.is_dir() { files_below(&entry.path())? } else { 1 };
    }
    Ok(files)
}
