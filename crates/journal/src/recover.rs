//! Opening a journal: the only start-up path, after a clean stop as after a crash.
//!
//! Heads and footers are read; an unsealed tail is scanned, cut where it is torn, and copied into a sealed segment of
//! the same id, so that what is read from then on is known to be on the disk. The next append starts a new segment.
//! Damage never stops it: what cannot be read is set aside, counted and reported.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};

use standpipe_model::Position;
use tokio::sync::watch;

use crate::control::{Control, State};
use crate::disk::{DirEntry, Disk, DiskFile};
use crate::format::{
    FOOTER_LEN, Footer, FrameHeader, FrameKind, HEAD_LEN, HEADER_LEN, Head, HeadBytes, KEYED, PLAIN_VERSION,
    SegmentId, VERSION, frame_len,
};
use crate::journal::{Journal, JournalOptions, Queue, Shared, Shelf, Tip, View};
use crate::keyed::{Bodies, Keyed};
use crate::keys::{KeyTrouble, SegmentKeys};
use crate::puts::REMEMBERED_MS;
use crate::segment::{Extent, Segment, SegmentPlace, Step, Walker, frames_end, tail_end};
use crate::slots;
use crate::spool;
use crate::writer::{Keeping, Writer};

/// No journal comes to so many segments.
const SEQUENCE_END: u64 = 1 << 63;

/// A journal could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// It was written by a newer standpipe.
    #[error("{} has journal format {found}; this build reads up to {known}", path.display())]
    Newer {
        /// The segment.
        path: PathBuf,
        /// Its format version.
        found: u16,
        /// The newest version that this build reads.
        known: u16,
    },
    /// A key that its decisions are encrypted with cannot be had. Nothing is lost; it may be opened again when it can.
    #[error("cannot read the journal in {}", dir.display())]
    Key {
        /// The journal's folder.
        dir: PathBuf,
        /// The key, and what is the matter with it.
        source: KeyTrouble,
    },
    /// The disk refused.
    #[error("cannot open the journal in {}", dir.display())]
    Io {
        /// The journal's folder.
        dir: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
}

/// What recovery found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RecoveryReport {
    /// Segments that hold something.
    pub segments: usize,
    /// Bytes that were written but never confirmed, and are cut off.
    pub torn_bytes: u64,
    /// Ranges of positions that cannot be read: the first of each, and the one behind it.
    pub lost: Vec<(Position, Position)>,
    /// Files that were set aside because they could not be read.
    pub set_aside: Vec<PathBuf>,
    /// The last frame before the stop.
    pub last_frame: Option<FrameKind>,
    /// Batches that are closed and not settled.
    pub open_batches: usize,
    /// Of these, those with an object that had been delivered.
    pub partly_done: usize,
}

impl RecoveryReport {
    /// How many records cannot be read.
    pub fn lost_records(&self) -> u64 {
        self.lost.iter().map(|(first, next)| next.0 - first.0).sum()
    }
}

/// The path of a segment.
pub(crate) fn segment_path(dir: &Path, sequence: u64) -> PathBuf {
    dir.join(format!("{sequence:020}.seg"))
}

/// The sequence that a file's name tells of; `None` for a name that no journal gives, whose file is left alone.
pub(crate) fn sequence_in(name: &str, ending: &str) -> Option<u64> {
    let digits = name.strip_suffix(ending).filter(|digits| digits.len() == 20 && !digits.starts_with('+'))?;
    digits.parse().ok().filter(|sequence| *sequence < SEQUENCE_END)
}

pub(crate) fn open(
    dir: &Path,
    options: JournalOptions,
    shelf: Shelf,
    keys: Arc<dyn SegmentKeys>,
) -> Result<(Journal, RecoveryReport), OpenError> {
    let io = |source: io::Error| match KeyTrouble::behind(&source) {
        Some(trouble) => OpenError::Key { dir: dir.to_owned(), source: trouble.clone() },
        None => OpenError::Io { dir: dir.to_owned(), source },
    };
    let disk = Arc::clone(shelf.budget.disk());
    disk.create_dir(dir).map_err(io)?;
    let mut report = RecoveryReport::default();
    let (segments, next_sequence) = read_segments(disk.as_ref(), dir, &mut report)?;
    let mut view = View::default();
    let (mut end, mut bytes, mut gaps) = (Position(0), 0, Vec::new());
    for (mut place, extent) in segments {
        if place.first > end {
            gaps.push((end, place.first));
        }
        place.base_bytes = bytes;
        (end, bytes) = (extent.next.max(end), bytes + extent.record_bytes);
        let segment = Segment::new(place, extent);
        gaps.extend(segment.missing(disk.as_ref()).map_err(io)?);
        view.segments.insert(segment.sequence, Arc::new(segment));
    }
    view.state = read_state(disk.as_ref(), &view, keys.as_ref(), &mut report).map_err(io)?;
    view.state.next = view.state.next.max(end);
    // What is settled was forgotten on purpose; a gap behind it was not.
    let lowest = view.state.lowest_unsettled();
    let unsettled = gaps.into_iter().map(|(first, next)| (first.max(lowest), next));
    report.lost.extend(unsettled.filter(|(first, next)| first < next));
    report.segments = view.segments.len();
    let open = || view.state.destinations.values().flat_map(|progress| progress.open.values());
    report.open_batches = open().count();
    report.partly_done = open().filter(|open| !open.done.is_empty()).count();
    let mut queue = Queue { last_arrival: view.state.last_arrival, ..Queue::default() };
    read_puts(disk.as_ref(), &view, &shelf, keys.as_ref(), &mut queue).map_err(io)?;
    let (spools, spooled) = spool::recover(disk.as_ref(), dir, &view.state).map_err(io)?;
    let used = view.segments.values().map(|segment| segment.capacity).sum::<u64>() + spooled;
    shelf.budget.take(used);
    let tip = watch::Sender::new(Tip { next: view.state.next, bytes });
    let shared = Shared {
        dir: dir.to_owned(),
        options,
        shelf,
        keys,
        used: AtomicU64::new(used),
        queue: Mutex::new(queue),
        view: Mutex::new(view),
        writer: Mutex::new(Writer::starting_at(next_sequence)),
        spools: Mutex::new(spools),
        keeping: Keeping::default(),
        tip,
        pressure: watch::Sender::new(Position(0)),
    };
    Ok((Journal(Arc::new(shared)), report))
}

type Found = (SegmentPlace, Extent);

fn read_segments(
    disk: &dyn Disk,
    dir: &Path,
    report: &mut RecoveryReport,
) -> Result<(Vec<Found>, u64), OpenError> {
    let io = |source| OpenError::Io { dir: dir.to_owned(), source };
    let sequences = tidy(disk, dir).map_err(io)?;
    let mut found = Vec::new();
    // The newest first: a prepared file that is removed makes room for the copy of the tail before it.
    for sequence in sequences.iter().rev() {
        found.extend(read_segment(disk, dir, *sequence, report)?);
    }
    found.reverse();
    report.set_aside.reverse();
    disk.sync_dir(dir).map_err(io)?;
    Ok((found, sequences.last().map_or(0, |last| last + 1)))
}

/// Removes what a crash left half made; returns the sequences of the segments.
fn tidy(disk: &dyn Disk, dir: &Path) -> io::Result<Vec<u64>> {
    let entries = disk.list(dir)?;
    let mut sequences: Vec<u64> =
        entries.iter().filter_map(|entry| sequence_in(&entry.name, ".seg")).collect();
    for DirEntry { name, .. } in &entries {
        if name != crate::writer::SPARE_NAME && !name.ends_with(".tmp") {
            continue;
        }
        match sequence_in(name, ".tmp") {
            // The power went while a damaged segment was replaced by its copy, which was whole before that began.
            Some(sequence) if !sequences.contains(&sequence) => {
                disk.rename(&dir.join(name), &segment_path(dir, sequence))?;
                sequences.push(sequence);
            }
            _ => disk.remove(&dir.join(name))?,
        }
    }
    sequences.sort_unstable();
    Ok(sequences)
}

fn read_segment(
    disk: &dyn Disk,
    dir: &Path,
    sequence: u64,
    report: &mut RecoveryReport,
) -> Result<Option<Found>, OpenError> {
    let io = |source| OpenError::Io { dir: dir.to_owned(), source };
    let path = segment_path(dir, sequence);
    let file = disk.open(&path).map_err(io)?;
    let capacity = file.size().map_err(io)?;
    let mut bytes = [0; 128];
    let read = file.read_at(&mut bytes, 0).map_err(io)?;
    let head = match Head::decode(&bytes[..read]) {
        HeadBytes::Valid(head) if head.sequence == sequence && capacity >= HEAD_LEN => head,
        HeadBytes::Blank => {
            disk.remove(&path).map_err(io)?;
            return Ok(None);
        }
        HeadBytes::Newer(found) => return Err(OpenError::Newer { path, found, known: VERSION }),
        HeadBytes::Valid(_) | HeadBytes::Damaged => {
            set_aside(disk, path, report).map_err(io)?;
            return Ok(None);
        }
    };
    let keyed = Keyed::read(file.as_ref(), &head).map_err(io)?;
    let place = SegmentPlace {
        sequence,
        id: head.id,
        path,
        capacity,
        first: head.first,
        base_bytes: 0,
        opened_steady: None,
        keyed,
    };
    let read = file.read_at(&mut bytes, frames_end(capacity)).map_err(io)?;
    let found = match Footer::decode(&bytes[..read], head.id).filter(|footer| footer.fits(&head, capacity)) {
        Some(footer) => Some((place, Extent::sealed(&footer))),
        None => recover_tail(disk, dir, place, file, head.capacity.into(), report).map_err(io)?,
    };
    if let Some((place, _)) = &found
        && place.keyed.as_ref().is_some_and(|keyed| keyed.slots().is_none())
    {
        tracing::error!(path = %place.path.display(),
            "neither key slot of a journal segment can be read: its records are lost");
    }
    Ok(found)
}

fn set_aside(disk: &dyn Disk, path: PathBuf, report: &mut RecoveryReport) -> io::Result<()> {
    let aside = path.with_extension("damaged");
    disk.rename(&path, &aside)?;
    tracing::error!(path = %aside.display(), "a journal segment is damaged and was set aside");
    report.set_aside.push(aside);
    Ok(())
}

/// Where an unsealed segment's durable frames end, and whether something before that end is damaged.
#[derive(Debug)]
pub(crate) struct Tail {
    pub(crate) end: u64,
    pub(crate) written_to: u64,
    pub(crate) damaged: bool,
}

pub(crate) fn scan_tail(file: &Arc<dyn DiskFile>, id: SegmentId, end: u64) -> io::Result<Tail> {
    let mut walk = Walker::new(Arc::clone(file), id, HEAD_LEN, end, Bodies::Raw);
    let (mut bad, mut durable, mut end, mut written_to) = (Vec::new(), HEAD_LEN, HEAD_LEN, HEAD_LEN);
    while let Some(step) = walk.next()? {
        match step {
            Step::Frame { header, body: Some(_), .. } => {
                durable = durable.max(u64::from(header.group_start));
                end = walk.offset();
                written_to = end;
            }
            Step::Frame { offset, body: None, .. } => {
                bad.push(offset);
                written_to = walk.offset();
            }
            Step::Gap { offset } => bad.push(offset),
        }
    }
    // Nothing before `durable` can be torn: it was synced before the last group was written.
    let torn = bad.iter().copied().filter(|offset| *offset >= durable).min();
    let end = torn.map_or(end, |torn| torn.min(end));
    Ok(Tail { end, written_to, damaged: bad.iter().any(|offset| *offset < durable) })
}

/// Recovers a segment without a footer that was made with `capacity`.
fn recover_tail(
    disk: &dyn Disk,
    dir: &Path,
    place: SegmentPlace,
    file: Arc<dyn DiskFile>,
    capacity: u64,
    report: &mut RecoveryReport,
) -> io::Result<Option<Found>> {
    let cut_short = place.capacity != capacity;
    let tail = scan_tail(&file, place.id, tail_end(place.capacity, capacity))?;
    report.torn_bytes += tail.written_to.saturating_sub(tail.end);
    let path = place.path.clone();
    if tail.end == HEAD_LEN {
        match cut_short {
            true => set_aside(disk, path, report)?,
            false => disk.remove(&path)?,
        }
        return Ok(None);
    }
    // Where it was cut short there may be no room left for a footer.
    let place = SegmentPlace { capacity: place.capacity.max(tail.end + FOOTER_LEN), ..place };
    let segment = Segment::new(place, Extent::default());
    // The copy drops what cannot be read; the bytes themselves are kept for whoever wants to look.
    let aside = (tail.damaged || cut_short).then(|| path.with_extension("damaged"));
    let sealed = match copy_sealed(disk, dir, &segment, Arc::clone(&file), tail.end, aside.as_deref()) {
        Err(error) if error.kind() == io::ErrorKind::StorageFull => seal_in_place(segment, &file, tail.end)?,
        copied => {
            let copied = copied?;
            if let Some(aside) = aside {
                tracing::error!(path = %aside.display(), "a journal segment is damaged and was set aside");
                report.set_aside.push(aside);
            }
            copied
        }
    };
    let extent = sealed.extent().clone();
    Ok(Some((sealed.place, extent)))
}

/// Seals a tail where it is, for want of room for a copy. Every byte of it is written again, so that the sync that
/// follows covers them whatever became of earlier ones; the same bytes, so that a crash meanwhile changes nothing.
fn seal_in_place(segment: Segment, file: &Arc<dyn DiskFile>, end: u64) -> io::Result<Segment> {
    let mut buffer = vec![0; 1 << 20];
    let mut at = 0;
    while at < end {
        let want = buffer.len().min((end - at) as usize);
        let read = file.read_at(&mut buffer[..want], at)?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        file.write_at(&[&buffer[..read]], at)?;
        at += read as u64;
    }
    let mut extent = Extent::empty(segment.first);
    let mut walk = Walker::new(Arc::clone(file), segment.id, HEAD_LEN, end, Bodies::Skip);
    while let Some(step) = walk.next()? {
        if let Step::Frame { offset, header, .. } = step {
            extent.extend(offset, &header);
        }
    }
    *segment.extent() = extent;
    file.write_at(&[&segment.footer().encode(segment.id)], frames_end(segment.capacity))?;
    file.sync_data()?;
    Ok(segment)
}

/// Copies the readable frames of `segment` before `end` into a sealed segment that takes its place: the same id, the
/// same positions. The original is kept as `aside` where that is wanted.
pub(crate) fn copy_sealed(
    disk: &dyn Disk,
    dir: &Path,
    segment: &Segment,
    file: Arc<dyn DiskFile>,
    end: u64,
    aside: Option<&Path>,
) -> io::Result<Segment> {
    let capacity = end + FOOTER_LEN;
    let tmp = segment.path.with_extension("tmp");
    let target = disk.create(&tmp, capacity)?;
    let place = SegmentPlace { capacity, ..segment.place.clone() };
    let (version, key_id) = if segment.keyed.is_some() { (VERSION, KEYED) } else { (PLAIN_VERSION, 0) };
    let head = Head {
        version,
        key_id,
        sequence: segment.sequence,
        id: segment.id,
        first: segment.first,
        created_at: segment.extent().max_arrived,
        capacity: u32::try_from(capacity).unwrap_or(u32::MAX),
    };
    target.write_at(&[&head.encode()], 0)?;
    if segment.keyed.is_some() {
        slots::copy(file.as_ref(), target.as_ref())?;
    }
    let mut extent = Extent::empty(segment.first);
    let mut walk = Walker::new(Arc::clone(&file), segment.id, HEAD_LEN, end, Bodies::Raw);
    while let Some(step) = walk.next()? {
        let Step::Frame { header, body: Some(body), .. } = step else { continue };
        let offset = extent.data_end;
        // What was left out moves the others forward, and with them where their group began.
        let group_start = header.group_start.min(u32::try_from(offset).unwrap_or(u32::MAX));
        let header = FrameHeader { group_start, ..header };
        let padding = [0; 8];
        let padded = frame_len(body.len()) as usize - HEADER_LEN - body.len();
        let bytes: [&[u8]; 3] = [&header.encode(segment.id), &body, &padding[..padded]];
        target.write_at(&bytes, offset)?;
        extent.extend(offset, &header);
    }
    let copied = Segment::new(place, extent);
    target.write_at(&[&copied.footer().encode(copied.id)], frames_end(capacity))?;
    target.sync_data()?;
    if let Some(aside) = aside {
        // The copy's name is durable before the original's changes: one of the two is found, whenever the power goes.
        disk.sync_dir(dir)?;
        disk.rename(&segment.path, aside)?;
    }
    disk.rename(&tmp, &segment.path)?;
    disk.sync_dir(dir)?;
    Ok(copied)
}

/// The state: the newest STATE at a segment's head, and every frame behind it.
fn read_state(
    disk: &dyn Disk,
    view: &View,
    keys: &dyn SegmentKeys,
    report: &mut RecoveryReport,
) -> io::Result<State> {
    let mut begin = None;
    for (sequence, segment) in view.segments.iter().rev() {
        let mut walk = segment.walk_bodies(disk.open(&segment.path)?, HEAD_LEN, keys)?;
        if let Some(Step::Frame { header, body: Some(_), .. }) = walk.next()?
            && header.kind == FrameKind::State
        {
            begin = Some(*sequence);
            break;
        }
    }
    let mut state = State::default();
    if let (None, Some(oldest)) = (begin, view.segments.values().next()) {
        tracing::error!(path = %oldest.path.display(), "no STATE frame can be read: deliveries may be repeated");
        state = State { next: oldest.first, unread_from: Some(oldest.first), ..state };
    }
    for (_, segment) in view.segments.range(begin.unwrap_or(0)..) {
        let mut walk = segment.walk_bodies(disk.open(&segment.path)?, HEAD_LEN, keys)?;
        while let Some(step) = walk.next()? {
            let Step::Frame { offset, header, body } = step else { continue };
            report.last_frame = Some(header.kind);
            state.reach(header.first);
            if header.kind == FrameKind::Data {
                state.accept(header.count, header.record_bytes(), header.arrived_at);
                continue;
            }
            let Some(body) = body else { continue };
            match Control::decode(header.kind, &body) {
                Ok(Some(control)) => state.apply(&control),
                Ok(None) => {}
                Err(error) => {
                    let path = segment.path.display();
                    tracing::error!(%path, offset, %error, "a control frame cannot be understood and is passed over");
                }
            }
        }
    }
    Ok(state)
}

fn read_puts(
    disk: &dyn Disk,
    view: &View,
    shelf: &Shelf,
    keys: &dyn SegmentKeys,
    queue: &mut Queue,
) -> io::Result<()> {
    let now = shelf.clock.now();
    let steady = u64::try_from(shelf.clock.steady().as_millis()).unwrap_or(u64::MAX);
    // PUTS frames behind old DATA tell of puts that are older still.
    let recent = |segment: &&Arc<Segment>| {
        let extent = segment.extent();
        extent.records == 0 || now.since(extent.max_arrived).as_millis() < REMEMBERED_MS.into()
    };
    for segment in view.segments.values().filter(recent) {
        let file = disk.open(&segment.path)?;
        let mut walk = segment.walk(Arc::clone(&file), HEAD_LEN);
        while let Some(step) = walk.next()? {
            let Step::Frame { header, offset, .. } = step else { continue };
            if header.kind == FrameKind::Puts {
                let mut body = vec![0; header.body_len as usize];
                file.read_at(&mut body, offset + HEADER_LEN as u64)?;
                let sound = crc32c::crc32c(&body) == header.body_crc;
                let body = segment.bodies(keys)?.open(&header, body.into()).filter(|_| sound);
                let puts = body.map(|body| Control::decode(FrameKind::Puts, &body));
                if let Some(Ok(Some(Control::Puts(puts)))) = puts {
                    queue.puts.remember_carried(&puts, segment.sequence, steady);
                }
            }
            let Some(digest) = header.digest.filter(|_| header.kind == FrameKind::Data) else { continue };
            let receipt = segment.receipt(&header);
            queue.puts.remember(digest, receipt, segment.sequence, steady);
        }
    }
    Ok(())
}
