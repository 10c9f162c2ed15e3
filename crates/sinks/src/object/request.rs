//! What an object is told about itself, and what an error asks the worker to do.

use object_store::{Attribute, Attributes, Error};
use standpipe_model::{Delivery, ErrorClass};

/// Headers and metadata. The names of metadata are those that every one of these stores takes: Azure wants identifiers.
pub(super) fn attributes(delivery: &Delivery) -> Attributes {
    let own = [
        ("stream", delivery.stream.to_string()),
        ("version", delivery.version.to_string()),
        ("first_position", delivery.range.first.to_string()),
        ("last_position", delivery.range.last.to_string()),
        ("batch_id", delivery.batch.to_string()),
        ("close_reason", delivery.closed_by.as_str().to_owned()),
    ];
    let mut attributes: Attributes =
        own.into_iter().map(|(name, value)| (Attribute::Metadata(name.into()), value)).collect();
    attributes.insert(Attribute::ContentType, delivery.media.content_type.into());
    if let Some(encoding) = delivery.media.content_encoding {
        attributes.insert(Attribute::ContentEncoding, encoding.into());
    }
    attributes
}

/// What the worker does after this error.
pub(super) fn class(error: &Error) -> ErrorClass {
    match error {
        // What was not found is the bucket, or an object that someone has to put there.
        Error::NotFound { .. }
        | Error::PermissionDenied { .. }
        | Error::Unauthenticated { .. }
        | Error::NotSupported { .. }
        | Error::NotImplemented { .. }
        | Error::UnknownConfigurationKey { .. } => ErrorClass::Misconfigured,
        // The key itself is impossible, whatever the attempt.
        Error::InvalidPath { .. } => ErrorClass::Refused,
        _ => ErrorClass::Transient,
    }
}
