//! Control frames: the decisions about a stream's records, each journalled before its effect.
//!
//! Their bodies are JSON. A batch writes a handful of them, so their size does not matter, while a newer version may
//! add members that an older one ignores, and `journal inspect` shows them as they are.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use standpipe_model::{
    BatchId, BatchRange, CloseReason, DestinationId, Position, RequestId, StreamName, Tally, Timestamp,
};

use crate::format::FrameKind;
use crate::spool::{ObjectPlace, SpoolId};

/// No batch has so many objects.
const ORDINALS_MAX: u32 = 1 << 20;

/// CLOSE: a batch's boundary and identity, written before anything is done with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Close {
    /// The id that everything delivered from the batch derives from.
    pub batch: BatchId,
    /// The destination it is for.
    pub destination: DestinationId,
    /// Its records.
    pub range: BatchRange,
    /// Why it closed.
    pub reason: CloseReason,
    /// The version of the stream's definition whose shape it is delivered by.
    pub version: u64,
    /// When it closed.
    pub closed_at: Timestamp,
    /// When its first record arrived; keys are dated by it.
    pub arrived_at: Timestamp,
    /// Its records' data bytes, as counted when it closed.
    pub record_bytes: u64,
    /// Hashes of the modules, tables and schemas that it is transformed by, and the build that closed it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub pins: BTreeMap<String, String>,
}

/// PLAN: a batch's records were made into rows, its rows into objects, and all of it is in the batch's spool; written
/// before the first external effect. Left out where the same records always come to the same rows of one object: they
/// are then made anew at each attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The batch.
    pub batch: BatchId,
    /// Its destination.
    pub destination: DestinationId,
    /// The spool that holds them.
    pub spool: SpoolId,
    /// Its objects: ordinals below this.
    pub objects: u32,
    /// Where in the spool it lies what the objects are, a line of JSON for each.
    pub index: ObjectPlace,
    /// What becomes of its records once all objects are delivered.
    pub tally: Tally,
}

/// DECIDE: rows given up, written when no attempt of them is outstanding; they are never sent again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decide {
    /// The batch.
    pub batch: BatchId,
    /// Its destination.
    pub destination: DestinationId,
    /// The rows: ranges of positions.
    pub rows: Vec<BatchRange>,
    /// Why, as an error code.
    pub reason: String,
    /// What the destination said.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// How many attempts were made.
    pub attempts: u32,
    /// When.
    pub decided_at: Timestamp,
}

/// DONE: an object or request that succeeded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// The batch.
    pub batch: BatchId,
    /// Its destination.
    pub destination: DestinationId,
    /// The object's number within the batch.
    pub ordinal: u32,
    /// How many after it succeeded as well.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub further: u32,
    /// The request that succeeded, where it is one; the ordinal then says nothing. Requests are known by their rows: a
    /// number would stand for others once a record cannot be read any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<RequestId>,
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// FAILING: a batch's first failed attempt; the retry duration counts from here, whatever restarts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failing {
    /// The batch.
    pub batch: BatchId,
    /// Its destination.
    pub destination: DestinationId,
    /// When it began to fail.
    pub since: Timestamp,
    /// It does not any more, or for a reason that does not count: the retry duration starts with the next failure.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub over: bool,
}

/// PUTS: puts of a segment that is about to be forgotten, which may still come again within their ten minutes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Puts {
    /// The id of the segment that held their records, as 32 hexadecimal digits.
    pub segment: String,
    /// Whether that segment was encrypted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub encrypted: bool,
    /// Of each put: its digest as 32 hexadecimal digits, its first record's position, that record's number within the
    /// segment, and how many records it has.
    pub puts: Vec<(String, Position, u64, u32)>,
}

/// SETTLE: every record of a batch has its fate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settle {
    /// The batch.
    pub batch: BatchId,
    /// Its destination.
    pub destination: DestinationId,
    /// Its records, so that the frame stands on its own.
    pub range: BatchRange,
    /// Where they ended; adds up to the range.
    pub tally: Tally,
}

/// STATE: everything that the frames before it came to.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct State {
    /// The position that the next record gets.
    pub next: Position,
    /// The latest arrival time given out; arrivals never run backwards.
    pub last_arrival: Timestamp,
    /// Each destination's progress.
    pub destinations: BTreeMap<DestinationId, Progress>,
    /// Where a source's reader resumes, by source.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub sources: BTreeMap<String, String>,
    /// Records that were accepted, since the stream was made.
    pub accepted_records: u64,
    /// Their data bytes.
    pub accepted_bytes: u64,
    /// Every STATE was unreadable at recovery: destinations start here, at the oldest record that is left, as nobody
    /// knows what they had. Records that were delivered may then be delivered again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unread_from: Option<Position>,
}

/// One destination's progress through the stream.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Progress {
    /// The position of the first record that it is responsible for.
    pub start: Position,
    /// The position behind the last closed batch.
    pub cursor: Position,
    /// Batches that are closed and not settled.
    pub open: BTreeMap<BatchId, OpenBatch>,
    /// What became of all settled records.
    pub tally: Tally,
    /// What it replays, where it is a destination only for as long as that takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replay: Option<Replay>,
}

/// A replay: a destination for a while, which gets again what the journal still has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replay {
    /// The destination whose shape its batches have.
    pub of: DestinationId,
    /// The position behind its last record.
    pub end: Position,
    /// The arrival times that were asked for begin here.
    pub from: Timestamp,
    /// They end before this.
    pub to: Timestamp,
    /// The stream that the records are put to, in the place of the destination.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub into: Option<StreamName>,
    /// Records per second, at the most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<u32>,
    /// When it began.
    pub begun_at: Timestamp,
}

/// A closed batch that is not settled yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenBatch {
    /// How it was closed.
    pub close: Close,
    /// What it was planned to become, where a plan is needed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<Plan>,
    /// Objects that succeeded.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty", with = "runs")]
    pub done: BTreeSet<u32>,
    /// Requests that are over.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub requests: BTreeSet<RequestId>,
    /// Rows given up.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub decided: Vec<Decide>,
    /// Since when it has been failing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failing_since: Option<Timestamp>,
}

/// A control frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Control {
    /// See [`Close`].
    Close(Close),
    /// See [`Plan`].
    Plan(Plan),
    /// See [`Decide`].
    Decide(Decide),
    /// See [`Done`].
    Done(Done),
    /// See [`Settle`].
    Settle(Settle),
    /// See [`State`].
    State(Box<State>),
    /// See [`Failing`].
    Failing(Failing),
    /// See [`Puts`].
    Puts(Puts),
}

impl Control {
    /// The frame's kind.
    pub fn kind(&self) -> FrameKind {
        match self {
            Self::Close(_) => FrameKind::Close,
            Self::Plan(_) => FrameKind::Plan,
            Self::Decide(_) => FrameKind::Decide,
            Self::Done(_) => FrameKind::Done,
            Self::Settle(_) => FrameKind::Settle,
            Self::State(_) => FrameKind::State,
            Self::Failing(_) => FrameKind::Failing,
            Self::Puts(_) => FrameKind::Puts,
        }
    }

    /// The frame's body.
    pub fn encode(&self) -> Vec<u8> {
        let body = match self {
            Self::Close(body) => serde_json::to_vec(body),
            Self::Plan(body) => serde_json::to_vec(body),
            Self::Decide(body) => serde_json::to_vec(body),
            Self::Done(body) => serde_json::to_vec(body),
            Self::Settle(body) => serde_json::to_vec(body),
            Self::State(body) => serde_json::to_vec(body),
            Self::Failing(body) => serde_json::to_vec(body),
            Self::Puts(body) => serde_json::to_vec(body),
        };
        body.expect("these types have only string keys and cannot fail to serialise")
    }

    /// Reads a frame's body; `None` for DATA.
    ///
    /// # Errors
    /// The body is not the JSON of its kind.
    pub fn decode(kind: FrameKind, body: &[u8]) -> Result<Option<Self>, serde_json::Error> {
        Ok(Some(match kind {
            FrameKind::Data => return Ok(None),
            FrameKind::Close => Self::Close(serde_json::from_slice(body)?),
            FrameKind::Plan => Self::Plan(serde_json::from_slice(body)?),
            FrameKind::Decide => Self::Decide(serde_json::from_slice(body)?),
            FrameKind::Done => Self::Done(serde_json::from_slice(body)?),
            FrameKind::Settle => Self::Settle(serde_json::from_slice(body)?),
            FrameKind::State => Self::State(Box::new(serde_json::from_slice(body)?)),
            FrameKind::Failing => Self::Failing(serde_json::from_slice(body)?),
            FrameKind::Puts => Self::Puts(serde_json::from_slice(body)?),
        }))
    }
}

impl State {
    /// Takes the records of one put into account.
    pub fn accept(&mut self, records: u32, bytes: u64, arrived_at: Timestamp) {
        self.next = self.next.advance(u64::from(records));
        self.last_arrival = self.last_arrival.max(arrived_at);
        self.accepted_records = self.accepted_records.saturating_add(records.into());
        self.accepted_bytes = self.accepted_bytes.saturating_add(bytes);
    }

    /// Takes into account that a frame lies at `position`: what comes before it was accepted, whether or not it can
    /// still be read.
    pub fn reach(&mut self, position: Position) {
        let unseen = position.0.saturating_sub(self.next.0);
        self.accepted_records = self.accepted_records.saturating_add(unseen);
        self.next = self.next.max(position);
    }

    /// Takes one control frame into account. A frame about an unknown batch is ignored but for a SETTLE, which stands
    /// on its own (its CLOSE may lie in a damaged place).
    pub fn apply(&mut self, control: &Control) {
        match control {
            Control::State(state) => *self = (**state).clone(),
            Control::Close(close) => self.close(close),
            Control::Settle(settle) => self.settle(settle),
            Control::Plan(plan) => {
                self.with_open(&plan.destination, &plan.batch, |open| {
                    // What was done was of an earlier plan: a PLAN comes before each of its own DONE frames.
                    open.done.clear();
                    open.requests.clear();
                    open.plan = Some(plan.clone());
                });
            }
            Control::Decide(decide) => {
                self.with_open(&decide.destination, &decide.batch, |open| open.decide(decide));
            }
            Control::Done(done) => {
                self.with_open(&done.destination, &done.batch, |open| {
                    if let Some(request) = done.request {
                        open.requests.insert(request);
                        return;
                    }
                    let last = open.plan.as_ref().map_or(done.ordinal, |plan| plan.objects.max(done.ordinal));
                    open.done.extend(done.ordinal..=done.ordinal.saturating_add(done.further).min(last));
                });
            }
            // They are no part of the state: the put table is rebuilt from all frames that tell of puts.
            Control::Puts(_) => {}
            Control::Failing(failing) => {
                self.with_open(&failing.destination, &failing.batch, |open| match failing.over {
                    true => open.failing_since = None,
                    false => {
                        open.failing_since.get_or_insert(failing.since);
                    }
                });
            }
        }
    }

    fn with_open(
        &mut self,
        destination: &DestinationId,
        batch: &BatchId,
        change: impl FnOnce(&mut OpenBatch),
    ) {
        if let Some(open) = self.destinations.get_mut(destination).and_then(|d| d.open.get_mut(batch)) {
            change(open);
        }
    }

    fn close(&mut self, close: &Close) {
        let Some(progress) = self.progress(&close.destination) else { return };
        if close.range.first > progress.cursor {
            // Batches are closed one behind the other: the CLOSE between cannot be read. Its records were perhaps
            // delivered, but nobody can know, so they go again, under an identity that every recovery comes to.
            let last = Position(close.range.first.0 - 1);
            let range = BatchRange { first: progress.cursor, last };
            let batch = BatchId(close.batch.0.map(|byte| !byte));
            progress.open.insert(batch, OpenBatch::new(Close { batch, range, ..close.clone() }));
        }
        progress.cursor = progress.cursor.max(close.range.end());
        let mut open = OpenBatch::new(close.clone());
        // What was given up is never sent again, whatever the batch is bound to anew.
        open.decided = progress.open.remove(&close.batch).map(|before| before.decided).unwrap_or_default();
        progress.open.insert(close.batch, open);
    }

    /// A destination's progress. Where the STATE that named the destinations was lost, whoever is named later is one.
    fn progress(&mut self, destination: &DestinationId) -> Option<&mut Progress> {
        if let Some(start) = self.unread_from {
            self.destinations.entry(destination.clone()).or_insert_with(|| Progress::starting_at(start));
        }
        self.destinations.get_mut(destination)
    }

    fn settle(&mut self, settle: &Settle) {
        let Some(progress) = self.progress(&settle.destination) else { return };
        let mut known = progress.open.remove(&settle.batch).is_some();
        if !known {
            // It may be the batch whose CLOSE was lost, opened again under another identity.
            let before = progress.open.len();
            progress.open.retain(|_, open| open.close.range != settle.range);
            known = progress.open.len() < before;
        }
        let ahead = settle.range.first >= progress.cursor;
        if known || ahead {
            // Nobody knows more of what lies between: two CLOSE frames are gone. It is told, not hidden.
            progress.tally.lost += settle.range.first.0.saturating_sub(progress.cursor.0);
            progress.cursor = progress.cursor.max(settle.range.end());
            progress.tally += settle.tally;
        }
    }

    /// The destinations that the stream has, those aside that are there only for a replay.
    pub fn lasting(&self) -> impl Iterator<Item = (&DestinationId, &Progress)> {
        self.destinations.iter().filter(|(_, progress)| progress.replay.is_none())
    }

    /// The open batches of a destination, and of its replays.
    pub fn open_of(&self, of: &DestinationId) -> impl Iterator<Item = &OpenBatch> {
        let is_of = move |id: &DestinationId, progress: &Progress| {
            progress.replay.as_ref().map_or(id, |replay| &replay.of) == of
        };
        let all = self.destinations.iter().filter(move |(id, progress)| is_of(id, progress));
        all.flat_map(|(_, progress)| progress.open.values())
    }

    /// The lowest position that some destination or replay still needs.
    pub fn lowest_unsettled(&self) -> Position {
        self.lowest_of(self.destinations.values())
    }

    /// Whether every record has its fate, whatever is replayed.
    pub fn is_settled(&self) -> bool {
        self.lowest_of(self.lasting().map(|(_, progress)| progress)) == self.next
    }

    /// How many records wait for a fate at one destination or more, each counted once, whatever is replayed.
    pub fn waiting(&self) -> u64 {
        let mut ranges: Vec<(Position, Position)> = Vec::new();
        for (_, progress) in self.lasting() {
            let open = progress.open.values().map(|open| (open.close.range.first, open.close.range.end()));
            ranges.extend(open.chain([(progress.cursor, self.next)]));
        }
        ranges.extend(self.unread_from.map(|first| (first, self.next)));
        ranges.sort_unstable();
        let mut counted = Position(0);
        let more = |(first, end): (Position, Position)| {
            let from = first.max(counted);
            counted = counted.max(end);
            end.0.saturating_sub(from.0)
        };
        ranges.into_iter().map(more).sum()
    }

    fn lowest_of<'a>(&self, progress: impl Iterator<Item = &'a Progress>) -> Position {
        let lowest = |progress: &Progress| {
            let open = progress.open.values().map(|open| open.close.range.first).min();
            open.map_or(progress.cursor, |first| first.min(progress.cursor))
        };
        progress.map(lowest).chain(self.unread_from).min().unwrap_or(self.next)
    }
}

impl OpenBatch {
    /// Adds what was given up to what was for the same reason: each request gives its own, and all are in every STATE.
    fn decide(&mut self, decide: &Decide) {
        let same = |before: &&mut Decide| {
            before.reason == decide.reason
                && before.message == decide.message
                && before.attempts == decide.attempts
        };
        let Some(before) = self.decided.iter_mut().find(same) else {
            return self.decided.push(decide.clone());
        };
        for rows in &decide.rows {
            match before.rows.last_mut().filter(|last| last.end() == rows.first) {
                Some(last) => last.last = rows.last,
                None => before.rows.push(*rows),
            }
        }
    }

    fn new(close: Close) -> Self {
        let (done, requests, decided) = (BTreeSet::new(), BTreeSet::new(), Vec::new());
        Self { close, plan: None, done, requests, decided, failing_since: None }
    }
}

impl Progress {
    /// A destination that takes everything from `start` on.
    pub fn starting_at(start: Position) -> Self {
        Self { start, cursor: start, ..Self::default() }
    }

    /// Records accepted since `start`, of a replay up to its end, that have no fate yet.
    pub fn in_journal(&self, next: Position) -> u64 {
        let end = self.replay.as_ref().map_or(next, |replay| replay.end);
        end.0.saturating_sub(self.start.0).saturating_sub(self.tally.total())
    }
}

/// Ordinals as runs: `[0, [2, 4]]` is 0, 2, 3 and 4.
mod runs {
    use std::collections::BTreeSet;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    #[serde(untagged)]
    enum Run {
        One(u32),
        From(u32, u32),
    }

    pub(super) fn serialize<S: Serializer>(of: &BTreeSet<u32>, serializer: S) -> Result<S::Ok, S::Error> {
        let all: Vec<u32> = of.iter().copied().collect();
        let runs = all.chunk_by(|a, b| a + 1 == *b).map(|run| match run {
            [one] => Run::One(*one),
            run => Run::From(run[0], run[run.len() - 1]),
        });
        serializer.collect_seq(runs)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeSet<u32>, D::Error> {
        let runs = Vec::<Run>::deserialize(deserializer)?;
        let mut all = BTreeSet::new();
        for run in runs {
            let (first, last) = match run {
                Run::One(one) => (one, one),
                Run::From(first, last) => (first, last),
            };
            if last.saturating_sub(first) > super::ORDINALS_MAX {
                return Err(serde::de::Error::custom("a run of ordinals that no batch has"));
            }
            all.extend(first..=last);
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests;
