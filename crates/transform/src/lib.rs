//! Records to rows: processors one behind the other, functions in a sandbox among them, between the journal's chunks
//! and the encoder's.
//!
//! A [`Chain`] takes the records of a chunk and says of each what became of it: rows to deliver, nothing (dropped), or
//! a [`Failure`] for the error output. Chunks are independent, so that any number of threads may work at once; the
//! worker puts their rows in order again.
//!
//! # Reading order
//! [`row`](Row) and [`Output`] (what processors take and give) → [`Chain`].
//!
//! # Invariants
//! - Every record of a chunk comes to at least one row, is dropped, or fails: none is forgotten. A record that fails
//!   anywhere fails as a whole, and none of its rows is delivered.
//! - The same records give the same rows: a processor has no clock, no chance and no network, unless it says that it is
//!   impure.

mod chain;
pub mod processors;
mod row;
mod table;
mod wasm;

pub use chain::{Chain, Processor, Transformed};
pub use row::{Failure, FailureKind, Origin, Output, Record, Row, Source};
pub use table::{At, Table, TableError, TableFormat};
pub use wasm::{
    CallObserver, Called, FunctionOptions, Grants, Limits, LoadError, Sandbox, SandboxError, SandboxOptions,
    WasmFunction,
};
