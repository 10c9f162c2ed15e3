//! The AWS SDK for Java v2: its jars, and a program compiled against them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::{Runner, programs, read};
use crate::cache::{fingerprint, installed, run};

/// The program with the AWS SDK for Java v2.
#[derive(Debug, Clone)]
pub struct Java {
    class_path: String,
}

impl Java {
    /// The jars and the compiled program, installed on first use.
    ///
    /// # Errors
    /// When Java or Maven is missing or a jar cannot be had.
    pub fn installed() -> Result<Self> {
        let source = programs().join("java");
        let (pom, program) = (read(&source.join("pom.xml"))?, read(&source.join("Conformance.java"))?);
        let jars = installed("java-jars", &fingerprint(&[&pom]), |staging| download(&pom, staging))?;
        let jars = format!("{}/*", jars.join("lib").display());
        let classes = installed("java-client", &fingerprint(&[&pom, &program]), |staging| {
            let mut javac = Command::new("javac");
            javac.args(["-proc:none", "-Xlint:all,-processing,-classfile", "-Werror", "-cp", &jars, "-d"]);
            run(javac.arg(staging).arg(source.join("Conformance.java"))).map(drop)
        })?;
        Ok(Self { class_path: format!("{}:{jars}", classes.display()) })
    }

    /// The program, waiting for steps.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn conformance(&self) -> Result<Runner> {
        let mut java = Command::new("java");
        // It lives for seconds: what starts quickest is best.
        java.args(["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto", "-cp", &self.class_path]);
        java.arg("Conformance");
        Runner::start("the SDK for Java", java)
    }
}

/// Lets Maven resolve `pom` into a repository of this install's own, and keeps the jars.
fn download(pom: &str, staging: &Path) -> Result<()> {
    fs::write(staging.join("pom.xml"), pom)?;
    let repository: PathBuf = staging.join("repository");
    let mut maven = Command::new("mvn");
    maven.args(["--batch-mode", "--quiet", "dependency:copy-dependencies", "-DoutputDirectory=lib"]);
    run(maven.arg(format!("-Dmaven.repo.local={}", repository.display())).current_dir(staging))?;
    ensure!(fs::read_dir(staging.join("lib"))?.count() > 20, "Maven left too few jars");
    fs::remove_dir_all(repository).context("remove Maven's repository")
}
