//! Prints how fast one thread encodes columns of log-like rows to ORC, per compression.
//!
//! `cargo run --release -p standpipe-convert --example orc_speed`

#![allow(clippy::print_stdout)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow_array::{
    Array, ArrayRef, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int32Array, Int64Array,
    RecordBatch, StringArray, TimestampMicrosecondArray,
};
use standpipe_convert::orc::{Compression, FormatVersion, OrcOptions, encode_stripe};

const ROWS: u64 = 500_000;
/// Each line of the result is the best of this many runs.
const RUNS: usize = 5;

type AnyError = Box<dyn std::error::Error>;

fn main() -> Result<(), AnyError> {
    let batch = batch()?;
    let sizes = batch.columns().iter().map(|column| column.to_data().get_slice_memory_size());
    let raw = sizes.sum::<Result<usize, _>>()? as f64 / 1e6;
    println!(
        "{ROWS} rows of {} columns, {raw:.0} MB in Arrow, best of {RUNS} runs, one thread",
        batch.num_columns()
    );
    let of = |compression| OrcOptions { compression, ..OrcOptions::default() };
    for (name, options) in [
        ("NONE", of(Compression::None)),
        ("SNAPPY", of(Compression::Snappy)),
        ("LZ4", of(Compression::Lz4)),
        ("ZSTD", of(Compression::Zstd)),
        ("ZLIB", of(Compression::Zlib)),
        ("SNAPPY, V0_11", OrcOptions { format_version: FormatVersion::V0_11, ..OrcOptions::default() }),
        ("SNAPPY, dictionaries", OrcOptions { dictionary_key_threshold: 0.8, ..OrcOptions::default() }),
        (
            "SNAPPY, bloom filters of two columns",
            OrcOptions { bloom_filter_columns: vec!["id".into(), "host".into()], ..OrcOptions::default() },
        ),
    ] {
        let (mut best, mut size) = (Duration::MAX, 0);
        for _ in 0..RUNS {
            let started = Instant::now();
            size = encode_stripe(std::slice::from_ref(&batch), &options)?.bytes().len();
            best = best.min(started.elapsed());
        }
        println!("{name:38} {:7.0} MB/s {:7.1} MB", raw / best.as_secs_f64(), size as f64 / 1e6);
    }
    Ok(())
}

fn batch() -> Result<RecordBatch, AnyError> {
    let rows = || 0..ROWS;
    let noise = |row: u64| row.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
    let some = |row: u64| !noise(row).is_multiple_of(20);
    let id: Int64Array = rows().map(|row| Some(row as i64 * 3)).collect();
    let status: Int32Array =
        rows().map(|row| some(row).then(|| [200, 200, 200, 404, 500][noise(row) as usize % 5])).collect();
    let bytes: Int64Array = rows().map(|row| some(row).then(|| noise(row) as i64 % 100_000)).collect();
    let seconds: Float64Array = rows().map(|row| Some(noise(row) as f64 / 1e6)).collect();
    let cached: BooleanArray = rows().map(|row| Some(noise(row).is_multiple_of(3))).collect();
    let price: Decimal128Array = rows().map(|row| Some(i128::from(noise(row) % 1_000_000))).collect();
    let day: Date32Array = rows().map(|row| Some(19_000 + (row / 100_000) as i32)).collect();
    let time: TimestampMicrosecondArray = rows()
        .map(|row| Some(1_700_000_000_000_000 + row as i64 * 1_000 + noise(row) as i64 % 900))
        .collect();
    let host: StringArray =
        rows().map(|row| some(row).then(|| format!("host-{:03}.example", noise(row) % 200))).collect();
    let path: StringArray =
        rows().map(|row| Some(format!("/api/v1/items/{:012x}/parts?page={}", noise(row), row % 7))).collect();
    let columns: [(&str, ArrayRef); 10] = [
        ("id", Arc::new(id)),
        ("status", Arc::new(status)),
        ("bytes", Arc::new(bytes)),
        ("seconds", Arc::new(seconds)),
        ("cached", Arc::new(cached)),
        ("price", Arc::new(price.with_precision_and_scale(10, 2)?)),
        ("day", Arc::new(day)),
        ("time", Arc::new(time)),
        ("host", Arc::new(host)),
        ("path", Arc::new(path)),
    ];
    Ok(RecordBatch::try_from_iter(columns)?)
}
