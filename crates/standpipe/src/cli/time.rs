//! Points in time, as people give and read them.

use chrono::DateTime;
use serde_json::Value;
use standpipe_model::{Clock as _, OsClock, Timestamp};

use crate::config::parse_duration;

/// A point in time, or how long ago it was.
pub(super) fn time(text: &str) -> Result<Timestamp, String> {
    if let Ok(moment) = DateTime::parse_from_rfc3339(text) {
        let millis = u64::try_from(moment.timestamp_millis());
        return millis.map(Timestamp).map_err(|_| "it lies before 1970".to_owned());
    }
    let ago = parse_duration(text)
        .map_err(|error| format!("neither a time with a zone nor a duration: {error}"))?;
    let ago = u64::try_from(ago.as_millis()).unwrap_or(u64::MAX);
    Ok(Timestamp(OsClock::start().now().as_millis().saturating_sub(ago)))
}

/// A time of the daemon's answers.
pub(super) fn shown_time(millis: &Value) -> String {
    millis.as_u64().map_or_else(|| "unknown".to_owned(), |millis| Timestamp(millis).to_rfc3339())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_moment_or_an_age() {
        assert_eq!(time("2026-01-01T00:10:00.123Z"), Ok(Timestamp(1_767_226_200_123)));
        let now = OsClock::start().now();
        let age = now.since(time("1h30m").unwrap()).as_secs();
        assert!((5_390..=5_400).contains(&age), "{age}");
        for wrong in ["yesterday", "12", "2026-01-01", "1960-01-01T00:00:00Z"] {
            assert!(time(wrong).is_err(), "{wrong}");
        }
    }
}
