//! A version of a function or of a table: everything that its results depend on, but for its name.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use standpipe_model::{Clock, Entropy, Secret};
use standpipe_transform::{FunctionOptions, Grants, Limits, Table, TableFormat};

use super::shelf::{OnShelf, hash};
use crate::config::{FunctionConfig, Grant, TableConfig};

/// What functions are granted, where they are.
#[derive(Debug, Clone)]
pub(super) struct Impurities {
    pub(super) clock: Arc<dyn Clock>,
    pub(super) random: Arc<dyn Entropy>,
}

/// A version of a function.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FunctionVersion {
    /// The SHA-256 of its file.
    module: String,
    config: BTreeMap<String, String>,
    /// The versions of the tables that it may look up, by their names.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) tables: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    grants: BTreeSet<Grant>,
    memory_bytes: usize,
    deadline_ms: u64,
    output_bytes: usize,
    retries: u32,
    batch_bytes: usize,
}

impl OnShelf for FunctionVersion {
    const EXTENSION: &'static str = "wasm";

    fn file(&self) -> &str {
        &self.module
    }
}

impl FunctionVersion {
    /// The version that a function is at with this file and these versions of tables.
    pub(super) fn of(config: &FunctionConfig, wasm: &[u8], tables: BTreeMap<String, String>) -> Self {
        let told = config.config.iter();
        Self {
            module: hash(wasm),
            config: told.map(|(name, value)| (name.clone(), value.expose().to_owned())).collect(),
            tables,
            grants: config.grants.clone(),
            memory_bytes: config.memory_bytes,
            deadline_ms: u64::try_from(config.deadline.as_millis()).unwrap_or(u64::MAX),
            output_bytes: config.output_bytes,
            retries: config.retries,
            batch_bytes: config.batch_bytes,
        }
    }

    /// The same as the sandbox wants it, for the function of that name.
    pub(super) fn options(
        &self,
        name: &str,
        tables: Vec<Arc<Table>>,
        impurities: &Impurities,
    ) -> FunctionOptions {
        let Impurities { clock, random } = impurities;
        let granted = |grant| self.grants.contains(&grant);
        let told = self.config.iter();
        FunctionOptions {
            config: told.map(|(name, value)| (name.clone(), Secret::new(value.clone()))).collect(),
            tables,
            grants: Grants {
                clock: granted(Grant::Clock).then(|| Arc::clone(clock)),
                random: granted(Grant::Random).then(|| Arc::clone(random)),
            },
            limits: Limits {
                memory_bytes: self.memory_bytes,
                deadline: Duration::from_millis(self.deadline_ms),
                output_bytes: self.output_bytes,
                ..Limits::default()
            },
            retries: self.retries,
            batch_bytes: self.batch_bytes,
            ..FunctionOptions::new(name)
        }
    }
}

/// A version of a table.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TableVersion {
    /// The SHA-256 of its file.
    table: String,
    pub(super) format: TableFormat,
    pub(super) key: String,
}

impl OnShelf for TableVersion {
    const EXTENSION: &'static str = "table";

    fn file(&self) -> &str {
        &self.table
    }
}

impl TableVersion {
    /// The version that a table is at with this file.
    pub(super) fn of(config: &TableConfig, bytes: &[u8]) -> Self {
        Self { table: hash(bytes), format: config.format, key: config.key.clone() }
    }
}
