//! The real AWS clients that tests put with: boto3 and the AWS CLI in a Python environment, the SDK for JavaScript.
//!
//! The programs and the lists of exact package versions lie in `crates/standpipe/tests/clients`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::cache::{fingerprint, installed, run};
use crate::daemon::Daemon;
use crate::servers::S3Access;

/// A Python environment with boto3, the AWS CLI, the flights table and readers of Snappy framings.
#[derive(Debug, Clone)]
pub struct Python {
    dir: PathBuf,
}

impl Python {
    /// The environment, installed on first use.
    ///
    /// # Errors
    /// When Python is missing or a package cannot be had.
    pub fn installed() -> Result<Self> {
        let wanted = programs().join("requirements.txt");
        let python = run(Command::new("python3").arg("--version"))?;
        let version = fingerprint(&[&read(&wanted)?, &python]);
        let dir = installed("python", &version, |staging| {
            run(Command::new("python3").args(["-m", "venv"]).arg(staging))?;
            let mut pip = Command::new(staging.join("bin/python"));
            pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "-r"]);
            run(pip.arg(&wanted)).map(drop)
        })?;
        Ok(Self { dir })
    }

    /// The interpreter, to run anything in the environment. Console scripts are run as modules (`-m awscli`): the
    /// environment is renamed after its installation, which breaks their first lines.
    pub fn interpreter(&self) -> PathBuf {
        self.dir.join("bin/python")
    }

    /// `put.py` with the daemon's default credentials; `args` are its source and options besides the endpoint.
    pub fn put(&self, endpoint: &str, stream: &str, args: &[&str]) -> Command {
        let mut command = with_credentials(Command::new(self.interpreter()));
        command.arg(programs().join("put.py")).args(["--endpoint", endpoint, "--stream", stream]).args(args);
        command
    }

    /// Runs `aws firehose …` with the daemon's default credentials.
    ///
    /// # Errors
    /// When the CLI fails, with what it printed; when it prints something other than JSON.
    pub fn aws_firehose(&self, endpoint: &str, args: &[&str]) -> Result<Value> {
        let mut command = with_credentials(Command::new(self.interpreter()));
        command.args(["-m", "awscli", "firehose", "--endpoint-url", endpoint, "--output", "json"]).args(args);
        let printed = run(&mut command)?;
        if printed.trim().is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_str(&printed).with_context(|| format!("the AWS CLI printed {printed}"))
    }
}

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
}

/// Runs a client to its end and reads the JSON that it prints, as `put.py` does.
///
/// # Errors
/// When it fails, with the end of what it printed.
pub fn finish(mut command: Command) -> Result<Value> {
    let printed = run(&mut command)?;
    serde_json::from_str(&printed).with_context(|| format!("a client printed {printed}"))
}

/// Installs the clients.
pub fn all() -> Vec<(&'static str, crate::servers::Install)> {
    vec![
        ("python clients", || Python::installed().map(drop)),
        ("node clients", || Node::installed().map(drop)),
    ]
}

/// The environment in which an AWS client finds the daemon's default credentials and nothing else.
fn with_credentials(mut command: Command) -> Command {
    let ambient = std::env::vars_os().map(|(key, _)| key);
    for key in ambient.filter(|key| key.to_string_lossy().starts_with("AWS_")) {
        command.env_remove(key);
    }
    command.envs([
        ("AWS_ACCESS_KEY_ID", Daemon::ACCESS_KEY_ID),
        ("AWS_SECRET_ACCESS_KEY", Daemon::SECRET_ACCESS_KEY),
        ("AWS_REGION", S3Access::REGION),
        ("AWS_DEFAULT_REGION", S3Access::REGION),
        ("AWS_EC2_METADATA_DISABLED", "true"),
        ("AWS_CONFIG_FILE", "/dev/null"),
        ("AWS_SHARED_CREDENTIALS_FILE", "/dev/null"),
        ("AWS_PAGER", ""),
        ("PYTHONDONTWRITEBYTECODE", "1"),
    ]);
    command
}

fn programs() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../standpipe/tests/clients"))
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("read {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_python_environment_works_from_where_it_was_moved() {
        let python = Python::installed().unwrap();
        run(Command::new(python.interpreter()).args(["-c", "import boto3, cramjam, snappy"])).unwrap();
        run(Command::new(python.interpreter()).args(["-m", "awscli", "--version"])).unwrap();
        let help = run(&mut python.put("http://127.0.0.1:1", "none", &["--help"])).unwrap();
        assert!(help.contains("--raised-log"), "{help}");
    }

    #[test]
    fn the_sdk_for_javascript_is_found_from_its_folder() {
        let put = Node::installed().unwrap().put("http://127.0.0.1:1", "none");
        let error = finish(put).unwrap_err().to_string();
        assert!(error.contains("ECONNREFUSED"), "{error}");
    }
}
