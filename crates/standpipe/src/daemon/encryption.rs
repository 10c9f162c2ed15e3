//! Encryption at rest, as the API drives it, and as keys come and go.
//!
//! Every `key_check_interval` each key in use is tried. One that does not work stops its streams: they refuse puts, what
//! was unwrapped is forgotten, nothing is lost. One that works again sets them going, opens the streams that could not be
//! opened without it, and wraps anew what an earlier master key has wrapped.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use futures::future::join_all;
use standpipe_ingest::{ApiError, EncryptionInput, ErrorCode};
use standpipe_journal::keys::{KeyTrouble, TroubleKind};
use standpipe_model::StreamName;
use tokio_util::sync::CancellationToken;

use super::Daemon;
use crate::alarm::AlarmKind;
use crate::durable;
use crate::keys::{Encryption, StateError, Target};
use crate::stream::{Stream, StreamError};
use crate::worker::chain;

/// How often keys are tried, at the least, while one of them is in trouble.
const TROUBLED_INTERVAL: Duration = Duration::from_secs(5);

/// How long after trouble that a stream has met the keys are tried.
const SETTLING: Duration = Duration::from_secs(1);

/// The streams that could not be opened for want of a key.
pub(super) type Locked = BTreeMap<StreamName, KeyTrouble>;

/// How the checks of the keys ended, by their names.
type Checks = BTreeMap<String, Checked>;

/// How the check of a key ended.
#[derive(Debug)]
struct Checked {
    /// The streams that it is denied for.
    denied: BTreeMap<StreamName, KeyTrouble>,
    /// What holds for all others.
    others: Result<(), KeyTrouble>,
}

impl Checked {
    /// Takes note of what was found for a stream; returns whether that was about this stream alone.
    fn note(&mut self, stream: &StreamName, found: Result<(), KeyTrouble>) -> bool {
        match found {
            Err(trouble) if trouble.kind == TroubleKind::AccessDenied => {
                self.denied.insert(stream.clone(), trouble);
                true
            }
            found => {
                self.others = found;
                false
            }
        }
    }

    /// What holds for a stream.
    fn of(&self, stream: &StreamName) -> Result<(), KeyTrouble> {
        self.denied.get(stream).map_or_else(|| self.others.clone(), |trouble| Err(trouble.clone()))
    }

    fn is_well(&self) -> bool {
        self.denied.is_empty() && self.others.is_ok()
    }
}

/// Looks after the keys until `stop`.
pub(super) async fn look_after_keys(daemon: Arc<Daemon>, stop: CancellationToken) {
    loop {
        let well = daemon.check_keys().await;
        let every = daemon.config().key_check_interval;
        let every = if well { every } else { every.min(TROUBLED_INTERVAL) };
        let wait = async {
            tokio::select! {
                () = tokio::time::sleep(every) => {}
                () = daemon.keys_changed.notified() => {}
                () = trouble_settled(&daemon) => {}
            }
        };
        if stop.run_until_cancelled(wait).await.is_none() {
            return;
        }
    }
}

/// Waits until somebody has met trouble with a key, and then for it to settle, so that many who do make one check.
async fn trouble_settled(daemon: &Daemon) {
    daemon.context.keys.trouble_noticed().await;
    tokio::time::sleep(SETTLING).await;
}

fn invalid_key(message: String) -> ApiError {
    ApiError::new(ErrorCode::InvalidKmsResource, message)
}

impl Daemon {
    /// The key that a call means.
    fn key_meant(&self, input: &EncryptionInput) -> Result<Target, ApiError> {
        let config = self.config();
        let Some(arn) = &input.key_arn else {
            let key = config.default_key.clone().ok_or_else(|| {
                invalid_key(
                    "KeyType AWS_OWNED_CMK leads to no key: name one of standpipe's 'keys' as its 'default_key'.".into(),
                )
            })?;
            return Ok(Target::new(key, None));
        };
        match config.key_of_arn(arn) {
            Some(key) => Ok(Target::new(key.to_owned(), Some(arn.clone()))),
            // arn:partition:kms:region:account:key/id
            None if arn.split(':').nth(3) != Some(&config.region) => Err(ApiError::invalid_argument(
                "Cross-region keys are not allowed for SSE. Please provide CMKs in the same region as firehose",
            )),
            None => Err(invalid_key(format!(
                "No key is configured for {arn}: list it under the 'arns' of one of standpipe's 'keys'."
            ))),
        }
    }

    /// The encryption of a stream that is being made. Its key is tried first: there is no stream without it.
    pub(super) async fn first_encryption(
        &self,
        name: &StreamName,
        input: &EncryptionInput,
    ) -> Result<Encryption, ApiError> {
        let target = self.key_meant(input)?;
        self.context.keys.trial(&target.key, name.as_str()).await.map_err(|trouble| {
            tracing::warn!(stream = %name, %trouble, "a stream was not made for want of its key");
            invalid_key(format!("The key that Firehose {name} is to be encrypted with {}.", trouble.kind))
        })?;
        Ok(Encryption::enabled(target))
    }

    /// Writes the encryption of a stream that is being made beside its definition-to-be.
    pub(super) fn keep_encryption(
        &self,
        name: &StreamName,
        encryption: &Encryption,
    ) -> Result<(), StateError> {
        let folder = self.catalog.folder(name);
        durable::create_dir(&folder).map_err(|source| StateError::Io { path: folder.clone(), source })?;
        encryption.save(&folder)
    }

    /// Begins to encrypt a stream otherwise: with the key of `wanted`, or not at all.
    pub(super) async fn change_encryption(
        self: &Arc<Self>,
        name: &StreamName,
        wanted: Option<EncryptionInput>,
    ) -> Result<(), ApiError> {
        let _changing = self.changing.lock().await;
        let stream = self.known(name)?;
        Self::yaml_is_read_only(&stream, "given another encryption")?;
        self.require_active(&stream)?;
        let wanted = wanted.map(|input| self.key_meant(&input)).transpose()?;
        let mut next = stream.encryption();
        if next.is_changing() {
            let message = format!("The encryption of Firehose {name} is being changed already.");
            return Err(ApiError::new(ErrorCode::ResourceInUse, message));
        }
        if !next.count_call(self.context.timer.now()) {
            let message = format!("The encryption of Firehose {name} was changed 25 times within 24 hours.");
            return Err(ApiError::new(ErrorCode::LimitExceeded, message));
        }
        next.begin(wanted);
        stream.note_encryption(next).map_err(|error| Self::internal(&error))?;
        tokio::spawn(async move { finish(&stream).await });
        Ok(())
    }

    /// The streams that could not be opened for want of a key.
    pub(super) fn locked(&self) -> MutexGuard<'_, Locked> {
        self.locked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A stream could not be opened for want of a key.
    pub(super) fn lock_out(&self, name: &StreamName, trouble: KeyTrouble) {
        let before = self.locked().insert(name.clone(), trouble.clone());
        if let Some(before) = before.filter(|before| before.key != trouble.key) {
            self.context.alarms.clear(Some(name), AlarmKind::KeyUnavailable, &before.key);
        }
        let (now, message) = (self.context.timer.now(), trouble.to_string());
        self.context.alarms.raise(Some(name), AlarmKind::KeyUnavailable, &trouble.key, message, now);
    }

    /// No key keeps a stream from being opened any more.
    pub(super) fn let_in(&self, name: &StreamName) {
        if let Some(trouble) = self.locked().remove(name) {
            self.context.alarms.clear(Some(name), AlarmKind::KeyUnavailable, &trouble.key);
        }
    }

    /// Tries every key that is in use, and draws the conclusions. Returns whether all is well.
    pub(super) async fn check_keys(&self) -> bool {
        let streams = self.streams();
        let uses = join_all(streams.iter().map(|stream| stream.keys_in_use())).await;
        let mut wanted: BTreeMap<String, BTreeSet<StreamName>> = BTreeMap::new();
        let mut want = |key: &String, stream: &StreamName| {
            wanted.entry(key.clone()).or_default().insert(stream.clone());
        };
        for (stream, keys) in streams.iter().zip(&uses) {
            keys.0.iter().for_each(|key| want(key, stream.name()));
        }
        self.locked().iter().for_each(|(name, trouble)| want(&trouble.key, name));
        let checks = wanted.into_iter().map(async |(key, streams)| {
            let checked = self.check_key(&key, &streams).await;
            (key, checked)
        });
        let checked: Checks = join_all(checks).await.into_iter().collect();
        let concluded = streams.iter().zip(&uses).map(|(stream, keys)| conclude(stream, keys, &checked));
        let well = join_all(concluded).await.into_iter().all(|well| well);
        self.open_locked(&checked).await;
        well && checked.values().all(Checked::is_well) && self.locked().is_empty()
    }

    /// Tries a key for one of its streams, which speaks for all, and for each that it was denied for.
    async fn check_key(&self, key: &str, streams: &BTreeSet<StreamName>) -> Checked {
        let check = async |stream: &StreamName| {
            let checked = self.context.keys.check(key, stream.as_str()).await;
            self.context.metrics.key_checked(key, checked.as_ref().err());
            checked
        };
        let is_denied = |stream: &&StreamName| self.context.keys.is_denied(key, stream.as_str());
        let (denied, others): (Vec<_>, Vec<_>) = streams.iter().partition(is_denied);
        let again = join_all(denied.iter().map(|stream| check(stream))).await;
        let mut checked = Checked { denied: BTreeMap::new(), others: Ok(()) };
        for (stream, found) in denied.into_iter().zip(again) {
            checked.note(stream, found);
        }
        for stream in others {
            // One that is denied says nothing of the next.
            if !checked.note(stream, check(stream).await) {
                break;
            }
        }
        checked
    }

    /// Opens the streams whose key has come back; those of the others say what is the matter with it now.
    async fn open_locked(&self, checked: &Checks) {
        let locked = self.locked().clone();
        let mut names = Vec::new();
        for (name, trouble) in locked {
            match checked.get(&trouble.key).map(|checked| checked.of(&name)) {
                Some(Ok(())) => names.push(name),
                Some(Err(now)) if now != trouble => self.lock_out(&name, now),
                _ => {}
            }
        }
        if names.is_empty() {
            return;
        }
        let _changing = self.changing.lock().await;
        let config = self.config();
        for name in names {
            if self.stream(&name).is_none() {
                self.open_one(&name, config.streams.iter().find(|spec| spec.name == name)).await;
            }
        }
    }
}

/// Draws the conclusions for one stream. Returns whether it has everything that it needs.
async fn conclude(stream: &Stream, (in_use, all): &(BTreeSet<String>, bool), checks: &Checks) -> bool {
    if *all {
        stream.miss_only(in_use);
    }
    let checked = |key: &String| Some((key.clone(), checks.get(key)?.of(stream.name())));
    let checked: BTreeMap<String, Result<(), KeyTrouble>> = in_use.iter().filter_map(checked).collect();
    for trouble in checked.values().filter_map(|checked| checked.as_ref().err()) {
        stream.key_missed(trouble).await;
    }
    finish(stream).await;
    // What a stopped key has wrapped has an alarm already.
    let well = checked.values().all(Result::is_ok);
    let missed = if well { rewrap(stream).await } else { None };
    for (key, _) in checked.iter().filter(|(_, checked)| checked.is_ok()) {
        stream.key_found(key, missed.as_ref()).await;
    }
    stream.follow_encryption().await;
    well && missed.is_none()
}

/// Wraps data keys anew. Returns why that cannot be, where it is for want of the key that wrapped one of them: what is
/// under it is readable in this process alone.
async fn rewrap(stream: &Stream) -> Option<KeyTrouble> {
    let error = stream.rewrap().await.err()?;
    tracing::warn!(stream = %stream.name(), error = %chain(&error), "data keys could not be wrapped anew yet");
    match error {
        StreamError::Key(trouble) => Some(trouble),
        _ => None,
    }
}

/// Finishes a change of encryption that was begun, perhaps by an earlier process.
async fn finish(stream: &Stream) {
    if let Err(error) = stream.finish_encryption().await {
        tracing::error!(stream = %stream.name(), error = %chain(&error), "a change of encryption cannot be noted down yet");
    }
}
