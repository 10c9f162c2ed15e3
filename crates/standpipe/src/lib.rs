//! The daemon: the only crate that knows every stage, and the only wiring between them.
//!
//! Reading order: [`spec`] (what a stream is), [`stream`] (a stream at work), `worker::step` (the rule of delivery),
//! [`daemon`] (start, reload, stop), [`config`] (the YAML), [`cli`].

mod access;
pub mod alarm;
pub mod catalog;
pub mod cli;
pub mod clock;
#[cfg(test)]
mod compatibility;
pub mod config;
pub mod daemon;
mod delivery_log;
mod durable;
pub mod endpoints;
mod exposed;
pub mod functions;
#[cfg(test)]
mod generated;
mod glue;
mod iceberg;
pub mod keys;
pub mod metrics;
pub mod processors;
pub mod spec;
mod stamp;
pub mod stores;
pub mod stream;
#[cfg(test)]
mod tidy;
pub mod tls;
pub mod worker;
