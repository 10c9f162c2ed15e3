//! Reference tables and who names them.

use standpipe_transform::TableFormat;
use standpipe_transform::processors::{EnrichOptions, OnMiss};

use super::*;
use crate::config::TableSource;

#[test]
fn tables_are_read_and_named_by_enrich_and_by_functions() {
    let yaml = with_functions(
        "{f: {path: f.wasm, tables: [devices]}}",
        "[{enrich: {table: devices, key: .id, columns: [site, model]}}, {enrich: {table: devices, key: .id, columns: {site: \
         where}, miss: drop}}, {enrich: {table: devices, key: .id}}]",
    );
    let tables =
        "tables: {devices: {path: ./d.csv, format: jsonl, key: device_id, refresh: 5m, max: 1MiB}}\n";
    let config = good(&format!("{tables}{yaml}"));
    let devices = &config.tables["devices"];
    let TableSource::File(path) = &devices.from else { panic!("{devices:?}") };
    assert!(path.is_absolute() && path.ends_with("d.csv"), "{devices:?}");
    assert_eq!(
        (devices.format, devices.key.as_str(), devices.refresh, devices.max_bytes),
        (TableFormat::JsonLines, "device_id", Some(Duration::from_mins(5)), 1 << 20)
    );
    assert_eq!(config.functions["f"].tables, BTreeSet::from(["devices".to_owned()]));
    let pair = |column: &str, name: &str| (column.to_owned(), name.to_owned());
    let columns = [vec![pair("site", "site"), pair("model", "model")], vec![pair("site", "where")], vec![]];
    let misses = [OnMiss::Keep, OnMiss::Drop, OnMiss::Keep];
    let expected = columns.into_iter().zip(misses).map(|(columns, on_miss)| ProcessorSpec::Enrich {
        table: "devices".to_owned(),
        options: EnrichOptions { key: ".id".to_owned(), columns, on_miss },
    });
    assert_eq!(config.streams[0].processors, expected.collect::<Vec<_>>());
}

#[test]
fn tables_that_make_no_sense_are_refused_and_unknown_ones_are_guessed() {
    let yaml = with_functions(
        "{f: {path: f.wasm, tables: [devces]}}",
        "[{enrich: {table: device, key: .id}}, {enrich: {table: devices, key: now}}, {enrich: {key: .id, miss: skip}}]",
    );
    let tables = "tables: {devices: {path: d.csv, key: k}, \"a b\": {path: x, key: k, format: xml, max: 2GiB, refresh: 1ms}}\n";
    bad(
        &format!("{tables}{yaml}"),
        &[
            "standpipe.yaml:1:49: tables.a b: \"a b\" is no table's name: 1 to 64 letters, digits, `-` and `_`",
            "standpipe.yaml:1:75: tables.a b.format: \"xml\" is not one of csv, jsonl, parquet",
            "standpipe.yaml:1:85: tables.a b.max: 2GiB is above the most allowed, 1GiB",
            "standpipe.yaml:1:100: tables.a b.refresh: 1ms is below the least allowed, 1s",
            "standpipe.yaml:2:16: functions.f: there is no table \"devces\" under \"tables\", did you mean \"devices\"?",
            "standpipe.yaml:6:25: streams[0].processors[0].enrich: there is no table \"device\" under \"tables\", did you mean \
             \"devices\"?",
            "standpipe.yaml:6:62: streams[0].processors[1].enrich: enrich: key `now` uses `now`, which is not available: the \
             same record has to give the same result",
            "standpipe.yaml:6:100: streams[0].processors[2].enrich: the key \"table\" is missing: The table's name under \
             `tables`.",
            "standpipe.yaml:6:117: streams[0].processors[2].enrich.miss: \"skip\" is not one of keep, drop, fail",
        ],
    );
}

/// Stores and a table `t` that is an object of one.
fn with_objects(tables: &str) -> String {
    format!(
        "stores:\n  one: {{type: s3, buckets: [ref]}}\n  many: {{type: s3}}\n  folder: {{type: file, path: /var/lib/lake}}\ntables:\n{tables}"
    )
}

#[test]
fn a_table_is_a_file_or_an_object_and_its_format_goes_by_its_name() {
    let config = good(&with_objects(
        "  a: {store: one, object: ref/sites.parquet, key: k, refresh: 5m}\n  b: {store: folder, object: sites.jsonl, key: k}\n  \
         c: {store: many, bucket: other, object: sites.jsonl, format: csv, key: k}\n  d: {path: sites.parquet, key: k}\n",
    ));
    let object = |name: &str| {
        let table = &config.tables[name];
        let of = table.object().unwrap();
        (of.store.as_str(), of.bucket.as_str(), of.object.as_str(), table.format)
    };
    assert_eq!(object("a"), ("one", "ref", "ref/sites.parquet", TableFormat::Parquet));
    assert_eq!(object("b"), ("folder", "", "sites.jsonl", TableFormat::JsonLines));
    assert_eq!(object("c"), ("many", "other", "sites.jsonl", TableFormat::Csv));
    assert_eq!(config.tables["d"].format, TableFormat::Parquet);
    bad(
        &with_objects(
            "  a: {store: many, object: x, key: k}\n  b: {store: on, object: x, key: k}\n  c: {path: x, object: y, key: k}\n  \
             d: {store: one, key: k}\n",
        ),
        &[
            "standpipe.yaml:6:6: tables.a: give its \"bucket\": not exactly one is under \"buckets\" of its store",
            "standpipe.yaml:7:6: tables.b: there is no store \"on\" under \"stores\", did you mean \"one\"?",
            "standpipe.yaml:8:24: tables.c.object: give either \"path\" or \"object\", not both",
            "standpipe.yaml:9:6: tables.d: give its \"path\", or \"store\" and \"object\"",
        ],
    );
}
