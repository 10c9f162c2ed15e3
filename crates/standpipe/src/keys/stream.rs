//! One stream's keys: what its journal is given.
//!
//! A few data keys are made ahead, so that the journal never waits for one. They live in this process's memory only
//! and are forgotten when the key is stopped or its master key changes.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use standpipe_journal::keys::{DataKey, Fresh, KeyTrouble, SegmentKeys, TroubleKind, WrappedKey};
use standpipe_model::StreamName;

use super::KeyRing;
use super::ring::Made;

/// Data keys that are made ahead. A stream that fills segments faster than its keeper makes keys for them meets it
/// first; its producers are asked to come again.
const AHEAD: usize = 7;

/// The keys of one stream.
#[derive(Debug)]
pub struct StreamKeys {
    me: Weak<Self>,
    ring: Arc<KeyRing>,
    stream: StreamName,
    /// As in [`SegmentKeys::epoch`]. Beside the lock, as it is read for every put.
    epoch: AtomicU64,
    /// There is a key. Beside the lock, so that a plain stream does not pay for others.
    encrypts: AtomicBool,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// The key that segments are written under; plain where absent.
    key: Option<String>,
    ahead: Vec<Made>,
    filling: bool,
    /// Why the last data key could not be made.
    trouble: Option<KeyTrouble>,
}

impl StreamKeys {
    /// The keys of a stream whose segments are plain, until [`turn_to`](StreamKeys::turn_to).
    pub fn new(ring: Arc<KeyRing>, stream: StreamName) -> Arc<Self> {
        let (epoch, encrypts, inner) = (AtomicU64::new(0), AtomicBool::new(false), Mutex::default());
        Arc::new_cyclic(|me| Self { me: me.clone(), ring, stream, epoch, encrypts, inner })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the first data key under `key`, for [`turn_to`](StreamKeys::turn_to), after trying the key for everything
    /// that it is needed for.
    ///
    /// # Errors
    /// [`KeyTrouble`].
    pub async fn first(&self, key: &str) -> Result<Made, KeyTrouble> {
        self.ring.trial(key, self.stream.as_str()).await
    }

    /// From the next frame on, segments are encrypted under `key`, the next of them with the data key `first`; plain
    /// where absent.
    pub fn turn_to(&self, key: Option<String>, first: Option<Made>) {
        let mut inner = self.lock();
        if inner.key != key {
            self.epoch.fetch_add(1, Ordering::Release);
        }
        self.encrypts.store(key.is_some(), Ordering::Release);
        (inner.key, inner.trouble) = (key, None);
        inner.ahead = first.into_iter().collect();
    }

    /// Has a data key made, where one is needed and none is there.
    pub async fn prepare(&self) {
        let (key, empty) = {
            let mut inner = self.lock();
            let key = inner.key.clone();
            key.iter().for_each(|key| self.drop_outdated(&mut inner, key));
            (key, inner.ahead.is_empty())
        };
        if let Some(key) = key.filter(|key| empty && self.ring.trouble(key, self.stream.as_str()).is_none()) {
            self.make_one(&key).await;
        }
    }

    /// Forgets the data keys made ahead that the master key of today has not wrapped, also where that is not known: then
    /// `key` was configured anew, and leads to another one perhaps.
    fn drop_outdated(&self, inner: &mut Inner, key: &str) {
        let master = self.ring.master(key);
        inner.ahead.retain(|(_, wrapped)| wrapped.key == key && master.as_ref() == Some(&wrapped.master));
    }

    /// Forgets the data keys that the master key of that name has wrapped ahead.
    pub fn forget(&self, key: &str) {
        self.lock().ahead.retain(|(_, wrapped)| wrapped.key != key);
    }

    /// Whether data keys come from another key than they should, or are wrapped by a master key of earlier.
    pub fn is_outdated(&self, wrapped: &WrappedKey) -> bool {
        let wanted = self.lock().key.clone();
        self.ring.is_outdated(wrapped, wanted.as_deref().unwrap_or(&wrapped.key))
    }

    /// Wraps a data key of the stream anew: by the key that it is under now, with the master key of today.
    ///
    /// # Errors
    /// [`KeyTrouble`].
    pub async fn rewrap(&self, wrapped: &WrappedKey) -> Result<WrappedKey, KeyTrouble> {
        let wanted = self.lock().key.clone();
        self.ring.rewrap(wrapped, wanted.as_deref().unwrap_or(&wrapped.key)).await
    }

    fn fill(&self, inner: &mut Inner) {
        if inner.filling || inner.ahead.len() >= AHEAD {
            return;
        }
        let (Some(me), Some(key)) = (self.me.upgrade(), inner.key.clone()) else { return };
        // While it is in trouble the checks ask, and prepare the first one when it is over.
        if self.ring.trouble(&key, self.stream.as_str()).is_some() {
            return;
        }
        inner.filling = true;
        self.ring.spawn(async move {
            while me.make_one(&key).await {}
            me.lock().filling = false;
        });
    }

    /// Has a data key made under `key`. Returns whether there should be more.
    async fn make_one(&self, key: &String) -> bool {
        let made = self.ring.generate(key, self.stream.as_str()).await;
        let mut inner = self.lock();
        match made {
            Ok(made) if inner.key.as_ref() == Some(key) => {
                inner.trouble = None;
                inner.ahead.push(made);
                inner.ahead.len() < AHEAD
            }
            Ok(_) => false,
            Err(trouble) => {
                if inner.trouble.as_ref() != Some(&trouble) {
                    tracing::warn!(stream = %self.stream, %trouble, "no data key could be made");
                }
                inner.trouble = Some(trouble);
                false
            }
        }
    }
}

impl SegmentKeys for StreamKeys {
    fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    fn usable(&self) -> Result<(), KeyTrouble> {
        if !self.encrypts.load(Ordering::Acquire) {
            return Ok(());
        }
        let key = self.lock().key.clone();
        key.map_or(Ok(()), |key| self.ring.usable(&key, self.stream.as_str()))
    }

    fn fresh(&self) -> Result<Fresh, KeyTrouble> {
        let mut inner = self.lock();
        let epoch = self.epoch();
        let Some(key) = inner.key.clone() else { return Ok(Fresh { epoch, key: None }) };
        self.ring.usable(&key, self.stream.as_str())?;
        self.drop_outdated(&mut inner, &key);
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
        if wrapped.context != self.stream.as_str() {
            // A segment that was put into another stream's folder must not come out at that stream's destination.
            let reason =
                format!("the data key was made for stream {}, this is {}", wrapped.context, self.stream);
            return Err(KeyTrouble { key: wrapped.key.clone(), kind: TroubleKind::InvalidState, reason });
        }
        self.ring.unwrap_blocking(wrapped)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::clock::OsEntropy;
    use crate::config::{FileKeyConfig, KeyConfig, KeyKeeper};
    use crate::keys::generate_file;

    struct Rig {
        dir: tempfile::TempDir,
        ring: Arc<KeyRing>,
        keys: Arc<StreamKeys>,
    }

    impl Rig {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let ring = KeyRing::new(Arc::new(OsEntropy), tokio::runtime::Handle::current());
            let keys = StreamKeys::new(ring.clone(), StreamName::parse("clicks").unwrap());
            let rig = Self { dir, ring, keys };
            rig.configure("first", &[]);
            rig
        }

        fn configure(&self, file: &str, previous: &[&str]) {
            let path = self.dir.path().join(file);
            generate_file(&path, &OsEntropy).ok();
            let previous = previous.iter().map(|name| self.dir.path().join(name)).collect();
            let keeper = KeyKeeper::File(FileKeyConfig { path, previous });
            let keys = BTreeMap::from([("main".to_owned(), KeyConfig { keeper, arns: Vec::new() })]);
            self.ring.put_in_force(self.ring.make(&keys).unwrap());
        }

        async fn encrypt(&self) {
            let first = self.keys.first("main").await.unwrap();
            self.keys.turn_to(Some("main".to_owned()), Some(first));
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn data_keys_are_made_ahead_and_none_comes_twice() {
        let rig = Rig::new();
        assert!(rig.keys.fresh().unwrap().key.is_none());
        rig.encrypt().await;
        assert_eq!(rig.keys.epoch(), 1);
        let mut seen = Vec::new();
        while seen.len() < 10 {
            // Where it has been quicker than the keeper, it comes again.
            match rig.keys.fresh() {
                Ok(fresh) => seen.push(fresh.key.unwrap()),
                Err(trouble) => {
                    assert_eq!(trouble.kind, TroubleKind::Unreachable);
                    rig.keys.prepare().await;
                }
            }
        }
        for (at, (data, wrapped)) in seen.iter().enumerate() {
            assert!(seen[..at].iter().all(|(other, _)| other != data));
            assert_eq!(rig.keys.unwrap_key(wrapped).as_ref(), Ok(data), "also where a task asks");
        }
        let other = StreamKeys::new(rig.ring.clone(), StreamName::parse("orders").unwrap());
        assert!(other.unwrap_key(&seen[0].1).unwrap_err().reason.contains("was made for stream clicks"));
        rig.keys.turn_to(None, None);
        assert_eq!((rig.keys.epoch(), rig.keys.fresh().unwrap().key.is_none()), (2, true));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_stopped_key_is_not_used_until_a_check_finds_it_well() {
        let rig = Rig::new();
        rig.encrypt().await;
        let (data, wrapped) = rig.keys.fresh().unwrap().key.unwrap();
        let (here, away) = (rig.dir.path().join("first"), rig.dir.path().join("away"));
        std::fs::rename(&here, &away).unwrap();
        rig.keys.usable().expect("nobody has looked yet");
        assert_eq!(rig.ring.check("main", "clicks").await.unwrap_err().kind, TroubleKind::NotFound);
        rig.keys.usable().unwrap_err();
        rig.keys.fresh().unwrap_err();
        rig.keys.unwrap_key(&wrapped).unwrap_err();
        std::fs::rename(&away, &here).unwrap();
        rig.keys.usable().expect_err("nobody has looked yet");
        rig.ring.check("main", "clicks").await.unwrap();
        rig.keys.usable().unwrap();
        assert_eq!(rig.keys.unwrap_key(&wrapped), Ok(data));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_new_master_key_wraps_what_the_former_has_wrapped() {
        let rig = Rig::new();
        rig.encrypt().await;
        let (data, old) = rig.keys.fresh().unwrap().key.unwrap();
        rig.configure("second", &["first"]);
        rig.ring.check("main", "clicks").await.unwrap();
        assert!(rig.keys.is_outdated(&old));
        rig.keys.forget("main");
        rig.keys.prepare().await;
        assert!(!rig.keys.is_outdated(&rig.keys.fresh().unwrap().key.unwrap().1));
        let new = rig.keys.rewrap(&old).await.unwrap();
        assert!(!rig.keys.is_outdated(&new));
        rig.keys.prepare().await;
        rig.configure("third", &["second"]);
        if let Ok(Fresh { key: Some((_, ahead)), .. }) = rig.keys.fresh() {
            assert_ne!(
                ahead.master, new.master,
                "what was made ahead under the former master key is not used"
            );
        }
        rig.configure("second", &[]);
        assert_eq!(rig.keys.unwrap_key(&new), Ok(data));
        assert_eq!(rig.keys.unwrap_key(&old).unwrap_err().kind, TroubleKind::NotFound);
    }
}
