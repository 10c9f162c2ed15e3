//! The SDKs for JavaScript and Rust put text and binary data; every byte arrives.

use aws_sdk_firehose::Client;
use aws_sdk_firehose::primitives::Blob;
use aws_sdk_firehose::types::Record;
use base64_simd::STANDARD;
use standpipe_model::Entropy;
use standpipe_testkit::clients::{Node, finish};
use standpipe_testkit::{Daemon, SeededEntropy};
use tokio::runtime::Runtime;

use crate::lake::Lake;
use crate::support::{SOON, all_settled, default_credentials, sdk_config, start};

fn daemon_with_raw_stream(lake: &Lake) -> Daemon {
    start(format!(
        "stores:\n  lake: {}\nstreams:\n  - name: raw\n    destination:\n      s3: {{ store: lake, bucket: lake, \
         buffering: {{ size: 16MiB, interval: 2s }} }}\n",
        lake.yaml()
    ))
}

/// Everything in the bucket, in the order of the objects' keys, which begin with the time.
fn delivered(lake: &Lake) -> Vec<u8> {
    lake.keys("lake").iter().flat_map(|key| lake.get("lake", key)).collect()
}

#[test]
fn what_the_sdk_for_javascript_puts_arrives_byte_for_byte() {
    let lake = Lake::with(&["lake"]);
    let daemon = daemon_with_raw_stream(&lake);
    let put = finish(Node::installed().unwrap().put(&daemon.endpoint(), "raw")).unwrap();
    assert_eq!(put["failedPutCount"], 0, "{put}");
    let sent: Vec<_> =
        put["sentBase64"].as_array().unwrap().iter().map(|sent| sent.as_str().unwrap()).collect();
    assert_eq!(put["recordIds"].as_array().unwrap().len(), sent.len());
    let sent: Vec<u8> = sent.iter().flat_map(|sent| STANDARD.decode_to_vec(sent).unwrap()).collect();
    all_settled(&daemon, "raw", SOON);
    assert!(delivered(&lake) == sent, "the object is what was put, in the order of the puts");
}

#[test]
fn what_the_sdk_for_rust_puts_arrives_byte_for_byte() {
    let lake = Lake::with(&["lake"]);
    let daemon = daemon_with_raw_stream(&lake);
    let client = Client::from_conf(sdk_config(daemon.endpoint(), default_credentials()).build());
    let chance = SeededEntropy::new(7);
    let records: Vec<Vec<u8>> = (0..200)
        .map(|size| {
            let mut data = vec![0; 1 + size * 50];
            chance.fill(&mut data);
            data
        })
        .collect();
    let batch = records.iter().map(|data| Record::builder().data(Blob::new(data.clone())).build().unwrap());
    let put = client.put_record_batch().delivery_stream_name("raw").set_records(Some(batch.collect())).send();
    let answer = Runtime::new().unwrap().block_on(put).unwrap();
    assert_eq!((answer.failed_put_count(), answer.request_responses().len()), (0, 200));
    assert!(answer.request_responses().iter().all(|entry| entry.record_id().is_some()));
    all_settled(&daemon, "raw", SOON);
    assert!(delivered(&lake) == records.concat(), "the object is what was put, in the order of the records");
}
