//! The AWS SDK for Java v2: its jars, and a program compiled against them.

use anyhow::Result;

use super::{Runner, programs, read};
use crate::maven;

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
        let jars = maven::resolved("java-jars", &read(&source.join("pom.xml"))?)?.join("lib");
        let classes = maven::classes("java-client", &source.join("Conformance.java"), &jars)?;
        Ok(Self { class_path: format!("{}:{}/*", classes.display(), jars.display()) })
    }

    /// The program, waiting for steps.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn conformance(&self) -> Result<Runner> {
        let mut java = maven::java(&self.class_path);
        java.arg("Conformance");
        Runner::start("the SDK for Java", java)
    }
}
