//! One attempt at one object in a Google or Azure store.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use futures::StreamExt;
use object_store::path::Path;
use object_store::{
    Error, MultipartUpload, ObjectStore, ObjectStoreExt, PutMode, PutMultipartOptions, PutOptions, PutPayload,
};
use standpipe_model::{Body, Delivery, ErrorClass, ObjectTarget, Receipt, Sink, SinkError};

use super::options::ObjectStoreOptions;
use super::request::{attributes, class};
use crate::source::{Source, body_failed};

/// A sink that stores objects through object_store.
pub struct ObjectSink {
    name: String,
    part_bytes: usize,
    stores: Stores,
}

/// Where the client of a bucket comes from.
enum Stores {
    /// From the settings, one client per bucket, made when it is first needed.
    Configured(Box<ObjectStoreOptions>, Mutex<HashMap<String, Arc<dyn ObjectStore>>>),
    /// One that was made elsewhere, for every bucket.
    Given(Arc<dyn ObjectStore>),
}

impl fmt::Debug for ObjectSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObjectSink").field("store", &self.name).finish_non_exhaustive()
    }
}

impl ObjectSink {
    /// A sink with these settings. Nothing is connected yet; settings that object_store refuses show at the first probe
    /// or attempt.
    pub fn new(options: ObjectStoreOptions) -> Self {
        let (name, part_bytes) = (options.provider.name(), options.part_bytes as usize);
        Self { name, part_bytes, stores: Stores::Configured(Box::new(options), Mutex::default()) }
    }

    /// A sink over a store that was made elsewhere; a key there begins with its bucket.
    pub fn over(name: &str, part_bytes: usize, store: Arc<dyn ObjectStore>) -> Self {
        Self { name: name.to_owned(), part_bytes, stores: Stores::Given(store) }
    }

    /// The most memory that one attempt holds: the part on its way and the one being filled.
    pub fn memory_per_attempt(&self) -> u64 {
        2 * self.part_bytes as u64
    }

    pub(super) fn open(&self, target: &ObjectTarget) -> Result<(Arc<dyn ObjectStore>, Path), SinkError> {
        let failed = |error| self.failed(target, "opening the store", error);
        let key = |key: &str| Path::parse(key).map_err(|error| failed(Error::from(error)));
        match &self.stores {
            Stores::Given(store) => {
                Ok((Arc::clone(store), key(&format!("{}/{}", target.bucket, target.key))?))
            }
            Stores::Configured(options, opened) => {
                let key = key(&target.key)?;
                // The map is valid at every moment, so a panic elsewhere while it was held has not harmed it.
                let mut opened = opened.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(store) = opened.get(&target.bucket) {
                    return Ok((Arc::clone(store), key));
                }
                let store = options.open(&target.bucket).map_err(|error| {
                    let mut error = failed(error);
                    error.class = ErrorClass::Misconfigured;
                    error
                })?;
                opened.insert(target.bucket.clone(), Arc::clone(&store));
                Ok((store, key))
            }
        }
    }

    /// The key of what a store has at `location`.
    pub(super) fn key_of<'a>(&self, bucket: &str, location: &'a str) -> &'a str {
        match &self.stores {
            Stores::Given(_) => {
                location.strip_prefix(bucket).map_or(location, |key| key.trim_start_matches('/'))
            }
            Stores::Configured(..) => location,
        }
    }

    pub(super) fn failed(&self, target: &ObjectTarget, what: &str, error: Error) -> SinkError {
        let place = self.place(target);
        SinkError::new(class(&error), format!("{place}: {what}: {error}")).with_source(error)
    }

    /// Store, bucket and key, for messages.
    pub(super) fn place(&self, target: &ObjectTarget) -> String {
        format!("{} bucket '{}' key '{}'", self.name, target.bucket, target.key)
    }

    /// Sends an object that fits one request.
    async fn put(&self, delivery: &Delivery, data: Vec<u8>) -> Result<Receipt, SinkError> {
        let (store, key) = self.open(&delivery.target)?;
        let bytes = data.len() as u64;
        let options =
            PutOptions { mode: PutMode::Create, attributes: attributes(delivery), ..PutOptions::default() };
        match store.put_opts(&key, PutPayload::from(data), options).await {
            Ok(_) => Ok(Receipt { bytes, existed: false }),
            Err(Error::AlreadyExists { .. }) => Ok(Receipt { bytes, existed: true }),
            Err(error) => Err(self.failed(&delivery.target, "storing the object", error)),
        }
    }

    /// Sends an object in parts; on any failure aborts the upload.
    async fn upload(
        &self,
        delivery: &Delivery,
        first: Vec<u8>,
        source: Source,
    ) -> Result<Receipt, SinkError> {
        let (store, key) = self.open(&delivery.target)?;
        let failed = |what| move |error| self.failed(&delivery.target, what, error);
        let options =
            PutMultipartOptions { attributes: attributes(delivery), ..PutMultipartOptions::default() };
        let begun = store.put_multipart_opts(&key, options).await;
        let mut upload = begun.map_err(failed("beginning a multipart upload"))?;
        let outcome = async {
            let bytes = self.send_parts(delivery, upload.as_mut(), first, source).await?;
            // An answer other than *found* leaves it open; completing then is right, or fails for the same reason.
            if store.head(&key).await.is_ok() {
                return Ok(Receipt { bytes, existed: true });
            }
            upload.complete().await.map_err(failed("completing the multipart upload"))?;
            Ok(Receipt { bytes, existed: false })
        };
        let outcome = outcome.await;
        if !matches!(outcome, Ok(Receipt { existed: false, .. }))
            && let Err(error) = upload.abort().await
        {
            tracing::debug!(%error, "unfinished upload left to the store's lifecycle rules");
        }
        outcome
    }

    /// Sends the parts, one at a time, reading the next one meanwhile. Returns the object's size.
    async fn send_parts(
        &self,
        delivery: &Delivery,
        upload: &mut dyn MultipartUpload,
        first: Vec<u8>,
        mut source: Source,
    ) -> Result<u64, SinkError> {
        let (mut bytes, mut part) = (0, first);
        while !part.is_empty() {
            bytes += part.len() as u64;
            let sending = upload.put_part(PutPayload::from(part));
            let mut next = Vec::new();
            let (sent, filled) = tokio::join!(sending, source.fill(&mut next, self.part_bytes));
            sent.map_err(|error| self.failed(&delivery.target, "sending a part", error))?;
            filled.map_err(body_failed)?;
            part = next;
        }
        Ok(bytes)
    }
}

#[async_trait]
impl Sink for ObjectSink {
    /// Asks for one page of the bucket's list; credentials that may only write pass where the store tells them apart from
    /// unknown ones, which object_store reports as another error.
    async fn probe(&self, bucket: &str) -> Result<(), SinkError> {
        let target = ObjectTarget { bucket: bucket.to_owned(), key: "probe".to_owned() };
        let (store, _) = self.open(&target)?;
        match store.list(None).next().await {
            None | Some(Ok(_)) => Ok(()),
            Some(Err(Error::PermissionDenied { source, .. })) => {
                tracing::debug!(store = %self.name, bucket, error = %source, "bucket may not be listed");
                Ok(())
            }
            Some(Err(error)) => Err(self.failed(&target, "listing the bucket", error)),
        }
    }

    async fn attempt(&self, delivery: &Delivery, body: Body) -> Result<Receipt, SinkError> {
        let mut source = Source::new(body);
        let mut first = Vec::new();
        source.fill(&mut first, self.part_bytes).await.map_err(body_failed)?;
        if source.at_end().await.map_err(body_failed)? {
            return self.put(delivery, first).await;
        }
        self.upload(delivery, first, source).await
    }

    async fn sweep(&self, _target: &ObjectTarget) -> Result<u32, SinkError> {
        Ok(0)
    }

    async fn remove(&self, target: &ObjectTarget) -> Result<(), SinkError> {
        let (store, key) = self.open(target)?;
        match store.delete(&key).await {
            Ok(()) | Err(Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(self.failed(target, "removing the object", error)),
        }
    }
}
