//! A row in Avro's binary encoding.

use crate::cells::{Cells, Kind};
use crate::varint::{put_varint, zigzag};

/// Appends the members of a record.
pub(super) fn record(members: &[Cells<'_>], row: usize, out: &mut Vec<u8>) {
    members.iter().for_each(|member| value(member, row, out));
}

/// Appends bytes or a text.
pub(crate) fn bytes(value: &[u8], out: &mut Vec<u8>) {
    long(value.len() as i64, out);
    out.extend_from_slice(value);
}

pub(crate) fn long(value: i64, out: &mut Vec<u8>) {
    put_varint(out, zigzag(value));
}

fn value(of: &Cells<'_>, row: usize, out: &mut Vec<u8>) {
    if of.is_nullable {
        // Which of null and the type it is.
        let is_there = !of.is_null(row);
        long(is_there.into(), out);
        if !is_there {
            return;
        }
    }
    match &of.kind {
        Kind::Boolean(values) => out.push(values.value(row).into()),
        Kind::Int8(values) => long(values.value(row).into(), out),
        Kind::Int16(values) => long(values.value(row).into(), out),
        Kind::Int32(values) => long(values.value(row).into(), out),
        Kind::Int64(values) => long(values.value(row), out),
        Kind::Float32(values) => out.extend_from_slice(&values.value(row).to_le_bytes()),
        Kind::Float64(values) => out.extend_from_slice(&values.value(row).to_le_bytes()),
        Kind::Decimal(values, _) => decimal(values.value(row), out),
        Kind::Date(values) => long(values.value(row).into(), out),
        Kind::Timestamp(values) => long(values.value(row), out),
        Kind::Text(values) => bytes(values.value(row).as_bytes(), out),
        Kind::Binary(values) => bytes(values.value(row), out),
        Kind::List(list, items) => {
            let [from, to] = [row, row + 1].map(|at| list.value_offsets()[at] as usize);
            blocks(from, to, out, |item, out| value(items, item, out));
        }
        Kind::Map(map, keys, values) => {
            let [from, to] = [row, row + 1].map(|at| map.value_offsets()[at] as usize);
            blocks(from, to, out, |entry, out| {
                bytes(keys.value(entry).as_bytes(), out);
                value(values, entry, out);
            });
        }
        Kind::Struct(members) => record(members, row, out),
    }
}

/// Items: how many, and then an end.
fn blocks(from: usize, to: usize, out: &mut Vec<u8>, put: impl Fn(usize, &mut Vec<u8>)) {
    if from < to {
        long((to - from) as i64, out);
        (from..to).for_each(|item| put(item, out));
    }
    out.push(0);
}

/// The fewest bytes that say the number, the highest first.
fn decimal(value: i128, out: &mut Vec<u8>) {
    let all = value.to_be_bytes();
    let sign = if value < 0 { 0xff } else { 0 };
    let spare = all.windows(2).take_while(|pair| pair[0] == sign && (pair[0] ^ pair[1]) & 0x80 == 0).count();
    bytes(&all[spare..], out);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_take_as_few_bytes_as_they_can() {
        for (value, expected) in [
            (0, &[2, 0][..]),
            (127, &[2, 0x7f]),
            (128, &[4, 0, 0x80]),
            (-1, &[2, 0xff]),
            (-128, &[2, 0x80]),
            (-129, &[4, 0xff, 0x7f]),
        ] {
            let mut out = Vec::new();
            decimal(value, &mut out);
            assert_eq!(out, expected, "{value}");
        }
        let mut out = Vec::new();
        decimal(i128::MIN, &mut out);
        assert_eq!(out.len(), 17);
    }
}
