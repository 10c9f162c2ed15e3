//! The bucket where rows wait to be loaded: objects and their manifests.

use std::fmt::Debug;
use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use standpipe_model::{
    BatchId, BatchRange, Delivery, ErrorClass, Media, ObjectOptions, ObjectTarget, Request, Sink, SinkError,
};

use super::copy::url;
use crate::client::{aside, gzip};
use crate::key::{KeyError, ObjectKeys, PrefixError};

/// Where manifests are, as Firehose has it.
const MANIFESTS: &str = "manifests/";
/// Where those are of which nothing was loaded.
const FAILED: &str = "errors/manifests/";

const MEDIA: Media =
    Media { content_type: "application/octet-stream", content_encoding: None, extension: "" };

/// What staged objects are like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StagingOptions {
    /// The bucket.
    pub bucket: String,
    /// The prefix expression of objects, as written.
    pub prefix: String,
    /// The time zone of keys; empty means UTC.
    pub custom_time_zone: String,
    /// What keys of objects end with.
    pub extension: String,
    /// Whether objects are compressed.
    pub gzip: bool,
    /// What the store is told about each of them.
    pub object: ObjectOptions,
}

/// A place to stage objects.
#[derive(Debug, Clone)]
pub struct Staging {
    /// What objects are like.
    pub options: StagingOptions,
    /// The store's client.
    pub store: Arc<dyn Sink>,
}

impl PartialEq for Staging {
    fn eq(&self, other: &Self) -> bool {
        self.options == other.options && Arc::ptr_eq(&self.store, &other.store)
    }
}

/// Where some rows of a request are staged, which follows from the rows and how they are put together.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) rows: Vec<usize>,
    /// Whether each ends as a line.
    lines: bool,
    object: ObjectTarget,
    pub(super) manifest: ObjectTarget,
    /// Their manifest once they are given up.
    failed: ObjectTarget,
}

#[derive(Debug, thiserror::Error)]
enum PlaceError {
    #[error(transparent)]
    Prefix(#[from] PrefixError),
    #[error(transparent)]
    Key(#[from] KeyError),
}

impl Staging {
    /// Where the rows with those numbers are staged, as `lines` or as they are.
    ///
    /// # Errors
    /// A key is too long.
    pub(super) fn place(&self, request: &Request, rows: Vec<usize>, lines: bool) -> Result<Place, SinkError> {
        let identity = identity(request, &rows, lines, self.options.gzip);
        let key = |prefix: &str, extension: &str| -> Result<ObjectTarget, PlaceError> {
            let zone = &self.options.custom_time_zone;
            let keys = ObjectKeys::new(request.stream.clone(), prefix, "", zone, extension, false);
            let arrived_at = rows.first().map(|&row| request.rows[row].arrived_at).unwrap_or_default();
            let key = keys?.object_key(request.version, identity, 0, arrived_at, None)?;
            Ok(ObjectTarget { bucket: self.options.bucket.clone(), key })
        };
        let all = || {
            let object = key(&self.options.prefix, &self.options.extension)?;
            Ok((object, key(MANIFESTS, "")?, key(FAILED, "")?))
        };
        let all: Result<_, PlaceError> = all();
        // It would not help to send the rows elsewhere: their keys are no longer than these.
        let (object, manifest, failed) = all.map_err(|error| {
            let message = format!("the key of a staged object cannot be made: {error}");
            SinkError::new(ErrorClass::Misconfigured, message).with_source(error)
        })?;
        Ok(Place { rows, lines, object, manifest, failed })
    }

    /// Stages rows. Gives the bytes that were sent.
    pub(super) async fn put(&self, request: &Request, place: &Place) -> Result<u64, SinkError> {
        let rows: Vec<Bytes> = place.rows.iter().map(|&row| request.rows[row].data.clone()).collect();
        let lines = place.lines;
        let packs = self.options.gzip;
        let body = aside(move || {
            let body = joined(&rows, lines);
            if packs { gzip(&body) } else { body }
        });
        let encoding = packs.then_some("gzip");
        let media = Media { content_encoding: encoding, ..MEDIA };
        self.send(request, place, &place.object, media, body.await?.into()).await
    }

    /// Writes the manifest that a `COPY` reads.
    pub(super) async fn put_manifest(&self, request: &Request, place: &Place) -> Result<(), SinkError> {
        self.send_manifest(request, place, &place.manifest).await
    }

    /// Moves the manifest to those of which nothing was loaded.
    pub(super) async fn give_up(&self, request: &Request, place: &Place) -> Result<(), SinkError> {
        self.send_manifest(request, place, &place.failed).await?;
        self.store.remove(&place.manifest).await
    }

    /// Removes what was loaded.
    pub(super) async fn clean(&self, place: &Place) -> Result<(), SinkError> {
        self.store.remove(&place.manifest).await?;
        self.store.remove(&place.object).await
    }

    async fn send_manifest(
        &self,
        request: &Request,
        place: &Place,
        target: &ObjectTarget,
    ) -> Result<(), SinkError> {
        let manifest = json!({"entries": [{"url": url(&place.object), "mandatory": true}]});
        self.send(request, place, target, MEDIA, manifest.to_string().into()).await.map(drop)
    }

    async fn send(
        &self,
        request: &Request,
        place: &Place,
        target: &ObjectTarget,
        media: Media,
        body: Bytes,
    ) -> Result<u64, SinkError> {
        let position = |row: Option<&usize>| row.map(|&row| request.rows[row].origin.position);
        let ends = position(place.rows.first()).zip(position(place.rows.last()));
        let (first, last) = ends.unwrap_or_default();
        // What is locked cannot be removed, and is locked to be kept, which these are not for.
        let options = ObjectOptions { lock: None, ..self.options.object.clone() };
        let delivery = Delivery {
            stream: request.stream.clone(),
            version: request.version,
            batch: request.batch,
            range: BatchRange { first, last },
            closed_by: request.closed_by,
            target: target.clone(),
            media,
            options: Arc::new(options),
            retain_until: None,
            repeated: request.repeated,
        };
        let sent = self.store.attempt(&delivery, stream::iter([Ok(body)]).boxed()).await;
        // The table has not failed, and what it does not get because of this is not given up.
        sent.map(|receipt| receipt.bytes).map_err(|error| SinkError { is_ours: true, ..error })
    }
}

/// What keys derive from: the request, exactly these rows of it, and what is made of them, as an object that is there
/// already is not written again, and what is told to `COPY` may have been mended since.
fn identity(request: &Request, rows: &[usize], lines: bool, gzip: bool) -> BatchId {
    let mut hash = Sha256::new();
    hash.update(b"standpipe staged");
    hash.update(request.id.0);
    hash.update([u8::from(lines), u8::from(gzip)]);
    for &row in rows {
        let origin = request.rows[row].origin;
        hash.update(origin.position.0.to_le_bytes());
        hash.update(origin.sub.to_le_bytes());
    }
    let digest = hash.finalize();
    BatchId(std::array::from_fn(|byte| digest[byte]))
}

/// Rows one behind the other. Lines that do not end as such would run into the next.
fn joined(rows: &[Bytes], lines: bool) -> Vec<u8> {
    let mut all = Vec::with_capacity(rows.iter().map(|row| row.len() + 1).sum());
    for row in rows {
        all.extend_from_slice(row);
        if lines && !row.is_empty() && !row.ends_with(b"\n") {
            all.push(b'\n');
        }
    }
    all
}
