//! The canonical request: the text that both sides hash.

use std::borrow::Cow;

use super::parse::Claim;
use super::{AUTHORITY, Signed, in_query};

/// The canonical request of `request`; `None` when a signed header is missing.
pub(super) fn request(request: &Signed<'_>, claim: &Claim, payload_hash: &str) -> Option<Vec<u8>> {
    let mut text = Vec::with_capacity(1024);
    text.extend_from_slice(request.method.as_bytes());
    text.push(b'\n');
    text.extend_from_slice(path(request.path).as_bytes());
    text.push(b'\n');
    text.extend_from_slice(query(request.query, in_query(claim)).as_bytes());
    text.push(b'\n');
    for name in claim.signed_headers.split(';') {
        header(request, name, &mut text)?;
    }
    text.push(b'\n');
    text.extend_from_slice(claim.signed_headers.as_bytes());
    text.push(b'\n');
    text.extend_from_slice(payload_hash.as_bytes());
    Some(text)
}

/// `name:value\n`, several values joined by commas, runs of blanks as one.
fn header(request: &Signed<'_>, name: &str, text: &mut Vec<u8>) -> Option<()> {
    text.extend_from_slice(name.as_bytes());
    text.push(b':');
    let mut values = request.headers.get_all(name).iter().peekable();
    if values.peek().is_none() {
        // HTTP/2 names the host outside of the headers; clients sign it by either name.
        let is_host = name == "host" || name == AUTHORITY;
        text.extend_from_slice(request.authority.filter(|_| is_host)?.as_bytes());
    }
    for (number, value) in values.enumerate() {
        if number > 0 {
            text.push(b',');
        }
        let words = value.as_bytes().split(|c| matches!(c, b' ' | b'\t')).filter(|word| !word.is_empty());
        for (number, word) in words.enumerate() {
            if number > 0 {
                text.push(b' ');
            }
            text.extend_from_slice(word);
        }
    }
    text.push(b'\n');
    Some(())
}

/// The path, normalised and percent-encoded once more than it was received, as every service but S3 has it.
fn path(path: &str) -> String {
    let mut segments: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => drop(segments.pop()),
            segment => segments.push(segment),
        }
    }
    let mut canonical = String::with_capacity(path.len() + 1);
    for segment in &segments {
        canonical.push('/');
        encode_percent(segment.as_bytes(), &mut canonical);
    }
    // What the last segment stood for was a folder.
    if segments.is_empty() || matches!(path.rsplit('/').next(), Some("" | "." | "..")) {
        canonical.push('/');
    }
    canonical
}

/// The parameters, encoded and then sorted; a presigned request's own signature is not among them.
fn query(query: &str, presigned: bool) -> String {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    let mut pairs: Vec<(String, String)> = pairs
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .filter(|(key, _)| !(presigned && *key == "X-Amz-Signature"))
        .map(|(key, value)| (recode(key), recode(value)))
        .collect();
    pairs.sort_unstable();
    pairs.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join("&")
}

fn recode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    encode_percent(&decode_percent(text), &mut encoded);
    encoded
}

fn encode_percent(bytes: &[u8], out: &mut String) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    for byte in bytes {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(char::from(*byte));
            }
            _ => {
                out.push('%');
                out.push(char::from(DIGITS[usize::from(byte >> 4)]));
                out.push(char::from(DIGITS[usize::from(byte & 15)]));
            }
        }
    }
}

/// Percent-decodes; an escape that is none stays as it is.
pub(super) fn decode_percent(text: &str) -> Cow<'_, [u8]> {
    let digit = |c: &u8| char::from(*c).to_digit(16).map(|digit| digit as u8);
    let mut rest = text.as_bytes();
    if !rest.contains(&b'%') {
        return Cow::Borrowed(rest);
    }
    let mut decoded = Vec::with_capacity(rest.len());
    while let Some((first, tail)) = rest.split_first() {
        let escape = match (first, tail) {
            (b'%', [high, low, after @ ..]) => digit(high).zip(digit(low)).map(|pair| (pair, after)),
            _ => None,
        };
        (decoded, rest) = match escape {
            Some(((high, low), after)) => {
                decoded.push(high * 16 + low);
                (decoded, after)
            }
            None => {
                decoded.push(*first);
                (decoded, tail)
            }
        };
    }
    Cow::Owned(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_normalised_and_encoded() {
        for (given, expect) in [
            ("", "/"),
            ("/", "/"),
            ("//example//", "/example/"),
            ("/./example", "/example"),
            ("/a/b/../c", "/a/c"),
            ("/a/b/..", "/a/"),
            ("/a/.", "/a/"),
            ("/a%20b", "/a%2520b"),
        ] {
            assert_eq!(path(given), expect, "{given}");
        }
    }

    #[test]
    fn queries_are_encoded_and_sorted() {
        for (given, expect) in [
            ("", ""),
            ("b=2&a=1", "a=1&b=2"),
            ("a=2&a=1", "a=1&a=2"),
            ("flag", "flag="),
            ("k=a%2fb%zz", "k=a%2Fb%25zz"),
            ("k=~-._", "k=~-._"),
        ] {
            assert_eq!(query(given, false), expect, "{given}");
        }
        assert_eq!(query("X-Amz-Signature=1&X-Amz-Date=2", true), "X-Amz-Date=2");
    }
}
