//! One stream's keys: what its journal is given.
//!
//! A few data keys are made ahead, so that the journal never waits for one. They live in this process's memory only
//! and are forgotten when the key is stopped or its master key changes.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use standpipe_journal::keys::{DataKey, Fresh, KeyTrouble, SegmentKeys, TroubleKind, WrappedKey};
use standpipe_model::StreamName;

use super::KeyRing;

/// Data keys that are made ahead. A stream that fills segments faster than its keeper makes keys for them meets it
/// first; its producers are asked to come again.
const AHEAD: usize = 3;

/// The keys of one stream.
#[derive(Debug)]
pub struct StreamKeys {
    me: Weak<Self>,
    ring: Arc<KeyRing>,
    stream: StreamName,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// The key that segments are written under; plain where absent.
    key: Option<String>,
    epoch: u64,
    ahead: Vec<(DataKey, WrappedKey)>,
    filling: bool,
    /// Why the last data key could not be made.
    trouble: Option<KeyTrouble>,
}

impl StreamKeys {
    /// The keys of a stream whose segments are plain, until [`turn_to`](StreamKeys::turn_to).
    pub fn new(ring: Arc<KeyRing>, stream: StreamName) -> Arc<Self> {
        Arc::new_cyclic(|me| Self { me: me.clone(), ring, stream, inner: Mutex::default() })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The key that segments are written under.
    pub fn key(&self) -> Option<String> {
        self.lock().key.clone()
    }

    /// Makes the first data key under `key`, for [`turn_to`](StreamKeys::turn_to).
    ///
    /// # Errors
    /// [`KeyTrouble`].
    pub async fn first(&self, key: &str) -> Result<(DataKey, WrappedKey), KeyTrouble> {
        self.ring.check(key, self.stream.as_str()).await?;
        self.ring.generate(key, self.stream.as_str()).await
    }

    /// From the next frame on, segments are encrypted under the key of `first`; plain where absent.
    pub fn turn_to(&self, first: Option<(DataKey, WrappedKey)>) {
        let mut inner = self.lock();
        let key = first.as_ref().map(|(_, wrapped)| wrapped.key.clone());
        if inner.key != key {
            inner.epoch += 1;
        }
        (inner.key, inner.trouble) = (key, None);
        inner.ahead = first.into_iter().collect();
    }

    /// Forgets the data keys that were made ahead.
    pub fn forget(&self) {
        self.lock().ahead.clear();
    }

    fn fill(&self, inner: &mut Inner) {
        if inner.filling || inner.ahead.len() >= AHEAD {
            return;
        }
        let (Some(me), Some(key)) = (self.me.upgrade(), inner.key.clone()) else { return };
        inner.filling = true;
        self.ring.spawn(async move { me.make_ahead(key).await });
    }

    async fn make_ahead(&self, key: String) {
        loop {
            let made = self.ring.generate(&key, self.stream.as_str()).await;
            let mut inner = self.lock();
            let full = match made {
                Ok(made) if inner.key.as_ref() == Some(&key) => {
                    inner.trouble = None;
                    inner.ahead.push(made);
                    inner.ahead.len() >= AHEAD
                }
                Ok(_) => true,
                Err(trouble) => {
                    tracing::warn!(stream = %self.stream, %trouble, "no data key could be made");
                    inner.trouble = Some(trouble);
                    true
                }
            };
            if full {
                inner.filling = false;
                return;
            }
        }
    }
}

impl SegmentKeys for StreamKeys {
    fn epoch(&self) -> u64 {
        self.lock().epoch
    }

    fn usable(&self) -> Result<(), KeyTrouble> {
        let key = self.lock().key.clone();
        key.map_or(Ok(()), |key| self.ring.usable(&key))
    }

    fn fresh(&self) -> Result<Fresh, KeyTrouble> {
        let mut inner = self.lock();
        let epoch = inner.epoch;
        let Some(key) = inner.key.clone() else { return Ok(Fresh { epoch, key: None }) };
        self.ring.usable(&key)?;
        inner.ahead.retain(|(_, wrapped)| !self.ring.is_outdated(wrapped));
        let next = inner.ahead.pop();
        self.fill(&mut inner);
        match next {
            Some(next) => Ok(Fresh { epoch, key: Some(next) }),
            None => Err(inner.trouble.clone().unwrap_or_else(|| KeyTrouble {
                key,
                kind: TroubleKind::Unreachable,
                reason: "no data key was made yet".to_owned(),
            })),
        }
    }

    fn unwrap_key(&self, wrapped: &WrappedKey) -> Result<DataKey, KeyTrouble> {
        self.ring.unwrap_blocking(wrapped)
    }
}
