//! A batch that lags too far behind (`max_lag`): once the endpoint failed one of its requests then, the others are given
//! up for the same reason without being sent. An endpoint that hangs costs the time of one request, and not of each.

use std::sync::OnceLock;
use std::time::Duration;

use standpipe_model::{ErrorClass, SinkError, Timestamp};

/// Why rows are given up: a code, and a message.
pub(super) type Reason = (String, String);

/// Why what is left of a batch is given up unsent, once it is. An attempt has one, however many requests it makes at once.
#[derive(Debug, Default)]
pub(in super::super) struct Lagging(OnceLock<Reason>);

impl Lagging {
    /// Notes why rows of a batch that lags too far were given up. What an endpoint that works has against
    /// some says nothing about those behind them.
    pub(super) fn note(&self, class: ErrorClass, in_part: bool, reason: &Reason) {
        if class != ErrorClass::Refused && !in_part {
            // The first reason is as good as any.
            self.0.get_or_init(|| reason.clone());
        }
    }

    /// Why requests that are not sent yet are given up.
    pub(super) fn reason(&self) -> Option<Reason> {
        self.0.get().cloned()
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
        lagging.note(ErrorClass::Transient, false, &away);
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
