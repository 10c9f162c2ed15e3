//! The real AWS clients that tests put with.
