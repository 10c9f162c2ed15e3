//! Every object sink against the real thing: one conformance suite, run on a folder, on versitygw and on MinIO, and what
//! only one of them can show. A server that cannot be had fails the run.

mod access;
mod deliveries;
mod file;
mod fuzz;
mod memory;
mod minio;
mod postgres;
mod requests;
mod scripted;
mod suite;
mod versitygw;
