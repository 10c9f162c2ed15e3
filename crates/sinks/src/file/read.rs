//! Reading an object, which is a file: once it stands still, as somebody may be writing it.

use std::fs::{File, Metadata};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::time::Duration;

use async_trait::async_trait;
use standpipe_model::{ErrorClass, ObjectTarget, SinkError};

use super::sink::FileSink;
use crate::read::{Bounded, Found, ReadObject};

/// How long a file has to stand still before it is read, so that one that is being written is not read in the middle.
const STILL_FOR: Duration = Duration::from_millis(500);

#[async_trait]
impl ReadObject for FileSink {
    async fn read(
        &self,
        target: &ObjectTarget,
        known: Option<&str>,
        max_bytes: u64,
    ) -> Result<Found, SinkError> {
        // One that was written just now, such as by a rename, is still soon.
        match self.look(target, known, max_bytes).await? {
            Some(found) => Ok(found),
            None => {
                tokio::time::sleep(STILL_FOR).await;
                self.look(target, known, max_bytes).await?.ok_or_else(|| {
                    let message = format!("the file '{}' is still being written", target.key);
                    SinkError::new(ErrorClass::Transient, message)
                })
            }
        }
    }
}

impl FileSink {
    /// `None` where it does not stand still yet.
    async fn look(
        &self,
        target: &ObjectTarget,
        known: Option<&str>,
        max_bytes: u64,
    ) -> Result<Option<Found>, SinkError> {
        let place = self.place(target)?;
        let path = self.options.root.join(&place.folders).join(&place.name);
        let (shown, known) = (path.display().to_string(), known.map(str::to_owned));
        let what = format!("reading '{}'", target.key);
        let read = self.blocking(&what, move || -> io::Result<Option<(Found, u64)>> {
            let mut file = File::open(path)?;
            let of = file.metadata()?;
            let tag = tag(&of);
            if known.as_ref() == Some(&tag) {
                return Ok(Some((Found::Same, 0)));
            }
            // One of the future is one of another clock.
            if of.modified()?.elapsed().is_ok_and(|age| age < STILL_FOR) {
                return Ok(None);
            }
            let mut bytes = Vec::new();
            if of.size() <= max_bytes {
                file.by_ref().take(max_bytes.saturating_add(1)).read_to_end(&mut bytes)?;
            }
            if self::tag(&file.metadata()?) != tag {
                return Ok(None);
            }
            Ok(Some((Found::Other { bytes, tag: Some(tag) }, of.size())))
        });
        let Some((found, length)) = read.await? else { return Ok(None) };
        Bounded::new(shown, length, max_bytes)?;
        Ok(Some(found))
    }
}

/// What a state of a file is known by.
fn tag(of: &Metadata) -> String {
    format!("{}-{}-{}-{}", of.ino(), of.size(), of.mtime(), of.mtime_nsec())
}
