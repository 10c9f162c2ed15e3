//! `RecordId`: what a producer gets back for each record.
//!
//! ```text
//! id   := base64(segment:[u8; 16]  ordinal:u64be)     standard alphabet, no padding
//! ```
//!
//! 24 bytes are exactly 32 characters, so every id has the same length. To clients it is opaque; `standpipe` can find
//! the record's place in the journal by it, and the random segment id makes it unique for ever.

use std::fmt;

use base64_simd::{AsOut, STANDARD_NO_PAD};

/// The identity of an accepted record: the journal segment it was written to and its ordinal in there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RecordId {
    /// The segment's random id.
    pub segment: [u8; 16],
    /// The record's number in the segment, from 0.
    pub ordinal: u64,
}

impl RecordId {
    /// The length of an id in characters.
    pub const TEXT_LEN: usize = 32;

    /// The id's text.
    pub fn encode(&self) -> [u8; Self::TEXT_LEN] {
        let mut raw = [0; 24];
        raw[..16].copy_from_slice(&self.segment);
        raw[16..].copy_from_slice(&self.ordinal.to_be_bytes());
        let mut text = [0; Self::TEXT_LEN];
        let written = STANDARD_NO_PAD.encode(&raw, text.as_mut_slice().as_out());
        debug_assert_eq!(written.len(), Self::TEXT_LEN);
        text
    }

    /// Reads an id's text; `None` when it is not one.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() != Self::TEXT_LEN {
            return None;
        }
        let mut raw = [0; 24];
        let raw = STANDARD_NO_PAD.decode(text.as_bytes(), raw.as_mut_slice().as_out()).ok()?;
        let (segment, ordinal) = raw.split_first_chunk::<16>()?;
        Some(Self { segment: *segment, ordinal: u64::from_be_bytes(*ordinal.first_chunk()?) })
    }
}

impl fmt::Display for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.encode().iter().try_for_each(|c| fmt::Write::write_char(f, char::from(*c)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn texts_that_are_no_id_are_refused() {
        let good = RecordId { segment: [7; 16], ordinal: 1 }.to_string();
        assert_eq!(good, "BwcHBwcHBwcHBwcHBwcHBwAAAAAAAAAB");
        for bad in
            ["", "BwcH", &good[1..], &format!("{good}A"), &good.replace('B', "-"), &good.replace('B', "=")]
        {
            assert_eq!(RecordId::parse(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_id_comes_back_as_encoded(segment: [u8; 16], ordinal: u64) {
            let id = RecordId { segment, ordinal };
            prop_assert_eq!(RecordId::parse(&id.to_string()), Some(id));
        }
    }
}
