//! What an operator, or a table that has come, may have done with a batch that is not settled and not being attempted.

use standpipe_journal::control::{Close, Control, Decide, Settle};
use standpipe_model::{BatchId, Tally};

use super::{Line, OrderError};

impl Line {
    /// Closes the batch again, under the same id, by the current version.
    pub(super) async fn rebind(&self, batch: BatchId, running: bool) -> Result<(), OrderError> {
        let open = self.open_batch(batch).ok_or(OrderError::Unknown)?;
        if running {
            return Err(OrderError::Busy);
        }
        let definition = self.definitions.current();
        let (version, pinned) = (definition.version, self.pin(&definition));
        let close = Close { version, pins: pinned.pins(), ..open.close };
        self.journal.control(vec![Control::Close(close)]).await?;
        drop(pinned);
        self.again.forget(batch);
        self.drop_spools(batch, None).await;
        tracing::info!(stream = %self.stream, destination = %self.destination, %batch, version,
            "batch bound to the current version");
        Ok(())
    }

    /// Closes the batch again, under the same id and by the same version, with what is in force of that which it was
    /// closed without.
    pub(super) async fn pin_again(&self, batch: BatchId, running: bool) -> Result<(), OrderError> {
        let open = self.open_batch(batch).ok_or(OrderError::Unknown)?;
        if running {
            return Err(OrderError::Busy);
        }
        let version = self.definitions.version(open.close.version).ok_or(OrderError::Unknown)?;
        let pinned = self.pin(&version.definition);
        let mut close = open.close;
        for (what, digest) in pinned.pins() {
            close.pins.entry(what).or_insert(digest);
        }
        self.journal.control(vec![Control::Close(close)]).await?;
        drop(pinned);
        tracing::info!(stream = %self.stream, destination = %self.destination, %batch,
            "batch bound to tables that it was closed without");
        Ok(())
    }

    /// Gives the batch up: its records count as dropped.
    pub(super) async fn abandon(&self, batch: BatchId, running: bool) -> Result<(), OrderError> {
        let open = self.open_batch(batch).ok_or(OrderError::Unknown)?;
        if running {
            return Err(OrderError::Busy);
        }
        let (destination, range) = (self.destination.clone(), open.close.range);
        let decide = Decide {
            batch,
            destination: destination.clone(),
            rows: vec![range],
            reason: "Abandoned".to_owned(),
            message: String::new(),
            attempts: 0,
            decided_at: self.context.timer.now(),
        };
        let tally = Tally { dropped: range.count(), ..Tally::default() };
        let settle = Settle { batch, destination, range, tally };
        self.journal.control(vec![Control::Decide(decide), Control::Settle(settle)]).await?;
        self.again.forget(batch);
        self.drop_spools(batch, None).await;
        self.clear_alarms(&open.close);
        if let Some(replaying) = &self.replay {
            self.context.metrics.replayed(&self.stream, range.count());
            replaying.put_through.forget(batch);
            replaying.note_abandoned(range.count());
        }
        tracing::warn!(stream = %self.stream, destination = %self.destination, %batch, records = range.count(),
            "batch abandoned by an operator");
        Ok(())
    }
}
