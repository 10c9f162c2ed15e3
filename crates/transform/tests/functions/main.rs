//! Functions in the sandbox, with real guests: those of `examples/transforms/`, one that does as it is told, and hostile
//! ones in WebAssembly's text format.

#![allow(clippy::unwrap_used, reason = "a panic in a test is a failure with a line number")]

mod cache;
mod command;
mod component;
mod hostile;
mod running;
