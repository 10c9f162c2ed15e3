//! Run-length encodings of integers: version 2 of format 0.12, version 1 of 0.11.
//!
//! Version 2 writes runs of at most 512 values: the same value again (short repeat, or a delta of nothing), values that
//! rise or fall (delta), and any others at the width of the widest (direct). The fourth encoding, patched base, which
//! saves space where few values are far wider than the others, is not written; readers never need it.

use super::FormatVersion;
use crate::varint::{put_varint, zigzag};

/// The most values of a run of version 2.
const RUN_MAX: usize = 512;
/// What a short repeat holds: at least and at most so many values.
const REPEAT_MIN: usize = 3;
const REPEAT_MAX: usize = 10;
/// The most values of a run and of literals of version 1.
const RUN_V1_MAX: usize = 130;
const LITERALS_V1_MAX: usize = 128;

/// Appends the runs of `values`; an unsigned stream has none below 0.
pub(super) fn encode(version: FormatVersion, values: &[i64], signed: bool, out: &mut Vec<u8>) {
    let mut rest = values;
    while !rest.is_empty() {
        let taken = match version {
            FormatVersion::V0_11 => encode_run_v1(rest, signed, out),
            FormatVersion::V0_12 => encode_run(rest, signed, out),
        };
        rest = &rest[taken..];
    }
}

/// The value as it is packed.
fn wire(value: i64, signed: bool) -> u64 {
    if signed { zigzag(value) } else { value as u64 }
}

fn encode_run(values: &[i64], signed: bool, out: &mut Vec<u8>) -> usize {
    let repeats = values[..values.len().min(RUN_MAX)].iter().take_while(|value| **value == values[0]).count();
    if repeats > REPEAT_MAX {
        encode_delta(&values[..repeats], 0, 0, signed, out);
        repeats
    } else if repeats == REPEAT_MAX || repeats == values.len() && repeats >= REPEAT_MIN {
        encode_short_repeat(wire(values[0], signed), repeats, out);
        repeats
    } else {
        let literals = &values[..literals(values)];
        let width = width(literals.iter().fold(0, |bits, value| bits | wire(*value, signed)));
        match steps(literals) {
            Some((first, step_width)) if step_width < width => {
                encode_delta(literals, first, step_width, signed, out);
            }
            _ => {
                header(0b01, code(width), literals.len(), out);
                pack(literals.iter().map(|value| wire(*value, signed)), width, out);
            }
        }
        literals.len()
    }
}

/// How many values come before a repeat that pays for a run of its own.
fn literals(values: &[i64]) -> usize {
    let values = &values[..values.len().min(RUN_MAX)];
    let mut repeats = 1;
    for at in 1..values.len() {
        repeats = if values[at] == values[at - 1] { repeats + 1 } else { 1 };
        if repeats == REPEAT_MAX {
            return at + 1 - REPEAT_MAX;
        }
    }
    values.len()
}

/// The first step, and the width of the others (0 where all are as the first), if all steps go the same way.
fn steps(values: &[i64]) -> Option<(i64, u32)> {
    let first = values.get(1)?.checked_sub(values[0])?;
    let (mut bits, mut same) = (0, true);
    for pair in values[1..].windows(2) {
        let step = pair[1].checked_sub(pair[0])?;
        if step != 0 && (step < 0) != (first < 0) {
            return None;
        }
        bits |= step.unsigned_abs();
        same &= step == first;
    }
    match (same, first) {
        (true, _) => Some((first, 0)),
        // The first step is also the sign of the others.
        (false, 0) => None,
        // The code of width 1 means here that all steps are the same.
        _ => Some((first, width(bits).max(2))),
    }
}

fn encode_short_repeat(value: u64, count: usize, out: &mut Vec<u8>) {
    let bytes = (64 - value.leading_zeros()).div_ceil(8).max(1) as usize;
    out.push(((bytes - 1) << 3 | (count - REPEAT_MIN)) as u8);
    out.extend_from_slice(&value.to_be_bytes()[8 - bytes..]);
}

fn encode_delta(values: &[i64], first_step: i64, width: u32, signed: bool, out: &mut Vec<u8>) {
    header(0b11, if width == 0 { 0 } else { code(width) }, values.len(), out);
    put_varint(out, wire(values[0], signed));
    put_varint(out, zigzag(first_step));
    if width > 0 {
        pack(values[1..].windows(2).map(|pair| (pair[1] - pair[0]).unsigned_abs()), width, out);
    }
}

/// Two bytes: the encoding, the width's code and the number of values less one.
fn header(encoding: usize, width_code: u32, count: usize, out: &mut Vec<u8>) {
    let header = encoding << 14 | (width_code as usize) << 9 | (count - 1);
    out.extend_from_slice(&(header as u16).to_be_bytes());
}

/// The least width of the format that holds the highest of `bits`.
fn width(bits: u64) -> u32 {
    match 64 - bits.leading_zeros() {
        0 => 1,
        bits @ 1..=24 => bits,
        bits @ 25..=32 => bits.next_multiple_of(2),
        bits => bits.next_multiple_of(8),
    }
}

fn code(width: u32) -> u32 {
    match width {
        ..=24 => width - 1,
        25..=32 => width / 2 + 11,
        _ => width / 8 + 23,
    }
}

/// Packs values bit after bit, the highest first; zeros fill the last byte.
fn pack(values: impl Iterator<Item = u64>, width: u32, out: &mut Vec<u8>) {
    let (mut bits, mut count) = (0u128, 0);
    for value in values {
        bits = bits << width | u128::from(value);
        count += width;
        if count >= 64 {
            count -= 64;
            out.extend_from_slice(&((bits >> count) as u64).to_be_bytes());
        }
    }
    let last = ((bits << (64 - count)) as u64).to_be_bytes();
    out.extend_from_slice(&last[..count.div_ceil(8) as usize]);
}

fn encode_run_v1(values: &[i64], signed: bool, out: &mut Vec<u8>) -> usize {
    if let Some((step, count)) = run_v1(values) {
        out.extend_from_slice(&[(count - REPEAT_MIN) as u8, step as u8]);
        put_varint(out, wire(values[0], signed));
        return count;
    }
    let end = values.len().min(LITERALS_V1_MAX);
    let count = (1..end).find(|at| run_v1(&values[*at..]).is_some()).unwrap_or(end);
    out.push((count as u8).wrapping_neg());
    values[..count].iter().for_each(|value| put_varint(out, wire(*value, signed)));
    count
}

/// The step and the length of the run at the start, if there is one.
fn run_v1(values: &[i64]) -> Option<(i8, usize)> {
    let step_at = |at: usize| values.get(at + 1)?.checked_sub(values[at]);
    let step = i8::try_from(step_at(0)?).ok()?;
    let steps = (0..RUN_V1_MAX - 1).take_while(|at| step_at(*at) == Some(i64::from(step))).count();
    (steps + 1 >= REPEAT_MIN).then_some((step, steps + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(version: FormatVersion, values: &[i64], signed: bool, expect: &[u8]) {
        let mut out = Vec::new();
        encode(version, values, signed, &mut out);
        assert_eq!(out, expect, "{values:?}");
    }

    #[test]
    fn the_examples_of_the_specification_of_version_2() {
        check(FormatVersion::V0_12, &[10_000; 5], false, &[0x0a, 0x27, 0x10]);
        let direct = [0x5e, 0x03, 0x5c, 0xa1, 0xab, 0x1e, 0xde, 0xad, 0xbe, 0xef];
        check(FormatVersion::V0_12, &[23713, 43806, 57005, 48879], false, &direct);
        // The primes of the specification but for the last, with which four bits are needed here as well.
        let delta = [0xc6, 0x09, 0x02, 0x02, 0x22, 0x42, 0x42, 0x4e];
        check(FormatVersion::V0_12, &[2, 3, 5, 7, 11, 13, 17, 19, 23, 37], false, &delta);
    }

    #[test]
    fn rising_values_of_which_the_first_two_are_the_same_are_written_at_full_width() {
        check(FormatVersion::V0_12, &[1, 1, 2, 3], false, &[0x42, 0x03, 0x5b]);
    }

    #[test]
    fn the_examples_of_the_specification_of_version_1() {
        check(FormatVersion::V0_11, &[7; 100], false, &[0x61, 0x00, 0x07]);
        let falling: Vec<i64> = (1..=100).rev().collect();
        check(FormatVersion::V0_11, &falling, false, &[0x61, 0xff, 0x64]);
        check(FormatVersion::V0_11, &[2, 3, 6, 7, 11], false, &[0xfb, 0x02, 0x03, 0x06, 0x07, 0x0b]);
    }

    #[test]
    fn every_width_has_the_code_of_the_specification() {
        let codes: Vec<(u32, u32)> = (0..=64)
            .map(|bits| width(1u64.checked_shl(bits).unwrap_or(0).wrapping_sub(1)))
            .map(|width| (width, code(width)))
            .collect();
        for (bits, expect) in
            [(0, (1, 0)), (1, (1, 0)), (24, (24, 23)), (25, (26, 24)), (32, (32, 27)), (33, (40, 28))]
        {
            assert_eq!(codes[bits], expect);
        }
        assert_eq!(codes[64], (64, 31));
        assert!(codes.is_sorted());
    }
}
