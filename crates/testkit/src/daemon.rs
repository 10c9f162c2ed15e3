//! The `standpipe` binary under test: started with a configuration, killed, stopped and started again.
//!
//! # Invariants
//! - A daemon keeps its folder, ports and log through [`Daemon::kill9`], [`Daemon::terminate`] and
//!   [`Daemon::restart`], so that a client's retries reach the next run.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;

use crate::cache::{remove_dir, run_dir};
use crate::http::{Reply, http_get, http_send};
use crate::ports::free_port;
use crate::process::Process;

/// Keys of the configuration that the fixture writes itself.
const OWN_KEYS: [&str; 3] = ["listen:", "admin:", "data_dir:"];

/// How a daemon is to be started.
#[derive(Debug, Clone)]
pub struct DaemonOptions {
    binary: PathBuf,
    yaml: String,
    args: Vec<String>,
    envs: Vec<(String, String)>,
    ready_within: Duration,
}

/// How a daemon ended when it was asked to.
#[derive(Debug, Clone, Copy)]
pub struct Stopped {
    /// Its exit status.
    pub status: ExitStatus,
    /// From the signal to the end.
    pub took: Duration,
}

impl DaemonOptions {
    /// The binary, which a test of the `standpipe` crate knows as `env!("CARGO_BIN_EXE_standpipe")`, and its
    /// configuration without `listen`, `admin` and `data_dir`. Without `credentials:` there is one pair,
    /// [`Daemon::ACCESS_KEY_ID`] and [`Daemon::SECRET_ACCESS_KEY`]; without `region:` and `account_id:` they are
    /// `us-east-1` and zeros.
    pub fn new(binary: impl Into<PathBuf>, yaml: impl Into<String>) -> Self {
        Self {
            binary: binary.into(),
            yaml: yaml.into(),
            args: Vec::new(),
            envs: Vec::new(),
            ready_within: Duration::from_secs(120),
        }
    }

    /// Adds an argument to `serve`, such as `--dev-tls`.
    #[must_use]
    pub fn arg(mut self, arg: impl Into<String>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Sets a variable of the daemon's environment.
    #[must_use]
    pub fn env(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.envs.push((key.into(), value.into()));
        self
    }

    /// Waits longer for the daemon to get ready, such as with a large journal to recover.
    #[must_use]
    pub fn ready_within(mut self, patience: Duration) -> Self {
        self.ready_within = patience;
        self
    }

    /// Starts the daemon in a folder of its own and waits for `/readyz`.
    ///
    /// # Errors
    /// When it ends or does not get ready; the error holds the end of its log.
    pub fn start(self) -> Result<Daemon> {
        Daemon::launch(self)
    }
}

/// A running, or killed, daemon.
#[derive(Debug)]
pub struct Daemon {
    options: DaemonOptions,
    dir: PathBuf,
    port: u16,
    admin_port: u16,
    process: Process,
}

impl Daemon {
    /// The access key id that a daemon without `credentials:` accepts.
    pub const ACCESS_KEY_ID: &'static str = "standpipe";
    /// The secret that goes with it.
    pub const SECRET_ACCESS_KEY: &'static str = "standpipe-secret";

    /// Starts `binary` with `yaml`; see [`DaemonOptions::new`] for what may be left out.
    ///
    /// # Errors
    /// When it ends or does not get ready; the error holds the end of its log.
    pub fn start(binary: impl Into<PathBuf>, yaml: impl Into<String>) -> Result<Self> {
        DaemonOptions::new(binary, yaml).start()
    }

    fn launch(options: DaemonOptions) -> Result<Self> {
        let dir = run_dir("standpipe")?;
        let mut tries = 0;
        loop {
            let (port, admin_port) = (free_port()?, free_port()?);
            write_config(&dir, &options.yaml, port, admin_port)?;
            match run(&options, &dir, admin_port, "/readyz") {
                Ok(process) => return Ok(Self { options, dir, port, admin_port, process }),
                Err(error)
                    if tries < 4
                        && format!("{error:#}").to_lowercase().contains("address already in use") =>
                {
                    tries += 1;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Where clients put: `http://127.0.0.1:port`, or `https://` where it has TLS.
    pub fn endpoint(&self) -> String {
        let tls = self.options.args.iter().any(|arg| arg == "--dev-tls")
            || self.options.yaml.lines().any(|line| line.starts_with("tls:"));
        format!("{}://127.0.0.1:{}", if tls { "https" } else { "http" }, self.port)
    }

    /// Where the admin port is: `http://127.0.0.1:port`.
    pub fn admin(&self) -> String {
        format!("http://127.0.0.1:{}", self.admin_port)
    }

    /// Gets a path of the admin port, such as `/metrics`.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn get(&self, path: &str) -> Result<Reply> {
        http_get(&format!("{}{path}", self.admin()))
    }

    /// Posts a body to a path of the admin port.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn post(&self, path: &str, body: &str) -> Result<Reply> {
        http_send("POST", &format!("{}{path}", self.admin()), body)
    }

    /// The folder with the configuration, the log and the data; relative paths in the configuration start here.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The daemon's `data_dir`.
    pub fn data_dir(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// The configuration file.
    pub fn config_file(&self) -> PathBuf {
        self.dir.join("standpipe.yaml")
    }

    /// The process id of the latest run.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Whether it runs.
    ///
    /// # Errors
    /// When the operating system does not say.
    pub fn is_running(&mut self) -> Result<bool> {
        self.process.is_running()
    }

    /// What it has printed so far, over all runs.
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// Replaces the configuration; it is read at the next start, or when the daemon is told to read it again.
    ///
    /// # Errors
    /// When the text holds a key that is the fixture's, or cannot be written.
    pub fn reconfigure(&mut self, yaml: impl Into<String>) -> Result<()> {
        self.options.yaml = yaml.into();
        write_config(&self.dir, &self.options.yaml, self.port, self.admin_port)
    }

    /// Sends a signal, such as `Signal::HUP`.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        self.process.signal(signal)
    }

    /// Ends it in the middle of whatever it does. What the kernel holds of its files survives, as after any crash of a
    /// process.
    ///
    /// # Errors
    /// When the operating system refuses.
    pub fn kill9(&mut self) -> Result<()> {
        self.process.kill().map(drop)
    }

    /// Asks it to stop with SIGTERM and waits at most a minute.
    ///
    /// # Errors
    /// When it is gone already or still runs after that.
    pub fn terminate(&mut self) -> Result<Stopped> {
        let started = Instant::now();
        self.process.signal(Signal::TERM)?;
        let status = self.process.wait(Duration::from_secs(60))?;
        Ok(Stopped { status, took: started.elapsed() })
    }

    /// Starts it again with the same folder and ports, killing it first if it runs.
    ///
    /// # Errors
    /// When it ends or does not get ready; the error holds the end of its log.
    pub fn restart(&mut self) -> Result<()> {
        self.restart_until("/readyz")
    }

    /// As [`restart`](Daemon::restart), but waits for `path` of the admin port, such as `/healthz` where it will not be
    /// ready.
    ///
    /// # Errors
    /// As for [`restart`](Daemon::restart).
    pub fn restart_until(&mut self, path: &str) -> Result<()> {
        if self.is_running()? {
            self.kill9()?;
        }
        self.process = run(&self.options, &self.dir, self.admin_port, path)?;
        Ok(())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.process.kill().ok();
        if !std::thread::panicking() {
            remove_dir(&self.dir).ok();
        }
    }
}

fn run(options: &DaemonOptions, dir: &Path, admin_port: u16, ready_at: &str) -> Result<Process> {
    let mut command = Command::new(&options.binary);
    command.args(["serve", "--config", "standpipe.yaml"]).args(&options.args);
    command.current_dir(dir).envs(options.envs.iter().cloned());
    let mut process = Process::start("standpipe", &command, dir)?;
    process.keep_dir();
    let ready =
        || http_get(&format!("http://127.0.0.1:{admin_port}{ready_at}")).is_ok_and(|reply| reply.is_ok());
    process.wait_until(options.ready_within, ready)?;
    Ok(process)
}

fn write_config(dir: &Path, yaml: &str, port: u16, admin_port: u16) -> Result<()> {
    let has = |key: &str| yaml.lines().any(|line| line.starts_with(key));
    for key in OWN_KEYS {
        ensure!(!has(key), "{key} is the fixture's to set");
    }
    let mut text = format!("listen: 127.0.0.1:{port}\nadmin: 127.0.0.1:{admin_port}\ndata_dir: ./data\n");
    let pair = format!(
        "credentials: [{{ access_key_id: {}, secret_access_key: {} }}]",
        Daemon::ACCESS_KEY_ID,
        Daemon::SECRET_ACCESS_KEY
    );
    let defaults = [
        ("region:", "region: us-east-1"),
        ("account_id:", "account_id: \"000000000000\""),
        ("credentials:", pair.as_str()),
    ];
    for (key, line) in defaults {
        if !has(key) {
            text.push_str(line);
            text.push('\n');
        }
    }
    text.push_str(yaml);
    fs::write(dir.join("standpipe.yaml"), text).context("write the daemon's configuration")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Stands in for the binary: answers `/readyz` on the admin port and stops on SIGTERM.
    const STAND_IN: &str = r#"#!/usr/bin/env python3
import http.server, re, sys
port = int(re.search(r"^admin: 127.0.0.1:(\d+)$", open(sys.argv[3]).read(), re.M)[1])
print("run", flush=True)
class Ready(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/readyz" else 404)
        self.end_headers()
http.server.HTTPServer(("127.0.0.1", port), Ready).serve_forever()
"#;

    fn stand_in(dir: &Path) -> PathBuf {
        use std::os::unix::fs::PermissionsExt;
        let path = dir.join("stand-in");
        fs::write(&path, STAND_IN).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    #[test]
    fn a_daemon_keeps_its_ports_folder_and_log_when_it_is_killed_and_started_again() {
        let tools = run_dir("stand-in").unwrap();
        let mut daemon = Daemon::start(stand_in(&tools), "streams: []\n").unwrap();
        let (endpoint, admin, pid) = (daemon.endpoint(), daemon.admin(), daemon.pid());
        assert_eq!(daemon.get("/nothing").unwrap().status, 404);
        daemon.kill9().unwrap();
        assert!(!daemon.is_running().unwrap() && daemon.get("/readyz").is_err());
        daemon.restart().unwrap();
        assert_ne!(daemon.pid(), pid);
        assert_eq!((daemon.endpoint(), daemon.admin()), (endpoint, admin));
        assert_eq!(daemon.log().matches("run\n").count(), 2);
        let stopped = daemon.terminate().unwrap();
        assert!(!stopped.status.success() && stopped.took < Duration::from_secs(10), "{stopped:?}");
        let dir = daemon.dir().to_owned();
        drop(daemon);
        assert!(!dir.exists());
        remove_dir(&tools).unwrap();
    }

    #[test]
    fn the_configuration_gets_what_the_fixture_owns_and_what_was_left_out() {
        let dir = run_dir("config").unwrap();
        write_config(&dir, "region: eu-west-1\nstreams: []\n", 1, 2).unwrap();
        let text = fs::read_to_string(dir.join("standpipe.yaml")).unwrap();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[..3], ["listen: 127.0.0.1:1", "admin: 127.0.0.1:2", "data_dir: ./data"]);
        assert!(lines.contains(&"region: eu-west-1") && !lines.contains(&"region: us-east-1"));
        assert!(text.contains("credentials: [{ access_key_id: standpipe,"));
        assert!(write_config(&dir, "listen: 127.0.0.1:5\n", 1, 2).is_err());
        remove_dir(&dir).unwrap();
    }
}
