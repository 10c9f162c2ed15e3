//! Rows to object bytes: concatenation, delimiters and compression.
