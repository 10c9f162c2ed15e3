//! The formats of timestamps that `HiveJsonSerDe` is given: patterns of Joda's `DateTimeFormat`, or `millis`.

use std::fmt;
use std::str::FromStr;

use chrono::{Datelike as _, NaiveDate, NaiveTime};
use serde::{Deserialize, Serialize};

use super::time::micros;

const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];
const DAYS: [&str; 7] = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];

/// A format of timestamps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TimestampFormat {
    text: String,
    /// `None` for `millis`.
    pieces: Option<Vec<Piece>>,
}

/// A text is no format. The words are AWS's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "One or more SerDe options are invalid for org.apache.hcatalog.data.JsonSerDe: [Key: timestamp.formats Value: {0}]"
)]
pub struct JodaError(String);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unit {
    Year,
    TwoDigitYear,
    Month,
    Day,
    DayOfYear,
    Hour,
    /// 1 to 24, where 24 is 0.
    ClockHour,
    /// 1 to 12, or 0 to 11, with half of the day.
    HalfHour,
    Minute,
    Second,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Literal(char),
    /// A number of at most so many digits.
    Number(Unit, usize),
    Fraction(usize),
    MonthName,
    DayName,
    HalfDay,
    Offset,
}

impl FromStr for TimestampFormat {
    type Err = JodaError;

    fn from_str(text: &str) -> Result<Self, JodaError> {
        let pieces = if text == "millis" {
            None
        } else {
            Some(pieces(text).ok_or_else(|| JodaError(text.to_owned()))?)
        };
        Ok(Self { text: text.to_owned(), pieces })
    }
}

impl fmt::Display for TimestampFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl TryFrom<String> for TimestampFormat {
    type Error = JodaError;

    fn try_from(text: String) -> Result<Self, JodaError> {
        text.parse()
    }
}

impl From<TimestampFormat> for String {
    fn from(format: TimestampFormat) -> Self {
        format.text
    }
}

fn pieces(text: &str) -> Option<Vec<Piece>> {
    let mut pieces = Vec::new();
    let mut chars = text.chars().peekable();
    while let Some(letter) = chars.next() {
        if letter == '\'' {
            quoted(&mut chars, &mut pieces)?;
            continue;
        }
        if !letter.is_ascii_alphabetic() {
            pieces.push(Piece::Literal(letter));
            continue;
        }
        let mut count = 1;
        while chars.next_if_eq(&letter).is_some() {
            count += 1;
        }
        pieces.push(piece(letter, count)?);
    }
    // Digits that follow upon digits are told apart by their number.
    for at in 1..pieces.len() {
        let (before, behind) = pieces.split_at_mut(at);
        if let (Some(Piece::Number(unit, max)), Some(Piece::Number(..) | Piece::Fraction(_))) =
            (before.last_mut(), behind.first())
        {
            *max = match unit {
                Unit::Year => 4,
                Unit::DayOfYear => 3,
                _ => 2,
            };
        }
    }
    (!pieces.is_empty()).then_some(pieces)
}

fn quoted(chars: &mut std::iter::Peekable<std::str::Chars<'_>>, pieces: &mut Vec<Piece>) -> Option<()> {
    if chars.next_if_eq(&'\'').is_some() {
        pieces.push(Piece::Literal('\''));
        return Some(());
    }
    loop {
        match chars.next()? {
            '\'' if chars.next_if_eq(&'\'').is_some() => pieces.push(Piece::Literal('\'')),
            '\'' => return Some(()),
            letter => pieces.push(Piece::Literal(letter)),
        }
    }
}

fn piece(letter: char, count: usize) -> Option<Piece> {
    Some(match letter {
        'y' | 'Y' if count == 2 => Piece::Number(Unit::TwoDigitYear, 2),
        'y' | 'Y' => Piece::Number(Unit::Year, 9),
        'M' if count > 2 => Piece::MonthName,
        'M' => Piece::Number(Unit::Month, 2),
        'd' => Piece::Number(Unit::Day, 2),
        'D' => Piece::Number(Unit::DayOfYear, 3),
        'H' => Piece::Number(Unit::Hour, 2),
        'k' => Piece::Number(Unit::ClockHour, 2),
        'h' | 'K' => Piece::Number(Unit::HalfHour, 2),
        'm' => Piece::Number(Unit::Minute, 2),
        's' => Piece::Number(Unit::Second, 2),
        'S' if count <= 9 => Piece::Fraction(count),
        'E' => Piece::DayName,
        'a' => Piece::HalfDay,
        'Z' if count <= 2 => Piece::Offset,
        _ => return None,
    })
}

/// What was read so far.
struct Found {
    year: i32,
    month: u32,
    day: u32,
    day_of_year: Option<u32>,
    hour: u32,
    half: Option<u32>,
    minute: u32,
    second: u32,
    nanos: u32,
    offset_seconds: i64,
}

impl TimestampFormat {
    /// Microseconds since 1970 in UTC, which a text without an offset is taken to be in.
    pub(super) fn parse(&self, text: &str) -> Option<i64> {
        let Some(pieces) = &self.pieces else { return text.parse::<i64>().ok()?.checked_mul(1_000) };
        let mut rest = text;
        let (year, month, day, day_of_year) = (1970, 1, 1, None);
        let (hour, half, minute, second, nanos, offset_seconds) = (0, None, 0, 0, 0, 0);
        let mut found =
            Found { year, month, day, day_of_year, hour, half, minute, second, nanos, offset_seconds };
        for piece in pieces {
            found.take(piece, &mut rest)?;
        }
        rest.is_empty().then(|| found.micros())?
    }
}

impl Found {
    fn take(&mut self, piece: &Piece, rest: &mut &str) -> Option<()> {
        match piece {
            Piece::Literal(wanted) => *rest = rest.strip_prefix(*wanted)?,
            Piece::Number(unit, max) => {
                let value = digits(rest, *max)?.parse().ok()?;
                self.set(*unit, value)?;
            }
            Piece::Fraction(max) => {
                let digits = digits(rest, *max)?;
                let value: u32 = digits.parse().ok()?;
                self.nanos = value * 10u32.pow(9 - u32::try_from(digits.len()).ok()?);
            }
            Piece::MonthName => self.month = name(rest, &MONTHS)? + 1,
            Piece::DayName => drop(name(rest, &DAYS)?),
            Piece::HalfDay => self.half = Some(name(rest, &["am", "pm"])? * 12),
            Piece::Offset => self.offset_seconds = offset(rest)?,
        }
        Some(())
    }

    fn set(&mut self, unit: Unit, value: u32) -> Option<()> {
        match unit {
            Unit::Year => self.year = i32::try_from(value).ok()?,
            // The hundred years around today, as Joda has it: from thirty before to seventy behind 2000.
            Unit::TwoDigitYear => {
                self.year = i32::try_from(if value < 70 { 2000 + value } else { 1900 + value }).ok()?;
            }
            Unit::Month => self.month = value,
            Unit::Day => self.day = value,
            Unit::DayOfYear => self.day_of_year = Some(value),
            Unit::Hour => self.hour = value,
            Unit::ClockHour => self.hour = (1..=24).contains(&value).then_some(value % 24)?,
            Unit::HalfHour => self.hour = (value <= 12).then_some(value % 12)?,
            Unit::Minute => self.minute = value,
            Unit::Second => self.second = value,
        }
        Some(())
    }

    fn micros(&self) -> Option<i64> {
        let date = match self.day_of_year {
            Some(day) => NaiveDate::from_yo_opt(self.year, day)?,
            None => NaiveDate::from_ymd_opt(self.year, self.month, self.day)?,
        };
        debug_assert_eq!(date.year(), self.year);
        let hour = self.hour + self.half.unwrap_or_default();
        let time = NaiveTime::from_hms_nano_opt(hour, self.minute, self.second, self.nanos)?;
        micros(date.and_time(time)).checked_sub(self.offset_seconds * 1_000_000)
    }
}

fn digits<'a>(rest: &mut &'a str, max: usize) -> Option<&'a str> {
    let count = rest.bytes().take(max).take_while(u8::is_ascii_digit).count();
    let (digits, behind) = rest.split_at(count);
    *rest = behind;
    (count > 0).then_some(digits)
}

/// Which of the names the text begins with, in full or by its first three letters.
fn name(rest: &mut &str, names: &[&str]) -> Option<u32> {
    for (number, name) in (0..).zip(names) {
        for wanted in [name, &name[..name.len().min(3)]] {
            if rest.get(..wanted.len()).is_some_and(|given| given.eq_ignore_ascii_case(wanted)) {
                *rest = &rest[wanted.len()..];
                return Some(number);
            }
        }
    }
    None
}

/// Seconds of `+hhmm`, `+hh:mm` or `Z`.
fn offset(rest: &mut &str) -> Option<i64> {
    if let Some(behind) = rest.strip_prefix('Z') {
        *rest = behind;
        return Some(0);
    }
    let sign = match rest.chars().next()? {
        '+' => 1,
        '-' => -1,
        _ => return None,
    };
    *rest = &rest[1..];
    let hours: i64 = digits(rest, 2)?.parse().ok()?;
    *rest = rest.strip_prefix(':').unwrap_or(rest);
    let minutes: i64 = digits(rest, 2)?.parse().ok()?;
    Some(sign * (hours * 3600 + minutes * 60))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_read_what_joda_reads() {
        let noon = 1_577_880_000_000_000;
        for (format, text, expected) in [
            ("millis", "1577880000000", Some(noon)),
            ("yyyy-MM-dd'T'HH:mm:ss.SSSZ", "2020-01-01T13:00:00.250+0100", Some(noon + 250_000)),
            ("yyyy-MM-dd'T'HH:mm:ssZZ", "2020-01-01T12:00:00Z", Some(noon)),
            ("yyyyMMddHHmmss", "20200101120000", Some(noon)),
            ("dd/MMM/yyyy:HH:mm:ss Z", "01/Jan/2020:12:00:00 +0000", Some(noon)),
            ("EEE, d MMMM yy h:m a", "Wed, 1 January 20 12:0 PM", Some(noon)),
            ("yyyy-DDD kk", "2020-001 12", Some(noon)),
            ("yyyyDDDHH", "202000112", Some(noon)),
            ("yyyy''MM", "2020'01", Some(noon - 43_200_000_000)),
            ("yyyy-MM-dd", "2020-13-01", None),
            ("yyyy-MM-dd", "2020-01-01 ", None),
            ("yyyy-MM-dd", "2020-01", None),
            ("millis", "1.5", None),
        ] {
            let parsed: TimestampFormat = format.parse().expect(format);
            assert_eq!(parsed.parse(text), expected, "{text} by {format}");
            assert_eq!(parsed.to_string(), format);
        }
    }

    #[test]
    fn what_joda_refuses_is_refused_in_the_words_of_aws() {
        for format in ["", "'open", "yyyy-bb", "QQ", "SSSSSSSSSS", "z"] {
            let error = format.parse::<TimestampFormat>().expect_err(format).to_string();
            assert!(error.ends_with(&format!("[Key: timestamp.formats Value: {format}]")), "{error}");
        }
    }
}
