//! The front end over real sockets: a server on a free loopback port, an in-memory service behind it, and clients that
//! speak plain HTTP, and HTTP over TLS.

#![allow(
    clippy::unwrap_used,
    reason = "a panic in a test is a failure with a line number, in its helpers too"
)]

mod access;
mod auth;
mod connections;
mod control;
mod fuzz;
mod harness;
mod protocol;
mod put;
mod tls;
