//! Deliveries and bodies for the tests.

use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, stream};
use standpipe_model::{
    BatchId, BatchRange, Body, BodyError, CloseReason, Delivery, Media, ObjectOptions, ObjectTarget,
    Position, StreamName,
};

/// A first attempt at this address, without options.
pub(crate) fn delivery(bucket: &str, key: &str) -> Delivery {
    Delivery {
        stream: StreamName::parse("clicks").expect("a good name"),
        version: 3,
        batch: BatchId(*b"0123456789abcdef"),
        range: BatchRange { first: Position(100), last: Position(199) },
        closed_by: CloseReason::Age,
        target: ObjectTarget { bucket: bucket.to_owned(), key: key.to_owned() },
        media: Media {
            content_type: "application/octet-stream",
            content_encoding: Some("gzip"),
            extension: ".gz",
        },
        options: Arc::new(ObjectOptions::default()),
        retain_until: None,
        repeated: false,
    }
}

/// Bytes that differ between positions and between seeds.
pub(crate) fn content(seed: u8, len: usize) -> Vec<u8> {
    (0..len).map(|at| (at as u32).wrapping_mul(2_654_435_761).to_be_bytes()[0] ^ seed).collect()
}

/// A body of these bytes, in pieces of an odd size.
pub(crate) fn body(content: &[u8]) -> Body {
    stream::iter(pieces(content)).boxed()
}

/// A body that fails behind these bytes.
pub(crate) fn failing_body(content: &[u8]) -> Body {
    let failure = Err(BodyError("the journal went away".into()));
    stream::iter(pieces(content)).chain(stream::iter([failure])).boxed()
}

/// A body that never goes on behind these bytes.
pub(crate) fn stalling_body(content: &[u8]) -> Body {
    stream::iter(pieces(content)).chain(stream::pending()).boxed()
}

fn pieces(content: &[u8]) -> Vec<Result<Bytes, BodyError>> {
    content.chunks(300_007).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect()
}
