//! The shape that a batch was closed under: where its objects go, what they are called and how they are made.

use std::sync::Arc;
use std::time::Duration;

use standpipe_encode::{EncodeOptions, Entry, media};
use standpipe_journal::control::Close;
use standpipe_model::{Compression, Delivery, ErrorClass, ObjectTarget, SinkError, Timestamp};
use standpipe_sinks::key::ObjectKeys;
use standpipe_transform::FailureKind;

use super::Line;
use super::body::{CHUNK_BYTES, EXPANDING_CHUNK_BYTES};
use super::make::Transformation;
use crate::processors::ProcessorSpec;
use crate::spec::S3Destination;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// The shape of a batch's objects.
pub(super) struct Shape {
    pub(super) destination: S3Destination,
    pub(super) transformation: Transformation,
    keys: ObjectKeys,
}

/// One of the objects that a batch may come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// Its rows.
    Rows,
    /// A part of its error output.
    Failures(FailureKind),
}

impl Part {
    /// The object's number within its batch.
    pub(super) fn ordinal(self) -> u32 {
        match self {
            Self::Rows => 0,
            Self::Failures(FailureKind::Processing) => 1,
            Self::Failures(FailureKind::Decompression) => 2,
        }
    }
}

fn refused(error: &dyn std::fmt::Display) -> SinkError {
    SinkError::new(ErrorClass::Refused, error.to_string())
}

impl Line {
    /// The shape that the batch was closed under.
    pub(super) fn shape(&self, close: &Close) -> Result<Shape, SinkError> {
        let Some(version) = self.definitions.version(close.version) else {
            let message = format!("the definition of version {} is not there any more", close.version);
            return Err(SinkError::new(ErrorClass::Misconfigured, message));
        };
        let spec = &version.definition.spec;
        let Some(destination) = spec.destination_of(&self.destination).cloned() else {
            let message = format!("version {} has no destination {}", close.version, self.destination);
            return Err(SinkError::new(ErrorClass::Misconfigured, message));
        };
        let extension = match destination.file_extension.as_str() {
            "" => media(destination.compression).extension,
            own => own,
        };
        let keys = ObjectKeys::new(
            self.stream.clone(),
            &destination.prefix,
            &destination.error_output_prefix,
            &destination.custom_time_zone,
            extension,
        );
        let keys = keys.map_err(|error| refused(&error))?;
        let processors = spec.processors_of(&self.destination);
        let chain = if processors.is_empty() {
            Ok(Arc::default())
        } else {
            version.chain(&close.pins, &self.context.functions)
        };
        let chain = chain.map_err(|error| {
            SinkError::new(ErrorClass::Misconfigured, "a processor cannot be made").with_source(error)
        })?;
        let source = self.context.source(&self.stream);
        let expands = processors.iter().any(ProcessorSpec::expands);
        let chunk_bytes = if expands { EXPANDING_CHUNK_BYTES } else { CHUNK_BYTES };
        Ok(Shape { destination, transformation: Transformation { chain, source, chunk_bytes }, keys })
    }

    /// What a part is delivered as; its key follows from the shape and the batch id.
    pub(super) fn delivery(
        &self,
        close: &Close,
        shape: &Shape,
        part: Part,
        repeated: bool,
    ) -> Result<Delivery, SinkError> {
        let (version, batch, arrived_at) = (close.version, close.batch, close.arrived_at);
        let key = match part {
            Part::Rows => shape.keys.object_key(version, batch, part.ordinal(), arrived_at),
            Part::Failures(kind) => {
                shape.keys.error_key(kind.as_str(), version, batch, part.ordinal(), arrived_at)
            }
        };
        let lock = shape.destination.object.lock.as_ref();
        let retain_until = lock.map(|lock| {
            let kept = DAY * lock.retain_days;
            Timestamp(close.closed_at.as_millis() + u64::try_from(kept.as_millis()).unwrap_or(u64::MAX))
        });
        Ok(Delivery {
            stream: self.stream.clone(),
            version,
            batch,
            range: close.range,
            closed_by: close.reason,
            target: ObjectTarget {
                bucket: shape.destination.bucket.clone(),
                key: key.map_err(|error| refused(&error))?,
            },
            media: media(shape.encoding(part).compression),
            options: Arc::new(shape.destination.object.clone()),
            retain_until,
            repeated,
        })
    }
}

impl Shape {
    /// Deflates at this level where the stream sets no other.
    pub(super) fn make_level(&mut self, level: Option<i32>) {
        if matches!(self.destination.compression, Compression::Gzip | Compression::Zip) {
            self.destination.compression_level = self.destination.compression_level.or(level);
        }
    }

    /// How a part's rows become bytes. The error output is never compressed, and its lines end by themselves.
    pub(super) fn encoding(&self, part: Part) -> EncodeOptions {
        match part {
            Part::Rows => EncodeOptions {
                compression: self.destination.compression,
                level: self.destination.compression_level,
                delimiter: self.destination.delimiter.clone().into(),
            },
            Part::Failures(_) => EncodeOptions::default(),
        }
    }

    /// What the object's bytes are called within an archive.
    pub(super) fn entry(&self, close: &Close, key: &str) -> Entry {
        let extension = media(self.destination.compression).extension;
        let name = key.rsplit('/').next().unwrap_or_default().trim_end_matches(extension);
        Entry { name: name.to_owned(), modified: close.arrived_at }
    }
}
