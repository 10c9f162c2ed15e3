//! Versity S3 Gateway over a local folder: the S3 server that most tests use.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::Result;

use super::S3Access;
use super::versions::VERSITYGW;
use crate::cache::run_dir;
use crate::http::{Reply, http_get};
use crate::process::Process;

/// How long it may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running versitygw. Conditional puts, multipart uploads and checksums work as in S3; encryption headers are ignored
/// and an unknown access key is answered with 404.
#[derive(Debug)]
pub struct Versitygw {
    process: Process,
    access: S3Access,
    port: u16,
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
        fs::create_dir(dir.join("buckets"))?;
        let started =
            Process::serve("versitygw", &dir, PATIENCE, |port| command(&binary, &dir, port), is_healthy);
        let (process, port) = started?;
        Ok(Self { process, access: S3Access::owner(format!("http://127.0.0.1:{port}")), port })
    }

    /// Ends it at once, by its process id; what it has stored stays.
    ///
    /// # Errors
    /// When the operating system refuses.
    pub fn kill(&mut self) -> Result<()> {
        self.process.kill().map(drop)
    }

    /// Starts it again on the same port with what it has stored.
    ///
    /// # Errors
    /// When it does not get ready; the error holds the end of its log.
    pub fn restart(&mut self) -> Result<()> {
        let (command, port) = (command(&VERSITYGW.binary()?, self.process.dir(), self.port), self.port);
        self.process.restart(&command, PATIENCE, || is_healthy(port))
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

fn command(binary: &Path, dir: &Path, port: u16) -> Command {
    let owner = S3Access::owner(String::new());
    let mut command = Command::new(binary);
    command
        .args(["--port", &format!("127.0.0.1:{port}"), "--health", "/health", "posix"])
        .arg(dir.join("buckets"))
        .env("ROOT_ACCESS_KEY", &owner.access_key_id)
        .env("ROOT_SECRET_KEY", &owner.secret_access_key)
        .current_dir(dir);
    command
}

fn is_healthy(port: u16) -> bool {
    http_get(&format!("http://127.0.0.1:{port}/health")).is_ok_and(|reply: Reply| reply.is_ok())
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

    #[test]
    fn a_killed_store_comes_back_on_its_port() {
        let mut store = Versitygw::start().unwrap();
        store.kill().unwrap();
        assert!(!is_healthy(store.port));
        store.restart().unwrap();
        assert!(is_healthy(store.port));
    }
}
