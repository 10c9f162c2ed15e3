//! Replays: what a range of arrival times has, and a destination for as long as it is delivered again.

use std::io;

use standpipe_model::{DestinationId, Position, Timestamp};

use crate::control::{Progress, Replay};
use crate::journal::{AppendError, Journal};

impl Journal {
    /// The position of the first readable record that arrived at `time` or later; that of the next record where there is
    /// none. Blocking.
    ///
    /// # Errors
    /// The journal could not be read.
    pub fn position_at(&self, time: Timestamp) -> io::Result<Position> {
        loop {
            let (segment, next) = {
                let view = self.0.view();
                let reaches =
                    |extent: &crate::segment::Extent| extent.records > 0 && extent.max_arrived >= time;
                let segment = view.segments.values().find(|segment| reaches(&segment.extent())).cloned();
                (segment, view.state.next)
            };
            let Some(segment) = segment else { return Ok(next) };
            match segment.find_arrival(self.0.disk().as_ref(), time) {
                Ok(Some(found)) => return Ok(found.header.first),
                Ok(None) => return Ok(segment.extent().next),
                // It was forgotten meanwhile: whatever is the first now.
                Err(_) if !self.0.view().segments.contains_key(&segment.sequence) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Begins a replay from `start` on: a destination of that id, which holds what it has not delivered as others do.
    /// Returns whether all of it is there; where not, nothing was begun.
    ///
    /// # Errors
    /// [`AppendError`]: nothing was begun.
    pub async fn begin_replay(
        &self,
        id: DestinationId,
        start: Position,
        replay: Replay,
    ) -> Result<bool, AppendError> {
        let (new, progress) = (id.clone(), Progress { replay: Some(replay), ..Progress::starting_at(start) });
        self.change(Box::new(move |state| {
            state.destinations.entry(new).or_insert(progress);
        }))
        .await?;
        // From here on nothing goes that it needs, but something may have gone just before.
        let is_there = self.kept().first <= start;
        if !is_there {
            self.end_replay(id).await?;
        }
        Ok(is_there)
    }

    /// Ends a replay: what it has not delivered is not held for it any more.
    ///
    /// # Errors
    /// [`AppendError`]: it goes on.
    pub async fn end_replay(&self, id: DestinationId) -> Result<(), AppendError> {
        self.change(Box::new(move |state| {
            state.destinations.retain(|other, progress| *other != id || progress.replay.is_none());
        }))
        .await
    }
}
