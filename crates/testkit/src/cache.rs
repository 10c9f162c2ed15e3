//! The cache of installed servers and clients, and the folders they run in.
//!
//! # Invariants
//! - A folder in the cache that carries a version in its name is complete: it was built under another name and renamed.
//! - One process at a time installs a thing; the others wait for its lock and find it there.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, bail};

/// Attempts at an install, each of which may fail because a download did.
const TRIES: u32 = 3;

/// What is installed lives here: `$STANDPIPE_SERVERS`, or `standpipe-servers` in the user's cache folder.
///
/// # Errors
/// When neither that variable nor `HOME` is set.
pub fn cache_dir() -> Result<PathBuf> {
    if let Some(dir) = std::env::var_os("STANDPIPE_SERVERS") {
        return Ok(PathBuf::from(dir));
    }
    let home = std::env::var_os("HOME").context("neither STANDPIPE_SERVERS nor HOME is set")?;
    Ok(Path::new(&home).join(".cache/standpipe-servers"))
}

/// The folder of `name` in `version`, installed by `build` into the folder it is given if it is not there yet.
///
/// `build` runs again from an empty folder when it fails, three times in all.
///
/// # Errors
/// When the cache cannot be written or the last try fails; the error says why.
pub fn installed(name: &str, version: &str, build: impl Fn(&Path) -> Result<()>) -> Result<PathBuf> {
    let cache = cache_dir()?;
    let folder = cache.join(format!("{name}-{version}"));
    if folder.is_dir() {
        return Ok(folder);
    }
    fs::create_dir_all(&cache).with_context(|| format!("create {}", cache.display()))?;
    let lock = File::create(cache.join(format!(".{name}.lock")))?;
    lock.lock().with_context(|| format!("wait for another process that installs {name}"))?;
    if folder.is_dir() {
        return Ok(folder);
    }
    let started = Instant::now();
    note(&format!("installing {name} {version} into {}", folder.display()));
    let staging = cache.join(format!(".{name}-{version}.part"));
    build_with_tries(name, &staging, build)?;
    fs::rename(&staging, &folder)?;
    note(&format!("installed {name} {version} in {:.1} s", started.elapsed().as_secs_f64()));
    Ok(folder)
}

fn build_with_tries(name: &str, staging: &Path, build: impl Fn(&Path) -> Result<()>) -> Result<()> {
    let mut tries = 1;
    loop {
        remove_dir(staging)?;
        fs::create_dir_all(staging)?;
        match build(staging) {
            Ok(()) => return Ok(()),
            Err(error) if tries < TRIES => note(&format!("installing {name}, try {tries} failed: {error:#}")),
            Err(error) => return Err(error.context(format!("install {name}, {TRIES} tries"))),
        }
        thread::sleep(Duration::from_secs(3) * tries);
        tries += 1;
    }
}

/// A fresh folder for one run of something called `name`: its data, configuration and log.
///
/// It lies in the cache and not in `/tmp`, which may be a memory file system without extended attributes or direct
/// I/O, and the servers use both. [`crate::Process`] removes it in the end.
///
/// # Errors
/// When it cannot be made.
pub fn run_dir(name: &str) -> Result<PathBuf> {
    static RUNS: AtomicU32 = AtomicU32::new(0);
    let run = RUNS.fetch_add(1, Ordering::Relaxed);
    let dir = cache_dir()?.join("run").join(format!("{name}-{}-{run}", std::process::id()));
    remove_dir(&dir)?;
    fs::create_dir_all(&dir).with_context(|| format!("create {}", dir.display()))?;
    Ok(dir)
}

/// Removes run folders that a killed test left behind more than a day ago.
///
/// # Errors
/// When the folder of runs cannot be read or a left-over cannot be removed.
pub fn sweep_run_dirs() -> Result<()> {
    let runs = cache_dir()?.join("run");
    if !runs.is_dir() {
        return Ok(());
    }
    for entry in fs::read_dir(&runs)? {
        let entry = entry?;
        let changed = entry.metadata()?.modified()?;
        let age = SystemTime::now().duration_since(changed).unwrap_or_default();
        if age > Duration::from_hours(24) {
            remove_dir(&entry.path())?;
        }
    }
    Ok(())
}

pub(crate) fn remove_dir(dir: &Path) -> Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("remove {}", dir.display()))
        }
        _ => Ok(()),
    }
}

/// Runs a command to its end and gives what it printed to standard output.
///
/// # Errors
/// When it cannot be started or fails; the error holds the end of what it printed.
pub fn run(command: &mut Command) -> Result<String> {
    let shown = format!("{command:?}");
    let output = command.output().with_context(|| format!("start {shown}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let printed = [output.stdout, output.stderr].concat();
    bail!("{shown} ended with {}:\n{}", output.status, last_lines(&String::from_utf8_lossy(&printed), 25))
}

pub(crate) fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

/// A short name for content, so that a folder can carry the version of a list of packages (64-bit FNV-1a).
pub fn fingerprint(parts: &[&str]) -> String {
    let bytes = parts.iter().flat_map(|part| part.bytes().chain([0]));
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{hash:016x}")
}

#[expect(clippy::print_stderr, reason = "whoever waits for an install or looks at a failed test reads this")]
pub(crate) fn note(text: &str) {
    eprintln!("{text}");
}
