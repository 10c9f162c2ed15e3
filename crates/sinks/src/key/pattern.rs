//! `!{timestamp:…}`: patterns of Java's DateTimeFormatter, parsed once and printed from an instant.
//!
//! Letters, counts and refusals are those of JDK 17 with `Locale.US`, less the letters that Firehose refuses itself.
//! Only printing is needed, so that optional sections (`[…]`) are plain text: every field is always there.

use std::fmt::{self, Write};

use super::time::{Moment, Width};

/// A parsed pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pattern(Vec<Piece>);

/// One element of a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Literal(String),
    /// At least `width` digits; `plus` puts a sign before a year that outgrew them.
    Number {
        letter: u8,
        width: usize,
        plus: bool,
    },
    /// The last two digits of a year.
    TwoDigitYear(u8),
    /// The first digits of the second's fraction.
    Fraction(usize),
    Text(u8, Width),
    ZoneName {
        generic: bool,
        width: Width,
    },
    Offset(OffsetStyle),
}

/// How an offset from UTC is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct OffsetStyle {
    /// Printed instead of a zero offset.
    zero: &'static str,
    /// Printed before the sign.
    lead: &'static str,
    /// Whether hours have two digits.
    pad_hours: bool,
    colon: bool,
    /// Whether zero minutes are printed.
    minutes: bool,
    /// Whether seconds are printed when there are any.
    seconds: bool,
}

/// The pattern is not one that Firehose takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BadPattern;

impl Pattern {
    /// Parses the text behind `timestamp:`.
    pub(super) fn parse(text: &str) -> Result<Self, BadPattern> {
        let mut pieces = Vec::new();
        let mut open_sections = 0u32;
        let mut chars = text.chars().peekable();
        while let Some(c) = chars.next() {
            match c {
                'a'..='z' | 'A'..='Z' => {
                    let mut count = 1;
                    while chars.next_if_eq(&c).is_some() {
                        count += 1;
                    }
                    pieces.push(Piece::field(c as u8, count).ok_or(BadPattern)?);
                }
                '\'' => pieces.push(Piece::Literal(quoted(&mut chars)?)),
                '[' => open_sections += 1,
                ']' => open_sections = open_sections.checked_sub(1).ok_or(BadPattern)?,
                '{' | '}' | '#' => return Err(BadPattern),
                other => pieces.push(Piece::Literal(other.to_string())),
            }
        }
        Ok(Self(pieces))
    }

    /// `yyyy/MM/dd/HH/`, which stands behind a prefix without expressions.
    pub(super) fn default_folders() -> Self {
        let digits = |letter, width| Piece::Number { letter, width, plus: width == 4 };
        let slash = || Piece::Literal("/".to_owned());
        Self(vec![
            digits(b'y', 4),
            slash(),
            digits(b'M', 2),
            slash(),
            digits(b'd', 2),
            slash(),
            digits(b'H', 2),
            slash(),
        ])
    }

    /// Prints the pattern's text for `at` behind `out`.
    pub(super) fn write(&self, at: &Moment, out: &mut String) -> fmt::Result {
        self.0.iter().try_for_each(|piece| piece.write(at, out))
    }
}

/// Reads up to the closing quote; two quotes in a row are one, and nothing between the quotes is a quote itself.
fn quoted(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Result<String, BadPattern> {
    let mut text = String::new();
    loop {
        match chars.next().ok_or(BadPattern)? {
            '\'' if chars.next_if_eq(&'\'').is_some() => text.push('\''),
            '\'' if text.is_empty() => return Ok("'".to_owned()),
            '\'' => return Ok(text),
            other => text.push(other),
        }
    }
}

impl Piece {
    /// The meaning of `count` times `letter`, as `DateTimeFormatterBuilder.parseField` has it.
    fn field(letter: u8, count: usize) -> Option<Self> {
        let number = |width| Some(Self::Number { letter, width, plus: false });
        let text = |width| Some(Self::Text(letter, width));
        match (letter, count) {
            (b'y' | b'u' | b'Y', 2) => Some(Self::TwoDigitYear(letter)),
            // From eleven digits on Java fails when it prints, except from nineteen on, where no year outgrows them; the
            // limit of nineteen digits holds for calendar years only.
            (b'y' | b'u', 1..=10 | 19) | (b'Y', 1..=10 | 19..) => {
                Some(Self::Number { letter, width: count, plus: (4..19).contains(&count) })
            }
            (b'M' | b'L' | b'Q' | b'q' | b'e', 1 | 2) | (b'c', 1) => number(count),
            (b'E', 1..=3) | (b'M' | b'L' | b'Q' | b'q' | b'e' | b'c', 3) => text(Width::Short),
            (b'G', 1..=3) | (b'a' | b'B', 1) => text(Width::Short),
            (b'E' | b'M' | b'L' | b'Q' | b'q' | b'e' | b'c' | b'G' | b'B', 4) => text(Width::Full),
            (b'E' | b'M' | b'L' | b'Q' | b'q' | b'e' | b'c' | b'G' | b'B', 5) => text(Width::Narrow),
            (b'd' | b'h' | b'H' | b'k' | b'K' | b'm' | b's' | b'w', 1 | 2) => number(count),
            (b'D', 1..=3) | (b'F' | b'W', 1) | (b'g' | b'A' | b'n' | b'N', 1..=19) => number(count),
            (b'S', 1..=9) => Some(Self::Fraction(count)),
            (b'z' | b'v', 4) => Some(Self::ZoneName { generic: letter == b'v', width: Width::Full }),
            (b'z', 1..=3) | (b'v', 1) => {
                Some(Self::ZoneName { generic: letter == b'v', width: Width::Short })
            }
            _ => OffsetStyle::of(letter, count).map(Self::Offset),
        }
    }

    fn write(&self, at: &Moment, out: &mut String) -> fmt::Result {
        match self {
            Self::Literal(text) => out.write_str(text),
            Self::Number { letter, width, plus } => {
                let value = at.number(*letter).unwrap_or_default();
                if *plus && value >= 10i64.pow(*width as u32) {
                    out.push('+');
                }
                write!(out, "{value:0width$}")
            }
            Self::TwoDigitYear(letter) => {
                write!(out, "{:02}", at.number(*letter).unwrap_or_default().unsigned_abs() % 100)
            }
            Self::Fraction(digits) => {
                let nanos = format!("{:09}", at.nanos());
                out.write_str(nanos.get(..*digits).unwrap_or(&nanos))
            }
            Self::Text(letter, width) => at.write_text(*letter, *width, out),
            Self::ZoneName { generic, width } => out.write_str(at.zone_name(*generic, *width)),
            Self::Offset(style) => style.write(at.offset_seconds(), out),
        }
    }
}

impl OffsetStyle {
    fn of(letter: u8, count: usize) -> Option<Self> {
        let base = Self { zero: "Z", lead: "", pad_hours: true, colon: false, minutes: true, seconds: false };
        let gmt = Self { zero: "GMT", lead: "GMT", colon: true, seconds: true, ..base };
        Some(match (letter, count) {
            (b'Z', 1..=3) => Self { zero: "+0000", ..base },
            (b'Z' | b'O', 4) => gmt,
            (b'O', 1) => Self { pad_hours: false, minutes: false, ..gmt },
            (b'Z', 5) => Self { colon: true, seconds: true, ..base },
            (b'X' | b'x', 1..=5) => {
                let colon = matches!(count, 3 | 5);
                let zero = match (letter, count) {
                    (b'X', _) => "Z",
                    (_, 1) => "+00",
                    (_, 2 | 4) => "+0000",
                    _ => "+00:00",
                };
                Self { zero, colon, minutes: count > 1, seconds: count > 3, ..base }
            }
            _ => return None,
        })
    }

    fn write(&self, offset: i32, out: &mut String) -> fmt::Result {
        let total = offset.unsigned_abs();
        let (hours, minutes, seconds) = (total / 3600, total / 60 % 60, total % 60);
        if total == 0 || (!self.seconds && total < 60) {
            return out.write_str(self.zero);
        }
        out.write_str(self.lead)?;
        out.push(if offset < 0 { '-' } else { '+' });
        if self.pad_hours {
            write!(out, "{hours:02}")?;
        } else {
            write!(out, "{hours}")?;
        }
        let colon = if self.colon { ":" } else { "" };
        let seconds = Some(seconds).filter(|seconds| self.seconds && *seconds > 0);
        if self.minutes || minutes > 0 || seconds.is_some() {
            write!(out, "{colon}{minutes:02}")?;
        }
        seconds.map_or(Ok(()), |seconds| write!(out, "{colon}{seconds:02}"))
    }
}

#[cfg(test)]
mod tests {
    use chrono::{TimeZone, Utc};
    use chrono_tz::Tz;

    use super::*;

    const JAVA: &str = include_str!("../../tests/fixtures/java-patterns/patterns.tsv");

    #[test]
    fn every_letter_and_count_prints_what_java_prints() {
        let mut at = None;
        let mut wrong = Vec::new();
        for line in JAVA.lines() {
            let columns: Vec<_> = line.split('\t').collect();
            match columns[..] {
                ["refused", pattern] => assert_eq!(Pattern::parse(pattern), Err(BadPattern), "{pattern}"),
                ["at", zone, millis] => {
                    let zone: Tz = zone.parse().expect("a known zone");
                    let instant = Utc.timestamp_millis_opt(millis.parse().expect("a number")).unwrap();
                    at = Some(Moment(instant.with_timezone(&zone)));
                }
                [pattern, expected] => {
                    let at = at.as_ref().expect("a moment comes first");
                    let mut out = String::new();
                    Pattern::parse(pattern).expect(pattern).write(at, &mut out).expect("strings take text");
                    if out != expected {
                        wrong.push(format!("{pattern} at {:?}: {out:?}, Java {expected:?}", at.0));
                    }
                }
                _ => panic!("odd line {line:?}"),
            }
        }
        assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
    }

    #[test]
    fn letters_that_firehose_refuses_are_refused() {
        for letter in "CIJPRTUVbfijloprt".chars() {
            assert_eq!(Pattern::parse(&letter.to_string()), Err(BadPattern), "{letter}");
        }
    }
}
