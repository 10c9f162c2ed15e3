//! The REST catalog of Apache Iceberg: what tables it has, asked as its specification says.
//!
//! One call is one try within a time limit; who asks decides on another. A token that the catalog does not take any more
//! is forgotten, so that the next call has a new one.

mod auth;
mod rest;
mod table;

pub use auth::{OAuth, RestAuth};
pub use rest::{RestCatalog, RestError, RestOptions};
pub use table::{Field, FieldType, Nested, Schema, TableMetadata};
