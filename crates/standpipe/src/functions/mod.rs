//! The functions that processors call: loaded when the configuration is put in force, and kept at the versions that open
//! batches need.
//!
//! Each stream's batch names in its CLOSE the version of each function that it is to be transformed by. So what a
//! version is made of is written to the data directory before it is in force, and stays there for as long as it is
//! configured or an open batch names it.
//!
//! # Invariants
//! - What a CLOSE names is on disk: who pins a version holds it until the journal has the CLOSE, and what is held is not
//!   removed.
//! - All functions of a configuration are in force, or none of it is.

mod version;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak};

use standpipe_model::{Clock, Entropy};
use standpipe_transform::{CallObserver, LoadError, Sandbox, SandboxError, SandboxOptions, WasmFunction};
use tokio::task::{block_in_place, spawn_blocking};

use crate::config::FunctionConfig;
use crate::processors::{LoadedFunctions, ProcessorSpec};
use version::{Impurities, Shelf, Version, hash};

/// What a pin of a function begins with; its name follows.
const PIN: &str = "function:";

/// A function cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FunctionError {
    /// Its file cannot be read.
    #[error("function '{name}': cannot read {}", path.display())]
    File {
        /// Its name.
        name: String,
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// Its file is another one.
    #[error("function '{name}': {} has the SHA-256 {found}, the configuration says {wanted}", path.display())]
    Digest {
        /// Its name.
        name: String,
        /// The file.
        path: PathBuf,
        /// What it has.
        found: String,
        /// What it should have.
        wanted: String,
    },
    /// It cannot be loaded.
    #[error("function '{name}'")]
    Load {
        /// Its name.
        name: String,
        /// The cause.
        source: LoadError,
    },
    /// No function can be run.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// Versions cannot be kept or read.
    #[error("cannot access the versions of functions in the data directory")]
    Shelf(#[source] io::Error),
    /// It is not in the configuration.
    #[error("function '{0}' is not configured")]
    Unknown(String),
}

/// A function that is in force, or was.
#[derive(Debug)]
struct Current {
    digest: String,
    function: WasmFunction,
}

/// The functions of a configuration, to be put in force.
#[derive(Debug)]
pub struct Made(BTreeMap<String, Arc<Current>>);

/// The versions that a batch is closed with. They stay on disk while this is held.
#[derive(Debug)]
pub(crate) struct Pinned(BTreeMap<String, Arc<Current>>);

impl Pinned {
    /// As CLOSE has them.
    pub(crate) fn pins(&self) -> BTreeMap<String, String> {
        self.0.iter().map(|(name, current)| (format!("{PIN}{name}"), current.digest.clone())).collect()
    }
}

/// All functions of the daemon.
#[derive(Debug)]
pub struct Functions {
    shelf: Shelf,
    /// Set up for the first function: where there are none, its address space is not taken.
    sandbox: Mutex<Option<Sandbox>>,
    observer: Arc<dyn CallObserver>,
    impurities: Impurities,
    current: RwLock<BTreeMap<String, Arc<Current>>>,
    /// What is not in force any more, but may still be held.
    former: Mutex<Vec<Weak<Current>>>,
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Functions {
    /// The functions of a data directory; none is in force yet.
    ///
    /// # Errors
    /// Its folder cannot be made.
    pub fn open(
        data_dir: &Path,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Entropy>,
        observer: Arc<dyn CallObserver>,
    ) -> io::Result<Arc<Self>> {
        Ok(Arc::new(Self {
            shelf: Shelf::open(data_dir)?,
            sandbox: Mutex::default(),
            observer,
            impurities: Impurities { clock, random },
            current: RwLock::default(),
            former: Mutex::default(),
        }))
    }

    /// Loads the functions of a configuration; those that are in force as they are configured are taken from there. What
    /// they are made of is on disk when this returns.
    ///
    /// # Errors
    /// [`FunctionError`] says which of them cannot be loaded and why.
    pub async fn make(
        self: &Arc<Self>,
        configs: &BTreeMap<String, FunctionConfig>,
    ) -> Result<Made, FunctionError> {
        let (functions, configs) = (Arc::clone(self), configs.clone());
        let made = spawn_blocking(move || {
            let each =
                configs.iter().map(|(name, config)| Ok((name.clone(), functions.make_one(name, config)?)));
            each.collect::<Result<_, FunctionError>>().map(Made)
        });
        made.await.unwrap_or_else(|error| Err(FunctionError::Shelf(io::Error::other(error))))
    }

    fn make_one(&self, name: &str, config: &FunctionConfig) -> Result<Arc<Current>, FunctionError> {
        let (version, wasm) = read(name, config)?;
        let digest = version.digest();
        let same = |current: &Arc<Current>| current.digest == digest;
        let current = match self.current(name).filter(same) {
            Some(current) => current,
            None => Arc::new(Current { function: self.load(name, &version, &wasm)?, digest }),
        };
        self.shelf.keep(&version, &wasm).map_err(FunctionError::Shelf)?;
        Ok(current)
    }

    fn load(&self, name: &str, version: &Version, wasm: &[u8]) -> Result<WasmFunction, FunctionError> {
        let sandbox = self.sandbox()?;
        let loaded = sandbox.load(wasm, version.options(name, &self.impurities));
        loaded.map_err(|source| FunctionError::Load { name: name.to_owned(), source })
    }

    fn sandbox(&self) -> Result<Sandbox, SandboxError> {
        let mut sandbox = lock(&self.sandbox);
        if let Some(sandbox) = &*sandbox {
            return Ok(sandbox.clone());
        }
        let opened = Sandbox::open(&SandboxOptions {
            cache_dir: Some(self.shelf.compiled()),
            observer: Some(Arc::clone(&self.observer)),
            ..SandboxOptions::default()
        })?;
        Ok(sandbox.insert(opened).clone())
    }

    /// Puts functions in force in the place of those of the same names.
    pub fn put_in_force(&self, made: Made) {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        for (name, function) in made.0 {
            let former = current.insert(name, function);
            lock(&self.former).extend(former.as_ref().map(Arc::downgrade));
        }
    }

    /// Lets go of the functions that are not configured any more, when no definition in force calls them.
    pub fn keep_only(&self, configs: &BTreeMap<String, FunctionConfig>) {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        let gone = current.extract_if(.., |name, _| !configs.contains_key(name));
        lock(&self.former).extend(gone.map(|(_, former)| Arc::downgrade(&former)));
    }

    fn current(&self, name: &str) -> Option<Arc<Current>> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// The versions that these processors would be run with now. A function that is not configured has none.
    pub(crate) fn pin(&self, processors: &[ProcessorSpec]) -> Pinned {
        let names = processors.iter().filter_map(ProcessorSpec::function);
        Pinned(names.filter_map(|name| Some((name.to_owned(), self.current(name)?))).collect())
    }

    /// The versions of the functions that these processors call: those that a batch was closed with, or those in force
    /// where it names none. One that is neither is empty.
    pub(crate) fn versions(
        &self,
        processors: &[ProcessorSpec],
        pins: &BTreeMap<String, String>,
    ) -> BTreeMap<String, String> {
        let version = |name: &str| {
            let pinned = pins.get(&format!("{PIN}{name}")).cloned();
            pinned.or_else(|| Some(self.current(name)?.digest.clone())).unwrap_or_default()
        };
        let names = processors.iter().filter_map(ProcessorSpec::function);
        names.map(|name| (name.to_owned(), version(name))).collect()
    }

    /// These versions of functions. In the place of one that is gone comes the one in force, as nothing has become of
    /// the batch yet.
    ///
    /// # Errors
    /// [`FunctionError`].
    pub(crate) fn at(&self, versions: &BTreeMap<String, String>) -> Result<LoadedFunctions, FunctionError> {
        versions.iter().map(|(name, digest)| Ok((name.clone(), self.one_at(name, digest)?))).collect()
    }

    fn one_at(&self, name: &str, digest: &str) -> Result<WasmFunction, FunctionError> {
        let current = self.current(name);
        if let Some(current) = current.as_ref().filter(|current| current.digest == digest) {
            return Ok(current.function.clone());
        }
        // A worker asks, and it may have to be compiled.
        block_in_place(|| match self.shelf.find(digest).map_err(FunctionError::Shelf)? {
            Some((version, wasm)) => self.load(name, &version, &wasm),
            None => {
                let current = current.ok_or_else(|| FunctionError::Unknown(name.to_owned()))?;
                tracing::warn!(
                    function = name,
                    pinned = digest,
                    used = current.digest,
                    "the version of a function that batches were closed with is gone; the one in force takes its place"
                );
                Ok(current.function.clone())
            }
        })
    }

    /// Removes the versions that are not in force and that `pinned` does not name, which is asked when nobody can pin any of
    /// them any more. True when some are left that are not in force. Not while functions are being made.
    pub(crate) fn sweep(&self, pinned: impl FnOnce() -> BTreeSet<String>) -> io::Result<bool> {
        let held: BTreeSet<String> = {
            let mut former = lock(&self.former);
            former.retain(|former| former.strong_count() > 0);
            former.iter().filter_map(Weak::upgrade).map(|former| former.digest.clone()).collect()
        };
        let in_force: BTreeSet<String> = {
            let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
            current.values().map(|current| current.digest.clone()).collect()
        };
        let mut needed = in_force.clone();
        needed.extend(held);
        needed.extend(pinned());
        self.shelf.keep_only(&needed)?;
        Ok(needed.len() > in_force.len())
    }
}

/// The version of a function that CLOSE names, if the pin is one of a function.
pub(crate) fn pinned_version((pin, digest): (&String, &String)) -> Option<String> {
    pin.starts_with(PIN).then(|| digest.clone())
}

/// A function's version as it is configured, and its file.
fn read(name: &str, config: &FunctionConfig) -> Result<(Version, Vec<u8>), FunctionError> {
    let (name, path) = (name.to_owned(), config.path.clone());
    let wasm = match std::fs::read(&path) {
        Ok(wasm) => wasm,
        Err(source) => return Err(FunctionError::File { name, path, source }),
    };
    if let Some(wanted) = config.sha256.clone() {
        let found = hash(&wasm);
        if found != wanted {
            return Err(FunctionError::Digest { name, path, found, wanted });
        }
    }
    Ok((Version::of(config, &wasm), wasm))
}

/// Loads the functions of a configuration by themselves, without a data directory.
///
/// # Errors
/// [`FunctionError`] says which of them cannot be loaded and why.
pub fn load(
    configs: &BTreeMap<String, FunctionConfig>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Entropy>,
) -> Result<LoadedFunctions, FunctionError> {
    let mut loaded = LoadedFunctions::new();
    if configs.is_empty() {
        return Ok(loaded);
    }
    let (sandbox, impurities) = (Sandbox::open(&SandboxOptions::default())?, Impurities { clock, random });
    for (name, config) in configs {
        let (version, wasm) = read(name, config)?;
        let function = sandbox.load(&wasm, version.options(name, &impurities));
        let function = function.map_err(|source| FunctionError::Load { name: name.clone(), source })?;
        loaded.insert(name.clone(), function);
    }
    Ok(loaded)
}
