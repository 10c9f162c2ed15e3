//! Loading functions and tables, into what is to be put in force.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, PoisonError};

use bytes::Bytes;
use standpipe_model::{Clock, Entropy};
use standpipe_transform::{Sandbox, SandboxError, SandboxOptions, WasmFunction};
use tokio::task::spawn_blocking;

use super::error::FunctionError;
use super::shelf::{OnShelf as _, hash};
use super::version::{FunctionVersion, Impurities, TableVersion};
use super::{Current, Functions, InForce, Item, Made, Needed, ReadTable, lock, table};
use crate::config::{Config, FunctionConfig, TableConfig, TableSource};
use crate::processors::Loaded;

impl Functions {
    /// Loads the functions and tables of a configuration; those that are in force as they are configured are taken from
    /// there. What they are made of is on disk when this returns. Tables that are objects may be missing, and the
    /// functions that look them up: they are waited for.
    ///
    /// # Errors
    /// [`FunctionError`] says which of them cannot be loaded and why.
    pub(crate) async fn make(
        self: &Arc<Self>,
        config: &Config,
        objects: BTreeMap<String, ReadTable>,
    ) -> Result<Made, FunctionError> {
        let (all, tables, functions) = (Arc::clone(self), config.tables.clone(), config.functions.clone());
        blocking(move || {
            let mut made = InForce::new();
            for (name, config) in &tables {
                // One that came to be in force since it was read may be newer.
                let object = objects.get(name).filter(|_| all.seen_object(name, config).is_none());
                let table = all.make_table(name, config, object)?;
                made.extend(table.map(|table| (Needed::Table(name.clone()), table)));
            }
            for (name, config) in &functions {
                let table = |table: &Needed| made.get(table).cloned();
                let function = all.make_configured(name, config, table)?;
                made.extend(function.map(|function| (Needed::Function(name.clone()), function)));
            }
            Ok(Made(made))
        })
        .await
    }

    /// Reads a table anew, or takes what was read of its object. Functions that may look it up come to a version with it,
    /// and are otherwise as they are in force; those that waited for it are loaded.
    ///
    /// # Errors
    /// As [`Self::make`].
    pub(crate) async fn renew(
        self: &Arc<Self>,
        table: &str,
        config: &TableConfig,
        object: Option<ReadTable>,
        functions: &BTreeMap<String, FunctionConfig>,
    ) -> Result<Made, FunctionError> {
        let (all, table, config) = (Arc::clone(self), table.to_owned(), config.clone());
        let functions = functions.clone();
        blocking(move || {
            let Some(renewed) = all.make_table(&table, &config, object.as_ref())? else {
                return Ok(Made(InForce::new()));
            };
            let digest = renewed.digest.clone();
            let mut made = InForce::from([(Needed::Table(table.clone()), renewed)]);
            let in_force = all.current.read().unwrap_or_else(PoisonError::into_inner).clone();
            for (needed, current) in in_force {
                let Needed::Function(name) = &needed else { continue };
                let found = all.shelf.find::<FunctionVersion>(&current.digest);
                let found = found.and_then(|found| found.ok_or_else(|| io::ErrorKind::NotFound.into()));
                let (mut version, wasm) = found.map_err(FunctionError::Shelf)?;
                if let Some(of_table) = version.tables.get_mut(&table) {
                    of_table.clone_from(&digest);
                    made.insert(needed.clone(), all.make_function(name, &version, &wasm)?);
                }
            }
            for (name, config) in functions.iter().filter(|(_, config)| config.tables.contains(&table)) {
                let needed = Needed::Function(name.clone());
                if all.current(&needed).is_none() {
                    let find = |table: &Needed| made.get(table).cloned().or_else(|| all.current(table));
                    let function = all.make_configured(name, config, find)?;
                    made.extend(function.map(|function| (needed, function)));
                }
            }
            Ok(Made(made))
        })
        .await
    }

    /// A function with the tables that there are; `None` where one of its own is not.
    fn make_configured(
        &self,
        name: &str,
        config: &FunctionConfig,
        table: impl Fn(&Needed) -> Option<Arc<Current>>,
    ) -> Result<Option<Arc<Current>>, FunctionError> {
        let wasm = read(name, config)?;
        let digest =
            |name: &String| Some((name.clone(), table(&Needed::Table(name.clone()))?.digest.clone()));
        let Some(tables) = config.tables.iter().map(digest).collect() else { return Ok(None) };
        self.make_function(name, &FunctionVersion::of(config, &wasm, tables), &wasm).map(Some)
    }

    fn make_function(
        &self,
        name: &str,
        version: &FunctionVersion,
        wasm: &[u8],
    ) -> Result<Arc<Current>, FunctionError> {
        let digest = version.digest();
        let same = |current: &Arc<Current>| current.digest == digest;
        let current = match self.current(&Needed::Function(name.to_owned())).filter(same) {
            Some(current) => current,
            None => {
                let loaded = self.load(name, version, wasm)?;
                let function = loaded.ok_or_else(|| FunctionError::Unknown(name.to_owned()))?;
                Arc::new(Current { item: Item::Function(function), digest, seen: None })
            }
        };
        self.shelf.keep(version, wasm).map_err(FunctionError::Shelf)?;
        Ok(current)
    }

    /// A version of a function; `None` where one of its tables is gone.
    pub(super) fn load(
        &self,
        name: &str,
        version: &FunctionVersion,
        wasm: &[u8],
    ) -> Result<Option<WasmFunction>, FunctionError> {
        let tables = version.tables.iter().map(|(table, digest)| self.table_at(table, digest).transpose());
        let Some(tables) = tables.collect::<Option<Result<_, _>>>().transpose()? else { return Ok(None) };
        let loaded = self.sandbox()?.load(wasm, version.options(name, tables, &self.impurities));
        loaded.map(Some).map_err(|source| FunctionError::Load { name: name.to_owned(), source })
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
}

/// Loads what takes long, or waits for the disk.
pub(super) async fn blocking<T: Send + 'static>(
    make: impl FnOnce() -> Result<T, FunctionError> + Send + 'static,
) -> Result<T, FunctionError> {
    let made = spawn_blocking(make).await;
    made.unwrap_or_else(|error| Err(FunctionError::Shelf(io::Error::other(error))))
}

/// A function's file.
fn read(name: &str, config: &FunctionConfig) -> Result<Vec<u8>, FunctionError> {
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
    Ok(wasm)
}

/// Loads functions and tables by themselves, without a data directory; of tables that are objects, those that are in
/// `objects`.
///
/// # Errors
/// [`FunctionError`] says which of them cannot be loaded and why.
pub fn load(
    functions: &BTreeMap<String, FunctionConfig>,
    tables: &BTreeMap<String, TableConfig>,
    objects: &BTreeMap<String, Bytes>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Entropy>,
) -> Result<Loaded, FunctionError> {
    let mut loaded = Loaded::default();
    for (name, config) in tables {
        let (version, bytes) = match &config.from {
            TableSource::File(file) => table::read(name, config, file)?,
            TableSource::Object(_) => match objects.get(name) {
                Some(bytes) => (TableVersion::of(config, bytes), bytes.clone()),
                None => continue,
            },
        };
        loaded.tables.insert(name.clone(), table::rows(name, &version, &bytes, config.max_bytes)?);
    }
    if functions.is_empty() {
        return Ok(loaded);
    }
    let (sandbox, impurities) = (Sandbox::open(&SandboxOptions::default())?, Impurities { clock, random });
    for (name, config) in functions {
        let wasm = read(name, config)?;
        let version = FunctionVersion::of(config, &wasm, BTreeMap::new());
        let tables = config.tables.iter().filter_map(|table| loaded.tables.get(table).cloned()).collect();
        let function = sandbox.load(&wasm, version.options(name, tables, &impurities));
        let function = function.map_err(|source| FunctionError::Load { name: name.clone(), source })?;
        loaded.functions.insert(name.clone(), function);
    }
    Ok(loaded)
}
