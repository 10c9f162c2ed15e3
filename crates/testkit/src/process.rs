//! A child process that cannot outlive its test.
//!
//! # Invariants
//! - It is ended by its process id when dropped.
//! - The kernel kills it when the test's process dies first: `setpriv --pdeathsig KILL` asks for that before it turns
//!   into the program itself (same process id).
//! - The kernel watches the *thread* that started the child, and a test's thread ends with the test. So one thread that
//!   lives as long as the process starts them all.

use std::fs::{self, File};
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::cache::{last_lines, note, remove_dir};
use crate::ports::free_port;

/// How often something that is waited for is looked at.
const POLL: Duration = Duration::from_millis(10);

/// Lines of a log that are shown when something went wrong.
const SHOWN_LINES: usize = 60;

/// A running child process with a log file and a folder of its own.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    dir: PathBuf,
    owns_dir: bool,
}

impl Process {
    /// Starts `command` under `name`. What it prints goes to `log` in `dir`, after what is there; `dir` is removed when
    /// this is dropped, unless the test is failing.
    ///
    /// # Errors
    /// When the program or `setpriv` cannot be started.
    pub fn start(name: &str, command: &Command, dir: &Path) -> Result<Self> {
        let child = spawn(wrapped(command, dir)?).with_context(|| format!("start {command:?}"))?;
        Ok(Self { name: name.to_owned(), child, dir: dir.to_owned(), owns_dir: true })
    }

    /// Starts a server on a free port and waits until `ready` says so; takes another port when that one is taken.
    ///
    /// # Errors
    /// When it dies or does not get ready within `patience`; the error holds the end of its log.
    pub(crate) fn serve(
        name: &str,
        dir: &Path,
        patience: Duration,
        command: impl Fn(u16) -> Command,
        ready: impl Fn(u16) -> bool,
    ) -> Result<(Self, u16)> {
        for _ in 0..5 {
            let port = free_port()?;
            let mut process = Self::start(name, &command(port), dir)?;
            match process.wait_until(patience, || ready(port)) {
                Ok(()) => return Ok((process, port)),
                Err(_) if process.log().to_lowercase().contains("address already in use") => {
                    process.keep_dir();
                    process.kill()?;
                    fs::remove_file(process.log_path())?;
                }
                Err(error) => return Err(error),
            }
        }
        bail!("{name} found every port taken")
    }

    /// Starts a server again in its folder and waits until `ready` says so; a running one is killed first.
    ///
    /// # Errors
    /// When it dies or does not get ready within `patience`; the error holds the end of its log.
    pub(crate) fn restart(
        &mut self,
        command: &Command,
        patience: Duration,
        ready: impl Fn() -> bool,
    ) -> Result<()> {
        if self.is_running()? {
            self.kill()?;
        }
        self.keep_dir();
        *self = Self::start(&self.name, command, &self.dir)?;
        self.wait_until(patience, ready)
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The folder with its data and log.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The file that receives what it prints.
    pub fn log_path(&self) -> PathBuf {
        self.dir.join("log")
    }

    /// What it has printed so far.
    pub fn log(&self) -> String {
        fs::read(self.log_path()).map(|log| String::from_utf8_lossy(&log).into_owned()).unwrap_or_default()
    }

    /// Leaves the folder in place when this is dropped; whoever started the process owns it.
    pub(crate) fn keep_dir(&mut self) {
        self.owns_dir = false;
    }

    /// Whether it still runs.
    ///
    /// # Errors
    /// When the operating system does not say.
    pub fn is_running(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_none())
    }

    /// Waits until `done` holds.
    ///
    /// # Errors
    /// When the process ends or `patience` runs out before; the error holds the end of its log.
    pub fn wait_until(&mut self, patience: Duration, done: impl Fn() -> bool) -> Result<()> {
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                bail!(
                    "{} ended with {status} before it was ready; its log ends:\n{}",
                    self.name,
                    self.log_end()
                );
            }
            if done() {
                return Ok(());
            }
            if started.elapsed() > patience {
                bail!("{} was not ready after {patience:?}; its log ends:\n{}", self.name, self.log_end());
            }
            thread::sleep(POLL);
        }
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let pid = i32::try_from(self.pid()).ok().and_then(Pid::from_raw).context("a process id fits")?;
        kill_process(pid, signal).with_context(|| format!("send {signal:?} to {}", self.name))
    }

    /// Ends it at once, as `kill -9` does, and reaps it.
    ///
    /// # Errors
    /// When the operating system refuses.
    pub fn kill(&mut self) -> Result<ExitStatus> {
        self.child.kill().with_context(|| format!("kill {}", self.name))?;
        Ok(self.child.wait()?)
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// When it still runs after `patience`.
    pub fn wait(&mut self, patience: Duration) -> Result<ExitStatus> {
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            if started.elapsed() > patience {
                bail!("{} still ran after {patience:?}; its log ends:\n{}", self.name, self.log_end());
            }
            thread::sleep(POLL);
        }
    }

    fn log_end(&self) -> String {
        last_lines(&self.log(), SHOWN_LINES)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let died_early = matches!(self.child.try_wait(), Ok(Some(status)) if status.signal().is_none());
        self.kill().ok();
        if thread::panicking() {
            let early = if died_early { " (it had ended by itself)" } else { "" };
            note(&format!(
                "--- {}{early}, log in {}\n{}",
                self.name,
                self.log_path().display(),
                self.log_end()
            ));
        } else if self.owns_dir {
            remove_dir(&self.dir).ok();
        }
    }
}

/// The command as `setpriv` runs it, with its output going to the log.
fn wrapped(command: &Command, dir: &Path) -> Result<Command> {
    let log = File::options().create(true).append(true).open(dir.join("log")).context("open the log")?;
    let mut outer = Command::new("setpriv");
    outer.args(["--pdeathsig", "KILL", "--"]).arg(command.get_program()).args(command.get_args());
    for (key, value) in command.get_envs() {
        match value {
            Some(value) => outer.env(key, value),
            None => outer.env_remove(key),
        };
    }
    if let Some(cwd) = command.get_current_dir() {
        outer.current_dir(cwd);
    }
    outer.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    Ok(outer)
}

type Order = (Command, Sender<io::Result<Child>>);

/// Starts a command from the one thread that lives as long as this process.
fn spawn(command: Command) -> io::Result<Child> {
    static SPAWNER: OnceLock<Sender<Order>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| {
        let (orders, inbox) = channel::<Order>();
        thread::spawn(move || {
            for (mut command, reply) in inbox {
                reply.send(command.spawn()).ok();
            }
        });
        orders
    });
    let (reply, answer) = channel();
    let gone = || io::Error::other("the thread that starts processes is gone");
    spawner.send((command, reply)).map_err(|_| gone())?;
    answer.recv().map_err(|_| gone())?
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::run_dir;

    #[test]
    fn a_process_outlives_the_thread_that_asked_for_it_but_not_its_fixture() {
        let mut command = Command::new("sleep");
        command.arg("300");
        let dir = run_dir("sleeper").unwrap();
        let mut process = thread::spawn({
            let dir = dir.clone();
            move || Process::start("sleeper", &command, &dir).unwrap()
        })
        .join()
        .unwrap();
        assert!(process.is_running().unwrap());
        let pid = process.pid();
        drop(process);
        assert!(!Path::new(&format!("/proc/{pid}")).exists() && !dir.exists());
    }

    #[test]
    fn a_process_that_ends_early_shows_its_log() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo no such luck >&2; exit 3"]);
        let mut process = Process::start("early", &command, &run_dir("early").unwrap()).unwrap();
        let error = process.wait_until(Duration::from_secs(10), || false).unwrap_err().to_string();
        assert!(error.contains("no such luck") && error.contains("exit status: 3"), "{error}");
    }
}
