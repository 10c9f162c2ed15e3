//! Puts: acceptance, limits, and what a repetition is recognised by.

use serde_json::{Value, json};

use crate::harness::{Call, SEGMENT, Server, batch, single};
use standpipe_ingest::RecordId;

#[tokio::test]
async fn a_batch_is_stored_byte_for_byte_and_answered_record_by_record() {
    let server = Server::start().await;
    for http2 in [false, true] {
        let records: Vec<Vec<u8>> = (0..500u32).map(|i| i.to_be_bytes().repeat(i as usize % 7)).collect();
        let call = Call::new("PutRecordBatch", batch("s", &records).to_string());
        let answer = server.send(Call { http2, ..call }).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert!(
            answer
                .text()
                .starts_with(r#"{"Encrypted":false,"FailedPutCount":0,"RequestResponses":[{"RecordId":""#)
        );
        let put = server.memory.puts.lock().unwrap().pop().unwrap();
        assert_eq!(put.block.iter().map(<[u8]>::to_vec).collect::<Vec<_>>(), records);
        let answers = answer.json();
        let answers = answers["RequestResponses"].as_array().unwrap();
        assert_eq!(answers.len(), 500);
        for (ordinal, entry) in (0..).zip(answers) {
            assert_eq!(
                RecordId::parse(entry["RecordId"].as_str().unwrap()),
                Some(RecordId { segment: SEGMENT, ordinal })
            );
        }
    }
}

#[tokio::test]
async fn a_single_record_may_be_empty() {
    let server = Server::start().await;
    let answer = server.call("PutRecord", &single("s", b"")).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["Encrypted"]), (200, &json!(false)));
    assert!(RecordId::parse(answer.json()["RecordId"].as_str().unwrap()).is_some());
    let put = server.memory.puts.lock().unwrap().pop().unwrap();
    assert_eq!(put.block.iter().collect::<Vec<_>>(), [b""]);
}

#[tokio::test]
async fn escaped_base64_is_decoded() {
    let server = Server::start().await;
    let body = r#"{"DeliveryStreamName":"s","Record":{"Data":"\/\/\u002B\u002b"}}"#;
    assert_eq!(server.send(Call::new("PutRecord", body)).await.status, 200);
    let put = server.memory.puts.lock().unwrap().pop().unwrap();
    assert_eq!(put.block.iter().collect::<Vec<_>>(), [b"\xff\xff\xbe"]);
}

#[tokio::test]
async fn nothing_of_a_bad_batch_is_stored() {
    let server = Server::start().await;
    let mut bad: Value = batch("s", &[b"good".to_vec(), b"bad".to_vec()]);
    bad["Records"][1]["Data"] = json!("YQ");
    let answer = server.call("PutRecordBatch", &bad).await;
    answer.is_error(400, "SerializationException", "'YQ' can not be converted to a Blob");
    assert!(answer.text().contains("\"Message\""));

    let many = server.call("PutRecordBatch", &batch("s", &vec![b"x".to_vec(); 501])).await;
    many.is_error(
        400,
        "ValidationException",
        "Value at 'records' failed to satisfy constraint: Member must have length less than or equal to 500",
    );
    let none = server.call("PutRecordBatch", &batch("s", &[])).await;
    none.is_error(400, "ValidationException", "Member must have length greater than or equal to 1");
    let large = server.call("PutRecordBatch", &batch("s", &[vec![0; 1_024_001]])).await;
    large.is_error(400, "ValidationException", "'records.1.member.data'");
    let missing = server.call("PutRecordBatch", &json!({"DeliveryStreamName": "s"})).await;
    missing.is_error(400, "ValidationException", "Value null at 'records'");
    assert!(server.memory.puts.lock().unwrap().is_empty());
}

#[tokio::test]
async fn the_edge_of_4_mib_is_exact() {
    let server = Server::start().await;
    let mut records = vec![vec![1; 1 << 19]; 8];
    let answer = server.call("PutRecordBatch", &batch("s", &records)).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    records.push(vec![1]);
    let answer = server.call("PutRecordBatch", &batch("s", &records)).await;
    answer.is_error(400, "InvalidArgumentException", "Records size exceeds 4 MB limit");
}

#[tokio::test]
async fn the_services_refusals_are_worded_as_aws_does() {
    let server = Server::start().await;
    let put = async |stream: &str| server.call("PutRecord", &single(stream, b"x")).await;
    put("gone").await.is_error(
        400,
        "ResourceNotFoundException",
        "Firehose gone under account 123456789012 not found.",
    );
    put("..").await.is_error(
        400,
        "ResourceNotFoundException",
        "Firehose .. under account 123456789012 not found.",
    );
    put("creating").await.is_error(
        400,
        "ResourceNotFoundException",
        "Firehose creating is not active in 123456789012 account.",
    );
    put("kinesis").await.is_error(
        400,
        "InvalidArgumentException",
        "This operation is not permitted on KinesisStreamAsSource delivery stream type.",
    );
    put("broken").await.is_error(500, "InternalFailure", "");
    let full = put("full").await;
    full.is_error(503, "ServiceUnavailableException", "Slow down.");
    assert_eq!(full.header("x-amz-retry-after"), "250");
}

#[tokio::test]
async fn the_digest_is_that_of_credential_invocation_stream_and_body() {
    let server = Server::start().await;
    let put = async |invocation: Option<&str>, stream: &str, data: &[u8]| {
        let headers = invocation.map(|id| ("amz-sdk-invocation-id", id.to_owned())).into_iter().collect();
        let call = Call { headers, ..Call::new("PutRecord", single(stream, data).to_string()) };
        assert_eq!(server.send(call).await.status, 200);
        server.memory.puts.lock().unwrap().pop().unwrap().digest
    };
    let first = put(Some("one"), "s", b"x").await;
    assert!(first.is_some());
    assert_eq!(put(Some("one"), "s", b"x").await, first);
    assert_ne!(put(Some("two"), "s", b"x").await, first);
    assert_ne!(put(Some("one"), "t", b"x").await, first);
    assert_ne!(put(Some("one"), "s", b"y").await, first);
    assert_eq!(put(None, "s", b"x").await, None);
    assert_eq!(put(Some(""), "s", b"x").await, None);
}

#[tokio::test]
async fn answers_are_observed() {
    let server = Server::start().await;
    server.call("PutRecord", &single("s", b"hello")).await;
    server.call("PutRecord", &single("gone", b"hello")).await;
    let seen = server.memory.seen.lock().unwrap().clone();
    assert_eq!(seen.get(&("PutRecord".to_owned(), 200, None)), Some(&1));
    assert_eq!(seen.get(&("PutRecord".to_owned(), 400, Some("ResourceNotFoundException"))), Some(&1));
    assert_eq!(server.memory.record_bytes.load(std::sync::atomic::Ordering::Relaxed), 5);
}
