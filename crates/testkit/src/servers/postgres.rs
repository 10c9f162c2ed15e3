//! PostgreSQL as the distribution packages it, with TLS and passwords, for tests that load rows.

use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::Signal;

use crate::cache::{remove_dir, run, run_dir};
use crate::certificates::Authority;
use crate::process::Process;

/// How long a server may take to start, to stop and to recover.
const PATIENCE: Duration = Duration::from_secs(60);
/// Who the server runs as where the tests are root, which it refuses to be; the package makes that user.
const SERVER_USER: &str = "postgres";

/// A running PostgreSQL with the databases `postgres` and `guarded`, which wants TLS with a certificate of
/// [`Postgres::authority`] from clients. It forgets what it was told when the machine dies, not when it does.
#[derive(Debug)]
pub struct Postgres {
    process: Process,
    home: Home,
    port: u16,
    authority: Authority,
    bin: PathBuf,
}

/// A folder that the server can reach: root's own it cannot.
#[derive(Debug)]
struct Home(PathBuf);

impl Drop for Home {
    fn drop(&mut self) {
        remove_dir(&self.0).ok();
    }
}

impl Postgres {
    /// The owner of everything.
    pub const USER: &'static str = "standpipe";
    /// The owner's password.
    pub const PASSWORD: &'static str = "standpipe-secret";

    /// Says whether it is installed, as `make preflight` does it.
    ///
    /// # Errors
    /// When it is not.
    pub fn install() -> Result<()> {
        bin().map(drop)
    }

    /// Starts an empty server.
    ///
    /// # Errors
    /// When it is not installed or does not get ready; the error holds the end of its log.
    pub fn start() -> Result<Self> {
        let (bin, home, authority) = (bin()?, Home::new()?, Authority::new("postgres-tests")?);
        home.fill(&authority)?;
        let mut initdb = home.as_server(&bin.join("initdb"));
        initdb.arg("-D").arg(home.data()).args([
            "-U",
            Self::USER,
            "-E",
            "UTF8",
            "--locale=C.UTF-8",
            "--no-sync",
        ]);
        initdb.args(["--auth-local=trust", "--auth-host=scram-sha-256"]);
        run(initdb.arg("--pwfile").arg(home.0.join("password")))?;
        let hba = "local all all trust\nhostssl guarded all all scram-sha-256 clientcert=verify-ca\n\
                   host guarded all all reject\nhost all all all scram-sha-256\n";
        fs::write(home.data().join("pg_hba.conf"), hba)?;
        let dir = run_dir("postgres")?;
        let command = |port: u16| home.server(&bin, port);
        let ready = |port: u16| is_ready(&bin, &home.0, port);
        let (process, port) = Process::serve("postgres", &dir, PATIENCE, command, ready)?;
        let server = Self { process, home, port, authority, bin };
        server.sql("postgres", "CREATE DATABASE guarded")?;
        Ok(server)
    }

    /// The one server that tests share that run at the same time in one process. Each makes a database of its own.
    ///
    /// # Errors
    /// As [`Postgres::start`].
    pub fn shared() -> Result<Arc<Self>> {
        static SHARED: Mutex<Weak<Postgres>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(server) = shared.upgrade() {
            return Ok(server);
        }
        let server = Arc::new(Self::start()?);
        *shared = Arc::downgrade(&server);
        Ok(server)
    }

    /// The port, on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Who issued the server's certificate, which is for `localhost`.
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// The same as a file.
    pub fn ca_file(&self) -> PathBuf {
        self.home.ca()
    }

    /// Runs a statement as the owner, by `psql`, and gives its rows: a line each, with `|` between values.
    ///
    /// # Errors
    /// When the server refuses it or is away.
    pub fn sql(&self, database: &str, statement: &str) -> Result<String> {
        let mut psql = Command::new(self.bin.join("psql"));
        psql.args(["-qAtX", "-v", "ON_ERROR_STOP=1", "-h"]).arg(&self.home.0);
        psql.args(["-p", &self.port.to_string(), "-U", Self::USER, "-d", database, "-c", statement]);
        run(psql.env("PGOPTIONS", "-c TimeZone=UTC")).map(|rows| rows.trim_end().to_owned())
    }

    /// Makes a database.
    ///
    /// # Errors
    /// As [`Postgres::sql`].
    pub fn create_database(&self, name: &str) -> Result<()> {
        self.sql("postgres", &format!("CREATE DATABASE {name}")).map(drop)
    }

    /// Ends it at once, as a crash does: connections break.
    ///
    /// # Errors
    /// When it does not end.
    pub fn stop(&mut self) -> Result<()> {
        self.process.keep_dir();
        self.process.signal(Signal::QUIT)?;
        self.process.wait(PATIENCE).map(drop)
    }

    /// Starts it again, on its port and with its data, after [`Postgres::stop`].
    ///
    /// # Errors
    /// When it does not get ready.
    pub fn resume(&mut self) -> Result<()> {
        let command = self.home.server(&self.bin, self.port);
        self.process = Process::start("postgres", &command, self.process.dir())?;
        self.process.wait_until(PATIENCE, || is_ready(&self.bin, &self.home.0, self.port))
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // Its children and its shared memory go with it only when it ends by itself.
        if self.process.signal(Signal::QUIT).is_ok() {
            self.process.wait(Duration::from_secs(10)).ok();
        }
    }
}

impl Home {
    fn new() -> Result<Self> {
        static HOMES: AtomicU32 = AtomicU32::new(0);
        let home = HOMES.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("standpipe-postgres-{}-{home}", std::process::id()));
        remove_dir(&dir)?;
        fs::create_dir(&dir).with_context(|| format!("create {}", dir.display()))?;
        Ok(Self(dir))
    }

    /// Certificate, key and password, for the server's eyes.
    fn fill(&self, authority: &Authority) -> Result<()> {
        let issued = authority.server("localhost", Duration::from_hours(48))?;
        fs::write(self.0.join("password"), Postgres::PASSWORD)?;
        fs::write(self.ca(), authority.certificate())?;
        fs::write(self.0.join("server.pem"), issued.certificate())?;
        fs::write(self.0.join("server.key"), issued.key())?;
        fs::set_permissions(self.0.join("server.key"), Permissions::from_mode(0o600))?;
        if rustix::process::geteuid().is_root() {
            run(Command::new("chown").args(["-R", SERVER_USER]).arg(&self.0))?;
        }
        Ok(())
    }

    fn ca(&self) -> PathBuf {
        self.0.join("ca.pem")
    }

    fn data(&self) -> PathBuf {
        self.0.join("data")
    }

    /// A program of the server, as its user.
    fn as_server(&self, program: &Path) -> Command {
        let mut command = Command::new("setpriv");
        // Who changes loses what the kernel was asked for: to end it when the tests do.
        command.args(["--pdeathsig", "KILL"]);
        if rustix::process::geteuid().is_root() {
            command.args(["--reuid", SERVER_USER, "--regid", SERVER_USER, "--clear-groups"]);
        }
        command.arg("--").arg(program).current_dir(&self.0);
        command
    }

    fn server(&self, bin: &Path, port: u16) -> Command {
        let mut command = self.as_server(&bin.join("postgres"));
        command.arg("-D").arg(self.data()).args(["-p", &port.to_string(), "-k"]).arg(&self.0);
        let file = |name: &str| self.0.join(name).display().to_string();
        for setting in [
            "listen_addresses=127.0.0.1".to_owned(),
            "fsync=off".to_owned(),
            "full_page_writes=off".to_owned(),
            "shared_buffers=32MB".to_owned(),
            "max_connections=50".to_owned(),
            "ssl=on".to_owned(),
            format!("ssl_cert_file={}", file("server.pem")),
            format!("ssl_key_file={}", file("server.key")),
            format!("ssl_ca_file={}", self.ca().display()),
        ] {
            command.args([OsStr::new("-c"), OsStr::new(&setting)]);
        }
        command
    }
}

fn is_ready(bin: &Path, socket: &Path, port: u16) -> bool {
    let mut asked = Command::new(bin.join("pg_isready"));
    asked.args(["-q", "-p", &port.to_string(), "-h"]).arg(socket);
    asked.status().is_ok_and(|status| status.success())
}

/// Where the newest version's programs are: distributions keep them out of the path.
fn bin() -> Result<PathBuf> {
    let version = |bin: &PathBuf| {
        let folder = bin.parent().and_then(Path::file_name).and_then(OsStr::to_str);
        folder.and_then(|name| name.parse::<u32>().ok())
    };
    let packaged = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let packaged = packaged.map(|entry| entry.path().join("bin"));
    let in_path = std::env::var_os("PATH").unwrap_or_default();
    let in_path: Vec<PathBuf> = std::env::split_paths(&in_path).collect();
    let mut found: Vec<PathBuf> =
        in_path.into_iter().chain(packaged).filter(|bin| bin.join("initdb").is_file()).collect();
    found.sort_by_key(version);
    found.pop().context("PostgreSQL is not installed: `make preflight` says how")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_stops_and_comes_back_with_its_data_on_its_port() {
        let mut server = Postgres::start().unwrap();
        let port = server.port();
        server.sql("postgres", "CREATE TABLE kept (n int); INSERT INTO kept VALUES (7)").unwrap();
        server.stop().unwrap();
        assert!(server.sql("postgres", "SELECT 1").is_err());
        server.resume().unwrap();
        assert_eq!(server.sql("postgres", "SELECT n FROM kept").unwrap(), "7");
        assert_eq!(server.port(), port);
        let home = server.home.0.clone();
        drop(server);
        assert!(!home.exists());
    }
}
