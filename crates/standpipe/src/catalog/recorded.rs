//! The schemas of a stream that its rows have come to (`schema: infer`) or a catalog has, by version: the one in force, and
//! those that open batches were closed under. One that cannot be understood is set aside, unless such a batch names it: it
//! is held then, and nothing else is.
//!
//! ```text
//! <data_dir>/streams/<name>/schema-<version>.json
//!                                                .damaged    set aside, for you to look at
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{PoisonError, RwLock};
use std::{fs, io};

use serde::{Deserialize, Serialize};
use standpipe_convert::TableSchema;
use tokio::sync::{Mutex, MutexGuard};

use super::{CatalogError, at};
use crate::durable;

const FORMAT: u32 = 1;

/// What every version of a file has.
#[derive(Deserialize)]
struct Numbered {
    format: u32,
}

/// What a file holds.
#[derive(Serialize, Deserialize)]
struct Version {
    format: u32,
    /// What they are the columns of.
    of: String,
    columns: TableSchema,
}

/// A recorded schema that cannot be understood.
#[derive(Debug)]
pub(crate) struct Damaged {
    pub(crate) version: u64,
    /// An open batch was closed under it.
    pub(crate) is_needed: bool,
    pub(crate) error: CatalogError,
}

/// The recorded schemas of a stream. Version 0 is the one before the first: it has no columns.
#[derive(Debug)]
pub(crate) struct Recorded {
    folder: PathBuf,
    versions: RwLock<BTreeMap<u64, (String, TableSchema)>>,
    changing: Mutex<()>,
}

impl Recorded {
    /// What is recorded in the folder of a stream, where open batches need those versions.
    ///
    /// # Errors
    /// [`CatalogError`]: the disk refuses, or a file is of a newer standpipe.
    pub(crate) fn open(
        folder: PathBuf,
        needed: &BTreeSet<u64>,
    ) -> Result<(Self, Vec<Damaged>), CatalogError> {
        let (mut versions, mut damaged) = (BTreeMap::new(), Vec::new());
        for entry in fs::read_dir(&folder).map_err(at(&folder))? {
            let path = entry.map_err(at(&folder))?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let number = name.strip_prefix("schema-").and_then(|rest| rest.strip_suffix(".json"));
            let Some(number) = number.and_then(|number| number.parse().ok()) else { continue };
            let bytes = fs::read(&path).map_err(at(&path))?;
            let Numbered { format } = serde_json::from_slice(&bytes).unwrap_or(Numbered { format: FORMAT });
            if format > FORMAT {
                return Err(CatalogError::Newer { path, found: format });
            }
            match serde_json::from_slice(&bytes) {
                Ok(Version { of, columns, .. }) => drop(versions.insert(number, (of, columns))),
                Err(source) => {
                    let is_needed = needed.contains(&number);
                    if !is_needed {
                        durable::rename(&path, &path.with_extension("json.damaged")).map_err(at(&path))?;
                    }
                    let error = CatalogError::Malformed { path, source };
                    damaged.push(Damaged { version: number, is_needed, error });
                }
            }
        }
        Ok((Self { folder, versions: RwLock::new(versions), changing: Mutex::default() }, damaged))
    }

    fn path(&self, version: u64) -> PathBuf {
        self.folder.join(format!("schema-{version}.json"))
    }

    /// The latest version that is of this.
    pub(crate) fn in_force(&self, of: &str) -> (u64, TableSchema) {
        let versions = self.versions.read().unwrap_or_else(PoisonError::into_inner);
        let latest = versions.iter().rfind(|(_, (other, _))| other == of);
        latest.map(|(version, (_, schema))| (*version, schema.clone())).unwrap_or_default()
    }

    /// A version, while a batch needs it.
    pub(crate) fn at(&self, version: u64) -> Option<TableSchema> {
        let versions = self.versions.read().unwrap_or_else(PoisonError::into_inner);
        versions
            .get(&version)
            .map(|(_, schema)| schema.clone())
            .or_else(|| (version == 0).then(TableSchema::default))
    }

    /// While this is held the version in force stays so, and is not forgotten: until a batch is closed under it.
    pub(crate) async fn hold(&self) -> MutexGuard<'_, ()> {
        self.changing.lock().await
    }

    /// Puts a schema in force, durably, and forgets the versions that are not `needed`; blocking. Only by who
    /// [holds](Self::hold) it.
    ///
    /// # Errors
    /// [`CatalogError`]: it is not in force.
    pub(crate) fn record(
        &self,
        of: String,
        schema: TableSchema,
        needed: &BTreeSet<u64>,
    ) -> Result<u64, CatalogError> {
        let latest = self
            .versions
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .last_key_value()
            .map(|(last, _)| *last);
        // A number that a batch names is never given again, though its file be gone.
        let version = latest.max(needed.last().copied()).unwrap_or_default() + 1;
        let path = self.path(version);
        let text =
            serde_json::to_vec_pretty(&Version { format: FORMAT, of: of.clone(), columns: schema.clone() })
                .map_err(|source| CatalogError::Malformed { path: path.clone(), source })?;
        durable::write(&path, &text).map_err(at(&path))?;
        let mut versions = self.versions.write().unwrap_or_else(PoisonError::into_inner);
        // Of another source the latest stays, too: a batch may be on its way to be closed under it.
        let mut latest: BTreeMap<String, u64> = BTreeMap::new();
        latest.extend(
            versions.iter().filter(|(_, (other, _))| *other != of).map(|(v, (o, _))| (o.clone(), *v)),
        );
        let gone = versions.extract_if(.., |version, (other, _)| {
            !needed.contains(version) && latest.get(other) != Some(version)
        });
        for (former, _) in gone {
            // One that stays behind is found again at the next start, and goes then.
            fs::remove_file(self.path(former)).ok();
        }
        versions.insert(version, (of, schema));
        Ok(version)
    }

    /// Whether anything is recorded of what `is_meant`.
    pub(crate) fn has(&self, is_meant: impl Fn(&str) -> bool) -> bool {
        let versions = self.versions.read().unwrap_or_else(PoisonError::into_inner);
        versions.values().any(|(of, _)| is_meant(of))
    }

    /// Forgets what is recorded of what `is_meant`, where no open batch needs it; blocking. Only by who
    /// [holds](Self::hold) it.
    ///
    /// # Errors
    /// [`CatalogError`]: a file cannot be removed, and what it holds is still known.
    pub(crate) fn forget(
        &self,
        is_meant: impl Fn(&str) -> bool,
        needed: &BTreeSet<u64>,
    ) -> Result<(), CatalogError> {
        let mut versions = self.versions.write().unwrap_or_else(PoisonError::into_inner);
        let meant = versions.iter().filter(|(version, (of, _))| !needed.contains(version) && is_meant(of));
        let meant: Vec<u64> = meant.map(|(version, _)| *version).collect();
        for version in meant {
            let path = self.path(version);
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(at(&path)(error)),
                _ => drop(versions.remove(&version)),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use standpipe_convert::Column;

    use super::*;

    #[test]
    fn versions_outlive_a_restart_while_they_are_needed() {
        let dir = tempfile::tempdir().unwrap();
        let open = || Recorded::open(dir.path().to_owned(), &BTreeSet::new()).unwrap().0;
        let recorded = open();
        assert_eq!(recorded.in_force("rows"), (0, TableSchema::default()));
        assert_eq!(recorded.at(0), Some(TableSchema::default()));
        let schema = |kind: &str| TableSchema::new(vec![Column::parse("a", kind).unwrap()]).unwrap();
        let mut needed = BTreeSet::new();
        for (number, kind) in [(1, "int"), (2, "bigint"), (3, "string")] {
            assert_eq!(recorded.record("rows".to_owned(), schema(kind), &needed).unwrap(), number);
            needed.insert(1);
        }
        for recorded in [recorded, open()] {
            assert_eq!(recorded.in_force("rows"), (3, schema("string")));
            assert_eq!(recorded.in_force("glue lake t LATEST"), (0, TableSchema::default()));
            assert_eq!((recorded.at(1), recorded.at(2)), (Some(schema("int")), None));
        }
        let glue = "glue lake t LATEST".to_owned();
        let (lost, recorded) = (BTreeSet::from([1, 7]), open());
        assert_eq!(
            recorded.record(glue, schema("int"), &lost).unwrap(),
            8,
            "a number that is named is taken"
        );
        assert_eq!(
            recorded.in_force("rows"),
            (3, schema("string")),
            "what a batch may still be closed under"
        );
        fs::write(dir.path().join("schema-9.json"), r#"{"format":2,"of":"rows","rows":[]}"#).unwrap();
        let error = Recorded::open(dir.path().to_owned(), &lost).unwrap_err().to_string();
        assert!(error.contains("schema-9.json has format 2"), "{error}");
    }

    #[test]
    fn what_is_forgotten_is_gone_from_the_disk_and_what_a_batch_needs_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let open = || Recorded::open(dir.path().to_owned(), &BTreeSet::new()).unwrap().0;
        let schema = TableSchema::new(vec![Column::parse("a", "int").unwrap()]).unwrap();
        let recorded = open();
        for of in ["rows", "rows of a", "glue lake t LATEST of a", "rows of b"] {
            recorded.record(of.to_owned(), schema.clone(), &BTreeSet::new()).unwrap();
        }
        recorded.forget(|of| of.ends_with(" of a"), &BTreeSet::from([2])).unwrap();
        for recorded in [recorded, open()] {
            let kept: Vec<_> = (1..=4).map(|version| recorded.at(version).is_some()).collect();
            assert_eq!(kept, [true, true, false, true]);
            assert!(recorded.has(|of| of == "rows of b") && !recorded.has(|of| of.starts_with("glue")));
        }
    }

    #[test]
    fn what_cannot_be_understood_is_set_aside_unless_it_is_needed() {
        let dir = tempfile::tempdir().unwrap();
        let open = |needed: &BTreeSet<u64>| Recorded::open(dir.path().to_owned(), needed).unwrap();
        let needed = BTreeSet::from([1, 2]);
        let schema = TableSchema::new(vec![Column::parse("a", "int").unwrap()]).unwrap();
        open(&needed).0.record("rows".to_owned(), schema.clone(), &needed).unwrap();
        for version in [2, 4] {
            fs::write(dir.path().join(format!("schema-{version}.json")), b"{\"format\":1,\xff").unwrap();
        }
        let (recorded, mut damaged) = open(&needed);
        damaged.sort_by_key(|one| one.version);
        let found: Vec<_> = damaged.iter().map(|one| (one.version, one.is_needed)).collect();
        assert_eq!(found, [(2, true), (4, false)]);
        assert!(damaged[1].error.to_string().contains("schema-4.json"), "{}", damaged[1].error);
        assert_eq!(recorded.in_force("rows"), (3, schema.clone()));
        assert_eq!((recorded.at(2), recorded.record("rows".to_owned(), schema, &needed).unwrap()), (None, 4));
        // Once nothing needs it, it goes aside as well.
        assert_eq!(open(&BTreeSet::from([1])).1.len(), 1);
        assert!(open(&BTreeSet::new()).1.is_empty());
        for version in [2, 4] {
            assert!(dir.path().join(format!("schema-{version}.json.damaged")).exists());
        }
    }
}
