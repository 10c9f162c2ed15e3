//! A client at work on steps: a child process that reads a line of JSON and answers with one.
//!
//! # Invariants
//! - It ends when its input does: when this is dropped, and when the test's process dies.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::with_credentials;

/// A running client.
#[derive(Debug)]
pub struct Runner {
    name: String,
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Runner {
    /// Starts `command` under `name`. What it prints to standard error is shown as it comes.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn start(name: &str, command: Command) -> Result<Self> {
        let mut child = with_credentials(command)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("start {name}"))?;
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().context("its output is a pipe")?);
        Ok(Self { name: name.to_owned(), child, input, output })
    }

    /// Hands it a step; the answer is for [`Runner::receive`].
    ///
    /// # Errors
    /// When it has ended.
    pub fn send(&mut self, step: &Value) -> Result<()> {
        let input = self.input.as_mut().context("its input is a pipe")?;
        writeln!(input, "{step}")
            .and_then(|()| input.flush())
            .with_context(|| format!("{} has ended", self.name))
    }

    /// Waits for the answer to a step.
    ///
    /// # Errors
    /// When it ends instead, or prints something other than JSON.
    pub fn receive(&mut self) -> Result<Value> {
        let mut line = String::new();
        let read = self.output.read_line(&mut line).with_context(|| format!("read from {}", self.name))?;
        ensure!(read > 0, "{} ended in the middle of a step", self.name);
        serde_json::from_str(&line).with_context(|| format!("{} printed {line}", self.name))
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        drop(self.input.take());
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn shell(program: &str) -> Runner {
        let mut shell = Command::new("sh");
        shell.args(["-c", program]);
        Runner::start("a client", shell).unwrap()
    }

    #[test]
    fn a_client_answers_each_step_with_a_line() {
        let mut client = shell("while read -r step; do echo \"[$step]\"; done");
        for number in 0..3 {
            client.send(&json!({ "number": number })).unwrap();
            assert_eq!(client.receive().unwrap(), json!([{ "number": number }]));
        }
    }

    #[test]
    fn a_client_that_ends_or_prints_something_else_is_an_error_and_no_wait() {
        let mut client = shell("read -r step; echo Warning: old");
        client.send(&json!({})).unwrap();
        assert_eq!(client.receive().unwrap_err().to_string(), "a client printed Warning: old\n");
        assert_eq!(client.receive().unwrap_err().to_string(), "a client ended in the middle of a step");
    }
}
