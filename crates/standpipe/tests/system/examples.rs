//! The examples as their reader has them, with nothing but their addresses replaced: each delivers what is put.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use standpipe_testkit::Daemon;
use standpipe_testkit::servers::{OpenSearch, Postgres};

use crate::formats::duckdb;
use crate::hec::Hec;
use crate::receiver::Receiver;
use crate::support::{SOON, eventually, files_below, flights_file, metric, standpipe_put, start};
use crate::transform::put;

const FLIGHTS: usize = 3_007;

/// An example with other addresses, each of which must be in it.
fn example(name: &str, addresses: &[(&str, &str)]) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples").join(name);
    let text = std::fs::read_to_string(path).unwrap();
    let own = |line: &&str| !["listen:", "admin:", "data_dir:"].iter().any(|key| line.starts_with(key));
    let mut text: String = text.lines().filter(own).map(|line| format!("{line}\n")).collect();
    for (address, other) in addresses {
        assert!(text.contains(address), "{name} does not hold {address}");
        text = text.replace(address, other);
    }
    text
}

/// Starts it so that what waits for its interval is delivered at the stop.
fn run(yaml: String) -> Daemon {
    start(format!("{yaml}stop: {{ drain: 50s }}\n"))
}

fn put_flights(daemon: &Daemon, stream: &str) {
    let put = standpipe_put(daemon, stream, &flights_file()).output().unwrap();
    assert!(put.status.success(), "{put:?}");
}

/// Waits until the stream's first destination has all flights.
fn delivered(daemon: &Daemon) {
    let label = "destination=\"destinationId-000000000001\"";
    let count = || metric(daemon, "standpipe_records_delivered_total", &[label]);
    eventually("all flights are delivered", SOON, || (count() == FLIGHTS as u64).then_some(()));
}

/// What lies in the example's store below a folder once the daemon has stopped.
fn stored(daemon: &mut Daemon, folder: &str) -> Vec<PathBuf> {
    daemon.terminate().unwrap();
    files_below(&daemon.dir().join("delivered").join(folder))
}

fn unpacked(files: &[PathBuf]) -> String {
    let mut text = String::new();
    for file in files {
        let packed = std::fs::read(file).unwrap();
        std::io::Read::read_to_string(&mut flate2::read::MultiGzDecoder::new(&packed[..]), &mut text)
            .unwrap();
    }
    text
}

fn sorted(text: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    lines
}

#[test]
fn the_example_of_an_http_endpoint_delivers_and_keeps_a_raw_copy() {
    let receiver = Receiver::start();
    let mut daemon = run(example("http.yaml", &[("http://127.0.0.1:8080/firehose", &receiver.url())]));
    put_flights(&daemon, "clicks");
    delivered(&daemon);
    let source = std::fs::read_to_string(flights_file()).unwrap();
    assert_eq!(receiver.records(), sorted(&source));
    assert_eq!(receiver.header("x-amz-firehose-access-key").as_deref(), Some("change-me"));
    let attributes = receiver.header("x-amz-firehose-common-attributes").unwrap();
    assert_eq!(attributes, r#"{"commonAttributes":{"team":"web"}}"#);
    let copy = unpacked(&stored(&mut daemon, "raw"));
    assert_eq!(sorted(&copy), sorted(&source));
}

#[test]
fn the_example_of_several_destinations_gives_each_its_own_form() {
    let receiver = Receiver::start();
    let mut daemon = run(example("fan-out.yaml", &[("http://127.0.0.1:9880/orders", &receiver.url())]));
    let order = r#"{"order":42,"total":12.5,"card":"4111111111111111"}"#;
    put(&daemon, "orders", [order.as_bytes().to_vec()]);
    let told = eventually("the webhook is told", SOON, || receiver.records().pop());
    assert_eq!(told, order.replace("4111111111111111", "***"));
    let archived = unpacked(&stored(&mut daemon, "archive"));
    assert_eq!(archived, format!("{order}\n"));
    let lake = files_below(&daemon.dir().join("delivered/lake"));
    let rows = duckdb("SELECT * FROM read_parquet('{}')", &lake[0]);
    assert_eq!((rows, lake.len()), (json!([[42, 12.5]]), 1));
}

#[test]
fn the_example_of_a_table_fills_the_table_that_it_tells_to_make() {
    let server = Postgres::start().unwrap();
    let yaml = example("postgres.yaml", &[("port: 5432", &format!("port: {}", server.port()))]);
    let statement =
        yaml.lines().find_map(|line| line.strip_prefix("#     psql -d app -c '")?.strip_suffix('\''));
    server.create_database("app").unwrap();
    server.sql("postgres", "CREATE ROLE loader LOGIN PASSWORD 'change-me'").unwrap();
    server.sql("app", "GRANT CREATE ON SCHEMA public TO loader").unwrap();
    server.sql("app", statement.unwrap()).unwrap();
    server.sql("app", "GRANT INSERT ON flights TO loader").unwrap();
    let daemon = run(yaml);
    put_flights(&daemon, "flights");
    delivered(&daemon);
    let found = server.sql(
        "app",
        "SELECT count(*), sum(miles), count(departed), sum((doc->>'distance')::int) FROM flights",
    );
    let source = std::fs::read_to_string(flights_file()).unwrap();
    let miles =
        source.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["distance"].as_u64().unwrap());
    let miles: u64 = miles.sum();
    assert_eq!(found.unwrap(), format!("{FLIGHTS}|{miles}|{FLIGHTS}|{miles}"));
}

#[test]
fn the_example_of_splunk_makes_events_of_flights() {
    let hec = Hec::start();
    hec.know("00000000-0000-0000-0000-000000000000");
    let daemon = run(example("splunk.yaml", &[("http://127.0.0.1:8088", &hec.url())]));
    put_flights(&daemon, "flights");
    delivered(&daemon);
    let events = hec.events();
    assert!(events.len() == FLIGHTS && events.iter().all(|event| event["dest"].is_string()), "{}", events[0]);
}

#[test]
fn the_example_of_opensearch_indexes_flights_and_keeps_a_raw_copy() {
    let node = OpenSearch::start(&[]).unwrap();
    let mut daemon = run(example("opensearch.yaml", &[("https://127.0.0.1:9200", &node.endpoint())]));
    put_flights(&daemon, "clicks");
    delivered(&daemon);
    assert_eq!(node.documents("clicks-20*").unwrap().len(), FLIGHTS);
    let source = std::fs::read_to_string(flights_file()).unwrap();
    assert_eq!(sorted(&unpacked(&stored(&mut daemon, "raw"))), sorted(&source));
}
