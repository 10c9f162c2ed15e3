//! What makes files a part of a table of Iceberg, version 2 of its format: a manifest, which lists data files, and the list of
//! a snapshot's manifests.
//!
//! ```text
//! snapshot ─► list of manifests ─► manifest ─► data file
//! ```
//!
//! Both are files of Avro. Of a list that others wrote everything is kept that the format knows; a manifest is written and
//! never read.

mod read;
mod write;

pub use read::{ReadError, read_list};
pub use write::{manifest, write_list};

/// A data file that is added to a table without partitions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddedFile {
    /// Its address.
    pub path: String,
    /// Its rows.
    pub rows: i64,
    /// Its size.
    pub bytes: i64,
}

/// What a manifest says of its table.
#[derive(Debug, Clone, Copy)]
pub struct TableForm<'a> {
    /// The schema, in JSON.
    pub schema: &'a str,
    /// The schema's id.
    pub schema_id: i32,
    /// The id of the specification of partitions, of which there are none.
    pub spec_id: i32,
}

/// A manifest, as a list has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// Its address.
    pub path: String,
    /// Its size.
    pub bytes: i64,
    /// The specification of partitions that its files have.
    pub spec_id: i32,
    /// Whether it lists data files (0) or files of deletions (1).
    pub content: i32,
    /// When it was added, as a number that counts the table's changes.
    pub sequence: i64,
    /// The least of these numbers that its files have.
    pub sequence_min: i64,
    /// The snapshot that added it.
    pub snapshot: i64,
    /// Files that were added, that were there, and that were deleted.
    pub files: [i32; 3],
    /// The rows of these.
    pub rows: [i64; 3],
    /// What values its files have in each of the partition's fields.
    pub partitions: Option<Vec<FieldSummary>>,
    /// What its key is known by, where it is encrypted.
    pub key_metadata: Option<Vec<u8>>,
}

impl Manifest {
    /// The one that lists just the file that is added.
    pub fn adding(
        file: &AddedFile,
        path: String,
        bytes: i64,
        snapshot: i64,
        sequence: i64,
        spec_id: i32,
    ) -> Self {
        Self {
            path,
            bytes,
            spec_id,
            content: 0,
            sequence,
            sequence_min: sequence,
            snapshot,
            files: [1, 0, 0],
            rows: [file.rows, 0, 0],
            partitions: Some(Vec::new()),
            key_metadata: None,
        }
    }
}

/// The values that files have in a field of their partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldSummary {
    /// Whether there are nulls.
    pub nulls: bool,
    /// Whether there are values that are no number, where it is known.
    pub nans: Option<bool>,
    /// The least value.
    pub lower: Option<Vec<u8>>,
    /// The greatest.
    pub upper: Option<Vec<u8>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn earlier(path: &str) -> Manifest {
        Manifest {
            path: path.to_owned(),
            bytes: 7_000,
            spec_id: 1,
            content: 1,
            sequence: 3,
            sequence_min: 2,
            snapshot: i64::MAX,
            files: [1, 2, 3],
            rows: [10, -1, i64::MIN],
            partitions: Some(vec![
                FieldSummary {
                    nulls: true,
                    nans: Some(false),
                    lower: Some(vec![0, 255]),
                    upper: Some(Vec::new()),
                },
                FieldSummary { nulls: false, nans: None, lower: None, upper: None },
            ]),
            key_metadata: Some(vec![1]),
        }
    }

    #[test]
    fn what_a_list_says_is_read_back() {
        let file = AddedFile { path: "s3://b/d.parquet".to_owned(), rows: 5, bytes: 9 };
        let own = Manifest::adding(&file, "s3://b/m.avro".to_owned(), 12, 77, 4, 0);
        let bare = Manifest { partitions: None, key_metadata: None, ..earlier("s3://b/c.avro") };
        let all = vec![own, bare, earlier("s3://b/é.avro")];
        let list = write_list(&all, 77, Some(76), 4).unwrap();
        assert_eq!(read_list(&list).unwrap(), all);
        let many: Vec<_> = (0..3_000).map(|number| earlier(&format!("s3://b/{number}.avro"))).collect();
        assert_eq!(read_list(&write_list(&many, 1, None, 1).unwrap()).unwrap(), many);
    }

    #[test]
    fn a_damaged_list_is_an_error_and_no_panic() {
        let list = write_list(&[earlier("s3://b/c.avro"), earlier("s3://b/d.avro")], 1, None, 1).unwrap();
        for end in 0..list.len() {
            assert!(read_list(&list[..end]).map_or(true, |found| found.is_empty()), "{end}");
        }
        for at in 0..list.len() {
            let mut bytes = list.to_vec();
            bytes[at] ^= 0x55;
            drop(read_list(&bytes));
        }
    }
}
