//! Whatever breaks in the middle of an attempt, each row is in the table once after a later one.

use std::time::Duration;

use standpipe_model::{ErrorClass, RequestSink as _};
use standpipe_sinks::PostgresSink;
use standpipe_sinks::postgres::{Conflict, TlsMode};
use standpipe_testkit::servers::{Postgres, Proxy, Toxic, Toxiproxy};

use super::{Place, numbers, options, refused, request};

/// A way to the server that ends after so many bytes.
struct Cuts<'a> {
    place: &'a Place,
    proxy: Proxy,
    upwards: bool,
    /// Attempts so far.
    tries: u64,
    /// Attempts that failed although their rows were stored.
    unheard: u64,
}

impl Cuts<'_> {
    /// Whether an attempt gets through when its connection is cut after so many bytes. If not, it is repeated.
    async fn gets_through(&mut self, bytes: u64) -> bool {
        let mut options = self.place.options("t");
        options.port = self.proxy.endpoint().rsplit(':').next().unwrap().parse().unwrap();
        options.tls.mode = TlsMode::Disable;
        // A sink that has a connection would not have to go through what comes before.
        let sink = PostgresSink::new(&options).unwrap();
        let first = 1000 + self.tries * 10;
        self.tries += 1;
        let mut rows = numbers(first, 10);
        rows[3] = r#"{"n":"x"}"#.to_owned();
        // What the ledger answers must not grow from try to try.
        let asked = request(u8::try_from(self.tries).unwrap() + 128 * u8::from(self.upwards), first, &rows);
        let limit = Toxic::Limit(bytes);
        if self.upwards { self.proxy.poison_requests(limit) } else { self.proxy.poison(limit) }.unwrap();
        let through = sink.attempt(&asked).await;
        self.proxy.heal().unwrap();
        if let Err(error) = &through {
            assert_eq!(error.class, ErrorClass::Transient, "{error}");
        }
        let answer = match sink.attempt(&asked).await {
            // The connection was cut just behind the answer, and nobody knew.
            Err(error) if through.is_ok() && error.class == ErrorClass::Transient => {
                sink.attempt(&asked).await.unwrap()
            }
            answer => answer.unwrap(),
        };
        assert_eq!(answer.refused.iter().map(|one| one.row).collect::<Vec<_>>(), [3]);
        self.unheard += u64::from(through.is_err() && answer.existed);
        through.is_ok()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_cut_anywhere_leaves_each_row_once() {
    let place = Place::new("cuts", "CREATE TABLE t (n int, v text)");
    let toxiproxy = Toxiproxy::start().unwrap();
    for upwards in [true, false] {
        place.sql("TRUNCATE t");
        let proxy =
            toxiproxy.proxy(&format!("{upwards}"), &format!("127.0.0.1:{}", place.server.port())).unwrap();
        let mut cuts = Cuts { place: &place, proxy, upwards, tries: 0, unheard: 0 };
        // Where an attempt just gets through: the halving cuts it in many places, more and more of them at its end.
        let (mut cut, mut through) = (0, 1 << 14);
        assert!(cuts.gets_through(through).await);
        while through - cut > 1 {
            let middle = (cut + through) / 2;
            if cuts.gets_through(middle).await { through = middle } else { cut = middle }
        }
        for part in 1..8 {
            assert!(!cuts.gets_through(cut * part / 8).await);
        }
        assert!(cuts.unheard > 0, "the answer to COMMIT was never cut off");
        let rows = cuts.tries * 9;
        assert_eq!(place.sql("SELECT count(*), count(DISTINCT n) FROM t"), format!("{rows}|{rows}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_that_is_ended_anywhere_leaves_each_row_once() {
    let place = Place::new("ends", "CREATE TABLE t (n int, v text)");
    let mut options = place.options("t");
    options.conflict = Conflict::Ignore { key: vec![] };
    let sink = PostgresSink::new(&options).unwrap();
    let rows = numbers(0, 20_000);
    let (mut failed, mut tries) = (0, 0);
    for first in (0..20_000_usize).step_by(2_000) {
        let asked = request(1, first as u64, &rows[first..first + 2_000]);
        loop {
            tries += 1;
            let end = async {
                tokio::time::sleep(Duration::from_millis(tries * 3 % 50)).await;
                let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'standpipe' \
                           AND datname = 'ends'";
                tokio::task::block_in_place(|| place.sql(end));
            };
            match tokio::join!(sink.attempt(&asked), end).0 {
                Ok(_) => break,
                Err(error) => {
                    assert_eq!(error.class, ErrorClass::Transient, "{error}");
                    failed += 1;
                }
            }
        }
    }
    assert!(failed > 0, "none of {tries} attempts was hit");
    assert_eq!(place.sql("SELECT count(*), count(DISTINCT n) FROM t"), "20000|20000");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stops_is_waited_for() {
    let mut server = Postgres::start().unwrap();
    server.sql("postgres", "CREATE TABLE t (n int)").unwrap();
    let sink = PostgresSink::new(&options(&server, "postgres", "t")).unwrap();
    assert_eq!(refused(&sink, &request(1, 0, &numbers(0, 10))).await, []);
    server.stop().unwrap();
    let error = sink.attempt(&request(1, 10, &numbers(10, 10))).await.unwrap_err();
    assert_eq!(
        (error.class, error.code.as_deref()),
        (ErrorClass::Transient, Some("Postgres.ConnectionFailed"))
    );
    assert!(error.to_string().contains("refused"), "{error}");
    server.resume().unwrap();
    for first in [0, 10] {
        assert_eq!(refused(&sink, &request(1, first, &numbers(first, 10))).await, []);
    }
    assert_eq!(server.sql("postgres", "SELECT count(*), sum(n) FROM t").unwrap(), "20|190");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_does_not_answer_costs_the_time_that_is_allowed() {
    let place = Place::new("slow", "CREATE TABLE t (n int)");
    let mut options = place.options("t");
    options.request_timeout = Duration::from_millis(300);
    let sink = PostgresSink::new(&options).unwrap();
    let held = std::thread::spawn({
        let server = place.server.clone();
        move || server.sql("slow", "BEGIN; LOCK TABLE t; SELECT pg_sleep(2); COMMIT")
    });
    let locked = "SELECT count(*) FROM pg_locks WHERE relation = 't'::regclass AND mode = 'AccessExclusiveLock' AND granted";
    while place.sql(locked) == "0" {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let error = sink.attempt(&request(1, 0, &numbers(0, 3))).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Transient, "{error}");
    held.join().unwrap().unwrap();

    let toxiproxy = Toxiproxy::start().unwrap();
    let proxy = toxiproxy.proxy("silent", &format!("127.0.0.1:{}", place.server.port())).unwrap();
    options.port = proxy.endpoint().rsplit(':').next().unwrap().parse().unwrap();
    options.connect_timeout = Duration::from_millis(300);
    let sink = PostgresSink::new(&options).unwrap();
    proxy.poison(Toxic::Silence(Duration::ZERO)).unwrap();
    let error = sink.attempt(&request(1, 0, &numbers(0, 3))).await.unwrap_err();
    assert_eq!(
        (error.class, error.code.as_deref()),
        (ErrorClass::Transient, Some("Postgres.RequestTimeout"))
    );
    proxy.heal().unwrap();
    assert_eq!(refused(&sink, &request(1, 0, &numbers(0, 3))).await, []);
    assert_eq!(place.sql("SELECT count(*) FROM t"), "3");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_attempt_leaves_nothing_or_all_and_the_next_one_knows() {
    let place = Place::new("dropped", "CREATE TABLE t (n int)");
    let sink = place.sink("t");
    let rows = numbers(0, 5_000);
    for millis in 0..20 {
        let asked = request(1, 0, &rows);
        tokio::time::timeout(Duration::from_millis(millis * 2), sink.attempt(&asked)).await.ok();
    }
    sink.attempt(&request(1, 0, &rows)).await.unwrap();
    assert_eq!(place.sql("SELECT count(*), count(DISTINCT n) FROM t"), "5000|5000");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_serves_many_attempts_and_goes_when_it_is_not_used() {
    let place = Place::new("idle", "CREATE TABLE t (n int)");
    let mut options = place.options("t");
    options.idle_timeout = Duration::from_secs(3);
    let sink = PostgresSink::new(&options).unwrap();
    let open = || {
        place.sql("SELECT string_agg(pid::text, ' ') FROM pg_stat_activity WHERE application_name = 'standpipe' AND datname = 'idle'")
    };
    assert_eq!(refused(&sink, &request(1, 0, &numbers(0, 3))).await, []);
    let first = open();
    assert_eq!(refused(&sink, &request(2, 0, &numbers(3, 3))).await, []);
    assert_eq!(open(), first, "the same one");
    while !open().is_empty() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(refused(&sink, &request(3, 0, &numbers(6, 3))).await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_changes_between_attempts_is_taken_as_it_is() {
    let place = Place::new("changes", "CREATE TABLE t (n int, v text)");
    let sink = place.sink("t");
    let row = [r#"{"n":1,"v":["a"],"w":"new"}"#];
    assert_eq!(refused(&sink, &request(1, 0, &row)).await, []);
    place.sql("ALTER TABLE t ALTER v TYPE jsonb USING v::jsonb, ADD w text, DROP n");
    assert_eq!(refused(&sink, &request(2, 0, &row)).await, []);
    place.sql("DROP TABLE t");
    let error = sink.attempt(&request(3, 0, &row)).await.unwrap_err();
    assert_eq!((error.class, error.code.as_deref()), (ErrorClass::Misconfigured, Some("Postgres.42P01")));
    place.sql("CREATE TABLE t (v text[], w text)");
    assert_eq!(refused(&sink, &request(3, 0, &row)).await, []);
    assert_eq!(place.sql("SELECT v, w FROM t"), "{a}|new");
}
