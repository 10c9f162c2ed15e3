//! The versions of a stream's definition, each with the chains of processors that are made of it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use standpipe_model::DestinationId;
use standpipe_transform::Chain;
use standpipe_transform::processors::OptionError;

use crate::catalog::Definition;
use crate::functions::{FunctionError, Functions, Needed};
use crate::processors;

/// How many chains of one version and destination are kept, each with other versions of its functions and tables: as many as batches are attempted
/// at once.
const CHAINS_KEPT: usize = 4;

/// A version of a stream's definition, with what is made of it once.
#[derive(Debug)]
pub(crate) struct Version {
    pub(crate) definition: Arc<Definition>,
    /// Of each destination, by the versions of the functions and tables in them, the latest last.
    chains: Mutex<BTreeMap<DestinationId, Chains>>,
}

/// Chains by what they are made of.
type Chains = VecDeque<(Versions, Arc<Chain>)>;

/// The version of each function and table that a chain needs.
type Versions = BTreeMap<Needed, String>;

/// A stream's processors cannot be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ChainError {
    /// An option of one of them.
    #[error(transparent)]
    Option(#[from] OptionError),
    /// A function or a table.
    #[error(transparent)]
    Function(#[from] FunctionError),
}

impl Version {
    fn of(definition: Definition) -> Arc<Self> {
        Arc::new(Self { definition: Arc::new(definition), chains: Mutex::default() })
    }

    /// The processors of a destination with what a batch was closed with, made when they are first asked for. Whether another
    /// version of a table may take the place of one that is gone is `may_replace`.
    ///
    /// # Errors
    /// [`ChainError`].
    pub(crate) fn chain(
        &self,
        destination: &DestinationId,
        pins: &BTreeMap<String, String>,
        functions: &Functions,
        may_replace: bool,
    ) -> Result<Arc<Chain>, ChainError> {
        let processors = self.definition.spec.processors_of(destination);
        let versions = functions.versions(processors, pins, may_replace);
        let kept = || self.chains.lock().unwrap_or_else(PoisonError::into_inner);
        let found = |chains: &Chains| {
            chains.iter().find(|(of, _)| *of == versions).map(|(_, chain)| Arc::clone(chain))
        };
        if let Some(chain) = kept().get(destination).and_then(found) {
            return Ok(chain);
        }
        let made = processors::chain(processors, &functions.at(&versions, may_replace)?)?;
        let mut all = kept();
        let kept = all.entry(destination.clone()).or_default();
        if kept.len() == CHAINS_KEPT {
            kept.pop_front();
        }
        kept.push_back((versions, Arc::clone(&made)));
        Ok(made)
    }
}

/// All versions of a stream's definition that are still needed; the highest is the current one.
#[derive(Debug)]
pub(crate) struct Definitions(RwLock<BTreeMap<u64, Arc<Version>>>);

impl Definitions {
    pub(crate) fn new(versions: BTreeMap<u64, Definition>) -> Option<Self> {
        let versions: BTreeMap<_, _> =
            versions.into_iter().map(|(version, definition)| (version, Version::of(definition))).collect();
        (!versions.is_empty()).then(|| Self(RwLock::new(versions)))
    }

    pub(crate) fn version(&self, version: u64) -> Option<Arc<Version>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(&version).cloned()
    }

    pub(crate) fn current(&self) -> Arc<Definition> {
        let versions = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let last = versions.last_key_value().map(|(_, version)| Arc::clone(&version.definition));
        last.expect("there is a version from the start, and none is ever the last to go")
    }

    pub(crate) fn push(&self, definition: Definition) {
        let mut versions = self.0.write().unwrap_or_else(PoisonError::into_inner);
        versions.insert(definition.version, Version::of(definition));
    }

    pub(crate) fn all(&self) -> Vec<Arc<Definition>> {
        let versions = self.0.read().unwrap_or_else(PoisonError::into_inner);
        versions.values().map(|version| Arc::clone(&version.definition)).collect()
    }

    /// Lets go of all versions but the current one and those that `needed` says.
    pub(crate) fn keep(&self, needed: impl Fn(u64) -> bool) -> Vec<u64> {
        let mut versions = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let current = versions.last_key_value().map(|(version, _)| *version);
        let gone: Vec<u64> =
            versions.keys().copied().filter(|v| Some(*v) != current && !needed(*v)).collect();
        versions.retain(|version, _| !gone.contains(version));
        gone
    }
}
