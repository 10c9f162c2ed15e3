//! What attempts share: the turn at a batch, the connections, the threads, the ledger.

use std::pin::pin;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use futures::future::{Either, join_all, select, select_all};
use standpipe_model::{ErrorClass, RequestSink as _, Secret};
use standpipe_sinks::PostgresSink;

use super::{Place, numbers, refused, request};

/// Who has an advisory lock of the database.
const HOLDERS: &str = "FROM pg_locks JOIN pg_database d ON d.oid = database WHERE locktype = 'advisory' AND granted AND \
                       datname = current_database()";

/// Somebody else's transaction, with an advisory lock, until it is [ended](Held::end).
struct Held<'a>(&'a Place, JoinHandle<()>);

impl<'a> Held<'a> {
    async fn begin(place: &'a Place, first: &str, key: i64) -> Self {
        let (server, database) = (place.server.clone(), place.database.clone());
        let holds = format!("BEGIN; {first}; SELECT pg_advisory_xact_lock({key}); SELECT pg_sleep(300)");
        let thread = thread::spawn(move || drop(server.sql(&database, &holds)));
        while place.sql(&format!("SELECT count(*) {HOLDERS}")) == "0" {
            tokio::task::yield_now().await;
        }
        Self(place, thread)
    }

    fn end(self) {
        self.0.sql(&format!("SELECT pg_terminate_backend(pid) {HOLDERS}"));
        self.1.join().unwrap();
    }
}

/// The lock of a batch.
fn key(batch: u8) -> i64 {
    i64::from_be_bytes([batch; 8])
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_of_one_batch_leave_the_connections_to_others() {
    let place = Place::new("turns", "CREATE TABLE t (n int)");
    let mut options = place.options("t");
    options.connections_max = 2;
    let sink = PostgresSink::new(&options).unwrap();
    let held = Held::begin(&place, "SELECT 1", key(1)).await;
    let asked: Vec<_> = (0..4).map(|first| request(1, first * 10, &numbers(first * 10, 10))).collect();
    let waiting = select_all(asked.iter().map(|asked| sink.attempt(asked)));
    let other = request(2, 0, &numbers(100, 10));
    match select(waiting, sink.attempt(&other)).await {
        Either::Left(((one, ..), _)) => panic!("an attempt at the batch that is locked ended first: {one:?}"),
        Either::Right((answer, _)) => assert_eq!(answer.unwrap().refused, []),
    }
    held.end();
    for asked in &asked {
        assert_eq!(refused(&sink, asked).await, []);
    }
    assert_eq!(place.sql("SELECT count(*), count(DISTINCT n) FROM t"), "50|50");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_of_another_process_at_the_batch_is_no_failure_of_the_servers() {
    let place = Place::new("others", "CREATE TABLE t (n int UNIQUE)");
    let mut options = place.options("t");
    options.request_timeout = Duration::from_secs(1);
    let (sink, asked) = (PostgresSink::new(&options).unwrap(), request(1, 0, &numbers(0, 3)));
    let held = Held::begin(&place, "SELECT 1", key(1)).await;
    let error = sink.attempt(&asked).await.unwrap_err();
    assert_eq!((error.class, error.code.as_deref()), (ErrorClass::Transient, Some("Postgres.55P03")));
    assert!(error.is_ours, "{error}");
    held.end();
    assert_eq!(refused(&sink, &asked).await, []);
    // Waiting for anything else is.
    let held = Held::begin(&place, "INSERT INTO t VALUES (7)", 7).await;
    let error = sink.attempt(&request(2, 0, &numbers(7, 1))).await.unwrap_err();
    assert!(error.class == ErrorClass::Transient && !error.is_ours, "{error}");
    held.end();
}

#[test]
fn the_text_of_rows_is_made_where_it_holds_up_no_connection() {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().max_blocking_threads(1).build().unwrap().block_on(async {
        let place = Place::new("aside", "CREATE TABLE t (n int)");
        let sink = place.sink("t");
        assert_eq!(refused(&sink, &request(1, 0, &numbers(0, 1))).await, []);
        // While the only thread for what takes long is taken there is no text.
        let (done, waits) = mpsc::channel::<()>();
        let taken = tokio::task::spawn_blocking(move || waits.recv());
        let asked = request(2, 0, &numbers(1, 3));
        let looks = async {
            for _ in 0..50 {
                place.sql("SELECT 1");
                tokio::task::yield_now().await;
            }
        };
        let attempt = match select(pin!(looks), sink.attempt(&asked)).await {
            Either::Left(((), attempt)) => attempt,
            Either::Right((answer, _)) => panic!("it was made elsewhere: {answer:?}"),
        };
        drop(done);
        assert_eq!(attempt.await.unwrap().refused, []);
        taken.await.unwrap().unwrap_err();
        assert_eq!(place.sql("SELECT count(*) FROM t"), "4");
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn every_ledger_of_ours_has_one_index_by_streams() {
    let place = Place::new("indexed", "CREATE TABLE t (n int)");
    let sink = place.sink("t");
    let asked: Vec<_> = (1..5).map(|batch| request(batch, 0, &numbers(u64::from(batch), 1))).collect();
    for answer in join_all(asked.iter().map(|asked| sink.attempt(asked))).await {
        assert_eq!(answer.unwrap().refused, []);
    }
    let indices = || place.sql("SELECT count(*) FROM pg_indexes WHERE tablename = 'standpipe_ledger'");
    assert_eq!(indices(), "2");
    // One that an earlier version made.
    let index = "standpipe_ledger_stream_destination_settled_at_idx";
    place.sql(&format!("DROP INDEX {index}"));
    assert_eq!(refused(&place.sink("t"), &request(5, 0, &numbers(5, 1))).await, []);
    assert_eq!(indices(), "2");
    // One that may be used only.
    place.sql(&format!(
        "DROP INDEX {index}; CREATE ROLE clerk LOGIN PASSWORD 'reads'; GRANT INSERT ON t TO clerk; \
         GRANT SELECT, INSERT, UPDATE, DELETE ON standpipe_ledger TO clerk"
    ));
    let mut options = place.options("t");
    (options.user, options.password) = ("clerk".to_owned(), Some(Secret::new("reads")));
    let sink = PostgresSink::new(&options).unwrap();
    assert_eq!(refused(&sink, &request(6, 0, &numbers(6, 1))).await, []);
    assert_eq!(indices(), "1");
}
