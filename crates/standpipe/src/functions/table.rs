//! Reference tables: their files, and the versions that are held in memory.

use std::fs::File;
use std::io::{self, Read as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Arc, Weak};

use bytes::Bytes;
use standpipe_transform::Table;

use super::error::{FunctionError, TableFault};
use super::make::blocking;
use super::shelf::OnShelf as _;
use super::version::TableVersion;
use super::{Current, Functions, Item, ReadTable, Seen, lock};
use crate::config::{TableConfig, TableSource};
use crate::stamp::Stamp;

impl TableFault {
    pub(super) fn of(self, name: &str) -> FunctionError {
        FunctionError::Table { name: name.to_owned(), source: self }
    }
}

/// A table as it is configured, and the file that it was read from.
pub(super) fn read(
    name: &str,
    config: &TableConfig,
    file: &Path,
) -> Result<(TableVersion, Bytes), FunctionError> {
    let path = || file.to_owned();
    let read = || -> io::Result<(u64, Vec<u8>)> {
        let (file, mut bytes) = (File::open(file)?, Vec::new());
        let length = file.metadata()?.len();
        file.take(config.max_bytes + 1).read_to_end(&mut bytes)?;
        Ok((length.max(bytes.len() as u64), bytes))
    };
    let (length, bytes) = read().map_err(|source| TableFault::Read { path: path(), source }.of(name))?;
    if length > config.max_bytes {
        return Err(TableFault::TooLarge { path: path(), bytes: length, max: config.max_bytes }.of(name));
    }
    Ok((TableVersion::of(config, &bytes), bytes.into()))
}

/// The rows of a version, which come to at most `max` bytes where they are compressed.
pub(super) fn rows(
    name: &str,
    version: &TableVersion,
    bytes: &Bytes,
    max: u64,
) -> Result<Arc<Table>, FunctionError> {
    // A file that is damaged in a way that a reader did not think of is as bad as any other.
    let read = AssertUnwindSafe(|| Table::read_within(name, version.format, &version.key, bytes, max));
    let table = catch_unwind(read).map_err(|_| TableFault::Panic.of(name))?;
    table.map(Arc::new).map_err(|error| TableFault::from(error).of(name))
}

impl Functions {
    /// Reads a table, or takes what was read of its object; what it is read from is on disk when this returns. `None` for
    /// an object that was not read yet.
    pub(super) fn make_table(
        &self,
        name: &str,
        config: &TableConfig,
        object: Option<&ReadTable>,
    ) -> Result<Option<Arc<Current>>, FunctionError> {
        let TableSource::File(file) = &config.from else {
            return self.make_object_table(name, config, object);
        };
        // Before the file: what changes meanwhile is read the next time.
        let seen = Some(Seen::File(Stamp::of(file)));
        let (version, bytes) = read(name, config, file)?;
        let table = self.keep_table(name, config, &version, &bytes)?;
        Ok(Some(Arc::new(Current { digest: version.digest(), item: Item::Table(table), seen })))
    }

    /// The rows of a table as it is now. While they are held, it is made without reading them once more.
    ///
    /// # Errors
    /// [`FunctionError`].
    pub(crate) async fn parse(
        self: &Arc<Self>,
        name: &str,
        config: &TableConfig,
        object: Option<&ReadTable>,
    ) -> Result<Arc<Table>, FunctionError> {
        let (all, name, config, object) =
            (Arc::clone(self), name.to_owned(), config.clone(), object.cloned());
        blocking(move || {
            let (version, bytes) = match (&config.from, object) {
                (TableSource::File(file), _) => read(&name, &config, file)?,
                (TableSource::Object(_), Some(read)) => (TableVersion::of(&config, &read.bytes), read.bytes),
                (TableSource::Object(_), None) => return Err(FunctionError::NotYet { table: name }),
            };
            all.table_of(&name, &version, &bytes, config.max_bytes)
        })
        .await
    }

    /// The rows of a version that is new, which is on disk when this returns.
    pub(super) fn keep_table(
        &self,
        name: &str,
        config: &TableConfig,
        version: &TableVersion,
        bytes: &Bytes,
    ) -> Result<Arc<Table>, FunctionError> {
        let table = self.table_of(name, version, bytes, config.max_bytes)?;
        self.shelf.keep(version, bytes).map_err(FunctionError::Shelf)?;
        Ok(table)
    }

    /// A version of a table; `None` where it is gone.
    pub(super) fn table_at(&self, name: &str, digest: &str) -> Result<Option<Arc<Table>>, FunctionError> {
        if let Some(held) = self.held(name, digest) {
            return Ok(Some(held));
        }
        let found = self.shelf.find::<TableVersion>(digest).map_err(FunctionError::Shelf)?;
        found.map(|(version, bytes)| self.table_of(name, &version, &bytes.into(), u64::MAX)).transpose()
    }

    /// The rows of a version, which are in memory once for all who use them.
    fn table_of(
        &self,
        name: &str,
        version: &TableVersion,
        bytes: &Bytes,
        max: u64,
    ) -> Result<Arc<Table>, FunctionError> {
        let digest = version.digest();
        let _reading = lock(&self.reading);
        if let Some(held) = self.held(name, &digest) {
            return Ok(held);
        }
        let table = rows(name, version, bytes, max)?;
        let mut tables = lock(&self.tables);
        tables.retain(|_, table| table.strong_count() > 0);
        tables.insert((name.to_owned(), digest), Arc::downgrade(&table));
        Ok(table)
    }

    fn held(&self, name: &str, digest: &str) -> Option<Arc<Table>> {
        lock(&self.tables).get(&(name.to_owned(), digest.to_owned())).and_then(Weak::upgrade)
    }
}
