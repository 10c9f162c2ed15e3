//! The writing end: gathers what waits into one write and one sync, and moves on to the next segment.
//!
//! ```text
//!   idle ──op──► gather ──► lay out ──► write ──► sync ──► publish ──► answer
//!                   │ does not fit                 │ error
//!                   ▼                              ▼
//!                rotate: allocate, seal, open    poisoned: refuse, back off, copy what is durable, go on
//! ```
//!
//! # Invariants
//! - Nothing is published (read, counted, answered) before the sync that covers it returned.
//! - The next segment's space is allocated before the current one is sealed, so that a full disk leaves the current
//!   segment's reserve to control frames.
//! - After a failed write or sync the file is not written again: what is durable is copied out of it.

mod reclaim;
mod rotate;

pub(crate) use reclaim::Keeping;
pub use reclaim::Kept;
pub(crate) use rotate::{SPARE_NAME, version_of, write_head};

use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use standpipe_model::Timestamp;
use tokio::sync::oneshot;

use crate::budget::Shortage;
use crate::cipher::Cipher;
use crate::control::{Control, State};
use crate::disk::DiskFile;
use crate::format::{BODY_MAX, ENCRYPTED_EXTRA, FrameHeader, FrameKind, HEADER_LEN, frame_len};
use crate::journal::{Append, AppendError, AppendReceipt, Shared, Tip};
use crate::keys::{KeyTrouble, TroubleKind};
use crate::segment::{Segment, frames_end};

/// The most bytes written and synced at once; bounds how long one put waits behind others.
const GROUP_BYTES: u64 = 16 << 20;
/// Control frames of so many bytes are looked at as to what the state becomes by them: each segment begins with it.
const NOTABLE_BYTES: usize = 1 << 20;

/// Something that waits to be written.
#[derive(Debug)]
pub(crate) struct Op {
    what: What,
    arrived_at: Timestamp,
}

pub(crate) type Change = Box<dyn FnOnce(&mut State) + Send>;

enum What {
    Data { put: Append, body_crc: u32, reply: oneshot::Sender<Result<AppendReceipt, AppendError>> },
    Control { frames: Vec<(Control, Vec<u8>)>, reply: oneshot::Sender<Result<(), AppendError>> },
    Change { change: Change, reply: oneshot::Sender<Result<(), AppendError>> },
}

impl std::fmt::Debug for What {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Data { .. } => "Data",
            Self::Control { .. } => "Control",
            Self::Change { .. } => "Change",
        })
    }
}

impl Op {
    pub(crate) fn data(
        put: Append,
        body_crc: u32,
        arrived_at: Timestamp,
        reply: oneshot::Sender<Result<AppendReceipt, AppendError>>,
    ) -> Self {
        Self { what: What::Data { put, body_crc, reply }, arrived_at }
    }

    pub(crate) fn control(
        frames: Vec<Control>,
        arrived_at: Timestamp,
        reply: oneshot::Sender<Result<(), AppendError>>,
    ) -> Self {
        let frames =
            frames.into_iter().map(|frame| (frame.encode(), frame)).map(|(body, frame)| (frame, body));
        Self { what: What::Control { frames: frames.collect(), reply }, arrived_at }
    }

    pub(crate) fn change(
        change: Change,
        arrived_at: Timestamp,
        reply: oneshot::Sender<Result<(), AppendError>>,
    ) -> Self {
        Self { what: What::Change { change, reply }, arrived_at }
    }

    fn is_data(&self) -> bool {
        matches!(self.what, What::Data { .. })
    }

    /// The largest body of a control frame.
    fn body_max(&self) -> usize {
        match &self.what {
            What::Control { frames, .. } => {
                frames.iter().map(|(_, body)| body.len()).max().unwrap_or_default()
            }
            What::Data { .. } | What::Change { .. } => 0,
        }
    }

    /// The bytes that it takes in a segment where each body grows by `extra`.
    fn len(&self, extra: usize) -> u64 {
        match &self.what {
            What::Data { put, .. } => frame_len(put.body_len() + extra),
            What::Control { frames, .. } => {
                frames.iter().map(|(_, body)| frame_len(body.len() + extra)).sum()
            }
            What::Change { .. } => 0,
        }
    }
}

impl Append {
    fn body_len(&self) -> usize {
        self.source.as_deref().map_or(0, <[u8]>::len) + self.block.payload().len()
    }
}

/// The writing end's own state, held by whichever thread commits.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    active: Option<Active>,
    prepared: Option<Prepared>,
    /// A settled segment's file, kept to become the next one: its blocks are allocated and written already.
    spare: Option<Spare>,
    next_sequence: u64,
    size_class: u64,
    heal_backoff_ms: u64,
    poisoned: bool,
    /// Settled segments whose files could not be removed yet.
    lingering: Vec<Arc<Segment>>,
    /// Encrypted segments were removed, and a power cut may still bring them back, with keys that are not needed any
    /// more by then.
    fading: bool,
    trimmed: reclaim::Trimmed,
    /// When it was told last that kept segments had to go, in steady milliseconds.
    cut_told: Option<u64>,
}

#[derive(Debug)]
struct Active {
    segment: Arc<Segment>,
    file: Arc<dyn DiskFile>,
    /// The keys' epoch that it was made in; when they are in another, the next frame goes into another segment.
    epoch: u64,
    /// Where the next frame goes; `segment.extent().data_end` is what is durable.
    end: u64,
    opened_ms: u64,
    /// The STATE frame that a segment begins with; it goes out with the first run.
    preface: Option<Op>,
}

#[derive(Debug)]
struct Prepared {
    sequence: u64,
    path: PathBuf,
    capacity: u64,
    file: Arc<dyn DiskFile>,
    /// Its file has held plain records.
    held_plain: bool,
}

#[derive(Debug)]
struct Spare {
    path: PathBuf,
    capacity: u64,
    /// It has held plain records.
    held_plain: bool,
}

enum RotateError {
    /// A body of the segment that would be.
    TooLarge(AppendError),
    NoRoom(Shortage),
    NoKey(KeyTrouble),
    Io(io::Error),
}

impl From<io::Error> for RotateError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::NoRoom(Shortage::Disk),
            _ => Self::Io(error),
        }
    }
}

/// Control frames alone may use this tail of a segment.
fn control_reserve(capacity: u64) -> u64 {
    (capacity / 16).clamp(8 << 10, 256 << 10)
}

/// One run of frames laid out for one write.
#[derive(Default)]
struct Layout {
    headers: Vec<(u64, FrameHeader)>,
    /// The frames' bodies in the same order, where they are encrypted.
    encrypted: Vec<Vec<u8>>,
    bytes: u64,
}

impl Shared {
    /// Writes what waits. Returns whether more has come meanwhile, in which case the caller commits again.
    pub(crate) fn commit(self: &Arc<Self>) -> bool {
        let mut writer = self.writer.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let group = self.take_group();
        if !group.is_empty() {
            self.write_group(&mut writer, group);
            self.prepare(&mut writer);
            self.reclaim(&mut writer);
            self.look_at_pressure();
        }
        let mut queue = self.queue();
        queue.scheduled = !queue.ops.is_empty();
        queue.scheduled
    }

    /// Whether the active segment may be written on: its key is the one that is wanted, and known.
    fn may_go_on(&self, writer: &Writer) -> bool {
        writer.active.as_ref().is_some_and(|active| {
            let keyed = active.segment.keyed.as_ref();
            active.epoch == self.keys.epoch() && keyed.is_none_or(|keyed| keyed.cipher().is_some())
        })
    }

    fn take_group(&self) -> VecDeque<Op> {
        let mut queue = self.queue();
        let mut bytes = 0;
        let count = queue.ops.iter().take_while(|op| {
            let first = bytes == 0;
            bytes += op.len(0);
            first || bytes <= GROUP_BYTES
        });
        let count = count.count();
        queue.ops.drain(..count).collect()
    }

    fn write_group(&self, writer: &mut Writer, mut group: VecDeque<Op>) {
        if writer.poisoned && !self.heal(writer) {
            return self.refuse(group, &AppendError::Poisoned);
        }
        while let Some(op) = group.front_mut() {
            self.resolve_change(op);
            if let Err(error) = self.check_size(op) {
                let refused = group.drain(..1).collect();
                self.refuse(refused, &error);
                continue;
            }
            let data = op.is_data();
            if op.len(0) > 0 && !(self.may_go_on(writer) && writer.has_room(op.len(writer.extra()), data)) {
                if data {
                    self.make_way(writer, writer.will_allocate(op.len(ENCRYPTED_EXTRA)));
                }
                match self.rotate(writer, op.len(ENCRYPTED_EXTRA), data) {
                    Ok(()) => {}
                    Err(RotateError::TooLarge(error)) => {
                        let refused = group.drain(..1).collect();
                        self.refuse(refused, &error);
                        continue;
                    }
                    Err(RotateError::NoKey(trouble)) => {
                        let refused = group.drain(..1).collect();
                        self.refuse(refused, &AppendError::Key(trouble));
                        continue;
                    }
                    Err(RotateError::NoRoom(shortage)) => {
                        self.run_short(shortage, data);
                        let refused = group.drain(..1).collect();
                        self.refuse(refused, &AppendError::Full(shortage));
                        continue;
                    }
                    Err(RotateError::Io(error)) => {
                        self.poison(writer, &error);
                        return self.refuse(group, &AppendError::Poisoned);
                    }
                }
            }
            let run = self.take_run(writer, &mut group);
            if let Err((error, run)) = self.write_run(writer, run) {
                self.poison(writer, &error);
                self.refuse(run, &AppendError::Poisoned);
                return self.refuse(group, &AppendError::Poisoned);
            }
        }
    }

    /// The ops at the front of `group` that fit into the active segment. A change of state ends the run before it, as it
    /// builds on the state that is published.
    fn take_run(&self, writer: &Writer, group: &mut VecDeque<Op>) -> VecDeque<Op> {
        let mut run = VecDeque::new();
        let mut bytes = 0;
        while let Some(op) = group.front() {
            let change = matches!(op.what, What::Change { .. });
            let len = op.len(writer.extra());
            let fits = || writer.has_room(bytes + len, op.is_data()) && self.check_size(op).is_ok();
            if !run.is_empty() && (change || !fits()) {
                break;
            }
            bytes += len;
            run.extend(group.pop_front());
        }
        run
    }

    /// Returns whether the run was written; where not, those who wait for it were told.
    fn write_run(
        &self,
        writer: &mut Writer,
        mut run: VecDeque<Op>,
    ) -> Result<bool, (io::Error, VecDeque<Op>)> {
        let Some(active) = writer.active.as_mut() else {
            // Only a run without a frame comes here: it asks to be told when everything before it is durable.
            self.answer(None, &Layout::default(), run);
            return Ok(true);
        };
        let keyed = active.segment.keyed.as_ref();
        let cipher = keyed.and_then(|keyed| keyed.cipher());
        if let Some(slots) = keyed.filter(|_| cipher.is_none()).and_then(|keyed| keyed.slots()) {
            // Keys are forgotten between two commits alone; but nothing may ever be written in the clear here.
            let (key, kind) = (slots.wrapped.key, TroubleKind::Unreachable);
            let reason = "it was forgotten this very moment".to_owned();
            self.refuse(run, &AppendError::Key(KeyTrouble { key, kind, reason }));
            return Ok(false);
        }
        if let Some(preface) = active.preface.take() {
            run.push_front(preface);
        }
        let layout = self.lay_out(active, cipher.as_deref(), &run);
        let started = self.shelf.clock.steady();
        if let Err(error) = active.write(&layout, &run) {
            return Err((error, run));
        }
        self.shelf.observer.synced(layout.bytes, self.shelf.clock.steady().saturating_sub(started));
        active.end += layout.bytes;
        let segment = Arc::clone(&active.segment);
        writer.heal_backoff_ms = 0;
        self.publish(segment, &layout, run);
        Ok(true)
    }

    /// Checks that a reader will believe what an op comes to.
    fn check_size(&self, op: &Op) -> Result<(), AppendError> {
        believable(op.body_max())?;
        match &op.what {
            What::Control { frames, .. } if op.len(0) >= NOTABLE_BYTES as u64 => {
                let mut state = self.view().state.clone();
                frames.iter().for_each(|(frame, _)| state.apply(frame));
                believable(Control::State(Box::new(state)).encode().len())
            }
            _ => Ok(()),
        }
    }

    /// Turns a change of state into the STATE frame that it comes to.
    fn resolve_change(&self, op: &mut Op) {
        if !matches!(op.what, What::Change { .. }) {
            return;
        }
        let (reply, _) = oneshot::channel();
        let empty = What::Control { frames: Vec::new(), reply };
        if let What::Change { change, reply } = std::mem::replace(&mut op.what, empty) {
            let mut state = self.view().state.clone();
            change(&mut state);
            let frame = Control::State(Box::new(state));
            let body = frame.encode();
            op.what = What::Control { frames: vec![(frame, body)], reply };
        }
    }

    fn lay_out(&self, active: &Active, cipher: Option<&Cipher>, run: &VecDeque<Op>) -> Layout {
        let durable = active.segment.extent().data_end;
        let mut next = self.view().state.next;
        let mut layout = Layout::default();
        let steady = u32::try_from(self.steady_ms().saturating_sub(active.opened_ms)).unwrap_or(u32::MAX);
        let mut add = |mut header: FrameHeader, body: &[&[u8]]| {
            if let Some(cipher) = cipher {
                let body = cipher.encrypt(&header, body, self.shelf.entropy.as_ref());
                (header.encrypted, header.body_len) = (true, body.len() as u32);
                header.body_crc = crc32c::crc32c(&body);
                layout.encrypted.push(body);
            }
            layout.headers.push((active.end + layout.bytes, header));
            layout.bytes += header.frame_len();
        };
        for op in run {
            let blank = FrameHeader {
                kind: FrameKind::State,
                encrypted: false,
                body_len: 0,
                body_crc: 0,
                source_len: 0,
                count: 0,
                first: next,
                group_start: u32::try_from(durable).unwrap_or(u32::MAX),
                steady,
                arrived_at: op.arrived_at,
                digest: None,
            };
            match &op.what {
                What::Data { put, body_crc, .. } => {
                    let count = put.block.count();
                    let source = put.source.as_deref().unwrap_or_default();
                    let source_len = source.len() as u16;
                    let (kind, digest) = (FrameKind::Data, put.digest);
                    let (body_len, body_crc) = (put.body_len() as u32, *body_crc);
                    let header = FrameHeader { kind, body_len, body_crc, source_len, count, digest, ..blank };
                    add(header, &[source, put.block.payload()]);
                    next = next.advance(u64::from(count));
                }
                What::Control { frames, .. } => {
                    for (frame, body) in frames {
                        let (body_len, body_crc) = (body.len() as u32, crc32c::crc32c(body));
                        add(
                            FrameHeader { kind: frame.kind(), body_len, body_crc, first: next, ..blank },
                            &[body],
                        );
                    }
                }
                What::Change { .. } => {}
            }
        }
        layout
    }

    /// Makes a durable run visible and answers those who wait for it.
    fn publish(&self, segment: Arc<Segment>, layout: &Layout, run: VecDeque<Op>) {
        let bytes = {
            let mut extent = segment.extent();
            for (offset, header) in &layout.headers {
                extent.extend(*offset, header);
            }
            segment.base_bytes + extent.record_bytes
        };
        let mut view = self.view();
        view.segments.entry(segment.sequence).or_insert_with(|| Arc::clone(&segment));
        let mut headers = layout.headers.iter();
        for op in &run {
            match &op.what {
                What::Data { put, .. } => {
                    headers.next();
                    view.state.accept(put.block.count(), put.block.record_bytes(), op.arrived_at);
                }
                What::Control { frames, .. } => {
                    for (frame, _) in frames {
                        headers.next();
                        view.state.apply(frame);
                    }
                }
                What::Change { .. } => {}
            }
        }
        let tip = Tip { next: view.state.next, bytes };
        drop(view);
        self.tip.send_replace(tip);
        self.answer(Some(&segment), layout, run);
    }

    fn answer(&self, segment: Option<&Segment>, layout: &Layout, run: VecDeque<Op>) {
        let now = self.steady_ms();
        let mut queue = self.queue();
        queue.poisoned_until = None;
        let mut data = layout.headers.iter().filter(|(_, header)| header.kind == FrameKind::Data);
        for op in run {
            // Who hung up needs no answer: a failed send is nobody's loss.
            match op.what {
                What::Data { put, reply, .. } => {
                    let (Some((_, header)), Some(segment)) = (data.next(), segment) else { continue };
                    let receipt = segment.receipt(header);
                    if let Some(digest) = put.digest {
                        queue.puts.finish(digest, &Ok(receipt), segment.sequence, now);
                    }
                    drop(reply.send(Ok(receipt)));
                }
                What::Control { reply, .. } | What::Change { reply, .. } => drop(reply.send(Ok(()))),
            }
        }
    }

    fn refuse(&self, ops: VecDeque<Op>, error: &AppendError) {
        let mut queue = self.queue();
        for op in ops {
            match op.what {
                What::Data { put, reply, .. } => {
                    if let Some(digest) = put.digest {
                        queue.puts.finish(digest, &Err(error.clone()), 0, 0);
                    }
                    drop(reply.send(Err(error.clone())));
                }
                What::Control { reply, .. } | What::Change { reply, .. } => {
                    drop(reply.send(Err(error.clone())));
                }
            }
        }
    }

    /// From now on puts are refused at the door, until there is room again.
    fn run_short(&self, shortage: Shortage, data: bool) {
        if data {
            let mut queue = self.queue();
            queue.shortage_looked = self.steady_ms();
            if queue.shortage.replace(shortage).is_none() {
                tracing::warn!(dir = %self.dir.display(), %shortage, "journal is full, puts are refused");
            }
        }
    }
}

impl Writer {
    pub(crate) fn starting_at(next_sequence: u64) -> Self {
        Self { next_sequence, ..Self::default() }
    }

    /// The segment that is written to.
    pub(crate) fn begun(&self) -> Option<&Arc<Segment>> {
        self.active.as_ref().map(|active| &active.segment)
    }

    /// How much each body grows in the active segment.
    fn extra(&self) -> usize {
        self.active.as_ref().map_or(0, Active::extra)
    }

    fn has_room(&self, bytes: u64, data: bool) -> bool {
        self.active.as_ref().is_some_and(|active| {
            let capacity = active.segment.capacity;
            let reserve = if data { control_reserve(capacity) } else { 0 };
            let preface = active.preface.as_ref().map_or(0, |preface| preface.len(active.extra()));
            active.end + preface + bytes + reserve <= frames_end(capacity)
        })
    }
}

impl Active {
    fn extra(&self) -> usize {
        if self.segment.keyed.is_some() { ENCRYPTED_EXTRA } else { 0 }
    }

    fn write<'a>(&self, layout: &'a Layout, run: &'a VecDeque<Op>) -> io::Result<()> {
        let headers: Vec<[u8; HEADER_LEN]> =
            layout.headers.iter().map(|(_, header)| header.encode(self.segment.id)).collect();
        let mut pieces: Vec<&[u8]> = Vec::with_capacity(headers.len() * 3);
        let mut number = 0;
        let mut push = |body: &[&'a [u8]]| {
            match layout.encrypted.get(number) {
                Some(encrypted) => push_frame(&mut pieces, &headers[number], &[encrypted]),
                None => push_frame(&mut pieces, &headers[number], body),
            }
            number += 1;
        };
        for op in run {
            match &op.what {
                What::Data { put, .. } => {
                    let source = put.source.as_deref().unwrap_or_default();
                    push(&[source, put.block.payload()]);
                }
                What::Control { frames, .. } => frames.iter().for_each(|(_, body)| push(&[body])),
                What::Change { .. } => {}
            }
        }
        if !pieces.is_empty() {
            self.file.write_at(&pieces, self.end)?;
            self.file.sync_data()?;
        }
        Ok(())
    }
}

fn believable(body_len: usize) -> Result<(), AppendError> {
    let bytes = (body_len + ENCRYPTED_EXTRA) as u64;
    if bytes <= u64::from(BODY_MAX) { Ok(()) } else { Err(AppendError::TooLarge(bytes)) }
}

/// Adds a frame's pieces: header, body and the zeros up to the next multiple of 8.
fn push_frame<'a>(pieces: &mut Vec<&'a [u8]>, header: &'a [u8; HEADER_LEN], body: &[&'a [u8]]) {
    const PADDING: &[u8; 8] = &[0; 8];
    let len: usize = body.iter().map(|part| part.len()).sum();
    pieces.push(header);
    pieces.extend(body.iter().filter(|part| !part.is_empty()));
    let padding = frame_len(len) as usize - HEADER_LEN - len;
    if padding > 0 {
        pieces.push(&PADDING[..padding]);
    }
}
