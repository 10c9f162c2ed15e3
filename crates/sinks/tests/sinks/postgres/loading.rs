//! Which rows are in the table after one attempt or several, and which were refused.

use std::collections::BTreeSet;

use futures::future::join_all;
use standpipe_model::{BatchId, DestinationId, RequestSink as _, StreamName};
use standpipe_sinks::PostgresSink;
use standpipe_sinks::postgres::Conflict;
use standpipe_testkit::servers::Postgres;

use super::{Place, numbers, refused, request};

const SUM: &str = "SELECT count(*), count(DISTINCT n), sum(n) FROM t";

#[tokio::test(flavor = "multi_thread")]
async fn a_row_whose_error_could_be_anyones_is_found_where_the_table_takes_others() {
    let place = Place::new(
        "any_state",
        "CREATE TABLE t (n int, v tsvector);
         CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN IF NEW.n = 9 THEN RAISE ''never 9'' USING
             ERRCODE = ''MY001''; END IF; RETURN NEW; END';
         CREATE TRIGGER no BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION no()",
    );
    let mut rows = numbers(100, 50);
    rows[7] = r#"{"n":1,"v":"a:b"}"#.to_owned();
    rows[30] = r#"{"n":9}"#.to_owned();
    let answer = place.sink("t").attempt(&request(1, 0, &rows)).await.unwrap();
    let found: Vec<(usize, &str)> = answer.refused.iter().map(|one| (one.row, one.code.as_str())).collect();
    assert_eq!(found, [(7, "Postgres.42601"), (30, "Postgres.MY001")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_rows_are_found_and_the_others_stored() {
    let place = Place::new(
        "bad_rows",
        "CREATE TABLE parent (id int PRIMARY KEY); INSERT INTO parent VALUES (1);
         CREATE TABLE t (n int NOT NULL CHECK (n <> 13), u int UNIQUE, p int REFERENCES parent DEFERRABLE INITIALLY
             DEFERRED, s varchar(3), d jsonb);
         CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN IF NEW.n = 99 THEN RAISE ''never 99''; END IF;
             RETURN NEW; END';
         CREATE TRIGGER no BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION no()",
    );
    // The server reads JSON by recursion, within its stack.
    let deep = format!(r#"{{"n":6,"d":{}1{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
    let mut rows = numbers(1000, 500);
    for (at, bad) in [
        (0, r#"{"n":"x"}"#),
        (7, r#"{"n":13}"#),
        (8, r#"{"n":null}"#),
        (100, r#"{"n":1,"u":5}"#),
        (101, r#"{"n":2,"u":5}"#),
        (250, r#"{"n":3,"p":2}"#),
        (251, r#"{"n":4,"p":1}"#),
        (300, r#"{"n":5,"s":"long"}"#),
        (301, r#"{"n":99}"#),
        (302, "{"),
        (310, deep.as_str()),
        (499, r#"{"n":99999999999}"#),
    ] {
        rows[at] = bad.to_owned();
    }
    let answer = place.sink("t").attempt(&request(1, 0, &rows)).await.unwrap();
    let found: Vec<(usize, &str)> = answer.refused.iter().map(|one| (one.row, one.code.as_str())).collect();
    assert_eq!(
        found,
        [
            (0, "Postgres.22P02"),
            (7, "Postgres.23514"),
            (8, "Postgres.23502"),
            (101, "Postgres.23505"),
            (250, "Postgres.23503"),
            (300, "Postgres.22001"),
            (301, "Postgres.P0001"),
            (302, "Postgres.InvalidRecord"),
            (310, "Postgres.54001"),
            (499, "Postgres.22003"),
        ]
    );
    let words = &answer.refused[0].message;
    assert!(
        words.starts_with("invalid input syntax for type integer: \"x\"") && words.contains("column n"),
        "{words}"
    );
    assert_eq!(place.sql("SELECT count(*) FROM t"), "490");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_bad_rows_are_found_wherever_they_are() {
    let place = Place::new("many_bad", "CREATE TABLE t (n int)");
    let sink = place.sink("t");
    for (batch, bad) in [(1, 0..300_usize), (2, 0..1), (3, 299..300), (4, 20..290), (5, 150..151), (6, 0..0)]
    {
        place.sql("TRUNCATE t");
        let mut rows = numbers(0, 300);
        for row in bad.clone() {
            rows[row] = r#"{"n":"x"}"#.to_owned();
        }
        let expect: Vec<_> = bad.clone().map(|row| (row, "Postgres.22P02".to_owned())).collect();
        assert_eq!(refused(&sink, &request(batch, 0, &rows)).await, expect);
        assert_eq!(place.sql("SELECT count(*) FROM t"), (300 - bad.len()).to_string());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_attempt_changes_nothing_and_answers_alike() {
    let place = Place::new("repeats", "CREATE TABLE t (n int)");
    let sink = place.sink("t");
    let mut rows = numbers(0, 100);
    rows[40] = r#"{"n":"x"}"#.to_owned();
    rows[41] = "no JSON".to_owned();
    let first = sink.attempt(&request(1, 0, &rows)).await.unwrap();
    assert!(!first.existed && first.bytes > 0);
    // Whoever asks: another process, too.
    for sink in [&sink, &place.sink("t")] {
        let again = sink.attempt(&request(1, 0, &rows)).await.unwrap();
        assert!(again.existed);
        assert_eq!(again.refused, first.refused);
    }
    assert_eq!(place.sql(SUM), format!("98|98|{}", (0..100).sum::<u64>() - 81));
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_known_whichever_requests_they_come_in() {
    let place = Place::new("recut", "CREATE TABLE t (n int)");
    let sink = place.sink("t");
    let mut rows = numbers(0, 300);
    rows[50] = r#"{"n":"x"}"#.to_owned();
    let part = |from: usize, to: usize| request(1, from as u64, &rows[from..to]);
    assert_eq!(refused(&sink, &part(0, 100)).await.len(), 1);
    assert_eq!(refused(&sink, &part(200, 250)).await, []);
    // Row 50 was decided meanwhile, and the cuts have moved.
    let mut moved = part(0, 101);
    moved.rows.remove(50);
    let answer = sink.attempt(&moved).await.unwrap();
    assert!(!answer.existed && answer.refused.is_empty());
    assert!(sink.attempt(&moved).await.unwrap().existed);
    assert_eq!(place.sql("SELECT count(*) FROM t"), "150");
    let answer = sink.attempt(&part(0, 300)).await.unwrap();
    assert_eq!(answer.refused.iter().map(|one| one.row).collect::<Vec<_>>(), [50]);
    assert_eq!(place.sql(SUM), format!("299|299|{}", (0..300).sum::<u64>() - 50));
    // The same positions of another batch are other rows.
    assert_eq!(refused(&sink, &request(2, 0, &numbers(1000, 10))).await, []);
    assert_eq!(place.sql("SELECT count(*) FROM t"), "309");
}

#[tokio::test(flavor = "multi_thread")]
async fn records_that_get_rows_by_other_processors_are_loaded_and_no_others() {
    let place = Place::new("rebound", "CREATE TABLE t (n int)");
    let sink = place.sink("t");
    let mut rows = numbers(0, 40);
    rows[7] = r#"{"n":"x"}"#.to_owned();
    let all = request(1, 0, &rows);
    // The processors of then left records out.
    let mut some = all.clone();
    some.rows.retain(|row| [5, 6, 7, 8, 12, 20, 21, 39].contains(&row.origin.position.0));
    assert_eq!(refused(&sink, &some).await, [(2, "Postgres.22P02".to_owned())]);
    assert!(sink.attempt(&some).await.unwrap().existed);
    assert_eq!(refused(&sink, &all).await, [(7, "Postgres.22P02".to_owned())]);
    assert!(sink.attempt(&all).await.unwrap().existed);
    assert_eq!(place.sql(SUM), format!("39|39|{}", (0..40).sum::<u64>() - 7));
    // A note of an earlier version covers all from its first record to its last.
    let mut other = request(2, 0, &numbers(100, 10));
    other.rows.retain(|row| row.origin.position.0 % 3 == 0);
    assert_eq!(refused(&sink, &other).await, []);
    place.sql("UPDATE standpipe_ledger SET refused = '[]' WHERE loaded = 4");
    assert!(sink.attempt(&request(2, 0, &numbers(100, 10))).await.unwrap().existed);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_said_of_a_bad_row_is_noted_in_a_database_that_lacks_its_characters() {
    let server = Postgres::shared().unwrap();
    let latin = "CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'";
    server.sql("postgres", latin).unwrap();
    let place = Place { server, database: "latin".to_owned() };
    place.sql("CREATE TABLE t (n int, v text)");
    let sink = place.sink("t");
    let rows = ["\"☃ é\"", r#"{"n":1,"v":"é"}"#, r#"{"n":2,"v":"☃"}"#, r#"{"n":3,"v":"z"}"#];
    let answer = sink.attempt(&request(1, 0, &rows)).await.unwrap();
    let found: Vec<(usize, &str)> = answer.refused.iter().map(|one| (one.row, one.code.as_str())).collect();
    assert_eq!(found, [(0, "Postgres.InvalidRecord"), (2, "Postgres.22P05")]);
    assert!(answer.refused[0].message.contains("☃ é"), "{answer:?}");
    let again = sink.attempt(&request(1, 0, &rows)).await.unwrap();
    assert!(again.existed && again.refused[0].message.contains("? ?"), "{again:?}");
    assert_eq!(place.sql("SELECT n, v = U&'\\00e9' FROM t ORDER BY n"), "1|t\n3|f");
}

#[tokio::test(flavor = "multi_thread")]
async fn attempts_that_meet_store_each_row_once() {
    let place = Place::new("meeting", "CREATE TABLE t (n int)");
    let (one, other) = (place.sink("t"), place.sink("t"));
    let rows = numbers(0, 2000);
    let asked: Vec<_> =
        (0..4_usize).map(|cut| request(1, 100 * cut as u64, &rows[100 * cut..1500])).collect();
    let attempts = asked.iter().flat_map(|asked| [one.attempt(asked), other.attempt(asked)]);
    let answers = join_all(attempts).await;
    assert_eq!(
        answers.iter().filter(|answer| answer.as_ref().unwrap().existed).count(),
        8 - new_ones(&answers)
    );
    assert_eq!(place.sql("SELECT count(*), count(DISTINCT n) FROM t"), "1500|1500");
}

fn new_ones(answers: &[Result<standpipe_model::Answer, standpipe_model::SinkError>]) -> usize {
    answers.iter().filter(|answer| answer.as_ref().is_ok_and(|answer| answer.bytes > 0)).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_there_is_refused_ignored_or_updated() {
    let place = Place::new(
        "conflicts",
        "CREATE TABLE t (k int, part int, v text, extra int DEFAULT 9, UNIQUE (k, part))",
    );
    place.sql("INSERT INTO t VALUES (1, 1, 'old'), (2, 1, 'old')");
    let rows = [
        r#"{"k":1,"part":1,"v":"a"}"#,
        r#"{"k":3,"part":1,"v":"first"}"#,
        r#"{"k":3,"part":1,"v":"last"}"#,
        r#"{"k":null,"part":1,"v":"n1"}"#,
        r#"{"k":null,"part":1,"v":"n2"}"#,
        r#"{"k":"x","part":1,"v":"bad"}"#,
    ];
    let with = |conflict| {
        let mut options = place.options("t");
        options.columns = ["k", "part", "v"].map(|name| (name.to_owned(), None)).to_vec();
        options.conflict = conflict;
        PostgresSink::new(&options).unwrap()
    };
    let key = || vec!["k".to_owned(), "part".to_owned()];
    let all = "SELECT k, v, extra FROM t ORDER BY k NULLS LAST, v";
    let bad = || (5, "Postgres.22P02".to_owned());

    let ignored = refused(&with(Conflict::Ignore { key: key() }), &request(1, 0, &rows)).await;
    assert_eq!(ignored, [bad()]);
    assert_eq!(place.sql(all), "1|old|9\n2|old|9\n3|first|9\n|n1|9\n|n2|9");
    place.sql("DELETE FROM t WHERE k IS NULL OR k = 3; UPDATE t SET extra = 5");
    let updated =
        refused(&with(Conflict::Update { key: key(), newest_by: None }), &request(2, 0, &rows)).await;
    assert_eq!(updated, [bad()]);
    assert_eq!(place.sql(all), "1|a|5\n2|old|5\n3|last|9\n|n1|9\n|n2|9");
    let again =
        with(Conflict::Update { key: key(), newest_by: None }).attempt(&request(2, 0, &rows)).await.unwrap();
    assert!(again.existed);
    let refusals = refused(&with(Conflict::Error), &request(3, 0, &rows)).await;
    let twice = |row| (row, "Postgres.23505".to_owned());
    assert_eq!(refusals, [twice(0), twice(1), twice(2), bad()]);

    let any = refused(&with(Conflict::Ignore { key: vec![] }), &request(4, 0, &rows[..3])).await;
    assert_eq!(any, []);
    let error = with(Conflict::Update { key: vec!["k".to_owned()], newest_by: None })
        .attempt(&request(5, 0, &rows))
        .await;
    assert_eq!(error.unwrap_err().code.as_deref(), Some("Postgres.42P10"), "there is no such key");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_row_of_a_key_stays_in_whichever_order_they_come() {
    let place = Place::new("newest", "CREATE TABLE t (k int PRIMARY KEY, at int, v text)");
    let mut options = place.options("t");
    options.conflict = Conflict::Update { key: vec!["k".to_owned()], newest_by: Some("at".to_owned()) };
    let sink = PostgresSink::new(&options).unwrap();
    let row = |at: &str, v: &str| format!(r#"{{"k":1,"at":{at},"v":"{v}"}}"#);
    for (batch, rows, expect) in [
        (1, vec![row("5", "a"), row("7", "b"), row("6", "c"), row("null", "d")], "7|b"),
        (2, vec![row("6", "e")], "7|b"),
        (3, vec![row("7", "f")], "7|f"),
        (4, vec![row("null", "g")], "7|f"),
        (5, vec![row("9", "h"), row("8", "i")], "9|h"),
    ] {
        assert_eq!(refused(&sink, &request(batch, 0, &rows)).await, []);
        assert_eq!(place.sql("SELECT at, v FROM t"), expect, "{batch}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ledger_forgets_what_was_settled_an_hour_ago_and_nothing_else() {
    let place = Place::new("tidy", "CREATE TABLE t (n int)");
    let sink = place.sink("t");
    let (stream, destination) = (StreamName::parse("orders").unwrap(), DestinationId::primary());
    sink.tidy(&stream, &destination, &[]).await.expect("there is nothing to tidy yet");
    for batch in 1..=3 {
        refused(&sink, &request(batch, 0, &numbers(u64::from(batch), 1))).await;
    }
    let mut others = request(4, 0, &numbers(4, 1));
    others.stream = StreamName::parse("others").unwrap();
    refused(&sink, &others).await;
    let tidy = async |unsettled: &[u8]| {
        let unsettled: Vec<BatchId> = unsettled.iter().map(|&batch| BatchId([batch; 16])).collect();
        sink.tidy(&stream, &destination, &unsettled).await.unwrap();
        let left =
            place.sql("SELECT left(batch::text, 2), settled_at IS NULL FROM standpipe_ledger ORDER BY 1");
        left.lines().map(str::to_owned).collect::<BTreeSet<_>>()
    };
    let set = |lines: &[&str]| lines.iter().map(|&line| line.to_owned()).collect::<BTreeSet<_>>();
    assert_eq!(tidy(&[2, 3]).await, set(&["01|f", "02|t", "03|t", "04|t"]));
    let hour = "UPDATE standpipe_ledger SET settled_at = settled_at - interval '61 minutes'";
    place.sql(hour);
    assert_eq!(tidy(&[2]).await, set(&["02|t", "03|f", "04|t"]));
    // A list that was made before the batch closed did not have it.
    place.sql(hour);
    assert_eq!(tidy(&[2, 3]).await, set(&["02|t", "03|t", "04|t"]));
    assert!(sink.attempt(&request(3, 0, &numbers(3, 1))).await.unwrap().existed);
}
