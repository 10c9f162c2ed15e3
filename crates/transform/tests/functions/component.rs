//! Components: the world of `wit/standpipe.wit`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use standpipe_model::{OsClock, Secret};
use standpipe_transform::{LoadError, Table, TableFormat};

use crate::running::{ARRIVED_MS, learns_nothing, load, options, rows, run, sandbox};
use standpipe_testkit::guests::{example, javascript, probe_component, python};

#[test]
fn a_component_gets_records_and_gives_outcomes() {
    let (done, pure) = run(load(&probe_component()), &["plain", "drop", "fail", "record", "config"]);
    let id = |position: u32| format!("{position:020}000000");
    let told = format!("{} {ARRIVED_MS} readings", id(10));
    assert_eq!(rows(&done), ["plain", &told, "hello"]);
    assert_eq!((done.dropped, pure), (1, true));
    let failure = &done.failures[&2];
    assert_eq!((&*failure.code, failure.attempts), ("Lambda.ProcessingFailedStatus", 1));
    assert_eq!(failure.message, "ProcessingFailed status set for record: as it was told");
    assert_eq!(failure.function.as_deref(), Some("arn:aws:lambda:us-east-1:1:function:f"));
    assert_eq!(done.rows[0].function_keys, BTreeMap::from([("size".to_owned(), "5".to_owned())]));
    assert_eq!(done.rows[1].headers, BTreeMap::from([("id".to_owned(), id(10))]));
}

#[test]
fn the_identity_passes_on_any_bytes() {
    let data: Vec<String> = (0..300).map(|number| "é\0x".repeat(number)).collect();
    let data: Vec<&str> = data.iter().map(String::as_str).collect();
    let mut options = options();
    options.batch_bytes = 10_000;
    let (done, _) = run(sandbox().load(&example("identity"), options).unwrap(), &data);
    assert_eq!(rows(&done), data);
}

#[test]
fn a_component_in_javascript_makes_events_flat() {
    let events = [
        r#"{"app":"shop","device":{"os":"x"},"n":1}"#,
        r#"{"app":"shop","debug":true}"#,
        "nonsense",
        r#"{"n":2}"#,
    ];
    let mut options = options();
    options.limits.deadline = Duration::from_secs(30);
    let (done, pure) = run(sandbox().load(&javascript("clean-events"), options).unwrap(), &events);
    let received = r#""received_at":"2023-11-14T22:13:20.123Z""#;
    assert_eq!(rows(&done), [format!(r#"{{"app":"shop","n":1,"device_os":"x",{received}}}"#)]);
    assert_eq!(done.rows[0].function_keys, BTreeMap::from([("app".to_owned(), "shop".to_owned())]));
    assert_eq!((done.dropped, done.failures.len(), pure), (1, 2, true));
    assert!(done.failures[&3].message.ends_with("the event has no app"), "{:?}", done.failures);
}

#[test]
fn a_component_in_python_reads_lines_of_an_access_log() {
    let line = r#"192.0.2.1 - bob [10/Oct/2000:13:55:36 -0700] "GET /a.gif HTTP/1.0" 404 - "-" "x""#;
    let mut options = options();
    options.limits.deadline = Duration::from_mins(1);
    let (done, pure) = run(sandbox().load(&python("parse-logs"), options).unwrap(), &[line, "", "nonsense"]);
    let row = r#"{"client":"192.0.2.1","user":"bob","at":"10/Oct/2000:13:55:36 -0700","method":"GET","path":"/a.gif","status":404,"bytes":0}"#;
    assert_eq!(rows(&done), [row]);
    assert_eq!(done.rows[0].function_keys, BTreeMap::from([("status".to_owned(), "4xx".to_owned())]));
    assert_eq!((done.dropped, pure), (1, true));
    assert!(done.failures[&2].message.ends_with("this is no line of an access log"), "{:?}", done.failures);
}

#[test]
fn a_component_makes_json_of_csv() {
    let mut options = options();
    options.config.insert("COLUMNS".to_owned(), Secret::new("name,city"));
    let lines = [
        "Ada,\"London, \"\"W1\"\"\"",
        " ",
        "one field",
        "a,b\r\n",
        "a,b,c",
        "a,b\nc,d",
        "a,\"b\nc\"",
        ",\u{e9}",
    ];
    let (done, pure) = run(sandbox().load(&example("csv-to-json"), options).unwrap(), &lines);
    assert_eq!(
        rows(&done),
        [
            r#"{"name":"Ada","city":"London, \"W1\""}"#,
            r#"{"name":"a","city":"b"}"#,
            r#"{"name":"a","city":"b\nc"}"#,
            r#"{"name":"","city":"é"}"#
        ]
    );
    assert_eq!((done.dropped, pure), (1, true));
    assert_eq!(done.failures.keys().collect::<Vec<_>>(), [&2, &4, &5]);
}

#[test]
fn readings_are_enriched_from_a_table() {
    let devices = b"device,site,retired\nd1,roof,false\nd2,cellar,true\n";
    let mut options = options();
    options.tables = vec![Arc::new(Table::read("devices", TableFormat::Csv, "device", devices).unwrap())];
    options.config.insert("unknown_site".to_owned(), Secret::new("nowhere"));
    let readings = [r#"{"device":"d1","t":1}"#, r#"{"device":"d2","t":2}"#, r#"{"device":"d3","t":3}"#, "{}"];
    let (done, pure) = run(sandbox().load(&example("enrich"), options).unwrap(), &readings);
    assert_eq!(
        rows(&done),
        [
            r#"{"t":1,"device":"d1","site":"roof","retired":"false"}"#,
            r#"{"device":"d3","t":3,"site":"nowhere"}"#
        ]
    );
    assert_eq!((done.dropped, pure), (1, true));
    assert!(done.failures[&3].message.ends_with("no device"));
    assert_eq!(done.rows[0].function_keys["device"], "d1");
}

#[test]
fn tables_are_there_for_those_only_that_are_given_some() {
    let refused = sandbox().load(&example("enrich"), options()).unwrap_err();
    let LoadError::Import { name } = refused else { panic!("{refused}") };
    assert_eq!(name, "standpipe:transform/tables@1.0.0");

    let mut options = options();
    options.tables = vec![Arc::new(Table::read("others", TableFormat::Csv, "k", b"k\n1\n").unwrap())];
    let (done, _) = run(sandbox().load(&example("enrich"), options).unwrap(), &[r#"{"device":"d1"}"#]);
    assert!(done.failures[&0].message.contains("'devices', which it was not given"), "{done:?}");
}

#[test]
fn nothing_that_a_component_can_learn_differs_from_call_to_call() {
    learns_nothing(&probe_component());
}

#[test]
fn a_function_that_is_given_the_time_is_not_pure() {
    let mut options = options();
    options.grants.clock = Some(Arc::new(OsClock::start()));
    let (done, pure) = run(sandbox().load(&probe_component(), options).unwrap(), &["look around"]);
    assert!(!pure);
    assert!(!rows(&done)[0].contains(&format!(r#""wall_ms":{ARRIVED_MS}"#)));
}
