//! What is not set up rightly holds the data and says what to correct; once corrected, the next attempt goes well.

use standpipe_model::{ErrorClass, RequestSink as _, Secret, SinkError};
use standpipe_sinks::postgres::{Conflict, PostgresTls, TlsMode};
use standpipe_sinks::{PostgresOptions, PostgresSink};
use standpipe_testkit::Authority;
use standpipe_testkit::servers::Postgres;

use super::{Place, numbers, options, refused, request};

async fn both_fail(sink: &PostgresSink, class: ErrorClass, code: &str) -> SinkError {
    let probed = sink.probe().await.expect_err("the probe says so");
    let error = sink.attempt(&request(1, 0, &numbers(0, 3))).await.expect_err("the attempt says so");
    for error in [&probed, &error] {
        assert_eq!((error.class, error.code.as_deref()), (class, Some(code)), "{error}");
        assert!(!error.to_string().contains(Postgres::PASSWORD));
    }
    error
}

async fn misconfigured(sink: &PostgresSink, code: &str) -> String {
    both_fail(sink, ErrorClass::Misconfigured, code).await.to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_missing_is_named_and_works_once_it_is_there() {
    let place = Place::new("missing", "CREATE TABLE t (n int); CREATE TABLE empty ()");
    let sink = place.sink("app.orders");
    let said = misconfigured(&sink, "Postgres.42P01").await;
    assert_eq!(
        said,
        format!(
            "postgresql://127.0.0.1:{}/missing \"app\".\"orders\": there is no table \"app\".\"orders\" in this database",
            place.server.port()
        )
    );
    place.sql("CREATE SCHEMA app; CREATE TABLE app.orders (n int)");
    sink.probe().await.unwrap();
    assert_eq!(refused(&sink, &request(1, 0, &numbers(0, 3))).await, []);

    let mut options = place.options("t");
    options.columns = vec![("n".to_owned(), None), ("\"Total\"".to_owned(), None)];
    let sink = PostgresSink::new(&options).unwrap();
    let said = misconfigured(&sink, "Postgres.42703").await;
    assert!(said.ends_with(r#"the table public.t has no column "Total"; it has "n""#), "{said}");
    place.sql("ALTER TABLE t ADD \"Total\" int");
    assert_eq!(refused(&sink, &request(2, 0, &numbers(0, 3))).await, []);

    let said = misconfigured(&place.sink("empty"), "Postgres.42P01").await;
    assert!(said.contains("there is no table"), "{said}");
    let nowhere = PostgresOptions { database: "nowhere".to_owned(), ..place.options("t") };
    misconfigured(&PostgresSink::new(&nowhere).unwrap(), "Postgres.3D000").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_is_told_what_is_missing() {
    let place = Place::new("permissions", "CREATE TABLE t (n int)");
    place.sql("CREATE ROLE loader LOGIN PASSWORD 'loader-secret'");
    let mut options = place.options("t");
    options.user = "loader".to_owned();
    options.password = Some(Secret::new("wrong-secret"));
    let said = misconfigured(&PostgresSink::new(&options).unwrap(), "Postgres.28P01").await;
    assert!(said.contains("password authentication failed") && !said.contains("wrong-secret"), "{said}");
    options.password = None;
    misconfigured(&PostgresSink::new(&options).unwrap(), "Postgres.ConnectionRefused").await;

    options.password = Some(Secret::new("loader-secret"));
    let sink = PostgresSink::new(&options).unwrap();
    let error = sink.probe().await.unwrap_err();
    assert_eq!(error.code.as_deref(), Some("Postgres.42501"), "{error}");
    place.sql("GRANT INSERT ON t TO loader");
    let said = misconfigured(&sink, "Postgres.42P01").await;
    let (_, ddl) = said.split_once("make it by: ").expect("it says how");
    place.sql(&format!("{ddl}; GRANT SELECT, INSERT, UPDATE, DELETE ON standpipe_ledger TO loader"));
    sink.probe().await.unwrap();
    assert_eq!(refused(&sink, &request(1, 0, &numbers(0, 3))).await, []);
    assert_eq!(place.sql("SELECT sum(n) FROM t"), "3");
    place.sql("REVOKE INSERT ON t FROM loader");
    misconfigured(&sink, "Postgres.42501").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ledger_is_made_where_it_is_wanted() {
    let place = Place::new("ledgers", "CREATE TABLE t (n int); CREATE SCHEMA \"Books\"");
    let mut options = place.options("t");
    options.ledger = "\"Books\".ledger".to_owned();
    let sink = PostgresSink::new(&options).unwrap();
    sink.probe().await.unwrap();
    assert_eq!(
        place.sql("SELECT count(*) FROM pg_tables WHERE schemaname = 'Books'"),
        "0",
        "a probe writes nothing"
    );
    assert_eq!(refused(&sink, &request(1, 5, &numbers(0, 3))).await, []);
    assert_eq!(
        place.sql(
            "SELECT stream, destination, first_position, last_position, loaded, refused, settled_at IS NULL FROM \
             \"Books\".ledger"
        ),
        "orders|destinationId-000000000001|5|7|3|[]|t"
    );
    options.ledger = "nowhere.ledger".to_owned();
    misconfigured(&PostgresSink::new(&options).unwrap(), "Postgres.42P01").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_is_as_far_as_its_mode_says() {
    let place = Place::new("tls", "CREATE TABLE t (n int)");
    let ours = place.server.authority().certificate().into_bytes();
    let other = Authority::new("others").unwrap().certificate().into_bytes();
    let sink = |host: &str, mode, ca: Option<&Vec<u8>>| {
        let mut options = place.options("t");
        options.host = host.to_owned();
        options.tls = PostgresTls { mode, ca_pem: ca.cloned(), identity_pem: None };
        PostgresSink::new(&options).unwrap()
    };
    // 127.0.0.2 is not in the certificate, and nothing listens there; the name localhost.localdomain may not be known.
    for (mode, ca, encrypted) in [
        (TlsMode::Disable, None, "f"),
        (TlsMode::Prefer, None, "t"),
        (TlsMode::Require, None, "t"),
        (TlsMode::VerifyCa, Some(&ours), "t"),
        (TlsMode::VerifyFull, Some(&ours), "t"),
    ] {
        let sink = sink("localhost", mode, ca);
        sink.probe().await.unwrap();
        let ssl = "SELECT DISTINCT ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE application_name = \
                   'standpipe' AND datname = 'tls'";
        assert_eq!(place.sql(ssl), encrypted, "{mode:?}");
        drop(sink);
        ended(&place).await;
    }
    for mode in [TlsMode::VerifyCa, TlsMode::VerifyFull] {
        misconfigured(&sink("localhost", mode, Some(&other)), "Postgres.SSLHandshakeFailure").await;
    }
    // The system's authorities do not have ours.
    misconfigured(&sink("localhost", TlsMode::VerifyFull, None), "Postgres.SSLHandshakeFailure").await;
}

/// Waits until the server has seen that no connection is left.
async fn ended(place: &Place) {
    let left =
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'standpipe' AND datname = 'tls'";
    while place.sql(left) != "0" {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_may_want_a_certificate_of_the_client() {
    let server = Postgres::start().unwrap();
    server.sql("guarded", "CREATE TABLE t (n int)").unwrap();
    let with = |identity: Option<Secret>, mode| {
        let mut options = options(&server, "guarded", "t");
        options.tls = PostgresTls { mode, ca_pem: None, identity_pem: identity };
        PostgresSink::new(&options).unwrap()
    };
    let issued = |authority: &Authority| {
        let issued = authority.client("loader").unwrap();
        Some(Secret::new(format!("{}{}", issued.certificate(), issued.key())))
    };
    misconfigured(&with(None, TlsMode::Disable), "Postgres.28000").await;
    misconfigured(&with(None, TlsMode::Require), "Postgres.28000").await;
    let stranger = issued(&Authority::new("others").unwrap());
    misconfigured(&with(stranger, TlsMode::Require), "Postgres.SSLHandshakeFailure").await;
    assert_eq!(
        refused(&with(issued(server.authority()), TlsMode::Require), &request(1, 0, &numbers(0, 3))).await,
        []
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_full_is_left_alone_for_a_while() {
    let place = Place::new("crowded", "CREATE TABLE t (n int)");
    place.sql("CREATE ROLE crowd LOGIN SUPERUSER PASSWORD 'crowd-secret' CONNECTION LIMIT 0");
    place.sql("ALTER ROLE crowd NOSUPERUSER; GRANT ALL ON t TO crowd; GRANT ALL ON SCHEMA public TO crowd");
    let mut options = place.options("t");
    (options.user, options.password) = ("crowd".to_owned(), Some(Secret::new("crowd-secret")));
    let sink = PostgresSink::new(&options).unwrap();
    both_fail(&sink, ErrorClass::Throttled, "Postgres.53300").await;
    place.sql("ALTER ROLE crowd CONNECTION LIMIT 10");
    assert_eq!(refused(&sink, &request(1, 0, &numbers(0, 3))).await, []);
}

/// A sink into `t` for a role that may insert into it and do nothing else but keep the ledger.
fn of_loader(place: &Place, role: &str, conflict: Conflict) -> PostgresSink {
    place.sql(&format!(
        "CREATE ROLE {role} LOGIN PASSWORD 'loader-secret'; GRANT INSERT, SELECT ON t TO {role}; GRANT CREATE ON SCHEMA \
         public TO {role}; GRANT TEMPORARY ON DATABASE {} TO {role}",
        place.database
    ));
    let mut options = place.options("t");
    (options.user, options.password) = (role.to_owned(), Some(Secret::new("loader-secret")));
    options.conflict = conflict;
    PostgresSink::new(&options).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_permission_that_only_rows_ask_for_holds_them() {
    let place = Place::new(
        "sequences",
        "CREATE TABLE t (id serial, n int); CREATE TABLE log (n int);
         CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN IF NEW.n > 1 THEN INSERT INTO log VALUES
             (NEW.n); END IF; RETURN NEW; END';
         CREATE TRIGGER note BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION note()",
    );
    let sink = of_loader(&place, "sequenced", Conflict::Error);
    sink.probe().await.expect("nothing of it shows without rows");
    let held = async |what: &str| {
        let error = sink.attempt(&request(1, 0, &numbers(0, 3))).await.expect_err(what);
        let seen = (error.class, error.code.as_deref());
        assert_eq!(seen, (ErrorClass::Misconfigured, Some("Postgres.42501")), "{error}");
        assert!(error.to_string().contains(what), "{error}");
        assert_eq!(place.sql("SELECT count(*) FROM t"), "0");
    };
    held("permission denied for sequence t_id_seq").await;
    place.sql("GRANT USAGE ON SEQUENCE t_id_seq TO sequenced");
    // Rows before it could be loaded.
    held("permission denied for table log").await;
    place.sql("GRANT INSERT ON log TO sequenced");
    assert_eq!(refused(&sink, &request(1, 0, &numbers(0, 3))).await, []);
    assert_eq!(place.sql("SELECT (SELECT sum(n) FROM t), (SELECT sum(n) FROM log)"), "3|2");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_a_policy_or_a_trigger_forbids_is_refused_by_itself() {
    let place = Place::new(
        "forbidden",
        "CREATE TABLE t (n int); ALTER TABLE t ENABLE ROW LEVEL SECURITY;
         CREATE POLICY small ON t USING (true) WITH CHECK (n < 100);
         CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN IF NEW.n = 9 THEN RAISE insufficient_privilege;
             END IF; RETURN NEW; END';
         CREATE TRIGGER no BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION no()",
    );
    let sink = of_loader(&place, "policed", Conflict::Ignore { key: vec![] });
    let mut rows = numbers(0, 20);
    rows[4] = r#"{"n":100}"#.to_owned();
    let forbidden = |row| (row, "Postgres.42501".to_owned());
    assert_eq!(refused(&sink, &request(1, 0, &rows)).await, [forbidden(4), forbidden(9)]);
    assert_eq!(place.sql("SELECT count(*) FROM t"), "18");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_refuses_every_row_alike_holds_many_and_is_tried_again_for_few() {
    let place = Place::new(
        "every_row",
        "CREATE TABLE t (n int, v tsvector);
         CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM gone(NEW.n); RETURN NEW; END';
         CREATE TRIGGER note BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION note()",
    );
    let sink = place.sink("t");
    for (rows, class) in [(17, ErrorClass::Misconfigured), (16, ErrorClass::Transient)] {
        let error = sink.attempt(&request(1, 0, &numbers(0, rows))).await.unwrap_err();
        assert_eq!((error.class, error.code.as_deref()), (class, Some("Postgres.42883")), "{error}");
        assert!(error.to_string().contains("function gone(integer) does not exist"), "{error}");
    }
    place.sql("CREATE FUNCTION gone(int) RETURNS int LANGUAGE sql AS 'SELECT 1'");
    assert_eq!(refused(&sink, &request(1, 0, &numbers(0, 17))).await, []);
    // One bad record by itself does not hold the stream for ever.
    let poison = request(2, 0, &[r#"{"n":1,"v":"a:b"}"#]);
    let error = sink.attempt(&poison).await.unwrap_err();
    let seen = (error.class, error.code.as_deref());
    assert_eq!(seen, (ErrorClass::Transient, Some("Postgres.42601")), "{error}");
    // Beside one that is taken, it is the record.
    let beside = request(3, 0, &[r#"{"n":1,"v":"a:b"}"#, r#"{"n":2}"#]);
    assert_eq!(refused(&sink, &beside).await, [(0, "Postgres.42601".to_owned())]);
}
