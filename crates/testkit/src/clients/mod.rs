//! The real AWS clients that tests put with: boto3 and the AWS CLI in a Python environment, the SDKs for JavaScript, Go
//! and Java.
//!
//! The programs and the lists of exact package versions lie in `crates/standpipe/tests/clients`.

mod go;
mod java;
mod node;
mod python;
mod runner;

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;

pub use go::Go;
pub use java::Java;
pub use node::Node;
pub use python::Python;
pub use runner::Runner;

use crate::cache::run;
use crate::daemon::Daemon;
use crate::servers::S3Access;

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
        ("java client", || Java::installed().map(drop)),
        ("go client", || Go::installed().map(drop)),
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
