//! Derived signing keys, so that four HMACs per request become one.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use hmac::{Hmac, Mac};
use sha2::Sha256;
use standpipe_model::Secret;

use super::parse::Claim;

/// The most keys remembered. A producer has one per day and region; when more come, all are forgotten.
pub(super) const KEYS_MAX: usize = 1024;

/// The derived keys of recent requests, by access key, day and region.
#[derive(Default)]
pub(crate) struct SigningKeys {
    keys: Mutex<HashMap<String, Remembered>>,
}

struct Remembered {
    /// The secret that the key was derived from: once that has been rotated, the key is void.
    secret: Secret,
    key: [u8; 32],
}

/// A signing key, and whether it is already remembered.
pub(super) struct SigningKey {
    pub(super) bytes: [u8; 32],
    remembered: bool,
}

impl fmt::Debug for SigningKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKeys(***)")
    }
}

impl SigningKeys {
    /// The signing key for a claim.
    pub(super) fn get(&self, claim: &Claim, secret: &Secret) -> SigningKey {
        let keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        match keys.get(&name(claim)) {
            Some(known) if known.secret == *secret => SigningKey { bytes: known.key, remembered: true },
            _ => SigningKey { bytes: derive(claim, secret), remembered: false },
        }
    }

    /// Keeps a key that has just verified a request. Others are not kept, or strangers who know an access key id could
    /// fill the table.
    pub(super) fn remember(&self, claim: &Claim, secret: &Secret, key: SigningKey) {
        if key.remembered {
            return;
        }
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        if keys.len() >= KEYS_MAX {
            keys.clear();
        }
        keys.insert(name(claim), Remembered { secret: secret.clone(), key: key.bytes });
    }
}

/// Of the service `firehose`, which is checked before. No part holds a slash, since the scope is cut at slashes.
fn name(claim: &Claim) -> String {
    [claim.access_key_id.as_str(), &claim.scope_date, &claim.region].join("/")
}

pub(super) fn derive(claim: &Claim, secret: &Secret) -> [u8; 32] {
    let mut first = b"AWS4".to_vec();
    first.extend_from_slice(secret.expose().as_bytes());
    let date = hmac(&first, claim.scope_date.as_bytes());
    let region = hmac(&date, claim.region.as_bytes());
    hmac(&hmac(&region, claim.service.as_bytes()), b"aws4_request")
}

/// HMAC-SHA256.
pub(super) fn hmac(key: &[u8], message: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of every length");
    mac.update(message);
    mac.finalize().into_bytes().into()
}
