//! What the machine does by itself: the disk with the journal's groups and nothing else, and a core that only hashes.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use sha2::{Digest as _, Sha256};

/// As the journal's largest segments; written again from the start once full, as recycled segments are.
const FILE_BYTES: u64 = 64 << 20;

/// Writes groups of `group` bytes into a file in `dir`, each followed by fdatasync, for `time`; gives bytes a second.
///
/// # Errors
/// When the disk refuses.
pub(crate) fn ceiling(dir: &Path, group: usize, time: Duration) -> Result<f64> {
    let path = dir.join("ceiling");
    let file = OpenOptions::new().create(true).truncate(true).write(true).open(&path)?;
    let data: Vec<u8> =
        (0..group as u64).map(|number| (number.wrapping_mul(0x9e37_79b9) >> 16) as u8).collect();
    let mut offset = 0;
    let mut write = || {
        if offset + group as u64 > FILE_BYTES.max(group as u64) {
            offset = 0;
        }
        file.write_all_at(&data, offset)?;
        offset += group as u64;
        file.sync_data()
    };
    // The first time over allocates.
    for _ in 0..=FILE_BYTES / group as u64 {
        write().context("write to the disk")?;
    }
    let (began, mut groups) = (Instant::now(), 0u64);
    while began.elapsed() < time {
        write().context("write to the disk")?;
        groups += 1;
    }
    let rate = groups as f64 * group as f64 / began.elapsed().as_secs_f64();
    std::fs::remove_file(&path)?;
    Ok(rate)
}

/// Bytes a second that one core hashes with SHA-256: the best of many short tries, so that a busy machine shows little.
pub(crate) fn sha256() -> f64 {
    const TRIES: u32 = 200;
    let data = vec![7; 1 << 20];
    let took = (0..TRIES).map(|_| {
        let began = Instant::now();
        std::hint::black_box(Sha256::digest(std::hint::black_box(&data)));
        began.elapsed()
    });
    data.len() as f64 / took.min().unwrap_or(Duration::MAX).as_secs_f64()
}
