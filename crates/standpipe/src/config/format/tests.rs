//! Formats of streams, good and bad, with the exact messages.

use std::collections::BTreeMap;

use standpipe_convert::avro;
use standpipe_convert::orc::{Compression as OrcCompression, FormatVersion, OrcOptions};
use standpipe_convert::parquet::{Compression, ParquetOptions, Statistics};
use standpipe_convert::{Deserializer, OpenX, TableSchema};
use standpipe_model::DestinationId;

use super::super::tests::{bad, good, load, with_destination};
use crate::spec::{CatalogKind, CatalogTable, ColumnSource, Conversion, OutputFormat, S3Destination};

const SCHEMAS: &str = "schemas: { lake.flights: { columns: { year: int, tailnum: string, delays: \"struct<dep:double,arr:double>\" } } }\n";

/// A stream with this `s3:` section, and whatever else on lines of its own.
fn with_format(s3: &str, beside: &[&str]) -> String {
    let lines: String = beside.iter().map(|line| format!("  {line}\n")).collect();
    format!("{SCHEMAS}{}{lines}", with_destination(s3))
}

fn loaded(s3: &str, beside: &[&str]) -> S3Destination {
    good(&with_format(s3, beside)).streams.remove(0).destination
}

fn conversion(beside: &[&str]) -> Conversion {
    loaded("{}", beside).conversion.unwrap()
}

#[test]
fn a_stream_with_a_format_has_the_columns_of_its_schema_and_larger_objects() {
    let destination = loaded("{}", &["format: { parquet: { schema: lake.flights, compression: snappy } }"]);
    assert_eq!(destination.buffering.size_bytes, 128 << 20);
    assert_eq!(destination.default_extension(), ".parquet");
    let conversion = destination.conversion.unwrap();
    assert_eq!(conversion.schema.columns().len(), 3);
    assert_eq!(conversion.deserializer, Deserializer::default());
    assert_eq!(conversion.output, OutputFormat::Parquet(ParquetOptions::default()));
    let table = CatalogTable {
        catalog_id: "000000000000".to_owned(),
        database: "lake".to_owned(),
        table: "flights".to_owned(),
        region: "us-east-1".to_owned(),
        version_id: "LATEST".to_owned(),
        role_arn: None,
    };
    assert_eq!(conversion.table, table);
    let small = loaded("{buffering: {size: 1MiB}}", &["format: {parquet: {schema: lake.flights}}"]);
    assert_eq!(small.buffering.size_bytes, 1 << 20);
    let plain = loaded("{}", &[]);
    assert_eq!((plain.buffering.size_bytes, plain.conversion), (5 << 20, None));
}

#[test]
fn every_setting_of_parquet_is_read() {
    let all = "format: {parquet: {schema: lake.flights, compression: lz4_raw, block_size: 64MiB, page_size: 64KiB, dictionary: \
               false, writer_version: V2, max_padding: 1MiB, statistics: chunk, bloom_filters: [tailnum], sort_columns: \
               [tailnum, {column: year, descending: true}], row_group_rows: 1000}}";
    let expected = ParquetOptions {
        block_size_bytes: 64 << 20,
        page_size_bytes: 64 << 10,
        compression: Compression::Lz4Raw,
        dictionary: false,
        writer_version: 2,
        max_padding_bytes: 1 << 20,
        statistics: Statistics::Chunk,
        bloom_filters: vec!["tailnum".to_owned()],
        sort_columns: vec![("tailnum".to_owned(), false), ("year".to_owned(), true)],
        row_group_rows: 1000,
    };
    assert_eq!(conversion(&[all]).output, OutputFormat::Parquet(expected));
}

#[test]
fn every_setting_of_orc_is_read() {
    let plain = loaded("{}", &["format: { orc: { schema: lake.flights } }"]);
    assert_eq!((plain.buffering.size_bytes, plain.default_extension()), (128 << 20, ".orc".to_owned()));
    let expected = OrcOptions { dictionary_key_threshold: 0.8, ..OrcOptions::default() };
    assert_eq!(plain.conversion.unwrap().output, OutputFormat::Orc(expected));
    let all = "format: {orc: {schema: lake.flights, compression: lz4, stripe_size: 8MiB, block_size: 64MiB, row_index_stride: \
               1000, padding: true, padding_tolerance: 0.25, bloom_filters: [tailnum, delays.dep], bloom_filter_fpp: 0.01, \
               dictionary_threshold: 1, version: \"0.11\"}}";
    let expected = OrcOptions {
        stripe_size_bytes: 8 << 20,
        block_size_bytes: 64 << 20,
        row_index_stride: 1000,
        enable_padding: true,
        padding_tolerance: 0.25,
        compression: OrcCompression::Lz4,
        bloom_filter_columns: vec!["tailnum".to_owned(), "delays.dep".to_owned()],
        bloom_filter_fpp: 0.01,
        dictionary_key_threshold: 1.0,
        format_version: FormatVersion::V0_11,
    };
    assert_eq!(conversion(&[all]).output, OutputFormat::Orc(expected));
}

#[test]
fn avro_and_json_are_read_with_what_they_compress_by() {
    for (word, compression) in [
        ("", avro::Compression::Snappy),
        (", compression: deflate", avro::Compression::Deflate),
        (", compression: zstandard", avro::Compression::Zstandard),
        (", compression: none", avro::Compression::None),
    ] {
        let loaded = loaded("{}", &[&format!("format: {{avro: {{schema: lake.flights{word}}}}}")]);
        assert_eq!(loaded.default_extension(), ".avro");
        assert_eq!(loaded.conversion.unwrap().output, OutputFormat::Avro { compression });
    }
    for (s3, extension) in
        [("{}", ".json"), ("{compression: gzip}", ".json.gz"), ("{compression: zstd}", ".json.zst")]
    {
        let loaded = loaded(s3, &["format: {json: {schema: lake.flights}}"]);
        assert_eq!(
            (loaded.default_extension().as_str(), loaded.buffering.size_bytes),
            (extension, 128 << 20)
        );
        assert_eq!(loaded.conversion.unwrap().output, OutputFormat::Json);
    }
    let text = with_format("{}", &["format: {avro: {schema: lake.flights}}"]).replace("tailnum", "tail-num");
    let problem = "standpipe.yaml:7:27: streams[0].format.avro.schema: 'tail-num' is no name in Avro, which has letters, digits \
                   and underscores, and no digit in front";
    bad(&text, &[problem]);
    refused(
        "{}",
        &["format: {avro: {schema: lake.flights}, json: {schema: lake.flights}}"],
        "format.json: give either \"avro\" or \"json\", not both",
    );
}

#[test]
fn both_deserializers_are_read() {
    let format = "format: {parquet: {schema: lake.flights}}";
    let openx =
        "deserializer: {openx: {case_insensitive: false, dots_to_underscores: true, mappings: {year: y.x}}}";
    let mappings = BTreeMap::from([("year".to_owned(), "y.x".to_owned())]);
    let expected = OpenX { case_insensitive: false, dots_to_underscores: true, mappings };
    assert_eq!(conversion(&[format, openx]).deserializer, Deserializer::OpenX(expected));
    let hive = "deserializer: {hive: {timestamp_formats: [\"yyyy-MM-dd'T'HH:mm:ss\", millis]}}";
    let timestamp_formats = vec!["yyyy-MM-dd'T'HH:mm:ss".parse().unwrap(), "millis".parse().unwrap()];
    assert_eq!(conversion(&[format, hive]).deserializer, Deserializer::Hive { timestamp_formats });
    let empty = conversion(&[format, "deserializer: {hive: {}}"]).deserializer;
    assert_eq!(empty, Deserializer::Hive { timestamp_formats: Vec::new() });
    assert_eq!(conversion(&[format, "deserializer: {}"]).deserializer, Deserializer::default());
}

/// `expect` is the one problem, without the file's name and the line.
#[track_caller]
fn refused(s3: &str, beside: &[&str], expect: &str) {
    let text = with_format(s3, beside);
    let problems = load(&[("standpipe.yaml", &text)]).map(drop).expect_err(expect);
    let told: Vec<_> = problems.iter().filter_map(|problem| problem.splitn(4, ':').nth(3)).collect();
    assert_eq!(told, [format!(" streams[0].{expect}")], "{text}");
}

#[test]
fn what_does_not_fit_the_table_is_refused_with_its_place() {
    let parquet = |settings: &str, expect: &str| {
        let format = format!("format: {{parquet: {{schema: lake.flights, {settings}}}}}");
        refused("{}", &[&format], &format!("format.parquet.{expect}"));
    };
    parquet(
        "sort_columns: [yaer]",
        "sort_columns: there is no column \"yaer\" in lake.flights, did you mean \"year\"?",
    );
    parquet(
        "sort_columns: [delays]",
        "sort_columns: sort_columns: rows cannot be sorted by 'delays', which is nested",
    );
    parquet("bloom_filters: [other]", "bloom_filters: there is no column \"other\" in lake.flights");
    parquet("bloom_filters: [delays]", "bloom_filters: \"delays\" is nested, and has no values to look for");
    parquet("block_size: 1KiB", "block_size: 1KiB is below the least allowed, 1MiB");
    parquet("page_size: 2GiB", "page_size: 2GiB is above the most allowed, 1GiB");
    parquet("row_group_rows: 0", "row_group_rows: 0 is below the least allowed, 1");
    parquet(
        "compression: zip",
        "compression: \"zip\" is not one of snappy, gzip, zstd, lz4_raw, none, SNAPPY, GZIP, UNCOMPRESSED, did you mean \
         \"gzip\"?",
    );
    refused(
        "{}",
        &["format: {parquet: {schema: lake.flihgts}}"],
        "format.parquet.schema: there is no schema \"lake.flihgts\" under \"schemas\", did you mean \"lake.flights\"?",
    );
    let mapped = "deserializer: {openx: {mappings: {yaer: y}}}";
    refused(
        "{}",
        &["format: {parquet: {schema: lake.flights}}", mapped],
        "deserializer.openx.mappings: there is no column \"yaer\" in lake.flights, did you mean \"year\"?",
    );
    refused(
        "{}",
        &[
            "format: {parquet: {schema: lake.flights}}",
            "deserializer: {hive: {timestamp_formats: [\"jjjj\"]}}",
        ],
        "deserializer.hive.timestamp_formats[0]: \"jjjj\" is neither a pattern of Joda nor millis",
    );
    refused("{}", &[mapped], "deserializer: it reads rows for a \"format\", and there is none");
    refused("{}", &["format: {}"], "format: give one of \"parquet\", \"orc\", \"avro\" and \"json\"");
    refused(
        "{}",
        &["format: {parquet: {schema: lake.flights}}", "deserializer: {openx: {}, hive: {}}"],
        "deserializer.hive: give either \"openx\" or \"hive\", not both",
    );
}

#[test]
fn what_orc_cannot_do_is_refused_with_its_place() {
    let orc = |settings: &str, expect: &str| {
        let format = format!("format: {{orc: {{schema: lake.flights, {settings}}}}}");
        refused("{}", &[&format], &format!("format.orc.{expect}"));
    };
    orc("padding_tolerance: 1.5", "padding_tolerance: 1.5 is above the most allowed, 1");
    orc("bloom_filter_fpp: -0.1", "bloom_filter_fpp: -0.1 is below the least allowed, 0");
    orc("dictionary_threshold: often", "dictionary_threshold: \"often\" is not a number");
    orc("stripe_size: 1KiB", "stripe_size: 1KiB is below the least allowed, 1MiB");
    orc("version: 0.13", "version: \"0.13\" is not one of 0.12, 0.11, V0_12, V0_11, did you mean \"0.12\"?");
    orc("bloom_filters: [other]", "bloom_filters: there is no column 'other' that can have a bloom filter");
    orc(
        "bloom_filters: [year], bloom_filter_fpp: 0",
        "bloom_filter_fpp: bloom filters of 10000 rows and a false positive probability of 0 take inf bits, allowed are 1 to \
         64000000",
    );
    orc(
        "bloom_filters: [year], row_index_stride: 0",
        "row_index_stride: bloom filters need a row index: row_index_stride is 0",
    );
    refused(
        "{}",
        &["format: {parquet: {schema: lake.flights}, orc: {schema: lake.flights}}"],
        "format.orc: give either \"parquet\" or \"orc\", not both",
    );
}

#[test]
fn what_is_for_rows_of_text_is_refused_beside_a_format() {
    let format = "format: {parquet: {schema: lake.flights}}";
    let s3 = |s3: &str, expect: &str| refused(s3, &[format], &format!("destination.s3.{expect}"));
    s3(
        "{compression: gzip}",
        "compression: gzip is not allowed with \"format\", which compresses within: none here, and \"compression\" there",
    );
    s3(
        "{compression_format: Snappy}",
        "compression_format: snappy is not allowed with \"format\", which compresses within: none here, and \"compression\" \
         there",
    );
    s3(
        "{delimiter: newline}",
        "delimiter: with \"format\" there is no text that a delimiter could be in: none is allowed",
    );
    refused(
        "{}",
        &[format, "processors: [{append_delimiter: \"\\n\"}]"],
        "processors: append_delimiter ends rows of text, and with \"format\" there is none in the objects",
    );
    good(&with_format("{compression: none, delimiter: none, file_extension: .pq}", &[format]));
    let json = "format: {json: {schema: lake.flights}}";
    let message = "rows of JSON end with a newline as it is: none is allowed";
    refused("{delimiter: newline}", &[json], &format!("destination.s3.delimiter: {message}"));
    refused(
        "{}",
        &[json, "processors: [{append_delimiter: \"\\n\"}]"],
        "processors: append_delimiter ends rows, and those of JSON end with a newline as it is",
    );
    bad(
        &with_format("{}", &[format, "journal_limit: 100MiB"]),
        &[
            "standpipe.yaml:6:9: streams[0].destination.s3.buffering: 128MiB is more than half of the journal's limit, 100MiB: a batch \
             could not close before the journal is full",
        ],
    );
}

#[test]
fn rows_may_say_themselves_what_their_columns_are_by_the_lenient_rules_alone() {
    let given = conversion(&[
        "format: {parquet: {schema: infer}}",
        "deserializer: {openx: {dots_to_underscores: true}}",
    ]);
    assert_eq!(
        (given.columns_from, given.schema),
        (Some(ColumnSource::Infer(1_000)), TableSchema::default())
    );
    assert_eq!((given.table.database.as_str(), given.table.table.as_str()), ("inferred", "a"));
    assert_eq!(
        conversion(&["format: {orc: {schema: infer, columns_max: 7}}"]).columns_from,
        Some(ColumnSource::Infer(7))
    );
    for (lines, place) in [
        (&["format: {parquet: {schema: infer}}", "deserializer: {hive: {}}"][..], "deserializer.hive"),
        (
            &["format: {parquet: {schema: infer}}", "deserializer: {openx: {mappings: {a: b}}}"],
            "deserializer.openx.mappings",
        ),
        (
            &["format: {parquet: {schema: infer}}", "deserializer: {openx: {case_insensitive: false}}"],
            "deserializer.openx",
        ),
        (&["format: {parquet: {schema: infer, sort_columns: [a]}}"], "format.parquet.sort_columns"),
        (&["format: {orc: {schema: infer, bloom_filters: [a]}}"], "format.orc.bloom_filters"),
        (&["format: {avro: {schema: infer}}"], "format.avro.schema"),
        (&["format: {parquet: {schema: lake.flights, columns_max: 7}}"], "format.parquet.columns_max"),
        (&["format: {parquet: {schema: infer, columns_max: 5001}}"], "format.parquet.columns_max"),
    ] {
        let told = load(&[("standpipe.yaml", &with_format("{}", lines))]).expect_err(place);
        assert!(matches!(&told[..], [one] if one.contains(&format!("streams[0].{place}: "))), "{told:?}");
    }
}

#[test]
fn a_table_that_the_file_does_not_have_is_looked_for_in_the_catalog_if_there_is_one() {
    let glue = "glue: { endpoint: 'http://127.0.0.1:1', region: eu-west-1 }";
    let iceberg = "iceberg: { uri: 'http://127.0.0.1:1', oauth: { client_id: me, client_secret: hunter2 } }";
    let with = |catalogs: &str, format: &str| {
        let text = format!("catalogs: {{ {catalogs} }}\n{}", with_format("{}", &[format]));
        good(&text).streams.remove(0).destination.conversion.unwrap()
    };
    let both = format!("{glue}, {iceberg}");
    let of_file = with(&both, "format: {parquet: {schema: lake.flights}}");
    assert_eq!((of_file.columns_from, of_file.schema.columns().len()), (None, 3));
    let written_out = |catalog: &str| {
        format!("format: {{orc: {{schema: {{catalog: {catalog}, database: a.b, table: c, version: 7}}}}}}")
    };
    let (glues, icebergs) = (CatalogKind::Glue, CatalogKind::Iceberg);
    for (catalogs, format, kind, of) in [
        (glue, "format: {parquet: {schema: lake.trips}}", glues, "glue lake trips LATEST"),
        (iceberg, "format: {parquet: {schema: lake.trips}}", icebergs, "iceberg lake trips LATEST"),
        (&both, "format: {parquet: {schema: lake.trips}}", glues, "glue lake trips LATEST"),
        (glue, &written_out("glue"), glues, "glue a.b c 7"),
        (&both, &written_out("iceberg"), icebergs, "iceberg a.b c 7"),
    ] {
        let found = with(catalogs, format);
        assert_eq!(
            (found.catalog(), found.recorded_of(&DestinationId::primary()).as_deref()),
            (Some(kind), Some(of))
        );
        let kept = serde_json::to_value(found.columns_from).unwrap();
        assert_eq!(
            (kept.as_str(), serde_json::from_value(kept.clone()).unwrap()),
            (Some(kind.name()), found.columns_from)
        );
    }
    let with_glue = format!("catalogs: {{ {glue} }}\n{}", with_format("{}", &[&written_out("iceberg")]));
    for (text, name) in [(with_format("{}", &[&written_out("glue")]), "glue"), (with_glue, "iceberg")] {
        let told = load(&[("standpipe.yaml", &text)]).expect_err("there is no such catalog");
        let expected = format!("there is no \"{name}\" under \"catalogs\"");
        assert!(matches!(&told[..], [one] if one.ends_with(&expected)), "{told:?}");
    }
}
