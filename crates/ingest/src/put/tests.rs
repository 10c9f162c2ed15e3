//! Both paths on the same bodies.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::ErrorCode;

fn encode(data: &[u8]) -> String {
    base64_simd::STANDARD.encode_to_string(data)
}

fn batch(records: &[Vec<u8>]) -> Value {
    let records: Vec<Value> = records.iter().map(|data| json!({"Data": encode(data)})).collect();
    json!({"DeliveryStreamName": "s", "Records": records})
}

fn decoded(body: &[u8]) -> Result<Vec<Vec<u8>>, PutRefusal> {
    decode_put(Operation::PutRecordBatch, body).map(|put| put.block.iter().map(<[u8]>::to_vec).collect())
}

#[track_caller]
fn takes_the_fast_path(batch: bool, body: &str) {
    assert!(fast::read(batch, body.as_bytes()).is_ok(), "{body}");
}

#[test]
fn what_clients_send_takes_the_fast_path() {
    takes_the_fast_path(false, r#"{"DeliveryStreamName": "s", "Record": {"Data": "aGVsbG8="}}"#);
    takes_the_fast_path(false, r#"{"Record":{"Data":""},"DeliveryStreamName":"s"}"#);
    takes_the_fast_path(
        true,
        r#"{"DeliveryStreamName":"s","Records":[{"Data":"\/\/8="},{"Data":"\u002b\/8="}]}"#,
    );
    takes_the_fast_path(
        true,
        " {\n\"Records\" : [ {\"Data\": \"YQ==\", \"X\": null} ], \"DeliveryStreamName\":\"s\"} ",
    );
    takes_the_fast_path(
        true,
        r#"{"A":1.5,"B":"x","C":true,"Records":[{"Data":"YQ=="}],"DeliveryStreamName":"s"}"#,
    );
}

#[test]
fn odd_but_valid_bodies_are_accepted_by_the_slow_path() {
    let check = |body: &str, expect: &[&[u8]]| {
        assert!(fast::read(true, body.as_bytes()).is_err(), "{body}");
        assert_eq!(decoded(body.as_bytes()), Ok(expect.iter().map(|data| data.to_vec()).collect()), "{body}");
    };
    check(r#"{"DeliveryStreamName":"s","Records":[{"Data":"YQ=="}],"Extra":{"a":[1]}}"#, &[b"a"]);
    check(r#"{"DeliveryStreamName":"s","Records":[{"Data":"YQ=="},null]}"#, &[b"a"]);
    check(r#"{"DeliveryStreamName":"t","DeliveryStreamName":"s","Records":[{"Data":"YQ=="}]}"#, &[b"a"]);
}

#[test]
fn bodies_that_are_no_json_object_are_named_so() {
    for body in [
        "",
        "x",
        "[]",
        "1",
        "null",
        "{",
        "{}x",
        r#"{"Records":[{"Data":"YQ=="}],"X":{bad},"DeliveryStreamName":"s"}"#,
    ] {
        assert_eq!(decoded(body.as_bytes()), Err(PutRefusal::NotJson), "{body}");
    }
    assert_eq!(decoded(b"{\"DeliveryStreamName\":\"\xff\"}"), Err(PutRefusal::NotJson));
    let deep = format!("{{\"X\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(decoded(deep.as_bytes()), Err(PutRefusal::NotJson));
}

#[track_caller]
fn refused(operation: Operation, body: &Value, code: ErrorCode, expect: &str) {
    match decode_put(operation, body.to_string().as_bytes()) {
        Err(PutRefusal::Invalid(error)) => {
            assert_eq!((error.code, error.message.as_deref()), (code, Some(expect)));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn limits_are_checked_in_the_order_of_aws() {
    let some = |count: usize, len: usize| batch(&vec![vec![b'x'; len]; count]);
    assert_eq!(decoded(some(500, 1).to_string().as_bytes()).map(|records| records.len()), Ok(500));
    refused(
        Operation::PutRecordBatch,
        &some(501, 10_000),
        ErrorCode::Validation,
        "1 validation error detected: Value at 'records' failed to satisfy constraint: Member must have length less \
         than or equal to 500",
    );
    refused(
        Operation::PutRecordBatch,
        &some(0, 0),
        ErrorCode::Validation,
        "1 validation error detected: Value at 'records' failed to satisfy constraint: Member must have length \
         greater than or equal to 1",
    );
    assert_eq!(decoded(some(4, 1_024_000).to_string().as_bytes()).map(|records| records.len()), Ok(4));
    refused(
        Operation::PutRecordBatch,
        &batch(&[vec![0; 1_024_001], vec![0; 1], vec![0; 1_024_001]]),
        ErrorCode::Validation,
        "2 validation errors detected: Value at 'records.1.member.data' failed to satisfy constraint: Member must \
         have length less than or equal to 1024000; Value at 'records.3.member.data' failed to satisfy constraint: \
         Member must have length less than or equal to 1024000",
    );
    refused(
        Operation::PutRecord,
        &json!({"DeliveryStreamName": "s", "Record": {"Data": encode(&vec![0; 1_024_001])}}),
        ErrorCode::Validation,
        "1 validation error detected: Value at 'record.data' failed to satisfy constraint: Member must have length \
         less than or equal to 1024000",
    );
}

#[test]
fn a_batch_may_hold_exactly_4_mib() {
    let mut records = vec![vec![7; 1 << 19]; 8];
    assert_eq!(decoded(batch(&records).to_string().as_bytes()), Ok(records.clone()));
    records.push(vec![7]);
    refused(
        Operation::PutRecordBatch,
        &batch(&records),
        ErrorCode::InvalidArgument,
        "Records size exceeds 4 MB limit",
    );
}

#[test]
fn a_name_that_no_stream_can_have_is_not_found() {
    let body = json!({"DeliveryStreamName": "..", "Record": {"Data": ""}}).to_string();
    assert_eq!(
        decode_put(Operation::PutRecord, body.as_bytes()),
        Err(PutRefusal::NoSuchStream("..".to_owned()))
    );
}

/// JSON text of a put with blanks, escapes, and members in either order.
fn body_text(records: &[Vec<u8>], name_first: bool, escaped: bool, blank: &str) -> String {
    let records: Vec<String> = records
        .iter()
        .map(|data| {
            let data = encode(data);
            let data = if escaped { data.replace('/', "\\/").replace('+', "\\u002B") } else { data };
            format!("{{{blank}\"Data\":{blank}\"{data}\"}}")
        })
        .collect();
    let records = format!("\"Records\":{blank}[{}]", records.join(&format!(",{blank}")));
    let name = "\"DeliveryStreamName\":\"s\"".to_owned();
    let (first, second) = if name_first { (name, records) } else { (records, name) };
    format!("{{{first},{blank}{second}{blank}}}")
}

proptest! {
    #[test]
    fn any_records_survive_the_fast_path_and_both_paths_agree(
        records in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 1..30),
        name_first: bool,
        escaped: bool,
        blank in "[ \n\t]{0,3}",
    ) {
        let body = body_text(&records, name_first, escaped, &blank);
        let (stream, block) = fast::read(true, body.as_bytes()).expect("a body that clients send");
        prop_assert_eq!(stream.as_str(), "s");
        prop_assert_eq!(block.iter().map(<[u8]>::to_vec).collect::<Vec<_>>(), records);
        prop_assert_eq!(slow::read(true, body.as_bytes()), Ok((stream, block)));
    }

    #[test]
    fn what_the_fast_path_takes_of_a_damaged_body_the_slow_path_takes_alike(
        records in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 1..4),
        escaped: bool,
        at: prop::sample::Index,
        byte: u8,
        insert: bool,
    ) {
        let mut body = body_text(&records, true, escaped, " ").into_bytes();
        let at = at.index(body.len());
        if insert { body.insert(at, byte) } else { body[at] = byte }
        if let Ok(fast) = fast::read(true, &body) {
            prop_assert_eq!(slow::read(true, &body), Ok(fast));
        }
    }
}
