//! Records into a table of the real PostgreSQL: each one once in the table or in the error output, whatever fails.

use rustix::process::Signal;
use serde_json::{Value, json};
use standpipe_testkit::Daemon;
use standpipe_testkit::clients::{Python, finish};
use standpipe_testkit::servers::Postgres;

use crate::client::Client;
use crate::lake::Lake;
use crate::outages::attempts;
use crate::support::{SOON, all_settled, balance, eventually, metric, start};
use crate::transform::{failures, put, raw};

/// Rows of the table of weather.
const WEATHER: u64 = 26_115;

/// A stream into the table of its name, with `table` beside what all of them have.
fn yaml(lake: &Lake, server: &Postgres, stream: &str, table: &str) -> String {
    let before = format!("stores: {{ lake: {} }}\nstreams:\n  - name: {stream}\n", lake.yaml());
    before
        + &format!(
            r#"    destination:
      postgres:
        host: localhost
        port: {port}
        database: postgres
        user: loader
        password: loader-secret
        tls: {{ mode: verify-full, ca_file: {ca} }}
        table: {stream}
        error_output: {{ bucket: lake, error_output_prefix: "errors/!{{firehose:error-output-type}}/" }}
        {table}
"#,
            port = server.port(),
            ca = server.ca_file().display(),
        )
}

/// A server with a role that may load into the table that `ddl` makes, and do nothing else.
fn server(table: &str, ddl: &str) -> Postgres {
    let server = Postgres::start().unwrap();
    sql(
        &server,
        "CREATE ROLE loader LOGIN PASSWORD 'loader-secret'; GRANT CREATE ON SCHEMA public TO loader",
    );
    sql(&server, &format!("{ddl}; GRANT INSERT ON {table} TO loader"));
    server
}

fn sql(server: &Postgres, statement: &str) -> String {
    server.sql("postgres", statement).unwrap()
}

fn alarms(daemon: &Daemon) -> u64 {
    metric(daemon, "standpipe_alarm", &["kind=\"misconfigured\""])
}

/// Says how long the function `slow` takes.
fn sleep(server: &Postgres, seconds: f64) {
    let body = format!("BEGIN PERFORM pg_sleep({seconds}); RETURN NULL; END");
    let function = "CREATE OR REPLACE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql";
    sql(server, &format!("{function} AS '{body}'"));
}

#[test]
fn what_boto3_puts_is_in_the_table_once_through_ten_kills_of_the_daemon_and_a_stop_of_the_server() {
    let lake = Lake::with(&["lake"]);
    let mut server = server(
        "weather",
        "CREATE TABLE weather (id bigint, origin text, temp float8, at timestamptz, doc jsonb)",
    );
    let columns = "columns: { id: .id, origin: .origin, temp: .temp, at: .time_hour, doc: . }";
    let more =
        format!("{columns}\n        records_max: 200\n        buffering: {{ size: 512KiB, interval: 1s }}");
    let mut daemon = start(yaml(&lake, &server, "weather", &more));
    // Slow enough to be hit before it commits.
    sleep(&server, 0.2);
    sql(&server, "CREATE TRIGGER slow AFTER INSERT ON weather FOR EACH STATEMENT EXECUTE FUNCTION slow()");
    let python = Python::installed().unwrap();
    let putting = python.put(&daemon.endpoint(), "weather", &["weather", "--processes", "2"]);
    let told = finish(putting).unwrap();
    assert_eq!((told["acknowledged"].as_u64(), told["raised"].as_u64()), (Some(WEATHER), Some(0)), "{told}");
    let count = |server: &Postgres, select: &str| sql(server, select).parse::<u64>().unwrap();
    let loaded = |server: &Postgres| count(server, "SELECT count(*) FROM weather");
    // A session whose daemon was killed notices that only when its sleep is over.
    let mut restarted_at = "-infinity".to_owned();
    for round in 0..10 {
        let before = loaded(&server);
        let under_way = format!(
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND backend_start > '{restarted_at}'"
        );
        eventually("rows are being loaded, or some were committed", SOON, || match round % 2 {
            0 => (count(&server, &under_way) > 0).then_some(()),
            _ => (loaded(&server) > before).then_some(()),
        });
        daemon.kill9().unwrap();
        restarted_at = sql(&server, "SELECT now()");
        if round == 4 {
            server.stop().unwrap();
        }
        daemon.restart().unwrap();
        if round == 4 {
            let failed = || (attempts(&daemon, "transient") > 0).then_some(());
            eventually("an attempt finds no server", SOON, failed);
            server.resume().unwrap();
        }
    }
    assert!(loaded(&server) < WEATHER, "the kills came while there was something to load");
    sleep(&server, 0.0);
    let balance = all_settled(&daemon, "weather", SOON + SOON);
    assert_eq!((balance.accepted, balance.delivered), (WEATHER, WEATHER));
    assert_eq!(
        sql(
            &server,
            "SELECT count(*), count(DISTINCT id), bool_and(temp IS NOT DISTINCT FROM (doc->>'temp')::float8), \
             bool_and(at = (doc->>'time_hour')::timestamptz), bool_and(origin = doc->>'origin') FROM weather"
        ),
        format!("{WEATHER}|{WEATHER}|t|t|t")
    );
    assert!(lake.keys("lake").is_empty(), "nothing was refused");
    let ledger = "SELECT sum(loaded), count(*) FILTER (WHERE settled_at IS NULL) FROM standpipe_ledger";
    // It is told once a minute at most, and when the first batch of a run is settled.
    daemon.restart().unwrap();
    put(&daemon, "weather", [br#"{"id":-1}"#.to_vec()]);
    eventually("what is settled is marked so", SOON, || {
        (sql(&server, ledger) == format!("{}|0", WEATHER + 1)).then_some(())
    });
    assert!(!daemon.log().contains("loader-secret"), "a secret is in the log");
}

#[test]
fn what_the_table_refuses_goes_to_the_error_output_with_the_servers_words() {
    let lake = Lake::with(&["lake"]);
    let server = server(
        "readings",
        "CREATE TABLE readings (id int UNIQUE, kind text, celsius float8 CHECK (celsius < 60))",
    );
    let processors = "    processors: [ csv_to_json: { header: [id, kind, celsius], types: { id: int } } ]\n    destination:";
    let yaml = yaml(&lake, &server, "readings", "buffering: { size: 1MiB, interval: 1s }");
    let mut daemon = start(yaml.replace("    destination:", processors));
    let record = |id: u64| match id % 100 {
        7 => format!("{id},sensor,warm"),
        13 => format!("{id},sensor,77"),
        20 => format!("{},sensor,1", id - 1),
        _ => format!("{id},sensor,{}.5", id % 50),
    };
    for first in (0..1000).step_by(250) {
        put(&daemon, "readings", (first..first + 250).map(|id| record(id).into_bytes()));
    }
    let balance = all_settled(&daemon, "readings", SOON);
    assert_eq!((balance.accepted, balance.delivered, balance.backed_up), (1000, 970, 30));
    assert_eq!(sql(&server, "SELECT count(*), count(DISTINCT id) FROM readings"), "970|970");
    let mut parts = failures(&lake, "errors/");
    let lines = parts.remove("postgres-failed").unwrap();
    assert!(parts.is_empty(), "{parts:?}");
    let mut found: Vec<(String, String, String)> = Vec::new();
    for line in &lines {
        let text = |name: &str| line[name].as_str().unwrap().to_owned();
        assert_eq!(line["attemptsMade"], 1);
        found.push((String::from_utf8(raw(line)).unwrap(), text("errorCode"), text("errorMessage")));
    }
    let of = |code: &str| found.iter().filter(|(_, found, _)| found == code).collect::<Vec<_>>();
    for (code, rest, words) in [
        ("Postgres.22P02", 7, "invalid input syntax for type double precision: \"warm\""),
        ("Postgres.23514", 13, "violates check constraint"),
        ("Postgres.23505", 20, "duplicate key value violates unique constraint"),
    ] {
        let found = of(code);
        assert_eq!(found.len(), 10, "{code}");
        for (record, _, message) in found {
            assert!(message.contains(words), "{message}");
            let id: u64 = record.split(',').next().unwrap().parse().unwrap();
            // Of two with one id it is the later that is refused, or the one in the later request.
            assert!(id % 100 == rest || code == "Postgres.23505" && id % 100 == 19, "{record}");
        }
    }
    let described =
        Client::of(&daemon).call("DescribeDeliveryStream", r#"{"DeliveryStreamName":"readings"}"#.into());
    let table =
        &described.body["DeliveryStreamDescription"]["Destinations"][0]["RedshiftDestinationDescription"];
    assert_eq!(
        table["CopyCommand"],
        json!({"DataTableName": "readings", "CopyOptions": "JSON 'auto'"}),
        "{described:?}"
    );
    assert!(table["S3DestinationDescription"].is_object() && table["Username"] == "loader", "{table}");
    assert!(!described.body.to_string().contains("loader-secret"));
    daemon.kill9().unwrap();
    daemon.restart().unwrap();
    assert_eq!(all_settled(&daemon, "readings", SOON).in_journal, 0);
    assert_eq!(sql(&server, "SELECT count(*) FROM readings"), "970");
}

#[test]
fn what_someone_has_to_mend_holds_the_data_until_it_is_mended() {
    let lake = Lake::with(&["lake"]);
    let server = server("events", "CREATE TABLE events (n int)");
    sql(&server, "ALTER ROLE loader PASSWORD 'another'");
    let mut daemon =
        start(yaml(&lake, &server, "events", "retry: 0s\n        buffering: { size: 1MiB, interval: 1s }"));
    let put_all = |daemon: &Daemon, rows: std::ops::Range<u64>| {
        put(daemon, "events", rows.map(|n| format!("{{\"n\":{n}}}").into_bytes()));
    };
    let held = |daemon: &Daemon, rows: u64| {
        eventually("the alarm is raised", SOON, || (alarms(daemon) > 0).then_some(()));
        assert_eq!(balance(daemon, "events").in_journal, rows);
    };
    let mended = |daemon: &Daemon, rows: u64| {
        assert_eq!(all_settled(daemon, "events", SOON).backed_up, 0);
        eventually("the alarm is cleared", SOON, || (alarms(daemon) == 0).then_some(()));
        assert_eq!(sql(&server, "SELECT count(*), count(DISTINCT n) FROM events"), format!("{rows}|{rows}"));
    };
    put_all(&daemon, 0..100);
    held(&daemon, 100);
    daemon.kill9().unwrap();
    daemon.restart().unwrap();
    held(&daemon, 100);
    sql(&server, "ALTER ROLE loader PASSWORD 'loader-secret'");
    mended(&daemon, 100);

    for (round, [breaks, mends]) in [
        ["ALTER TABLE events RENAME TO kept", "ALTER TABLE kept RENAME TO events"],
        ["REVOKE INSERT ON events FROM loader", "GRANT INSERT ON events TO loader"],
    ]
    .into_iter()
    .enumerate()
    {
        let first = 100 * (round as u64 + 1);
        sql(&server, breaks);
        put_all(&daemon, first..first + 100);
        held(&daemon, 100);
        sql(&server, mends);
        mended(&daemon, first + 100);
    }
    assert!(lake.keys("lake").is_empty(), "nothing was given up");
    assert!(!daemon.log().contains("loader-secret"), "a secret is in the log");
}

#[test]
fn what_is_set_wrong_is_told_before_the_first_record_and_until_it_is_right() {
    let lake = Lake::with(&["lake"]);
    let server = server("events", "CREATE TABLE events (n int)");
    let told = |daemon: &Daemon, words: &str| {
        let told = || daemon.get("/readyz").unwrap().body.contains(words).then_some(());
        eventually(words, SOON, told);
        assert_eq!(alarms(daemon), 1);
    };
    let well = |daemon: &Daemon| {
        eventually("the alarm is cleared", SOON, || (alarms(daemon) == 0).then_some(()));
    };
    let columns = |name: &str| format!("columns: {{ {name}: .n }}\n        buffering: {{ interval: 1s }}");
    let mut daemon = start(yaml(&lake, &server, "events", &columns("m")));
    told(&daemon, "before there is anything to deliver");
    told(&daemon, "has no column \"m\"");
    // A change of the settings is looked at as well.
    daemon.reconfigure(yaml(&lake, &server, "events", &columns("n"))).unwrap();
    daemon.signal(Signal::HUP).unwrap();
    well(&daemon);
    // What was mended on the other side is noticed without a record.
    sql(&server, "ALTER TABLE events RENAME TO kept");
    daemon.kill9().unwrap();
    daemon.restart().unwrap();
    told(&daemon, "events");
    sql(&server, "ALTER TABLE kept RENAME TO events");
    well(&daemon);

    put(&daemon, "events", [br#"{"n":1}"#.to_vec()]);
    assert_eq!(all_settled(&daemon, "events", SOON).delivered, 1);
}

#[test]
fn a_stream_that_the_aws_cli_makes_by_a_url_of_postgresql_loads_each_row_and_is_described_as_given() {
    let lake = Lake::with(&["lake", "raw"]);
    let server = server("made", "CREATE TABLE made (id int UNIQUE, name text)");
    let daemon = start(format!("stores: {{ lake: {} }}\n", lake.yaml()));
    let python = Python::installed().unwrap();
    let aws = |operation: &str, input: &Value| {
        python.aws_firehose(&daemon.endpoint(), &[operation, "--cli-input-json", &input.to_string()])
    };
    let bucket = |name: &str| {
        json!({"RoleARN": "arn:aws:iam::000000000000:role/r", "BucketARN": format!("arn:aws:s3:::{name}"), "Prefix": "in/",
            "CompressionFormat": "GZIP", "BufferingHints": {"SizeInMBs": 1, "IntervalInSeconds": 1}})
    };
    let given = json!({
        "RoleARN": "arn:aws:iam::000000000000:role/r",
        "ClusterJDBCURL": format!("jdbc:postgresql://localhost:{}/postgres", server.port()),
        "CopyCommand": {"DataTableName": "made", "DataTableColumns": "id, name", "CopyOptions": "json 'auto' gzip"},
        "Username": "loader", "Password": "mistyped", "RetryOptions": {"DurationInSeconds": 7},
        "S3Configuration": bucket("lake"), "S3BackupMode": "Enabled", "S3BackupConfiguration": bucket("raw"),
    });
    aws(
        "create-delivery-stream",
        &json!({"DeliveryStreamName": "made", "RedshiftDestinationConfiguration": given}),
    )
    .unwrap();
    let describe = || {
        let answer = aws("describe-delivery-stream", &json!({"DeliveryStreamName": "made"})).unwrap();
        answer["DeliveryStreamDescription"].clone()
    };
    eventually("it is there", SOON, || (describe()["DeliveryStreamStatus"] == "ACTIVE").then_some(()));
    let rows = (0..400).map(|id| format!("{{\"id\":{id},\"name\":\"row {id}\"}}"));
    put(&daemon, "made", rows.chain(["{\"id\":\"x\"}".to_owned()]).map(String::into_bytes));
    eventually("the alarm is raised", SOON, || (alarms(&daemon) > 0).then_some(()));
    let update = json!({"DeliveryStreamName": "made", "CurrentDeliveryStreamVersionId": "1",
        "DestinationId": "destinationId-000000000001", "RedshiftDestinationUpdate": {"Password": "loader-secret"}});
    aws("update-destination", &update).unwrap();
    let balance = all_settled(&daemon, "made", SOON);
    assert_eq!(
        (balance.accepted, balance.delivered, balance.backed_up),
        (802, 801, 1),
        "the copy counts, too"
    );
    assert_eq!(
        sql(&server, "SELECT count(*), max(id), bool_and(name = 'row ' || id) FROM made"),
        "400|399|t"
    );
    assert_eq!(failures(&lake, "in/").remove("postgres-failed").unwrap()[0]["errorCode"], "Postgres.22P02");
    assert_eq!(lake.keys("lake").len(), 1, "nothing is staged");
    assert!(!lake.keys("raw").is_empty(), "a copy of what came");

    let described = describe()["Destinations"][0]["RedshiftDestinationDescription"].clone();
    for name in ["RoleARN", "ClusterJDBCURL", "CopyCommand", "Username", "RetryOptions", "S3BackupMode"] {
        assert_eq!(described[name], given[name], "{described}");
    }
    assert_eq!(
        described["S3DestinationDescription"]["BufferingHints"],
        given["S3Configuration"]["BufferingHints"]
    );
    assert!(described.get("Password").is_none(), "{described}");
    assert!(!daemon.log().contains("loader-secret"), "a secret is in the log");
}
