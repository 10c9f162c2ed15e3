//! boto3 and the AWS CLI in a Python environment.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;

use super::{Runner, programs, read, with_credentials};
use crate::cache::{fingerprint, installed, run};

/// A Python environment with boto3, the AWS CLI, the flights table, and readers of Snappy framings, Parquet, ORC and
/// Avro, and of tables of Iceberg.
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

    /// A program of the tests, such as `control.py`, with the daemon's default credentials.
    pub fn program(&self, name: &str) -> Command {
        let mut command = with_credentials(Command::new(self.interpreter()));
        command.arg(programs().join(name));
        command
    }

    /// `put.py` with the daemon's default credentials; `args` are its source and options besides the endpoint.
    pub fn put(&self, endpoint: &str, stream: &str, args: &[&str]) -> Command {
        let mut command = self.program("put.py");
        command.args(["--endpoint", endpoint, "--stream", stream]).args(args);
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

    /// `conformance.py` as `"boto3"` or `"awscli"`, waiting for steps.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn conformance(&self, client: &str) -> Result<Runner> {
        let mut command = Command::new(self.interpreter());
        command.arg(programs().join("conformance.py")).arg(client);
        Runner::start(client, command)
    }
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
}
