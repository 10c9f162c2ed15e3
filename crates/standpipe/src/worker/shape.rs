//! The shape that a batch was closed under: where its objects go, what they are called and how they are made.

use std::sync::Arc;
use std::time::Duration;

use standpipe_encode::{EncodeOptions, Entry, media};
use standpipe_journal::control::{Close, OpenBatch};
use standpipe_model::{Compression, Delivery, ErrorClass, ObjectTarget, SinkError, Timestamp};
use standpipe_sinks::key::ObjectKeys;
use standpipe_transform::FailureKind;
use tokio::sync::Semaphore;

use super::Line;
use super::body::chunk_bytes;
use super::convert::Converter;
use super::make::Transformation;
use crate::processors::ProcessorSpec;
use crate::spec::S3Destination;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// The shape of a batch's objects.
pub(super) struct Shape {
    pub(super) destination: S3Destination,
    pub(super) transformation: Transformation,
    pub(super) keys: Arc<ObjectKeys>,
    /// Its rows are made once and kept, since they might come out otherwise a second time or have to be sorted first.
    pub(super) is_planned: bool,
    /// How many chunks are transformed at once.
    pub(super) turns: Arc<Semaphore>,
}

/// What an object holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Part {
    /// Its rows.
    Rows,
    /// A part of its error output.
    Failures(FailureKind),
    /// The error output of what its endpoint or table did not take.
    Undelivered,
}

/// The ordinal of [`Part::Undelivered`]; no batch has so many objects.
const UNDELIVERED: u32 = (1 << 19) - 1;
/// The ordinal by which the journal knows that a commit of the batch may have been sent to its table.
pub(super) const COMMITTING: u32 = UNDELIVERED - 1;

impl Part {
    /// The object's number within a batch that is not planned; that of [`Part::Undelivered`] in any.
    pub(super) fn ordinal(self) -> u32 {
        match self {
            Self::Rows => 0,
            Self::Failures(FailureKind::Processing) => 1,
            Self::Failures(FailureKind::Decompression) => 2,
            Self::Failures(FailureKind::Conversion) => 3,
            Self::Failures(FailureKind::ActivePartitions) => 4,
            Self::Undelivered => UNDELIVERED,
        }
    }
}

pub(super) fn refused(error: &dyn std::fmt::Display) -> SinkError {
    SinkError::new(ErrorClass::Refused, error.to_string())
}

impl Line {
    /// The shape that the batch was closed under. What a plan has done already, it does not need to be able to do.
    pub(super) fn shape(&self, OpenBatch { close, plan, .. }: &OpenBatch) -> Result<Shape, SinkError> {
        let Some(version) = self.definitions.version(close.version) else {
            let message = format!("the definition of version {} is not there any more", close.version);
            return Err(SinkError::new(ErrorClass::Misconfigured, message));
        };
        let spec = &version.definition.spec;
        let Some(destination) = spec.destination_of(&self.of).cloned() else {
            let message = format!("version {} has no destination {}", close.version, self.of);
            return Err(SinkError::new(ErrorClass::Misconfigured, message));
        };
        let extension = match destination.file_extension.as_str() {
            "" => destination.default_extension(),
            own => own.to_owned(),
        };
        let keys = ObjectKeys::new(
            self.stream.clone(),
            &destination.prefix,
            &destination.error_output_prefix,
            &destination.custom_time_zone,
            &extension,
            destination.partitioning.is_some(),
        );
        let keys = keys.map_err(|error| refused(&error))?;
        let keys = Arc::new(match &self.replay {
            Some(_) => keys.marked(&format!("-{}", self.destination)),
            None => keys,
        });
        let processors = spec.processors_of(&self.of);
        let is_made = processors.is_empty() || plan.is_some();
        let calls_function = processors.iter().any(ProcessorSpec::calls_function);
        let is_planned = spec.is_planned(&self.of);
        // Without a plan each pass has to come to the same rows.
        let chain = match is_made {
            true => Ok(Arc::default()),
            false => version.chain(&self.of, &close.pins, &self.context.functions, is_planned),
        };
        let chain = chain.map_err(|error| {
            SinkError::new(ErrorClass::Misconfigured, "a processor cannot be made").with_source(error)
        })?;
        let source = self.context.source(&self.stream);
        let turns = if calls_function { &self.turns } else { &self.context.processors };
        let conversion =
            destination.conversion.as_ref().map(|of| self.with_columns(of, close)).transpose()?;
        let converter = conversion.as_ref().map(Converter::new).transpose().map_err(|error| {
            SinkError::new(ErrorClass::Misconfigured, "the conversion cannot be made").with_source(error)
        })?;
        let transformation = Transformation {
            chain,
            source,
            converter: converter.map(Arc::new),
            is_planned: false,
            has_origins: false,
            chunk_bytes: chunk_bytes(processors),
        };
        Ok(Shape { destination, transformation, keys, is_planned, turns: Arc::clone(turns) })
    }

    /// What an object is delivered as.
    pub(super) fn delivery(
        &self,
        close: &Close,
        shape: &Shape,
        encoding: &EncodeOptions,
        key: String,
        repeated: bool,
    ) -> Delivery {
        let lock = shape.destination.object.lock.as_ref();
        let retain_until = lock.map(|lock| {
            let kept = DAY * lock.retain_days;
            Timestamp(close.closed_at.as_millis() + u64::try_from(kept.as_millis()).unwrap_or(u64::MAX))
        });
        Delivery {
            stream: self.stream.clone(),
            version: close.version,
            batch: close.batch,
            range: close.range,
            closed_by: close.reason,
            target: ObjectTarget { bucket: shape.destination.bucket.clone(), key },
            media: media(encoding.compression),
            options: Arc::new(shape.destination.object.clone()),
            retain_until,
            repeated,
        }
    }
}

impl Shape {
    /// Deflates at this level where the stream sets no other.
    pub(super) fn make_level(&mut self, level: Option<i32>) {
        if matches!(self.destination.compression, Compression::Gzip | Compression::Zip) {
            self.destination.compression_level = self.destination.compression_level.or(level);
        }
    }

    /// The key of an object; it follows from the shape, the batch id and the object's number.
    ///
    /// # Errors
    /// It is too long.
    pub(super) fn key(&self, close: &Close, part: Part, ordinal: u32) -> Result<String, SinkError> {
        let (version, batch, arrived_at) = (close.version, close.batch, close.arrived_at);
        let key = match part {
            Part::Rows => self.keys.object_key(version, batch, ordinal, arrived_at, None),
            Part::Failures(kind) => self.keys.error_key(kind.as_str(), version, batch, ordinal, arrived_at),
            Part::Undelivered => {
                let kind = self.destination.undelivered_type();
                self.keys.error_key(kind, version, batch, ordinal, arrived_at)
            }
        };
        key.map_err(|error| refused(&error))
    }

    /// How rows become bytes. The error output is never compressed, and its lines end by themselves.
    pub(super) fn encoding(&self, is_error_output: bool) -> EncodeOptions {
        if is_error_output {
            return EncodeOptions::default();
        }
        EncodeOptions {
            compression: self.destination.compression,
            level: self.destination.compression_level,
            delimiter: self.destination.delimiter.clone().into(),
        }
    }

    /// What the object's bytes are called within an archive.
    pub(super) fn entry(&self, close: &Close, key: &str) -> Entry {
        let extension = media(self.destination.compression).extension;
        let name = key.rsplit('/').next().unwrap_or_default().trim_end_matches(extension);
        Entry { name: name.to_owned(), modified: close.arrived_at }
    }
}
