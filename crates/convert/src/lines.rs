//! Columns to JSON again, a line for each row, in one form for each value.
//!
//! Members stand in the order of the columns. What is null is left out, but for items of arrays and values of maps, where
//! that would say something else.

use arrow_array::RecordBatch;
use arrow_schema::ArrowError;
use base64_simd::STANDARD;
use serde::Serialize;

use crate::cells::{Cells, Kind};
use crate::json::RowError;

const DAY_MICROS: i64 = 86_400_000_000;

/// The rows of a batch, to be written as JSON.
pub struct JsonLines<'a> {
    columns: Vec<Cells<'a>>,
}

impl<'a> JsonLines<'a> {
    /// The rows of a batch.
    ///
    /// # Errors
    /// It is of no table.
    pub fn of(rows: &'a RecordBatch) -> Result<Self, ArrowError> {
        Ok(Self { columns: Cells::of(rows)? })
    }

    /// Appends a row and a newline, for `out` to have at most `max` bytes then.
    ///
    /// # Errors
    /// It has more: names that a record does not write take room. `out` is of no use.
    pub fn put(&self, row: usize, out: &mut Vec<u8>, max: usize) -> Result<(), RowError> {
        object(&self.columns, row, out, max);
        out.push(b'\n');
        match out.len() <= max {
            true => Ok(()),
            false => Err(RowError::value("The record comes to too much text.")),
        }
    }
}

fn object(members: &[Cells<'_>], row: usize, out: &mut Vec<u8>, max: usize) {
    let there = members.iter().filter(|member| !member.is_null(row));
    separated(*b"{}", there, (out, max), |member, out| {
        plain(member.name, out);
        out.push(b':');
        value(member, row, out, max);
    });
}

/// Puts each behind the other with commas between, within brackets, as long as there is room.
fn separated<T>(
    [open, close]: [u8; 2],
    items: impl Iterator<Item = T>,
    (out, max): (&mut Vec<u8>, usize),
    mut put: impl FnMut(T, &mut Vec<u8>),
) {
    out.push(open);
    for (number, item) in items.enumerate() {
        if out.len() > max {
            break;
        }
        if number > 0 {
            out.push(b',');
        }
        put(item, out);
    }
    out.push(close);
}

fn value(of: &Cells<'_>, row: usize, out: &mut Vec<u8>, max: usize) {
    if of.is_null(row) {
        return out.extend_from_slice(b"null");
    }
    match &of.kind {
        Kind::Boolean(values) => plain(&values.value(row), out),
        Kind::Int8(values) => plain(&values.value(row), out),
        Kind::Int16(values) => plain(&values.value(row), out),
        Kind::Int32(values) => plain(&values.value(row), out),
        Kind::Int64(values) => plain(&values.value(row), out),
        Kind::Float32(values) => match values.value(row) {
            value if value.is_finite() => plain(&value, out),
            value => plain(not_finite(value.into()), out),
        },
        Kind::Float64(values) => match values.value(row) {
            value if value.is_finite() => plain(&value, out),
            value => plain(not_finite(value), out),
        },
        Kind::Decimal(values, scale) => decimal(values.value(row), *scale, out),
        Kind::Date(values) => {
            out.push(b'"');
            date(values.value(row).into(), out);
            out.push(b'"');
        }
        Kind::Timestamp(values) => timestamp(values.value(row), out),
        Kind::Text(values) => plain(values.value(row), out),
        Kind::Binary(values) => {
            out.push(b'"');
            STANDARD.encode_append(values.value(row), out);
            out.push(b'"');
        }
        Kind::List(list, items) => {
            let [from, to] = [row, row + 1].map(|at| list.value_offsets()[at] as usize);
            separated(*b"[]", from..to, (out, max), |item, out| value(items, item, out, max));
        }
        Kind::Map(map, keys, values) => {
            let [from, to] = [row, row + 1].map(|at| map.value_offsets()[at] as usize);
            separated(*b"{}", from..to, (out, max), |entry, out| {
                plain(keys.value(entry), out);
                out.push(b':');
                value(values, entry, out, max);
            });
        }
        Kind::Struct(members) => object(members, row, out, max),
    }
}

/// A value as `serde_json` has it: text with what must be escaped and nothing else, the shortest digits that read back.
fn plain(value: &(impl Serialize + ?Sized), out: &mut Vec<u8>) {
    serde_json::to_writer(out, value).expect("plain values are JSON, and memory takes all");
}

/// What JSON has no number for, in words that deserializers take.
fn not_finite(value: f64) -> &'static str {
    match value {
        value if value.is_nan() => "NaN",
        value if value > 0.0 => "Infinity",
        _ => "-Infinity",
    }
}

/// A number with as many digits behind the point as its type has.
fn decimal(value: i128, scale: u8, out: &mut Vec<u8>) {
    if value < 0 {
        out.push(b'-');
    }
    let scale = usize::from(scale);
    let digits = format!("{:0>1$}", value.unsigned_abs(), scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    out.extend_from_slice(whole.as_bytes());
    if scale > 0 {
        out.push(b'.');
        out.extend_from_slice(fraction.as_bytes());
    }
}

/// `yyyy-MM-dd HH:mm:ss.ffffff`
fn timestamp(micros: i64, out: &mut Vec<u8>) {
    out.push(b'"');
    date(micros.div_euclid(DAY_MICROS), out);
    let micros = micros.rem_euclid(DAY_MICROS);
    for (sign, unit, sixty) in [(b' ', 3_600_000_000, 24), (b':', 60_000_000, 60), (b':', 1_000_000, 60)] {
        out.push(sign);
        digits(micros / unit % sixty, 2, out);
    }
    out.push(b'.');
    digits(micros % 1_000_000, 6, out);
    out.push(b'"');
}

/// `yyyy-MM-dd` of days since 1970, by the Gregorian calendar at all times; for every number of days, which `chrono`
/// does not have.
fn date(days: i64, out: &mut Vec<u8>) {
    // A year begins in March, and an era of 400 of them in 2000 years before the first.
    let days = days + 719_468;
    let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    let year = era * 400 + year + next;
    if year < 0 {
        out.push(b'-');
    }
    digits(year.abs(), 4, out);
    out.push(b'-');
    digits(month, 2, out);
    out.push(b'-');
    digits(day, 2, out);
}

/// A number in so many digits at least.
fn digits(mut number: i64, least: usize, out: &mut Vec<u8>) {
    let start = out.len();
    while number > 0 || out.len() - start < least {
        out.push(b'0' + (number % 10) as u8);
        number /= 10;
    }
    out[start..].reverse();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Column, Deserializer, RowReader, TableSchema};

    fn text(put: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        put(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn dates_are_those_of_the_calendar_and_go_beyond_it() {
        for (days, expected) in [
            (0, "1970-01-01"),
            (-1, "1969-12-31"),
            (11_016, "2000-02-29"),
            (-719_162, "0001-01-01"),
            (-719_529, "-0001-12-31"),
            (106_751_991, "294247-01-10"),
        ] {
            assert_eq!(text(|out| date(days, out)), expected);
        }
        for days in (-800_000..800_000).step_by(97) {
            let known = chrono::NaiveDate::default() + chrono::TimeDelta::days(days);
            let expected = known.format("%Y-%m-%d").to_string();
            assert_eq!(text(|out| date(days, out)), expected, "{days}");
        }
    }

    #[test]
    fn values_have_one_form_each() {
        for (value, scale, expected) in [
            (0, 0, "0"),
            (-5, 2, "-0.05"),
            (12_345, 2, "123.45"),
            (-100, 2, "-1.00"),
            (i128::from(u64::MAX) * 10, 1, "18446744073709551615.0"),
        ] {
            assert_eq!(text(|out| decimal(value, scale, out)), expected);
        }
        assert_eq!(text(|out| timestamp(-1, out)), "\"1969-12-31 23:59:59.999999\"");
        assert_eq!(text(|out| timestamp(i64::MIN, out)), "\"-290308-12-21 19:59:05.224192\"");
    }

    #[test]
    fn what_is_null_is_left_out_but_for_items_and_values_of_maps() {
        let columns = [
            ("b", "double"),
            ("a", "struct<x:int,y:array<int>>"),
            ("m", "map<string,int>"),
            ("f", "float"),
            ("bytes", "binary"),
        ];
        let columns = columns.map(|(name, kind)| Column::parse(name, kind).unwrap());
        let table = TableSchema::new(columns.into()).unwrap();
        let mut reader = RowReader::new(&table, &Deserializer::default());
        for row in [
            r#"{"z":1,"A":{"y":[1,null],"x":null},"m":{"k":null},"B":"Infinity","f":0.1,"bytes":"\u0000é"}"#,
            r#"{"a":{},"b":1,"bytes":"","f":"NaN"}"#,
            "{}",
        ] {
            reader.push(row.as_bytes()).unwrap();
        }
        let rows = reader.finish().unwrap();
        let lines = JsonLines::of(&rows).unwrap();
        let written = text(|out| (0..3).for_each(|row| lines.put(row, out, usize::MAX).unwrap()));
        let expected = [
            r#"{"b":"Infinity","a":{"y":[1,null]},"m":{"k":null},"f":0.1,"bytes":"AMOp"}"#,
            r#"{"b":1.0,"a":{},"f":"NaN","bytes":""}"#,
            "{}",
            "",
        ];
        assert_eq!(written, expected.join("\n"));
    }

    #[test]
    fn a_line_of_many_names_ends_at_its_limit() {
        let name = "n".repeat(100);
        let column = Column::parse("a", &format!("array<struct<{name}:int>>")).unwrap();
        let table = TableSchema::new(vec![column]).unwrap();
        let mut reader = RowReader::new(&table, &Deserializer::default());
        reader.push(format!("{{\"a\":[[1]{}]}}", ",[1]".repeat(9_999)).as_bytes()).unwrap();
        let rows = reader.finish().unwrap();
        let lines = JsonLines::of(&rows).unwrap();
        let mut out = Vec::new();
        let error = lines.put(0, &mut out, 100_000).unwrap_err();
        assert_eq!(error.code(), "DataFormatConversion.MalformedData");
        assert!(out.len() < 101_000, "{}", out.len());
        out.clear();
        lines.put(0, &mut out, 10_000 * 107 + 20).unwrap();
    }
}
