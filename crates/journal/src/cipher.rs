//! AES-256-GCM over a frame's body.
//!
//! ```text
//! body of an encrypted frame := nonce [u8; 12]  ciphertext  tag [u8; 16]
//! authenticated with it      := kind:u8  digest given:u8  source_len:u16  count:u32  first:u64  arrived_at:u64
//!                               digest [u8; 16]
//! ```
//!
//! What is authenticated are the fields of the header that stay as they are when recovery or healing copies a frame.
//! The nonce is random and stored: a copied frame keeps its nonce and its bytes, and a segment has a key of its own for
//! at most a million frames, so that two of them never meet under one key. A body that does not come back as it was
//! encrypted is damage, like one with a wrong CRC.

use bytes::Bytes;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use standpipe_model::Entropy;

use crate::format::{ENCRYPTED_EXTRA, FrameHeader};
use crate::keys::DataKey;

/// A segment's data key, ready for use.
#[derive(Debug)]
pub(crate) struct Cipher(LessSafeKey);

impl Cipher {
    pub(crate) fn new(key: &DataKey) -> Self {
        let key = UnboundKey::new(&AES_256_GCM, key.expose());
        Self(LessSafeKey::new(key.expect("a data key has the length that the cipher wants")))
    }

    /// The body of a frame that holds `parts`; `header` needs only what is authenticated.
    pub(crate) fn encrypt(&self, header: &FrameHeader, parts: &[&[u8]], entropy: &dyn Entropy) -> Vec<u8> {
        let plain: usize = parts.iter().map(|part| part.len()).sum();
        let mut nonce = [0; NONCE_LEN];
        entropy.fill(&mut nonce);
        let mut body = Vec::with_capacity(plain + ENCRYPTED_EXTRA);
        body.extend_from_slice(&nonce);
        parts.iter().for_each(|part| body.extend_from_slice(part));
        let (nonce, aad) = (Nonce::assume_unique_for_key(nonce), Aad::from(header.authenticated()));
        let tag = self.0.seal_in_place_separate_tag(nonce, aad, &mut body[NONCE_LEN..]);
        body.extend_from_slice(tag.expect("a body is far below the cipher's limit").as_ref());
        body
    }

    /// What `body` holds; `None` when it is not as it was encrypted.
    pub(crate) fn decrypt(&self, header: &FrameHeader, body: &[u8]) -> Option<Bytes> {
        let (nonce, sealed) = body.split_first_chunk::<NONCE_LEN>()?;
        let mut sealed = sealed.to_vec();
        let (nonce, aad) = (Nonce::assume_unique_for_key(*nonce), Aad::from(header.authenticated()));
        let plain = self.0.open_in_place(nonce, aad, &mut sealed).ok()?.len();
        sealed.truncate(plain);
        Some(sealed.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::FrameKind;
    use standpipe_model::{Position, PutDigest, Timestamp};

    #[derive(Debug)]
    struct Counting(std::sync::atomic::AtomicU8);

    impl Entropy for Counting {
        fn fill(&self, out: &mut [u8]) {
            out.fill(self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
        }
    }

    fn header() -> FrameHeader {
        let plain = crate::format::tests::header();
        FrameHeader { encrypted: true, body_len: 0, body_crc: 0, source_len: 1, ..plain }
    }

    #[test]
    fn a_body_comes_back_only_with_its_own_key_and_its_own_header() {
        let entropy = Counting(Default::default());
        let cipher = Cipher::new(&DataKey::new([1; 32]));
        let body = cipher.encrypt(&header(), &[b"a", b"secret"], &entropy);
        assert_eq!(body.len(), 7 + ENCRYPTED_EXTRA);
        assert!(!body.windows(6).any(|bytes| bytes == b"secret"));
        assert_eq!(cipher.decrypt(&header(), &body).as_deref(), Some(&b"asecret"[..]));
        assert_ne!(cipher.encrypt(&header(), &[b"a", b"secret"], &entropy), body, "a nonce of its own");
        assert_eq!(Cipher::new(&DataKey::new([2; 32])).decrypt(&header(), &body), None);
        for at in 0..body.len() {
            let mut bad = body.clone();
            bad[at] ^= 1;
            assert_eq!(cipher.decrypt(&header(), &bad), None, "byte {at}");
        }
        for len in 0..body.len() {
            assert_eq!(cipher.decrypt(&header(), &body[..len]), None, "cut to {len}");
        }
        let copied = FrameHeader { group_start: 1, steady: 9, body_len: 35, body_crc: 8, ..header() };
        assert!(cipher.decrypt(&copied, &body).is_some(), "these change when a frame is copied");
        let moved = [
            FrameHeader { kind: FrameKind::Close, ..header() },
            FrameHeader { source_len: 2, ..header() },
            FrameHeader { count: 3, ..header() },
            FrameHeader { first: Position(12), ..header() },
            FrameHeader { arrived_at: Timestamp(1), ..header() },
            FrameHeader { digest: None, ..header() },
            FrameHeader { digest: Some(PutDigest([8; 16])), ..header() },
        ];
        for moved in moved {
            assert_eq!(cipher.decrypt(&moved, &body), None, "{moved:?}");
        }
    }
}
