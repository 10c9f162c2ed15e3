//! The rule of a worker: what to do when something happened. No clock, no I/O, no await: effects are the loop's.
//!
//! ```text
//!            tip, front                 close journalled               settled
//!   records ───────────► close is due ──────────────────► attempt ───────────────► gone
//!                        (size, age,        ▲                │ failed
//!                         pressure, drain)  └── retry time ──┘ (parked: holds no slot and no memory)
//! ```
//!
//! # Invariants
//! - At most one CLOSE is on its way; at most `slots` attempts run; at most `open_max` batches are closed and not
//!   settled. Closing is lazy: what cannot be attempted now stays in the journal unclosed, where it can still grow.
//! - A batch that fails holds back only itself, until `open_max` of them wait.
//! - Pressure closes only what helps: a range that begins in the oldest segment of the journal. Behind a close the next
//!   range begins at the end, so that a destination which keeps up is not made to close small batches by one that does not.
//! - A worker with a rate closes no batch before the records of the one before had their time.

use std::collections::BTreeMap;

use standpipe_journal::{Cursor, Tip};
use standpipe_model::{BatchId, CloseReason, Position};

use crate::spec::Buffering;

/// How many batches of one destination are attempted at once.
const SLOTS: usize = 4;
/// How many may be closed and not settled: those being attempted and those that wait to be tried again. The journal's
/// reserve for control frames is made for about so many.
const OPEN_MAX: usize = 16;
/// How often a destination is told what is settled, in milliseconds.
const TIDY_MS: i64 = 60_000;

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event {
    /// The journal reaches further.
    Tip(Tip),
    /// Room is getting scarce, and closing early what begins before this position makes some; 0 where nothing does.
    Pressure { before: Position },
    /// The record at the cursor arrived at this steady time, in milliseconds.
    Front { position: Position, arrived_ms: i64 },
    /// A batch's CLOSE is durable.
    Closed { batch: BatchId, end: Cursor },
    /// It could not be written; try again at this time.
    CloseFailed { retry_at: i64 },
    /// A batch is settled.
    Settled { batch: BatchId },
    /// An attempt failed; try again at this time.
    Failed { batch: BatchId, retry_at: i64 },
    /// The batch is to be tried now, whatever its retry time.
    Nudge { batch: Option<BatchId> },
    /// New hints.
    Hints(Buffering),
    /// Everything there is shall be closed and delivered.
    Drain,
    /// The destination was told what is settled.
    Tidied,
    /// Time passed.
    Timer,
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Command {
    /// Look up when the record at the cursor arrived.
    LookFront(Position),
    /// Close a batch from the cursor on.
    Close { from: Cursor, reason: CloseReason },
    /// Make an attempt.
    Attempt(BatchId),
    /// Tell the destination what is settled, beside all attempts.
    Tidy,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Ready,
    Running,
    Parked { until: i64 },
}

/// Telling the destination what is settled; `due` when something is that it has not been told of.
#[derive(Debug, Clone, Copy)]
enum Tidy {
    Idle { not_before: i64, due: bool },
    Running { since: i64, due: bool },
}

/// What the worker of one destination knows.
#[derive(Debug)]
pub(crate) struct WorkerState {
    hints: Buffering,
    /// How many batches are attempted at once.
    slots: usize,
    /// Records per second, at the most.
    rate: Option<u32>,
    cursor: Cursor,
    tip: Tip,
    /// What begins before this is to be closed to make room.
    pressed_before: Position,
    /// What lies before this is to be closed and delivered, whatever its size and age.
    drain_to: Option<Position>,
    /// When the record at the cursor arrived, once it is known.
    front: Option<i64>,
    looking: bool,
    closing: bool,
    close_not_before: i64,
    tidy: Tidy,
    batches: BTreeMap<BatchId, Phase>,
    /// The order in which batches were closed.
    order: Vec<BatchId>,
}

impl WorkerState {
    /// A worker that resumes at `cursor` with these closed batches, oldest first.
    pub(crate) fn resume(hints: Buffering, cursor: Cursor, open: Vec<BatchId>) -> Self {
        let tip = Tip { next: cursor.position, bytes: cursor.bytes };
        Self {
            hints,
            slots: SLOTS,
            rate: None,
            cursor,
            tip,
            pressed_before: Position(0),
            drain_to: None,
            front: None,
            looking: false,
            closing: false,
            close_not_before: i64::MIN,
            tidy: Tidy::Idle { not_before: i64::MIN, due: false },
            batches: open.iter().map(|batch| (*batch, Phase::Ready)).collect(),
            order: open,
        }
    }

    /// The same, with no more than one batch at once, or at no more than so many records a second.
    pub(crate) fn paced(self, in_order: bool, rate: Option<u32>) -> Self {
        Self { slots: if in_order { 1 } else { self.slots }, rate, ..self }
    }

    /// Takes an event in and says what to do.
    pub(crate) fn step(&mut self, event: Event, now: i64) -> Vec<Command> {
        self.note(event, now);
        self.decide(now)
    }

    fn note(&mut self, event: Event, now: i64) {
        match event {
            Event::Tip(tip) => self.tip = tip,
            Event::Pressure { before } => self.pressed_before = before,
            Event::Front { position, arrived_ms } => {
                self.looking = false;
                // A close may have moved the cursor on while the journal was being asked.
                self.front = (position == self.cursor.position).then_some(arrived_ms);
            }
            Event::Closed { batch, end } => {
                if let Some(rate) = self.rate {
                    let records = end.position.0.saturating_sub(self.cursor.position.0);
                    self.close_not_before =
                        now.saturating_add_unsigned(records * 1_000 / u64::from(rate.max(1)));
                }
                (self.cursor, self.front, self.closing) = (end, None, false);
                self.batches.insert(batch, Phase::Ready);
                self.order.push(batch);
            }
            Event::CloseFailed { retry_at } => (self.closing, self.close_not_before) = (false, retry_at),
            Event::Settled { batch } => {
                self.batches.remove(&batch);
                self.order.retain(|other| *other != batch);
                let (Tidy::Idle { due, .. } | Tidy::Running { due, .. }) = &mut self.tidy;
                *due = true;
            }
            Event::Failed { batch, retry_at } => self.set(batch, Phase::Parked { until: retry_at }),
            Event::Nudge { batch: Some(batch) } => self.wake(batch),
            Event::Nudge { batch: None } => self.order.clone().into_iter().for_each(|batch| self.wake(batch)),
            Event::Hints(hints) => self.hints = hints,
            Event::Drain => self.drain_to = Some(self.tip.next),
            Event::Tidied => {
                if let Tidy::Running { since, due } = self.tidy {
                    self.tidy = Tidy::Idle { not_before: since.saturating_add(TIDY_MS), due };
                }
            }
            Event::Timer => {}
        }
    }

    fn set(&mut self, batch: BatchId, phase: Phase) {
        if let Some(known) = self.batches.get_mut(&batch) {
            *known = phase;
        }
    }

    fn wake(&mut self, batch: BatchId) {
        if matches!(self.batches.get(&batch), Some(Phase::Parked { .. })) {
            self.set(batch, Phase::Ready);
        }
    }

    fn decide(&mut self, now: i64) -> Vec<Command> {
        if self.close_not_before <= now {
            // A time that has passed must not be waited for again.
            self.close_not_before = i64::MIN;
        }
        let mut commands = Vec::new();
        if self.tidy_at().is_some_and(|at| at <= now) {
            self.tidy = Tidy::Running { since: now, due: false };
            commands.push(Command::Tidy);
        }
        for batch in self.order.clone() {
            if matches!(self.batches.get(&batch), Some(Phase::Parked { until }) if *until <= now) {
                self.set(batch, Phase::Ready);
            }
            if self.running() < self.slots && self.batches.get(&batch) == Some(&Phase::Ready) {
                self.set(batch, Phase::Running);
                commands.push(Command::Attempt(batch));
            }
        }
        if !self.may_close() {
            return commands;
        }
        if self.front.is_none() && !self.looking {
            self.looking = true;
            commands.push(Command::LookFront(self.cursor.position));
        }
        if let Some(reason) = self.due(now) {
            self.closing = true;
            commands.push(Command::Close { from: self.cursor, reason });
        }
        commands
    }

    /// When the destination is to be told what is settled, if anything is that it does not know.
    fn tidy_at(&self) -> Option<i64> {
        match self.tidy {
            Tidy::Idle { not_before, due: true } => Some(not_before),
            _ => None,
        }
    }

    fn running(&self) -> usize {
        self.batches.values().filter(|phase| **phase == Phase::Running).count()
    }

    fn may_close(&self) -> bool {
        let records = self.tip.next > self.cursor.position;
        let room = self.running() < self.slots && self.batches.len() < OPEN_MAX;
        records && room && !self.closing && self.close_not_before == i64::MIN
    }

    /// Why a batch should be closed now, if one should.
    fn due(&self, now: i64) -> Option<CloseReason> {
        let aged = self.front.is_some_and(|arrived| now >= self.age_limit(arrived));
        if self.tip.bytes.saturating_sub(self.cursor.bytes) >= self.hints.size_bytes {
            Some(CloseReason::Size)
        } else if aged {
            Some(CloseReason::Age)
        } else if self.cursor.position < self.pressed_before {
            Some(CloseReason::Pressure)
        } else {
            self.drain_to.is_some_and(|to| self.cursor.position < to).then_some(CloseReason::Drain)
        }
    }

    fn age_limit(&self, arrived: i64) -> i64 {
        arrived.saturating_add_unsigned(self.hints.interval_ms)
    }

    /// When [`Event::Timer`] is wanted next, in steady milliseconds.
    pub(crate) fn wake_at(&self) -> Option<i64> {
        let parked = self.batches.values().filter_map(|phase| match phase {
            Phase::Parked { until } => Some(*until),
            _ => None,
        });
        let pending = self.tip.next > self.cursor.position && !self.closing;
        let room = self.running() < self.slots && self.batches.len() < OPEN_MAX;
        let age = (pending && room).then(|| self.front.map(|arrived| self.age_limit(arrived))).flatten();
        let age = age.map(|at| at.max(self.close_not_before));
        let held = (pending && room && self.front.is_none()).then_some(self.close_not_before);
        parked.chain(age).chain(held.filter(|at| *at > i64::MIN)).chain(self.tidy_at()).min()
    }

    /// How many full batches wait to be closed: how far the destination has fallen behind.
    pub(crate) fn batches_behind(&self) -> u64 {
        self.tip.bytes.saturating_sub(self.cursor.bytes) / self.hints.size_bytes.max(1)
    }

    /// Whether a batch is being attempted.
    pub(crate) fn is_running(&self, batch: BatchId) -> bool {
        self.batches.get(&batch) == Some(&Phase::Running)
    }

    /// Whether no batch waits to be delivered.
    pub(crate) fn is_idle(&self) -> bool {
        self.batches.is_empty()
    }

    /// Whether everything that the journal held when it was last heard of is delivered.
    pub(crate) fn is_drained(&self) -> bool {
        self.batches.is_empty() && !self.closing && self.tip.next <= self.cursor.position
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HINTS: Buffering = Buffering { size_bytes: 1000, interval_ms: 60_000 };

    fn at(position: u64, bytes: u64) -> Cursor {
        Cursor { position: Position(position), bytes }
    }

    fn tip(next: u64, bytes: u64) -> Event {
        Event::Tip(Tip { next: Position(next), bytes })
    }

    fn id(number: u8) -> BatchId {
        BatchId([number; 16])
    }

    fn state() -> WorkerState {
        WorkerState::resume(HINTS, at(0, 0), Vec::new())
    }

    #[test]
    fn one_record_and_then_silence_is_closed_by_age() {
        let mut state = state();
        assert_eq!(state.step(tip(1, 10), 5), [Command::LookFront(Position(0))]);
        assert_eq!(state.step(Event::Front { position: Position(0), arrived_ms: 5 }, 6), []);
        assert_eq!(state.wake_at(), Some(60_005));
        assert_eq!(state.step(Event::Timer, 60_004), []);
        let close = Command::Close { from: at(0, 0), reason: CloseReason::Age };
        assert_eq!(state.step(Event::Timer, 60_005), [close]);
        assert_eq!(state.step(Event::Timer, 70_000), [], "one close at a time");
        assert_eq!(
            state.step(Event::Closed { batch: id(1), end: at(1, 10) }, 70_001),
            [Command::Attempt(id(1))]
        );
        assert_eq!(state.step(Event::Settled { batch: id(1) }, 70_002), [Command::Tidy]);
        assert!(state.is_drained());
        assert_eq!(state.wake_at(), None);
    }

    #[test]
    fn size_closes_at_once_and_again_until_the_slots_are_taken() {
        let mut state = state();
        let mut commands = state.step(tip(100, 10_000), 0);
        for number in 0..SLOTS as u8 {
            let from = at(u64::from(number) * 10, u64::from(number) * 1000);
            assert!(commands.contains(&Command::Close { from, reason: CloseReason::Size }), "{commands:?}");
            let end = at(u64::from(number + 1) * 10, u64::from(number + 1) * 1000);
            commands = state.step(Event::Closed { batch: id(number), end }, 1);
            assert!(commands.contains(&Command::Attempt(id(number))));
        }
        assert!(!commands.iter().any(|command| matches!(command, Command::Close { .. })), "closing is lazy");
        let commands = state.step(Event::Settled { batch: id(0) }, 2);
        assert!(commands.iter().any(|command| matches!(command, Command::Close { .. })));
    }

    #[test]
    fn a_failing_batch_holds_back_only_itself() {
        let mut state = state();
        state.step(tip(100, 10_000), 0);
        state.step(Event::Closed { batch: id(1), end: at(10, 1000) }, 0);
        let commands = state.step(Event::Failed { batch: id(1), retry_at: 500 }, 1);
        assert_eq!(commands, [], "the next close is on its way already");
        let commands = state.step(Event::Closed { batch: id(2), end: at(20, 2000) }, 2);
        assert!(commands.contains(&Command::Attempt(id(2))));
        assert_eq!(state.wake_at(), Some(500));
        assert!(state.step(Event::Timer, 500).contains(&Command::Attempt(id(1))));
    }

    #[test]
    fn a_dead_destination_stops_closing_after_a_bounded_number_of_batches() {
        let mut state = state();
        state.step(tip(1000, 100_000), 0);
        for number in 1..=OPEN_MAX as u8 {
            let end = at(u64::from(number) * 10, u64::from(number) * 1000);
            state.step(Event::Closed { batch: id(number), end }, 0);
            state.step(Event::Failed { batch: id(number), retry_at: 1_000_000 }, 0);
        }
        assert_eq!(state.step(Event::Timer, 5), []);
        assert_eq!(state.wake_at(), Some(1_000_000));
        let all = state.step(Event::Nudge { batch: None }, 6);
        assert_eq!(all.len(), SLOTS, "a nudge tries as many as there are slots");
    }

    #[test]
    fn a_destination_is_behind_by_the_full_batches_that_wait_to_be_closed() {
        let mut state = state();
        state.step(tip(39, 3_999), 0);
        assert_eq!(state.batches_behind(), 3);
        state.step(tip(40, 4_000), 0);
        assert_eq!(state.batches_behind(), 4);
    }

    #[test]
    fn a_destination_is_told_what_is_settled_once_a_minute_and_of_the_last_batch_too() {
        let mut state = state();
        assert_eq!(state.step(Event::Settled { batch: id(1) }, 1_000), [Command::Tidy]);
        assert_eq!(state.step(Event::Settled { batch: id(2) }, 2_000), [], "it is being told");
        assert_eq!((state.step(Event::Tidied, 3_000), state.wake_at()), (vec![], Some(61_000)));
        assert_eq!(state.step(Event::Settled { batch: id(3) }, 60_999), []);
        assert_eq!(state.step(Event::Timer, 61_000), [Command::Tidy]);
        assert_eq!((state.step(Event::Tidied, 90_000_000), state.wake_at()), (vec![], None));
        assert_eq!(state.step(Event::Settled { batch: id(4) }, 90_000_001), [Command::Tidy]);
    }

    #[test]
    fn telling_what_is_settled_takes_no_slot() {
        let mut state = WorkerState::resume(HINTS, at(0, 0), (0..4).map(id).collect());
        let attempts = state.step(Event::Settled { batch: id(9) }, 0);
        assert_eq!(attempts[0], Command::Tidy);
        assert_eq!(attempts.len(), 1 + SLOTS);
    }

    #[test]
    fn pressure_and_drain_close_what_is_open() {
        let mut state = state();
        state.step(tip(1, 10), 0);
        let close = |reason| Command::Close { from: at(0, 0), reason };
        let pressed = Event::Pressure { before: Position(1) };
        assert_eq!(state.step(pressed, 1), [close(CloseReason::Pressure)]);
        let mut state = WorkerState::resume(HINTS, at(0, 0), Vec::new());
        state.step(tip(1, 10), 0);
        assert_eq!(state.step(Event::Drain, 1), [close(CloseReason::Drain)]);
        assert!(!state.is_drained());
    }

    #[test]
    fn pressure_closes_nothing_that_begins_behind_the_oldest_segment() {
        let mut state = WorkerState::resume(HINTS, at(50, 5_000), Vec::new());
        state.step(Event::Pressure { before: Position(50) }, 0);
        assert_eq!(state.step(tip(51, 5_010), 1), [Command::LookFront(Position(50))]);
        state.step(Event::Front { position: Position(50), arrived_ms: 1 }, 2);
        for next in 52..100 {
            assert_eq!(state.step(tip(next, 5_000 + next), 3), [], "another holds the journal");
        }
        assert_eq!(state.wake_at(), Some(60_001), "it closes by its own size and age");
        // The other is through, and the oldest segment is one that this range begins in.
        let close = Command::Close { from: at(50, 5_000), reason: CloseReason::Pressure };
        assert_eq!(state.step(Event::Pressure { before: Position(90) }, 4), [close]);
        let commands = state.step(Event::Closed { batch: id(1), end: at(99, 5_099) }, 5);
        assert_eq!(commands, [Command::Attempt(id(1))]);
        assert_eq!(state.step(tip(100, 5_100), 6), [Command::LookFront(Position(99))], "once is enough");
    }

    #[test]
    fn a_rate_keeps_the_next_close_waiting_and_a_worker_in_order_has_one_slot() {
        let mut state = state().paced(true, Some(50));
        state.step(tip(100, 10_000), 0);
        let commands = state.step(Event::Closed { batch: id(1), end: at(10, 1_000) }, 1_000);
        assert_eq!(commands, [Command::Attempt(id(1))]);
        let commands = state.step(Event::Settled { batch: id(1) }, 1_100);
        assert_eq!(commands, [Command::Tidy], "ten records have 200 ms");
        assert_eq!(state.wake_at(), Some(1_200));
        let close = Command::Close { from: at(10, 1_000), reason: CloseReason::Size };
        assert!(state.step(Event::Timer, 1_200).contains(&close));
        let commands = state.step(Event::Closed { batch: id(2), end: at(11, 1_100) }, 1_200);
        assert_eq!(commands, [Command::Attempt(id(2))]);
        let commands = state.step(Event::Timer, 9_000);
        assert_eq!(commands, [], "none is closed while the slot is taken");
    }

    #[test]
    fn an_interval_of_zero_closes_as_soon_as_the_front_is_known() {
        let hints = Buffering { interval_ms: 0, ..HINTS };
        let mut state = WorkerState::resume(hints, at(0, 0), Vec::new());
        assert_eq!(state.step(tip(1, 10), 7), [Command::LookFront(Position(0))]);
        let close = Command::Close { from: at(0, 0), reason: CloseReason::Age };
        assert_eq!(state.step(Event::Front { position: Position(0), arrived_ms: 7 }, 7), [close]);
    }

    #[test]
    fn an_arrival_that_comes_after_the_cursor_moved_on_is_asked_for_again() {
        let mut state = state();
        assert_eq!(state.step(tip(1, 10), 0), [Command::LookFront(Position(0))]);
        assert!(matches!(state.step(tip(20, 2000), 1)[..], [Command::Close { .. }]));
        state.step(Event::Closed { batch: id(1), end: at(10, 1000) }, 2);
        state.step(Event::CloseFailed { retry_at: 3 }, 2);
        let commands = state.step(Event::Front { position: Position(0), arrived_ms: -90_000 }, 3);
        assert!(commands.contains(&Command::LookFront(Position(10))), "{commands:?}");
        assert_eq!(state.wake_at(), None, "nothing to wake for while the journal is being asked");
    }

    #[test]
    fn a_close_that_failed_is_tried_again_later() {
        let mut state = state();
        state.step(tip(100, 10_000), 0);
        assert_eq!(state.step(Event::CloseFailed { retry_at: 50 }, 1), []);
        assert_eq!(state.wake_at(), Some(50));
        assert!(matches!(state.step(Event::Timer, 50)[..], [Command::Close { .. }]));
    }

    #[test]
    fn open_batches_are_attempted_first_after_a_restart() {
        let mut state = WorkerState::resume(HINTS, at(20, 2000), vec![id(2), id(1)]);
        assert_eq!(state.step(Event::Timer, 0), [Command::Attempt(id(2)), Command::Attempt(id(1))]);
    }
}
