//! Object keys: Firehose's prefix expressions and the suffix behind them, evaluated without a clock or chance.
//!
//! A key is `<evaluated prefix><stream>-<version>-<yyyy-MM-dd-HH-mm-ss>-<uuid><extension>`. Everything that looks
//! random in it (the UUID, `!{firehose:random-string}`) derives from the batch id and the object's ordinal, so that a
//! repeated attempt names the same object.
//!
//! # Invariants
//! - The same arguments give the same key, in this process and in any later one.
//! - Whatever [`validate`] lets pass evaluates; what remains to fail at evaluation is length alone. What partition keys
//!   may be is settled before, when a row is given its [`Partition`].
//! - Dates follow `java.time.format.DateTimeFormatter` for `Locale.US` (JDK 17), checked against a table that Java
//!   printed (`tests/fixtures/java-patterns`).

mod derived;
mod error_output;
mod expr;
mod keys;
mod partition;
mod pattern;
mod time;
mod validate;

#[cfg(test)]
mod tests;

pub use expr::PrefixExpr;
pub use keys::{KeyError, ObjectKeys};
pub use partition::{Partition, PartitionError, PartitionKeys};
pub use validate::{PrefixError, validate};
