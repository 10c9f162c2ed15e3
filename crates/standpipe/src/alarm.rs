//! Alarms: what a human must see to. Each is raised and cleared once, with one log line, and stands in the metrics, in
//! `/readyz` and in the description of its stream for as long as it lasts.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use standpipe_model::{DestinationId, StreamName, Timestamp};

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AlarmKind {
    /// Credentials, permissions or a bucket are wrong; data is held until they are right.
    Misconfigured,
    /// A destination refuses a batch for good; the batch is held until an operator decides.
    Refused,
    /// A destination has been failing for longer than the retry duration; data is kept and tried on.
    RetryExhausted,
    /// The journal is full; puts are refused.
    JournalFull,
    /// A write to the journal failed; puts are refused until it is reopened.
    JournalFailed,
    /// Records cannot be read back from the journal.
    RecordsLost,
    /// A stream could not be opened.
    NotOpened,
    /// A changed configuration was refused; the old one runs on.
    ReloadRefused,
    /// A changed credentials file was refused; what it held before stays in force.
    CredentialsRefused,
    /// A changed table was refused; the one before stays in force.
    TableRefused,
    /// The columns of a table cannot be had from its catalog; those before stay in force.
    CatalogFailed,
    /// An inferred schema has all the columns that it may have; what is more is left out of it.
    SchemaFull,
    /// A recorded schema cannot be read; batches that were closed under it are held.
    SchemaDamaged,
    /// The audit log cannot be written; changes through the API are refused.
    AuditFailed,
    /// Changed certificate files cannot be used; the old certificate is in force.
    CertificateRefused,
    /// The certificate of the listener expires soon, or has expired.
    CertificateExpiring,
    /// A key that a stream is encrypted with cannot be used; puts are refused, and data is held until it can.
    KeyUnavailable,
}

impl AlarmKind {
    /// The label in the metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Misconfigured => "misconfigured",
            Self::Refused => "refused",
            Self::RetryExhausted => "retry_exhausted",
            Self::JournalFull => "journal_full",
            Self::JournalFailed => "journal_failed",
            Self::RecordsLost => "records_lost",
            Self::NotOpened => "not_opened",
            Self::ReloadRefused => "reload_refused",
            Self::CredentialsRefused => "credentials_refused",
            Self::TableRefused => "table_refused",
            Self::CatalogFailed => "catalog_failed",
            Self::SchemaFull => "schema_full",
            Self::SchemaDamaged => "schema_damaged",
            Self::AuditFailed => "audit_failed",
            Self::CertificateRefused => "certificate_refused",
            Self::CertificateExpiring => "certificate_expiring",
            Self::KeyUnavailable => "key_unavailable",
        }
    }
}

/// What an alarm is about: a stream and one thing of it (a batch, a destination, or nothing).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    stream: Option<StreamName>,
    kind: AlarmKind,
    about: String,
}

/// An alarm that is raised.
#[derive(Debug, Clone)]
pub struct Alarm {
    /// The stream; `None` for the daemon.
    pub stream: Option<StreamName>,
    /// What is wrong.
    pub kind: AlarmKind,
    /// For an operator.
    pub message: String,
    /// Since when.
    pub since: Timestamp,
}

/// All alarms of the daemon.
#[derive(Debug, Default)]
pub struct Alarms {
    raised: Mutex<BTreeMap<Key, Alarm>>,
}

impl Alarms {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Key, Alarm>> {
        self.raised.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Raises an alarm; one that is raised already only gets the newer message.
    pub fn raise(
        &self,
        stream: Option<&StreamName>,
        kind: AlarmKind,
        about: &str,
        message: String,
        now: Timestamp,
    ) {
        let key = Key { stream: stream.cloned(), kind, about: about.to_owned() };
        let mut raised = self.lock();
        if let Some(alarm) = raised.get_mut(&key) {
            alarm.message = message;
            return;
        }
        let name = stream.map_or("", StreamName::as_str);
        tracing::error!(stream = name, alarm = kind.as_str(), about, why = message, "alarm raised");
        raised.insert(key, Alarm { stream: stream.cloned(), kind, message, since: now });
    }

    /// Clears an alarm, if it is raised.
    pub fn clear(&self, stream: Option<&StreamName>, kind: AlarmKind, about: &str) {
        let key = Key { stream: stream.cloned(), kind, about: about.to_owned() };
        if self.lock().remove(&key).is_some() {
            let name = stream.map_or("", StreamName::as_str);
            tracing::error!(stream = name, alarm = kind.as_str(), about, "alarm cleared");
        }
    }

    /// Clears the alarms of a kind that are not of a stream.
    pub fn clear_kind(&self, kind: AlarmKind) {
        let all: Vec<Key> =
            self.lock().keys().filter(|key| key.stream.is_none() && key.kind == kind).cloned().collect();
        all.into_iter().for_each(|key| self.clear(None, kind, &key.about));
    }

    /// Whether an alarm of this kind is raised for a stream.
    pub fn is_raised(&self, stream: &StreamName, kind: AlarmKind) -> bool {
        self.raised(Some(stream)).iter().any(|alarm| alarm.kind == kind)
    }

    /// Clears every alarm of a stream that is gone.
    pub fn forget_stream(&self, stream: &StreamName) {
        self.lock().retain(|key, _| key.stream.as_ref() != Some(stream));
    }

    /// The raised alarms, those of `stream` only if one is given.
    pub fn raised(&self, stream: Option<&StreamName>) -> Vec<Alarm> {
        let raised = self.lock();
        raised.values().filter(|alarm| stream.is_none() || alarm.stream.as_ref() == stream).cloned().collect()
    }
}

/// A message with its destination, where there may be several.
pub(crate) fn of_destination(id: &DestinationId, message: String) -> String {
    if id.is_primary() { message } else { format!("destination {id}: {message}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alarm_lasts_from_its_first_raise_to_its_clear() {
        let (alarms, name) = (Alarms::default(), StreamName::parse("s").unwrap());
        let raise = |at| {
            alarms.raise(Some(&name), AlarmKind::Misconfigured, "b1", format!("at {at}"), Timestamp(at));
        };
        raise(1);
        raise(2);
        let raised = alarms.raised(None);
        assert_eq!(
            raised.iter().map(|a| (a.since, a.message.as_str())).collect::<Vec<_>>(),
            [(Timestamp(1), "at 2")]
        );
        alarms.clear(Some(&name), AlarmKind::Misconfigured, "b2");
        assert_eq!(alarms.raised(Some(&name)).len(), 1);
        alarms.clear(Some(&name), AlarmKind::Misconfigured, "b1");
        assert!(alarms.raised(None).is_empty());
    }
}
