//! Every sink against the real thing: one conformance suite for objects (`suite`), run on a folder, on versitygw and on
//! MinIO, one for requests (`requests`), run on each server that takes them, and what only one of them can show. A server
//! that cannot be had fails the run.

mod access;
mod deliveries;
mod file;
mod fuzz;
mod iceberg;
mod memory;
mod minio;
mod opensearch;
mod postgres;
mod redshift;
mod requests;
mod scripted;
mod splunk;
mod suite;
mod telegraf;
mod versitygw;
