//! Telegraf with its input for Firehose: a receiver of the delivery protocol that others wrote.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

use super::versions::TELEGRAF;
use crate::cache::run_dir;
use crate::http::http_get;
use crate::process::Process;

/// How long it may take to answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running Telegraf, whose records are JSON objects.
#[derive(Debug)]
pub struct Telegraf {
    process: Process,
    port: u16,
}

impl Telegraf {
    /// The access key that it wants.
    pub const ACCESS_KEY: &'static str = "a-key-of-telegraf";

    /// Installs it if it is not there yet.
    ///
    /// # Errors
    /// When it cannot be built.
    pub fn install() -> Result<()> {
        TELEGRAF.binary().map(drop)
    }

    /// Installs it if need be and starts it.
    ///
    /// # Errors
    /// When it cannot be built or does not get ready; the error holds the end of its log.
    pub fn start() -> Result<Self> {
        let binary = TELEGRAF.binary()?;
        let dir = run_dir("telegraf")?;
        let command = |port: u16| {
            fs::write(dir.join("telegraf.toml"), configuration(&dir, port)).ok();
            command(&binary, &dir)
        };
        let (process, port) = Process::serve("telegraf", &dir, PATIENCE, command, is_ready)?;
        Ok(Self { process, port })
    }

    /// Where it listens: `127.0.0.1:port`.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The path under which it takes requests.
    pub const PATH: &'static str = "/firehose";

    /// The members of each record that has come so far.
    ///
    /// # Errors
    /// When its output cannot be read.
    pub fn records(&self) -> Result<Vec<Value>> {
        let output = fs::read_to_string(self.process.dir().join("records")).unwrap_or_default();
        // The last line may still be in the writing.
        let whole = output.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let lines = whole.lines().map(|line| serde_json::from_str::<Value>(line).context("a line of JSON"));
        lines.map(|line| Ok(line?["fields"].take())).collect()
    }

    /// Ends it at once, by its process id.
    ///
    /// # Errors
    /// When the operating system refuses.
    pub fn kill(&mut self) -> Result<()> {
        self.process.kill().map(drop)
    }

    /// Starts it again on the same port.
    ///
    /// # Errors
    /// When it does not get ready; the error holds the end of its log.
    pub fn restart(&mut self) -> Result<()> {
        let (command, port) = (command(&TELEGRAF.binary()?, self.process.dir()), self.port);
        self.process.restart(&command, PATIENCE, || is_ready(port))
    }
}

fn configuration(dir: &Path, port: u16) -> String {
    format!(
        r#"
[agent]
  interval = "100ms"
  flush_interval = "100ms"
  omit_hostname = true
[[inputs.firehose]]
  service_address = "127.0.0.1:{port}"
  paths = ["{}"]
  access_key = "{}"
  data_format = "json_v2"
  [[inputs.firehose.json_v2]]
    measurement_name = "record"
    [[inputs.firehose.json_v2.object]]
      path = "@this"
[[outputs.file]]
  files = ["{}"]
  data_format = "json"
"#,
        Telegraf::PATH,
        Telegraf::ACCESS_KEY,
        dir.join("records").display()
    )
}

fn command(binary: &Path, dir: &Path) -> Command {
    let mut command = Command::new(binary);
    command.arg("--config").arg(dir.join("telegraf.toml")).current_dir(dir);
    command
}

/// Whatever it says to a request that it does not take, it is there.
fn is_ready(port: u16) -> bool {
    http_get(&format!("http://127.0.0.1:{port}/")).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::http_call;

    #[test]
    fn a_request_with_the_access_key_becomes_records_and_one_without_does_not() {
        let mut telegraf = Telegraf::start().unwrap();
        telegraf.restart().unwrap();
        let body = r#"{"requestId":"r-1","timestamp":1,"records":[{"data":"eyJhIjoiYiJ9"}]}"#;
        let post = |key| {
            let headers = [
                ("Content-Type", "application/json"),
                ("X-Amz-Firehose-Request-Id", "r-1"),
                ("X-Amz-Firehose-Access-Key", key),
            ];
            let url = format!("http://{}{}", telegraf.address(), Telegraf::PATH);
            http_call("POST", &url, &headers, body).unwrap().status
        };
        assert_eq!((post("wrong"), post(Telegraf::ACCESS_KEY)), (401, 200));
        let (dir, began) = (telegraf.process.dir().join("records"), std::time::Instant::now());
        while telegraf.records().unwrap().is_empty() {
            assert!(began.elapsed() < PATIENCE, "nothing in {}", dir.display());
            std::thread::sleep(Duration::from_millis(20));
        }
        assert_eq!(telegraf.records().unwrap(), [serde_json::json!({"a": "b"})]);
    }
}
