//! Tables that are objects of stores: reading them, and which state of each is in force, also after a restart.
//!
//! ```text
//! <data_dir>/functions/objects      the objects that tables in force were read from, with their versions
//! ```
//!
//! A start asks no store: a table is at first what it was in force before. Where there was none, it has to be read, and
//! is not there until then.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::try_join_all;
use serde::{Deserialize, Serialize};
use standpipe_model::ObjectTarget;
use standpipe_sinks::{Found, ReadObject};
use standpipe_transform::TableFormat;
use tokio::time::timeout;

use super::error::{FunctionError, TableFault};
use super::shelf::OnShelf as _;
use super::version::TableVersion;
use super::{Current, Functions, InForce, Item, Needed, Seen, lock};
use crate::config::{Config, StoreConfig, TableConfig, TableObject};
use crate::durable;
use crate::stores;
use crate::worker::chain;

/// The longest that the objects of tables that are new in a configuration are waited for, all at once.
const NEW_FOR: Duration = Duration::from_secs(30);

/// The state of an object that a table was read from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SeenObject {
    of: TableObject,
    format: TableFormat,
    key: String,
    /// What the store knows this state by.
    tag: Option<String>,
    /// The version of the table.
    version: String,
}

impl SeenObject {
    /// Whether a table is still configured as it was when this was read.
    fn is_of(&self, config: &TableConfig) -> bool {
        config.object() == Some(&self.of) && config.format == self.format && config.key == self.key
    }
}

/// An object as it was read.
#[derive(Debug, Clone)]
pub(crate) struct ReadTable {
    pub(super) bytes: Bytes,
    /// What the store knows this state by.
    pub(crate) tag: Option<String>,
}

/// The clients of stores that tables are read from, with the settings that they were made of.
pub(super) type Readers = BTreeMap<String, (StoreConfig, Arc<dyn ReadObject>)>;

/// Reads the objects of tables.
///
/// # Errors
/// [`FunctionError`] says which of them cannot be read and why.
pub async fn read_objects(
    stores: &BTreeMap<String, StoreConfig>,
    tables: &BTreeMap<String, TableConfig>,
) -> Result<BTreeMap<String, Bytes>, FunctionError> {
    let mut read = BTreeMap::new();
    for (name, table) in tables {
        let Some(object) = table.object() else { continue };
        let reader = make(stores, object).map_err(|fault| fault.of(name))?;
        if let Some(found) =
            read_object(&*reader, object, table, None).await.map_err(|fault| fault.of(name))?
        {
            read.insert(name.clone(), found.bytes);
        }
    }
    Ok(read)
}

fn make(
    stores: &BTreeMap<String, StoreConfig>,
    object: &TableObject,
) -> Result<Arc<dyn ReadObject>, TableFault> {
    let config = stores.get(&object.store).ok_or_else(|| TableFault::NoStore(object.store.clone()))?;
    Ok(stores::make(&object.store, config)?)
}

/// `None` where it is the one of the tag.
async fn read_object(
    reader: &dyn ReadObject,
    object: &TableObject,
    table: &TableConfig,
    known: Option<&str>,
) -> Result<Option<ReadTable>, TableFault> {
    let target = ObjectTarget { bucket: object.bucket.clone(), key: object.object.clone() };
    Ok(match reader.read(&target, known, table.max_bytes).await? {
        Found::Same => None,
        Found::Other { bytes, tag } => Some(ReadTable { bytes: bytes.into(), tag }),
    })
}

impl Functions {
    /// Reads the object of a table, unless it is the one that has the tag `known`.
    ///
    /// # Errors
    /// [`FunctionError`]: the store, or what it says.
    pub(crate) async fn look(
        &self,
        config: &Config,
        name: &str,
        table: &TableConfig,
        known: Option<&str>,
    ) -> Result<Option<ReadTable>, FunctionError> {
        let Some(object) = table.object() else { return Ok(None) };
        let reader = self.reader(config, object).map_err(|fault| fault.of(name))?;
        read_object(&*reader, object, table, known).await.map_err(|fault| fault.of(name))
    }

    fn reader(&self, config: &Config, object: &TableObject) -> Result<Arc<dyn ReadObject>, TableFault> {
        let mut readers = lock(&self.readers);
        readers.retain(|store, (made_of, _)| config.stores.get(store) == Some(made_of));
        if let Some((_, reader)) = readers.get(&object.store) {
            return Ok(Arc::clone(reader));
        }
        let reader = make(&config.stores, object)?;
        if let Some(made_of) = config.stores.get(&object.store) {
            readers.insert(object.store.clone(), (made_of.clone(), Arc::clone(&reader)));
        }
        Ok(reader)
    }

    /// Reads the objects of the tables of a configuration that are not in force as they are configured there, but for
    /// those that were waited for under `running` already. One that takes too long is left out, to be waited for.
    ///
    /// # Errors
    /// [`FunctionError`] says which of them cannot be read and why.
    pub(crate) async fn read_new(
        &self,
        config: &Config,
        running: &BTreeMap<String, TableConfig>,
    ) -> Result<BTreeMap<String, ReadTable>, FunctionError> {
        let is_new = |(name, table): &(&String, &TableConfig)| {
            let same = |old: &TableConfig| {
                old.from == table.from && old.format == table.format && old.key == table.key
            };
            table.object().is_some()
                && self.seen_object(name, table).is_none()
                && !running.get(*name).is_some_and(same)
        };
        let reading = config.tables.iter().filter(is_new).map(|(name, table)| async move {
            let read = timeout(NEW_FOR, self.look(config, name, table, None)).await.unwrap_or_else(|_| {
                tracing::warn!(
                    table = name,
                    "the store does not answer; what needs the table is held until it does"
                );
                Ok(None)
            })?;
            Ok::<_, FunctionError>(read.map(|read| (name.clone(), read)))
        });
        Ok(try_join_all(reading).await?.into_iter().flatten().collect())
    }

    pub(super) fn seen_object(&self, name: &str, config: &TableConfig) -> Option<(Arc<Current>, SeenObject)> {
        let current = self.current(&Needed::Table(name.to_owned()))?;
        let Some(Seen::Object(seen)) = &current.seen else { return None };
        let seen = seen.clone();
        seen.is_of(config).then_some((current, seen))
    }

    /// What the store knows the object by that a table in force was read from.
    pub(crate) fn tag(&self, name: &str, config: &TableConfig) -> Option<String> {
        self.seen_object(name, config)?.1.tag
    }

    /// A table that is an object: as it was read, as it is in force, or as it was in force when the daemon last ran.
    /// `None` where it is neither.
    pub(super) fn make_object_table(
        &self,
        name: &str,
        config: &TableConfig,
        read: Option<&ReadTable>,
    ) -> Result<Option<Arc<Current>>, FunctionError> {
        let Some(object) = config.object() else { return Ok(None) };
        let Some(read) = read else {
            if let Some((current, _)) = self.seen_object(name, config) {
                return Ok(Some(current));
            }
            let Some(seen) = self.objects().remove(name).filter(|seen| seen.is_of(config)) else {
                return Ok(None);
            };
            let table = self.table_at(name, &seen.version).or_else(|error| match error {
                // Only the table is in want of something, which its store may have.
                FunctionError::Table { .. } => {
                    let error = chain(&error);
                    tracing::warn!(
                        table = name,
                        error,
                        "what the table was before cannot be used; it is read anew"
                    );
                    Ok(None)
                }
                error => Err(error),
            })?;
            let current = |table| {
                let digest = seen.version.clone();
                Arc::new(Current { digest, item: Item::Table(table), seen: Some(Seen::Object(seen)) })
            };
            return Ok(table.map(current));
        };
        let version = TableVersion::of(config, &read.bytes);
        let table = self.keep_table(name, config, &version, &read.bytes)?;
        let digest = version.digest();
        let seen = SeenObject {
            of: object.clone(),
            format: config.format,
            key: config.key.clone(),
            tag: read.tag.clone(),
            version: digest.clone(),
        };
        Ok(Some(Arc::new(Current { digest, item: Item::Table(table), seen: Some(Seen::Object(seen)) })))
    }

    /// The objects that tables were read from which were last in force.
    fn objects(&self) -> BTreeMap<String, SeenObject> {
        let text = fs::read(self.shelf.objects()).unwrap_or_default();
        serde_json::from_slice(&text).unwrap_or_default()
    }

    /// Writes down what is in force, for the next start.
    pub(super) fn note_objects(&self, in_force: &InForce) {
        let seen = |(needed, current): (&Needed, &Arc<Current>)| match (needed, &current.seen) {
            (Needed::Table(name), Some(Seen::Object(seen))) => Some((name.clone(), seen.clone())),
            _ => None,
        };
        let objects: BTreeMap<String, SeenObject> = in_force.iter().filter_map(seen).collect();
        if objects == self.objects() {
            return;
        }
        let text = serde_json::to_vec(&objects).expect("texts serialise");
        if let Err(error) = durable::write_private(&self.shelf.objects(), &text) {
            tracing::warn!(%error, "the objects of tables cannot be written down; the next start waits for their stores");
        }
    }
}
