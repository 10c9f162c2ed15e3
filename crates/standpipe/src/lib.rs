//! The daemon: the only crate that knows every stage, and the only wiring between them.

pub mod cli;
pub mod config;
pub mod spec;
