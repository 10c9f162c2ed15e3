//! Test doubles, and fixtures that install, start and stop the real servers and clients. A dev-dependency only.
//!
//! - [`ManualClock`] and [`SeededEntropy`]: time and chance under the test's control.
//! - [`Authority`]: certificates for servers and clients.
//! - [`servers`]: the real servers that tests deliver to, each on a free loopback port, gone when dropped.
//! - [`clients`]: the real AWS clients that tests put with.
//! - [`Daemon`]: the `standpipe` binary itself, to be killed, stopped and started again.
//! - [`guests`]: functions in WebAssembly, built as their users build them.
//! - [`Systemd`]: a machine under the real systemd, to run units on.
//! - [`cache`]: installing anything else that a test needs, once for all tests.
//! - `s3` (with the feature of that name): looking into a store with the AWS SDK.
//!
//! # Invariants
//! - Whatever a test starts is ended by process id when its fixture is dropped, and by the kernel when the test's
//!   process dies first.
//! - What is installed is cached under [`cache::cache_dir`], by name and version; a half-finished install is never used.
//!
//! ```
//! use std::time::Duration;
//! use standpipe_model::{Clock, Timestamp};
//! use standpipe_testkit::ManualClock;
//!
//! let clock = ManualClock::at(Timestamp(1_000));
//! clock.advance(Duration::from_secs(2));
//! assert_eq!((clock.now(), clock.steady()), (Timestamp(3_000), Duration::from_secs(2)));
//! ```

pub mod cache;
mod certificates;
pub mod clients;
mod clock;
mod daemon;
mod entropy;
pub mod guests;
mod http;
mod maven;
mod ports;
mod privilege;
mod process;
#[cfg(feature = "s3")]
pub mod s3;
pub mod servers;
mod systemd;

pub use certificates::{Authority, Issued};
pub use clock::ManualClock;
pub use daemon::{Daemon, DaemonOptions, Stopped};
pub use entropy::SeededEntropy;
pub use http::{Reply, http_get, http_send};
pub use privilege::has_root;
pub use process::Process;
pub use systemd::Systemd;
