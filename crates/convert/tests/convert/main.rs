//! Files of converted rows against other readers.

#![allow(clippy::unwrap_used, reason = "a panic in a test is a failure with a line number")]

mod infer;
mod lines;
mod parquet;
mod readers;
mod rows;
