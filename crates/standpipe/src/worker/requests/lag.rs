//! A batch that lags too far behind (`max_lag`): once the endpoint failed some of its requests in a row then, the others are
//! given up for the same reason without being sent. An endpoint that hangs costs the time of few requests, and not of each.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use standpipe_model::{ErrorClass, SinkError, Timestamp};

use super::FAILURES_MAX;

/// Why rows are given up: a code, and a message.
pub(super) type Reason = (String, String);

/// Why what is left of a batch is given up unsent, once it is. An attempt has one, however many requests it makes at once.
#[derive(Debug, Default)]
pub(in super::super) struct Lagging {
    /// Requests that failed in a row.
    failures: AtomicUsize,
    reason: OnceLock<Reason>,
}

impl Lagging {
    /// Notes why rows of a batch that lags too far were given up. What an endpoint that works has against some says nothing
    /// about those behind them, nor does one that asks for time, or a connection that ended once.
    pub(super) fn note(&self, class: ErrorClass, in_part: bool, reason: &Reason) {
        let works = in_part || matches!(class, ErrorClass::Refused | ErrorClass::Throttled);
        if !works && self.failures.fetch_add(1, Ordering::Relaxed) + 1 >= FAILURES_MAX {
            // The first reason is as good as any.
            self.reason.get_or_init(|| reason.clone());
        }
    }

    /// Notes that a request was taken.
    pub(super) fn worked(&self) {
        self.failures.store(0, Ordering::Relaxed);
    }

    /// Why requests that are not sent yet are given up.
    pub(super) fn reason(&self) -> Option<Reason> {
        self.reason.get().cloned()
    }
}

/// Why something is left of a request.
pub(super) enum Why {
    Failed {
        error: SinkError,
        /// Others of its rows are over: the endpoint works.
        in_part: bool,
    },
    /// It was not sent: another failed so, and the batch lags too far.
    Unsent(Reason),
}

/// Whether what arrived at `since` lags too far behind.
pub(in super::super) fn is_beyond(max_lag_ms: Option<u64>, since: Timestamp, now: Timestamp) -> bool {
    max_lag_ms.is_some_and(|max| now.since(since) >= Duration::from_millis(max))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_endpoint_has_against_some_rows_is_no_reason_to_give_up_others() {
        let (lagging, refused) = (Lagging::default(), ("413".to_owned(), "too large".to_owned()));
        lagging.note(ErrorClass::Refused, false, &refused);
        lagging.note(ErrorClass::Throttled, true, &refused);
        assert_eq!(lagging.reason(), None);
        let away = ("InternalError".to_owned(), "no answer".to_owned());
        let fail = |times| (0..times).for_each(|_| lagging.note(ErrorClass::Transient, false, &away));
        fail(FAILURES_MAX - 1);
        lagging.worked();
        fail(FAILURES_MAX - 1);
        assert_eq!(lagging.reason(), None, "it works in between");
        lagging.note(ErrorClass::Misconfigured, false, &away);
        lagging.note(ErrorClass::Misconfigured, false, &refused);
        assert_eq!(lagging.reason(), Some(away), "the first one");
    }

    #[test]
    fn only_what_has_a_bound_lags_too_far_and_only_from_there_on() {
        let (since, now) = (Timestamp(1_000), Timestamp(4_000));
        let beyond = [None, Some(3_001), Some(3_000)].map(|max| is_beyond(max, since, now));
        assert_eq!(beyond, [false, false, true]);
    }
}
