//! Measures the CPU part of a put on one core: hash, parse, decode. Run with `--release`.

use std::fmt::Write as _;
use std::hint::black_box;
use std::io::Write as _;
use std::time::Instant;

use sha2::{Digest, Sha256};
use standpipe_ingest::{Operation, decode_put};

const ROUNDS: u32 = 400;

fn main() -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    for (records, len) in [(500, 512), (500, 64), (4, 1_000_000)] {
        let body = body(records, len);
        let bytes = records * len;
        writeln!(out, "{records} records of {len} bytes, body of {} bytes", body.len())?;
        measure(&mut out, "hash  ", bytes, || {
            black_box(Sha256::digest(black_box(&body)));
        })?;
        measure(&mut out, "decode", bytes, || {
            black_box(decode_put(Operation::PutRecordBatch, black_box(&body)).expect("the body is valid"));
        })?;
        measure(&mut out, "both  ", bytes, || {
            black_box(Sha256::digest(black_box(&body)));
            black_box(decode_put(Operation::PutRecordBatch, black_box(&body)).expect("the body is valid"));
        })?;
    }
    Ok(())
}

/// A compact body, as the SDKs write it, of bytes that do not repeat too soon.
fn body(records: usize, len: usize) -> Vec<u8> {
    let mut state = 1u64;
    let mut random = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    let mut body = "{\"DeliveryStreamName\":\"stream\",\"Records\":[".to_owned();
    for record in 0..records {
        let data: Vec<u8> = (0..len).map(|_| random()).collect();
        let comma = if record == 0 { "" } else { "," };
        write!(body, "{comma}{{\"Data\":\"{}\"}}", base64_simd::STANDARD.encode_to_string(data))
            .expect("a String takes everything");
    }
    (body + "]}").into_bytes()
}

/// Prints the median rate over the records' data bytes.
fn measure(
    out: &mut impl std::io::Write,
    what: &str,
    bytes: usize,
    mut run: impl FnMut(),
) -> std::io::Result<()> {
    let mut times: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let started = Instant::now();
            run();
            started.elapsed().as_secs_f64()
        })
        .collect();
    times.sort_by(f64::total_cmp);
    let median = times[times.len() / 2];
    writeln!(
        out,
        "  {what} {:8.0} MB/s of record data, {:8.1} us each",
        bytes as f64 / median / 1e6,
        median * 1e6
    )
}
