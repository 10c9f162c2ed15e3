//! Sizes and durations as people write them: `5MiB`, `128 MB`, `60s`, `1h30m`.
//!
//! Arithmetic is in integers throughout, so what is printed reads back as the same number.

use std::fmt::Write as _;
use std::time::Duration;

use thiserror::Error;

/// Why a size or a duration could not be read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum UnitError {
    /// No number stands where one must.
    #[error("\"{text}\" is not a {what}, write for example {example}")]
    Number { text: String, what: &'static str, example: &'static str },
    /// The unit is unknown, or missing where it must not be.
    #[error("\"{text}\" has the unit \"{unit}\", known are {known}")]
    Unit { text: String, unit: String, known: &'static str },
    /// A duration without a unit.
    #[error("{text} has no unit, write for example {text}s")]
    NoUnit { text: String },
    /// More than a 64-bit number holds, or a fraction of the smallest unit.
    #[error("\"{text}\" is not a whole number of {smallest}s below 2^63")]
    Range { text: String, smallest: &'static str },
}

/// Binary units for printing, the largest first.
const BINARY: [(&str, u64); 5] =
    [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

/// Time units in milliseconds, the largest first.
const TIME: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Reads a number of bytes: plain, or with a unit. `KiB`, `MiB`, `GiB`, `TiB` count in 1024, `KB`, `MB`, `GB`, `TB` in
/// 1000.
pub(super) fn parse_size(text: &str) -> Result<u64, UnitError> {
    let (number, rest) = split_number(text.trim());
    let number_error = || UnitError::Number { text: text.to_owned(), what: "size", example: "5MiB" };
    if number.is_empty() {
        return Err(number_error());
    }
    let factor = match rest.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        "tib" => 1 << 40,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "tb" => 1_000_000_000_000,
        _ => {
            let known = "B, KiB, MiB, GiB, TiB (1024) and KB, MB, GB, TB (1000)";
            return Err(UnitError::Unit { text: text.to_owned(), unit: rest.trim().to_owned(), known });
        }
    };
    scale(number, factor, "byte", text, number_error)
}

/// Reads a duration: one or several numbers with units, as `500ms`, `60s`, `5m`, `1h30m`.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, UnitError> {
    let number_error = || UnitError::Number { text: text.to_owned(), what: "duration", example: "60s" };
    let mut rest = text.trim();
    if rest == "0" {
        return Ok(Duration::ZERO);
    }
    let mut total = 0u64;
    loop {
        let (number, tail) = split_number(rest);
        if number.is_empty() {
            return Err(number_error());
        }
        let tail = tail.trim_start();
        let end = tail.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(tail.len());
        let (unit, next) = tail.split_at(end);
        if unit.is_empty() {
            return Err(UnitError::NoUnit { text: text.to_owned() });
        }
        let factor = TIME.iter().find(|(name, _)| *name == unit).map(|(_, factor)| *factor);
        let factor = factor.ok_or_else(|| UnitError::Unit {
            text: text.to_owned(),
            unit: unit.to_owned(),
            known: "ms, s, m, h and d",
        })?;
        let part = scale(number, factor, "millisecond", text, number_error)?;
        total = total
            .checked_add(part)
            .ok_or_else(|| UnitError::Range { text: text.to_owned(), smallest: "millisecond" })?;
        rest = next.trim_start();
        if rest.is_empty() {
            return Ok(Duration::from_millis(total));
        }
    }
}

/// Prints a size in the largest binary unit that it is a whole number of.
pub(super) fn format_size(bytes: u64) -> String {
    let (unit, factor) =
        BINARY.iter().find(|(_, f)| bytes >= *f && bytes.is_multiple_of(*f)).unwrap_or(&BINARY[4]);
    format!("{}{unit}", bytes / factor)
}

/// Prints a duration in whole units, the largest first, to the millisecond.
pub(super) fn format_duration(duration: Duration) -> String {
    let mut rest = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    if rest == 0 {
        return "0s".to_owned();
    }
    let mut text = String::new();
    for (unit, factor) in TIME {
        if rest >= factor {
            // Writing to a String cannot fail.
            write!(text, "{}{unit}", rest / factor).ok();
            rest %= factor;
        }
    }
    text
}

/// Splits off the leading decimal number.
fn split_number(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len()))
}

/// Multiplies a decimal number by `factor`, exactly.
fn scale(
    number: &str,
    factor: u64,
    smallest: &'static str,
    text: &str,
    number_error: impl Fn() -> UnitError,
) -> Result<u64, UnitError> {
    let range = || UnitError::Range { text: text.to_owned(), smallest };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !digits(fraction) {
        return Err(number_error());
    }
    let decimals = u32::try_from(fraction.len()).ok().filter(|n| *n <= 12).ok_or_else(range)?;
    let denominator = 10u128.pow(decimals);
    let whole: u64 = whole.parse().map_err(|_| range())?;
    let fraction: u128 = fraction.parse().map_err(|_| range())?;
    let scaled = (u128::from(whole) * denominator + fraction) * u128::from(factor);
    let value = u64::try_from(scaled / denominator).map_err(|_| range())?;
    if !scaled.is_multiple_of(denominator) || value > i64::MAX as u64 {
        return Err(range());
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sizes_as_people_write_them() {
        for (text, bytes) in [
            ("0", 0),
            ("4096", 4096),
            ("5MiB", 5 << 20),
            ("128 MiB", 128 << 20),
            ("5MB", 5_000_000),
            ("1.5 gib", 3 << 29),
            ("10GiB", 10 << 30),
            ("12B", 12),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for text in ["", "MiB", "5M", "-1", "1.2.3MB", ".5MB", "0.5", "5 MiB extra", "99999999999TiB"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn durations_as_people_write_them() {
        for (text, millis) in [
            ("0", 0),
            ("0s", 0),
            ("500ms", 500),
            ("60s", 60_000),
            ("5m", 300_000),
            ("1h 30m", 5_400_000),
            ("1.5s", 1_500),
        ] {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "60", "s", "5min", "1h30", "0.5ms", "-1s"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn refusals_say_what_would_be_right() {
        let size = |text| parse_size(text).map_err(|e| e.to_string());
        assert_eq!(size("lots"), Err("\"lots\" is not a size, write for example 5MiB".into()));
        assert_eq!(
            size("5M"),
            Err(
                "\"5M\" has the unit \"M\", known are B, KiB, MiB, GiB, TiB (1024) and KB, MB, GB, TB (1000)"
                    .into()
            )
        );
        let duration = |text| parse_duration(text).map_err(|e| e.to_string());
        assert_eq!(duration("60"), Err("60 has no unit, write for example 60s".into()));
        assert_eq!(
            duration("5min"),
            Err("\"5min\" has the unit \"min\", known are ms, s, m, h and d".into())
        );
    }

    proptest! {
        #[test]
        fn a_size_reads_back_as_printed(bytes in 0..=i64::MAX as u64) {
            prop_assert_eq!(parse_size(&format_size(bytes)), Ok(bytes));
        }

        #[test]
        fn a_duration_reads_back_as_printed(millis in 0..=1u64 << 50) {
            let duration = Duration::from_millis(millis);
            prop_assert_eq!(parse_duration(&format_duration(duration)), Ok(duration));
        }

        #[test]
        fn no_text_makes_the_parsers_panic(text in ".{0,20}") {
            prop_assert!(parse_size(&text).is_ok() || parse_size(&text).is_err());
            prop_assert!(parse_duration(&text).is_ok() || parse_duration(&text).is_err());
        }
    }
}
