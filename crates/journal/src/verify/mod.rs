//! Checking everything that can be checked in a journal's folder, without changing anything there.
//!
//! Heads, footers and their agreement with the frames; each frame's header, body and place; that positions are dense;
//! that control frames can be understood, that each STATE is what the frames before it come to, and that at the end
//! every position that was ever given out is settled, in an open batch, or still to be closed.
//!
//! Without the key of an encrypted segment, its bodies are checked by their CRCs alone: what its control frames say, and
//! with it the balance at the end, is then not looked at.
//!
//! The folder may be that of a running daemon. What looks wrong is therefore looked at twice: only what is wrong in
//! the same way both times is told.

mod fault;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use serde::Serialize;
use standpipe_model::{Position, RecordBlock};

pub use fault::{Fault, Problem};

use crate::control::{Control, Settle, State};
use crate::disk::Disk;
use crate::format::{Footer, FrameHeader, FrameKind, Head, HeadBytes};
use crate::inspect::{InspectError, SegmentFile, sequences};
use crate::keyed::Bodies;
use crate::keys::SegmentKeys;
use crate::recover::segment_path;
use crate::segment::{Extent, Step};

/// What [`verify`] found.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct VerifyReport {
    /// Segments that hold something.
    pub segments: u64,
    /// Frames that were checked.
    pub frames: u64,
    /// Records in them.
    pub records: u64,
    /// Their data bytes.
    pub record_bytes: u64,
    /// Bytes that were written but never confirmed. A crash leaves them, recovery cuts them off: they are no damage.
    pub torn_bytes: u64,
    /// Encrypted segments that were not looked into for want of their key, by the key's name.
    pub locked: BTreeMap<String, u64>,
    /// Files that recovery set aside earlier; their loss was told and counted then.
    pub set_aside: Vec<PathBuf>,
    /// The state that the frames come to.
    pub state: State,
    /// Everything that is wrong.
    pub problems: Vec<Problem>,
}

/// Checks the journal in `dir`; what is encrypted as far as `keys` has the key, and `()` has none.
///
/// # Errors
/// [`InspectError`]: the disk refused, so that nothing can be said.
pub fn verify(disk: &dyn Disk, dir: &Path, keys: &dyn SegmentKeys) -> Result<VerifyReport, InspectError> {
    let first = Pass::run(disk, dir, keys)?;
    if first.problems.is_empty() {
        return Ok(first);
    }
    let mut second = Pass::run(disk, dir, keys)?;
    second.problems.retain(|problem| first.problems.contains(problem));
    Ok(second)
}

/// One look at everything.
#[derive(Debug, Default)]
struct Pass {
    report: VerifyReport,
    /// The position that comes next.
    next: Position,
    /// The sequence of the segment before.
    after: Option<u64>,
    /// There was a STATE, and `report.state` is what came of it.
    state: bool,
    /// Something was missed, so that a STATE may know more than the frames that were read.
    blurred: bool,
    /// Positions that are not there; whether that matters is known when the state is.
    gaps: Vec<Gap>,
}

#[derive(Debug)]
struct Gap {
    path: PathBuf,
    offset: Option<u64>,
    first: Position,
    next: Position,
}

/// The segment that is being looked at.
struct At<'a> {
    path: &'a Path,
    extent: Extent,
    number: u64,
    damaged: bool,
    /// Encrypted bodies cannot be looked into.
    locked: bool,
}

impl Pass {
    fn run(disk: &dyn Disk, dir: &Path, keys: &dyn SegmentKeys) -> Result<VerifyReport, InspectError> {
        let mut pass = Self::default();
        let mut files = Vec::new();
        for sequence in sequences(disk, dir)? {
            let path = segment_path(dir, sequence);
            let file = SegmentFile::open(disk, &path, sequence);
            files.extend(file.map_err(|source| InspectError { path, source })?);
        }
        for file in &files {
            let checked = pass.segment(file, keys);
            checked.map_err(|source| InspectError { path: file.path.clone(), source })?;
        }
        let entries = disk.list(dir).map_err(|source| InspectError { path: dir.to_owned(), source })?;
        let aside = entries.iter().filter(|entry| entry.name.ends_with(".damaged"));
        pass.report.set_aside = aside.map(|entry| dir.join(&entry.name)).collect();
        pass.report.set_aside.sort();
        pass.finish(dir);
        Ok(pass.report)
    }

    fn problem(&mut self, path: &Path, offset: impl Into<Option<u64>>, fault: Fault) {
        self.blurred = true;
        self.report.problems.push(Problem { path: path.to_owned(), offset: offset.into(), fault });
    }

    fn segment(&mut self, file: &SegmentFile, keys: &dyn SegmentKeys) -> io::Result<()> {
        let (path, known) = (&file.path, file.known());
        let unreadable = match &file.head {
            HeadBytes::Blank => return Ok(()),
            HeadBytes::Newer(found) => Some(Fault::Newer { found: *found }),
            HeadBytes::Valid(_) | HeadBytes::Damaged => known.is_none().then_some(Fault::Head),
        };
        if let Some(fault) = unreadable {
            self.problem(path, None, fault);
        }
        let Some(head) = known else { return Ok(()) };
        if head.sequence != file.sequence {
            self.problem(path, None, Fault::Sequence { sequence: head.sequence });
        }
        if u64::from(head.capacity) != file.bytes {
            self.problem(path, None, Fault::Length { found: file.bytes, expected: head.capacity.into() });
        }
        if file.footer_damaged {
            self.problem(path, None, Fault::Footer);
        }
        self.report.torn_bytes += file.torn_bytes();
        if !file.is_empty() {
            self.report.segments += 1;
            // A settled segment may stay when its successor is gone already: then frames lie between that nobody sees.
            self.blurred |= self.after.is_some_and(|after| after + 1 != file.sequence);
            self.after = Some(file.sequence);
            self.arrive(path, None, head.first);
            self.frames(file, head, keys)?;
        }
        Ok(())
    }

    fn frames(&mut self, file: &SegmentFile, head: &Head, keys: &dyn SegmentKeys) -> io::Result<()> {
        let mut bodies = file.bodies(keys);
        if matches!(bodies, Bodies::Lost) {
            self.problem(&file.path, None, Fault::KeySlots);
            bodies = Bodies::Raw;
        }
        let locked = matches!(bodies, Bodies::Raw);
        if locked {
            *self.report.locked.entry(file.key().unwrap_or_default()).or_default() += 1;
        }
        let extent = Extent::empty(head.first);
        let mut at = At { path: &file.path, extent, number: 0, damaged: false, locked };
        let Some(mut walk) = file.walk(bodies) else { return Ok(()) };
        while let Some(step) = walk.next()? {
            match step {
                Step::Gap { offset } => {
                    at.damaged = true;
                    self.problem(at.path, offset, Fault::NoFrame);
                }
                Step::Frame { offset, header, body } => self.frame(&mut at, offset, &header, body),
            }
            at.number += 1;
        }
        self.report.records += at.extent.records;
        self.report.record_bytes += at.extent.record_bytes;
        if let Some(footer) = file.footer.as_ref().filter(|_| !at.damaged) {
            self.footer(&at, head, footer);
        }
        Ok(())
    }

    fn frame(&mut self, at: &mut At<'_>, offset: u64, header: &FrameHeader, body: Option<Bytes>) {
        self.report.frames += 1;
        self.arrive(at.path, Some(offset), header.first);
        self.next = self.next.max(header.end());
        at.extent.extend(offset, header);
        if u64::from(header.group_start) > offset {
            self.problem(at.path, offset, Fault::Group { group_start: header.group_start });
        }
        if at.number == 0 && header.kind != FrameKind::State {
            self.problem(at.path, offset, Fault::NoState);
        }
        self.report.state.reach(header.first);
        if header.kind == FrameKind::Data {
            self.report.state.accept(header.count, header.record_bytes(), header.arrived_at);
        }
        let (kind, first, count) = (header.kind.name(), header.first, header.count);
        let Some(body) = body else {
            at.damaged = true;
            return self.problem(at.path, offset, Fault::Body { kind, first, count });
        };
        if at.locked {
            self.blurred = true;
            return;
        }
        match Control::decode(header.kind, &body) {
            Ok(Some(control)) => self.control(at, offset, &control),
            Ok(None) => {
                let block = RecordBlock::from_payload(body.slice(usize::from(header.source_len)..));
                if block.map(|block| block.count()) != Some(count) {
                    self.problem(at.path, offset, Fault::Records { count });
                }
            }
            Err(error) => {
                let error = error.to_string();
                self.problem(at.path, offset, Fault::Control { kind, error });
            }
        }
    }

    fn control(&mut self, at: &At<'_>, offset: u64, control: &Control) {
        match control {
            Control::Settle(Settle { batch, range, tally, .. }) if range.count() != tally.total() => {
                let (batch, expected, found) = (*batch, range.count(), tally.total());
                self.problem(at.path, offset, Fault::Fates { batch, expected, found });
            }
            Control::State(state) => {
                let known = self.state && !self.blurred;
                if known && at.number == 0 && **state != self.report.state {
                    self.problem(at.path, offset, Fault::StateDiffers);
                }
                (self.state, self.blurred) = (true, false);
            }
            _ => {}
        }
        self.report.state.apply(control);
    }

    /// Goes on to the position `found`, and takes note where it is not the one that comes next.
    fn arrive(&mut self, path: &Path, offset: Option<u64>, found: Position) {
        let expected = self.next;
        if found < expected {
            self.problem(path, offset, Fault::Again { expected, found });
        }
        if found > expected {
            self.blurred = true;
            self.gaps.push(Gap { path: path.to_owned(), offset, first: expected, next: found });
            self.next = found;
        }
    }

    fn footer(&mut self, at: &At<'_>, head: &Head, footer: &Footer) {
        let extent = &at.extent;
        let min_arrived = extent.min_arrived.unwrap_or(extent.max_arrived);
        let pairs = [
            ("as its sequence", footer.sequence, head.sequence),
            ("as the first position", footer.first.0, head.first.0),
            ("as the next position", footer.next.0, extent.next.0),
            ("records", footer.records, extent.records),
            ("record bytes", footer.record_bytes, extent.record_bytes),
            ("as the earliest arrival", footer.min_arrived.0, min_arrived.0),
            ("as the latest arrival", footer.max_arrived.0, extent.max_arrived.0),
            ("as the end of the frames", footer.data_end.into(), extent.data_end),
            ("frames", footer.frames.into(), extent.frames.into()),
        ];
        for (what, footer, frames) in pairs {
            if footer != frames {
                self.problem(at.path, None, Fault::Disagree { what, footer, frames });
            }
        }
    }

    /// What can only be told at the end.
    fn finish(&mut self, dir: &Path) {
        // What is settled was forgotten on purpose; a gap behind it was not. Where nobody can know what is settled, only
        // gaps within a segment are told.
        let locked = !self.report.locked.is_empty();
        let lowest = if locked { Position(0) } else { self.report.state.lowest_unsettled() };
        for Gap { path, offset, first, next } in std::mem::take(&mut self.gaps) {
            if locked && offset.is_none() {
                continue;
            }
            let first = first.max(lowest);
            if first < next {
                self.problem(&path, offset, Fault::Missing { first, last: Position(next.0 - 1) });
            }
        }
        if locked {
            return;
        }
        let next = self.report.state.next;
        for (destination, progress) in self.report.state.destinations.clone() {
            let open: u64 = progress.open.values().map(|open| open.close.range.count()).sum();
            let closed = progress.cursor.0.saturating_sub(progress.start.0);
            let (accounted, cursor) = (progress.tally.total() + open, progress.cursor);
            if cursor > next {
                let destination = destination.clone();
                self.problem(dir, None, Fault::Cursor { destination, cursor, next });
            }
            if accounted != closed {
                self.problem(dir, None, Fault::Conservation { destination, closed, accounted });
            }
        }
    }
}
