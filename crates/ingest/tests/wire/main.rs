//! The front end over real sockets: a server on a free loopback port, an in-memory service behind it, and clients that
//! speak plain HTTP.

mod auth;
mod connections;
mod control;
mod harness;
mod protocol;
mod put;
