//! A simulated disk: it loses unsynced bytes and names, tears writes at sectors, runs out of space and fails syncs.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use standpipe_journal::disk::{DirEntry, Disk, DiskFile, DiskSpace};

const SECTOR: usize = 512;

/// What a call does instead of what it was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The power goes: this call and all after it fail, until [`SimDisk::power_on`].
    Crash,
    /// No space left; nothing is written.
    NoSpace,
    /// An input/output error; a write may be torn, a sync loses what it should have kept.
    Io,
}

#[derive(Debug, Clone)]
pub(crate) struct SimDisk(Arc<Mutex<Inner>>);

#[derive(Debug)]
struct Inner {
    nodes: Vec<Node>,
    names: BTreeMap<PathBuf, usize>,
    durable_names: BTreeMap<PathBuf, usize>,
    /// Names changed since the last sync of the folder: `None` for a removal.
    renames: Vec<(PathBuf, Option<usize>)>,
    faults: BTreeMap<u64, Fault>,
    calls: u64,
    failing_read: Option<u64>,
    creates_refused: bool,
    down: bool,
    generation: u64,
    random: u64,
    capacity: u64,
}

#[derive(Debug, Default)]
struct Node {
    /// What a read sees.
    cached: Vec<u8>,
    durable: Vec<u8>,
    unsynced: Vec<(usize, Vec<u8>)>,
    /// It was made without space, and takes it as it is written.
    grows: bool,
}

impl Node {
    fn reach(bytes: &mut Vec<u8>, end: usize) {
        bytes.resize(bytes.len().max(end), 0);
    }
}

impl Inner {
    fn used(&self) -> u64 {
        self.names.values().map(|node| self.nodes[*node].cached.len() as u64).sum()
    }

    fn next_random(&mut self) -> u64 {
        self.random =
            self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.random >> 33
    }

    /// Counts a call and returns the fault that is due.
    fn call(&mut self) -> io::Result<Option<Fault>> {
        if self.down {
            return Err(io::Error::other("the power is off"));
        }
        self.calls += 1;
        let fault = self.faults.remove(&self.calls);
        if fault == Some(Fault::Crash) {
            self.down = true;
        }
        Ok(fault)
    }

    /// Makes a random part of a node's unsynced sectors durable.
    fn tear(&mut self, node: usize) {
        for (offset, bytes) in std::mem::take(&mut self.nodes[node].unsynced) {
            let mut at = 0;
            while at < bytes.len() {
                let end = bytes.len().min((offset + at) / SECTOR * SECTOR + SECTOR - offset);
                if self.next_random().is_multiple_of(2) {
                    Node::reach(&mut self.nodes[node].durable, offset + end);
                    self.nodes[node].durable[offset + at..offset + end].copy_from_slice(&bytes[at..end]);
                }
                at = end;
            }
        }
    }
}

impl SimDisk {
    pub(crate) fn new(seed: u64, capacity: u64) -> Self {
        Self(Arc::new(Mutex::new(Inner {
            nodes: Vec::new(),
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            renames: Vec::new(),
            faults: BTreeMap::new(),
            calls: 0,
            failing_read: None,
            creates_refused: false,
            down: false,
            generation: 0,
            random: seed,
            capacity,
        })))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap()
    }

    /// Lets the `after`-th call from now fail so.
    pub(crate) fn inject(&self, after: u64, fault: Fault) {
        let mut inner = self.lock();
        let at = inner.calls + 1 + after;
        inner.faults.insert(at, fault);
    }

    /// Takes back the faults that are not met yet.
    pub(crate) fn clear_faults(&self) {
        self.lock().faults.clear();
    }

    pub(crate) fn is_down(&self) -> bool {
        self.lock().down
    }

    /// Takes the power away and gives it back: what was not synced is gone, or torn, or there.
    pub(crate) fn power_cycle(&self) {
        let mut inner = self.lock();
        inner.generation += 1;
        inner.faults.clear();
        let kept = inner.next_random() as usize % (inner.renames.len() + 1);
        let renames = std::mem::take(&mut inner.renames);
        for (path, node) in renames.into_iter().take(kept) {
            match node {
                Some(node) => inner.durable_names.insert(path, node),
                None => inner.durable_names.remove(&path),
            };
        }
        for node in 0..inner.nodes.len() {
            inner.tear(node);
            inner.nodes[node].cached = inner.nodes[node].durable.clone();
        }
        inner.names = inner.durable_names.clone();
        inner.down = false;
    }

    /// Flips a byte of a file, on the disk itself.
    pub(crate) fn rot(&self, path: &Path, offset: usize) {
        let mut inner = self.lock();
        let node = inner.names[path];
        inner.nodes[node].cached[offset] ^= 0x40;
        inner.nodes[node].durable[offset] ^= 0x40;
    }

    /// Writes over a file's bytes, on the disk itself.
    pub(crate) fn overwrite(&self, path: &Path, offset: usize, bytes: &[u8]) {
        let mut inner = self.lock();
        let node = inner.names[path];
        inner.nodes[node].cached[offset..offset + bytes.len()].copy_from_slice(bytes);
        inner.nodes[node].durable[offset..offset + bytes.len()].copy_from_slice(bytes);
    }

    /// Cuts a file short, on the disk itself.
    pub(crate) fn cut(&self, path: &Path, len: usize) {
        let mut inner = self.lock();
        let node = inner.names[path];
        inner.nodes[node].cached.truncate(len);
        inner.nodes[node].durable.truncate(len);
    }

    /// What a file holds.
    pub(crate) fn bytes(&self, path: &Path) -> Vec<u8> {
        let inner = self.lock();
        inner.nodes[inner.names[path]].cached.clone()
    }

    /// Refuses the space for new files, whatever it says is free.
    pub(crate) fn refuse_creates(&self, refuse: bool) {
        self.lock().creates_refused = refuse;
    }

    /// Lets the `after`-th read from now fail, once.
    pub(crate) fn fail_read(&self, after: u64) {
        self.lock().failing_read = Some(after);
    }

    pub(crate) fn set_capacity(&self, capacity: u64) {
        self.lock().capacity = capacity;
    }

    pub(crate) fn used(&self) -> u64 {
        self.lock().used()
    }
}

fn fail(fault: Fault) -> io::Error {
    match fault {
        Fault::NoSpace => io::ErrorKind::StorageFull.into(),
        Fault::Io => io::Error::other("input/output error"),
        Fault::Crash => io::Error::other("the power went"),
    }
}

impl Disk for SimDisk {
    fn create_dir(&self, _dir: &Path) -> io::Result<()> {
        Ok(())
    }

    fn create(&self, path: &Path, len: u64) -> io::Result<Arc<dyn DiskFile>> {
        if self.used() + len > self.lock().capacity {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let mut inner = self.lock();
        let fault = inner.call()?.or(inner.creates_refused.then_some(Fault::NoSpace));
        if let Some(fault) = fault {
            return Err(fail(fault));
        }
        let bytes = vec![0; len as usize];
        inner.nodes.push(Node {
            cached: bytes.clone(),
            durable: bytes,
            unsynced: Vec::new(),
            grows: len == 0,
        });
        let node = inner.nodes.len() - 1;
        inner.names.insert(path.to_owned(), node);
        inner.renames.push((path.to_owned(), Some(node)));
        Ok(Arc::new(SimFile { disk: self.clone(), node, generation: inner.generation }))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let inner = self.lock();
        if inner.down {
            return Err(io::Error::other("the power is off"));
        }
        let node = *inner.names.get(path).ok_or(io::ErrorKind::NotFound)?;
        Ok(Arc::new(SimFile { disk: self.clone(), node, generation: inner.generation }))
    }

    fn open_read(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        self.open(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut inner = self.lock();
        if let Some(fault) = inner.call()? {
            return Err(fail(fault));
        }
        let node = inner.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
        inner.names.insert(to.to_owned(), node);
        // A rename is atomic, so both halves are kept or lost together only when nothing stands between: the model is
        // harsher and may keep the removal alone, unless the order is new name first.
        inner.renames.push((to.to_owned(), Some(node)));
        inner.renames.push((from.to_owned(), None));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut inner = self.lock();
        if let Some(fault) = inner.call()? {
            return Err(fail(fault));
        }
        inner.names.remove(path).ok_or(io::ErrorKind::NotFound)?;
        inner.renames.push((path.to_owned(), None));
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        let inner = self.lock();
        let inside = inner.names.iter().filter(|(path, _)| path.parent() == Some(dir));
        Ok(inside
            .map(|(path, node)| DirEntry {
                name: path.file_name().unwrap().to_str().unwrap().to_owned(),
                len: inner.nodes[*node].cached.len() as u64,
            })
            .collect())
    }

    fn sync_dir(&self, _dir: &Path) -> io::Result<()> {
        let mut inner = self.lock();
        if let Some(fault) = inner.call()? {
            return Err(fail(fault));
        }
        inner.durable_names = inner.names.clone();
        inner.renames.clear();
        Ok(())
    }

    fn space(&self, _dir: &Path) -> io::Result<DiskSpace> {
        let used = self.used();
        let total = self.lock().capacity;
        Ok(DiskSpace { free: total.saturating_sub(used), total })
    }
}

#[derive(Debug)]
struct SimFile {
    disk: SimDisk,
    node: usize,
    generation: u64,
}

impl SimFile {
    fn lock(&self) -> io::Result<MutexGuard<'_, Inner>> {
        let inner = self.disk.lock();
        match inner.generation == self.generation {
            true => Ok(inner),
            false => Err(io::Error::other("opened before the power went")),
        }
    }
}

impl DiskFile for SimFile {
    fn write_at(&self, bufs: &[&[u8]], offset: u64) -> io::Result<()> {
        let mut inner = self.lock()?;
        let fault = inner.call()?;
        let (offset, bytes) = (offset as usize, bufs.concat());
        if fault == Some(Fault::NoSpace) {
            return Err(fail(Fault::NoSpace));
        }
        let end = offset + bytes.len();
        let left = inner.capacity.saturating_sub(inner.used());
        let node = &mut inner.nodes[self.node];
        let growth = end.saturating_sub(node.cached.len()) as u64;
        assert!(growth == 0 || node.grows, "a write past what was allocated");
        if growth > left {
            return Err(fail(Fault::NoSpace));
        }
        Node::reach(&mut node.cached, end);
        node.cached[offset..offset + bytes.len()].copy_from_slice(&bytes);
        node.unsynced.push((offset, bytes));
        fault.map_or(Ok(()), |fault| Err(fail(fault)))
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut inner = self.lock()?;
        if inner.down {
            return Err(io::Error::other("the power is off"));
        }
        let left = inner.failing_read.take();
        if left == Some(0) {
            return Err(fail(Fault::Io));
        }
        inner.failing_read = left.map(|left| left - 1);
        let cached = &inner.nodes[self.node].cached;
        let from = cached.get(offset as usize..).unwrap_or_default();
        let len = from.len().min(buf.len());
        buf[..len].copy_from_slice(&from[..len]);
        Ok(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut inner = self.lock()?;
        match inner.call()? {
            None => {
                let node = &mut inner.nodes[self.node];
                for (offset, bytes) in std::mem::take(&mut node.unsynced) {
                    Node::reach(&mut node.durable, offset + bytes.len());
                    node.durable[offset..offset + bytes.len()].copy_from_slice(&bytes);
                }
                Ok(())
            }
            // The pages are marked clean all the same: a later sync that succeeds does not bring them back.
            Some(Fault::Io) => {
                inner.tear(self.node);
                Err(fail(Fault::Io))
            }
            Some(fault) => Err(fail(fault)),
        }
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.lock()?.nodes[self.node].cached.len() as u64)
    }
}
