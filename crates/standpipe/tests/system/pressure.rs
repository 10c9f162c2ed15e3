//! A journal that is full refuses puts as a whole, says so, and takes them again once its store is back.

use std::collections::HashSet;
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use serde_json::json;

use crate::client::{Client, batch_of};
use crate::lake::Lake;
use crate::support::{SOON, all_settled, balance, eventually, metric, start};

/// Rows in a call, of about a kilobyte each.
const CALL: u64 = 200;

fn rows_of(call: u64) -> Bytes {
    rows_for("small", call)
}

fn rows_for(stream: &str, call: u64) -> Bytes {
    let row = |id| json!({"id": id, "padding": "x".repeat(1000)}).to_string() + "\n";
    batch_of(stream, (call * CALL..(call + 1) * CALL).map(|id| row(id).into_bytes()))
}

#[test]
fn a_full_journal_refuses_whole_puts_until_its_store_is_back() {
    let mut lake = Lake::with(&["lake"]);
    let daemon = start(format!(
        "stores:\n  lake: {}\nstreams:\n  - name: small\n    journal_limit: 4MiB\n    destination:\n      s3: {{ store: \
         lake, bucket: lake, buffering: {{ size: 512KiB, interval: 1s }} }}\n",
        lake.yaml()
    ));
    lake.server.kill().unwrap();
    let client = Client::of(&daemon);
    let mut acknowledged = HashSet::new();
    let (mut calls, mut refusals) = (0, 0);
    while refusals < 5 {
        let answer = client.call("PutRecordBatch", rows_of(calls));
        match answer.status {
            200 => {
                assert_eq!(answer.body["FailedPutCount"], 0, "{}", answer.body);
                acknowledged.extend(calls * CALL..(calls + 1) * CALL);
            }
            status => {
                assert_eq!((status, answer.error()), (503, "ServiceUnavailableException"), "{}", answer.body);
                refusals += 1;
            }
        }
        calls += 1;
        assert!(calls < 100, "4 MiB are full after 20 calls of 200 KB");
    }
    let accepted = acknowledged.len() as u64;
    println!("{accepted} rows of 1 KB fit into a journal of 4 MiB");
    assert!(accepted >= 5 * CALL);
    assert_eq!(balance(&daemon, "small").accepted, accepted, "nothing of a refused put is kept");
    let ready = daemon.get("/readyz").unwrap();
    assert!(ready.status == 503 && ready.body.contains("refusing puts: small"), "{ready:?}");
    let full = || metric(&daemon, "standpipe_alarm", &["kind=\"journal_full\""]);
    assert_eq!(full(), 1);
    // Control frames may go past the limit: they are what makes room again.
    assert!(metric(&daemon, "standpipe_journal_used_bytes", &[]) <= 5 << 20);

    // Whoever goes on trying gets through once there is room again.
    lake.server.restart().unwrap();
    for call in calls..calls + 10 {
        eventually("a put is taken again", SOON, || {
            (client.call("PutRecordBatch", rows_of(call)).status == 200).then_some(())
        });
        acknowledged.extend(call * CALL..(call + 1) * CALL);
        thread::yield_now();
    }
    let balance = all_settled(&daemon, "small", SOON);
    assert_eq!((balance.accepted, balance.lost), (acknowledged.len() as u64, 0));
    eventually("the alarm is cleared", Duration::from_secs(10), || {
        daemon.get("/readyz").unwrap().is_ok().then(full).filter(|raised| *raised == 0)
    });
    lake.assert_rows("lake", (calls + 10) * CALL, |id| {
        let times = u32::from(acknowledged.contains(&id));
        times..=times
    });
}

#[test]
fn a_stream_closes_early_what_makes_room_and_nothing_more_while_another_fills_the_disk() {
    let lake = Lake::with(&["lake"]);
    let daemon = start(format!(
        r#"journal: {{ limit: 4MiB }}
default_store: lake
stores:
  lake: {store}
  away: {{ type: s3, endpoint: "http://127.0.0.1:9", access_key_id: a, secret_access_key: b }}
streams:
  - name: held
    journal_limit: 4MiB
    destination: {{ s3: {{ store: away, bucket: none, buffering: {{ size: 64KiB, interval: 1s }} }} }}
  - name: quick
    journal_limit: 4MiB
    destination: {{ s3: {{ bucket: lake, buffering: {{ size: 2MiB, interval: 1h }} }} }}
"#,
        store = lake.yaml()
    ));
    let client = Client::of(&daemon);
    let of_quick = |name, more: &[&str]| metric(&daemon, name, &[&["stream=\"quick\""], more].concat());
    let early = || of_quick("standpipe_delivery_batches_total", &["kind=\"pressure\""]);
    let mut calls = 0..;
    while metric(&daemon, "standpipe_journal_used_bytes", &[]) < 5 << 19 {
        let answer = client.call("PutRecordBatch", rows_for("held", calls.next().unwrap()));
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    eventually("what holds segments is closed an hour before its time", SOON, || {
        if early() > 0 {
            return Some(());
        }
        client.call("PutRecordBatch", rows_for("quick", calls.next().unwrap()));
        None
    });
    eventually("it is delivered", SOON, || {
        (of_quick("standpipe_delivery_open_batches", &[]) == 0).then_some(())
    });
    let is_scarce = || metric(&daemon, "standpipe_journal_used_bytes", &[]) * 100 >= (4 << 20) * 85;
    let before = early();
    for id in 0..20 {
        while !is_scarce() {
            let answer = client.call("PutRecordBatch", rows_for("held", calls.next().unwrap()));
            assert_eq!(answer.status, 200, "{answer:?}");
        }
        let body = batch_of("quick", [json!({ "id": id }).to_string().into_bytes()]);
        assert_eq!(client.call("PutRecordBatch", body).status, 200);
    }
    assert!(early() <= before + 1, "{} batches for 20 records", early() - before);
}
