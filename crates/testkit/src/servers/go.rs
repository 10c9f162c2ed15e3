//! Servers that come as Go modules, built by `go install`.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::cache::{installed, run};

/// A program in a Go module.
#[derive(Debug, Clone, Copy)]
pub(crate) struct GoProgram {
    pub(crate) name: &'static str,
    pub(crate) package: &'static str,
    pub(crate) version: &'static str,
    /// The name that `go install` gives the binary: the last part of its package's path.
    pub(crate) built_as: &'static str,
    /// Build tags, which leave most of a large program out.
    pub(crate) tags: &'static str,
}

impl GoProgram {
    /// The path of the binary, installed on first use.
    pub(crate) fn binary(&self) -> Result<PathBuf> {
        let folder = installed(self.name, self.version, |staging| {
            let mut go = Command::new("go");
            // Without debug information and C the build is quicker, smaller and needs no C compiler.
            go.args([
                "install",
                "-ldflags=-s -w",
                "-tags",
                self.tags,
                &format!("{}@{}", self.package, self.version),
            ])
            .env("GOBIN", staging)
            .env("CGO_ENABLED", "0")
            .env("GOWORK", "off")
            .current_dir(staging);
            run(&mut go).context("build with Go")?;
            ensure!(staging.join(self.built_as).is_file(), "go install left no {}", self.built_as);
            Ok(())
        })?;
        Ok(folder.join(self.built_as))
    }
}
