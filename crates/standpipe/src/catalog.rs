//! The definitions of streams on disk: every version that an unsettled batch may still need.
//!
//! ```text
//! <data_dir>/streams/<name>/definition-<version>.json    the highest version is the current one
//!                          /schema-<version>.json        what its rows have come to, where they say so
//!                          /tags.json                    its tags, where it has any
//!                          /deleting                     it is being deleted, and nothing else may become of it
//!                          /journal/                     the stream's write-ahead log
//! <data_dir>/trash/<name>-<ms>/                          deleted through the API, kept for seven days
//! <data_dir>/archive/<name>-<ms>/                        left the YAML and delivered everything
//! ```

mod recorded;

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use standpipe_ingest::{Destination, DestinationKind, Tags};
use standpipe_model::{StreamName, Timestamp};

use crate::durable;
use crate::spec::StreamSpec;
pub(crate) use recorded::{Damaged, Recorded};

const FORMAT: u32 = 1;
const TAGS: &str = "tags.json";
const DELETING: &str = "deleting";

/// Where a stream's definition comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// The configuration file.
    Yaml,
    /// The API.
    Api,
}

/// One version of a stream's definition. `Debug` hides the secrets of its destination.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Definition {
    pub(crate) format: u32,
    /// The version (`VersionId`), from 1.
    pub version: u64,
    /// Where it comes from.
    pub origin: Origin,
    /// When the stream was made.
    pub created_at: Timestamp,
    /// When this version was made; `None` for the first.
    pub updated_at: Option<Timestamp>,
    /// `DirectPutSourceConfiguration.ThroughputHintInMBs`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub throughput_hint_in_mbs: Option<u64>,
    /// The kind of destination that the API was given.
    #[serde(default = "extended_s3")]
    pub kind: DestinationKind,
    /// The destination as the API was given it, merged; `None` for a stream of the configuration file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub configuration: Option<Map<String, Value>>,
    /// What it comes to.
    pub spec: StreamSpec,
}

impl fmt::Debug for Definition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let given = self.configuration.clone();
        let destination = given.map(|configuration| Destination { kind: self.kind, configuration });
        f.debug_struct("Definition")
            .field("version", &self.version)
            .field("origin", &self.origin)
            .field("destination", &destination)
            .field("spec", &self.spec)
            .finish_non_exhaustive()
    }
}

impl Definition {
    /// The first version of a stream.
    pub fn first(origin: Origin, spec: StreamSpec, created_at: Timestamp) -> Self {
        Self {
            format: FORMAT,
            version: 1,
            origin,
            created_at,
            updated_at: None,
            throughput_hint_in_mbs: None,
            kind: extended_s3(),
            configuration: None,
            spec,
        }
    }

    /// The version after this one.
    pub fn next(&self, spec: StreamSpec, now: Timestamp) -> Self {
        Self { version: self.version + 1, updated_at: Some(now), spec, ..self.clone() }
    }
}

/// The kind of the configuration file's streams, and of those made before there were others.
fn extended_s3() -> DestinationKind {
    DestinationKind::ExtendedS3
}

/// A stream's definitions could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// The disk refused.
    #[error("cannot access {}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The file is not a definition.
    #[error("{} is not a stream definition", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: serde_json::Error,
    },
    /// The file was written by a newer standpipe.
    #[error("{} has format {found}; this build reads up to {FORMAT}", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u32,
    },
}

/// The data directory's folders of streams.
#[derive(Debug, Clone)]
pub struct Catalog {
    data_dir: PathBuf,
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> CatalogError {
    let path = path.to_owned();
    |source| CatalogError::Io { path, source }
}

impl Catalog {
    /// The catalog in a data directory, which is made when it is not there.
    ///
    /// # Errors
    /// [`CatalogError::Io`].
    pub fn open(data_dir: &Path) -> Result<Self, CatalogError> {
        for folder in ["streams", "trash", "archive"] {
            let folder = data_dir.join(folder);
            durable::create_dir(&folder).map_err(at(&folder))?;
        }
        Ok(Self { data_dir: data_dir.to_owned() })
    }

    fn streams(&self) -> PathBuf {
        self.data_dir.join("streams")
    }

    /// The folder of a stream.
    pub fn folder(&self, stream: &StreamName) -> PathBuf {
        self.streams().join(stream.as_str())
    }

    /// The folder of a stream's journal.
    pub fn journal(&self, stream: &StreamName) -> PathBuf {
        self.folder(stream).join("journal")
    }

    /// The streams that have a folder.
    ///
    /// # Errors
    /// [`CatalogError::Io`].
    pub fn list(&self) -> Result<Vec<StreamName>, CatalogError> {
        let streams = self.streams();
        let mut names = Vec::new();
        for entry in fs::read_dir(&streams).map_err(at(&streams))? {
            let entry = entry.map_err(at(&streams))?;
            let name = entry.file_name().into_string().ok().and_then(|name| StreamName::parse(&name).ok());
            names.extend(name.filter(|_| entry.path().is_dir()));
        }
        names.sort();
        Ok(names)
    }

    /// All versions of a stream's definition that are kept; none when its folder is only a beginning.
    ///
    /// # Errors
    /// [`CatalogError`].
    pub fn load(&self, stream: &StreamName) -> Result<BTreeMap<u64, Definition>, CatalogError> {
        let folder = self.folder(stream);
        let mut versions = BTreeMap::new();
        if !folder.is_dir() {
            return Ok(versions);
        }
        for entry in fs::read_dir(&folder).map_err(at(&folder))? {
            let path = entry.map_err(at(&folder))?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if !(name.starts_with("definition-") && name.ends_with(".json")) {
                continue;
            }
            let bytes = fs::read(&path).map_err(at(&path))?;
            let definition = parse(&path, &bytes)?;
            versions.insert(definition.version, definition);
        }
        Ok(versions)
    }

    /// Stores a version of a definition, for its owner alone as it may hold secrets; it is durable when this returns.
    ///
    /// # Errors
    /// [`CatalogError::Io`].
    pub fn save(&self, definition: &Definition) -> Result<(), CatalogError> {
        let folder = self.folder(&definition.spec.name);
        durable::create_dir(&folder).map_err(at(&folder))?;
        let path = folder.join(format!("definition-{}.json", definition.version));
        let text = serde_json::to_vec_pretty(definition)
            .map_err(|source| CatalogError::Malformed { path: path.clone(), source })?;
        durable::write_private(&path, &text).map_err(at(&path))
    }

    /// Forgets a version that no batch needs any more.
    ///
    /// # Errors
    /// [`CatalogError::Io`].
    pub fn forget(&self, stream: &StreamName, version: u64) -> Result<(), CatalogError> {
        let path = self.folder(stream).join(format!("definition-{version}.json"));
        fs::remove_file(&path).map_err(at(&path))
    }

    /// A stream's tags.
    ///
    /// # Errors
    /// [`CatalogError`].
    pub fn tags(&self, stream: &StreamName) -> Result<Tags, CatalogError> {
        let path = self.folder(stream).join(TAGS);
        match fs::read(&path) {
            Ok(bytes) => {
                serde_json::from_slice(&bytes).map_err(|source| CatalogError::Malformed { path, source })
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Tags::new()),
            Err(error) => Err(at(&path)(error)),
        }
    }

    /// Stores a stream's tags; they are durable when this returns.
    ///
    /// # Errors
    /// [`CatalogError`].
    pub fn save_tags(&self, stream: &StreamName, tags: &Tags) -> Result<(), CatalogError> {
        let folder = self.folder(stream);
        durable::create_dir(&folder).map_err(at(&folder))?;
        let path = folder.join(TAGS);
        let text = serde_json::to_vec_pretty(tags)
            .map_err(|source| CatalogError::Malformed { path: path.clone(), source })?;
        durable::write(&path, &text).map_err(at(&path))
    }

    /// Notes that a stream is being deleted; a crash does not bring it back after that.
    ///
    /// # Errors
    /// [`CatalogError::Io`].
    pub fn mark_deleting(&self, stream: &StreamName) -> Result<(), CatalogError> {
        let path = self.folder(stream).join(DELETING);
        durable::write(&path, b"").map_err(at(&path))
    }

    /// Whether a stream is being deleted.
    pub fn is_deleting(&self, stream: &StreamName) -> bool {
        self.folder(stream).join(DELETING).is_file()
    }

    /// Moves a stream's folder out of the way: `trash` when it was deleted, `archive` when it was retired.
    ///
    /// # Errors
    /// [`CatalogError::Io`].
    pub fn put_away(&self, stream: &StreamName, into: Away, now: Timestamp) -> Result<(), CatalogError> {
        let folder = self.folder(stream);
        let target = self.data_dir.join(into.folder()).join(format!("{stream}-{}", now.as_millis()));
        match durable::rename(&folder, &target) {
            // An earlier try moved it and could not be sure.
            Err(error) if error.kind() == io::ErrorKind::NotFound && !folder.exists() => Ok(()),
            moved => moved.map_err(at(&folder)),
        }
    }

    /// Moves a folder without a definition out of the way: the making of a stream was interrupted, and one that is made
    /// under the same name must not find its tags.
    ///
    /// # Errors
    /// [`CatalogError`].
    pub fn make_room(&self, stream: &StreamName, now: Timestamp) -> Result<(), CatalogError> {
        if self.folder(stream).exists() && self.load(stream)?.is_empty() {
            return self.put_away(stream, Away::Trash, now);
        }
        Ok(())
    }

    /// Removes what has been in the trash for longer than seven days.
    ///
    /// # Errors
    /// [`CatalogError::Io`].
    pub fn empty_trash(&self, now: Timestamp) -> Result<usize, CatalogError> {
        const KEPT_MS: u64 = 7 * 24 * 3600 * 1000;
        let trash = self.data_dir.join(Away::Trash.folder());
        let mut removed = 0;
        for entry in fs::read_dir(&trash).map_err(at(&trash))? {
            let path = entry.map_err(at(&trash))?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let put_at = name.rsplit_once('-').and_then(|(_, ms)| ms.parse::<u64>().ok());
            if put_at.is_some_and(|put_at| put_at.saturating_add(KEPT_MS) < now.as_millis()) {
                fs::remove_dir_all(&path).map_err(at(&path))?;
                removed += 1;
            }
        }
        Ok(removed)
    }
}

/// Why a stream's folder is put away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Away {
    /// It was deleted, with what it had not delivered.
    Trash,
    /// It was retired and has delivered everything.
    Archive,
}

impl Away {
    fn folder(self) -> &'static str {
        match self {
            Self::Trash => "trash",
            Self::Archive => "archive",
        }
    }
}

fn parse(path: &Path, bytes: &[u8]) -> Result<Definition, CatalogError> {
    #[derive(Deserialize)]
    struct Probe {
        format: u32,
    }
    let malformed = |source| CatalogError::Malformed { path: path.to_owned(), source };
    let probe: Probe = serde_json::from_slice(bytes).map_err(malformed)?;
    if probe.format > FORMAT {
        return Err(CatalogError::Newer { path: path.to_owned(), found: probe.format });
    }
    serde_json::from_slice(bytes).map_err(malformed)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::spec::{Buffering, S3Destination};
    use standpipe_model::{Compression, DestinationId, ObjectOptions};

    fn spec() -> StreamSpec {
        let destination = S3Destination {
            store: "disk".into(),
            bucket: "b".into(),
            prefix: String::new(),
            error_output_prefix: String::new(),
            compression: Compression::Gzip,
            compression_level: None,
            delimiter: "\n".into(),
            file_extension: String::new(),
            custom_time_zone: String::new(),
            buffering: Buffering::default(),
            object: ObjectOptions::default(),
            logging: None,
            partitioning: None,
            conversion: None,
            endpoint: None,
            patience: None,
        };
        let name = StreamName::parse("s").unwrap();
        StreamSpec {
            name,
            id: DestinationId::primary(),
            further: Vec::new(),
            destination,
            backup: None,
            processors: Vec::new(),
            journal_limit_bytes: None,
            retention_ms: 0,
            encryption_key: None,
        }
    }

    #[test]
    fn versions_are_kept_until_forgotten_and_a_deleted_stream_for_seven_days() {
        let dir = tempfile::tempdir().unwrap();
        let catalog = Catalog::open(dir.path()).unwrap();
        let first = Definition::first(Origin::Yaml, spec(), Timestamp(5));
        let second = first.next(spec(), Timestamp(6));
        catalog.save(&first).unwrap();
        catalog.save(&second).unwrap();
        let name = &first.spec.name;
        assert_eq!(catalog.list().unwrap(), std::slice::from_ref(name));
        let file = fs::metadata(catalog.folder(name).join("definition-1.json")).unwrap();
        assert_eq!(file.permissions().mode() & 0o777, 0o600, "a destination may hold secrets");
        assert_eq!(catalog.load(name).unwrap(), BTreeMap::from([(1, first.clone()), (2, second)]));
        catalog.forget(name, 1).unwrap();
        assert_eq!(catalog.load(name).unwrap().len(), 1);
        catalog.put_away(name, Away::Trash, Timestamp(1000)).unwrap();
        assert!(catalog.list().unwrap().is_empty());
        let week = 7 * 24 * 3600 * 1000;
        assert_eq!(catalog.empty_trash(Timestamp(week)).unwrap(), 0);
        assert_eq!(catalog.empty_trash(Timestamp(week + 1001)).unwrap(), 1);
    }

    #[test]
    fn a_definition_of_a_newer_standpipe_is_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let catalog = Catalog::open(dir.path()).unwrap();
        let mut newer = Definition::first(Origin::Yaml, spec(), Timestamp(5));
        newer.format = 2;
        catalog.save(&newer).unwrap();
        let error = catalog.load(&newer.spec.name).unwrap_err().to_string();
        assert!(error.contains("definition-1.json has format 2"), "{error}");
    }
}
