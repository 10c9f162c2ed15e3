//! Encryption at rest: the master keys of the configuration, and what streams do with them.
//!
//! ```text
//! config `keys`  ─►  KeyRing  ─►  Keeper: a file, a KMS
//!                      ▲   one for the daemon: which key is in trouble, and how often that is looked at
//!                      │
//! a journal  ─►  StreamKeys: which key its segments are under, and data keys made ahead
//! ```
//!
//! # Invariants
//! - Nothing here waits on a commit thread: data keys are made ahead, and a keeper that hangs costs its own streams
//!   alone.
//! - A master key and a data key in the clear never reach a log, an error or the disk.
//! - A key that somebody stopped is found out within `key_check_interval`, and so is one that works again.

mod file;
mod kms;
mod ring;
mod state;
mod stream;

use std::fmt::Debug;

use async_trait::async_trait;
use standpipe_journal::keys::{DataKey, TroubleKind, WrappedKey};

pub use file::{FileKey, generate_file, generate_text};
pub use ring::{KeyError, KeyRing, Keys};
pub use state::{Encryption, Failure, StateError, Status, Target};
pub use stream::StreamKeys;

/// What a keeper says when it cannot do what it is asked: the kind of trouble, and the reason in its own words.
pub type Refused = (TroubleKind, String);

/// A data key, wrapped: which master key did it, and the bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrapping {
    /// The master key, as the keeper tells them apart.
    pub master: String,
    /// The wrapped data key.
    pub bytes: Vec<u8>,
}

/// Who keeps a master key. `context` is the stream's name; what was wrapped for one stream does not unwrap for another.
#[async_trait]
pub trait Keeper: Send + Sync + Debug {
    /// A fresh data key, in the clear and wrapped.
    ///
    /// # Errors
    /// [`Refused`].
    async fn generate(&self, context: &str) -> Result<(DataKey, Wrapping), Refused>;

    /// Wraps a data key with the master key of today.
    ///
    /// # Errors
    /// [`Refused`].
    async fn wrap(&self, key: &DataKey, context: &str) -> Result<Wrapping, Refused>;

    /// Unwraps a data key that it wrapped, today or earlier.
    ///
    /// # Errors
    /// [`Refused`].
    async fn unwrap_key(&self, wrapped: &WrappedKey) -> Result<DataKey, Refused>;

    /// The master key of today, as far as it is known.
    fn master(&self) -> Option<String>;

    /// Looks anew at what the keeper itself stands on, such as a file.
    ///
    /// # Errors
    /// [`Refused`].
    fn look(&self) -> Result<(), Refused> {
        Ok(())
    }
}
