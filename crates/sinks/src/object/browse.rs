//! Listing objects, and reading a part of one.

use std::future::ready;

use async_trait::async_trait;
use futures::{StreamExt as _, TryStreamExt as _};
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStoreExt as _};
use standpipe_model::{ObjectTarget, SinkError, Timestamp};

use super::sink::ObjectSink;
use crate::browse::{BrowseObjects, Listed};

impl ObjectSink {
    fn listed(&self, bucket: &str, of: ObjectMeta) -> Listed {
        let millis = of.last_modified.timestamp_millis();
        Listed {
            key: self.key_of(bucket, of.location.as_ref()).to_owned(),
            bytes: of.size,
            modified: Timestamp(u64::try_from(millis).unwrap_or(0)),
        }
    }
}

#[async_trait]
impl BrowseObjects for ObjectSink {
    async fn list(
        &self,
        bucket: &str,
        prefix: &str,
        after: Option<&str>,
        max: usize,
    ) -> Result<Vec<Listed>, SinkError> {
        // object_store knows prefixes only up to a slash.
        let folder = prefix.rsplit_once('/').map_or("", |(folder, _)| folder);
        let target = |key: &str| ObjectTarget { bucket: bucket.to_owned(), key: key.to_owned() };
        let failed = |error| self.failed(&target(prefix), "listing objects", error);
        let (store, folder) = self.open(&target(folder))?;
        let folder = Some(folder).filter(|folder| !folder.as_ref().is_empty());
        let listing = match after {
            Some(after) => store.list_with_offset(folder.as_ref(), &self.open(&target(after))?.1),
            None => store.list(folder.as_ref()),
        };
        // The services list by name, though object_store promises no order.
        let of = |object: ObjectMeta| self.listed(bucket, object);
        let listed = listing.map_ok(of).try_filter(|object| ready(object.key.starts_with(prefix)));
        listed.take(max).try_collect().await.map_err(failed)
    }

    async fn read_part(&self, target: &ObjectTarget, from: u64, len: u64) -> Result<Vec<u8>, SinkError> {
        let (store, key): (_, Path) = self.open(target)?;
        let part = store.get_range(&key, from..from.saturating_add(len)).await;
        Ok(part.map_err(|error| self.failed(target, "reading a part of the object", error))?.to_vec())
    }
}
