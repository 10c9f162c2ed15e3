//! Schemas that change under streams that convert their rows: those of the file, and those that were made through the API.

use serde_json::json;
use standpipe_testkit::Daemon;

use crate::client::Client;
use crate::reload::{refused, reload, shown};
use crate::support::{SOON, eventually, start};

const FORMAT: &str = ", format: { parquet: { schema: lake.t } }";

/// A configuration with these columns of `lake.t`, and the stream `filed`.
fn yaml(columns: &str, format: &str) -> String {
    let schemas = match columns {
        "" => String::new(),
        columns => format!("schemas: {{ lake.t: {{ columns: {{ {columns} }} }} }}\n"),
    };
    format!(
        "stores: {{ disk: {{ type: file, path: ./delivered }} }}\n{schemas}streams:\n  - {{ name: filed, destination: {{ s3: {{ \
         bucket: b }} }}{format} }}\n"
    )
}

fn create(daemon: &Daemon, name: &str) {
    let conversion = json!({
        "SchemaConfiguration": {"RoleARN": "arn:aws:iam::000000000000:role/r", "DatabaseName": "lake", "TableName": "t"},
        "InputFormatConfiguration": {"Deserializer": {"HiveJsonSerDe": {}}},
        "OutputFormatConfiguration": {"Serializer": {"ParquetSerDe": {}}},
    });
    let destination = json!({
        "RoleARN": "arn:aws:iam::000000000000:role/r", "BucketARN": "arn:aws:s3:::b",
        "DataFormatConversionConfiguration": conversion,
    });
    let wanted = json!({"DeliveryStreamName": name, "ExtendedS3DestinationConfiguration": destination});
    let answer = Client::of(daemon).call("CreateDeliveryStream", wanted.to_string().into());
    assert_eq!(answer.status, 200, "{answer:?}");
}

fn wait_for(daemon: &Daemon, versions: [(&str, u64); 2]) {
    eventually("the versions are in force", SOON, || {
        versions
            .iter()
            .all(|(name, version)| shown(daemon, name).is_some_and(|s| s["version"] == *version))
            .then_some(())
    });
}

#[test]
fn a_schema_that_changes_is_another_version_of_every_stream_that_uses_it() {
    let mut daemon = start(yaml("a: int", FORMAT));
    create(&daemon, "called");
    wait_for(&daemon, [("filed", 1), ("called", 1)]);
    reload(&mut daemon, yaml("a: int, b: string", FORMAT));
    wait_for(&daemon, [("filed", 2), ("called", 2)]);

    // It cannot be taken from a stream of the API.
    reload(&mut daemon, yaml("", ""));
    eventually("the reload is refused, and the alarm says why", SOON, || {
        let told = daemon.get("/readyz").unwrap().body;
        let why =
            "schema 'lake.t' is not configured any more, but stream 'called' still converts its rows to it";
        (refused(&daemon) && told.contains(why)).then_some(())
    });
    wait_for(&daemon, [("filed", 2), ("called", 2)]);
    reload(&mut daemon, yaml("a: int, b: string", FORMAT));
    eventually("the alarm is cleared", SOON, || (!refused(&daemon)).then_some(()));
    wait_for(&daemon, [("filed", 2), ("called", 2)]);

    // What changed while the daemon was down is a version too; what is gone leaves the stream as it is.
    daemon.reconfigure(yaml("a: bigint", FORMAT)).unwrap();
    daemon.restart().unwrap();
    wait_for(&daemon, [("filed", 3), ("called", 3)]);
    daemon.reconfigure(yaml("", "")).unwrap();
    daemon.restart().unwrap();
    wait_for(&daemon, [("filed", 4), ("called", 3)]);
    let described = Client::of(&daemon)
        .call("DescribeDeliveryStream", json!({"DeliveryStreamName": "called"}).to_string().into());
    assert!(described.body.to_string().contains("\"TableName\":\"t\""), "{described:?}");
}
