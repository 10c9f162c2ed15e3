//! How secrets are written into definitions, the one place where that is wanted: files that only their owner may read.

use serde::Serializer;
use standpipe_model::Secret;

pub(crate) fn expose<S: Serializer>(secret: &Secret, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(secret.expose())
}

/// As [`expose`], where there may be none.
pub(crate) fn expose_some<S: Serializer>(secret: &Option<Secret>, serializer: S) -> Result<S::Ok, S::Error> {
    match secret {
        Some(secret) => serializer.serialize_some(secret.expose()),
        None => serializer.serialize_none(),
    }
}

/// As [`expose`], of secrets by name.
pub(crate) fn expose_pairs<S: Serializer>(
    pairs: &[(String, Secret)],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(pairs.iter().map(|(name, secret)| (name, secret.expose())))
}
