//! A machine under the real systemd, to try a unit on as it will be run.
//!
//! # Invariants
//! - It is made of namespaces only, so it goes with the test, whichever way the test ends.
//! - Nothing in it outlives it or reaches this machine: what it writes is memory, its network is a loopback interface,
//!   and none of this machine's units runs in it.
//! - Machines know nothing of each other: the same port can be taken in each.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;

use crate::cache::{last_lines, note, run, run_dir};
use crate::process::Process;

const BOOT: &str = include_str!("systemd/boot.sh");

/// Debian's package `systemd`; other programs of its are found by their names.
const SYSTEMD: &str = "/lib/systemd/systemd";

/// How long one command in the machine may take, in seconds: its end is better than a test that hangs.
const COMMAND_SECS_MAX: &str = "60";

/// Lines of the machine's journal that are shown when the test fails.
const SHOWN_LINES: usize = 80;

/// A running machine. Only root can have one; see [`crate::has_root`].
///
/// ```no_run
/// use standpipe_testkit::{Systemd, cache::run};
///
/// let machine = Systemd::boot(&[]).unwrap();
/// std::fs::write(machine.path("/etc/systemd/system/hello.service"), "[Service]\nExecStart=/bin/echo hello").unwrap();
/// run(&mut machine.shell("systemctl daemon-reload && systemctl start --wait hello")).unwrap();
/// assert!(run(&mut machine.shell("journalctl --unit hello")).unwrap().contains("hello"));
/// ```
#[derive(Debug)]
pub struct Systemd {
    process: Process,
    init: String,
}

impl Systemd {
    /// Boots a machine with these files and folders of this one, each under the path it is to have there.
    ///
    /// # Errors
    /// When systemd is not installed or does not get its journal to run; the error holds what there is of its log.
    pub fn boot(files: &[(&Path, &str)]) -> Result<Self> {
        ensure!(Path::new(SYSTEMD).exists(), "{SYSTEMD} is missing (apt-get install -y systemd)");
        let dir = run_dir("systemd")?;
        let script = dir.join("boot.sh");
        fs::write(&script, BOOT).context("write boot.sh")?;
        let mut command = Command::new("bash");
        command.arg(script).arg("enter").arg(&dir);
        for (source, target) in files {
            command.arg(source).arg(target);
        }
        let mut process = Process::start("systemd", &command, &dir)?;
        let init =
            || fs::read_to_string(dir.join("init")).map(|pid| pid.trim().to_owned()).unwrap_or_default();
        let up = |init: &str| {
            !init.is_empty() && run(&mut shell(init, "systemctl is-active machine.target")).is_ok()
        };
        process.wait_until(Duration::from_secs(30), || up(&init()))?;
        Ok(Self { process, init: init() })
    }

    /// A script, to be run by root in the machine with `sh`. It is ended when it takes longer than a minute.
    pub fn shell(&self, script: &str) -> Command {
        shell(&self.init, script)
    }

    /// Where this machine sees the file that is at `path` there, to read and to write it.
    pub fn path(&self, path: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{path}", self.init))
    }
}

impl Drop for Systemd {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let journal = run(&mut self.shell("journalctl --output=short-precise")).unwrap_or_default();
            note(&format!("--- journal of the machine\n{}", last_lines(&journal, SHOWN_LINES)));
        }
        // The script takes the machine down and its control group away; it is killed when it does not.
        self.process.signal(Signal::TERM).ok();
        self.process.wait(Duration::from_secs(10)).ok();
    }
}

fn shell(init: &str, script: &str) -> Command {
    let mut command = Command::new("timeout");
    command.args([
        "--kill-after=1",
        COMMAND_SECS_MAX,
        "nsenter",
        "--all",
        "--target",
        init,
        "--",
        "sh",
        "-c",
        script,
    ]);
    command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("LC_ALL", "C.UTF-8");
    command
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::has_root;

    const HELLO: &str = "[Service]\nType=notify\nNotifyAccess=all\nDynamicUser=yes\nStateDirectory=hello\n\
        ExecStart=/bin/sh -c 'echo hello >/var/lib/hello/said; systemd-notify --ready; exec sleep 300'\n";

    #[test]
    fn a_machine_runs_units_keeps_to_itself_and_leaves_nothing_behind() {
        if !has_root() {
            return;
        }
        let machine = Systemd::boot(&[(Path::new(env!("CARGO_MANIFEST_DIR")), "/opt/testkit")]).unwrap();
        fs::write(machine.path("/etc/systemd/system/hello.service"), HELLO).unwrap();
        let out = run(&mut machine.shell("systemctl start hello && systemctl show --value -p MainPID hello"))
            .unwrap();
        assert_ne!(out.trim(), "0");
        assert_eq!(fs::read_to_string(machine.path("/var/lib/private/hello/said")).unwrap(), "hello\n");
        assert!(machine.path("/opt/testkit/Cargo.toml").exists());
        assert!(!Path::new("/var/lib/private/hello").exists() && !Path::new("/opt/testkit").exists());
        let failed = machine.shell("echo no >&2; exit 7").output().unwrap();
        assert_eq!((failed.status.code(), failed.stderr.as_slice()), (Some(7), b"no\n".as_slice()));
        let (init, dir) = (format!("/proc/{}", machine.init), machine.process.dir().to_owned());
        assert!(Path::new(&init).exists());
        drop(machine);
        assert_eq!((Path::new(&init).exists(), dir.exists()), (false, false));
    }

    #[test]
    fn a_machine_dies_with_the_script_that_runs_it() {
        if !has_root() {
            return;
        }
        let mut machine = Systemd::boot(&[]).unwrap();
        machine.process.kill().unwrap();
        let init = format!("/proc/{}", machine.init);
        let deadline = std::time::Instant::now() + Duration::from_secs(10);
        while Path::new(&init).exists() {
            assert!(std::time::Instant::now() < deadline, "PID 1 outlived its script");
            std::thread::yield_now();
        }
        // The next one takes away the control group that was left.
        drop(Systemd::boot(&[]).unwrap());
    }
}
