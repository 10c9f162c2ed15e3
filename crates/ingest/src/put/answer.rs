//! The bodies of accepted puts, written by hand: AWS's key order, compact (Fluent Bit looks for the literal
//! `"FailedPutCount":0`).

use crate::{PutReceipt, RecordId};

/// The answer to `PutRecord`.
pub(crate) fn put_record(receipt: &PutReceipt) -> Vec<u8> {
    let mut body = Vec::with_capacity(96);
    body.extend_from_slice(encrypted(receipt).as_bytes());
    body.extend_from_slice(b",\"RecordId\":\"");
    body.extend_from_slice(&record_id(receipt, 0));
    body.extend_from_slice(b"\"}");
    body
}

/// The answer to `PutRecordBatch` of `count` records, all of them accepted.
pub(crate) fn put_record_batch(receipt: &PutReceipt, count: u32) -> Vec<u8> {
    const ENTRY: &[u8] = b"{\"RecordId\":\"";
    const END: &[u8] = b"\"},";
    let entries = count as usize * (ENTRY.len() + RecordId::TEXT_LEN + END.len());
    let mut body = Vec::with_capacity(80 + entries);
    body.extend_from_slice(encrypted(receipt).as_bytes());
    body.extend_from_slice(b",\"FailedPutCount\":0,\"RequestResponses\":[");
    for record in 0..count {
        body.extend_from_slice(ENTRY);
        body.extend_from_slice(&record_id(receipt, record));
        body.extend_from_slice(if record + 1 == count { b"\"}" } else { END });
    }
    body.extend_from_slice(b"]}");
    body
}

fn encrypted(receipt: &PutReceipt) -> &'static str {
    if receipt.encrypted { "{\"Encrypted\":true" } else { "{\"Encrypted\":false" }
}

fn record_id(receipt: &PutReceipt, record: u32) -> [u8; RecordId::TEXT_LEN] {
    RecordId { segment: receipt.segment, ordinal: receipt.first_ordinal + u64::from(record) }.encode()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_compact_and_in_the_key_order_of_aws() {
        let receipt = PutReceipt { segment: [0; 16], first_ordinal: 1, encrypted: false };
        assert_eq!(
            String::from_utf8(put_record_batch(&receipt, 2)).unwrap(),
            r#"{"Encrypted":false,"FailedPutCount":0,"RequestResponses":[{"RecordId":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAB"},{"RecordId":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAC"}]}"#,
        );
        let receipt = PutReceipt { encrypted: true, ..receipt };
        assert_eq!(
            String::from_utf8(put_record(&receipt)).unwrap(),
            r#"{"Encrypted":true,"RecordId":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAB"}"#,
        );
    }
}
