//! Prints how fast one thread encodes log-like JSON, per format, beside the plain libraries on the same bytes.
//!
//! `cargo run --release -p standpipe-encode --example encode_speed`

#![allow(clippy::print_stdout)]

use std::io::Write;
use std::time::{Duration, Instant};

use standpipe_encode::{EncodeOptions, EncoderPool, Entry, Joiner};
use standpipe_model::{Compression, RecordBlock, RecordBlockBuilder, Timestamp};

const CHUNK_BYTES: usize = 1 << 20;
const CHUNKS: usize = 32;
/// Each line of the result is the best of this many runs.
const RUNS: usize = 5;

type AnyError = Box<dyn std::error::Error>;

fn main() -> Result<(), AnyError> {
    let chunks = log_lines();
    let rows: u32 = chunks.iter().map(RecordBlock::count).sum();
    println!("{CHUNKS} chunks of 1 MiB, {rows} rows, best of {RUNS} runs, one thread");
    for (compression, level) in [
        (Compression::Uncompressed, None),
        (Compression::Gzip, Some(1)),
        (Compression::Gzip, Some(6)),
        (Compression::Gzip, Some(9)),
        (Compression::Zip, Some(6)),
        (Compression::Snappy, None),
        (Compression::HadoopSnappy, None),
        (Compression::Zstd, Some(1)),
        (Compression::Zstd, Some(3)),
        (Compression::Zstd, Some(9)),
    ] {
        let options = EncodeOptions { compression, level, delimiter: "\n".into() };
        let name = format!("{compression:?}");
        report(&name, level, || encode(&options, &chunks))?;
    }
    let whole: Vec<u8> = chunks.iter().flatten().flat_map(|row| row.iter().chain(b"\n")).copied().collect();
    println!("the libraries themselves, on the rows already laid end to end");
    for level in [1, 6, 9] {
        report("flate2 GzEncoder", Some(level), || {
            let level = flate2::Compression::new(level.unsigned_abs());
            let mut gzip = flate2::write::GzEncoder::new(Vec::with_capacity(whole.len()), level);
            gzip.write_all(&whole)?;
            Ok((whole.len() as u64, gzip.finish()?.len() as u64))
        })?;
    }
    report("snap raw, 32 KiB", None, || {
        let mut encoder = snap::raw::Encoder::new();
        let mut out = vec![0; snap::raw::max_compress_len(32 << 10)];
        let sizes: Result<Vec<_>, _> =
            whole.chunks(32 << 10).map(|b| encoder.compress(b, &mut out)).collect();
        Ok((whole.len() as u64, sizes?.iter().sum::<usize>() as u64))
    })?;
    for level in [1, 3, 9] {
        report("zstd stream", Some(level), || {
            let mut zstd = zstd::Encoder::new(Vec::with_capacity(whole.len()), level)?;
            zstd.include_checksum(true)?;
            zstd.write_all(&whole)?;
            Ok((whole.len() as u64, zstd.finish()?.len() as u64))
        })?;
    }
    Ok(())
}

fn encode(options: &EncodeOptions, chunks: &[RecordBlock]) -> Result<(u64, u64), AnyError> {
    let encoder = EncoderPool::new(1).encoder(options)?;
    let entry = Entry { name: "rows".to_owned(), modified: Timestamp(0) };
    let (mut joiner, header) = Joiner::start(options.compression, entry)?;
    let mut bytes = header.len();
    for chunk in chunks {
        bytes += joiner.push(&encoder.encode(chunk)?)?.len();
    }
    let raw_bytes = joiner.raw_bytes();
    Ok((raw_bytes, (bytes + joiner.finish().len()) as u64))
}

/// Runs `work`, which returns its raw and its encoded bytes, and prints the best run.
fn report(
    name: &str,
    level: Option<i32>,
    mut work: impl FnMut() -> Result<(u64, u64), AnyError>,
) -> Result<(), AnyError> {
    let mut best = Duration::MAX;
    let mut sizes = (0, 0);
    for _ in 0..RUNS {
        let start = Instant::now();
        sizes = work()?;
        best = best.min(start.elapsed());
    }
    let (raw, encoded) = (sizes.0 as f64, sizes.1 as f64);
    let level = level.map_or(String::new(), |level| level.to_string());
    println!(
        "{name:<18} {level:>2} {:>8.0} MB/s  ratio {:>5.2}",
        raw / best.as_secs_f64() / 1e6,
        raw / encoded
    );
    Ok(())
}

/// Access-log lines as JSON, of 250 to 400 bytes, from a fixed seed.
fn log_lines() -> Vec<RecordBlock> {
    const PATHS: [&str; 6] =
        ["/", "/api/v1/items", "/api/v1/cart", "/login", "/static/app.js", "/api/v1/search"];
    const AGENTS: [&str; 3] = ["Mozilla/5.0 (X11; Linux x86_64)", "curl/8.5.0", "okhttp/4.12.0"];
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move || {
        // xorshift64
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed
    };
    let block = |_| {
        let mut block = RecordBlockBuilder::with_capacity(4096, CHUNK_BYTES);
        while block.record_bytes() < CHUNK_BYTES {
            let (a, b, c) = (random(), random(), random());
            let line = format!(
                "{{\"time\":\"2026-11-21T{:02}:{:02}:{:02}.{:06}Z\",\"level\":\"info\",\"request_id\":\"{a:016x}{b:016x}\",\
                 \"client\":\"10.{}.{}.{}\",\"method\":\"GET\",\"path\":\"{}?id={}\",\"status\":{},\"bytes\":{},\
                 \"duration_ms\":{}.{:03},\"agent\":\"{}\",\"host\":\"web-{:02}.eu-central-1.example.com\"}}",
                a % 24,
                a / 24 % 60,
                a / 2000 % 60,
                c % 1_000_000,
                b % 4,
                b / 7 % 256,
                b / 2048 % 256,
                PATHS[(c % 6) as usize],
                c / 11 % 100_000,
                if c % 50 == 0 { 500 } else { 200 },
                c / 13 % 90_000,
                a / 17 % 900,
                b % 1000,
                AGENTS[(a % 3) as usize],
                b % 40,
            );
            block.push(line.as_bytes());
        }
        block.finish()
    };
    (0..CHUNKS).map(block).collect()
}
