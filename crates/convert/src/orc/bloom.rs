//! Bloom filters as ORC's readers test them: Murmur3 for bytes, Wang's mixing for numbers, two hashes for all.

use super::proto::Message;

/// The most bits of a filter, which is what 10,000,000 values at 0.05 take, and 7.5 MiB.
pub(super) const BITS_MAX: f64 = 64e6;

/// A filter of the values of a row group.
#[derive(Debug, Clone)]
pub(super) struct BloomFilter {
    words: Vec<u64>,
    hashes: u32,
}

impl BloomFilter {
    /// A filter for so many values, of which one that is not among them passes with the probability `fpp`.
    pub(super) fn new(values: u32, fpp: f64) -> Self {
        let words = (bits(values, fpp) / 64.0) as usize + 1;
        let hashes = (words as f64 * 64.0 / f64::from(values) * std::f64::consts::LN_2).round().max(1.0);
        Self { words: vec![0; words], hashes: hashes as u32 }
    }

    pub(super) fn add_bytes(&mut self, value: &[u8]) {
        self.add(murmur3(value));
    }

    pub(super) fn add_integer(&mut self, value: i64) {
        self.add(wang(value));
    }

    pub(super) fn add_double(&mut self, value: f64) {
        // One pattern for every NaN, as Java's doubleToLongBits.
        let bits = if value.is_nan() { 0x7ff8_0000_0000_0000 } else { value.to_bits() };
        self.add_integer(bits as i64);
    }

    /// The filter as the index has it; it is empty afterwards.
    pub(super) fn take(&mut self) -> Message {
        let bytes: Vec<u8> = self.words.iter().flat_map(|word| word.to_le_bytes()).collect();
        self.words.fill(0);
        Message::default().uint(1, u64::from(self.hashes)).bytes(3, bytes)
    }

    fn add(&mut self, hash: u64) {
        let (first, second) = (hash as i32, (hash >> 32) as i32);
        for round in 1..=self.hashes as i32 {
            let hash = first.wrapping_add(round.wrapping_mul(second));
            let hash = if hash < 0 { !hash } else { hash };
            let bit = hash as usize % (self.words.len() * 64);
            self.words[bit / 64] |= 1 << (bit % 64);
        }
    }
}

/// How many bits a filter needs.
pub(super) fn bits(values: u32, fpp: f64) -> f64 {
    f64::from(values) * fpp.recip().ln() / std::f64::consts::LN_2.powi(2)
}

fn wang(value: i64) -> u64 {
    let mut key = (!value).wrapping_add(value << 21);
    key ^= key >> 24;
    key = key.wrapping_mul(265);
    key ^= key >> 14;
    key = key.wrapping_mul(21);
    key ^= key >> 28;
    key.wrapping_add(key << 31) as u64
}

fn murmur3(bytes: &[u8]) -> u64 {
    const SEED: u64 = 104_729;
    let mix = |block: u64| {
        block.wrapping_mul(0x87c3_7b91_1142_53d5).rotate_left(31).wrapping_mul(0x4cf5_ad43_2745_937f)
    };
    let (blocks, tail) = bytes.as_chunks::<8>();
    let mut hash = blocks.iter().fold(SEED, |hash, block| {
        let hash = (hash ^ mix(u64::from_le_bytes(*block))).rotate_left(27);
        hash.wrapping_mul(5).wrapping_add(0x52dc_e729)
    });
    if !tail.is_empty() {
        hash ^= mix(tail.iter().rev().fold(0, |block, byte| block << 8 | u64::from(*byte)));
    }
    hash ^= bytes.len() as u64;
    hash = (hash ^ hash >> 33).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash = (hash ^ hash >> 33).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ hash >> 33
}
