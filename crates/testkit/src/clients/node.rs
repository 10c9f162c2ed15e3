//! The AWS SDK for JavaScript v3 in a Node folder.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use super::{Runner, programs, read, with_credentials};
use crate::cache::{fingerprint, installed, run};

/// A Node folder with the AWS SDK for JavaScript v3.
#[derive(Debug, Clone)]
pub struct Node {
    dir: PathBuf,
}

impl Node {
    /// The folder, installed on first use.
    ///
    /// # Errors
    /// When Node is missing or a package cannot be had.
    pub fn installed() -> Result<Self> {
        let (package, lock) =
            (read(&programs().join("package.json"))?, read(&programs().join("package-lock.json"))?);
        let dir = installed("node", &fingerprint(&[&package, &lock]), |staging| {
            fs::write(staging.join("package.json"), &package)?;
            fs::write(staging.join("package-lock.json"), &lock)?;
            let mut npm = Command::new("npm");
            run(npm.args(["ci", "--no-audit", "--no-fund", "--ignore-scripts"]).current_dir(staging))
                .map(drop)
        })?;
        Ok(Self { dir })
    }

    /// `put.mjs` with the daemon's default credentials.
    pub fn put(&self, endpoint: &str, stream: &str) -> Command {
        let mut command = with_credentials(Command::new("node"));
        command.current_dir(&self.dir).arg(programs().join("put.mjs")).args([endpoint, stream]);
        command
    }

    /// `conformance.mjs`, waiting for steps.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn conformance(&self) -> Result<Runner> {
        let mut command = Command::new("node");
        // The SDK would tell that next year's will want a newer Node.
        command.env("NODE_NO_WARNINGS", "1").current_dir(&self.dir).arg(programs().join("conformance.mjs"));
        Runner::start("the SDK for JavaScript", command)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clients::finish;

    #[test]
    fn the_sdk_for_javascript_is_found_from_its_folder() {
        let put = Node::installed().unwrap().put("http://127.0.0.1:1", "none");
        let error = finish(put).unwrap_err().to_string();
        assert!(error.contains("ECONNREFUSED"), "{error}");
    }
}
