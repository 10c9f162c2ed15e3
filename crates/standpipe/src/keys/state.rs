//! What a stream's encryption is and is to become, as it is kept in the stream's folder and shown by the API.
//!
//! ```text
//!             Start                      it works
//! DISABLED ──────────► ENABLING ──────────────────► ENABLED
//!     ▲                    └── it does not ──► ENABLING_FAILED      the key in force stays in force
//!     └── DISABLING ◄── Stop
//! ```

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use standpipe_ingest::KeyType;
use standpipe_journal::keys::{KeyTrouble, TroubleKind};
use standpipe_model::Timestamp;

use crate::durable;

const FORMAT: u32 = 1;
/// The API's limit of Start and Stop calls in 24 hours.
const CALLS_PER_DAY: usize = 25;
const DAY_MS: u64 = 24 * 3600 * 1000;
/// The longest `Details` of a failure that the API knows.
const DETAILS_MAX: usize = 1024;

/// The API's `DeliveryStreamEncryptionStatus`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Status {
    /// Records are encrypted.
    Enabled,
    /// They are about to be.
    Enabling,
    /// The key that was asked for does not work; what was before goes on.
    EnablingFailed,
    /// Records are plain.
    #[default]
    Disabled,
    /// They are about to be.
    Disabling,
}

/// A key that a stream is encrypted under.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// Its configured name.
    pub key: String,
    /// As the API has it.
    pub key_type: KeyType,
    /// The ARN that the call gave.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_arn: Option<String>,
}

impl Target {
    /// The key of that name, which is the customer's where the call gave an ARN.
    pub fn new(key: String, key_arn: Option<String>) -> Self {
        let key_type = if key_arn.is_some() { KeyType::CustomerManagedCmk } else { KeyType::AwsOwnedCmk };
        Self { key, key_type, key_arn }
    }
}

/// The API's `FailureDescription`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The API's `Type`.
    pub kind: String,
    /// The API's `Details`.
    pub details: String,
}

/// A stream's encryption.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Encryption {
    format: u32,
    /// Where it stands.
    pub status: Status,
    /// The key that new segments are under.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_force: Option<Target>,
    /// The key that was asked for and is not in force (yet).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wanted: Option<Target>,
    /// Why that failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// When Start and Stop were called, of the last 24 hours.
    #[serde(default)]
    pub calls: Vec<Timestamp>,
}

/// A stream's encryption could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The disk refused.
    #[error("cannot access {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The file is not what it should be.
    #[error("{} does not tell of a stream's encryption", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: serde_json::Error,
    },
    /// It was written by a newer standpipe.
    #[error("{} has format {found}; this build reads up to {FORMAT}", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u32,
    },
    /// The stream was stopped meanwhile: what its folder says is somebody else's now.
    #[error("the stream was stopped")]
    Stopped,
}

impl Encryption {
    /// What the stream's folder says; not encrypted where it says nothing.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn load(folder: &Path) -> Result<Self, StateError> {
        let path = path(folder);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(source) => return Err(StateError::Io { path, source }),
        };
        let found: Self = serde_json::from_slice(&bytes)
            .map_err(|source| StateError::Malformed { path: path.clone(), source })?;
        match found.format {
            ..=FORMAT => Ok(found),
            found => Err(StateError::Newer { path, found }),
        }
    }

    /// Writes it to the stream's folder, which must be there; it is durable when this returns.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn save(&self, folder: &Path) -> Result<(), StateError> {
        let path = path(folder);
        let text = serde_json::to_vec_pretty(&Self { format: FORMAT, ..self.clone() })
            .map_err(|source| StateError::Malformed { path: path.clone(), source })?;
        durable::write(&path, &text).map_err(|source| StateError::Io { path, source })
    }

    /// Encrypted under `target`, without a call.
    pub fn enabled(target: Target) -> Self {
        Self { status: Status::Enabled, in_force: Some(target), ..Self::default() }
    }

    /// The keys, by name, that it is or is to be under.
    pub fn keys(&self) -> impl Iterator<Item = String> {
        [&self.in_force, &self.wanted].into_iter().flatten().map(|target| target.key.clone())
    }

    /// Whether a change is under way.
    pub fn is_changing(&self) -> bool {
        matches!(self.status, Status::Enabling | Status::Disabling)
    }

    /// Counts a call of the API; `false` when there were too many within a day.
    pub fn count_call(&mut self, now: Timestamp) -> bool {
        self.calls.retain(|at| now.as_millis().saturating_sub(at.as_millis()) < DAY_MS);
        if self.calls.len() >= CALLS_PER_DAY {
            return false;
        }
        self.calls.push(now);
        true
    }

    /// The key that was asked for is to be put in force.
    pub fn begin(&mut self, wanted: Option<Target>) {
        self.status = if wanted.is_some() { Status::Enabling } else { Status::Disabling };
        (self.wanted, self.failure) = (wanted, None);
    }

    /// What was begun is done.
    pub fn finish(&mut self) {
        self.in_force = self.wanted.take();
        self.status = if self.in_force.is_some() { Status::Enabled } else { Status::Disabled };
        self.failure = None;
    }

    /// What was begun cannot be done; what is in force stays.
    pub fn fail(&mut self, trouble: &KeyTrouble) {
        let kind = match trouble.kind {
            TroubleKind::AccessDenied => "KMS_ACCESS_DENIED",
            TroubleKind::Disabled => "DISABLED_KMS_KEY",
            TroubleKind::InvalidState => "INVALID_KMS_KEY",
            TroubleKind::NotFound => "KMS_KEY_NOT_FOUND",
            TroubleKind::Unreachable => "UNKNOWN_ERROR",
        };
        let details = trouble.to_string().chars().take(DETAILS_MAX).collect();
        self.status = Status::EnablingFailed;
        self.failure = Some(Failure { kind: kind.to_owned(), details });
    }

    /// The API's `DeliveryStreamEncryptionConfiguration`.
    pub fn describe(&self) -> Value {
        let mut shown = json!({ "Status": self.status });
        let target = match self.status {
            Status::Enabling => self.wanted.as_ref(),
            _ => self.in_force.as_ref().or(self.wanted.as_ref()),
        };
        if let Some(target) = target {
            shown["KeyType"] = json!(target.key_type);
            if let Some(arn) = &target.key_arn {
                shown["KeyARN"] = json!(arn);
            }
        }
        if let Some(Failure { kind, details }) = &self.failure {
            shown["FailureDescription"] = json!({ "Type": kind, "Details": details });
        }
        shown
    }
}

fn path(folder: &Path) -> PathBuf {
    folder.join("encryption.json")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(key: &str, arn: Option<&str>) -> Target {
        Target::new(key.to_owned(), arn.map(str::to_owned))
    }

    #[test]
    fn a_failed_change_of_the_key_keeps_the_one_in_force() {
        let mut encryption = Encryption::default();
        assert_eq!(encryption.describe(), json!({"Status": "DISABLED"}));
        encryption.begin(Some(target("main", Some("arn:main"))));
        let shown = json!({"Status": "ENABLING", "KeyType": "CUSTOMER_MANAGED_CMK", "KeyARN": "arn:main"});
        assert_eq!(encryption.describe(), shown);
        encryption.finish();
        let kind = TroubleKind::Disabled;
        encryption.begin(Some(target("other", None)));
        encryption.fail(&KeyTrouble { key: "other".into(), kind, reason: "by hand".into() });
        assert_eq!(encryption.in_force, Some(target("main", Some("arn:main"))));
        let failure = json!({"Type": "DISABLED_KMS_KEY", "Details": "key 'other' is disabled: by hand"});
        let shown = encryption.describe();
        assert_eq!((&shown["Status"], &shown["KeyARN"]), (&json!("ENABLING_FAILED"), &json!("arn:main")));
        assert_eq!(shown["FailureDescription"], failure);
        encryption.begin(None);
        assert_eq!(encryption.describe()["Status"], "DISABLING");
        encryption.finish();
        assert_eq!(encryption.describe(), json!({"Status": "DISABLED"}));
    }

    #[test]
    fn the_twenty_sixth_call_within_a_day_is_one_too_many() {
        let mut encryption = Encryption::default();
        assert!((0..25).all(|at| encryption.count_call(Timestamp(at))));
        assert!(!encryption.count_call(Timestamp(DAY_MS - 1)));
        assert!(encryption.count_call(Timestamp(DAY_MS)), "the first is a day old");
        assert!(!encryption.count_call(Timestamp(DAY_MS)));
    }

    #[test]
    fn it_reads_back_from_its_folder_and_a_newer_one_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Encryption::load(dir.path()).unwrap(), Encryption::default());
        let mut encryption = Encryption::enabled(target("main", None));
        encryption.count_call(Timestamp(9));
        encryption.save(dir.path()).unwrap();
        assert_eq!(Encryption::load(dir.path()).unwrap(), Encryption { format: FORMAT, ..encryption });
        fs::write(path(dir.path()), r#"{"format":2,"status":"ENABLED"}"#).unwrap();
        assert!(Encryption::load(dir.path()).unwrap_err().to_string().contains("has format 2"));
        let gone = dir.path().join("gone");
        Encryption::default().save(&gone).unwrap_err();
        assert!(!gone.exists(), "a folder that was moved away is not made anew");
    }
}
