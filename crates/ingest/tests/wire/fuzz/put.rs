//! The decoder of puts against a plain one: `serde_json`, and base64 by the book.

use serde_json::Value;
use standpipe_ingest::{Operation, PutRefusal, decode_put};
use standpipe_model::StreamName;

/// Decodes the same bytes as the body of either operation; what is accepted, and what it holds, is what the plain
/// decoder says.
pub(crate) fn run(body: &[u8]) {
    for (operation, batch) in [(Operation::PutRecord, false), (Operation::PutRecordBatch, true)] {
        let (found, expected) = (decode_put(operation, body), plain(batch, body));
        let records = |block: &standpipe_model::RecordBlock| block.iter().map(<[u8]>::to_vec).collect();
        let accepted = found.as_ref().ok().map(|put| (put.stream.clone(), records(&put.block)));
        assert_eq!(accepted, expected, "{operation:?}");
        let json = matches!(serde_json::from_slice(body), Ok(Value::Object(_)));
        assert_eq!(found == Err(PutRefusal::NotJson), !json, "{operation:?}: {found:?}");
    }
}

/// A put's stream and records; `None` where it must be refused.
fn plain(batch: bool, body: &[u8]) -> Option<(StreamName, Vec<Vec<u8>>)> {
    let Ok(Value::Object(mut input)) = serde_json::from_slice(body) else { return None };
    let stream = StreamName::parse(input.get("DeliveryStreamName")?.as_str()?).ok()?;
    let given = match input.remove(if batch { "Records" } else { "Record" })? {
        Value::Array(records) if batch => records,
        record if !batch => vec![record],
        _ => return None,
    };
    let given = given.iter().filter(|record| !record.is_null() || !batch);
    let records: Vec<Vec<u8>> =
        given.map(|record| base64(record.as_object()?.get("Data")?.as_str()?)).collect::<Option<_>>()?;
    let fits = (1..=500).contains(&records.len())
        && records.iter().all(|record| record.len() <= 1_024_000)
        && records.iter().map(Vec::len).sum::<usize>() <= 4 << 20;
    fits.then_some((stream, records))
}

/// RFC 4648, section 4, strict: padded, and no bit set that is not used.
fn base64(text: &str) -> Option<Vec<u8>> {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digits = text.strip_suffix("==").or_else(|| text.strip_suffix('=')).unwrap_or(text);
    let (mut bytes, mut bits, mut held) = (Vec::new(), 0, 0_u32);
    for digit in digits.bytes() {
        held = held << 6 | u32::try_from(ALPHABET.iter().position(|letter| *letter == digit)?).ok()?;
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push((held >> bits) as u8);
            held &= (1 << bits) - 1;
        }
    }
    (text.len().is_multiple_of(4) && bits < 6 && held == 0).then_some(bytes)
}
