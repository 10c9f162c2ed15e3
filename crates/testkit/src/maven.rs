//! Jars from Maven, and Java compiled against them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::cache::{fingerprint, installed, run};

/// A folder under a name in the cache with what `pom` lists and all that it needs: jars in `lib`, and in `unpacked` what
/// was in ZIPs.
pub(crate) fn resolved(name: &str, pom: &str) -> Result<PathBuf> {
    installed(name, &fingerprint(&[pom]), |staging| download(pom, staging))
}

/// The folder of the classes of one source file, compiled against `jars`.
pub(crate) fn classes(name: &str, source: &Path, jars: &Path) -> Result<PathBuf> {
    let text = fs::read_to_string(source).with_context(|| format!("read {}", source.display()))?;
    let against = jars.display().to_string();
    installed(name, &fingerprint(&[&text, &against]), |staging| {
        let mut javac = Command::new("javac");
        javac.args(["-proc:none", "-Xlint:all,-processing,-classfile", "-Werror", "-cp"]);
        javac.arg(format!("{against}/*")).arg("-d").arg(staging).arg(source);
        run(&mut javac).map(drop)
    })
}

/// A JVM that starts quickly and lives shortly: all that tests need.
pub(crate) fn java(class_path: &str) -> Command {
    let mut java = Command::new("java");
    java.args(["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto", "-cp", class_path]);
    java
}

/// Lets Maven resolve `pom` into a repository of this install's own, which is not kept.
fn download(pom: &str, staging: &Path) -> Result<()> {
    fs::write(staging.join("pom.xml"), pom)?;
    let (repository, lib) = (staging.join("repository"), staging.join("lib"));
    let mut maven = Command::new("mvn");
    maven.args(["--batch-mode", "--quiet", "dependency:copy-dependencies", "-DoutputDirectory=lib"]);
    run(maven.arg(format!("-Dmaven.repo.local={}", repository.display())).current_dir(staging))?;
    let (zips, jars): (Vec<_>, Vec<_>) =
        files(&lib)?.into_iter().partition(|path| path.extension().is_some_and(|end| end == "zip"));
    ensure!(jars.len() > 20, "Maven left too few jars");
    for zip in zips {
        let unpacked = staging.join("unpacked");
        fs::create_dir_all(&unpacked)?;
        run(Command::new("jar").arg("xf").arg(&zip).current_dir(unpacked))?;
        fs::remove_file(zip)?;
    }
    fs::remove_dir_all(repository).context("remove Maven's repository")
}

fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect()
}
