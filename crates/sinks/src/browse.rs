//! Looking for objects of a store below a prefix, and reading them in parts.

use async_trait::async_trait;
use standpipe_model::{ObjectTarget, SinkError, Timestamp};

/// An object that a store lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its key.
    pub key: String,
    /// Its size.
    pub bytes: u64,
    /// When it was stored, by the store's clock, which may have whole seconds only.
    pub modified: Timestamp,
}

/// Who looks around in a store: once, without another try.
#[async_trait]
pub trait BrowseObjects: Send + Sync + std::fmt::Debug {
    /// The first `max` objects, 1,000 at the most, whose keys begin with `prefix` and come after `after`, in the order of
    /// their keys' bytes. Fewer than `max` are all that there are.
    ///
    /// # Errors
    /// As [`Sink::attempt`](standpipe_model::Sink::attempt).
    async fn list(
        &self,
        bucket: &str,
        prefix: &str,
        after: Option<&str>,
        max: usize,
    ) -> Result<Vec<Listed>, SinkError>;

    /// The `len` bytes of an object from the byte `from` on; fewer where it ends before. `from` lies within it.
    ///
    /// # Errors
    /// As [`Sink::attempt`](standpipe_model::Sink::attempt).
    async fn read_part(&self, target: &ObjectTarget, from: u64, len: u64) -> Result<Vec<u8>, SinkError>;
}
