//! Versity S3 Gateway over a local folder: the S3 server that most tests use.

use std::fs;
use std::process::Command;
use std::time::Duration;

use anyhow::Result;

use super::S3Access;
use super::versions::VERSITYGW;
use crate::cache::run_dir;
use crate::http::{Reply, http_get};
use crate::process::Process;

/// A running versitygw. Conditional puts, multipart uploads and checksums work as in S3; encryption headers are ignored
/// and an unknown access key is answered with 404.
#[derive(Debug)]
pub struct Versitygw {
    process: Process,
    access: S3Access,
}

impl Versitygw {
    /// Installs it if it is not there yet.
    ///
    /// # Errors
    /// When it cannot be built.
    pub fn install() -> Result<()> {
        VERSITYGW.binary().map(drop)
    }

    /// Installs it if need be and starts an empty store.
    ///
    /// # Errors
    /// When it cannot be built or does not get ready; the error holds the end of its log.
    pub fn start() -> Result<Self> {
        let binary = VERSITYGW.binary()?;
        let dir = run_dir("versitygw")?;
        let buckets = dir.join("buckets");
        fs::create_dir(&buckets)?;
        let access = S3Access::owner(String::new());
        let command = |port: u16| {
            let mut command = Command::new(&binary);
            command
                .args(["--port", &format!("127.0.0.1:{port}"), "--health", "/health", "posix"])
                .arg(&buckets)
                .env("ROOT_ACCESS_KEY", &access.access_key_id)
                .env("ROOT_SECRET_KEY", &access.secret_access_key)
                .current_dir(&dir);
            command
        };
        let ready = |port| {
            http_get(&format!("http://127.0.0.1:{port}/health")).is_ok_and(|reply: Reply| reply.is_ok())
        };
        let (process, port) = Process::serve("versitygw", &dir, Duration::from_secs(30), command, ready)?;
        Ok(Self { process, access: S3Access::owner(format!("http://127.0.0.1:{port}")) })
    }

    /// How to reach it.
    pub fn access(&self) -> &S3Access {
        &self.access
    }

    /// The process, for its log and folder.
    pub fn process(&self) -> &Process {
        &self.process
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_stores_run_beside_each_other() {
        let (one, two) = (Versitygw::start().unwrap(), Versitygw::start().unwrap());
        assert_ne!(one.access().endpoint, two.access().endpoint);
        for store in [&one, &two] {
            let reply = http_get(&format!("{}/health", store.access().endpoint)).unwrap();
            assert!(reply.is_ok(), "{reply:?}");
        }
    }
}
