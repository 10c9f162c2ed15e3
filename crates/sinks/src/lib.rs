//! Destinations: S3-compatible stores and object_store back ends, keys and prefixes.
