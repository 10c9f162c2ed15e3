//! Whole configurations, good and bad, with the exact messages.

mod tables;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::time::Duration;

use standpipe_ingest::{ClientAuth, TlsVersion};
use standpipe_model::{Compression, Encryption, LockMode, ObjectLock, Secret};

use super::reference::schema_accepts;
use super::{Config, DiskShare, FunctionConfig, Grant, StoreConfig};
use crate::processors::{ProcessorSpec, WasmCall};
use crate::spec::Buffering;

/// The configuration that the documentation opens with.
const GOOD: &str = r#"
listen: 127.0.0.1:4573
admin: 127.0.0.1:8573
region: us-east-1
account_id: "000000000000"
data_dir: ./data
credentials:
  - access_key_id: standpipe
    secret_access_key: ${STANDPIPE_SECRET}
stores:
  lake: { type: s3, endpoint: "http://127.0.0.1:9000", region: us-east-1, force_path_style: true, access_key_id: a, secret_access_key: b }
  disk: { type: file, path: ./delivered }
default_store: lake
streams:
  - name: clicks
    destination:
      s3: { store: lake, bucket: clicks, prefix: "clicks/!{timestamp:yyyy/MM/dd}/", error_output_prefix: "errors/!{firehose:error-output-type}/", compression: gzip, delimiter: newline, buffering: { size: 5MiB, interval: 60s } }
"#;

fn env(name: &str) -> Option<String> {
    match name {
        "STANDPIPE_SECRET" => Some("hunter2".to_owned()),
        "SIZE" => Some("6MiB".to_owned()),
        _ => None,
    }
}

/// Loads the files of a folder; problems come with the folder cut off.
pub(super) fn load(files: &[(&str, &str)]) -> Result<Config, Vec<String>> {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let strip = format!("{}/", folder.path().display());
    Config::load(&folder.path().join("standpipe.yaml"), &env)
        .map_err(|problems| problems.to_string().replace(&strip, "").lines().map(str::to_owned).collect())
}

/// Loads what is right; the schema must think so too.
pub(super) fn good(text: &str) -> Config {
    schema_accepts(text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    load(&[("standpipe.yaml", text)]).unwrap_or_else(|problems| panic!("{problems:#?}"))
}

#[track_caller]
pub(super) fn bad(text: &str, expect: &[&str]) {
    let problems = load(&[("standpipe.yaml", text)]).expect_err("it must be refused");
    assert_eq!(problems, expect);
}

/// A configuration with a file store and a stream whose `s3:` section is `s3`.
pub(super) fn with_destination(s3: &str) -> String {
    format!("stores: {{disk: {{type: file, path: d}}}}\nstreams:\n- name: a\n  destination:\n    s3: {s3}\n")
}

/// As [`with_destination`], over an S3 store.
fn with_s3(s3: &str) -> String {
    with_destination(s3).replace("{type: file, path: d}", "{type: s3}")
}

#[test]
fn the_opening_example_loads() {
    let config = good(GOOD);
    assert_eq!(config.listen.to_string(), "127.0.0.1:4573");
    assert_eq!(config.admin.to_string(), "127.0.0.1:8573");
    assert!(config.data_dir.is_absolute() && config.data_dir.ends_with("data"));
    assert_eq!(config.credentials[0].secret, Secret::new("hunter2"));
    assert_eq!(config.default_store.as_deref(), Some("lake"));
    let StoreConfig::S3(lake) = &config.stores["lake"] else { panic!("{:?}", config.stores) };
    assert_eq!(lake.endpoint.as_deref(), Some("http://127.0.0.1:9000"));
    assert!(lake.force_path_style);
    assert_eq!(lake.keys.as_ref().unwrap().secret_access_key, Secret::new("b"));
    let stream = &config.streams[0];
    assert_eq!(stream.name.as_str(), "clicks");
    assert_eq!(stream.destination.store, "lake");
    assert_eq!(stream.destination.prefix, "clicks/!{timestamp:yyyy/MM/dd}/");
    assert_eq!(stream.destination.compression, Compression::Gzip);
    assert_eq!(stream.destination.delimiter, "\n");
    assert_eq!(stream.destination.buffering, Buffering { size_bytes: 5 << 20, interval_ms: 60_000 });
}

#[test]
fn an_empty_file_is_a_daemon_with_defaults() {
    for text in ["", "# nothing yet\n", "streams:\n"] {
        let config = load(&[("standpipe.yaml", text)]).unwrap();
        assert_eq!(config.listen.to_string(), "127.0.0.1:4573");
        assert_eq!(config.data_dir, Path::new("/var/lib/standpipe"));
        assert_eq!(config.account_id, "000000000000");
        assert_eq!(config.journal.limit, DiskShare::Percent(80));
        assert_eq!(config.journal.free_floor_of(100 << 30), 5 << 30);
        assert_eq!(config.journal.free_floor_of(2 << 30), 1 << 30);
        assert_eq!(config.limits.body_budget, 32 << 20);
        assert_eq!(config.stop.drain, Duration::ZERO);
        assert!(config.streams.is_empty() && config.stores.is_empty() && config.default_store.is_none());
    }
}

#[test]
fn debug_shows_no_secret() {
    let shown = format!("{:?}", good(GOOD));
    assert!(shown.contains("***") && !shown.contains("hunter2"), "{shown}");
}

#[test]
fn the_only_store_is_the_default_and_listed_buckets_find_theirs() {
    let config = good("stores: {lake: {type: s3}}\n");
    assert_eq!(config.store_for("any", ""), Some("lake"));
    let config = good("stores: {a: {type: s3}, b: {type: s3, buckets: [x]}}\ndefault_store: a\n");
    assert_eq!((config.store_for("x", ""), config.store_for("y", "")), (Some("b"), Some("a")));
    let config = good("stores: {a: {type: s3}, b: {type: s3, buckets: [x]}}\n");
    assert_eq!((config.store_for("x", ""), config.store_for("y", "")), (Some("b"), None));
}

#[test]
fn the_words_of_the_api_mean_the_same() {
    for s3 in [
        "{buffering: {size: 6MiB, interval: 90s}, compression: hadoop_snappy}",
        "{buffering_hints: {size_in_mbs: 6, interval_in_seconds: 90}, compression_format: HADOOP_SNAPPY}",
        "{buffering: {size_in_mbs: 6, interval: 1m30s}, compression: HADOOP_SNAPPY}",
        "{buffering: {size: \"${SIZE}\", interval: 90s}, compression: hadoop_snappy}",
    ] {
        let destination = good(&with_destination(s3)).streams.remove(0).destination;
        assert_eq!(destination.buffering, Buffering { size_bytes: 6 << 20, interval_ms: 90_000 }, "{s3}");
        assert_eq!(destination.compression, Compression::HadoopSnappy, "{s3}");
        assert_eq!((destination.store.as_str(), destination.bucket.as_str()), ("disk", ""));
    }
    let destination = good(&with_destination("{}")).streams.remove(0).destination;
    assert_eq!(destination.buffering, Buffering::default());
}

#[test]
fn object_options_are_read() {
    let text = with_s3(
        "{bucket: b, storage_class: GLACIER, acl: private, encryption: {kms: k}, tags: {a: 1}, metadata: {m: n}, \
         object_lock: {mode: compliance, retain_days: 365}, compression: zstd, compression_level: 7, delimiter: '|', \
         file_extension: .log, custom_time_zone: Europe/Vienna}",
    );
    let destination = good(&text).streams.remove(0).destination;
    let object = destination.object;
    assert_eq!(object.encryption, Encryption::Kms { key: "k".into() });
    assert_eq!(object.lock, Some(ObjectLock { mode: LockMode::Compliance, retain_days: 365 }));
    assert_eq!(object.storage_class.as_deref(), Some("GLACIER"));
    assert_eq!((object.tags["a"].as_str(), object.metadata["m"].as_str()), ("1", "n"));
    assert_eq!((destination.compression_level, destination.delimiter.as_str()), (Some(7), "|"));
}

#[test]
fn a_folder_adds_streams_and_names_are_shared() {
    let main = "stores: {disk: {type: file, path: d}}\nstreams_dir: ./streams.d\n\
                streams: [{name: a, destination: {s3: {}}}]\n";
    let one = "name: b\ndestination: {s3: {}}\n";
    let list = "streams:\n- {name: c, destination: {s3: {}}}\n- {name: d, destination: {s3: {}}}\n";
    let files = [
        ("standpipe.yaml", main),
        ("streams.d/20-list.yml", list),
        ("streams.d/10-one.yaml", one),
        ("streams.d/30-empty.yaml", "# later\n"),
        ("streams.d/README", "not read"),
    ];
    let config = load(&files).unwrap();
    let names: Vec<_> = config.streams.iter().map(|stream| stream.name.as_str()).collect();
    assert_eq!(names, ["a", "b", "c", "d"]);

    let twice = "name: a\ndestination: {s3: {stoer: disk}}\n";
    let problems = load(&[("standpipe.yaml", main), ("streams.d/x.yaml", twice)]).unwrap_err();
    assert_eq!(
        problems,
        [
            "streams.d/x.yaml:1:7: name: a stream \"a\" is at standpipe.yaml:3:18 already",
            "streams.d/x.yaml:2:20: destination.s3.stoer: unknown key, did you mean \"store\"?",
        ]
    );
    let problems = load(&[("standpipe.yaml", main)]).unwrap_err();
    assert!(
        problems[0].starts_with("standpipe.yaml:2:14: streams_dir: cannot read the folder streams.d: "),
        "{problems:?}"
    );
}

#[test]
fn every_problem_is_reported_at_once() {
    bad(
        r#"
lisen: 127.0.0.1:1
admin: nowhere
credentials:
  - access_key_id: standpipe
    secret_access_key: ${NOT_SET}
stores:
  lake: { type: s4 }
default_store: lak
journal: { limit: 120%, sync_threads: 0 }
streams:
  - name: "no spaces"
    destination:
      s3:
        store: lake
        bucket: b
        compression: gz
        buffering: { size: 2GiB, interval: 60 }
"#,
        &[
            "standpipe.yaml:2:1: lisen: unknown key, did you mean \"listen\"?",
            "standpipe.yaml:3:8: admin: \"nowhere\" is not an address to listen on, write for example 127.0.0.1:4573 or [::]:4573",
            "standpipe.yaml:6:24: credentials[0].secret_access_key: the environment variable NOT_SET is not set; \"${NOT_SET:-text}\" would give it a default",
            "standpipe.yaml:8:17: stores.lake.type: \"s4\" is not one of s3, file, gcs, azure, did you mean \"s3\"?",
            "standpipe.yaml:9:16: default_store: there is no store \"lak\" under \"stores\", did you mean \"lake\"?",
            "standpipe.yaml:10:19: journal.limit: \"120%\" is not a whole number of percent from 1% to 100%",
            "standpipe.yaml:10:39: journal.sync_threads: 0 is below the least allowed, 1",
            "standpipe.yaml:12:11: streams[0].name: stream name 'no spaces' holds ' ', allowed are letters, digits and '_', '.', '-'",
            "standpipe.yaml:17:22: streams[0].destination.s3.compression: \"gz\" is not one of none, gzip, zip, snappy, hadoop_snappy, zstd, UNCOMPRESSED, GZIP, ZIP, Snappy, HADOOP_SNAPPY",
            "standpipe.yaml:18:28: streams[0].destination.s3.buffering.size: 2GiB is above the most allowed, 1GiB",
            "standpipe.yaml:18:44: streams[0].destination.s3.buffering.interval: 60 has no unit, write for example 60s",
        ],
    );
}

#[test]
fn values_of_the_wrong_kind_are_refused() {
    bad(
        "listen: [1]\nstores: 7\nstreams: {name: a}\n",
        &[
            "standpipe.yaml:1:9: listen: expected one value, found a list",
            "standpipe.yaml:2:9: stores: expected a map, found a plain value",
            "standpipe.yaml:3:10: streams: expected a list, found a map",
        ],
    );
    bad("- a\n", &["standpipe.yaml:1:1: expected a map, found a list"]);
    let problems = load(&[("standpipe.yaml", "a: [1,\n")]).unwrap_err();
    assert!(problems.len() == 1 && problems[0].starts_with("standpipe.yaml:1:4: not YAML: "), "{problems:?}");
    let problems = load(&[]).unwrap_err();
    assert!(problems[0].starts_with("standpipe.yaml: cannot read the file: "), "{problems:?}");
}

#[test]
fn what_is_missing_is_named() {
    bad(
        "stores: {a: {path: x}, b: {type: file}}\nstreams:\n- destination: {}\n- name: x\n",
        &[
            "standpipe.yaml:1:13: stores.a: the key \"type\" is missing: one of s3, file, gcs, azure",
            "standpipe.yaml:1:27: stores.b: the key \"path\" is missing: The folder; a stream's bucket is a folder below it.",
            "standpipe.yaml:3:3: streams[0]: the key \"name\" is missing: The stream's name: 1 to 64 letters, digits, `_`, `.` and `-`.",
            "standpipe.yaml:3:16: streams[0].destination: name where the records go: s3, http, iceberg, opensearch, postgres, redshift, splunk",
            "standpipe.yaml:4:3: streams[1]: the key \"destination\" is missing: Where the records go.",
        ],
    );
}

#[test]
fn destinations_are_checked_against_their_store() {
    bad(
        &with_s3("{store: dsk, bucket: b}"),
        &[
            "standpipe.yaml:5:17: streams[0].destination.s3.store: there is no store \"dsk\" under \"stores\", did you mean \"disk\"?",
        ],
    );
    bad(
        &with_s3("{prefix: x}"),
        &[
            "standpipe.yaml:5:9: streams[0].destination.s3: the key \"bucket\" is missing: \"disk\" is of type s3",
        ],
    );
    bad(
        &with_destination("{acl: private, encryption: sse-s3}"),
        &[
            "standpipe.yaml:5:15: streams[0].destination.s3.acl: the store \"disk\" is of type file, only s3 has this",
            "standpipe.yaml:5:36: streams[0].destination.s3.encryption: the store \"disk\" is of type file, only s3 has this",
        ],
    );
    bad(
        "streams: [{name: a, destination: {s3: {}}}]\n",
        &[
            "standpipe.yaml:1:39: streams[0].destination.s3: no store: name one with \"store\", or set \"default_store\"",
        ],
    );
}

#[test]
fn a_batch_must_fit_its_journal_twice() {
    let limited = format!("{}  journal_limit: 8MiB\n", with_destination("{}"));
    bad(
        &limited,
        &[
            "standpipe.yaml:5:9: streams[0].destination.s3.buffering: 5MiB is more than half of the journal's limit, 8MiB: a batch could not close before the journal is full",
        ],
    );
    let limited = format!("journal: {{limit: 8MiB}}\n{}", with_destination("{buffering: {size: 6MiB}}"));
    bad(
        &limited,
        &[
            "standpipe.yaml:6:28: streams[0].destination.s3.buffering.size: 6MiB is more than half of the journal's limit, 8MiB: a batch could not close before the journal is full",
        ],
    );
    good(&format!("{}  journal_limit: 10MiB\n", with_destination("{}")));
}

#[test]
fn access_is_checked() {
    bad(
        "listen: 0.0.0.0:4573\n",
        &[
            "standpipe.yaml:1:9: listen: 0.0.0.0:4573 can be reached from other machines, so \"credentials\" must be given; 127.0.0.1 can do without, and so can \"tls\" with \"client_auth: required\"",
        ],
    );
    bad(
        "listen: 127.0.0.1:1\nadmin: localhost:1\n",
        &["standpipe.yaml:2:8: admin: 127.0.0.1:1 is the address of \"listen\" already"],
    );
    bad(
        "credentials: [{access_key_id: a}]\n",
        &[
            "standpipe.yaml:1:15: credentials[0]: the key \"secret_access_key\" or \"secret_access_key_file\" is missing",
        ],
    );
    bad(
        "stores: {a: {type: s3, access_key_id: k}, b: {type: s3, buckets: [x]}, c: {type: s3, buckets: [x]}}\n",
        &[
            "standpipe.yaml:1:13: stores.a: an access key id without \"secret_access_key\"",
            "standpipe.yaml:1:75: stores.c: the bucket \"x\" is listed by the store \"b\" already",
        ],
    );
}

#[test]
fn tls_is_read_with_its_defaults_and_versions_quoted_or_not() {
    let config = good("tls: {certificate: a.pem, key: b.pem}\n");
    let tls = config.tls.unwrap();
    assert!(
        tls.certificate.is_absolute() && tls.certificate.ends_with("a.pem") && tls.key.ends_with("b.pem")
    );
    assert_eq!((tls.min_version, tls.clients, tls.plain_listen), (TlsVersion::Tls12, None, None));
    for (more, version) in
        [("1.2", TlsVersion::Tls12), ("1.3", TlsVersion::Tls13), ("\"1.3\"", TlsVersion::Tls13)]
    {
        let tls = good(&format!("tls: {{certificate: a, key: b, min_version: {more}}}\n")).tls.unwrap();
        assert_eq!(tls.min_version, version, "{more}");
    }
    for (more, auth) in [("", ClientAuth::Required), (", client_auth: optional", ClientAuth::Optional)] {
        let tls = good(&format!("tls: {{certificate: a, key: b, client_ca: c{more}}}\n")).tls.unwrap();
        let (ca, found) = tls.clients.unwrap();
        assert!(ca.ends_with("c") && found == auth, "{more}");
    }
    let text = "listen: 0.0.0.0:1\ntls: {certificate: a, key: b, client_ca: c, plain_listen: localhost:2}\n";
    assert_eq!(good(text).tls.unwrap().plain_listen, Some("127.0.0.1:2".parse().unwrap()));
}

#[test]
fn tls_that_lets_anybody_in_or_makes_no_sense_is_refused() {
    bad(
        "tls: {certificate: a}\n",
        &[
            "standpipe.yaml:1:6: tls: the key \"key\" is missing: Its private key in PEM: PKCS #8, PKCS #1 or SEC 1.",
        ],
    );
    bad(
        "tls: {certificate: a, key: b, min_version: 1.1}\n",
        &["standpipe.yaml:1:44: tls.min_version: \"1.1\" is not one of 1.2, 1.3"],
    );
    bad(
        "tls: {certificate: a, key: b, client_auth: optional}\n",
        &["standpipe.yaml:1:44: tls.client_auth: it needs \"client_ca\": whose certificates are good"],
    );
    bad(
        "listen: 0.0.0.0:1\ntls: {certificate: a, key: b, client_ca: c, client_auth: optional}\n",
        &[
            "standpipe.yaml:1:9: listen: 0.0.0.0:1 can be reached from other machines, so \"credentials\" must be given; 127.0.0.1 can do without, and so can \"tls\" with \"client_auth: required\"",
        ],
    );
    bad(
        "tls: {certificate: a, key: b, client_ca: c, plain_listen: 0.0.0.0:1}\n",
        &[
            "standpipe.yaml:1:6: tls: \"plain_listen\" 0.0.0.0:1 can be reached from other machines, so \"credentials\" must be given; 127.0.0.1 can do without",
        ],
    );
    for (taken, port) in [("listen", 4573), ("admin", 8573)] {
        bad(
            &format!("tls: {{certificate: a, key: b, plain_listen: 127.0.0.1:{port}}}\n"),
            &[&format!("standpipe.yaml:1:6: tls: 127.0.0.1:{port} is the address of \"{taken}\" already")],
        );
    }
}

#[test]
fn addresses_are_plain_and_passwords_in_them_stay_unsaid() {
    bad(
        "stores: {a: {type: s3, endpoint: \"http://user:hunter2@host\", region: eu west}}\n",
        &[
            "standpipe.yaml:1:34: stores.a.endpoint: an address must not hold credentials",
            "standpipe.yaml:1:70: stores.a.region: \"eu west\" is not a region: letters, digits, '-' and '_'",
        ],
    );
    bad(
        "stores: {a: {type: s3, endpoint: host}}\n",
        &["standpipe.yaml:1:34: stores.a.endpoint: \"host\" is not a plain address with http:// or https://"],
    );
}

#[test]
fn secrets_come_from_files_too() {
    let text = "credentials: [{access_key_id: a, secret_access_key_file: ./key}]\n";
    let config = load(&[("standpipe.yaml", text), ("key", "hunter3\n")]).unwrap();
    assert_eq!(config.credentials[0].secret, Secret::new("hunter3"));
    let problems = load(&[("standpipe.yaml", text)]).unwrap_err();
    assert_eq!(
        problems,
        [
            "standpipe.yaml:1:58: credentials[0].secret_access_key_file: cannot read key: No such file or directory (os error 2)"
        ]
    );
    let both = "credentials: [{access_key_id: a, secret_access_key_file: ./key, secret_access_key: s}]\n";
    let problems = load(&[("standpipe.yaml", both), ("key", "hunter3\n")]).unwrap_err();
    assert_eq!(
        problems,
        [
            "standpipe.yaml:1:58: credentials[0].secret_access_key_file: give either \"secret_access_key\" or \"secret_access_key_file\", not both"
        ]
    );
}

#[test]
fn keys_and_levels_are_checked_by_those_who_use_them() {
    bad(
        &with_destination(
            "{prefix: \"!{timestamp:yyyy}/\", custom_time_zone: Europe/Wien, file_extension: gz, compression: gzip, compression_level: 12}",
        ),
        &[
            "standpipe.yaml:5:9: streams[0].destination.s3: error_output_prefix cannot be null or empty when prefix contains expressions",
            "standpipe.yaml:5:58: streams[0].destination.s3.custom_time_zone: custom time zone 'Europe/Wien' is not the name of a time zone of letters, '/' and '_'",
            "standpipe.yaml:5:87: streams[0].destination.s3.file_extension: file extension 'gz' is not a dot and up to 127 characters of a-z, 0-9 and !-_.*'()",
            "standpipe.yaml:5:129: streams[0].destination.s3.compression_level: GZIP has levels 1 to 9, not 12",
        ],
    );
    bad(
        &with_destination(
            "{prefix: \"!{timestmp:yyyy}/\", error_output_prefix: \"!{firehose:error-output-type}/\"}",
        ),
        &[
            "standpipe.yaml:5:18: streams[0].destination.s3.prefix: Namespace to the left of colon (timestmp) is an invalid keyword!",
        ],
    );
}

#[test]
fn keys_are_known_where_they_are_named_and_no_arn_leads_to_two() {
    let arn = |id: &str| format!("arn:aws:kms:us-east-1:000000000000:key/{id}");
    let (a, b) = (arn("a"), arn("b"));
    let config = good(&format!(
        "keys:\n  main: {{type: file, path: m, previous: [old], arns: [\"{a}\"]}}\n  kms: {{type: aws_kms, key_id: \
         \"{b}\", timeout: 2s}}\ndefault_key: kms\nkey_check_interval: 5s\n{}",
        with_destination("{bucket: b}").replace("- name: a\n", "- name: a\n  encryption: {key: main}\n")
    ));
    assert_eq!((config.key_of_arn(&a), config.key_of_arn(&b)), (Some("main"), Some("kms")));
    assert_eq!(config.key_of_arn(&arn("c")), None);
    assert_eq!((config.default_key.as_deref(), config.key_check_interval.as_secs()), (Some("kms"), 5));
    assert_eq!(config.streams[0].encryption_key.as_deref(), Some("main"));
    bad(
        &format!(
            "keys: {{a: {{type: file, path: m, arns: [\"{a}\"]}}, b: {{type: file, path: n, arns: [\"{a}\", x]}}}}\n"
        ),
        &[
            "standpipe.yaml:1:89: keys.b: \"arn:aws:kms:us-east-1:000000000000:key/a\" is listed by the key \"a\" already",
            "standpipe.yaml:1:162: keys.b.arns[1]: \"x\" is not a key's ARN: arn:aws:kms:<region>:<account>:key/<id>",
        ],
    );
    bad(
        &with_destination("{bucket: b}")
            .replace("- name: a\n", "- name: a\n  encryption: {key: mani}\n")
            .replace("streams:", "keys: {main: {type: file, path: m}}\ndefault_key: other\nstreams:"),
        &[
            "standpipe.yaml:3:14: default_key: there is no key \"other\" under \"keys\"",
            "standpipe.yaml:6:21: streams[0].encryption.key: there is no key \"mani\" under \"keys\", did you mean \"main\"?",
        ],
    );
}

/// A configuration with these functions, and a stream with these processors.
fn with_functions(functions: &str, processors: &str) -> String {
    let stream = with_destination("{bucket: b}")
        .replace("- name: a\n", &format!("- name: a\n  processors: {processors}\n"));
    format!("functions: {functions}\n{stream}")
}

#[test]
fn functions_are_read_and_named_by_processors() {
    let config = good(&with_functions(
        "{clean: {path: ./clean.wasm, config: {k: v}, memory: 64MiB, deadline: 1s}, other: {path: /o.wasm, grant: [clock]}}",
        r#"[{csv_to_json: {header: true}}, {wasm: clean}, {wasm: {function: other, retries: 0, batch: 64KiB}}, {append_delimiter: "\n"}]"#,
    ));
    let (clean, other) = (&config.functions["clean"], &config.functions["other"]);
    assert!(clean.path.is_absolute() && clean.path.ends_with("clean.wasm"), "{clean:?}");
    let told = BTreeMap::from([("k".to_owned(), Secret::new("v"))]);
    let expected = FunctionConfig {
        path: other.path.clone(),
        sha256: None,
        config: BTreeMap::new(),
        tables: BTreeSet::new(),
        grants: BTreeSet::from([Grant::Clock]),
        memory_bytes: 64 << 20,
        deadline: Duration::from_secs(1),
        output_bytes: 6 << 20,
        retries: 3,
        batch_bytes: 1 << 20,
    };
    assert_eq!((&clean.config, other), (&told, &expected));
    let calls: Vec<&ProcessorSpec> = config.streams[0].processors[1..3].iter().collect();
    let second = WasmCall { retries: Some(0), batch_bytes: Some(64 << 10), ..WasmCall::of("other") };
    assert_eq!(calls, [&ProcessorSpec::Wasm(WasmCall::of("clean")), &ProcessorSpec::Wasm(second)]);
}

#[test]
fn functions_that_make_no_sense_are_refused_and_what_they_are_told_stays_unsaid() {
    bad(
        &with_functions("{clean: {path: c.wasm}}", "[{wasm: claen}, {wasm: {retries: 1}}]"),
        &[
            "standpipe.yaml:5:23: streams[0].processors[0].wasm: there is no function \"claen\" under \"functions\", did you \
             mean \"clean\"?",
            "standpipe.yaml:5:38: streams[0].processors[1].wasm: the key \"function\" is missing: The function's name under \
             `functions`.",
        ],
    );
    bad(
        "functions: {\"a:b\": {path: x}, c: {path: x, sha256: 12, deadline: 1ms, config: {k: [hunter2]}, grant: [files]}}",
        &[
            "standpipe.yaml:1:20: functions.a:b: \"a:b\" is no function's name: 1 to 64 letters, digits, `-` and `_`",
            "standpipe.yaml:1:52: functions.c.sha256: \"12\" is not a SHA-256: 64 hexadecimal digits",
            "standpipe.yaml:1:66: functions.c.deadline: 1ms is below the least allowed, 10ms",
            "standpipe.yaml:1:83: functions.c.config.k: expected one value, found a list",
            "standpipe.yaml:1:103: functions.c.grant[0]: \"files\" is not one of clock, random",
        ],
    );
}
