//! OpenSearch and Elasticsearch: each row a document, sent by bulks whose answer says of each what became of it.
//!
//! ```text
//! POST <endpoint>/_bulk   {"create":{"_index":"clicks-2026-11-28","_id":"<batch>.<position>.<sub>"}}
//!                         {"the":"row"}
//!                         …
//!         ◄──  200 {"errors":true,"items":[{"create":{"status":201}},{"create":{"status":400,"error":{…}}},…]}
//! ```
//!
//! # Invariants
//! - A document's id derives from where its row comes from, and its index from when that arrived: both are the same at
//!   every attempt. It is created and never overwritten, so 409 under that id says that an earlier attempt delivered it.
//! - Without ids of ours, and in a data stream behind a rollover, a repetition can be there twice.
//! - What a setting is to blame for (no such index, no permission) holds the rows; only what is wrong with a document
//!   refuses it. Where a bulk is refused to its last document with 400, an update of a document that is not there tells
//!   which: an index that takes documents says 404.
//! - A bulk that is too large (413) goes again in halves within the same attempt. That is no retry, of which the worker
//!   alone decides: it waits for nothing, no bytes are sent that were refused, and what a document meets alone is final.
//!
//! # Limits
//! - Memory of an attempt: the rows, the bulk made of them, and what it is compressed to.
//! - An answer is read up to 1 MiB and 2 KiB for each document.
//! - A connection that cannot be made, 502, 503 and 504 pass an attempt on to the next endpoint, so that it takes at
//!   most one connect timeout for each; any other silence does so at the next attempt.

mod auth;
mod options;
mod request;
mod sink;

#[cfg(test)]
mod tests;

pub use options::{
    DocumentIds, IndexOptions, IndexRotation, OpenSearchAuth, OpenSearchOptions, OpenSearchOptionsError,
    SigningService,
};
pub use sink::OpenSearchSink;
