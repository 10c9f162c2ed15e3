//! Timestamps without a zone: seconds and nanoseconds of the wall-clock time.
//!
//! # Limits
//! - What lies within the last second before 1970 and not within its first millisecond reads as a second later.

use super::stream::IntegerStream;

/// Timestamps count from here: 2015-01-01 in the writer's zone, in seconds since 1970.
const TIMESTAMP_BASE: i64 = 1_420_070_400;

/// Seconds since 2015, and nanoseconds with the number of zeros at their end in the lowest three bits.
pub(super) fn write_timestamps(micros: &[i64], seconds: &mut IntegerStream, nanos: &mut IntegerStream) {
    for micros in micros {
        let (second, rest) = (micros.div_euclid(1_000_000), micros.rem_euclid(1_000_000) * 1000);
        // Readers take one off before 1970 where there are nanoseconds that make up a millisecond.
        let second = if second < 0 && rest > 999_999 { second + 1 } else { second };
        seconds.pending.push(second - TIMESTAMP_BASE);
        nanos.pending.push(without_zeros(rest));
    }
    seconds.settle();
    nanos.settle();
}

/// Whether a timestamp in microseconds reads back as itself.
pub fn is_exact(micros: i64) -> bool {
    !(-999_000..0).contains(&micros)
}

fn without_zeros(mut nanos: i64) -> i64 {
    if nanos == 0 || nanos % 100 != 0 {
        return nanos << 3;
    }
    let mut zeros = 0;
    while nanos % 10 == 0 && zeros < 8 {
        nanos /= 10;
        zeros += 1;
    }
    nanos << 3 | (zeros - 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::orc::FormatVersion;
    use crate::orc::stream::StreamKind;

    /// What readers make of it.
    fn read(second: i64, nanos: i64) -> i128 {
        let zeros = nanos & 7;
        let nanos = (nanos >> 3) * if zeros == 0 { 1 } else { 10i64.pow(zeros as u32 + 1) };
        let second = second + TIMESTAMP_BASE;
        let second = if second < 0 && nanos > 999_999 { second - 1 } else { second };
        i128::from(second) * 1_000_000 + i128::from(nanos / 1000)
    }

    #[test]
    fn every_timestamp_but_those_of_the_second_before_1970_reads_back_as_itself() {
        let stream = |signed| IntegerStream::new(StreamKind::Data, FormatVersion::V0_12, signed);
        let (mut seconds, mut nanos) = (stream(true), stream(false));
        let mut micros = vec![i64::MIN, i64::MAX, TIMESTAMP_BASE * 1_000_000];
        for unit in [1, 10, 100, 1000, 100_000, 999_000, 1_000_000, 86_400_000_000] {
            micros.extend(
                (-25..=25).flat_map(|count| [count * unit, count * unit - 1, count * unit - 1_000_000]),
            );
        }
        write_timestamps(&micros, &mut seconds, &mut nanos);
        for (micros, (second, nanos)) in micros.iter().zip(seconds.pending.iter().zip(&nanos.pending)) {
            assert_eq!(read(*second, *nanos) == i128::from(*micros), is_exact(*micros), "{micros}");
        }
        assert!(!micros.iter().all(|micros| is_exact(*micros)));
    }
}
