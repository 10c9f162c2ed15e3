//! All master keys of the configuration, and which of them are in trouble.
//!
//! A key is tried by every check and by whoever has a data key made. What a keeper says of the key itself (disabled,
//! gone, broken) stops the key at once: its streams refuse puts until a check finds it well again. A keeper that denies
//! it stops only the stream that it was asked for, as its policy may tell streams apart. One that does not answer stops
//! nothing by itself: streams go on with the data keys that they have.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use standpipe_journal::keys::{DataKey, Fresh, KeyTrouble, SegmentKeys, TroubleKind, WrappedKey};
use standpipe_model::Entropy;
use standpipe_sinks::s3::S3OptionsError;
use tokio::runtime::Handle;
use tokio::sync::{Notify, Semaphore};

use super::kms::{KmsKey, KmsOptions};
use super::{FileKey, Keeper, Refused, Wrapping};
use crate::config::{KeyConfig, KeyKeeper, KmsKeyConfig, S3Keys};

/// Calls to keepers on their way at once, over all streams. The first to wait are streams whose keeper hangs.
const CALLS_MAX: usize = 32;
/// Checks on their way at once, beside those calls. The first to wait are streams that are denied their key.
const CHECKS_MAX: usize = 32;
/// The most bytes of a wrapped key with its names: what a segment has room for.
const WRAPPED_MAX: usize = 1_700;

/// A key's settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// A setting of a KMS.
    #[error("key '{key}'")]
    Kms {
        /// The key's name.
        key: String,
        /// What is wrong.
        source: S3OptionsError,
    },
    /// A file of its settings cannot be read.
    #[error("key '{key}': cannot read {path}")]
    File {
        /// The key's name.
        key: String,
        /// The file.
        path: String,
        /// The cause.
        source: std::io::Error,
    },
}

/// The master keys.
#[derive(Debug)]
pub struct KeyRing {
    keys: RwLock<BTreeMap<String, Arc<Key>>>,
    entropy: Arc<dyn Entropy>,
    runtime: Handle,
    calls: Semaphore,
    checks: Semaphore,
    /// Somebody met trouble beside the checks.
    noticed: Notify,
}

/// Keys that were made and are not in force yet.
#[derive(Debug)]
pub struct Keys(BTreeMap<String, Arc<Key>>);

/// A master key.
#[derive(Debug)]
struct Key {
    name: String,
    config: KeyConfig,
    keeper: Box<dyn Keeper>,
    troubles: Mutex<Troubles>,
}

/// What a key's keeper has last said against it.
#[derive(Debug, Default)]
struct Troubles {
    /// Of the key itself, its keeper's silence included.
    whole: Option<KeyTrouble>,
    /// By the context that it is denied for.
    denied: BTreeMap<String, KeyTrouble>,
}

/// A data key, in the clear and wrapped.
pub(super) type Made = (DataKey, WrappedKey);

impl KeyRing {
    /// A ring without keys, whose keepers are asked on `runtime`.
    pub fn new(entropy: Arc<dyn Entropy>, runtime: Handle) -> Arc<Self> {
        let (keys, noticed) = (RwLock::default(), Notify::new());
        let (calls, checks) = (Semaphore::new(CALLS_MAX), Semaphore::new(CHECKS_MAX));
        Arc::new(Self { keys, entropy, runtime, calls, checks, noticed })
    }

    /// Makes the keys of a configuration, for [`put_in_force`](KeyRing::put_in_force). Those whose settings did not
    /// change stay as they are; where they did, files are read again when they are next needed.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn make(&self, keys: &BTreeMap<String, KeyConfig>) -> Result<Keys, KeyError> {
        let mut configured = BTreeMap::new();
        for (name, config) in keys {
            let old = self.find(name).filter(|key| key.config == *config);
            let key = match old {
                Some(key) => key,
                None => Arc::new(Key {
                    name: name.clone(),
                    config: config.clone(),
                    keeper: self.keeper(name, config)?,
                    troubles: Mutex::default(),
                }),
            };
            configured.insert(name.clone(), key);
        }
        Ok(Keys(configured))
    }

    /// Replaces the keys.
    pub fn put_in_force(&self, keys: Keys) {
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = keys.0;
    }

    fn keeper(&self, name: &str, config: &KeyConfig) -> Result<Box<dyn Keeper>, KeyError> {
        match &config.keeper {
            KeyKeeper::File(file) => {
                let (path, previous) = (file.path.clone(), file.previous.clone());
                Ok(Box::new(FileKey::new(path, previous, Arc::clone(&self.entropy))))
            }
            KeyKeeper::AwsKms(kms) => {
                let key = KmsKey::new(kms_options(name, kms)?);
                Ok(Box::new(key.map_err(|source| KeyError::Kms { key: name.to_owned(), source })?))
            }
        }
    }

    fn find(&self, name: &str) -> Option<Arc<Key>> {
        self.keys.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    fn get(&self, name: &str) -> Result<Arc<Key>, KeyTrouble> {
        self.find(name).ok_or_else(|| KeyTrouble {
            key: name.to_owned(),
            kind: TroubleKind::NotFound,
            reason: "it is not configured under \"keys\"".to_owned(),
        })
    }

    /// Whether a key may be used for a stream, as far as is known without asking.
    ///
    /// # Errors
    /// [`KeyTrouble`]: it was stopped. A keeper that does not answer is no such reason.
    pub fn usable(&self, name: &str, context: &str) -> Result<(), KeyTrouble> {
        let trouble = self.get(name)?.trouble(context);
        trouble.filter(|trouble| trouble.kind != TroubleKind::Unreachable).map_or(Ok(()), Err)
    }

    /// What was last found against a key of a stream, its keeper's silence included.
    pub fn trouble(&self, name: &str, context: &str) -> Option<KeyTrouble> {
        self.get(name).map_or_else(Some, |key| key.trouble(context))
    }

    /// Whether a key was last denied for a stream.
    pub fn is_denied(&self, name: &str, context: &str) -> bool {
        self.find(name).is_some_and(|key| key.troubles().denied.contains_key(context))
    }

    /// The master key of today behind a name, as far as it is known.
    pub fn master(&self, name: &str) -> Option<String> {
        self.find(name)?.keeper.master()
    }

    /// Tries a key for everything that a stream needs it for, and takes note of how that went.
    ///
    /// # Errors
    /// [`KeyTrouble`].
    pub async fn check(&self, name: &str, context: &str) -> Result<(), KeyTrouble> {
        let key = self.get(name)?;
        let _check = self.checks.acquire().await;
        let tried = key.tried(context).await;
        key.note(context, tried.as_ref().err());
        tried.map(drop)
    }

    /// Tries a key as [`check`](KeyRing::check) does, for somebody who does not use it yet: trouble is theirs alone.
    ///
    /// # Errors
    /// [`KeyTrouble`].
    pub async fn trial(&self, name: &str, context: &str) -> Result<Made, KeyTrouble> {
        let key = self.get(name)?;
        let _call = self.calls.acquire().await;
        let made = key.tried(context).await?;
        key.note(context, None);
        Ok(made)
    }

    /// A fresh data key for a stream.
    ///
    /// # Errors
    /// [`KeyTrouble`], which also stops the key where it is its own.
    pub async fn generate(&self, name: &str, context: &str) -> Result<Made, KeyTrouble> {
        let key = self.get(name)?;
        let _call = self.calls.acquire().await;
        match key.keeper.generate(context).await {
            Ok((data, wrapping)) => Ok((data, key.wrapped(context, wrapping)?)),
            Err(refused) => {
                let trouble = key.trouble_of(refused);
                key.note(context, Some(&trouble));
                self.noticed.notify_one();
                Err(trouble)
            }
        }
    }

    /// Resolves when somebody has met trouble with a key since it was last asked.
    ///
    /// # Cancel safety
    /// What was noticed is told to whoever asks next.
    pub async fn trouble_noticed(&self) {
        self.noticed.notified().await;
    }

    /// Unwraps a data key. A key that is in trouble, its keeper's silence included, is not asked again before the next
    /// check: else each of a thousand journals would wait for a server that does not answer.
    ///
    /// # Errors
    /// [`KeyTrouble`]. Where it is about this one data key it does not stop the master key.
    pub async fn open(&self, wrapped: &WrappedKey) -> Result<DataKey, KeyTrouble> {
        let key = self.get(&wrapped.key)?;
        let in_trouble = || key.trouble(&wrapped.context).map_or(Ok(()), Err);
        in_trouble()?;
        let _call = self.calls.acquire().await;
        // Others may have met it while this one waited for its turn.
        in_trouble()?;
        let opened = key.keeper.unwrap_key(wrapped).await.map_err(|refused| key.trouble_of(refused));
        if let Err(trouble) = &opened
            && trouble.kind == TroubleKind::Unreachable
        {
            key.note(&wrapped.context, Some(trouble));
            self.noticed.notify_one();
        }
        opened
    }

    /// [`open`](KeyRing::open) for a thread that may wait, also one that runs tasks.
    ///
    /// # Errors
    /// [`KeyTrouble`].
    pub fn unwrap_blocking(&self, wrapped: &WrappedKey) -> Result<DataKey, KeyTrouble> {
        tokio::task::block_in_place(|| self.runtime.block_on(self.open(wrapped)))
    }

    /// Whether a data key is not wrapped by the master key that the name `to` stands for today, as far as that is known.
    pub fn is_outdated(&self, wrapped: &WrappedKey, to: &str) -> bool {
        self.master(to).is_some_and(|master| wrapped.key != to || master != wrapped.master)
    }

    /// Wraps the same data key with the master key that the name `to` stands for today.
    ///
    /// # Errors
    /// [`KeyTrouble`].
    pub async fn rewrap(&self, wrapped: &WrappedKey, to: &str) -> Result<WrappedKey, KeyTrouble> {
        let data = self.open(wrapped).await?;
        self.usable(to, &wrapped.context)?;
        let key = self.get(to)?;
        let _call = self.calls.acquire().await;
        let wrapping = key.keeper.wrap(&data, &wrapped.context).await;
        let again = key.wrapped(&wrapped.context, wrapping.map_err(|refused| key.trouble_of(refused))?)?;
        // Before the old wrapping goes for good.
        match key.keeper.unwrap_key(&again).await.map_err(|refused| key.trouble_of(refused))? == data {
            true => Ok(again),
            false => {
                let reason = "it does not unwrap what it has wrapped".to_owned();
                Err(key.trouble_of((TroubleKind::InvalidState, reason)))
            }
        }
    }

    /// What keeps `keys` from unwrapping a data key that those in force do unwrap, if anything does. A keeper that does not
    /// answer is no such thing.
    pub async fn would_lose(&self, keys: &Keys, wrapped: &WrappedKey) -> Option<KeyTrouble> {
        let (old, new) = (self.find(&wrapped.key)?, keys.0.get(&wrapped.key)?);
        if Arc::ptr_eq(&old, new) {
            return None;
        }
        let _check = self.checks.acquire().await;
        let trouble = new.trouble_of(new.keeper.unwrap_key(wrapped).await.err()?);
        let lost = trouble.kind != TroubleKind::Unreachable && old.keeper.unwrap_key(wrapped).await.is_ok();
        lost.then_some(trouble)
    }

    /// Does something on the runtime that keepers are asked on.
    pub(super) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        drop(self.runtime.spawn(work));
    }
}

/// For tools that only read: any journal's keys, from the names in its segments.
impl SegmentKeys for KeyRing {
    fn epoch(&self) -> u64 {
        0
    }

    fn usable(&self) -> Result<(), KeyTrouble> {
        Ok(())
    }

    fn fresh(&self) -> Result<Fresh, KeyTrouble> {
        Ok(Fresh { epoch: 0, key: None })
    }

    fn unwrap_key(&self, wrapped: &WrappedKey) -> Result<DataKey, KeyTrouble> {
        self.unwrap_blocking(wrapped)
    }
}

impl Key {
    fn troubles(&self) -> MutexGuard<'_, Troubles> {
        self.troubles.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn trouble(&self, context: &str) -> Option<KeyTrouble> {
        let troubles = self.troubles();
        let stopped = troubles.whole.as_ref().filter(|trouble| trouble.kind != TroubleKind::Unreachable);
        stopped.or_else(|| troubles.denied.get(context)).or(troubles.whole.as_ref()).cloned()
    }

    /// Takes note of what its keeper has said when it was asked for a stream.
    fn note(&self, context: &str, trouble: Option<&KeyTrouble>) {
        let mut noted = self.troubles();
        match trouble {
            None => {
                noted.whole = None;
                noted.denied.remove(context);
            }
            // A keeper that does not answer says nothing against what it has said before.
            Some(silent) if silent.kind == TroubleKind::Unreachable => {
                noted.whole.get_or_insert_with(|| silent.clone());
            }
            Some(denied) if denied.kind == TroubleKind::AccessDenied => {
                noted.whole.take_if(|trouble| trouble.kind == TroubleKind::Unreachable);
                noted.denied.insert(context.to_owned(), denied.clone());
            }
            Some(stopped) => noted.whole = Some(stopped.clone()),
        }
    }

    /// Tries it for everything that a stream needs it for.
    async fn tried(&self, context: &str) -> Result<Made, KeyTrouble> {
        let refused = |refused| self.trouble_of(refused);
        self.keeper.look().map_err(refused)?;
        let (data, wrapping) = self.keeper.generate(context).await.map_err(refused)?;
        let wrapped = self.wrapped(context, wrapping)?;
        match self.keeper.unwrap_key(&wrapped).await.map_err(refused)? == data {
            true => Ok((data, wrapped)),
            false => {
                let reason = "it does not unwrap what it has wrapped".to_owned();
                Err(refused((TroubleKind::InvalidState, reason)))
            }
        }
    }

    fn trouble_of(&self, (kind, reason): Refused) -> KeyTrouble {
        KeyTrouble { key: self.name.clone(), kind, reason }
    }

    fn wrapped(&self, context: &str, wrapping: Wrapping) -> Result<WrappedKey, KeyTrouble> {
        let Wrapping { master, bytes } = wrapping;
        let len = self.name.len() + master.len() + context.len() + bytes.len();
        if len > WRAPPED_MAX {
            let reason =
                format!("a wrapped data key has {len} bytes with its names, {WRAPPED_MAX} is the most");
            return Err(self.trouble_of((TroubleKind::InvalidState, reason)));
        }
        Ok(WrappedKey { key: self.name.clone(), master, context: context.to_owned(), bytes })
    }
}

fn kms_options(name: &str, kms: &KmsKeyConfig) -> Result<KmsOptions, KeyError> {
    let service = &kms.service;
    let read = |path: &std::path::PathBuf| {
        std::fs::read(path).map_err(|source| KeyError::File {
            key: name.to_owned(),
            path: path.display().to_string(),
            source,
        })
    };
    Ok(KmsOptions {
        key_id: kms.key_id.clone(),
        endpoint: service.endpoint.clone(),
        region: service.region(),
        credentials: S3Keys::credentials(service.credentials.as_ref()),
        ca_pem: service.ca_file.as_ref().map(read).transpose()?,
        timeout: service.timeout,
    })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use async_trait::async_trait;

    use standpipe_model::StreamName;

    use super::*;
    use crate::clock::OsEntropy;
    use crate::config::FileKeyConfig;
    use crate::keys::StreamKeys;

    /// A keeper that says of each stream what a test wants: no server denies on demand.
    #[derive(Debug, Default)]
    struct Moody {
        refuses: Mutex<BTreeMap<String, TroubleKind>>,
        asked: AtomicUsize,
    }

    impl Moody {
        fn answer<T>(&self, context: &str, well: T) -> Result<T, Refused> {
            self.asked.fetch_add(1, Ordering::Relaxed);
            let refuses = self.refuses.lock().unwrap().get(context).copied();
            refuses.map_or(Ok(well), |kind| Err((kind, "by the test".to_owned())))
        }

        fn refuse(&self, context: &str, kind: Option<TroubleKind>) {
            let mut refuses = self.refuses.lock().unwrap();
            match kind {
                Some(kind) => refuses.insert(context.to_owned(), kind),
                None => refuses.remove(context),
            };
        }
    }

    #[async_trait]
    impl Keeper for Arc<Moody> {
        async fn generate(&self, context: &str) -> Result<(DataKey, Wrapping), Refused> {
            let wrapping = Wrapping { master: "one".to_owned(), bytes: vec![7; 32] };
            self.answer(context, (DataKey::new([7; 32]), wrapping))
        }

        async fn wrap(&self, _: &DataKey, context: &str) -> Result<Wrapping, Refused> {
            self.answer(context, Wrapping { master: "one".to_owned(), bytes: vec![7; 32] })
        }

        async fn unwrap_key(&self, wrapped: &WrappedKey) -> Result<DataKey, Refused> {
            self.answer(&wrapped.context, DataKey::new([7; 32]))
        }

        fn master(&self) -> Option<String> {
            Some("one".to_owned())
        }
    }

    fn ring() -> (Arc<KeyRing>, Arc<Moody>) {
        let (ring, moody) =
            (KeyRing::new(Arc::new(OsEntropy), Handle::current()), Arc::new(Moody::default()));
        let keeper = KeyKeeper::File(FileKeyConfig { path: "unused".into(), previous: Vec::new() });
        let config = KeyConfig { keeper, arns: Vec::new() };
        let (name, keeper) = ("main".to_owned(), Box::new(Arc::clone(&moody)));
        let key = Key { name: name.clone(), config, keeper, troubles: Mutex::default() };
        ring.put_in_force(Keys([(name, Arc::new(key))].into()));
        (ring, moody)
    }

    #[tokio::test]
    async fn a_key_that_is_denied_for_one_stream_stops_that_one_alone() {
        let (ring, moody) = ring();
        moody.refuse("denied", Some(TroubleKind::AccessDenied));
        ring.generate("main", "denied").await.unwrap_err();
        assert_eq!(ring.usable("main", "denied").unwrap_err().kind, TroubleKind::AccessDenied);
        ring.usable("main", "other").unwrap();
        ring.check("main", "other").await.unwrap();
        ring.usable("main", "denied").expect_err("nobody has asked for it again");
        moody.refuse("other", Some(TroubleKind::Disabled));
        ring.check("main", "other").await.unwrap_err();
        assert_eq!(ring.usable("main", "third").unwrap_err().kind, TroubleKind::Disabled, "that is for all");
        moody.refuse("denied", None);
        ring.check("main", "denied").await.unwrap();
        for stream in ["denied", "other", "third"] {
            ring.usable("main", stream).unwrap();
        }
    }

    #[tokio::test]
    async fn a_trial_for_a_caller_stops_nobody_else() {
        let (ring, moody) = ring();
        for kind in [TroubleKind::Disabled, TroubleKind::AccessDenied, TroubleKind::Unreachable] {
            moody.refuse("new", Some(kind));
            assert_eq!(ring.trial("main", "new").await.unwrap_err().kind, kind);
            assert_eq!(ring.trouble("main", "new"), None);
        }
    }

    #[tokio::test]
    async fn a_keeper_that_is_silent_when_a_data_key_is_read_is_not_asked_again_before_a_check() {
        let (ring, moody) = ring();
        let (data, wrapped) = ring.generate("main", "clicks").await.unwrap();
        moody.refuse("clicks", Some(TroubleKind::Unreachable));
        ring.open(&wrapped).await.unwrap_err();
        ring.trouble_noticed().await;
        let asked = moody.asked.load(Ordering::Relaxed);
        ring.open(&wrapped).await.unwrap_err();
        assert_eq!(moody.asked.load(Ordering::Relaxed), asked);
        moody.refuse("clicks", None);
        ring.check("main", "clicks").await.unwrap();
        assert_eq!(ring.open(&wrapped).await, Ok(data));
    }

    #[tokio::test]
    async fn checks_do_not_wait_behind_calls_that_hang() {
        let (ring, _) = ring();
        let _hanging = ring.calls.acquire_many(CALLS_MAX as u32).await.unwrap();
        ring.check("main", "clicks").await.unwrap();
    }

    #[tokio::test]
    async fn a_silent_keeper_is_not_asked_for_a_data_key_by_each_put() {
        let (ring, moody) = ring();
        let keys = StreamKeys::new(Arc::clone(&ring), StreamName::parse("clicks").unwrap());
        moody.refuse("clicks", Some(TroubleKind::Unreachable));
        keys.turn_to(Some("main".to_owned()), None);
        keys.fresh().unwrap_err();
        while ring.trouble("main", "clicks").is_none() {
            tokio::task::yield_now().await;
        }
        for _ in 0..20 {
            assert_eq!(keys.fresh().unwrap_err().kind, TroubleKind::Unreachable);
            tokio::task::yield_now().await;
        }
        assert_eq!(moody.asked.load(Ordering::Relaxed), 1);
        moody.refuse("clicks", None);
        ring.check("main", "clicks").await.unwrap();
        keys.prepare().await;
        assert!(keys.fresh().unwrap().key.is_some());
    }
}
