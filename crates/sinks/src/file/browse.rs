//! Listing objects, which are files, and reading a part of one.

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::Path;
use std::time::UNIX_EPOCH;

use async_trait::async_trait;
use standpipe_model::{ObjectTarget, SinkError, Timestamp};

use super::path::TEMPORARY;
use super::sink::FileSink;
use crate::browse::{BrowseObjects, Listed};

/// What is looked for.
struct Search {
    prefix: String,
    after: Option<String>,
    max: usize,
    found: Vec<Listed>,
}

impl Search {
    /// Whether there may be something below `folder`, which is a key up to and with a slash.
    fn leads_into(&self, folder: &str) -> bool {
        let fits = folder.starts_with(&self.prefix) || self.prefix.starts_with(folder);
        let lies_behind = |after: &String| after.as_str() < folder || after.starts_with(folder);
        fits && self.after.as_ref().is_none_or(lies_behind)
    }

    /// Goes through a folder in the order of keys: a folder stands where its name does with the slash behind it.
    fn walk(&mut self, path: &Path, above: &str) -> io::Result<()> {
        let mut names = Vec::new();
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            // A link may lead anywhere, and no sink makes any. Keys are text, so other names are none of theirs.
            let (Ok(name), kind) = (entry.file_name().into_string(), entry.file_type()?) else { continue };
            if kind.is_dir() {
                names.push(format!("{above}{name}/"));
            } else if kind.is_file() && !name.starts_with(TEMPORARY) {
                names.push(format!("{above}{name}"));
            }
        }
        names.sort_unstable();
        for key in names {
            if self.found.len() == self.max {
                return Ok(());
            }
            let path = path.join(&key[above.len()..]);
            let seen = match key.ends_with('/') {
                true if self.leads_into(&key) => self.walk(&path, &key),
                false if key.starts_with(&self.prefix) && self.after.as_ref() < Some(&key) => {
                    self.take(&path, key)
                }
                _ => Ok(()),
            };
            match seen {
                // It has gone in between.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                seen => seen?,
            }
        }
        Ok(())
    }

    fn take(&mut self, path: &Path, key: String) -> io::Result<()> {
        let of = fs::metadata(path)?;
        let since_epoch = of.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
        let modified = Timestamp(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX));
        self.found.push(Listed { key, bytes: of.len(), modified });
        Ok(())
    }
}

#[async_trait]
impl BrowseObjects for FileSink {
    async fn list(
        &self,
        bucket: &str,
        prefix: &str,
        after: Option<&str>,
        max: usize,
    ) -> Result<Vec<Listed>, SinkError> {
        let root = self.options.root.join(bucket);
        let (prefix, after) = (prefix.to_owned(), after.map(str::to_owned));
        self.blocking("listing objects", move || {
            let mut search = Search { prefix, after, max, found: Vec::new() };
            match search.walk(&root, "") {
                // Nothing has been delivered yet.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                walked => walked?,
            }
            Ok(search.found)
        })
        .await
    }

    async fn read_part(&self, target: &ObjectTarget, from: u64, len: u64) -> Result<Vec<u8>, SinkError> {
        let place = self.place(target)?;
        let path = self.options.root.join(&place.folders).join(&place.name);
        self.blocking(&format!("reading '{}'", target.key), move || {
            let (mut file, mut bytes) = (File::open(path)?, Vec::new());
            file.seek(SeekFrom::Start(from))?;
            file.take(len).read_to_end(&mut bytes)?;
            Ok(bytes)
        })
        .await
    }
}
