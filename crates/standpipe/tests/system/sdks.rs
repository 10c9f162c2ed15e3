//! The SDKs for JavaScript and Rust put text and binary data; every byte arrives.

use base64_simd::STANDARD;
use standpipe_model::Entropy;
use standpipe_testkit::clients::{Node, finish};
use standpipe_testkit::{Daemon, SeededEntropy};

use crate::lake::Lake;
use crate::support::{SOON, all_settled, sdk_put, start};

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
    let chance = SeededEntropy::new(7);
    let records: Vec<Vec<u8>> = (0..200)
        .map(|size| {
            let mut data = vec![0; 1 + size * 50];
            chance.fill(&mut data);
            data
        })
        .collect();
    let answer = sdk_put(&daemon, "raw", records.clone());
    assert_eq!(answer.request_responses().len(), 200);
    assert!(answer.request_responses().iter().all(|entry| entry.record_id().is_some()));
    all_settled(&daemon, "raw", SOON);
    assert!(delivered(&lake) == records.concat(), "the object is what was put, in the order of the records");
}
