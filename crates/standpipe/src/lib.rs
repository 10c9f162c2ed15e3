//! The daemon: the only crate that knows every stage, and the only wiring between them.

pub mod config;
pub mod spec;
