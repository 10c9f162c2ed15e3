//! The binary as its users have it: started for real, put to by real clients, delivering to real servers.

#![allow(
    clippy::unwrap_used,
    reason = "a panic in a test is a failure with a line number, in its helpers too"
)]

mod access;
mod api_model;
mod busy_node;
mod catalog;
mod client;
mod conformance;
mod control;
mod definitions;
mod double;
mod encryption;
mod endpoints;
mod error_log;
mod examples;
mod fan_out;
mod file_store;
mod flights;
mod fluent_bit;
mod formats;
mod functions;
mod hec;
mod iceberg;
mod iceberg_outages;
mod inferred;
mod kills;
mod lake;
mod opensearch;
mod outages;
mod partitions;
mod postgres;
mod pressure;
mod proxy;
mod reach;
mod receiver;
mod redrive;
mod redshift;
mod reload;
mod repeats;
mod replay;
mod row_groups;
mod scale;
mod schemas;
mod sdks;
mod segments;
mod splunk;
mod stops;
mod support;
mod systemd;
mod table_objects;
mod tables;
mod templates;
mod tls;
mod transform;
mod trials;
