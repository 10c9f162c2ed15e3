//! Settings of a file store.

use std::path::PathBuf;

/// Where a file store keeps its objects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileOptions {
    /// The folder that holds the buckets' folders. It is created, with its parents, when the first object arrives.
    pub root: PathBuf,
}
