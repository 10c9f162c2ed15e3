//! The error log of a stream's destination, as CloudWatch Logs would have it (`CloudWatchLoggingOptions`).
//!
//! An attempt that failed, and records of a batch that go to the error output for the same reason, are one JSON line in
//! `<dir>/<log group>/<log stream>.log`, or in the daemon's own log under the target `delivery` where no folder is
//! configured. A destination that fails again and again writes at most
//! [`PER_MINUTE`] lines a minute, as AWS's are sampled too; the next line says how many were left out.
//!
//! A thread of its own writes, so that a folder that hangs holds up no delivery; the lines that find no room to wait go
//! to the daemon's log. The file is opened for each line: failures are rare, and a file that was rotated away is made
//! again.

use std::collections::HashMap;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, SyncSender};
use std::sync::{Mutex, PoisonError, RwLock};
use std::thread::{self, JoinHandle};

use serde_json::json;
use standpipe_model::{StreamName, Timestamp, stream_arn};

use crate::spec::LogTarget;

/// The most lines of one log stream in a minute.
const PER_MINUTE: u32 = 30;
const MINUTE_MS: u64 = 60_000;
/// The most log streams whose share of the minute is kept in mind; beyond, those that are silent are forgotten.
const COUNTED_MAX: usize = 1_000;
/// The most lines that wait to be written.
const WAITING_MAX: usize = 1_000;

/// An attempt that failed, or records that are not delivered.
#[derive(Debug, Clone)]
pub(crate) struct Failure<'a> {
    pub(crate) stream: &'a StreamName,
    /// The version of the stream's definition that the batch was closed under.
    pub(crate) version: u64,
    /// Where it failed, as an ARN or an address.
    pub(crate) destination: String,
    pub(crate) code: &'a str,
    pub(crate) message: String,
    /// The same without words that may repeat what is in a record, for the daemon's own log.
    pub(crate) brief: String,
    /// The function that it failed in.
    pub(crate) processor: Option<&'a str>,
    pub(crate) at: Timestamp,
}

/// The code under which AWS logs an object store's own; none where it has no name for it.
pub(crate) fn store_code(code: &str) -> Option<String> {
    const KNOWN: [&str; 7] = [
        "AccessDenied",
        "NoSuchBucket",
        "AccountProblem",
        "AllAccessDisabled",
        "InvalidPayer",
        "NotSignedUp",
        "MethodNotAllowed",
    ];
    match code {
        code if KNOWN.contains(&code) || code.starts_with("KMS.") => Some(format!("S3.{code}")),
        // Those of catalogs are AWS's own already.
        code if code.contains('.') => Some(code.to_owned()),
        _ => None,
    }
}

/// Where lines go, and how ARNs begin.
#[derive(Debug, Clone, Default)]
pub(crate) struct LogSettings {
    pub(crate) dir: Option<PathBuf>,
    pub(crate) region: String,
    pub(crate) account_id: String,
}

/// How much one log stream wrote in its current minute.
#[derive(Debug, Default)]
struct Written {
    since: Timestamp,
    lines: u32,
    left_out: u64,
}

/// A line on its way to its file.
#[derive(Debug)]
struct Line {
    path: PathBuf,
    text: String,
    /// What the daemon's log may have of it.
    brief: String,
}

/// All log groups.
#[derive(Debug)]
pub(crate) struct DeliveryLog {
    settings: RwLock<LogSettings>,
    written: Mutex<HashMap<LogTarget, Written>>,
    lines: SyncSender<Line>,
}

impl DeliveryLog {
    /// Starts the thread that writes; it ends with the log.
    ///
    /// # Errors
    /// The operating system has no thread to give.
    pub(crate) fn start() -> io::Result<(Self, JoinHandle<()>)> {
        let (lines, waiting) = mpsc::sync_channel(WAITING_MAX);
        let write = move || waiting.into_iter().for_each(|line| write(&line));
        let writer = thread::Builder::new().name("delivery-log".to_owned()).spawn(write)?;
        Ok((Self { settings: RwLock::default(), written: Mutex::default(), lines }, writer))
    }

    /// Puts other settings in force.
    pub(crate) fn replace(&self, settings: LogSettings) {
        *self.settings.write().unwrap_or_else(PoisonError::into_inner) = settings;
    }

    /// Tells of a failure, unless its log stream has had its share of the minute.
    pub(crate) fn tell(&self, target: &LogTarget, failure: &Failure<'_>) {
        let Some(left_out) = self.admit(target, failure.at) else { return };
        let settings = self.settings.read().unwrap_or_else(PoisonError::into_inner).clone();
        let mut line = json!({
            "timestamp": failure.at.to_rfc3339(),
            "deliveryStreamARN": stream_arn(&settings.region, &settings.account_id, failure.stream.as_str()),
            "destination": failure.destination,
            "deliveryStreamVersionId": failure.version,
            "message": failure.message,
            "errorCode": failure.code,
        });
        if let Some(processor) = failure.processor {
            line["processor"] = processor.into();
        }
        if left_out > 0 {
            line["suppressed"] = left_out.into();
        }
        let text = line.to_string();
        line["message"] = failure.brief.as_str().into();
        let brief = line.to_string();
        let Some(dir) = settings.dir else {
            let (log_group, log_stream) = (&target.group, &target.stream);
            tracing::warn!(target: "delivery", log_group, log_stream, event = brief, "delivery error");
            return;
        };
        let line = Line { path: file_of(&dir, target), text, brief };
        if let Err(mpsc::TrySendError::Full(line) | mpsc::TrySendError::Disconnected(line)) =
            self.lines.try_send(line)
        {
            tracing::warn!(path = %line.path.display(), event = line.brief, "a delivery log is not written quickly enough");
        }
    }

    /// How many lines were left out before this one; `None` when this one is left out too.
    fn admit(&self, target: &LogTarget, now: Timestamp) -> Option<u64> {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        let over = |since: Timestamp| now.as_millis().saturating_sub(since.as_millis()) >= MINUTE_MS;
        if written.len() >= COUNTED_MAX {
            written.retain(|_, written| !over(written.since));
        }
        let written = written.entry(target.clone()).or_default();
        if over(written.since) {
            (written.since, written.lines) = (now, 0);
        }
        if written.lines >= PER_MINUTE {
            written.left_out += 1;
            return None;
        }
        written.lines += 1;
        Some(std::mem::take(&mut written.left_out))
    }
}

/// The file of a log stream. The names are the user's: none leads out of the folder.
fn file_of(dir: &Path, target: &LogTarget) -> PathBuf {
    let mut path = dir.to_owned();
    path.extend(target.group.split('/').filter(|part| !part.is_empty()).map(plain));
    path.push(format!("{}.log", plain(&target.stream)));
    path
}

/// A name as one part of a path.
fn plain(name: &str) -> String {
    match name.replace(['/', '\\', '\0'], "_") {
        dots if dots.trim_start_matches('.').is_empty() => "_".repeat(dots.len().max(1)),
        name => name,
    }
}

fn write(line: &Line) {
    if let Err(error) = append(&line.path, &line.text) {
        tracing::warn!(path = %line.path.display(), %error, event = line.brief, "a delivery log cannot be written");
    }
}

fn append(path: &Path, line: &str) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut file = OpenOptions::new().create(true).append(true).open(path)?;
    file.write_all(format!("{line}\n").as_bytes())
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn target(group: &str, stream: &str) -> LogTarget {
        LogTarget { group: group.to_owned(), stream: stream.to_owned() }
    }

    #[test]
    fn codes_of_stores_are_told_by_the_names_that_aws_has_for_them() {
        let told = |code| store_code(code);
        assert_eq!(told("AccessDenied").as_deref(), Some("S3.AccessDenied"));
        assert_eq!(told("KMS.NotFoundException").as_deref(), Some("S3.KMS.NotFoundException"));
        assert_eq!(told("Iceberg.NoSuchTable").as_deref(), Some("Iceberg.NoSuchTable"));
        assert_eq!(told("SlowDown"), None);
    }

    #[test]
    fn no_name_leads_out_of_the_folder() {
        let check = |group: &str, stream: &str, expect: &str| {
            assert_eq!(file_of(Path::new("/logs"), &target(group, stream)), Path::new(expect));
        };
        check("/aws/kinesisfirehose/clicks", "S3Delivery", "/logs/aws/kinesisfirehose/clicks/S3Delivery.log");
        check("../../etc", "..", "/logs/__/__/etc/__.log");
        check("", "a/b", "/logs/a_b.log");
    }

    #[test]
    fn a_line_is_an_event_as_cloudwatch_has_it_and_a_flood_is_sampled() {
        let dir = tempfile::tempdir().unwrap();
        let (log, writer) = DeliveryLog::start().unwrap();
        let settings = LogSettings {
            dir: Some(dir.path().to_owned()),
            region: "eu-west-1".to_owned(),
            account_id: "123456789012".to_owned(),
        };
        log.replace(settings);
        let stream = StreamName::parse("clicks").unwrap();
        let target = target("/aws/firehose", "S3Delivery");
        let failure = Failure {
            stream: &stream,
            version: 3,
            destination: "arn:aws:s3:::lake".to_owned(),
            code: "S3.NoSuchBucket",
            message: "not there".to_owned(),
            brief: String::new(),
            processor: None,
            at: Timestamp(1_767_226_200_123),
        };
        for _ in 0..PER_MINUTE + 5 {
            log.tell(&target, &failure);
        }
        let later = Failure {
            code: "Lambda.FunctionError",
            processor: Some("clean"),
            at: Timestamp(failure.at.0 + MINUTE_MS),
            ..failure
        };
        log.tell(&target, &later);
        drop(log);
        writer.join().unwrap();
        let text = fs::read_to_string(dir.path().join("aws/firehose/S3Delivery.log")).unwrap();
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len() as u32, PER_MINUTE + 1);
        assert_eq!(
            lines[0],
            json!({
                "timestamp": "2026-01-01T00:10:00.123Z",
                "deliveryStreamARN": "arn:aws:firehose:eu-west-1:123456789012:deliverystream/clicks",
                "destination": "arn:aws:s3:::lake", "deliveryStreamVersionId": 3, "message": "not there",
                "errorCode": "S3.NoSuchBucket",
            })
        );
        let last = lines.last().unwrap();
        let of_function = (&json!(5), &json!("Lambda.FunctionError"), &json!("clean"));
        assert_eq!((&last["suppressed"], &last["errorCode"], &last["processor"]), of_function);
    }
}
