//! Format conversion, imported or told, and what of it comes back from an export.

use proptest::prelude::*;
use serde_json::{Value, json};
use standpipe_convert::orc::{Compression as OrcCompression, FormatVersion, OrcOptions};
use standpipe_convert::parquet::{Compression, ParquetOptions};
use standpipe_convert::{Column, Deserializer, OpenX, TableSchema};

use super::super::tests::check_member;
use crate::spec::{CatalogTable, Conversion, OutputFormat};

fn conversion(deserializer: Value, serializer: Value) -> Value {
    json!({
        "SchemaConfiguration": {"RoleARN": "r", "DatabaseName": "d", "TableName": "t"},
        "InputFormatConfiguration": {"Deserializer": deserializer},
        "OutputFormatConfiguration": {"Serializer": serializer},
    })
}

#[test]
fn a_conversion_becomes_a_format_and_a_deserializer_or_is_told() {
    for (value, lines) in [
        (
            conversion(json!({"OpenXJsonSerDe": {}}), json!({"ParquetSerDe": {}})),
            Some(
                "size: 128MiB\n format:\n parquet:\n schema: d.t\n dictionary: false\n openx:\n d.t: { file: ./d.t.json }",
            ),
        ),
        (
            conversion(
                json!({"HiveJsonSerDe": {"TimestampFormats": ["millis"]}}),
                json!({"ParquetSerDe": {
                "Compression": "GZIP", "BlockSizeBytes": 67_108_864, "EnableDictionaryCompression": "true", "WriterVersion": "V2"}}),
            ),
            Some(
                "compression: GZIP\n block_size: \"67108864\"\n dictionary: true\n writer_version: V2\n hive:\n - millis",
            ),
        ),
        (
            conversion(json!({"OpenXJsonSerDe": {}}), json!({"OrcSerDe": {}})),
            Some(
                "size: 128MiB\n format:\n orc:\n schema: d.t\n dictionary_threshold: \"0\"\n padding: false\n openx:",
            ),
        ),
        (
            conversion(
                json!({"OpenXJsonSerDe": {}}),
                json!({"OrcSerDe": {"Compression": "ZLIB", "RowIndexStride": 2000, "DictionaryKeyThreshold": 0.5,
                    "EnablePadding": true, "BloomFilterColumns": ["a"], "FormatVersion": "V0_11"}}),
            ),
            Some(
                "compression: ZLIB\n row_index_stride: \"2000\"\n dictionary_threshold: \"0.5\"\n version: V0_11\n \
                 padding: true\n bloom_filters:\n - a",
            ),
        ),
        (conversion(json!({"OpenXJsonSerDe": {}}), json!({"ParquetSerDe": {}, "OrcSerDe": {}})), None),
        (conversion(json!({"OpenXJsonSerDe": {}}), json!({})), None),
        (conversion(json!({}), json!({"ParquetSerDe": {}})), None),
    ] {
        check_member("DataFormatConversionConfiguration", value, lines);
    }
}

/// Conversions that the API and the file can say.
pub(crate) fn conversions() -> impl Strategy<Value = Conversion> {
    let columns = [("a", "int"), ("b", "string")].map(|(name, kind)| Column::parse(name, kind).unwrap());
    let openx = (any::<bool>(), any::<bool>(), prop::option::of("[a-z.]{1,9}")).prop_map(
        |(case_insensitive, dots_to_underscores, key)| {
            let mappings = key.map(|key| ("b".to_owned(), key)).into_iter().collect();
            Deserializer::OpenX(OpenX { case_insensitive, dots_to_underscores, mappings })
        },
    );
    let formats = prop::sample::subsequence(vec!["millis", "yyyy-MM-dd'T'HH:mm:ss"], 0..=2);
    let hive = formats.prop_map(|formats| Deserializer::Hive {
        timestamp_formats: formats.into_iter().map(|format| format.parse().unwrap()).collect(),
    });
    let output = prop_oneof![parquet().prop_map(OutputFormat::Parquet), orc().prop_map(OutputFormat::Orc)];
    (prop_oneof![openx, hive], output).prop_map(move |(deserializer, output)| Conversion {
        schema: TableSchema::new(columns.to_vec()).unwrap(),
        columns_from: None,
        table: CatalogTable {
            catalog_id: "000000000000".to_owned(),
            database: "lake".to_owned(),
            table: "t".to_owned(),
            region: "us-east-1".to_owned(),
            version_id: "LATEST".to_owned(),
            role_arn: None,
        },
        deserializer,
        output,
    })
}

fn parquet() -> impl Strategy<Value = ParquetOptions> {
    let compression =
        prop::sample::select(vec![Compression::Uncompressed, Compression::Gzip, Compression::Snappy]);
    let sizes = (64_u64 << 20..=1 << 30, 64_u64 << 10..=8 << 20, 0_u64..=1 << 20);
    (compression, sizes, any::<bool>(), 1_u8..=2).prop_map(
        |(compression, (block, page, padding), dictionary, writer_version)| ParquetOptions {
            block_size_bytes: block,
            page_size_bytes: page,
            max_padding_bytes: padding,
            compression,
            dictionary,
            writer_version,
            ..ParquetOptions::default()
        },
    )
}

fn orc() -> impl Strategy<Value = OrcOptions> {
    let compression =
        prop::sample::select(vec![OrcCompression::None, OrcCompression::Zlib, OrcCompression::Snappy]);
    let version = prop::sample::select(vec![FormatVersion::V0_11, FormatVersion::V0_12]);
    let sizes = (8_u64 << 20..=1 << 30, 64_u64 << 20..=1 << 30, 1_000_u32..=100_000);
    let part = || (0_u32..=1_000).prop_map(|thousandths| f64::from(thousandths) / 1_000.0);
    let bloom = (prop::sample::subsequence(vec!["a", "b"], 0..=2), 1_u32..=500);
    (compression, version, sizes, (any::<bool>(), part()), bloom, part()).prop_map(
        |(compression, version, (stripe, block, stride), (padding, tolerance), (columns, fpp), threshold)| {
            OrcOptions {
                stripe_size_bytes: stripe,
                block_size_bytes: block,
                row_index_stride: stride,
                enable_padding: padding,
                padding_tolerance: tolerance,
                compression,
                bloom_filter_columns: columns.into_iter().map(str::to_owned).collect(),
                bloom_filter_fpp: f64::from(fpp) / 1_000.0,
                dictionary_key_threshold: threshold,
                format_version: version,
            }
        },
    )
}
