//! Moto: a server of many of AWS's APIs, of which this one is asked for Glue. It takes any credentials, and forgets all when
//! it ends.

use std::process::Command;
use std::time::Duration;

use anyhow::Result;
use serde_json::Value;

use crate::cache::{run, run_dir};
use crate::clients::Python;
use crate::http::http_call;
use crate::process::Process;

/// How long it may take to answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running Moto.
#[derive(Debug)]
pub struct Moto {
    _process: Process,
    port: u16,
    python: Python,
}

impl Moto {
    /// Installs it if need be and starts it without any table.
    ///
    /// # Errors
    /// When it cannot be installed or does not get ready; the error holds the end of its log.
    pub fn start() -> Result<Self> {
        let python = Python::installed()?;
        let dir = run_dir("moto")?;
        let command = |port: u16| {
            let mut command = Command::new(python.interpreter());
            command.current_dir(&dir).args(["-m", "moto.server", "-H", "127.0.0.1", "-p", &port.to_string()]);
            command.env("PYTHONDONTWRITEBYTECODE", "1");
            command
        };
        let ready = |port: u16| {
            http_call("GET", &format!("http://127.0.0.1:{port}/moto-api/"), &[], "")
                .is_ok_and(|reply| reply.is_ok())
        };
        let (process, port) = Process::serve("moto", &dir, PATIENCE, command, ready)?;
        Ok(Self { _process: process, port, python })
    }

    /// Where it listens: `http://127.0.0.1:port`.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Has boto3 call an operation of Glue, such as `create_table`.
    ///
    /// # Errors
    /// When it is refused, with what boto3 says.
    pub fn glue(&self, operation: &str, input: &Value) -> Result<()> {
        let mut call = self.python.program("glue.py");
        run(call.args([&self.endpoint(), operation, &input.to_string()])).map(drop)
    }
}
