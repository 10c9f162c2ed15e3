//! Integers of variable length: seven bits a byte, the lowest first.

/// Appends a number.
pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends the unscaled value of a decimal, of any size.
pub(crate) fn put_signed_varint(out: &mut Vec<u8>, value: i128) {
    let mut value = (value << 1 ^ value >> 127) as u128;
    while value > u128::from(u64::MAX) {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    put_varint(out, value as u64);
}

/// Lays numbers of either sign so that small ones stay small.
pub(crate) fn zigzag(value: i64) -> u64 {
    (value << 1 ^ value >> 63) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_beyond_64_bits_go_on_in_the_same_way() {
        let mut out = Vec::new();
        put_signed_varint(&mut out, i128::from(u64::MAX));
        assert_eq!(out, [0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x03]);
        out.clear();
        put_signed_varint(&mut out, i128::MIN);
        assert_eq!(out, [&[0xff; 18][..], &[0x03]].concat());
        out.clear();
        put_signed_varint(&mut out, -1);
        assert_eq!(out, [1]);
    }
}
