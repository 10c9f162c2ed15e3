//! Compiled functions on disk, so that a start does not compile them again.
//!
//! wasmtime's own cache keeps them, by what decides the code: the function's bytes, the engine's version and settings,
//! the processor. It writes a file aside and renames it, but it trusts what it reads, and syncs nothing. So each file is
//! sealed with its SHA-256 once it is written, and before anything is compiled all files that are not as they were sealed
//! are removed: a damaged or half-written one is compiled anew, never run.
//!
//! ```text
//! <dir>/code/modules/<engine version>/<key>     as wasmtime lays it out
//! <dir>/seals/<key>                             the SHA-256 of that file
//! ```

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};
use wasmtime::{Cache, CacheConfig};

/// Where files go that wasmtime has begun to write.
const UNFINISHED: &str = "wip-atomic-write-mod";

#[derive(Debug)]
pub(super) struct CodeCache {
    code: PathBuf,
    seals: PathBuf,
}

impl CodeCache {
    /// The cache in a folder, which is made when it is not there, and what the engine is to be told of it.
    ///
    /// # Errors
    /// When the folder cannot be made or read.
    pub(super) fn open(dir: &Path) -> io::Result<(Self, Cache)> {
        let cache = Self { code: dir.join("code"), seals: dir.join("seals") };
        fs::create_dir_all(&cache.code)?;
        fs::create_dir_all(&cache.seals)?;
        // wasmtime wants it absolute.
        let mut config = CacheConfig::new();
        config.with_directory(cache.code.canonicalize()?);
        // A file that is compressed again would no longer be as it was sealed.
        config.with_optimized_compression_usage_counter_threshold(u64::MAX);
        Ok((cache, Cache::new(config).map_err(io::Error::other)?))
    }

    /// Runs `compile` with nothing in the cache but what is sealed, and seals what it leaves there. One at a time: the
    /// caller sees to that.
    ///
    /// # Errors
    /// When what is not sealed cannot be removed; nothing was compiled then. What cannot be sealed is not kept.
    pub(super) fn with<T>(&self, compile: impl FnOnce() -> T) -> io::Result<T> {
        self.remove_unsealed()?;
        let compiled = compile();
        if let Err(error) = self.seal() {
            tracing::warn!(%error, "compiled function cannot be kept on disk");
        }
        Ok(compiled)
    }

    fn remove_unsealed(&self) -> io::Result<()> {
        for (name, path) in self.files()? {
            let seal = self.seals.join(&name);
            let sealed = fs::read_to_string(&seal);
            if !sealed.is_ok_and(|sealed| digest(&path).is_ok_and(|digest| digest == sealed)) {
                tracing::debug!(file = %path.display(), "compiled function is not as it was sealed: removed");
                fs::remove_file(path)?;
                if seal.exists() {
                    fs::remove_file(seal)?;
                }
            }
        }
        Ok(())
    }

    fn seal(&self) -> io::Result<()> {
        let files = self.files()?;
        for (name, path) in &files {
            let seal = self.seals.join(name);
            if !seal.exists() {
                fs::write(seal, digest(path)?)?;
            }
        }
        // Seals of what wasmtime has removed as old.
        for seal in fs::read_dir(&self.seals)? {
            let seal = seal?;
            if !files.contains_key(&*seal.file_name().to_string_lossy()) {
                fs::remove_file(seal.path())?;
            }
        }
        Ok(())
    }

    /// All files with code, and those that were never finished; not wasmtime's notes on how often they were used.
    fn files(&self) -> io::Result<BTreeMap<String, PathBuf>> {
        let mut files = BTreeMap::new();
        for version in entries(&self.code.join("modules"))? {
            for path in entries(&version)? {
                if path.extension().is_none_or(|extension| extension == UNFINISHED) {
                    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                    files.insert(name, path);
                }
            }
        }
        Ok(files)
    }
}

fn entries(dir: &Path) -> io::Result<Vec<PathBuf>> {
    match fs::read_dir(dir) {
        Ok(entries) => entries.map(|entry| entry.map(|entry| entry.path())).collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

fn digest(path: &Path) -> io::Result<String> {
    Ok(hex::encode(Sha256::digest(fs::read(path)?)))
}
