//! The journal against a disk that fails in every way that disks do, and against files of older versions.

#![allow(clippy::unwrap_used, reason = "a panic in a test is a failure with a line number")]

mod damage;
mod encryption;
mod faults;
mod fixtures;
mod fuzz;
mod keys;
mod model;
mod pressure;
mod retention;
mod sim;
mod spool;
mod support;
