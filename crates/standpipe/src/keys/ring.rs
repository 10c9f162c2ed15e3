//! All master keys of the configuration, and which of them are in trouble.
//!
//! A key is tried by every check and by whoever has a data key made. What a keeper says of the key itself (disabled,
//! denied, gone) stops the key at once: its streams refuse puts until a check finds it well again. A keeper that does
//! not answer stops nothing by itself: streams go on with the data keys that they have.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use standpipe_journal::keys::{DataKey, Fresh, KeyTrouble, SegmentKeys, TroubleKind, WrappedKey};
use standpipe_model::{Entropy, Secret};
use standpipe_sinks::s3::{S3Credentials, S3OptionsError};
use tokio::runtime::Handle;
use tokio::sync::{Notify, Semaphore};

use super::kms::{KmsKey, KmsOptions};
use super::{FileKey, Keeper, Refused, Wrapping};
use crate::config::{KeyConfig, KeyKeeper, KmsKeyConfig};

/// Calls to keepers on their way at once, over all streams. The first to wait are streams whose keeper hangs.
const CALLS_MAX: usize = 32;
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
    /// What its keeper has last said against it.
    trouble: Mutex<Option<KeyTrouble>>,
}

impl KeyRing {
    /// A ring without keys, whose keepers are asked on `runtime`.
    pub fn new(entropy: Arc<dyn Entropy>, runtime: Handle) -> Arc<Self> {
        let (keys, calls, noticed) = (RwLock::default(), Semaphore::new(CALLS_MAX), Notify::new());
        Arc::new(Self { keys, entropy, runtime, calls, noticed })
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
                    trouble: Mutex::default(),
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

    /// Whether a key may be used, as far as is known without asking.
    ///
    /// # Errors
    /// [`KeyTrouble`]: it was stopped. A keeper that does not answer is no such reason.
    pub fn usable(&self, name: &str) -> Result<(), KeyTrouble> {
        let trouble = self.get(name)?.trouble();
        trouble.filter(|trouble| trouble.kind != TroubleKind::Unreachable).map_or(Ok(()), Err)
    }

    /// What was last found against a key, its keeper's silence included.
    pub fn trouble(&self, name: &str) -> Option<KeyTrouble> {
        self.get(name).map_or_else(Some, |key| key.trouble())
    }

    /// The master key of today behind a name, as far as it is known.
    pub fn master(&self, name: &str) -> Option<String> {
        self.find(name)?.keeper.master()
    }

    /// Tries a key for everything that it is needed for, and takes note of how that went.
    ///
    /// # Errors
    /// [`KeyTrouble`].
    pub async fn check(&self, name: &str, context: &str) -> Result<(), KeyTrouble> {
        let key = self.get(name)?;
        let _call = self.calls.acquire().await;
        let tried = async {
            key.keeper.look()?;
            let (data, wrapping) = key.keeper.generate(context).await?;
            let wrapped = WrappedKey {
                key: name.to_owned(),
                master: wrapping.master,
                context: context.to_owned(),
                bytes: wrapping.bytes,
            };
            match key.keeper.unwrap_key(&wrapped).await? == data {
                true => Ok(()),
                false => {
                    Err((TroubleKind::InvalidState, "it does not unwrap what it has wrapped".to_owned()))
                }
            }
        };
        let tried = tried.await.map_err(|refused| key.trouble_of(refused));
        key.note(tried.as_ref().err());
        tried
    }

    /// A fresh data key for a stream.
    ///
    /// # Errors
    /// [`KeyTrouble`], which also stops the key where it is its own.
    pub async fn generate(&self, name: &str, context: &str) -> Result<(DataKey, WrappedKey), KeyTrouble> {
        let key = self.get(name)?;
        let _call = self.calls.acquire().await;
        match key.keeper.generate(context).await {
            Ok((data, wrapping)) => Ok((data, key.wrapped(context, wrapping)?)),
            Err(refused) => {
                let trouble = key.trouble_of(refused);
                key.note(Some(&trouble));
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
        if let Some(trouble) = key.trouble() {
            return Err(trouble);
        }
        let _call = self.calls.acquire().await;
        key.keeper.unwrap_key(wrapped).await.map_err(|refused| key.trouble_of(refused))
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
        self.usable(to)?;
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
    fn trouble(&self) -> Option<KeyTrouble> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note(&self, trouble: Option<&KeyTrouble>) {
        let mut noted = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        // A keeper that does not answer says nothing against what it has said before.
        let silent = trouble.is_some_and(|trouble| trouble.kind == TroubleKind::Unreachable);
        if !(silent && noted.is_some()) {
            *noted = trouble.cloned();
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
    let credentials = kms.credentials.as_ref().map_or(S3Credentials::Chain, |keys| S3Credentials::Static {
        access_key_id: keys.access_key_id.clone(),
        secret_access_key: Secret::clone(&keys.secret_access_key),
        session_token: keys.session_token.clone(),
    });
    let read = |path: &std::path::PathBuf| {
        std::fs::read(path).map_err(|source| KeyError::File {
            key: name.to_owned(),
            path: path.display().to_string(),
            source,
        })
    };
    Ok(KmsOptions {
        key_id: kms.key_id.clone(),
        endpoint: kms.endpoint.clone(),
        region: kms.region.clone().unwrap_or_else(|| "us-east-1".to_owned()),
        credentials,
        ca_pem: kms.ca_file.as_ref().map(read).transpose()?,
        timeout: kms.timeout,
    })
}
