//! How far an object of the error output has been redriven, in a small file of the stream's folder.
//!
//! A block of records is noted as *pending* before it is put. So whoever goes on after a crash knows the one block of
//! which nothing is certain, and puts exactly that again, with the same digest: the journal recognises it for ten minutes.
//! Longer than that nobody has to wait: the start asks the journal about the block of the object that was under way.
//!
//! ```text
//! <data_dir>/streams/<name>/redriven/<hash of store, bucket and key>.json
//!                                   /current        the name of the latest of these
//! ```

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use ring::digest::{Context, SHA256};
use serde::{Deserialize, Serialize};
use standpipe_model::{PutDigest, StreamName, Timestamp};

use crate::durable;

/// The folder of marks in a stream's folder.
pub(super) const FOLDER: &str = "redriven";

/// The file that names the mark of the object that is, or was last, under way.
const CURRENT: &str = "current";

/// A place between two lines of an object, and what stands before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Place {
    pub(super) bytes: u64,
    /// Records.
    pub(super) records: u64,
    /// Lines that hold none.
    pub(super) unreadable: u64,
}

/// How far an object has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Mark {
    pub(super) store: String,
    pub(super) bucket: String,
    pub(super) key: String,
    /// The stream that it is sent to.
    pub(super) to: StreamName,
    /// How often it has been begun.
    pub(super) round: u32,
    /// All before has been put.
    pub(super) done: Place,
    /// Up to here it may have been put.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) pending: Option<Place>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) finished_at: Option<Timestamp>,
}

fn hash<'a>(fields: impl IntoIterator<Item = &'a [u8]>) -> [u8; 16] {
    let mut hash = Context::new(&SHA256);
    for field in fields {
        hash.update(&(field.len() as u64).to_le_bytes());
        hash.update(field);
    }
    let mut short = [0; 16];
    short.copy_from_slice(&hash.finish().as_ref()[..16]);
    short
}

impl Mark {
    /// Of an object that is begun, for the `round`-th time.
    pub(super) fn begin([store, bucket, key]: [&str; 3], to: StreamName, round: u32) -> Self {
        let [store, bucket, key] = [store, bucket, key].map(str::to_owned);
        Self { store, bucket, key, to, round, done: Place::default(), pending: None, finished_at: None }
    }

    /// The store, the bucket and the key of its object.
    pub(super) fn object(&self) -> [&str; 3] {
        [&self.store, &self.bucket, &self.key]
    }

    /// The mark of an object, if it has one.
    ///
    /// # Errors
    /// As the operating system says, or it is no mark.
    pub(super) fn load(folder: &Path, object: [&str; 3]) -> io::Result<Option<Self>> {
        match fs::read(path(folder, object)) {
            Ok(text) => serde_json::from_slice(&text).map(Some).map_err(io::Error::other),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes it; it is durable when this returns.
    ///
    /// # Errors
    /// As the operating system says.
    pub(super) fn save(&self, folder: &Path) -> io::Result<()> {
        let text = serde_json::to_vec(self).map_err(io::Error::other)?;
        durable::write(&path(folder, self.object()), &text)
    }

    /// Notes that it is under way.
    ///
    /// # Errors
    /// As the operating system says.
    pub(super) fn note_current(&self, folder: &Path) -> io::Result<()> {
        let name = file_name(self.object());
        durable::write(&folder.join(CURRENT), name.as_bytes())
    }

    /// What the put of the lines up to `end` is recognised by.
    pub(super) fn digest(&self, end: Place) -> PutDigest {
        let numbers = [u64::from(self.round), self.done.bytes, end.bytes].map(u64::to_le_bytes);
        let texts = ["redrive", &self.store, &self.bucket, &self.key, self.to.as_str()].map(str::as_bytes);
        PutDigest(hash(texts.into_iter().chain(numbers.iter().map(<[u8; 8]>::as_slice))))
    }
}

/// Takes the block as put that an earlier process was at, if the stream that it went to `has_accepted` it. Otherwise it
/// stays pending.
///
/// # Errors
/// As the operating system says, or a mark is damaged.
pub(super) fn settle(
    folder: &Path,
    has_accepted: impl FnOnce(&StreamName, PutDigest) -> bool,
) -> io::Result<()> {
    let read = |path: PathBuf| match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        read => read.map(Some),
    };
    let Some(name) = read(folder.join(CURRENT))? else { return Ok(()) };
    let name = String::from_utf8(name).map_err(io::Error::other)?;
    let Some(text) = read(folder.join(name))? else { return Ok(()) };
    let mut mark: Mark = serde_json::from_slice(&text).map_err(io::Error::other)?;
    if let Some(pending) = mark.pending.filter(|pending| has_accepted(&mark.to, mark.digest(*pending))) {
        (mark.done, mark.pending) = (pending, None);
        mark.save(folder)?;
    }
    Ok(())
}

fn path(folder: &Path, object: [&str; 3]) -> PathBuf {
    folder.join(file_name(object))
}

fn file_name(object: [&str; 3]) -> String {
    format!("{}.json", hex::encode(hash(object.map(str::as_bytes))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_read_as_it_was_written_and_each_block_has_a_digest_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let (object, to) = (["lake", "b", "errors/k"], StreamName::parse("clicks").unwrap());
        assert_eq!(Mark::load(folder.path(), object).unwrap(), None);
        let mut mark = Mark::begin(object, to.clone(), 1);
        let end = |bytes| Place { bytes, records: 1, unreadable: 0 };
        let mut digests = vec![mark.digest(end(10)), mark.digest(end(20))];
        mark.done = end(10);
        mark.pending = Some(end(20));
        digests.push(mark.digest(end(20)));
        digests.push(Mark { round: 2, ..mark.clone() }.digest(end(20)));
        digests.push(Mark { to: StreamName::parse("views").unwrap(), ..mark.clone() }.digest(end(20)));
        digests.push(Mark { done: end(10), ..Mark::begin(["lak", "eb", "errors/k"], to, 1) }.digest(end(20)));
        for (at, digest) in digests.iter().enumerate() {
            assert!(!digests[..at].contains(digest), "{at}");
        }
        mark.save(folder.path()).unwrap();
        assert_eq!(Mark::load(folder.path(), object).unwrap(), Some(mark));
        fs::write(path(folder.path(), object), "{").unwrap();
        assert!(Mark::load(folder.path(), object).is_err(), "a damaged mark is no missing one");
    }

    #[test]
    fn the_start_takes_a_block_as_put_that_the_journal_knows_and_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let (object, to) = (["lake", "b", "errors/k"], StreamName::parse("clicks").unwrap());
        let load = || Mark::load(folder.path(), object).unwrap();
        let never = |_: &StreamName, _: PutDigest| -> bool { panic!("there is nothing to ask about") };
        settle(folder.path(), never).unwrap();
        let mut mark = Mark::begin(object, to.clone(), 1);
        mark.note_current(folder.path()).unwrap();
        settle(folder.path(), never).unwrap();
        let end = Place { bytes: 10, records: 1, unreadable: 0 };
        mark.pending = Some(end);
        mark.save(folder.path()).unwrap();
        settle(folder.path(), |_, _| false).unwrap();
        assert_eq!(load(), Some(mark.clone()));
        settle(folder.path(), |asked, digest| *asked == to && digest == mark.digest(end)).unwrap();
        assert_eq!(load(), Some(Mark { done: end, pending: None, ..mark }));
        settle(folder.path(), never).unwrap();
    }
}
