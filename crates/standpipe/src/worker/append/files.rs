//! The files of a table of Iceberg in its store: what was stored, and what is said of it.

use bytes::Bytes;
use futures::stream::{self, StreamExt as _};
use standpipe_convert::CompressError;
use standpipe_convert::manifest::{AddedFile, Manifest, ReadError, read_list};
use standpipe_convert::parquet::{Footer, footer};
use standpipe_model::{Delivery, ErrorClass, Media, ObjectTarget, SinkError};
use standpipe_sinks::Found;
use standpipe_sinks::iceberg::TableMetadata;

use super::table::{misconfigured, split};
use crate::stores::Client;

/// The most bytes of a list of manifests.
const LIST_MAX: u64 = 64 << 20;
/// So many of a file's last bytes are read, which hold the footer of most.
const TAIL_BYTES: u64 = 64 << 10;

/// What was stored, as it is there: an earlier attempt may have stored it, in an earlier version.
pub(super) async fn stored(
    store: &dyn Client,
    delivery: &Delivery,
    path: String,
) -> Result<AddedFile, SinkError> {
    let target = &delivery.target;
    let missing = || {
        let message = format!("{path}: the store does not list the file that it has taken");
        SinkError::new(ErrorClass::Transient, message)
    };
    let listed = store.list(&target.bucket, &target.key, None, 1).await?;
    let bytes = listed.iter().find(|object| object.key == target.key).ok_or_else(missing)?.bytes;
    let mut tail = TAIL_BYTES.min(bytes);
    let rows = loop {
        let last = store.read_part(target, bytes - tail, tail).await?;
        let found = footer(&last).map_err(|error| {
            SinkError::new(ErrorClass::Refused, format!("{path}: the file cannot be read")).with_source(error)
        })?;
        match found {
            Footer::Rows(rows) => break rows,
            Footer::Longer(len) if len <= bytes && len > tail => tail = len,
            Footer::Longer(_) => return Err(missing()),
        }
    };
    Ok(AddedFile { path, rows, bytes: i64::try_from(bytes).unwrap_or(i64::MAX) })
}

/// The manifests that a table has, all of which the next list has, too.
pub(super) async fn manifests_before(
    table: &TableMetadata,
    store: &dyn Client,
) -> Result<Vec<Manifest>, SinkError> {
    let Some(id) = table.current_id() else { return Ok(Vec::new()) };
    let list = table.current().and_then(|current| current.manifest_list.as_ref());
    let address =
        list.ok_or_else(|| misconfigured(format!("nothing is said of the table's snapshot {id}")))?;
    let (_, target) = split(address)?;
    let unread =
        |error: ReadError| misconfigured(format!("{address}: the list of manifests")).with_source(error);
    match store.read(&target, None, LIST_MAX).await? {
        Found::Other { bytes, .. } => read_list(&bytes).map_err(unread),
        Found::Same => Err(misconfigured(format!("{address}: the list of manifests was not read"))),
    }
}

/// Stores what is said of a file.
pub(super) async fn put(
    store: &dyn Client,
    delivery: &Delivery,
    target: ObjectTarget,
    bytes: Bytes,
) -> Result<(), SinkError> {
    let media =
        Media { content_type: "application/octet-stream", content_encoding: None, extension: ".avro" };
    let delivery = Delivery { target, media, repeated: false, ..delivery.clone() };
    store.attempt(&delivery, stream::iter([Ok(bytes)]).boxed()).await.map(drop)
}

pub(super) fn unmade(error: CompressError) -> SinkError {
    SinkError::new(ErrorClass::Transient, "a manifest cannot be made").with_source(error)
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use standpipe_sinks::{FileOptions, FileSink};

    use super::super::table::commit;
    use super::super::table::tests::table;
    use super::*;

    #[tokio::test]
    async fn a_snapshot_that_nothing_is_said_of_is_never_taken_for_none() {
        let folder = tempfile::tempdir().unwrap();
        let store = FileSink::new(FileOptions { root: folder.path().to_owned() });
        for none in [json!({}), json!({"current-snapshot-id": -1}), json!({"current-snapshot-id": null})] {
            assert_eq!(manifests_before(&table(&none), &store).await.unwrap(), []);
        }
        for (more, words) in [
            (json!({"current-snapshot-id": 7}), "nothing is said of the table's snapshot 7"),
            (json!({"refs": {"main": {"snapshot-id": 7}}}), "nothing is said of the table's snapshot 7"),
            (
                json!({"current-snapshot-id": 7, "snapshots": [{"snapshot-id": 7}]}),
                "nothing is said of the table's snapshot 7",
            ),
            (
                json!({"current-snapshot-id": 7, "snapshots": [{"snapshot-id": 7, "manifest-list": "s3://b/l.avro"}]}),
                "l.avro",
            ),
        ] {
            let error = manifests_before(&table(&more), &store).await.unwrap_err();
            assert!(error.message.contains(words), "{error}");
            let change = commit(&table(&more), 8, json!({}));
            assert_eq!(change["requirements"][1]["snapshot-id"], 7);
        }
    }
}
