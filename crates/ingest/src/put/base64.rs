//! Base64 as the API takes it: standard alphabet, padded, nothing else; and AWS's words for what is not.

use base64_simd::{AsOut, STANDARD};

/// No more of a bad value than this is sent back, in characters.
const QUOTED_MAX: usize = 256;

/// Decodes `text` into `out`, which must have room for [`decoded_len`] bytes; returns how many they were.
pub(crate) fn decode(text: &[u8], out: &mut [u8]) -> Result<usize, base64_simd::Error> {
    STANDARD.decode(text, out.as_out()).map(|decoded| decoded.len())
}

/// The number of bytes that a valid `text` decodes to.
pub(crate) fn decoded_len(text: &str) -> usize {
    let padding = text.bytes().rev().take(2).take_while(|c| *c == b'=').count();
    (text.len() / 4 * 3).saturating_sub(padding)
}

/// Checks `text`.
///
/// # Errors
/// The text of the `SerializationException`.
pub(crate) fn check(text: &str) -> Result<(), String> {
    if STANDARD.check(text.as_bytes()).is_ok() {
        return Ok(());
    }
    let quoted: String = text.chars().take(QUOTED_MAX).collect();
    Err(format!("'{quoted}' can not be converted to a Blob: {}", explain(text)))
}

fn explain(text: &str) -> String {
    if !text.len().is_multiple_of(4) {
        return format!("Base64 encoded length is expected a multiple of 4 bytes but found: {}", text.len());
    }
    let digits = text.strip_suffix("==").or_else(|| text.strip_suffix('=')).unwrap_or(text);
    match digits.chars().find(|c| !(c.is_ascii_alphanumeric() || matches!(c, '+' | '/'))) {
        Some(found) => format!("Invalid Base64 character: '{found}'"),
        // "dectected" is AWS's spelling.
        None => "Invalid last non-pad Base64 character dectected".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn valid_texts_decode_to_their_length() {
        for (text, bytes) in
            [("", &b""[..]), ("YQ==", b"a"), ("YWI=", b"ab"), ("YWJj", b"abc"), ("+/+/", b"\xfb\xff\xbf")]
        {
            assert_eq!(check(text), Ok(()), "{text}");
            assert_eq!(decoded_len(text), bytes.len(), "{text}");
            let mut out = vec![0; bytes.len()];
            assert_eq!(decode(text.as_bytes(), &mut out).ok(), Some(bytes.len()), "{text}");
            assert_eq!(out, bytes, "{text}");
        }
    }

    #[test]
    fn bad_texts_are_explained_in_the_words_of_aws() {
        let check = |text: &str, expect: &str| {
            assert_eq!(check(text), Err(format!("'{text}' can not be converted to a Blob: {expect}")));
            assert!(decode(text.as_bytes(), &mut [0; 16]).is_err(), "{text}");
        };
        check("YQ", "Base64 encoded length is expected a multiple of 4 bytes but found: 2");
        check("YQ=", "Base64 encoded length is expected a multiple of 4 bytes but found: 3");
        check("YQ=Q", "Invalid Base64 character: '='");
        check("Y===", "Invalid Base64 character: '='");
        check("YW-_", "Invalid Base64 character: '-'");
        check("YWJ\n", "Invalid Base64 character: '\n'");
        check("YR==", "Invalid last non-pad Base64 character dectected");
        check("YWJ=", "Invalid last non-pad Base64 character dectected");
    }
}
