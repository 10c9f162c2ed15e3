//! Definitions of streams on their way: from the configuration file through the API of another daemon, and back.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use standpipe::config::Config;
use standpipe_testkit::Daemon;
use standpipe_testkit::cache::run;
use standpipe_testkit::clients::Python;

use crate::support::{STANDPIPE, start};

/// Nothing is put, so nothing has to listen there.
const STORES: &str = "stores:\n  lake: { type: s3, endpoint: \"http://127.0.0.1:9\", access_key_id: a, secret_access_key: b }\n";

/// A stream for each key that the API can say.
const STREAMS: &str = r#"
streams:
  - { name: least, destination: { s3: { bucket: lake } } }
  - name: most
    destination:
      s3:
        bucket: lake
        prefix: "most/!{timestamp:yyyy/MM}/$${x}/!{firehose:random-string}/"
        error_output_prefix: "errors/!{firehose:error-output-type}/"
        compression: hadoop_snappy
        file_extension: .sz
        custom_time_zone: Europe/Vienna
        buffering: { size: 128MiB, interval: 15m }
        logging: { group: /aws/kinesisfirehose/most, stream: S3Delivery }
        encryption: { kms: "arn:aws:kms:eu-west-1:123456789012:key/k" }
    backup:
      s3: { bucket: raw, prefix: raw/, compression: gzip, buffering: { size: 1MiB, interval: 0 }, logging: { group: /g, stream: b } }
  - { name: zip, destination: { s3: { bucket: lake, compression: zip, prefix: zip } } }
  - { name: snappy, destination: { s3: { bucket: lake, compression: snappy, error_output_prefix: e/ } } }
"#;

/// Runs standpipe and returns what it printed; the daemon is known by the environment.
fn standpipe(daemon: &Daemon, args: &[&str]) -> String {
    let mut command = Command::new(STANDPIPE);
    command.env("STANDPIPE_ACCESS_KEY_ID", Daemon::ACCESS_KEY_ID);
    command.env("STANDPIPE_SECRET_ACCESS_KEY", Daemon::SECRET_ACCESS_KEY);
    run(command.args(args).current_dir(daemon.dir())).unwrap()
}

fn load(path: &Path) -> Config {
    Config::load(path, &|_| None).unwrap_or_else(|problems| panic!("{problems}"))
}

#[test]
fn a_stream_of_the_file_comes_back_the_same_through_the_api_of_a_daemon() {
    let daemon = start(STORES);
    let (dir, endpoint) = (daemon.dir().to_owned(), daemon.endpoint());
    fs::write(dir.join("original.yaml"), format!("{STORES}{STREAMS}")).unwrap();
    standpipe(&daemon, &["export", "--strict", "--config", "original.yaml", "--output", "exported"]);
    fs::create_dir(dir.join("described")).unwrap();
    for name in ["least", "most", "zip", "snappy"] {
        let exported = format!("exported/{name}.json");
        if name == "most" {
            let input = format!("file://{}", dir.join(&exported).display());
            let args = ["create-delivery-stream", "--cli-input-json", &input];
            Python::installed().unwrap().aws_firehose(&endpoint, &args).unwrap();
        } else {
            standpipe(&daemon, &["streams", "create", "--endpoint", &endpoint, "--file", &exported]);
        }
        let described = standpipe(&daemon, &["streams", "describe", "--endpoint", &endpoint, name]);
        fs::write(dir.join(format!("described/{name}.json")), described).unwrap();
        // What the daemon says of it holds all that was exported.
        let again: Value =
            serde_json::from_str(&standpipe(&daemon, &["export", "--endpoint", &endpoint, name])).unwrap();
        let exported: Value = serde_json::from_slice(&fs::read(dir.join(&exported)).unwrap()).unwrap();
        for (member, value) in exported["ExtendedS3DestinationConfiguration"].as_object().unwrap() {
            let found = &again["ExtendedS3DestinationConfiguration"][member];
            match value.as_object().filter(|_| member == "S3BackupConfiguration") {
                Some(members) => members.iter().for_each(|(member, value)| assert_eq!(found[member], *value)),
                None => assert_eq!(found, value, "{member}"),
            }
        }
    }
    standpipe(
        &daemon,
        &["import", "describe", "described", "--strict", "--store", "lake", "--output", "back"],
    );
    fs::write(dir.join("back.yaml"), format!("{STORES}streams_dir: back\n")).unwrap();
    let (mut original, back) = (load(&dir.join("original.yaml")), load(&dir.join("back.yaml")));
    original.streams.sort_by(|a, b| a.name.cmp(&b.name));
    assert_eq!(back.streams, original.streams);
    standpipe(&daemon, &["validate", "--config", "back.yaml"]);
}

#[test]
fn what_the_api_cannot_say_is_told_and_fails_where_that_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let streams = "streams:\n  - { name: a, journal_limit: 1GiB, destination: { s3: { bucket: b, delimiter: newline, \
                   storage_class: GLACIER } }, backup: { s3: { bucket: b, custom_time_zone: \
                   Europe/Vienna } } }\n  - { name: b, destination: { s3: { bucket: b, compression: zstd } } }\n";
    let converted = "  - { name: d, format: { json: { schema: l.t } }, destination: { s3: { bucket: b, compression: gzip } } }\n\
                     schemas: { l.t: { columns: { a: int } } }\n";
    fs::write(folder.path().join("standpipe.yaml"), format!("{STORES}{streams}{converted}")).unwrap();
    let export = |args: &[&str]| {
        let mut command = Command::new(STANDPIPE);
        command.args(["export", "--config", "standpipe.yaml"]).args(args).current_dir(folder.path());
        let output = command.output().unwrap();
        (output.status.success(), String::from_utf8(output.stderr).unwrap())
    };
    let (done, told) = export(&["a"]);
    assert!(done, "{told}");
    for what in [
        "a: left out journal_limit",
        "destination.s3.delimiter",
        "destination.s3.storage_class",
        "backup.s3.custom_time_zone",
    ] {
        assert!(told.contains(what), "{told}");
    }
    assert!(!export(&["--strict", "a"]).0);
    let (done, told) = export(&["d"]);
    assert!(done && told.contains("d: left out format\n"), "{told}");
    let (done, told) = export(&["b"]);
    assert!(!done && told.contains("b: not exported: 1 validation error detected: "), "{told}");
    assert!(export(&["c"]).1.contains("standpipe.yaml has no stream c"));
}
