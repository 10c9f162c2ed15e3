//! What looks random in a key, derived from the batch id so that every attempt derives the same.

use sha2::{Digest, Sha256};
use standpipe_model::BatchId;

/// Which object of which batch a key is for; `purpose` keeps the keys of data and of error output apart.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seed<'a> {
    pub(super) batch: BatchId,
    pub(super) ordinal: u32,
    pub(super) purpose: &'a str,
}

impl Seed<'_> {
    fn digest(&self, label: &str, index: u32) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(self.batch.0);
        hash.update(self.ordinal.to_be_bytes());
        hash.update(index.to_be_bytes());
        for text in [label, self.purpose] {
            hash.update((text.len() as u64).to_be_bytes());
            hash.update(text);
        }
        hash.finalize().into()
    }

    /// The UUID of the suffix, in version 4's form.
    pub(super) fn uuid(&self) -> String {
        let mut id = [0; 16];
        id.copy_from_slice(&self.digest("uuid", 0)[..16]);
        id[6] = id[6] & 0x0f | 0x40;
        id[8] = id[8] & 0x3f | 0x80;
        let hex = hex::encode(id);
        [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
    }

    /// The eleven characters of the `occurrence`-th `!{firehose:random-string}` of a key.
    pub(super) fn random_string(&self, occurrence: u32) -> String {
        const ALPHABET: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
        let digest = self.digest("random-string", occurrence);
        // 16 bits per character: the bias of the remainder is far below one in a thousand.
        let character = |pair: &[u8]| {
            let drawn = usize::from(u16::from_be_bytes([pair[0], pair[1]]));
            char::from(ALPHABET[drawn % ALPHABET.len()])
        };
        digest.chunks_exact(2).take(11).map(character).collect()
    }
}
