//! The AWS SDK for Go v2 in a program built with it.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use super::{Runner, programs, read};
use crate::cache::{fingerprint, installed, run};

/// What the program consists of.
const FILES: [&str; 3] = ["go.mod", "go.sum", "main.go"];

/// The program with the AWS SDK for Go v2.
#[derive(Debug, Clone)]
pub struct Go {
    program: PathBuf,
}

impl Go {
    /// The program, built on first use.
    ///
    /// # Errors
    /// When Go is missing or a module cannot be had.
    pub fn installed() -> Result<Self> {
        let source = programs().join("go");
        let texts = FILES.map(|file| read(&source.join(file))).into_iter().collect::<Result<Vec<_>>>()?;
        let version = fingerprint(&texts.iter().map(String::as_str).collect::<Vec<_>>());
        let dir = installed("go-client", &version, |staging| {
            for (file, text) in FILES.iter().zip(&texts) {
                fs::write(staging.join(file), text)?;
            }
            let mut go = Command::new("go");
            go.args(["build", "-mod=readonly", "-ldflags=-s -w", "-o", "conformance", "."]);
            run(go.envs([("CGO_ENABLED", "0"), ("GOWORK", "off")]).current_dir(staging)).map(drop)
        })?;
        Ok(Self { program: dir.join("conformance") })
    }

    /// The program, waiting for steps.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn conformance(&self) -> Result<Runner> {
        Runner::start("the SDK for Go", Command::new(&self.program))
    }
}
