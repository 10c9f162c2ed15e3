//! Taking streams away: deleted ones into the trash, retired ones into the archive.
//!
//! A deletion is noted on disk, then the stream refuses puts, then it is stopped and its folder moved. What was noted
//! is completed whatever happens in between, at the next start if need be.

use standpipe_model::StreamName;

use super::Daemon;
use crate::alarm::AlarmKind;
use crate::catalog::{Away, CatalogError};
use crate::stream::{Status, Stream};
use crate::worker::chain;

impl Daemon {
    /// Notes that a stream is to go, and makes it refuse puts. [`finish_deletions`](Daemon::finish_deletions) does the
    /// rest.
    ///
    /// # Errors
    /// [`CatalogError`]: it could not be noted. The stream stays, unless the note is on disk all the same.
    pub(super) fn begin_deletion(&self, stream: &Stream) -> Result<(), CatalogError> {
        if stream.status() == Status::Deleting {
            return Ok(());
        }
        let noted = self.catalog.mark_deleting(stream.name());
        // A note that may survive a crash counts: what is accepted after it would be lost.
        if noted.is_ok() || self.catalog.is_deleting(stream.name()) {
            stream.begin_deletion();
        }
        noted
    }

    /// Puts the streams that were deleted into the trash. One that cannot be moved is tried again later.
    pub(super) async fn finish_deletions(&self) {
        let _changing = self.changing.lock().await;
        for stream in self.streams().into_iter().filter(|stream| stream.is_being_deleted()) {
            if let Err(error) = self.discard(&stream).await {
                tracing::warn!(stream = %stream.name(), error = %chain(&error), "a deleted stream could not be moved yet");
            }
        }
        if let Err(error) = self.complete_deletions() {
            tracing::warn!(error = %chain(&error), "deleted streams could not be looked for");
        }
    }

    /// Puts the folders of streams into the trash that an earlier process began to delete.
    ///
    /// # Errors
    /// [`CatalogError`]: the catalog cannot be listed.
    pub(super) fn complete_deletions(&self) -> Result<(), CatalogError> {
        let noted = |name: &StreamName| self.stream(name).is_none() && self.catalog.is_deleting(name);
        for name in self.catalog.list()?.into_iter().filter(noted) {
            match self.catalog.put_away(&name, Away::Trash, self.context.timer.now()) {
                Ok(()) => tracing::info!(stream = %name, "the deletion of a stream was completed"),
                Err(error) => {
                    tracing::warn!(stream = %name, error = %chain(&error), "a deleted stream could not be moved yet");
                }
            }
        }
        Ok(())
    }

    /// Puts a stream that is being deleted into the trash, with what it has not delivered.
    ///
    /// # Errors
    /// [`CatalogError`]: it could not be moved.
    pub(super) async fn discard(&self, stream: &Stream) -> Result<(), CatalogError> {
        stream.stop().await;
        let discarded = stream.waiting();
        self.move_away(stream, Away::Trash)?;
        self.context.metrics.discarded(stream.name(), discarded);
        tracing::info!(stream = %stream.name(), discarded, "stream deleted");
        Ok(())
    }

    /// Whether a stream is there and could not be opened.
    pub(super) fn is_shut(&self, name: &StreamName) -> bool {
        let waits = self.locked().contains_key(name);
        waits || self.context.alarms.is_raised(name, AlarmKind::NotOpened)
    }

    /// Puts a stream into the trash that could not be opened.
    ///
    /// # Errors
    /// [`CatalogError`]: it could not be moved.
    pub(super) fn discard_shut(&self, name: &StreamName) -> Result<(), CatalogError> {
        self.catalog.put_away(name, Away::Trash, self.context.timer.now())?;
        self.let_in(name);
        self.context.alarms.forget_stream(name);
        tracing::info!(stream = %name, "a stream that could not be opened was deleted");
        Ok(())
    }

    /// Puts a stream into the archive that has left the configuration and delivered everything.
    ///
    /// # Errors
    /// [`CatalogError`]: it could not be moved.
    pub(super) async fn archive(&self, stream: &Stream) -> Result<(), CatalogError> {
        // From now on nothing can be put to it, so that what is settled stays settled.
        self.remove(stream.name());
        stream.stop().await;
        if !stream.is_finished() {
            // A put or a replay was still on its way when the stream was found finished: it is acknowledged, so it is
            // delivered.
            stream.journal().release();
            self.open_one(stream.name(), None).await;
            return Ok(());
        }
        self.move_away(stream, Away::Archive)
    }

    fn move_away(&self, stream: &Stream, into: Away) -> Result<(), CatalogError> {
        stream.journal().release();
        self.catalog.put_away(stream.name(), into, self.context.timer.now())?;
        self.remove(stream.name());
        self.context.alarms.forget_stream(stream.name());
        self.access.forget_stream(stream.name());
        self.redrives.forget_marks(&self.catalog.folder(stream.name()));
        tracing::info!(stream = %stream.name(), ?into, "stream put away");
        Ok(())
    }
}
