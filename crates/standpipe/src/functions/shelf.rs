//! Where versions of functions and tables are kept.
//!
//! ```text
//! <data_dir>/functions/<SHA-256 of it>.wasm      a function's file as it was configured
//!                     /<SHA-256 of it>.table     a table's file
//!                     /<SHA-256 of it>.json      a version: which file, and what else its results depend on
//!                     /objects                   what tables in force were read from (`objects.rs`)
//!                     /compiled/                 the sandbox's cache
//! ```
//!
//! # Invariants
//! - A file's name is the hash of what is in it; one that is not as it is named is as good as gone.
//! - A version is on disk before anything names it, for the daemon alone as it may hold secrets.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use ring::digest::{SHA256, digest};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::durable;

/// The SHA-256 in hexadecimal digits.
pub(super) fn hash(bytes: &[u8]) -> String {
    hex::encode(digest(&SHA256, bytes))
}

/// A version: everything that results depend on, with one file.
pub(super) trait OnShelf: Serialize + DeserializeOwned {
    /// What the names of such files end with.
    const EXTENSION: &'static str;

    /// The SHA-256 of its file.
    fn file(&self) -> &str;

    /// What is kept of it.
    fn text(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("texts and numbers serialise")
    }

    /// What it is known by.
    fn digest(&self) -> String {
        hash(&self.text())
    }
}

/// What a version needs of the shelf, whatever it is a version of.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Needs {
    module: Option<String>,
    table: Option<String>,
    /// Other versions.
    tables: BTreeMap<String, String>,
}

/// The folder of versions.
#[derive(Debug)]
pub(super) struct Shelf(PathBuf);

impl Shelf {
    /// The shelf of a data directory, which is made when it is not there.
    ///
    /// # Errors
    /// As the operating system says.
    pub(super) fn open(data_dir: &Path) -> io::Result<Self> {
        let folder = data_dir.join("functions");
        durable::create_dir(&folder)?;
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o700))?;
        Ok(Self(folder))
    }

    /// Where the sandbox keeps compiled functions.
    pub(super) fn compiled(&self) -> PathBuf {
        self.0.join("compiled")
    }

    /// Where is written down which objects tables were read from.
    pub(super) fn objects(&self) -> PathBuf {
        self.0.join("objects")
    }

    fn path(&self, digest: &str, extension: &str) -> PathBuf {
        self.0.join(digest).with_extension(extension)
    }

    /// Puts a version on disk; it is durable when this returns.
    ///
    /// # Errors
    /// As the operating system says.
    pub(super) fn keep<V: OnShelf>(&self, version: &V, file: &[u8]) -> io::Result<()> {
        let text = version.text();
        // The file first: a version that is there is whole.
        for (digest, extension, bytes) in
            [(version.file(), V::EXTENSION, file), (&hash(&text), "json", &text)]
        {
            if self.read(digest, extension)?.is_none() {
                durable::write_private(&self.path(digest, extension), bytes)?;
            }
        }
        Ok(())
    }

    /// A version and its file; `None` where it is gone or damaged.
    ///
    /// # Errors
    /// It may be there, but cannot be read.
    pub(super) fn find<V: OnShelf>(&self, digest: &str) -> io::Result<Option<(V, Vec<u8>)>> {
        let Some(text) = self.read(digest, "json")? else { return Ok(None) };
        // One of a newer standpipe, which may have what this one does not know, is as good as gone.
        let Ok(version) = serde_json::from_slice::<V>(&text) else { return Ok(None) };
        let file = self.read(version.file(), V::EXTENSION)?;
        Ok(file.map(|file| (version, file)))
    }

    fn read(&self, digest: &str, extension: &str) -> io::Result<Option<Vec<u8>>> {
        // What a journal names is not taken for a path.
        if digest.len() != 64 || !digest.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Ok(None);
        }
        match fs::read(self.path(digest, extension)) {
            Ok(bytes) => Ok(Some(bytes).filter(|bytes| hash(bytes) == digest)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn needs(&self, version: &str) -> io::Result<Needs> {
        let text = self.read(version, "json")?;
        Ok(text.and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default())
    }

    /// Removes all versions but these and those that they need, with the files that none of them needs.
    ///
    /// # Errors
    /// As the operating system says; what is left is removed another time.
    pub(super) fn keep_only(&self, needed: &BTreeSet<String>) -> io::Result<()> {
        let (mut versions, mut files) = (needed.clone(), BTreeSet::new());
        let mut open: Vec<String> = needed.iter().cloned().collect();
        while let Some(version) = open.pop() {
            let Needs { module, table, tables } = self.needs(&version)?;
            files.extend(module.into_iter().chain(table));
            open.extend(tables.into_values().filter(|table| versions.insert(table.clone())));
        }
        for entry in fs::read_dir(&self.0)? {
            let path = entry?.path();
            let part =
                |part: Option<&std::ffi::OsStr>| part.and_then(|part| part.to_str()).map(str::to_owned);
            let (stem, extension) = (part(path.file_stem()).unwrap_or_default(), part(path.extension()));
            let stays = match extension.as_deref() {
                Some("json") => versions.contains(&stem),
                Some("wasm" | "table") => files.contains(&stem),
                // A crash left it half written.
                Some("tmp") => false,
                _ => true,
            };
            if !stays {
                fs::remove_file(&path)?;
            }
        }
        Ok(())
    }
}
