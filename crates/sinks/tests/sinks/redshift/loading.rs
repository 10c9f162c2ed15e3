//! What is staged and what is loaded.

use std::collections::BTreeSet;
use std::io::Read as _;

use flate2::read::MultiGzDecoder;
use standpipe_model::{DestinationId, RequestSink, StreamName};
use standpipe_sinks::redshift::CopyCredentials;
use standpipe_sinks::{RedshiftOptions, RedshiftSink};
use standpipe_testkit::servers::Redshift;

use super::{BUCKET, Place};
use crate::postgres::{numbers, request};

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_staged_named_by_a_manifest_and_loaded_with_a_note() {
    let place = Place::new("CREATE TABLE orders (n int, name varchar(100), doc varchar(1000))").await;
    let sink = place.sink(&place.options("orders"));
    sink.probe().await.unwrap();
    let rows = [r#"{"n":1,"name":"é \\ \"q\"","doc":{"a":[1]}}"#, "{\"n\":2}\n", r#"{"other":true}"#];
    let answer = sink.attempt(&request(1, 10, &rows)).await.unwrap();
    assert!(!answer.existed && answer.bytes > 0 && answer.refused.is_empty());
    assert_eq!(place.sql("SELECT n, name, doc FROM orders ORDER BY n"), "1|é \\ \"q\"|{\"a\":[1]}\n2||\n||");
    let keys = place.keys().await;
    let [manifest, staged] = keys.as_slice() else { panic!("{keys:?}") };
    let name = manifest.strip_prefix("manifests/1970/01/01/00/orders-1-1970-01-01-00-00-00-").unwrap();
    assert_eq!(*staged, format!("staged/1970/01/01/00/orders-1-1970-01-01-00-00-00-{name}.gz"));
    let named = String::from_utf8(place.s3.get(BUCKET, manifest).await.unwrap()).unwrap();
    assert!(named.contains(&format!("\"url\":\"s3://{BUCKET}/{staged}\"")), "{named}");
    let (packed, mut text) = (place.s3.get(BUCKET, staged).await.unwrap(), String::new());
    MultiGzDecoder::new(packed.as_slice()).read_to_string(&mut text).unwrap();
    assert_eq!(text, format!("{}\n{}{}\n", rows[0], rows[1], rows[2]));
    assert_eq!(
        place.sql("SELECT stream, destination, first_position, last_position, loaded FROM standpipe_ledger"),
        "orders|destinationId-000000000001|10|12|3"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repetition_in_other_requests_loads_only_what_is_new() {
    let place = Place::new("CREATE TABLE t (n int)").await;
    let sink = place.sink(&place.options("t"));
    sink.attempt(&request(1, 0, &numbers(0, 100))).await.unwrap();
    let mut more = request(1, 50, &numbers(50, 100));
    // It was closed again by another version, and nobody says that it is a repetition.
    let unsure = sink.attempt(&more).await.unwrap_err();
    assert!(unsure.message.contains("loaded meanwhile"), "{unsure}");
    more.repeated = true;
    for existed in [false, true] {
        assert_eq!(sink.attempt(&more).await.unwrap().existed, existed);
    }
    assert_eq!(place.sql("SELECT count(*), count(DISTINCT n), max(n) FROM t"), "150|150|149");
    assert_eq!(place.sql("SELECT loaded FROM standpipe_ledger ORDER BY first_position"), "100\n50");
    // The same positions of another batch are other rows.
    assert!(!sink.attempt(&request(2, 0, &numbers(0, 10))).await.unwrap().existed);
}

#[tokio::test(flavor = "multi_thread")]
async fn records_that_get_rows_by_other_processors_are_loaded_and_no_others() {
    let place = Place::new("CREATE TABLE t (n int)").await;
    let sink = place.sink(&place.options("t"));
    let mut all = request(1, 0, &numbers(0, 40));
    let mut some = all.clone();
    some.rows.retain(|row| [5, 6, 7, 12, 20, 21, 39].contains(&row.origin.position.0));
    sink.attempt(&some).await.unwrap();
    let noted = "SELECT first_position, last_position, loaded FROM standpipe_ledger ORDER BY 1";
    assert_eq!(place.sql(noted), "5|7|3\n12|12|1\n20|21|2\n39|39|1");
    all.repeated = true;
    for existed in [false, true] {
        assert_eq!(sink.attempt(&all).await.unwrap().existed, existed);
    }
    assert_eq!(place.sql("SELECT count(*), count(DISTINCT n), max(n) FROM t"), "40|40|39");
}

#[tokio::test(flavor = "multi_thread")]
async fn copy_options_say_how_records_are_read() {
    let place = Place::new("CREATE TABLE t (a varchar(50), b int, c varchar(50))").await;
    let load = async |batch, options: &str, columns: &[&str], gzip, rows: &[&str]| {
        let mut of = place.options("t");
        of.copy_options = options.to_owned();
        of.table.columns = columns.iter().map(|name| ((*name).to_owned(), None)).collect();
        let sink = RedshiftSink::new(&of, place.staging(gzip)).unwrap();
        sink.attempt(&request(batch, 0, rows)).await.unwrap();
        let loaded = place.sql("SELECT a, b, c FROM t ORDER BY a");
        place.sql("TRUNCATE t");
        loaded
    };
    let csv = ["\"x, y\",1,z", "u,,"];
    assert_eq!(load(1, "CSV", &[], true, &csv).await, "u||\nx, y|1|z");
    assert_eq!(load(2, "csv delimiter ';'", &["B", "a"], false, &["7;q"]).await, "q|7|");
    assert_eq!(load(3, "delimiter '\\t'", &[], true, &["p\\n\t3\tq", "r\t4\ts\n"]).await, "p\\n|3|q\nr|4|s");
    // Redshift's own default, as Firehose has it where no options are given.
    assert_eq!(load(4, "", &["a", "b"], false, &["p|3"]).await, "p|3|");
    assert_eq!(
        load(5, "json 'auto' region 'us-east-1'", &["c"], true, &[r#"{"a":"no","c":"yes"}"#]).await,
        "||yes"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bucket_is_read_by_the_role_or_the_keys_that_are_given() {
    let place = Place::new("CREATE TABLE t (n int)").await;
    let by = |role: &str| RedshiftOptions {
        credentials: CopyCredentials::Role(role.to_owned()),
        ..place.options("t")
    };
    let good = place.sink(&by(Redshift::ROLE));
    good.attempt(&request(1, 0, &numbers(0, 10))).await.unwrap();
    let error = place.sink(&by("arn:aws:iam::0:role/other")).attempt(&request(2, 0, &numbers(0, 10))).await;
    assert_eq!(error.unwrap_err().code.as_deref(), Some("Redshift.DataLoadFailed"));
    assert_eq!(place.sql("SELECT count(*) FROM t"), "10");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_staged_goes_once_it_is_loaded_where_that_is_asked_for() {
    let place = Place::new("CREATE TABLE t (n int)").await;
    let keeping = place.options("t");
    let cleaning = RedshiftOptions { keeps_staged: false, ..keeping.clone() };
    place.sink(&cleaning).attempt(&request(1, 0, &numbers(0, 10))).await.unwrap();
    assert_eq!(place.keys().await, [""; 0]);
    // One that died before it could.
    let mut second = request(2, 0, &numbers(10, 10));
    place.sink(&keeping).attempt(&second).await.unwrap();
    assert_eq!(place.keys().await.len(), 2);
    second.repeated = true;
    assert!(place.sink(&cleaning).attempt(&second).await.unwrap().existed);
    assert_eq!(place.keys().await, [""; 0]);
    assert_eq!(place.sql("SELECT count(*), count(DISTINCT n) FROM t"), "20|20");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ledger_forgets_what_was_settled_long_ago() {
    let place = Place::new("CREATE TABLE t (n int)").await;
    let sink = place.sink(&place.options("t"));
    for batch in 1..=4 {
        sink.attempt(&request(batch, 0, &numbers(0, 10))).await.unwrap();
    }
    let id = |batch| request(batch, 0, &numbers(0, 1)).batch;
    place.sql(&format!(
        "UPDATE standpipe_ledger SET loaded_at = loaded_at - INTERVAL '61 minutes' WHERE batch <> '{}'",
        id(3)
    ));
    let (stream, primary) = (StreamName::parse("orders").unwrap(), DestinationId::primary());
    sink.tidy(&StreamName::parse("others").unwrap(), &primary, &[]).await.unwrap();
    place.sink(&place.options("t")).tidy(&stream, &primary, &[id(2)]).await.unwrap();
    let kept = place.sql("SELECT batch FROM standpipe_ledger");
    let kept: BTreeSet<&str> = kept.lines().collect();
    assert_eq!(kept, BTreeSet::from([id(2).to_string(), id(3).to_string()].each_ref().map(String::as_str)));
}
