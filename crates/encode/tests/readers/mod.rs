//! Runs the readers of other languages beside this file: installs what they need, once, outside the checkout.
//!
//! ```text
//! ${STANDPIPE_SERVERS_CACHE:-~/.cache/standpipe-servers}/readers-<hash of the lock files>/
//!     python/     a virtual environment
//!     java/       jars
//!     node/       node_modules
//! ```

use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use sha2::{Digest, Sha256};

/// What the environment consists of; a change of any of them makes a new one.
const LOCK_FILES: [&str; 4] =
    ["python/requirements.txt", "java/pom.xml", "node/package.json", "node/package-lock.json"];

/// Downloads fail now and then; the package managers' own retries do not cover every way.
const TRIES: usize = 3;

/// The installed readers.
pub(crate) struct Readers {
    environment: PathBuf,
}

impl Readers {
    /// The readers, installed by the first test that asks, if an earlier run has not done so.
    pub(crate) fn installed() -> &'static Self {
        static READERS: LazyLock<Readers> = LazyLock::new(Readers::install);
        &READERS
    }

    fn install() -> Self {
        let cache = env::var_os("STANDPIPE_SERVERS_CACHE").map_or_else(
            || PathBuf::from(env::var_os("HOME").expect("HOME is set")).join(".cache/standpipe-servers"),
            PathBuf::from,
        );
        let mut hash = Sha256::new();
        for file in LOCK_FILES {
            hash.update(fs::read(sources().join(file)).expect("lock file reads"));
        }
        let hash = hash.finalize();
        let environment = cache.join(format!(
            "readers-{:02x}{:02x}{:02x}{:02x}{:02x}",
            hash[0], hash[1], hash[2], hash[3], hash[4]
        ));
        if !environment.exists() {
            fs::create_dir_all(&cache).expect("cache folder");
            build(&cache, &environment);
        }
        Self { environment }
    }

    /// Lets the Python readers check `folder`; returns how many checks they made.
    pub(crate) fn python(&self, folder: &Path) -> usize {
        let mut command = Command::new(self.environment.join("python/bin/python"));
        command.arg("-B").arg(sources().join("python/read.py")).arg(folder);
        count(&mut command)
    }

    /// Lets the Java readers check `folder`; returns how many checks they made.
    pub(crate) fn java(&self, folder: &Path) -> usize {
        let mut command = Command::new("java");
        command.arg("-cp").arg(self.environment.join("java/*"));
        command.arg(sources().join("java/Read.java")).arg(folder);
        count(&mut command)
    }

    /// Lets the Node readers check `folder`; returns how many checks they made.
    pub(crate) fn node(&self, folder: &Path) -> usize {
        let mut command = Command::new("node");
        command.env("NODE_PATH", self.environment.join("node/node_modules"));
        command.arg(sources().join("node/read.js")).arg(folder);
        count(&mut command)
    }
}

/// The folder of this file.
fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/readers")
}

/// Builds the environment in a folder of its own and renames it, so that a half-finished one is never used. Of two
/// test runs that do so at once, one wins and the other's work is thrown away.
fn build(cache: &Path, environment: &Path) {
    let unfinished =
        tempfile::Builder::new().prefix("unfinished-").tempdir_in(cache).expect("temporary folder");
    let (python, java, node) =
        (unfinished.path().join("python"), unfinished.path().join("java"), unfinished.path().join("node"));
    let repository = tempfile::tempdir().expect("temporary folder");

    retried(|| {
        let mut venv = Command::new("python3");
        venv.args(["-m", "venv"]).arg(&python);
        run(&mut venv)?;
        let mut pip = Command::new(python.join("bin/python"));
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"]);
        run(pip.arg(sources().join("python/requirements.txt")))
    });
    retried(|| {
        let mut mvn = Command::new("mvn");
        mvn.args(["--quiet", "--batch-mode", "--file"]).arg(sources().join("java/pom.xml"));
        mvn.arg(format!("-Dmaven.repo.local={}", repository.path().display()));
        run(mvn.arg("dependency:copy-dependencies").arg(format!("-DoutputDirectory={}", java.display())))
    });
    fs::create_dir(&node).expect("node folder");
    for file in ["package.json", "package-lock.json"] {
        fs::copy(sources().join("node").join(file), node.join(file)).expect("lock file copies");
    }
    retried(|| run(Command::new("npm").args(["ci", "--silent"]).current_dir(&node)));

    if let Err(error) = fs::rename(unfinished.path(), environment) {
        assert!(environment.exists(), "{} cannot be put in place: {error}", environment.display());
    }
}

fn retried(mut step: impl FnMut() -> io::Result<String>) {
    let errors: Vec<io::Error> = (0..TRIES).map_while(|_| step().err()).collect();
    assert!(errors.len() < TRIES, "installing the readers failed {TRIES} times: {errors:#?}");
}

/// Runs a command to its end and returns what it printed; any status but 0 is an error that shows both streams.
fn run(command: &mut Command) -> io::Result<String> {
    let output = command.output().map_err(|error| io::Error::other(format!("{command:?}: {error}")))?;
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if output.status.success() {
        Ok(out.into_owned())
    } else {
        Err(io::Error::other(format!("{command:?}: {}\n{out}{err}", output.status)))
    }
}

/// Runs a reader, which ends by printing `checked <count>`.
fn count(reader: &mut Command) -> usize {
    let printed = run(reader).unwrap_or_else(|error| panic!("{error}"));
    let count = printed.trim().strip_prefix("checked ").and_then(|count| count.parse().ok());
    count.unwrap_or_else(|| panic!("{reader:?} printed {printed:?}"))
}
