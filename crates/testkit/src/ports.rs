//! Free loopback ports for servers that cannot pick their own.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Result, bail};

/// Below the range from which the kernel takes outgoing ports (32768 and up on Linux). A listener in that range could
/// lose its port to any client while it restarts, and a client that retries against it could even connect to itself.
const RANGE: std::ops::Range<u16> = 12_000..32_000;

/// A port on which nothing listens right now. Another process may still be quicker: whoever starts a server tries
/// again with another port when this one turns out to be taken.
///
/// # Errors
/// When a few hundred ports in a row are taken.
pub(crate) fn free_port() -> Result<u16> {
    static CALLS: AtomicU64 = AtomicU64::new(0);
    let nanos = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().subsec_nanos();
    for _ in 0..500 {
        let call = CALLS.fetch_add(1, Ordering::Relaxed);
        let mixed = (u64::from(nanos) ^ (u64::from(std::process::id()) << 20))
            .wrapping_add(call)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            >> 33;
        let offset = u16::try_from(mixed % u64::from(RANGE.end - RANGE.start)).unwrap_or_default();
        let port = RANGE.start + offset;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("found no free port in {RANGE:?}")
}
