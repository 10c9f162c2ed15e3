//! The file store as a sink: pulls the body and hands it to the blocking half.

use std::io::{self, ErrorKind};
use std::sync::Arc;

use async_trait::async_trait;
use futures::StreamExt;
use standpipe_model::{Body, Delivery, ErrorClass, ObjectTarget, Receipt, Sink, SinkError};
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use super::FileOptions;
use super::folders::Folders;
use super::path::Place;
use super::write::{self, Piece, Written};
use crate::source::body_failed;

/// Pieces of the body that wait for the disk, besides the one being written.
const CHUNKS_AHEAD: usize = 2;

/// A sink that stores objects as files.
#[derive(Debug)]
pub struct FileSink {
    pub(super) options: FileOptions,
    folders: Arc<Folders>,
}

impl FileSink {
    /// A sink for this folder. Nothing is touched yet.
    pub fn new(options: FileOptions) -> Self {
        Self { options, folders: Arc::default() }
    }

    pub(super) fn place(&self, target: &ObjectTarget) -> Result<Place, SinkError> {
        Place::of(target).map_err(|error| {
            let message =
                format!("file store {}: key '{}': {error}", self.options.root.display(), target.key);
            SinkError::new(ErrorClass::Refused, message).with_source(error)
        })
    }

    /// Runs a blocking operation and classes its error.
    pub(super) async fn blocking<T: Send + 'static>(
        &self,
        what: &str,
        work: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> Result<T, SinkError> {
        let done = spawn_blocking(work).await.unwrap_or_else(|stopped| Err(io::Error::other(stopped)));
        done.map_err(|error| {
            let message = format!("file store {}: {what}: {error}", self.options.root.display());
            SinkError::new(class(&error), message).with_source(error)
        })
    }
}

/// What to do after an input or output error. A full disk is [`ErrorClass::Transient`]: space comes back, data does not.
fn class(error: &io::Error) -> ErrorClass {
    match error.kind() {
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => ErrorClass::Misconfigured,
        // The key's path runs through a file, or ends at a folder: the conflict is with another key.
        ErrorKind::NotADirectory | ErrorKind::IsADirectory | ErrorKind::InvalidFilename => {
            ErrorClass::Refused
        }
        _ => ErrorClass::Transient,
    }
}

#[async_trait]
impl Sink for FileSink {
    async fn probe(&self, _bucket: &str) -> Result<(), SinkError> {
        let root = self.options.root.clone();
        let probed = self.blocking("probing the folder", move || write::probe(&root)).await;
        probed.map_err(|mut error| {
            // Nothing about a key is in play here: a root that is a file is a setting.
            if error.class == ErrorClass::Refused {
                error.class = ErrorClass::Misconfigured;
            }
            error
        })
    }

    async fn attempt(&self, delivery: &Delivery, mut body: Body) -> Result<Receipt, SinkError> {
        let place = self.place(&delivery.target)?;
        if delivery.repeated {
            self.sweep(&delivery.target).await?;
        }
        let (sender, receiver) = mpsc::channel(CHUNKS_AHEAD);
        let (root, folders) = (self.options.root.clone(), Arc::clone(&self.folders));
        let what = format!("writing '{}'", delivery.target.key);
        let writing = self.blocking(&what, move || write::write(&root, &place, &folders, receiver));
        let feeding = async move {
            while let Some(piece) = body.next().await {
                // A closed channel means that the writer has its outcome: the object existed, or an error.
                if sender.send(Piece::Data(piece?)).await.is_err() {
                    return Ok(());
                }
            }
            // As above.
            let _closed = sender.send(Piece::End).await.is_err();
            Ok(())
        };
        let (written, fed) = tokio::join!(writing, feeding);
        fed.map_err(body_failed)?;
        match written? {
            Written::New(bytes) => Ok(Receipt { bytes, existed: false }),
            Written::Existed(bytes) => Ok(Receipt { bytes, existed: true }),
            Written::GivenUp => Err(SinkError::new(ErrorClass::Transient, "the body ended early")),
        }
    }

    async fn sweep(&self, target: &ObjectTarget) -> Result<u32, SinkError> {
        let (place, root) = (self.place(target)?, self.options.root.clone());
        self.blocking("removing temporary files", move || write::sweep(&root, &place)).await
    }

    async fn remove(&self, target: &ObjectTarget) -> Result<(), SinkError> {
        let (place, root) = (self.place(target)?, self.options.root.clone());
        self.blocking("removing an object", move || write::remove(&root, &place)).await
    }
}
