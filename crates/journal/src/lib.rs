//! The segmented write-ahead log: append, read, close, settle, recover, inspect.
