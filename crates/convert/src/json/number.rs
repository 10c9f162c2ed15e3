//! Numbers from text.

/// A whole number; `1.0` and `1e3` are whole too.
pub(super) fn integer(text: &str) -> Option<i64> {
    if let Ok(number) = text.parse() {
        return Some(number);
    }
    let written_otherwise = text.bytes().any(|byte| matches!(byte, b'.' | b'e' | b'E'));
    let number: f64 = text.parse().ok().filter(|_| written_otherwise)?;
    // Beyond that not every whole number is one of these.
    let exact = number.fract() == 0.0 && number.abs() <= 9_007_199_254_740_992.0;
    exact.then_some(number as i64)
}

/// A float, as Java reads it.
pub(super) fn float<F: std::str::FromStr>(text: &str) -> Option<F> {
    match text {
        "NaN" | "Infinity" | "+Infinity" | "-Infinity" => text.parse().ok(),
        // What else Rust takes for one.
        _ if text.bytes().any(|byte| matches!(byte, b'n' | b'N' | b'i' | b'I')) => None,
        _ => text.parse().ok(),
    }
}

/// A decimal of so many digits as a whole number of its last digit, rounded half up; `None` where it is none or has more
/// digits before the point than it may.
pub(super) fn decimal(text: &str, precision: u8, scale: u8) -> Option<i128> {
    let (digits, negative) = match text.as_bytes() {
        [b'-', rest @ ..] => (rest, true),
        [b'+', rest @ ..] | rest => (rest, false),
    };
    let at = digits.iter().position(|byte| matches!(byte, b'e' | b'E'));
    let (digits, exponent) = match at {
        None => (digits, 0),
        Some(at) => {
            let exponent: i32 = std::str::from_utf8(&digits[at + 1..]).ok()?.parse().ok()?;
            (&digits[..at], exponent)
        }
    };
    let (mut value, mut shift, mut seen, mut behind_point) = (0i128, exponent, false, false);
    for byte in digits {
        match byte {
            b'.' if !behind_point => behind_point = true,
            b'0'..=b'9' => {
                seen = true;
                shift = shift.checked_sub(i32::from(behind_point))?;
                match value.checked_mul(10).and_then(|value| value.checked_add((byte - b'0').into())) {
                    Some(more) => value = more,
                    // Beyond what any decimal has room for.
                    None => shift = shift.checked_add(1)?,
                }
            }
            _ => return None,
        }
    }
    let shift = shift.checked_add(scale.into()).filter(|_| seen)?;
    let value = match u32::try_from(shift) {
        _ if value == 0 => 0,
        Ok(up) => value.checked_mul(10i128.checked_pow(up)?)?,
        Err(_) => match 10i128.checked_pow(shift.unsigned_abs()) {
            Some(by) => value / by + i128::from(value % by >= by - by / 2),
            None => 0,
        },
    };
    let value = (value < 10i128.checked_pow(precision.into())?).then_some(value)?;
    Some(if negative { -value } else { value })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_exact_and_rounded_half_up() {
        for (text, precision, scale, expected) in [
            ("0", 1, 0, Some(0)),
            ("-12.345", 5, 2, Some(-1235)),
            ("12.344", 5, 2, Some(1234)),
            ("0.5", 1, 0, Some(1)),
            ("-0.5", 1, 0, Some(-1)),
            ("0.4999", 1, 0, Some(0)),
            ("1e3", 4, 0, Some(1000)),
            ("1.5E-3", 4, 4, Some(15)),
            ("9.99", 2, 1, None),
            ("99.9", 2, 0, None),
            ("100", 2, 0, None),
            ("00100", 3, 0, Some(100)),
            ("+7", 1, 0, Some(7)),
            ("1e999999999", 38, 0, None),
            ("1e-999999999", 38, 10, Some(0)),
            ("0e999999999", 38, 0, Some(0)),
            ("12345678901234567890123456789012345678", 38, 0, Some(12345678901234567890123456789012345678)),
            ("123456789012345678901234567890123456789", 38, 0, None),
            ("0.33333333333333333333333333333333333333333333", 38, 3, Some(333)),
            ("", 5, 0, None),
            (".", 5, 0, None),
            ("1.2.3", 5, 0, None),
            ("1x", 5, 0, None),
            ("1e", 5, 0, None),
        ] {
            assert_eq!(decimal(text, precision, scale), expected, "{text} in ({precision},{scale})");
        }
    }

    #[test]
    fn integers_and_floats_are_read_as_java_does() {
        for (text, expected) in [
            ("42", Some(42)),
            ("-9223372036854775808", Some(i64::MIN)),
            ("9223372036854775808", None),
            ("1.0", Some(1)),
            ("1e3", Some(1000)),
            ("1.5", None),
            ("1e300", None),
            ("inf", None),
            ("", None),
        ] {
            assert_eq!(integer(text), expected, "{text}");
        }
        assert_eq!((float("1e3"), float("Infinity")), (Some(1000.0), Some(f64::INFINITY)));
        assert_eq!((float::<f64>("inf"), float::<f64>("nan"), float::<f32>("x")), (None, None, None));
    }
}
