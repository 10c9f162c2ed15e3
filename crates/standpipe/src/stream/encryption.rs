//! A stream's encryption at rest: which key it is under, changing that, and what follows from a key that is stopped or
//! comes back.
//!
//! For a stream of the configuration file the file decides, and puts are refused until the key that it names works. For
//! one made through the API it is what Start and Stop asked for, kept in the stream's folder; there a key that does not
//! work leaves in force what was before.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use standpipe_ingest::{ApiError, ErrorCode, PutError};
use standpipe_journal::keys::{KeyTrouble, SegmentKeys as _, TroubleKind, WrappedKey};
use standpipe_journal::{Journal, SegmentKey};
use standpipe_model::StreamName;
use tokio::task::spawn_blocking;

use super::{COME_BACK, Stream, StreamError};
use crate::alarm::AlarmKind;
use crate::catalog::{Definition, Origin};
use crate::keys::{Encryption, KeyRing, StateError, StreamKeys, Target};
use crate::worker::chain;

/// A stream's keys, and what its encryption is and is to become.
#[derive(Debug)]
pub(super) struct AtRest {
    pub(super) keys: Arc<StreamKeys>,
    state: Mutex<Encryption>,
    /// One change at a time.
    changing: tokio::sync::Mutex<()>,
    /// Nothing is noted down any more: the stream was stopped, and its folder may be another's.
    stopped: Mutex<bool>,
    /// The keys, by name, that an alarm is raised about.
    missed: Mutex<BTreeSet<String>>,
}

impl AtRest {
    /// As the definition and the stream's folder have it. Waits for the first data key, if one is needed, but not for a
    /// key that cannot be had: puts are refused then.
    ///
    /// # Errors
    /// [`StateError`].
    pub(super) async fn open(
        definition: &Definition,
        folder: &Path,
        ring: &Arc<KeyRing>,
    ) -> Result<Self, StateError> {
        let state = match definition.origin {
            Origin::Yaml => of_file(definition),
            Origin::Api => Encryption::load(folder)?,
        };
        let keys = StreamKeys::new(Arc::clone(ring), definition.spec.name.clone());
        keys.turn_to(state.in_force.as_ref().map(|target| target.key.clone()), None);
        keys.prepare().await;
        let (changing, stopped, missed) = (tokio::sync::Mutex::default(), Mutex::default(), Mutex::default());
        Ok(Self { keys, state: Mutex::new(state), changing, stopped, missed })
    }

    fn state(&self) -> MutexGuard<'_, Encryption> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stopped(&self) -> MutexGuard<'_, bool> {
        self.stopped.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A change that is still under way is not noted down any more when this returns.
    pub(super) fn stop(&self) {
        *self.stopped() = true;
    }

    fn missed(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.missed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The encryption that a definition of the configuration file asks for.
fn of_file(definition: &Definition) -> Encryption {
    let key = definition.spec.encryption_key.clone();
    key.map_or_else(Encryption::default, |key| Encryption::enabled(Target::new(key, None)))
}

/// What a producer is told whose put finds the key in trouble. The keeper's own words are for the operator.
pub(crate) fn refusal(stream: &StreamName, trouble: &KeyTrouble) -> PutError {
    match trouble.kind {
        TroubleKind::Unreachable => PutError::Unavailable { retry_after: Some(COME_BACK) },
        kind => {
            let message = format!("The key that Firehose {stream} is encrypted with {kind}.");
            PutError::Other(ApiError::new(ErrorCode::InvalidKmsResource, message))
        }
    }
}

impl Stream {
    /// Its encryption at rest.
    pub fn encryption(&self) -> Encryption {
        self.at_rest.state().clone()
    }

    /// Notes durably what its encryption is and is to become.
    ///
    /// # Errors
    /// [`StateError`]; it stays as it was.
    pub fn note_encryption(&self, next: Encryption) -> Result<(), StateError> {
        let stopped = self.at_rest.stopped();
        if *stopped {
            return Err(StateError::Stopped);
        }
        next.save(&self.catalog.folder(&self.name))?;
        *self.at_rest.state() = next;
        Ok(())
    }

    /// Turns to the key that the configuration file names.
    pub(super) async fn obey_file(&self, definition: &Definition) {
        if definition.origin != Origin::Yaml {
            return;
        }
        let next = of_file(definition);
        let changed = {
            let mut state = self.at_rest.state();
            let changed = state.in_force != next.in_force;
            *state = next;
            changed.then(|| state.in_force.clone())
        };
        if let Some(target) = changed {
            self.turned(target.as_ref());
            self.at_rest.keys.turn_to(target.map(|target| target.key), None);
            self.at_rest.keys.prepare().await;
            self.follow_encryption().await;
        }
    }

    fn turned(&self, target: Option<&Target>) {
        let key = target.map_or("", |target| target.key.as_str());
        tracing::info!(stream = %self.name, encrypted = target.is_some(), key, "encryption at rest changed");
    }

    /// Carries out the change of its encryption that was begun, if there is one. Where it cannot be noted down it is
    /// still to be done.
    ///
    /// # Errors
    /// [`StateError`].
    pub async fn finish_encryption(&self) -> Result<(), StateError> {
        let _one = self.at_rest.changing.lock().await;
        let mut next = self.encryption();
        if !next.is_changing() {
            return Ok(());
        }
        let keys = &self.at_rest.keys;
        let outcome = match &next.wanted {
            None => {
                keys.turn_to(None, None);
                Ok(())
            }
            Some(target) => {
                let first = keys.first(&target.key).await;
                first.map(|first| keys.turn_to(Some(target.key.clone()), Some(first)))
            }
        };
        match outcome {
            Ok(()) => {
                next.finish();
                self.turned(next.in_force.as_ref());
            }
            Err(trouble) => {
                tracing::error!(stream = %self.name, %trouble, "encryption at rest could not be changed");
                next.fail(&trouble);
            }
        }
        match self.note_encryption(next) {
            Err(StateError::Stopped) => return Ok(()),
            noted => noted?,
        }
        self.follow_encryption().await;
        Ok(())
    }

    /// The keys, by name, without which something of it cannot be written or read, and whether those are all: the disk
    /// may refuse to tell.
    pub async fn keys_in_use(&self) -> (BTreeSet<String>, bool) {
        let wrapped = self.wrapped_keys().await.inspect_err(|error| {
            tracing::warn!(stream = %self.name, error = %chain(error), "the keys of its segments cannot be told");
        });
        let all = wrapped.is_ok();
        let mut keys: BTreeSet<String> = wrapped.unwrap_or_default().into_iter().map(|key| key.key).collect();
        keys.extend(self.encryption().in_force.map(|target| target.key));
        (keys, all)
    }

    /// The data keys of its segments.
    ///
    /// # Errors
    /// [`StreamError::Slots`].
    pub async fn wrapped_keys(&self) -> Result<Vec<WrappedKey>, StreamError> {
        Ok(self.segment_keys().await?.into_iter().map(|key| key.wrapped).collect())
    }

    async fn segment_keys(&self) -> Result<Vec<SegmentKey>, StreamError> {
        self.slots(|journal| journal.wrapped_keys()).await
    }

    /// Does something with the key slots of the journal, which waits for the disk.
    async fn slots<R: Send + 'static>(
        &self,
        work: impl FnOnce(&Journal) -> io::Result<R> + Send + 'static,
    ) -> Result<R, StreamError> {
        let journal = self.journal.clone();
        let done = spawn_blocking(move || work(&journal)).await;
        done.unwrap_or_else(|error| Err(io::Error::other(error))).map_err(StreamError::Slots)
    }

    /// Why puts are refused for want of the key.
    pub(super) fn key_trouble(&self) -> Option<KeyTrouble> {
        self.at_rest.keys.usable().err()
    }

    /// Tells of a put that was refused for want of the key.
    pub(super) fn refused_for_key(&self, trouble: &KeyTrouble) -> PutError {
        if trouble.kind != TroubleKind::Unreachable && !self.at_rest.missed().contains(&trouble.key) {
            self.raise_key(trouble);
        }
        refusal(&self.name, trouble)
    }

    fn raise_key(&self, trouble: &KeyTrouble) {
        let (now, message) = (self.context.timer.now(), trouble.to_string());
        self.at_rest.missed().insert(trouble.key.clone());
        self.context.alarms.raise(Some(&self.name), AlarmKind::KeyUnavailable, &trouble.key, message, now);
    }

    /// A key that it uses was found in trouble: unless that is its keeper's silence, nothing that was unwrapped stays in
    /// memory.
    pub async fn key_missed(&self, trouble: &KeyTrouble) {
        self.raise_key(trouble);
        if trouble.kind != TroubleKind::Unreachable {
            self.at_rest.keys.forget(&trouble.key);
            let key = trouble.key.clone();
            let forgotten = self.slots(move |journal| {
                journal.forget_keys(&key);
                Ok(())
            });
            if let Err(error) = forgotten.await {
                tracing::error!(stream = %self.name, error = %chain(&error), "data keys could not be forgotten");
            }
        }
    }

    /// A key that it uses was found well: everything that waited goes on. `missed` is what is still wrapped by another
    /// that cannot be had.
    pub async fn key_found(&self, key: &str, missed: Option<&KeyTrouble>) {
        self.at_rest.keys.prepare().await;
        match missed.filter(|trouble| trouble.key == key) {
            Some(trouble) => self.raise_key(trouble),
            None if self.found(key) => self.nudge().await,
            None => {}
        }
    }

    /// Goes on in a new segment where the newest is not as it wants them now, though nobody puts: so that what is settled
    /// of before can go. Where that fails the next frame does it, or the next check.
    pub async fn follow_encryption(&self) {
        let wanted = self.encryption().in_force.is_some();
        let follows = self.journal.ends_encrypted().is_none_or(|encrypted| encrypted == wanted);
        if !follows && let Err(error) = self.journal.restate().await {
            tracing::debug!(stream = %self.name, %error, "the journal goes on as it was for now");
        }
    }

    /// Clears the alarm about a key, if it is raised.
    fn found(&self, key: &str) -> bool {
        self.context.alarms.clear(Some(&self.name), AlarmKind::KeyUnavailable, key);
        self.at_rest.missed().remove(key)
    }

    /// Clears the alarms about keys that it does not use any more.
    pub fn miss_only(&self, in_use: &BTreeSet<String>) {
        let missed = self.at_rest.missed().clone();
        missed.difference(in_use).for_each(|key| {
            self.found(key);
        });
    }

    /// Wraps the data keys of its segments anew where they are not wrapped by the master key of today, so that the former
    /// one can go. What fails is tried again with the next check.
    ///
    /// # Errors
    /// [`StreamError`]; the data keys are readable as before.
    pub async fn rewrap(&self) -> Result<(), StreamError> {
        let keys = &self.at_rest.keys;
        let outdated = |key: &SegmentKey| !key.whole || keys.is_outdated(&key.wrapped);
        let mut done = 0_u64;
        for key in self.segment_keys().await?.into_iter().filter(outdated) {
            let wrapped = keys.rewrap(&key.wrapped).await.map_err(StreamError::Key)?;
            let replaced = self.slots(move |journal| journal.rewrap(key.segment, wrapped)).await?;
            done += u64::from(replaced);
        }
        if done > 0 {
            tracing::info!(stream = %self.name, segments = done, "data keys wrapped anew");
        }
        Ok(())
    }
}
