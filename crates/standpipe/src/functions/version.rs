//! A version of a function: everything that its results depend on, and where versions are kept.
//!
//! ```text
//! <data_dir>/functions/<SHA-256 of it>.wasm      a file as it was configured
//!                     /<SHA-256 of it>.json      a version: which file, what it is told, its limits
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
use std::sync::Arc;
use std::time::Duration;

use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};
use standpipe_model::{Clock, Entropy, Secret};
use standpipe_transform::{FunctionOptions, Grants, Limits};

use crate::config::{FunctionConfig, Grant};
use crate::durable;

/// What functions are granted, where they are.
#[derive(Debug, Clone)]
pub(super) struct Impurities {
    pub(super) clock: Arc<dyn Clock>,
    pub(super) random: Arc<dyn Entropy>,
}

/// Everything that a function's results depend on, but for its name and its file's content.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Version {
    /// The SHA-256 of its file.
    pub(super) module: String,
    config: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    grants: BTreeSet<Grant>,
    memory_bytes: usize,
    deadline_ms: u64,
    output_bytes: usize,
    retries: u32,
    batch_bytes: usize,
}

/// The SHA-256 in hexadecimal digits.
pub(super) fn hash(bytes: &[u8]) -> String {
    hex::encode(digest(&SHA256, bytes))
}

impl Version {
    /// The version that a function is at with this file.
    pub(super) fn of(config: &FunctionConfig, wasm: &[u8]) -> Self {
        let told = config.config.iter();
        Self {
            module: hash(wasm),
            config: told.map(|(name, value)| (name.clone(), value.expose().to_owned())).collect(),
            grants: config.grants.clone(),
            memory_bytes: config.memory_bytes,
            deadline_ms: u64::try_from(config.deadline.as_millis()).unwrap_or(u64::MAX),
            output_bytes: config.output_bytes,
            retries: config.retries,
            batch_bytes: config.batch_bytes,
        }
    }

    /// The same as the sandbox wants it, for the function of that name.
    pub(super) fn options(&self, name: &str, impurities: &Impurities) -> FunctionOptions {
        let Impurities { clock, random } = impurities;
        let granted = |grant| self.grants.contains(&grant);
        let told = self.config.iter();
        FunctionOptions {
            config: told.map(|(name, value)| (name.clone(), Secret::new(value.clone()))).collect(),
            grants: Grants {
                clock: granted(Grant::Clock).then(|| Arc::clone(clock)),
                random: granted(Grant::Random).then(|| Arc::clone(random)),
            },
            limits: Limits {
                memory_bytes: self.memory_bytes,
                deadline: Duration::from_millis(self.deadline_ms),
                output_bytes: self.output_bytes,
                ..Limits::default()
            },
            retries: self.retries,
            batch_bytes: self.batch_bytes,
            ..FunctionOptions::new(name)
        }
    }

    fn text(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("texts and numbers serialise")
    }

    /// What it is known by.
    pub(super) fn digest(&self) -> String {
        hash(&self.text())
    }
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

    fn path(&self, digest: &str, extension: &str) -> PathBuf {
        self.0.join(digest).with_extension(extension)
    }

    /// Puts a version on disk; it is durable when this returns.
    ///
    /// # Errors
    /// As the operating system says.
    pub(super) fn keep(&self, version: &Version, wasm: &[u8]) -> io::Result<()> {
        let text = version.text();
        // The file first: a version that is there is whole.
        for (digest, extension, bytes) in [(&version.module, "wasm", wasm), (&hash(&text), "json", &text)] {
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
    pub(super) fn find(&self, digest: &str) -> io::Result<Option<(Version, Vec<u8>)>> {
        let Some(text) = self.read(digest, "json")? else { return Ok(None) };
        // One of a newer standpipe, which may have what this one does not know, is as good as gone.
        let Ok(version) = serde_json::from_slice::<Version>(&text) else { return Ok(None) };
        let wasm = self.read(&version.module, "wasm")?;
        Ok(wasm.map(|wasm| (version, wasm)))
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

    /// Removes all versions but these, with the files that none of them needs.
    ///
    /// # Errors
    /// As the operating system says; what is left is removed another time.
    pub(super) fn keep_only(&self, needed: &BTreeSet<String>) -> io::Result<()> {
        let mut modules = BTreeSet::new();
        for digest in needed {
            let version = self.read(digest, "json")?;
            let version = version.and_then(|text| serde_json::from_slice::<Version>(&text).ok());
            modules.extend(version.map(|version| version.module));
        }
        for entry in fs::read_dir(&self.0)? {
            let path = entry?.path();
            let part =
                |part: Option<&std::ffi::OsStr>| part.and_then(|part| part.to_str()).map(str::to_owned);
            let (stem, extension) = (part(path.file_stem()).unwrap_or_default(), part(path.extension()));
            let stays = match extension.as_deref() {
                Some("json") => needed.contains(&stem),
                Some("wasm") => modules.contains(&stem),
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
