//! The digest that a repeated put is recognised by.

use sha2::{Digest, Sha256};
use standpipe_model::{PutDigest, StreamName};

/// The digest of a put: the first 16 bytes of SHA-256 over the credential's id, the SDK's invocation id, the stream
/// and the body's SHA-256, each preceded by its length as a little-endian `u64`.
///
/// The lengths keep the fields apart; the credential keeps one producer's ids from meeting another's.
pub(crate) fn put_digest(
    credential_id: &str,
    invocation_id: &[u8],
    stream: &StreamName,
    body_sha256: &[u8; 32],
) -> PutDigest {
    let mut hash = Sha256::new();
    for field in [credential_id.as_bytes(), invocation_id, stream.as_str().as_bytes(), body_sha256] {
        hash.update((field.len() as u64).to_le_bytes());
        hash.update(field);
    }
    let hash: [u8; 32] = hash.finalize().into();
    let mut digest = [0; 16];
    digest.copy_from_slice(&hash[..16]);
    PutDigest(digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_field_counts_and_fields_do_not_run_together() {
        let stream = |name| StreamName::parse(name).unwrap();
        let all = [
            put_digest("ab", b"c", &stream("s"), &[0; 32]),
            put_digest("a", b"bc", &stream("s"), &[0; 32]),
            put_digest("ab", b"d", &stream("s"), &[0; 32]),
            put_digest("ab", b"c", &stream("t"), &[0; 32]),
            put_digest("ab", b"c", &stream("s"), &[1; 32]),
        ];
        for (i, one) in all.iter().enumerate() {
            assert_eq!(all.iter().filter(|other| *other == one).count(), 1, "{i}");
        }
        assert_eq!(all[0], put_digest("ab", b"c", &stream("s"), &[0; 32]));
    }
}
