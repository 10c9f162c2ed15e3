//! Pressure: who closes what is open early, because room is getting scarce.
//!
//! Segments go in the order of the log, each once everything in it is settled. So an early close makes room only where a
//! destination's own open range reaches back into the oldest segment that is not settled. Whoever has nothing but younger
//! records could close as many small batches as there are puts, and not one segment would go: it is somebody else that
//! holds the journal, a destination that is down, a batch that fails, a replay, or another stream.
//!
//! The newest segment never goes. It counts only while puts are refused: then it grows no further, and closing what is in
//! it lets the journal begin another.

use std::sync::atomic::Ordering;

use standpipe_model::Position;
use tokio::sync::watch;

use crate::journal::{Journal, Shared};

impl Journal {
    /// Whether room is getting scarce, whoever takes it.
    pub fn under_pressure(&self) -> bool {
        self.0.under_pressure()
    }

    /// The position before which an open range has to begin for closing it early to make room; 0 where none has to be
    /// closed. It is looked at here, and again behind each commit.
    pub fn watch_pressure(&self) -> watch::Receiver<Position> {
        self.0.look_at_pressure();
        self.0.pressure.subscribe()
    }
}

impl Shared {
    fn under_pressure(&self) -> bool {
        let used = self.used.load(Ordering::Relaxed);
        self.shelf.budget.under_pressure(used, self.options.limit_bytes)
    }

    /// Tells those who watch where closing early helps now.
    pub(crate) fn look_at_pressure(&self) {
        self.pressure.send_if_modified(|told| {
            // Looked at here, as who looked before must not speak after.
            let before = if self.under_pressure() { self.end_of_oldest() } else { Position(0) };
            std::mem::replace(told, before) != before
        });
    }

    /// The end of the oldest segment that would go if more was settled; 0 where there is none.
    fn end_of_oldest(&self) -> Position {
        let refuses = self.queue().shortage.is_some();
        let view = self.view();
        let lowest = view.state.lowest_unsettled();
        let newest = view.segments.keys().next_back().copied();
        let mut all = view.segments.iter().map(|(sequence, segment)| (*sequence, segment.extent().next));
        let oldest = all.find(|(_, next)| *next > lowest);
        oldest
            .filter(|(sequence, _)| refuses || Some(*sequence) != newest)
            .map_or(Position(0), |(_, next)| next)
    }
}
