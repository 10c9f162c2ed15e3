//! What is told of failures by code: to the counters, and to the error log that a destination asks for, each as
//! CloudWatch would have it.

use standpipe_journal::control::Close;

use super::Line;
use super::deliver::{AttemptError, chain};
use super::fates::{FailedRecords, Fates};
use crate::delivery_log::{Failure, store_code};

impl Line {
    /// Tells of an attempt that failed.
    pub(super) fn tell_attempt(&self, close: &Close, error: &AttemptError) {
        let (code, of_endpoint) = match error {
            AttemptError::Endpoint { error, .. } => (error.code.clone().filter(|_| !error.is_ours), true),
            AttemptError::Sink(error) => (error.code.as_deref().and_then(store_code), false),
            _ => (None, false),
        };
        let code = code.unwrap_or_else(|| "InternalError".to_owned());
        self.tell(close, &What { code: &code, records: 0, function: None, of_endpoint }, &chain(error));
    }

    /// Tells of records of a batch that failed on the way and are in the error output, or will be.
    pub(super) fn tell_failed(&self, close: &Close, fates: &Fates) {
        for (code, failed) in fates.failed.values().flatten() {
            let FailedRecords { records, message, function } = failed;
            let what = What { code, records: *records, function: function.as_deref(), of_endpoint: true };
            self.tell(close, &what, message);
        }
    }

    /// Tells of records of a batch that its endpoint did not take and that are given up.
    pub(super) fn tell_undelivered(&self, close: &Close, code: &str, message: &str, records: u64) {
        self.tell(close, &What { code, records, function: None, of_endpoint: true }, message);
    }

    fn tell(&self, close: &Close, what: &What<'_>, message: &str) {
        let What { code, records, function: processor, of_endpoint } = *what;
        self.context.metrics.failed(&self.stream, self.label(), code, records);
        let place = self.closed_for(close, |to| {
            let endpoint = to.endpoint.as_ref().filter(|_| of_endpoint);
            let store = || format!("arn:aws:s3:::{}", to.bucket);
            Some((to.logging.clone()?, endpoint.map_or_else(store, |endpoint| endpoint.target.address())))
        });
        let Some((target, destination)) = place.flatten() else { return };
        let (message, brief) = match records {
            0 => (message.to_owned(), message.to_owned()),
            _ => {
                let brief = format!("{records} records of batch {}", close.batch);
                (format!("{brief}: {message}"), brief)
            }
        };
        let (stream, version, at) = (&self.stream, close.version, self.context.timer.now());
        let failure = Failure { stream, version, destination, code, message, brief, processor, at };
        self.context.delivery_log.tell(&target, &failure);
    }
}

/// What failed.
struct What<'a> {
    code: &'a str,
    /// Those that are not delivered; 0 for an attempt, which will be made again.
    records: u64,
    /// The function that they failed in.
    function: Option<&'a str>,
    /// It is the endpoint's where the destination has one, and not the object store's.
    of_endpoint: bool,
}
