//! What a column says of its values: for a row group, a stripe and the file.

use std::cmp::Ordering;

use super::proto::Message;
use super::types::Kind;

/// Texts up to so many bytes are their own bounds; longer ones are cut, as the format asks of its writers.
const BOUND_BYTES_MAX: usize = 1024;
/// A sum of decimals with more digits is not said, for readers have nothing to hold it in.
const DECIMAL_MAX: u128 = 10u128.pow(38);

/// The statistics of a column.
#[derive(Debug, Clone)]
pub(super) struct Statistics {
    /// How many values are not null.
    pub(super) values: u64,
    pub(super) has_null: bool,
    pub(super) summary: Summary,
}

/// What is said of the values of a type.
#[derive(Debug, Clone)]
pub(super) enum Summary {
    Nothing,
    Boolean {
        trues: u64,
    },
    Integer {
        range: Option<(i64, i64)>,
        sum: Option<i64>,
    },
    Double {
        range: Option<(f64, f64)>,
        sum: f64,
    },
    Decimal {
        range: Option<(i128, i128)>,
        sum: Option<i128>,
        scale: u8,
    },
    Text {
        range: Option<(Box<str>, Box<str>)>,
        bytes: u64,
    },
    Binary {
        bytes: u64,
    },
    Date {
        range: Option<(i64, i64)>,
    },
    /// Microseconds.
    Timestamp {
        range: Option<(i64, i64)>,
    },
    /// Of a list or a map: how many items.
    Items {
        range: Option<(i64, i64)>,
        sum: u64,
    },
}

/// Makes a range hold another one.
pub(super) fn widen<T: PartialOrd + Copy>(range: &mut Option<(T, T)>, (low, high): (T, T)) {
    // What cannot be compared with itself is a NaN, and gives way to any number.
    let gives_way = |old: T, new: T, to| new.partial_cmp(&old) == Some(to) || old.partial_cmp(&old).is_none();
    let (min, max) = range.get_or_insert((low, high));
    if gives_way(*min, low, Ordering::Less) {
        *min = low;
    }
    if gives_way(*max, high, Ordering::Greater) {
        *max = high;
    }
}

/// [`widen`] for texts, which are only copied where they change it.
pub(super) fn widen_text(range: &mut Option<(Box<str>, Box<str>)>, low: &str, high: &str) {
    match range {
        None => *range = Some((low.into(), high.into())),
        Some((min, max)) => {
            if low < &**min {
                *min = low.into();
            }
            if high > &**max {
                *max = high.into();
            }
        }
    }
}

impl Statistics {
    pub(super) fn new(summary: Summary) -> Self {
        Self { values: 0, has_null: false, summary }
    }

    /// Takes in the statistics of other values of the column.
    pub(super) fn merge(&mut self, other: &Self) {
        self.values += other.values;
        self.has_null |= other.has_null;
        self.summary.merge(&other.summary);
    }

    pub(super) fn message(&self) -> Message {
        Message::default()
            .uint(1, self.values)
            .with(self.summary.message(), |message, (field, summary)| message.message(field, &summary))
            .uint(10, u64::from(self.has_null))
    }
}

impl Summary {
    /// The summary of no values.
    pub(super) fn of(kind: Kind, scale: u8) -> Self {
        match kind {
            Kind::Boolean => Self::Boolean { trues: 0 },
            Kind::Byte | Kind::Short | Kind::Int | Kind::Long => Self::Integer { range: None, sum: Some(0) },
            Kind::Float | Kind::Double => Self::Double { range: None, sum: 0.0 },
            Kind::Decimal => Self::Decimal { range: None, sum: Some(0), scale },
            Kind::String | Kind::Varchar | Kind::Char => Self::Text { range: None, bytes: 0 },
            Kind::Binary => Self::Binary { bytes: 0 },
            Kind::Date => Self::Date { range: None },
            Kind::Timestamp => Self::Timestamp { range: None },
            Kind::List | Kind::Map => Self::Items { range: None, sum: 0 },
            Kind::Struct => Self::Nothing,
        }
    }

    fn merge(&mut self, other: &Self) {
        fn both<T: PartialOrd + Copy>(range: &mut Option<(T, T)>, other: Option<(T, T)>) {
            other.into_iter().for_each(|other| widen(range, other));
        }
        match (self, other) {
            (Self::Boolean { trues }, Self::Boolean { trues: other }) => *trues += other,
            (Self::Integer { range, sum }, Self::Integer { range: other, sum: other_sum }) => {
                both(range, *other);
                *sum = sum.zip(*other_sum).and_then(|(sum, other)| sum.checked_add(other));
            }
            (Self::Double { range, sum }, Self::Double { range: other, sum: other_sum }) => {
                both(range, *other);
                *sum += other_sum;
            }
            (Self::Decimal { range, sum, .. }, Self::Decimal { range: other, sum: other_sum, .. }) => {
                both(range, *other);
                *sum = sum.zip(*other_sum).and_then(|(sum, other)| sum.checked_add(other));
            }
            (Self::Text { range, bytes }, Self::Text { range: other, bytes: other_bytes }) => {
                other.iter().for_each(|(low, high)| widen_text(range, low, high));
                *bytes += other_bytes;
            }
            (Self::Binary { bytes }, Self::Binary { bytes: other }) => *bytes += other,
            (Self::Date { range }, Self::Date { range: other })
            | (Self::Timestamp { range }, Self::Timestamp { range: other }) => both(range, *other),
            (Self::Items { range, sum }, Self::Items { range: other, sum: other_sum }) => {
                both(range, *other);
                *sum += other_sum;
            }
            _ => {}
        }
    }

    /// The message, and the field of `ColumnStatistics` that it stands in. Without values it is there as well, but for
    /// its range: readers take its field for the type.
    fn message(&self) -> Option<(u32, Message)> {
        let message = Message::default();
        Some(match self {
            Self::Nothing => return None,
            Self::Boolean { trues } => (5, message.packed(1, [*trues])),
            Self::Integer { range, sum } => {
                let message = message.with(*range, |message, (min, max)| message.sint(1, min).sint(2, max));
                (2, message.with(*sum, |message, sum| message.sint(3, sum)))
            }
            Self::Double { range, sum } => {
                let message =
                    message.with(*range, |message, (min, max)| message.double(1, min).double(2, max));
                (3, message.double(3, *sum))
            }
            Self::Decimal { range, sum, scale } => {
                let text = |value| decimal_text(value, *scale);
                let sum = sum.filter(|sum| sum.unsigned_abs() < DECIMAL_MAX);
                let message = message
                    .with(*range, |message, (min, max)| message.bytes(1, text(min)).bytes(2, text(max)));
                (6, message.with(sum, |message, sum| message.bytes(3, text(sum))))
            }
            Self::Text { range, bytes } => {
                let message = message
                    .with(range.as_ref(), |message, (min, max)| upper_bound(lower_bound(message, min), max));
                (4, message.sint(3, *bytes as i64))
            }
            Self::Binary { bytes } => (8, message.sint(1, *bytes as i64)),
            Self::Date { range } => {
                (7, message.with(*range, |message, (min, max)| message.sint(1, min).sint(2, max)))
            }
            Self::Timestamp { range } => (9, message.with(*range, timestamps)),
            Self::Items { range, sum } => {
                let message = message
                    .with(*range, |message, (min, max)| message.uint(1, min as u64).uint(2, max as u64));
                (12, message.uint(3, *sum))
            }
        })
    }
}

/// Milliseconds, and what is below them plus 1; in the writer's zone, which is UTC, and in UTC.
fn timestamps(message: Message, (min, max): (i64, i64)) -> Message {
    let message = [min, max, min, max]
        .iter()
        .zip(1..)
        .fold(message, |message, (micros, field)| message.sint(field, micros.div_euclid(1000)));
    let nanos = |micros: i64| micros.rem_euclid(1000) as u64 * 1000 + 1;
    message.uint(5, nanos(min)).uint(6, nanos(max))
}

fn lower_bound(message: Message, min: &str) -> Message {
    match min.floor_char_boundary(BOUND_BYTES_MAX) {
        end if end == min.len() => message.bytes(1, min),
        end => message.bytes(4, &min[..end]),
    }
}

/// A text that is not less than any that starts as the greatest one does: the last character goes up by one.
fn upper_bound(message: Message, max: &str) -> Message {
    let end = max.floor_char_boundary(BOUND_BYTES_MAX);
    if end == max.len() {
        return message.bytes(2, max);
    }
    let mut bound = max[..end].to_owned();
    while let Some(last) = bound.pop() {
        if let Some(next) = (last..=char::MAX).nth(1) {
            bound.push(next);
            break;
        }
    }
    message.bytes(5, bound)
}

/// A decimal without the zeros at the end of its fraction: so are they in statistics and in bloom filters.
pub(super) fn decimal_text(value: i128, scale: u8) -> String {
    let digits = format!("{:0>width$}", value.unsigned_abs(), width = usize::from(scale) + 1);
    let (whole, fraction) = digits.split_at(digits.len() - usize::from(scale));
    let fraction = fraction.trim_end_matches('0');
    let sign = if value < 0 { "-" } else { "" };
    if fraction.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_have_no_zeros_at_their_end() {
        for (value, scale, expect) in
            [(0, 0, "0"), (0, 5, "0"), (100, 0, "100"), (1250, 2, "12.5"), (-5, 3, "-0.005"), (-100, 2, "-1")]
        {
            assert_eq!(decimal_text(value, scale), expect);
        }
    }

    #[test]
    fn bounds_of_long_texts_hold_them_between_each_other() {
        let long = format!("{}é{}", "a".repeat(1022), "z".repeat(500));
        let bounds = upper_bound(lower_bound(Message::default(), &long), &long);
        let expect = Message::default()
            .bytes(4, format!("{}é", "a".repeat(1022)))
            .bytes(5, format!("{}ê", "a".repeat(1022)));
        assert_eq!(bounds.as_bytes(), expect.as_bytes());
        let greatest = char::MAX.to_string().repeat(300);
        assert_eq!(upper_bound(Message::default(), &greatest).as_bytes(), [0x2a, 0]);
    }

    #[test]
    fn what_is_no_number_leaves_the_range_of_the_others() {
        let mut range = None;
        [f64::NAN, 2.0, f64::NAN, 1.0, 3.0].into_iter().for_each(|value| widen(&mut range, (value, value)));
        assert_eq!(range, Some((1.0, 3.0)));
    }
}
