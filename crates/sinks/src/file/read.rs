//! Reading an object, which is a file.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;

use async_trait::async_trait;
use standpipe_model::{ObjectTarget, SinkError};

use super::sink::FileSink;
use crate::read::{Bounded, Found, ReadObject};

#[async_trait]
impl ReadObject for FileSink {
    async fn read(
        &self,
        target: &ObjectTarget,
        known: Option<&str>,
        max_bytes: u64,
    ) -> Result<Found, SinkError> {
        let place = self.place(target)?;
        let path = self.options.root.join(&place.folders).join(&place.name);
        let (shown, known) = (path.display().to_string(), known.map(str::to_owned));
        let what = format!("reading '{}'", target.key);
        let read = self.blocking(&what, move || -> io::Result<Option<(String, u64, Vec<u8>)>> {
            let file = File::open(path)?;
            let of = file.metadata()?;
            let tag = format!("{}-{}-{}-{}", of.ino(), of.size(), of.mtime(), of.mtime_nsec());
            if known.as_ref() == Some(&tag) {
                return Ok(None);
            }
            let mut bytes = Vec::new();
            if of.size() <= max_bytes {
                file.take(max_bytes.saturating_add(1)).read_to_end(&mut bytes)?;
            }
            Ok(Some((tag, of.size(), bytes)))
        });
        let Some((tag, length, bytes)) = read.await? else { return Ok(Found::Same) };
        let length = length.max(bytes.len() as u64);
        Bounded::new(shown, length, max_bytes)?;
        Ok(Found::Other { bytes, tag: Some(tag) })
    }
}
