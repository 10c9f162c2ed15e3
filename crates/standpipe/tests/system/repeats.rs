//! A put that comes again because its answer was lost: the same answer, and the records once.

use bytes::Bytes;

use crate::client::{Client, batch_of};
use crate::lake::Lake;
use crate::support::{SOON, all_settled, start};

fn batch(first: u64) -> Bytes {
    batch_of("puts", (first..first + 10).map(|id| format!("{{\"id\":{id}}}\n").into_bytes()))
}

#[test]
fn a_put_that_is_repeated_gets_its_record_ids_again_even_from_a_daemon_that_was_killed_in_between() {
    let lake = Lake::with(&["lake"]);
    let mut daemon = start(format!(
        "stores:\n  lake: {}\nstreams:\n  - name: puts\n    destination:\n      s3: {{ store: lake, bucket: lake, \
         buffering: {{ size: 1MiB, interval: 2s }} }}\n",
        lake.yaml()
    ));
    let client = Client::of(&daemon);
    let first = client.sign("PutRecordBatch", &batch(0), Some("11111111-2222-4333-8444-555555555555"));
    let ids = client.send(&first).record_ids();
    assert_eq!(client.send(&first).record_ids(), ids, "at once");

    let second = client.sign("PutRecordBatch", &batch(10), Some("11111111-2222-4333-8444-666666666666"));
    let others = client.send(&second).record_ids();
    daemon.kill9().unwrap();
    daemon.restart().unwrap();
    assert_eq!(client.send(&second).record_ids(), others, "after a kill");
    assert_eq!(client.send(&first).record_ids(), ids, "the older one too");

    all_settled(&daemon, "puts", SOON);
    assert_eq!(client.send(&first).record_ids(), ids, "after its delivery");
    // At the stop the segments that held them are settled; at the next start they are forgotten.
    for _ in 0..3 {
        daemon.terminate().unwrap();
        daemon.restart().unwrap();
        client.send(&client.sign("PutRecordBatch", &batch(0), None)).record_ids();
        all_settled(&daemon, "puts", SOON);
    }
    assert_eq!(client.send(&first).record_ids(), ids, "after its segment is gone");
    let balance = all_settled(&daemon, "puts", SOON);
    assert_eq!((balance.accepted, balance.delivered), (50, 50));
    lake.assert_rows("lake", 20, |id| if id < 10 { 4..=4 } else { 1..=1 });
}

#[test]
fn a_put_with_another_body_or_without_an_invocation_id_is_a_new_put() {
    let lake = Lake::with(&["lake"]);
    let daemon = start(format!(
        "stores:\n  lake: {}\nstreams:\n  - name: puts\n    destination:\n      s3: {{ store: lake, bucket: lake, \
         buffering: {{ size: 1MiB, interval: 0s }} }}\n",
        lake.yaml()
    ));
    let client = Client::of(&daemon);
    let id = Some("11111111-2222-4333-8444-555555555555");
    client.send(&client.sign("PutRecordBatch", &batch(0), id)).record_ids();
    client.send(&client.sign("PutRecordBatch", &batch(10), id)).record_ids();
    let plain = client.sign("PutRecordBatch", &batch(20), None);
    assert_ne!(client.send(&plain).record_ids(), client.send(&plain).record_ids());
    assert_eq!(all_settled(&daemon, "puts", SOON).delivered, 40);
    lake.assert_rows("lake", 30, |id| if id < 20 { 1..=1 } else { 2..=2 });
}
