//! What no SDK sends, as it goes over the wire.
