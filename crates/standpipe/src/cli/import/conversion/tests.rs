//! Format conversion, imported or told, and what of it comes back from an export.

use proptest::prelude::*;
use serde_json::{Value, json};
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
        (conversion(json!({"OpenXJsonSerDe": {}}), json!({"OrcSerDe": {}})), None),
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
    let compression =
        prop::sample::select(vec![Compression::Uncompressed, Compression::Gzip, Compression::Snappy]);
    let sizes = (64_u64 << 20..=1 << 30, 64_u64 << 10..=8 << 20, 0_u64..=1 << 20);
    (prop_oneof![openx, hive], compression, sizes, any::<bool>(), 1_u8..=2).prop_map(
        move |(deserializer, compression, (block, page, padding), dictionary, writer_version)| Conversion {
            schema: TableSchema::new(columns.to_vec()).unwrap(),
            table: CatalogTable {
                catalog_id: "000000000000".to_owned(),
                database: "lake".to_owned(),
                table: "t".to_owned(),
                region: "us-east-1".to_owned(),
                version_id: "LATEST".to_owned(),
                role_arn: None,
            },
            deserializer,
            output: OutputFormat::Parquet(ParquetOptions {
                block_size_bytes: block,
                page_size_bytes: page,
                max_padding_bytes: padding,
                compression,
                dictionary,
                writer_version,
                ..ParquetOptions::default()
            }),
        },
    )
}
