//! Format conversion between JSON under the API's names and the SDK's structures.

use std::collections::HashMap;

use aws_sdk_firehose::types::{
    DataFormatConversionConfiguration, Deserializer, HiveJsonSerDe, InputFormatConfiguration, OpenXJsonSerDe,
    OrcSerDe, OutputFormatConfiguration, ParquetSerDe, SchemaConfiguration, Serializer,
};
use serde_json::{Value, json};

use super::input::Members;

impl Members<'_> {
    pub(super) fn conversion(&mut self) -> Option<DataFormatConversionConfiguration> {
        let mut given = self.structure("DataFormatConversionConfiguration")?;
        let input = given.structure("InputFormatConfiguration").map(|mut given| {
            let deserializer = given.structure("Deserializer").map(deserializer);
            given.finish();
            InputFormatConfiguration::builder().set_deserializer(deserializer).build()
        });
        let output = given.structure("OutputFormatConfiguration").map(|mut given| {
            let serializer = given.structure("Serializer").map(serializer);
            given.finish();
            OutputFormatConfiguration::builder().set_serializer(serializer).build()
        });
        let conversion = DataFormatConversionConfiguration::builder()
            .set_enabled(given.truth("Enabled"))
            .set_schema_configuration(given.structure("SchemaConfiguration").map(schema))
            .set_input_format_configuration(input)
            .set_output_format_configuration(output);
        given.finish();
        Some(conversion.build())
    }
}

fn schema(mut given: Members<'_>) -> SchemaConfiguration {
    let schema = SchemaConfiguration::builder()
        .set_role_arn(given.text("RoleARN"))
        .set_catalog_id(given.text("CatalogId"))
        .set_database_name(given.text("DatabaseName"))
        .set_table_name(given.text("TableName"))
        .set_region(given.text("Region"))
        .set_version_id(given.text("VersionId"));
    given.finish();
    schema.build()
}

fn deserializer(mut given: Members<'_>) -> Deserializer {
    let openx = given.structure("OpenXJsonSerDe").map(|mut given| {
        let mappings: Option<HashMap<_, _>> = given.words("ColumnToJsonKeyMappings");
        let openx = OpenXJsonSerDe::builder()
            .set_case_insensitive(given.truth("CaseInsensitive"))
            .set_convert_dots_in_json_keys_to_underscores(given.truth("ConvertDotsInJsonKeysToUnderscores"))
            .set_column_to_json_key_mappings(mappings);
        given.finish();
        openx.build()
    });
    let hive = given.structure("HiveJsonSerDe").map(|mut given| {
        let hive = HiveJsonSerDe::builder().set_timestamp_formats(given.texts("TimestampFormats"));
        given.finish();
        hive.build()
    });
    given.finish();
    Deserializer::builder().set_open_x_json_ser_de(openx).set_hive_json_ser_de(hive).build()
}

fn serializer(mut given: Members<'_>) -> Serializer {
    let parquet = given.structure("ParquetSerDe").map(|mut given| {
        let parquet = ParquetSerDe::builder()
            .set_block_size_bytes(given.number("BlockSizeBytes"))
            .set_page_size_bytes(given.number("PageSizeBytes"))
            .set_compression(given.named("Compression"))
            .set_enable_dictionary_compression(given.truth("EnableDictionaryCompression"))
            .set_max_padding_bytes(given.number("MaxPaddingBytes"))
            .set_writer_version(given.named("WriterVersion"));
        given.finish();
        parquet.build()
    });
    let orc = given.structure("OrcSerDe").map(|mut given| {
        let orc = OrcSerDe::builder()
            .set_stripe_size_bytes(given.number("StripeSizeBytes"))
            .set_block_size_bytes(given.number("BlockSizeBytes"))
            .set_row_index_stride(given.number("RowIndexStride"))
            .set_enable_padding(given.truth("EnablePadding"))
            .set_padding_tolerance(given.double("PaddingTolerance"))
            .set_compression(given.named("Compression"))
            .set_bloom_filter_columns(given.texts("BloomFilterColumns"))
            .set_bloom_filter_false_positive_probability(given.double("BloomFilterFalsePositiveProbability"))
            .set_dictionary_key_threshold(given.double("DictionaryKeyThreshold"))
            .set_format_version(given.named("FormatVersion"));
        given.finish();
        orc.build()
    });
    given.finish();
    Serializer::builder().set_parquet_ser_de(parquet).set_orc_ser_de(orc).build()
}

pub(super) fn described(conversion: &DataFormatConversionConfiguration) -> Value {
    let schema = conversion.schema_configuration().map(|schema| {
        json!({
            "RoleARN": schema.role_arn(),
            "CatalogId": schema.catalog_id(),
            "DatabaseName": schema.database_name(),
            "TableName": schema.table_name(),
            "Region": schema.region(),
            "VersionId": schema.version_id(),
        })
    });
    let input = conversion.input_format_configuration().map(|input| {
        json!({ "Deserializer": input.deserializer().map(|chosen| json!({
            "OpenXJsonSerDe": chosen.open_x_json_ser_de().map(|openx| json!({
                "CaseInsensitive": openx.case_insensitive(),
                "ConvertDotsInJsonKeysToUnderscores": openx.convert_dots_in_json_keys_to_underscores(),
                "ColumnToJsonKeyMappings": openx.column_to_json_key_mappings(),
            })),
            // A list that was not given is empty here.
            "HiveJsonSerDe": chosen.hive_json_ser_de().map(|hive| json!({
                "TimestampFormats": Some(hive.timestamp_formats()).filter(|formats| !formats.is_empty()),
            })),
        })) })
    });
    let output = conversion.output_format_configuration().map(|output| {
        json!({ "Serializer": output.serializer().map(|chosen| json!({
            "ParquetSerDe": chosen.parquet_ser_de().map(|parquet| json!({
                "BlockSizeBytes": parquet.block_size_bytes(),
                "PageSizeBytes": parquet.page_size_bytes(),
                "Compression": parquet.compression().map(|name| name.as_str()),
                "EnableDictionaryCompression": parquet.enable_dictionary_compression(),
                "MaxPaddingBytes": parquet.max_padding_bytes(),
                "WriterVersion": parquet.writer_version().map(|name| name.as_str()),
            })),
            "OrcSerDe": chosen.orc_ser_de().map(|orc| json!({
                "StripeSizeBytes": orc.stripe_size_bytes(),
                "BlockSizeBytes": orc.block_size_bytes(),
                "RowIndexStride": orc.row_index_stride(),
                "EnablePadding": orc.enable_padding(),
                "PaddingTolerance": orc.padding_tolerance(),
                "Compression": orc.compression().map(|name| name.as_str()),
                "BloomFilterColumns": Some(orc.bloom_filter_columns()).filter(|columns| !columns.is_empty()),
                "BloomFilterFalsePositiveProbability": orc.bloom_filter_false_positive_probability(),
                "DictionaryKeyThreshold": orc.dictionary_key_threshold(),
                "FormatVersion": orc.format_version().map(|name| name.as_str()),
            })),
        })) })
    });
    json!({
        "Enabled": conversion.enabled(),
        "SchemaConfiguration": schema,
        "InputFormatConfiguration": input,
        "OutputFormatConfiguration": output,
    })
}
