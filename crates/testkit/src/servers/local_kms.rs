//! Local KMS: a server of the KMS API that knows key states, encryption contexts and rotation.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use serde_json::{Value, json};

use super::versions::LOCAL_KMS;
use crate::cache::run_dir;
use crate::http::http_call;
use crate::process::Process;

/// How long it may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running Local KMS. It keeps its keys through [`kill`](LocalKms::kill) and [`restart`](LocalKms::restart), and takes
/// any credentials.
#[derive(Debug)]
pub struct LocalKms {
    process: Process,
    port: u16,
}

impl LocalKms {
    /// Installs it if it is not there yet.
    ///
    /// # Errors
    /// When it cannot be built.
    pub fn install() -> Result<()> {
        LOCAL_KMS.binary().map(drop)
    }

    /// Installs it if need be and starts it without a key.
    ///
    /// # Errors
    /// When it cannot be built or does not get ready; the error holds the end of its log.
    pub fn start() -> Result<Self> {
        let binary = LOCAL_KMS.binary()?;
        let dir = run_dir("local-kms")?;
        let (process, port) =
            Process::serve("local-kms", &dir, PATIENCE, |port| command(&binary, &dir, port), is_ready)?;
        Ok(Self { process, port })
    }

    /// Where it listens: `http://127.0.0.1:port`.
    pub fn endpoint(&self) -> String {
        endpoint(self.port)
    }

    /// A fresh symmetric key's ARN.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn create_key(&self) -> Result<String> {
        let made = self.call("CreateKey", &json!({}))?;
        let Some(arn) = made.pointer("/KeyMetadata/Arn").and_then(Value::as_str) else {
            bail!("no key in {made}")
        };
        Ok(arn.to_owned())
    }

    /// Runs an operation of the KMS API, such as `DisableKey`.
    ///
    /// # Errors
    /// When it refuses or does not answer.
    pub fn call(&self, operation: &str, input: &Value) -> Result<Value> {
        call(self.port, operation, input)
    }

    /// Ends it at once, by its process id.
    ///
    /// # Errors
    /// When the operating system refuses.
    pub fn kill(&mut self) -> Result<()> {
        self.process.kill().map(drop)
    }

    /// Starts it again on the same port with its keys.
    ///
    /// # Errors
    /// When it does not get ready; the error holds the end of its log.
    pub fn restart(&mut self) -> Result<()> {
        let (command, port) = (command(&LOCAL_KMS.binary()?, self.process.dir(), self.port), self.port);
        self.process.restart(&command, PATIENCE, || is_ready(port))
    }
}

fn endpoint(port: u16) -> String {
    format!("http://127.0.0.1:{port}")
}

fn command(binary: &Path, dir: &Path, port: u16) -> Command {
    let mut command = Command::new(binary);
    command.current_dir(dir).env("PORT", port.to_string()).env("KMS_DATA_PATH", dir.join("data"));
    command.envs([
        ("KMS_REGION", "us-east-1"),
        ("KMS_ACCOUNT_ID", "000000000000"),
        ("KMS_SEED_PATH", "none"),
    ]);
    command
}

fn is_ready(port: u16) -> bool {
    call(port, "ListKeys", &json!({})).is_ok()
}

fn call(port: u16, operation: &str, input: &Value) -> Result<Value> {
    let target = format!("TrentService.{operation}");
    let headers = [("content-type", "application/x-amz-json-1.1"), ("x-amz-target", target.as_str())];
    let reply = http_call("POST", &endpoint(port), &headers, &input.to_string())?;
    ensure!(reply.is_ok(), "{operation}: {} {}", reply.status, reply.body);
    Ok(serde_json::from_str(&reply.body).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disabled_key_is_refused_until_it_is_enabled_and_keys_survive_a_restart() {
        let mut kms = LocalKms::start().unwrap();
        let key = kms.create_key().unwrap();
        let generate = json!({"KeyId": key, "KeySpec": "AES_256"});
        kms.call("GenerateDataKey", &generate).unwrap();
        kms.call("DisableKey", &json!({"KeyId": key})).unwrap();
        let refused = kms.call("GenerateDataKey", &generate).unwrap_err().to_string();
        assert!(refused.contains("DisabledException"), "{refused}");
        kms.restart().unwrap();
        kms.call("EnableKey", &json!({"KeyId": key})).unwrap();
        kms.call("GenerateDataKey", &generate).unwrap();
    }
}
