//! The functions that processors call and the tables that they look up: loaded when the configuration is put in force,
//! and kept at the versions that open batches need.
//!
//! Each stream's batch names in its CLOSE the version of each function and table that it is to be transformed by. So what
//! a version is made of is written to the data directory before it is in force, and stays there for as long as it is
//! configured or an open batch names it. The version of a function names those of its tables.
//!
//! # Invariants
//! - What a CLOSE names is on disk: who pins a version holds it until the journal has the CLOSE, and what is held is not
//!   removed.
//! - All functions and tables of a configuration are in force, or none of it is.

mod error;
mod make;
mod objects;
mod shelf;
mod table;
mod version;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak};

use standpipe_model::{Clock, Entropy};
use standpipe_transform::{CallObserver, Sandbox, Table, WasmFunction};
use tokio::task::block_in_place;

pub use error::{FunctionError, TableFault};
pub use make::load;
pub(crate) use objects::ReadTable;
pub use objects::read_objects;

use crate::config::Config;
use crate::processors::{Loaded, ProcessorSpec};
use crate::stamp::Stamp;
use objects::{Readers, SeenObject};
use shelf::Shelf;
use version::{FunctionVersion, Impurities};

/// What a pin of a function begins with, and one of a table; its name follows.
const PINS: [&str; 2] = ["function:", "table:"];

/// What a processor needs of the configuration, by its name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Needed {
    /// A function.
    Function(String),
    /// A table.
    Table(String),
}

impl Needed {
    fn by(processor: &ProcessorSpec) -> Option<Self> {
        let function = processor.function().map(|name| Self::Function(name.to_owned()));
        function.or_else(|| Some(Self::Table(processor.table()?.to_owned())))
    }

    fn is_of(&self, config: &Config) -> bool {
        match self {
            Self::Function(name) => config.functions.contains_key(name),
            Self::Table(name) => config.tables.contains_key(name),
        }
    }

    /// As CLOSE has it.
    fn pin(&self) -> String {
        let [function, table] = PINS;
        match self {
            Self::Function(name) => format!("{function}{name}"),
            Self::Table(name) => format!("{table}{name}"),
        }
    }
}

#[derive(Debug, Clone)]
enum Item {
    Function(WasmFunction),
    Table(Arc<Table>),
}

/// A function or table that is in force, or was.
#[derive(Debug)]
struct Current {
    digest: String,
    item: Item,
    /// What was seen of what a table was read from.
    seen: Option<Seen>,
}

#[derive(Debug)]
enum Seen {
    /// A file, before it was read.
    File(Stamp),
    Object(SeenObject),
}

type InForce = BTreeMap<Needed, Arc<Current>>;

/// Functions and tables of a configuration, to be put in force.
#[derive(Debug)]
pub struct Made(InForce);

impl Made {
    /// The tables among them.
    pub(crate) fn tables(&self) -> BTreeMap<String, Arc<Table>> {
        let table = |(needed, current): (&Needed, &Arc<Current>)| match (needed, &current.item) {
            (Needed::Table(name), Item::Table(table)) => Some((name.clone(), Arc::clone(table))),
            _ => None,
        };
        self.0.iter().filter_map(table).collect()
    }

    /// Leaves a table out, and the functions that look it up.
    pub(crate) fn leave_out(&mut self, table: &str, config: &Config) {
        self.0.retain(|needed, _| match needed {
            Needed::Table(name) => name != table,
            Needed::Function(name) => {
                config.functions.get(name).is_none_or(|function| !function.tables.contains(table))
            }
        });
    }
}

/// The versions that a batch is closed with. They stay on disk while this is held.
#[derive(Debug)]
pub(crate) struct Pinned(InForce);

impl Pinned {
    /// As CLOSE has them.
    pub(crate) fn pins(&self) -> BTreeMap<String, String> {
        self.0.iter().map(|(needed, current)| (needed.pin(), current.digest.clone())).collect()
    }
}

/// All functions and tables of the daemon.
#[derive(Debug)]
pub struct Functions {
    shelf: Shelf,
    /// Set up for the first function: where there are none, its address space is not taken.
    sandbox: Mutex<Option<Sandbox>>,
    observer: Arc<dyn CallObserver>,
    impurities: Impurities,
    current: RwLock<InForce>,
    /// What is not in force any more, but may still be held.
    former: Mutex<Vec<Weak<Current>>>,
    /// Of the stores that tables are read from.
    readers: Mutex<Readers>,
    /// One table is read at a time, as its file and the rows of it are in memory together.
    reading: Mutex<()>,
    /// The tables in memory, by name and version.
    tables: Mutex<BTreeMap<(String, String), Weak<Table>>>,
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
            readers: Mutex::default(),
            reading: Mutex::default(),
            tables: Mutex::default(),
        }))
    }

    /// What was seen of the file of a table that is in force.
    pub(crate) fn stamp(&self, table: &str) -> Option<Stamp> {
        match &self.current(&Needed::Table(table.to_owned()))?.seen {
            Some(Seen::File(stamp)) => Some(stamp.clone()),
            _ => None,
        }
    }

    /// Puts functions and tables in force in the place of those of the same names. Whether any of them is at another
    /// version than before.
    pub fn put_in_force(&self, made: Made) -> bool {
        let mut is_changed = false;
        self.change(|current| {
            let put = made.0.into_iter().map(|(needed, made)| {
                let digest = made.digest.clone();
                let former = current.insert(needed, made);
                is_changed |= former.as_ref().is_none_or(|former| former.digest != digest);
                former
            });
            put.flatten().collect()
        });
        is_changed
    }

    /// Puts all in force that there is of a configuration. What is configured and was not made is waited for: no batch
    /// is closed any more with what it was before.
    pub(crate) fn put_all_in_force(&self, made: Made, config: &Config) {
        self.change(|current| {
            let lacks = |needed: &Needed| needed.is_of(config) && !made.0.contains_key(needed);
            let gone = current.extract_if(.., |needed, _| lacks(needed)).map(|(_, gone)| gone);
            let mut former: Vec<_> = gone.collect();
            former.extend(made.0.into_iter().filter_map(|(needed, made)| current.insert(needed, made)));
            former
        });
    }

    /// Lets go of what is not configured any more, when no definition in force needs it.
    pub fn keep_only(&self, config: &Config) {
        self.change(|current| {
            current.extract_if(.., |needed, _| !needed.is_of(config)).map(|(_, gone)| gone).collect()
        });
    }

    /// Changes what is in force, and notes of which objects it is then. `change` says what is not in force any more.
    fn change(&self, change: impl FnOnce(&mut InForce) -> Vec<Arc<Current>>) {
        let in_force = {
            let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
            lock(&self.former).extend(change(&mut current).iter().map(Arc::downgrade));
            current.clone()
        };
        block_in_place(|| self.note_objects(&in_force));
    }

    fn current(&self, needed: &Needed) -> Option<Arc<Current>> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).get(needed).cloned()
    }

    /// The versions that these processors would be run with now. What is not configured has none.
    pub(crate) fn pin(&self, processors: &[ProcessorSpec]) -> Pinned {
        let needed = processors.iter().filter_map(Needed::by);
        Pinned(needed.filter_map(|needed| Some((needed.clone(), self.current(&needed)?))).collect())
    }

    /// Whether a batch that was closed with these pins could not be told the version of a table that is in force by now.
    pub(crate) fn lacks_table(&self, processors: &[ProcessorSpec], pins: &BTreeMap<String, String>) -> bool {
        let lacks = |needed: &Needed| !pins.contains_key(&needed.pin()) && self.current(needed).is_some();
        let tables =
            processors.iter().filter_map(|processor| Some(Needed::Table(processor.table()?.to_owned())));
        tables.into_iter().any(|needed| lacks(&needed))
    }

    /// The versions of what these processors need: those that a batch was closed with, or those in force where it names
    /// none. One that is neither is empty, and so is one of a table where none may take another's place.
    pub(crate) fn versions(
        &self,
        processors: &[ProcessorSpec],
        pins: &BTreeMap<String, String>,
        may_replace: bool,
    ) -> BTreeMap<Needed, String> {
        let version = |needed: &Needed| {
            let in_force = || match needed {
                Needed::Table(_) if !may_replace => None,
                _ => Some(self.current(needed)?.digest.clone()),
            };
            pins.get(&needed.pin()).cloned().or_else(in_force).unwrap_or_default()
        };
        processors.iter().filter_map(Needed::by).map(|needed| (needed.clone(), version(&needed))).collect()
    }

    /// These versions. In the place of one that is gone comes the one in force, as nothing has become of the batch yet;
    /// that of a table only where it may.
    ///
    /// # Errors
    /// [`FunctionError`].
    pub(crate) fn at(
        &self,
        versions: &BTreeMap<Needed, String>,
        may_replace: bool,
    ) -> Result<Loaded, FunctionError> {
        let mut loaded = Loaded::default();
        for (needed, digest) in versions {
            let item = self.one_at(needed, digest, may_replace)?;
            let (Needed::Function(name) | Needed::Table(name)) = needed;
            match item {
                Item::Function(function) => drop(loaded.functions.insert(name.clone(), function)),
                Item::Table(table) => drop(loaded.tables.insert(name.clone(), table)),
            }
        }
        Ok(loaded)
    }

    fn one_at(&self, needed: &Needed, digest: &str, may_replace: bool) -> Result<Item, FunctionError> {
        let current = self.current(needed);
        if let Some(current) = current.as_ref().filter(|current| current.digest == digest) {
            return Ok(current.item.clone());
        }
        // A worker asks, and it may have to be compiled.
        if let Some(found) = block_in_place(|| self.find(needed, digest))? {
            return Ok(found);
        }
        let current = match needed {
            Needed::Function(name) => current.ok_or_else(|| FunctionError::Unknown(name.clone()))?,
            Needed::Table(table) => current.filter(|_| may_replace).ok_or_else(|| match digest {
                "" => FunctionError::NotYet { table: table.clone() },
                _ => FunctionError::Gone { table: table.clone() },
            })?,
        };
        tracing::warn!(
            what = needed.pin(),
            pinned = digest,
            used = current.digest,
            "the version of a function or table that batches were closed with is gone; the one in force takes its place"
        );
        Ok(current.item.clone())
    }

    /// A version that is on disk.
    fn find(&self, needed: &Needed, digest: &str) -> Result<Option<Item>, FunctionError> {
        match needed {
            Needed::Table(name) => Ok(self.table_at(name, digest)?.map(Item::Table)),
            Needed::Function(name) => {
                let found = self.shelf.find::<FunctionVersion>(digest).map_err(FunctionError::Shelf)?;
                let Some((version, wasm)) = found else { return Ok(None) };
                Ok(self.load(name, &version, &wasm)?.map(Item::Function))
            }
        }
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

/// The version of a function or table that CLOSE names, if the pin is one of them.
pub(crate) fn pinned_version((pin, digest): (&String, &String)) -> Option<String> {
    PINS.iter().any(|kind| pin.starts_with(kind)).then(|| digest.clone())
}
