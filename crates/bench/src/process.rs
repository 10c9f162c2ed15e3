//! What processes cost, as the kernel counts it.

use std::fs;

use anyhow::{Context as _, Result};

/// The processor seconds, user and system, that a process has used.
///
/// # Errors
/// When it is gone.
pub(crate) fn cpu_seconds(pid: u32) -> Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).context("read /proc/<pid>/stat")?;
    let ticks = cpu_ticks(&stat).context("/proc/<pid>/stat is not as expected")?;
    Ok(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
}

/// The processor seconds that were used on this machine by anyone.
///
/// # Errors
/// When the kernel does not tell.
pub(crate) fn busy_seconds() -> Result<f64> {
    let stat = fs::read_to_string("/proc/stat").context("read /proc/stat")?;
    let ticks = busy_ticks(&stat).context("/proc/stat is not as expected")?;
    Ok(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
}

/// All of the first line but what was idle or waiting (the fourth and fifth).
fn busy_ticks(stat: &str) -> Option<u64> {
    let ticks = stat.lines().next()?.strip_prefix("cpu ")?.split_ascii_whitespace();
    let ticks = ticks.map(str::parse).collect::<Result<Vec<u64>, _>>().ok()?;
    Some(ticks.iter().take(8).sum::<u64>() - ticks.get(3)? - ticks.get(4)?)
}

/// Fields 14 and 15. The second one is the program's name, which may hold blanks.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace().skip(11);
    let mut next = || fields.next()?.parse::<u64>().ok();
    Some(next()? + next()?)
}

/// The memory of a process, in bytes.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Memory {
    /// Resident now.
    pub(crate) resident: u64,
    /// The most that ever was.
    pub(crate) peak: u64,
    /// Threads.
    pub(crate) threads: u64,
}

/// The memory of a process.
///
/// # Errors
/// When it is gone.
pub(crate) fn memory(pid: u32) -> Result<Memory> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).context("read /proc/<pid>/status")?;
    let value = |key: &str| -> u64 {
        let line = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
        line.and_then(|line| line.split_ascii_whitespace().next()?.parse().ok()).unwrap_or_default()
    };
    Ok(Memory { resident: value("VmRSS") << 10, peak: value("VmHWM") << 10, threads: value("Threads") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_found_behind_a_name_with_blanks() {
        let stat = "7 (a (b) c) S 1 7 7 0 -1 4194560 1 2 3 4 250 50 8 9 20 0 1 0";
        assert_eq!(cpu_ticks(stat), Some(300));
    }

    #[test]
    fn what_is_idle_is_not_busy() {
        assert_eq!(
            busy_ticks("cpu  1 2 4 8 16 32 64 128 256 512\ncpu0 1\n"),
            Some(1 + 2 + 4 + 32 + 64 + 128)
        );
    }

    #[test]
    fn this_process_has_used_something() {
        let memory = memory(std::process::id()).unwrap();
        assert!(memory.peak >= memory.resident && memory.resident > 0 && memory.threads > 0);
        assert!(cpu_seconds(std::process::id()).unwrap() >= 0.0);
    }
}
