//! What fails, and what is left of it.

use std::time::Duration;

use standpipe_model::{ErrorClass, RequestSink, Secret};
use standpipe_sinks::RedshiftOptions;
use standpipe_sinks::redshift::CopyCredentials;
use standpipe_testkit::servers::Postgres;
use tokio_postgres::{Client, NoTls};

use super::{BUCKET, Place};
use crate::postgres::{numbers, request};

#[tokio::test(flavor = "multi_thread")]
async fn records_that_do_not_fit_are_loaded_by_nobody_until_they_are_given_up() {
    let place = Place::new("CREATE TABLE t (n int)").await;
    let sink = place.sink(&place.options("t"));
    let mut bad = request(1, 0, &[r#"{"n":1}"#, r#"{"n":"x"}"#]);
    for _ in 0..2 {
        let error = sink.attempt(&bad).await.unwrap_err();
        assert_eq!(
            (error.class, error.code.as_deref()),
            (ErrorClass::Transient, Some("Redshift.DataLoadFailed"))
        );
        assert!(error.message.contains("stl_load_errors"), "{error}");
        bad.repeated = true;
    }
    assert_eq!(place.sql("SELECT count(*) FROM t"), "0");
    assert_eq!(place.sql("SELECT count(*) FROM standpipe_ledger"), "0");
    for _ in 0..2 {
        sink.give_up(&bad).await.unwrap();
        let keys = place.keys().await;
        let [manifest, staged] = keys.as_slice() else { panic!("{keys:?}") };
        assert!(manifest.starts_with("errors/manifests/1970/01/01/00/orders-1-"), "{manifest}");
        let named = String::from_utf8(place.s3.get(BUCKET, manifest).await.unwrap()).unwrap();
        assert!(named.contains(&format!("s3://{BUCKET}/{staged}")), "{named}");
    }
    // Somebody mends the table and loads it by hand, as Redshift's users do.
    place.sql("ALTER TABLE t ALTER n TYPE varchar(10)");
    let (by, manifest) = (place.store.access(), &place.keys().await[0]);
    let copy = format!(
        "COPY t FROM 's3://{BUCKET}/{manifest}' CREDENTIALS 'aws_access_key_id={};aws_secret_access_key={}' MANIFEST \
         JSON 'auto' GZIP",
        by.access_key_id, by.secret_access_key
    );
    by_hand(&place).await.batch_execute(&copy).await.unwrap();
    assert_eq!(place.sql("SELECT n FROM t ORDER BY n"), "1\nx");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_given_up_is_staged_where_it_never_came_to_that() {
    let place = Place::new("CREATE TABLE t (n int)").await;
    let sink = place.sink(&place.options("t"));
    sink.give_up(&request(1, 0, &numbers(0, 3))).await.unwrap();
    let keys = place.keys().await;
    assert!(
        matches!(keys.as_slice(), [manifest, staged]
        if manifest.starts_with("errors/manifests/") && staged.starts_with("staged/")),
        "{keys:?}"
    );
}

/// Somebody at the server.
async fn by_hand(place: &Place) -> Client {
    let mut config = tokio_postgres::Config::new();
    config.host("127.0.0.1").port(place.server.port()).dbname("postgres");
    config.user(Postgres::USER).password(Postgres::PASSWORD);
    let (client, connection) = config.connect(NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_that_waits_for_the_lock_of_another_is_nobodys_failure() {
    let place = Place::new("CREATE TABLE t (n int)").await;
    let mut options = place.options("t");
    options.table.request_timeout = Duration::from_secs(2);
    let kept = place.sink(&options);
    let mut asked = request(1, 0, &numbers(0, 10));
    kept.attempt(&asked).await.unwrap();
    let other = by_hand(&place).await;
    other.batch_execute("BEGIN; LOCK standpipe_ledger").await.unwrap();
    asked = request(2, 0, &numbers(10, 10));
    for (sink, repeated) in [(&kept, false), (&kept, true), (&place.sink(&options), false)] {
        asked.repeated = repeated;
        let error = sink.attempt(&asked).await.unwrap_err();
        assert_eq!((error.class, error.code.as_deref()), (ErrorClass::Transient, Some("Redshift.55P03")));
        assert!(error.is_ours && error.message.contains("holds the ledger's lock"), "{error}");
    }
    other.batch_execute("ROLLBACK").await.unwrap();
    asked.repeated = true;
    assert!(!kept.attempt(&asked).await.unwrap().existed);
    assert_eq!(place.sql("SELECT count(*), count(DISTINCT n) FROM t"), "20|20");
}

/// What somebody is told to mend.
async fn fails(place: &Place, options: &RedshiftOptions, code: &str) -> String {
    let error = place.sink(options).attempt(&request(1, 0, &numbers(0, 10))).await.unwrap_err();
    assert_eq!((error.class, error.code.as_deref()), (ErrorClass::Misconfigured, Some(code)), "{error}");
    error.message
}

#[tokio::test(flavor = "multi_thread")]
async fn names_and_permissions_wait_for_somebody_to_mend_them() {
    let place = Place::new("CREATE TABLE t (n int); CREATE ROLE loader LOGIN PASSWORD 'loader-secret'").await;
    let mut options = place.options("t");
    options.table.table = "nothing".to_owned();
    fails(&place, &options, "Redshift.TableNotFound").await;
    options = place.options("t");
    options.table.columns = vec![("m".to_owned(), None)];
    fails(&place, &options, "Redshift.ColumnNotFound").await;
    options = place.options("t");
    options.copy_options = "JSON nonsense".to_owned();
    fails(&place, &options, "Redshift.SyntaxError").await;
    options = place.options("t");
    options.table.database = "nowhere".to_owned();
    fails(&place, &options, "Redshift.DatabaseNotFound").await;
    options = place.options("t");
    options.table.ledger = "\"Notes\"".to_owned();
    (options.table.user, options.table.password) = ("loader".to_owned(), Some(Secret::new("loader-secret")));
    let message = fails(&place, &options, "Redshift.TableNotFound").await;
    assert!(message.contains("make it by: CREATE TABLE IF NOT EXISTS \"Notes\" ("), "{message}");
    assert_eq!(place.sql("SELECT count(*) FROM t"), "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_may_not_read_the_bucket_are_told_of_without_them() {
    let place = Place::new("CREATE TABLE t (n int)").await;
    let mut options = place.options("t");
    options.credentials = CopyCredentials::Keys {
        access_key_id: "standpipe".to_owned(),
        secret_access_key: Secret::new("not-the-one"),
        session_token: Some(Secret::new("no-token")),
    };
    let sink = place.sink(&options);
    let error = sink.attempt(&request(1, 0, &numbers(0, 10))).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Transient, "{error}");
    let told = format!("{error} {error:?} {:?} {sink:?}", error.source);
    assert!(!told.contains("not-the-one") && !told.contains("no-token"), "{told}");
}
