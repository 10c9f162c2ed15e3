//! What a running instance has: its limits, its inputs and outputs, and a world in which nothing happens by chance.
//!
//! # Invariants
//! - Without a grant, everything that a guest can learn is a function of its records, its configuration and its tables:
//!   the time is when the last record arrived, a monotonic clock counts how often it was asked, and chance is the same
//!   sequence in every call.
//! - What a guest makes the host keep is bounded: its answer by the limit, its log by [`LOG_LINES_MAX`] and
//!   [`LOG_LINE_BYTES`].

use std::sync::Arc;

use wasmtime::{ResourceLimiter, Result, bail};

use super::options::{FunctionOptions, Limits};

/// Lines of the log per call; more are dropped.
const LOG_LINES_MAX: u32 = 100;
/// Of a longer line the beginning is logged.
const LOG_LINE_BYTES: usize = 1024;
/// What is kept of the standard error for the reason of a failure.
const LAST_LINES_BYTES: usize = 768;
/// Instances, memories and tables of WebAssembly that one function may have: enough for what compilers of scripting
/// languages make. The pool is laid out for so many per call.
pub(super) const INSTANCES_MAX: usize = 64;
pub(super) const MEMORIES_MAX: usize = 2;
pub(super) const TABLES_MAX: usize = 16;

pub(super) struct State {
    pub(super) function: Arc<FunctionOptions>,
    pub(super) meter: Meter,
    pub(super) input: Vec<u8>,
    pub(super) read: usize,
    pub(super) output: Vec<u8>,
    /// The end of the standard error, which is where panics are told.
    pub(super) last_lines: String,
    line: Vec<u8>,
    lines: u32,
    stream: String,
    wall_ms: u64,
    asked: u64,
    chance: u64,
}

impl State {
    /// `wall_ms` is when the last record arrived.
    pub(super) fn new(function: Arc<FunctionOptions>, stream: &str, wall_ms: u64, input: Vec<u8>) -> Self {
        Self {
            meter: Meter::new(function.limits),
            function,
            input,
            read: 0,
            output: Vec::new(),
            last_lines: String::new(),
            line: Vec::new(),
            lines: 0,
            stream: stream.to_owned(),
            wall_ms,
            asked: 0,
            chance: 0,
        }
    }

    /// The time of day in nanoseconds since 1970.
    pub(super) fn wall_ns(&self) -> u64 {
        let ms = self.function.grants.clock.as_ref().map_or(self.wall_ms, |clock| clock.now().0);
        ms.saturating_mul(1_000_000)
    }

    /// Time that passes: a microsecond for each time that it is asked for, so that who waits for it does not wait long.
    pub(super) fn monotonic_ns(&mut self) -> u64 {
        self.asked = self.asked.saturating_add(1_000);
        self.asked
    }

    /// Lets time pass up to `ns`: nobody sleeps here.
    pub(super) fn pass(&mut self, ns: u64) {
        self.asked = self.asked.max(ns);
    }

    /// The next number of SplitMix64 from 0, unless chance was granted.
    pub(super) fn random(&mut self) -> u64 {
        if let Some(entropy) = &self.function.grants.random {
            return entropy.next_u64();
        }
        self.chance = self.chance.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.chance ^ (self.chance >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Takes a part of the answer.
    ///
    /// # Errors
    /// When the answer gets longer than is allowed; the call has then failed.
    pub(super) fn answer(&mut self, bytes: &[u8]) -> Result<()> {
        let max = self.function.limits.output_bytes;
        if self.output.len() + bytes.len() > max {
            bail!("the answer has more than {max} bytes");
        }
        self.output.extend_from_slice(bytes);
        Ok(())
    }

    /// Takes what is written to the standard error, and logs each line of it.
    pub(super) fn complain(&mut self, bytes: &[u8]) {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            let room = LOG_LINE_BYTES.saturating_sub(self.line.len());
            self.line.extend_from_slice(&part[..part.len().min(room)]);
            if part.ends_with(b"\n") {
                self.end_line();
            }
        }
    }

    /// Ends a line that was begun.
    pub(super) fn end_line(&mut self) {
        let line = String::from_utf8_lossy(&std::mem::take(&mut self.line)).trim_end().to_owned();
        if !line.is_empty() {
            self.log(tracing::Level::INFO, &line);
            self.last_lines.push_str(&line);
            self.last_lines.push('\n');
            let surplus = self.last_lines.len().saturating_sub(LAST_LINES_BYTES);
            self.last_lines.drain(..self.last_lines.ceil_char_boundary(surplus));
        }
    }

    /// Writes a line to the daemon's log.
    pub(super) fn log(&mut self, level: tracing::Level, line: &str) {
        self.lines = self.lines.saturating_add(1);
        if self.lines > LOG_LINES_MAX {
            return;
        }
        let line = &line[..line.floor_char_boundary(LOG_LINE_BYTES)];
        let (function, stream) = (&self.function.name, &self.stream);
        // The level is part of what tracing keeps of a place in the source.
        match level {
            tracing::Level::ERROR => tracing::error!(%function, %stream, ?line, "function's log"),
            tracing::Level::WARN => tracing::warn!(%function, %stream, ?line, "function's log"),
            tracing::Level::INFO => tracing::info!(%function, %stream, ?line, "function's log"),
            tracing::Level::DEBUG => tracing::debug!(%function, %stream, ?line, "function's log"),
            tracing::Level::TRACE => tracing::trace!(%function, %stream, ?line, "function's log"),
        }
    }
}

/// Counts memory and tables, over all that an instance has of each.
#[derive(Debug)]
pub(super) struct Meter {
    limits: Limits,
    pub(super) memory_bytes: usize,
    table_elements: usize,
}

impl Meter {
    fn new(limits: Limits) -> Self {
        Self { limits, memory_bytes: 0, table_elements: 0 }
    }
}

fn grow(used: &mut usize, current: usize, desired: usize, max: usize) -> bool {
    let wanted = used.saturating_add(desired.saturating_sub(current));
    let fits = wanted <= max;
    if fits {
        *used = wanted;
    }
    fits
}

impl ResourceLimiter for Meter {
    fn memory_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> Result<bool> {
        Ok(grow(&mut self.memory_bytes, current, desired, self.limits.memory_bytes))
    }

    fn table_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> Result<bool> {
        Ok(grow(&mut self.table_elements, current, desired, self.limits.table_elements))
    }

    fn instances(&self) -> usize {
        INSTANCES_MAX
    }

    fn tables(&self) -> usize {
        TABLES_MAX
    }

    fn memories(&self) -> usize {
        MEMORIES_MAX
    }
}
