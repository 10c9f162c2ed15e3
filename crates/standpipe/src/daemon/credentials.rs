//! The credentials file: what changes in it counts without a reload of the configuration, and what is wrong in it
//! changes nothing.
//!
//! The file is looked at twice a second rather than watched: file systems in a network tell of nothing, and a secret
//! that Kubernetes mounts changes by a link two folders away. It is read when two looks in a row see the same, so that a
//! file that is being written is not read in the middle.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use standpipe_ingest::access::AuditEvent;
use tokio_util::sync::CancellationToken;

use super::Daemon;
use crate::alarm::AlarmKind;
use crate::config::{Config, Credential};
use crate::stamp::Stamp;

/// How often the file is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Which file it is, and what is seen of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mark(PathBuf, Stamp);

impl Mark {
    /// The mark of a configuration's credentials file, if it has one.
    pub(super) fn of(config: &Config) -> Option<Self> {
        let path = config.credentials_file.clone()?;
        let stamp = Stamp::of(&path);
        Some(Self(path, stamp))
    }
}

/// Follows the file until `stop`; `taken` is the mark that was read at the start.
pub(super) async fn follow(daemon: Arc<Daemon>, mut taken: Option<Mark>, stop: CancellationToken) {
    let (mut last, mut refused) = (taken.clone(), false);
    while stop.run_until_cancelled(tokio::time::sleep(LOOK_EVERY)).await.is_some() {
        let config = daemon.config();
        let Ok(mark) = tokio::task::spawn_blocking(move || Mark::of(&config)).await else { return };
        // What is wrong may be put right elsewhere: in a file that it names.
        if mark == last && (mark != taken || refused) {
            taken = mark.clone();
            refused = !daemon.renew_credentials().await;
        }
        last = mark;
    }
}

/// The variables of the environment, for the files that are read.
pub(super) fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

impl Daemon {
    /// Reads the credentials file anew and puts it in force. `false` where it is wrong: that raises an alarm, and what
    /// it held before stays.
    async fn renew_credentials(&self) -> bool {
        let _one = self.changing_access.lock().await;
        let config = self.config();
        let reading = Arc::clone(&config);
        let read = tokio::task::spawn_blocking(move || reading.load_credentials(&environment)).await;
        match read {
            Ok(Ok(of_file)) => {
                self.put_access_in_force(&config, &of_file).await;
                true
            }
            Ok(Err(problems)) => {
                let now = self.context.timer.now();
                self.context.alarms.raise(None, AlarmKind::CredentialsRefused, "", problems.to_string(), now);
                false
            }
            Err(error) => {
                tracing::error!(%error, "reading the credentials file ended badly");
                false
            }
        }
    }

    /// Puts credentials, policies and limits of a configuration in force, with what its credentials file holds. Whoever
    /// calls it has held `changing_access` since the file was read.
    pub(super) async fn put_access_in_force(&self, config: &Config, of_file: &[Credential]) {
        tracing::info!(credentials = config.credentials.len() + of_file.len(), "credentials in force");
        self.access.put_in_force(config, of_file);
        self.context.alarms.clear(None, AlarmKind::CredentialsRefused, "");
        self.flush_audit().await;
    }

    /// Notes down what became of a call.
    pub(super) async fn audit(&self, event: AuditEvent) {
        if self.access.audit.take(event) {
            self.flush_audit().await;
        }
    }

    /// Whether a change could be noted down, as far as one can tell before.
    pub(super) async fn auditable(&self) -> bool {
        self.flush_audit().await
    }

    /// Opens the file and writes the lines that wait; whether that could be done stands in an alarm.
    async fn flush_audit(&self) -> bool {
        match self.access.audit.flush().await {
            Ok(()) => {
                self.context.alarms.clear(None, AlarmKind::AuditFailed, "");
                true
            }
            Err(error) => {
                let (now, message) = (self.context.timer.now(), format!("the audit log: {error}"));
                self.context.alarms.raise(None, AlarmKind::AuditFailed, "", message, now);
                false
            }
        }
    }
}
