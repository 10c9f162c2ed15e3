//! What the configuration says of a function.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use standpipe_model::{Clock, Entropy, Secret};

use crate::table::Table;

/// A function, as it is configured.
#[derive(Debug, Clone)]
pub struct FunctionOptions {
    /// Its name in the configuration, for logs.
    pub name: String,
    /// What its failures name it (`lambdaARN`): an ARN, or its name.
    pub arn: String,
    /// Its `config`: what `config` answers, and the environment of a command.
    pub config: BTreeMap<String, Secret>,
    /// The tables that it may look up, at the versions that it is to see.
    pub tables: Vec<Arc<Table>>,
    /// What it may use that is not a function of its records.
    pub grants: Grants,
    /// What a call may take.
    pub limits: Limits,
    /// How often a call that failed is repeated (`NumberOfRetries`).
    pub retries: u32,
    /// The most data in one call (`BufferSizeInMBs`); a row that is larger by itself makes a call by itself.
    pub batch_bytes: usize,
}

impl FunctionOptions {
    /// The options of a function of which only the name is configured.
    pub fn new(name: impl Into<String>) -> Self {
        let name = name.into();
        Self {
            arn: name.clone(),
            name,
            config: BTreeMap::new(),
            tables: Vec::new(),
            grants: Grants::default(),
            limits: Limits::default(),
            retries: 3,
            batch_bytes: 1 << 20,
        }
    }
}

/// Hears how each call ended.
pub trait CallObserver: Send + Sync + fmt::Debug {
    /// A call ended.
    fn called(&self, called: &Called<'_>);
}

/// How a call ended.
#[derive(Debug, Clone, Copy)]
pub struct Called<'a> {
    /// The function's name in the configuration.
    pub function: &'a str,
    /// `OK`, or the code that the error output would have for all of its records.
    pub code: &'static str,
    /// What it took, without waiting for a place.
    pub elapsed: Duration,
    /// The memory that it took.
    pub memory_bytes: usize,
}

/// What makes a function impure.
#[derive(Debug, Clone, Default)]
pub struct Grants {
    /// The time of day. Without it the time is when the last record of the call arrived.
    pub clock: Option<Arc<dyn Clock>>,
    /// Chance. Without it the same numbers come in every call.
    pub random: Option<Arc<dyn Entropy>>,
}

/// What a call may take; one that takes more has failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Memory, all of its memories together.
    pub memory_bytes: usize,
    /// Time, starting the instance included.
    pub deadline: Duration,
    /// What it answers: data, keys and headers, or a command's whole output.
    pub output_bytes: usize,
    /// Elements of all of its tables together (WebAssembly's, not those with rows).
    pub table_elements: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_bytes: 64 << 20,
            deadline: Duration::from_secs(1),
            // As AWS.
            output_bytes: 6 << 20,
            table_elements: 100_000,
        }
    }
}
