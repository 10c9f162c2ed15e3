//! Dates and timestamps from text, without a zone: days and microseconds since 1970.

use chrono::{NaiveDate, NaiveDateTime, NaiveTime};

const MICROS: i64 = 1_000_000;
/// Numbers below are seconds, others milliseconds.
const MILLIS_FROM: f64 = 1e12;

/// Days of `yyyy-M-d`.
pub(super) fn date(text: &str) -> Option<i32> {
    let mut scan = Scan(text.as_bytes());
    let date = scan.date(1)?;
    scan.is_over().then(|| days(date))
}

/// Days since 1970.
pub(super) fn days(date: NaiveDate) -> i32 {
    date.signed_duration_since(NaiveDate::default()).num_days() as i32
}

/// OpenX: `yyyy-MM-ddTHH:mm:ss[.f…][Z]` as it stands, `yyyy-M-d H:m:s[.f…]` with one digit or two.
pub(super) fn lenient(text: &str) -> Option<i64> {
    let mut scan = Scan(text.as_bytes());
    let is_iso = text.as_bytes().get(10) == Some(&b'T');
    let date = scan.date(if is_iso { 2 } else { 1 })?;
    scan.take(if is_iso { b'T' } else { b' ' })?;
    let micros = scan.time(date, if is_iso { 2 } else { 1 })?;
    if is_iso {
        // It says what is meant anyway.
        scan.0 = scan.0.strip_prefix(b"Z").unwrap_or(scan.0);
    }
    scan.is_over().then_some(micros)
}

/// JDBC: `yyyy-mm-dd hh:mm:ss[.f…]`, as `java.sql.Timestamp.valueOf` takes it.
pub(super) fn jdbc(text: &str) -> Option<i64> {
    let mut scan = Scan(text.trim().as_bytes());
    let date = scan.date(1)?;
    scan.take(b' ')?;
    let micros = scan.time(date, 1)?;
    scan.is_over().then_some(micros)
}

/// OpenX: a number of seconds, or of milliseconds from 10^12 on.
pub(super) fn from_number(text: &str) -> Option<i64> {
    if let Ok(number) = text.parse::<i64>() {
        let scale = if (number as f64) < MILLIS_FROM { MICROS } else { 1_000 };
        return number.checked_mul(scale);
    }
    let number: f64 = text.parse().ok().filter(|_| text.bytes().any(|byte| byte.is_ascii_digit()))?;
    let micros = number * if number < MILLIS_FROM { 1e6 } else { 1e3 };
    (micros.abs() < i64::MAX as f64).then_some(micros.round() as i64)
}

/// Microseconds since 1970.
pub(super) fn micros(at: NaiveDateTime) -> i64 {
    at.and_utc().timestamp_micros()
}

struct Scan<'a>(&'a [u8]);

impl Scan<'_> {
    fn is_over(&self) -> bool {
        self.0.is_empty()
    }

    fn take(&mut self, wanted: u8) -> Option<()> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        (*first == wanted).then_some(())
    }

    /// Digits, so many at least and at the most.
    fn digits(&mut self, min: usize, max: usize) -> Option<u32> {
        let count = self.0.iter().take(max).take_while(|byte| byte.is_ascii_digit()).count();
        let (digits, rest) = self.0.split_at(count);
        self.0 = rest;
        (count >= min).then(|| digits.iter().fold(0, |all, digit| all * 10 + u32::from(digit - b'0')))
    }

    fn date(&mut self, least: usize) -> Option<NaiveDate> {
        let year = self.digits(4, 4)?;
        self.take(b'-')?;
        let month = self.digits(least, 2)?;
        self.take(b'-')?;
        let day = self.digits(least, 2)?;
        NaiveDate::from_ymd_opt(year as i32, month, day)
    }

    fn time(&mut self, date: NaiveDate, least: usize) -> Option<i64> {
        let hour = self.digits(least, 2)?;
        self.take(b':')?;
        let minute = self.digits(least, 2)?;
        self.take(b':')?;
        let second = self.digits(least, 2)?;
        let mut nanos = 0;
        if self.0.first() == Some(&b'.') {
            self.take(b'.')?;
            let before = self.0.len();
            nanos = self.digits(1, 9)?;
            nanos *= 10u32.pow(9 - u32::try_from(before - self.0.len()).ok()?);
        }
        let time = NaiveTime::from_hms_nano_opt(hour, minute, second, nanos)?;
        Some(micros(date.and_time(time)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: i64 = 1_577_880_000 * MICROS;

    #[test]
    fn timestamps_are_read_in_the_documented_forms_and_no_others() {
        for (text, expected) in [
            ("2020-01-01T12:00:00Z", Some(NOON)),
            ("2020-01-01T12:00:00", Some(NOON)),
            ("2020-01-01T12:00:00.5Z", Some(NOON + 500_000)),
            ("2020-01-01T12:00:00.123456789", Some(NOON + 123_456)),
            ("2020-1-1 12:0:0", Some(NOON)),
            ("2020-01-01 12:00:00.000001", Some(NOON + 1)),
            ("2020-01-01", None),
            ("2020-01-01T12:00:00X", None),
            ("2020-01-01T12:00:00ZZ", None),
            ("2020-1-01T12:00:00", None),
            ("2020-01-01 12:00:00Z", None),
            ("2020-13-01 12:00:00", None),
            ("2020-02-30 12:00:00", None),
            ("2020-01-01 25:00:00", None),
            ("2020-01-01 12:00:00.", None),
            ("2020-01-01 12:00:00.1234567890", None),
            ("", None),
        ] {
            assert_eq!(lenient(text), expected, "{text}");
        }
        assert_eq!(jdbc(" 2020-01-01 12:00:00.25"), Some(NOON + 250_000));
        assert_eq!(jdbc("2020-01-01T12:00:00"), None);
        assert_eq!((date("2020-1-1"), date("1969-12-31"), date("2020-1-1x")), (Some(18_262), Some(-1), None));
    }

    #[test]
    fn numbers_are_seconds_below_ten_to_the_twelve_and_milliseconds_above() {
        for (text, expected) in [
            ("1577880000", Some(NOON)),
            ("1577880000.25", Some(NOON + 250_000)),
            ("1577880000000", Some(NOON)),
            ("1.577880000e9", Some(NOON)),
            ("-1", Some(-MICROS)),
            ("999999999999", Some(999_999_999_999 * MICROS)),
            ("1000000000000", Some(1_000_000_000 * MICROS)),
            ("9223372036854775807", None),
            ("nan", None),
            ("", None),
        ] {
            assert_eq!(from_number(text), expected, "{text}");
        }
    }
}
