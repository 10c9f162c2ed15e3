//! Reference tables: their files, and the versions that are held in memory.

use std::fs::File;
use std::io::{self, Read as _};
use std::sync::{Arc, Weak};

use standpipe_transform::Table;

use super::error::{FunctionError, TableFault};
use super::shelf::OnShelf as _;
use super::version::TableVersion;
use super::{Current, Functions, Item, lock};
use crate::config::TableConfig;
use crate::stamp::Stamp;

impl TableFault {
    fn of(self, name: &str) -> FunctionError {
        FunctionError::Table { name: name.to_owned(), source: self }
    }
}

/// A table as it is configured, and what it was read from.
pub(super) fn read(name: &str, config: &TableConfig) -> Result<(TableVersion, Vec<u8>), FunctionError> {
    let path = || config.path.clone();
    let read = || -> io::Result<(u64, Vec<u8>)> {
        let (file, mut bytes) = (File::open(&config.path)?, Vec::new());
        let length = file.metadata()?.len();
        file.take(config.max_bytes + 1).read_to_end(&mut bytes)?;
        Ok((length.max(bytes.len() as u64), bytes))
    };
    let (length, bytes) = read().map_err(|source| TableFault::Read { path: path(), source }.of(name))?;
    if length > config.max_bytes {
        return Err(TableFault::TooLarge { path: path(), bytes: length, max: config.max_bytes }.of(name));
    }
    Ok((TableVersion::of(config, &bytes), bytes))
}

/// The rows of a version.
pub(super) fn rows(name: &str, version: &TableVersion, bytes: &[u8]) -> Result<Arc<Table>, FunctionError> {
    let table = Table::read(name, version.format, &version.key, bytes);
    table.map(Arc::new).map_err(|error| TableFault::from(error).of(name))
}

impl Functions {
    /// Reads a table; what it is read from is on disk when this returns.
    pub(super) fn make_table(&self, name: &str, config: &TableConfig) -> Result<Arc<Current>, FunctionError> {
        // Before the file: what changes meanwhile is read the next time.
        let stamp = Some(Stamp::of(&config.path));
        let (version, bytes) = read(name, config)?;
        let table = self.table_of(name, &version, &bytes)?;
        self.shelf.keep(&version, &bytes).map_err(FunctionError::Shelf)?;
        Ok(Arc::new(Current { digest: version.digest(), item: Item::Table(table), stamp }))
    }

    /// A version of a table; `None` where it is gone.
    pub(super) fn table_at(&self, name: &str, digest: &str) -> Result<Option<Arc<Table>>, FunctionError> {
        if let Some(held) = self.held(name, digest) {
            return Ok(Some(held));
        }
        let found = self.shelf.find::<TableVersion>(digest).map_err(FunctionError::Shelf)?;
        found.map(|(version, bytes)| self.table_of(name, &version, &bytes)).transpose()
    }

    /// The rows of a version, which are in memory once for all who use them.
    fn table_of(
        &self,
        name: &str,
        version: &TableVersion,
        bytes: &[u8],
    ) -> Result<Arc<Table>, FunctionError> {
        let digest = version.digest();
        if let Some(held) = self.held(name, &digest) {
            return Ok(held);
        }
        let table = rows(name, version, bytes)?;
        let mut tables = lock(&self.tables);
        tables.retain(|_, table| table.strong_count() > 0);
        tables.insert((name.to_owned(), digest), Arc::downgrade(&table));
        Ok(table)
    }

    fn held(&self, name: &str, digest: &str) -> Option<Arc<Table>> {
        lock(&self.tables).get(&(name.to_owned(), digest.to_owned())).and_then(Weak::upgrade)
    }
}
