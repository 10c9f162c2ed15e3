//! TLS of the Firehose API: certificates from files, their changes while the daemon runs, and when they expire.
//!
//! Files are followed by looking at them now and then rather than by notifications, which miss what Kubernetes, certbot
//! and network file systems do: a link somewhere above the file is changed, and the file's own folder hears nothing.
//!
//! # Invariants
//! - What is in force has been checked as a whole; files that cannot be used change nothing and raise an alarm.

pub mod dev;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use standpipe_ingest::{Tls, TlsContext, TlsError, TlsOptions, TlsPart};
use standpipe_model::{Secret, Timestamp};

use crate::alarm::{AlarmKind, Alarms};
use crate::config::TlsConfig;
use crate::stamp::Stamp;
use crate::worker::chain;

/// How long before its end a certificate that nobody has renewed raises an alarm.
const EXPIRING: Duration = Duration::from_hours(14 * 24);

/// The certificate files cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsFileError {
    /// A file cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// What is in it is not right.
    #[error("cannot use {path}")]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: TlsError,
    },
}

/// Checked certificates, with the state of the files that they were read from.
#[derive(Debug)]
pub struct Loaded {
    context: TlsContext,
    stamps: Vec<Stamp>,
}

/// Reads and checks the files of a configuration.
///
/// # Errors
/// [`TlsFileError`].
pub fn load(config: &TlsConfig) -> Result<Loaded, TlsFileError> {
    // Before the reading: what changes meanwhile is seen as a change later.
    let stamps = stamps(config);
    let clients = match &config.clients {
        Some((ca, auth)) => Some((read(ca)?, *auth)),
        None => None,
    };
    let options = TlsOptions {
        certificate: read(&config.certificate)?,
        key: Secret::new(read(&config.key)?),
        clients,
        min_version: config.min_version,
    };
    let context = TlsContext::new(&options).map_err(|source| {
        let path = match (source.part(), &config.clients) {
            (TlsPart::Key, _) => &config.key,
            (TlsPart::ClientCa, Some((ca, _))) => ca,
            _ => &config.certificate,
        };
        TlsFileError::Unusable { path: path.clone(), source }
    })?;
    Ok(Loaded { context, stamps })
}

/// PEM is ASCII, but people write their names into it.
fn read(path: &Path) -> Result<String, TlsFileError> {
    let bytes = fs::read(path).map_err(|source| TlsFileError::Read { path: path.to_owned(), source })?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn stamps(config: &TlsConfig) -> Vec<Stamp> {
    let ca = config.clients.as_ref().map(|(ca, _)| ca);
    let files = [Some(&config.certificate), Some(&config.key), ca];
    files.into_iter().flatten().map(|path| Stamp::of(path)).collect()
}

/// The TLS of the listener, with the files that it follows.
#[derive(Debug)]
pub struct ListenerTls {
    live: Arc<Tls>,
    files: Mutex<Files>,
}

#[derive(Debug)]
struct Files {
    config: TlsConfig,
    /// The state of the files that were last taken or refused.
    judged: Vec<Stamp>,
    /// Their state at the last look.
    seen: Vec<Stamp>,
}

impl ListenerTls {
    /// TLS by the files of `config`.
    pub fn new(config: TlsConfig, loaded: Loaded) -> Self {
        let Loaded { context, stamps } = loaded;
        let files = Files { config, judged: stamps.clone(), seen: stamps };
        Self { live: Arc::new(Tls::new(context)), files: Mutex::new(files) }
    }

    /// What the listener's handshakes take.
    pub fn live(&self) -> Arc<Tls> {
        Arc::clone(&self.live)
    }

    /// Puts the files of another configuration in force.
    pub fn replace(&self, config: TlsConfig, loaded: Loaded) {
        let Loaded { context, stamps } = loaded;
        *self.files() = Files { config, judged: stamps.clone(), seen: stamps };
        self.live.replace(context);
    }

    /// Seconds until the certificate expires; below 0 it has expired.
    pub fn expires_in_seconds(&self, now: Timestamp) -> i64 {
        let expiry = self.live.expires_at();
        let (left, gone) = (expiry.since(now).as_secs(), now.since(expiry).as_secs());
        i64::try_from(left).unwrap_or(i64::MAX) - i64::try_from(gone).unwrap_or(i64::MAX)
    }

    /// Looks after the files: takes over what has changed, and raises an alarm where that cannot be used or where the
    /// certificate expires. Reads files.
    pub fn look_after(&self, alarms: &Alarms, now: Timestamp) {
        match self.follow() {
            None => {}
            Some(Ok(())) => {
                tracing::info!("changed certificate in force");
                alarms.clear(None, AlarmKind::CertificateRefused, "");
            }
            Some(Err(error)) => {
                alarms.raise(None, AlarmKind::CertificateRefused, "", chain(&error), now);
            }
        }
        let left = self.expires_in_seconds(now);
        if left > EXPIRING.as_secs().cast_signed() {
            alarms.clear(None, AlarmKind::CertificateExpiring, "");
            return;
        }
        let path = self.files().config.certificate.display().to_string();
        let message = match left {
            ..=0 => format!("the certificate {path} has expired"),
            _ => format!("the certificate {path} expires in {} hours", left / 3600),
        };
        alarms.raise(None, AlarmKind::CertificateExpiring, "", message, now);
    }

    /// Takes over files that have changed. `None` where there is nothing new to judge.
    fn follow(&self) -> Option<Result<(), TlsFileError>> {
        let mut files = self.files();
        let stamps = stamps(&files.config);
        if stamps == files.judged {
            return None;
        }
        // Certificate and key are written one after the other: they are judged when they have stood still for a while.
        if stamps != files.seen {
            files.seen = stamps;
            return None;
        }
        files.judged = stamps;
        Some(load(&files.config).map(|loaded| self.live.replace(loaded.context)))
    }

    fn files(&self) -> MutexGuard<'_, Files> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
