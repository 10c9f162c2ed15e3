//! The configured stores as sinks, by name. A reload replaces them; every attempt asks anew, so that changed access
//! settings take effect on data that is already waiting.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use standpipe_model::{Secret, Sink};
use standpipe_sinks::object::ObjectProvider;
use standpipe_sinks::s3::{S3Options, S3OptionsError};
use standpipe_sinks::{
    BrowseObjects, FileOptions, FileSink, ObjectSink, ObjectStoreOptions, ReadObject, S3Sink,
};

use crate::config::{S3Keys, S3Store, StoreConfig, Timeouts};
use crate::worker::Memory;

/// A store's settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A setting of an S3 store.
    #[error("store '{store}'")]
    S3 {
        /// The store's name.
        store: String,
        /// What is wrong.
        source: S3OptionsError,
    },
    /// A file of its settings cannot be read.
    #[error("store '{store}': cannot read {path}")]
    File {
        /// The store's name.
        store: String,
        /// The file.
        path: String,
        /// The cause.
        source: std::io::Error,
    },
}

/// The memory of the attempts to deliver to one store, in bytes. Each store has its own, so that one that hangs keeps
/// only its own streams waiting.
const STORE_MEMORY: u64 = 32 << 20;

/// A store in use.
#[derive(Debug, Clone)]
pub struct Store {
    /// Its client.
    pub sink: Arc<dyn Client>,
    /// What all attempts to deliver to it may hold together.
    pub memory: Arc<Memory>,
}

type Configured = BTreeMap<String, (StoreConfig, Store)>;

/// The sinks of all configured stores.
#[derive(Debug, Default)]
pub struct Stores(RwLock<Configured>);

impl Stores {
    /// The store `name`, as it is configured now.
    pub fn get(&self, name: &str) -> Option<Store> {
        let stores = self.0.read().unwrap_or_else(PoisonError::into_inner);
        stores.get(name).map(|(_, store)| store.clone())
    }

    /// Makes sinks of a configuration; those whose settings did not change are kept with their connections.
    ///
    /// # Errors
    /// [`StoreError`]; the old sinks stay in use.
    pub fn replace(&self, stores: &BTreeMap<String, StoreConfig>) -> Result<(), StoreError> {
        let mut configured = Configured::new();
        for (name, config) in stores {
            let old = {
                let current = self.0.read().unwrap_or_else(PoisonError::into_inner);
                current.get(name).filter(|(old, _)| old == config).map(|(_, store)| store.clone())
            };
            let new = || Ok(Store { sink: make(name, config)?, memory: Arc::new(Memory::new(STORE_MEMORY)) });
            configured.insert(name.clone(), (config.clone(), old.map_or_else(new, Ok)?));
        }
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = configured;
        Ok(())
    }
}

/// A store's client, which takes objects, gives them and lists them.
pub trait Client: Sink + ReadObject + BrowseObjects {}

impl<S: Sink + ReadObject + BrowseObjects> Client for S {}

pub(crate) fn make(name: &str, config: &StoreConfig) -> Result<Arc<dyn Client>, StoreError> {
    match config {
        StoreConfig::S3(store) => {
            let options = s3_options(name, store)?;
            let sink =
                S3Sink::new(options).map_err(|source| StoreError::S3 { store: name.to_owned(), source })?;
            Ok(Arc::new(sink))
        }
        StoreConfig::File(store) => Ok(Arc::new(FileSink::new(FileOptions { root: store.path.clone() }))),
        StoreConfig::Gcs(store) => {
            let path = store.service_account_file.as_ref();
            let key = path.map(|path| read(name, path)).transpose()?;
            let provider = ObjectProvider::Gcs {
                service_account_key: key.map(|key| Secret::new(String::from_utf8_lossy(&key))),
                endpoint: store.endpoint.clone(),
            };
            Ok(Arc::new(object_sink(provider, store.timeouts)))
        }
        StoreConfig::Azure(store) => {
            let provider = ObjectProvider::Azure {
                account: store.account.clone(),
                access_key: store.access_key.clone(),
                endpoint: store.endpoint.clone(),
            };
            Ok(Arc::new(object_sink(provider, store.timeouts)))
        }
    }
}

fn object_sink(provider: ObjectProvider, timeouts: Timeouts) -> ObjectSink {
    let defaults = ObjectStoreOptions::new(provider);
    let Timeouts { connect, request } = timeouts;
    ObjectSink::new(ObjectStoreOptions { connect_timeout: connect, request_timeout: request, ..defaults })
}

fn read(store: &str, path: &Path) -> Result<Vec<u8>, StoreError> {
    std::fs::read(path).map_err(|source| StoreError::File {
        store: store.to_owned(),
        path: path.display().to_string(),
        source,
    })
}

fn s3_options(name: &str, store: &S3Store) -> Result<S3Options, StoreError> {
    let credentials = S3Keys::credentials(store.keys.as_ref());
    let defaults = S3Options::new(credentials);
    Ok(S3Options {
        endpoint: store.endpoint.clone(),
        region: store.region.clone().unwrap_or_else(|| defaults.region.clone()),
        path_style: store.force_path_style,
        ca_pem: store.ca_file.as_ref().map(|path| read(name, path)).transpose()?,
        part_bytes: store.multipart_threshold,
        connect_timeout: store.timeouts.connect,
        request_timeout: store.timeouts.request,
        ..defaults
    })
}
