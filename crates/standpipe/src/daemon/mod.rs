//! The daemon: opens what is on disk, starts the listeners, reloads, stops.

mod admin;
mod api;
mod catalog;
pub(crate) mod conversion;
mod credentials;
mod deletion;
mod encryption;
mod endpoints;
mod failed;
mod followed;
mod functions;
pub(crate) mod mapping;
mod objects;
mod parameters;
pub(crate) mod processing;
mod reload;
mod replays;
mod schemas;
mod serve;
mod source;
mod start;
mod tables;

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use standpipe_journal::Shelf;
use standpipe_model::StreamName;
use tokio::sync::{Mutex, Notify};

use crate::access::Access;
use crate::catalog::Catalog;
use crate::config::Config;
use crate::stream::Stream;
use crate::tls::ListenerTls;
use crate::worker::Context;

pub use reload::ReloadError;
pub use serve::serve;
pub use source::Source;
pub use start::{Endpoints, Running, ServeError, start};

/// How long requests that have begun may take to end when the daemon stops, at the most: it is gone within two seconds.
const STOP_GRACE: Duration = Duration::from_millis(1_000);

/// Everything that runs.
#[derive(Debug)]
pub struct Daemon {
    source: Source,
    config: RwLock<Arc<Config>>,
    catalog: Catalog,
    context: Arc<Context>,
    shelf: Shelf,
    /// The TLS of the Firehose API, where it has one.
    tls: Option<ListenerTls>,
    streams: RwLock<BTreeMap<StreamName, Arc<Stream>>>,
    access: Access,
    /// The catalogs that have the columns of tables.
    catalogs: catalog::Clients,
    /// One change of who may do what at a time.
    changing_access: Mutex<()>,
    /// The streams that wait for a key.
    locked: std::sync::Mutex<encryption::Locked>,
    /// Keys are to be tried now.
    keys_changed: Notify,
    /// There are versions of functions on disk that are not in force.
    former_functions: AtomicBool,
    /// One change of the set of streams at a time.
    changing: Mutex<()>,
    redrives: failed::Redrives,
}

impl Daemon {
    /// The configuration in force.
    pub fn config(&self) -> Arc<Config> {
        Arc::clone(&self.config.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The stream of that name.
    pub fn stream(&self, name: &StreamName) -> Option<Arc<Stream>> {
        self.streams.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// All streams, in alphabetical order.
    pub fn streams(&self) -> Vec<Arc<Stream>> {
        self.streams.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    fn insert(&self, stream: Arc<Stream>) {
        let mut streams = self.streams.write().unwrap_or_else(PoisonError::into_inner);
        streams.insert(stream.name().clone(), stream);
    }

    fn remove(&self, name: &StreamName) -> Option<Arc<Stream>> {
        self.streams.write().unwrap_or_else(PoisonError::into_inner).remove(name)
    }

    /// Stops every stream as a planned crash, after draining for at most `drain`.
    async fn stop_streams(&self, drain: Duration) {
        self.redrives.stop().await;
        let streams = self.streams();
        if !drain.is_zero() {
            let all = futures::future::join_all(streams.iter().map(|stream| stream.drain()));
            if tokio::time::timeout(drain, all).await.is_err() {
                tracing::warn!("the drain ran out of time; what is left is delivered after the next start");
            }
        }
        futures::future::join_all(streams.iter().map(|stream| stream.stop())).await;
    }
}
