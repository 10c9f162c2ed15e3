//! Between a `DataFormatConversionConfiguration` and a conversion of the specification.

use serde_json::{Map, Value, json};
use standpipe_convert::orc::{Compression as OrcCompression, FormatVersion, OrcOptions};
use standpipe_convert::parquet::{Compression, ParquetOptions};
use standpipe_convert::{Deserializer, OpenX, TableSchema};
use standpipe_ingest::ApiError;
use standpipe_ingest::shape::{not_disabled, text};

use crate::config::Config;
use crate::spec::{CatalogKind, CatalogTable, ColumnSource, Conversion, FormatError, LATEST, OutputFormat};

type Members = Map<String, Value>;

/// AWS's words for a table that is not in its catalog.
const NO_TABLE: &str = "The specified table/database could not be found. Please ensure that the table/database exists \
                        and that the values provided in the schema configuration are correct, especially with regards to \
                        casing.";

/// The conversion of a destination whose rules have been checked; `None` where it is off.
///
/// # Errors
/// `InvalidArgumentException`: there is no such table, or a format of timestamps is none.
pub(super) fn conversion(configuration: &Members, config: &Config) -> Result<Option<Conversion>, ApiError> {
    let block = configuration.get("DataFormatConversionConfiguration").and_then(Value::as_object);
    let Some(block) = block.filter(|block| not_disabled(block)) else { return Ok(None) };
    let named = members(block, "SchemaConfiguration");
    let (database, table) = (text(named, "DatabaseName"), text(named, "TableName"));
    let name = format!("{database}.{table}");
    let schema = config.schemas.get(&name);
    let catalog = config.catalogs.default_kind();
    if schema.is_none() && catalog.is_none() {
        let why = format!("{NO_TABLE} (No schema {name} is configured under 'schemas'.)");
        return Err(ApiError::invalid_argument(why));
    }
    let or = |name, default: &str| match text(named, name) {
        "" => default.to_owned(),
        given => given.to_owned(),
    };
    let table = CatalogTable {
        catalog_id: or("CatalogId", &config.account_id),
        database: database.to_owned(),
        table: table.to_owned(),
        region: or("Region", &config.region),
        version_id: or("VersionId", LATEST),
        role_arn: Some(text(named, "RoleARN").to_owned()),
    };
    let conversion = Conversion {
        schema: schema.cloned().unwrap_or_default(),
        columns_from: catalog.filter(|_| schema.is_none()).map(ColumnSource::Catalog),
        table,
        deserializer: deserializer(members(members(block, "InputFormatConfiguration"), "Deserializer"))?,
        output: output(members(members(block, "OutputFormatConfiguration"), "Serializer"))?,
    };
    if conversion.columns_from.is_none() {
        conversion.check().map_err(|error| invalid(&error))?;
    }
    Ok(Some(conversion))
}

/// The files that a table of Iceberg gets of a destination whose rules have been checked.
///
/// # Errors
/// `InvalidArgumentException`: there is no catalog, or not just one table.
pub(super) fn appended(configuration: &Members, config: &Config) -> Result<Conversion, ApiError> {
    if config.catalogs.iceberg.is_none() {
        return Err(ApiError::invalid_argument("No catalog is configured under 'catalogs.iceberg'."));
    }
    let Some(table) = table_of(configuration) else {
        let message = "Rows are added to one table: DestinationTableConfigurationList must have one element.";
        return Err(ApiError::invalid_argument(message));
    };
    let named = |name| table.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    Ok(Conversion {
        schema: TableSchema::default(),
        columns_from: Some(ColumnSource::Catalog(CatalogKind::Iceberg)),
        table: CatalogTable {
            catalog_id: config.account_id.clone(),
            database: named("DestinationDatabaseName"),
            table: named("DestinationTableName"),
            region: config.region.clone(),
            version_id: LATEST.to_owned(),
            role_arn: Some(text(configuration, "RoleARN").to_owned()),
        },
        deserializer: Deserializer::default(),
        output: OutputFormat::Iceberg(ParquetOptions {
            compression: Compression::Zstd,
            ..ParquetOptions::default()
        }),
    })
}

/// The one table that rows are added to, where there is one.
pub(super) fn table_of(configuration: &Members) -> Option<&Value> {
    match configuration.get("DestinationTableConfigurationList")?.as_array()?.as_slice() {
        [table] => Some(table),
        _ => None,
    }
}

/// A table of Iceberg in the API's members, as far as they are its own.
pub(super) fn described_table(conversion: &Conversion) -> Members {
    let CatalogTable { database, table, .. } = &conversion.table;
    let members = [
        ("AppendOnly", Value::Bool(true)),
        ("CatalogConfiguration", json!({})),
        (
            "DestinationTableConfigurationList",
            json!([{"DestinationDatabaseName": database, "DestinationTableName": table}]),
        ),
    ];
    members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// The columns cannot be what rows are converted to.
pub(super) fn invalid(error: &FormatError) -> ApiError {
    ApiError::invalid_argument(format!("The schema is invalid. {error}."))
}

/// The table is not where it should be.
pub(super) fn no_table(why: &str) -> ApiError {
    ApiError::invalid_argument(format!("{NO_TABLE} ({why}.)"))
}

fn members<'a>(of: &'a Members, name: &str) -> &'a Members {
    static NONE: std::sync::LazyLock<Members> = std::sync::LazyLock::new(Map::new);
    of.get(name).and_then(Value::as_object).unwrap_or(&NONE)
}

fn truth(of: &Members, name: &str, default: bool) -> bool {
    of.get(name).and_then(Value::as_bool).unwrap_or(default)
}

fn deserializer(chosen: &Members) -> Result<Deserializer, ApiError> {
    if chosen.contains_key("HiveJsonSerDe") {
        let formats = members(chosen, "HiveJsonSerDe").get("TimestampFormats").and_then(Value::as_array);
        let formats = formats.into_iter().flatten().filter_map(Value::as_str);
        let timestamp_formats: Result<Vec<_>, _> = formats.map(str::parse).collect();
        let timestamp_formats =
            timestamp_formats.map_err(|error| ApiError::invalid_argument(format!("{error}")))?;
        return Ok(Deserializer::Hive { timestamp_formats });
    }
    let openx = members(chosen, "OpenXJsonSerDe");
    let mappings = members(openx, "ColumnToJsonKeyMappings").iter();
    Ok(Deserializer::OpenX(OpenX {
        case_insensitive: truth(openx, "CaseInsensitive", true),
        dots_to_underscores: truth(openx, "ConvertDotsInJsonKeysToUnderscores", false),
        mappings: mappings
            .filter_map(|(column, key)| Some((column.clone(), key.as_str()?.to_owned())))
            .collect(),
    }))
}

fn number(of: &Members, name: &str, default: u64) -> u64 {
    of.get(name).and_then(Value::as_u64).unwrap_or(default)
}

fn output(chosen: &Members) -> Result<OutputFormat, ApiError> {
    Ok(match chosen.get("OrcSerDe").and_then(Value::as_object) {
        Some(given) => OutputFormat::Orc(orc(given)?),
        None => OutputFormat::Parquet(parquet(members(chosen, "ParquetSerDe"))),
    })
}

fn parquet(parquet: &Members) -> ParquetOptions {
    let default = ParquetOptions::default();
    ParquetOptions {
        block_size_bytes: number(parquet, "BlockSizeBytes", default.block_size_bytes),
        page_size_bytes: number(parquet, "PageSizeBytes", default.page_size_bytes),
        compression: match text(parquet, "Compression") {
            "UNCOMPRESSED" => Compression::Uncompressed,
            "GZIP" => Compression::Gzip,
            _ => Compression::Snappy,
        },
        // AWS's default; the configuration file's is another.
        dictionary: truth(parquet, "EnableDictionaryCompression", false),
        writer_version: if text(parquet, "WriterVersion") == "V2" { 2 } else { 1 },
        max_padding_bytes: number(parquet, "MaxPaddingBytes", default.max_padding_bytes),
        ..default
    }
}

fn orc(orc: &Members) -> Result<OrcOptions, ApiError> {
    let default = OrcOptions::default();
    let part = |name: &str, default| orc.get(name).and_then(Value::as_f64).unwrap_or(default);
    let stride = number(orc, "RowIndexStride", default.row_index_stride.into());
    let columns = orc.get("BloomFilterColumns").and_then(Value::as_array);
    // Clients have an integer of 32 bits for it, and could not read what is described.
    let row_index_stride = i32::try_from(stride)
        .map(i32::unsigned_abs)
        .map_err(|_| ApiError::invalid_argument(format!("RowIndexStride must be at most {}.", i32::MAX)))?;
    Ok(OrcOptions {
        stripe_size_bytes: number(orc, "StripeSizeBytes", default.stripe_size_bytes),
        block_size_bytes: number(orc, "BlockSizeBytes", default.block_size_bytes),
        row_index_stride,
        enable_padding: truth(orc, "EnablePadding", default.enable_padding),
        padding_tolerance: part("PaddingTolerance", default.padding_tolerance),
        compression: match text(orc, "Compression") {
            "NONE" => OrcCompression::None,
            "ZLIB" => OrcCompression::Zlib,
            _ => OrcCompression::Snappy,
        },
        bloom_filter_columns: columns
            .into_iter()
            .flatten()
            .filter_map(|column| column.as_str().map(str::to_owned))
            .collect(),
        bloom_filter_fpp: part("BloomFilterFalsePositiveProbability", default.bloom_filter_fpp),
        // AWS's default; the configuration file's is another.
        dictionary_key_threshold: part("DictionaryKeyThreshold", 0.0),
        format_version: match text(orc, "FormatVersion") {
            "V0_11" => FormatVersion::V0_11,
            _ => FormatVersion::V0_12,
        },
    })
}

/// A conversion as AWS's members describe it, but for the role; what they cannot say is left out, and a format that they
/// do not have is none.
pub(super) fn described(conversion: &Conversion) -> Option<Value> {
    let serializer = serializer(&conversion.output)?;
    let CatalogTable { catalog_id, database, table, region, version_id, role_arn: _ } = &conversion.table;
    let deserializer = match &conversion.deserializer {
        Deserializer::OpenX(OpenX { case_insensitive, dots_to_underscores, mappings }) => {
            let mut openx = json!({
                "CaseInsensitive": case_insensitive,
                "ConvertDotsInJsonKeysToUnderscores": dots_to_underscores,
            });
            if !mappings.is_empty() {
                openx["ColumnToJsonKeyMappings"] = json!(mappings);
            }
            json!({ "OpenXJsonSerDe": openx })
        }
        Deserializer::Hive { timestamp_formats } if timestamp_formats.is_empty() => {
            json!({"HiveJsonSerDe": {}})
        }
        Deserializer::Hive { timestamp_formats } => {
            json!({"HiveJsonSerDe": {"TimestampFormats": timestamp_formats}})
        }
    };
    Some(json!({
        "Enabled": true,
        "SchemaConfiguration": {
            "CatalogId": catalog_id, "DatabaseName": database, "TableName": table, "Region": region,
            "VersionId": version_id,
        },
        "InputFormatConfiguration": {"Deserializer": deserializer},
        "OutputFormatConfiguration": {"Serializer": serializer},
    }))
}

fn serializer(output: &OutputFormat) -> Option<Value> {
    let (name, mut members) = match output {
        OutputFormat::Parquet(parquet) => (
            "ParquetSerDe",
            json!({
                "BlockSizeBytes": parquet.block_size_bytes,
                "PageSizeBytes": parquet.page_size_bytes,
                "EnableDictionaryCompression": parquet.dictionary,
                "MaxPaddingBytes": parquet.max_padding_bytes,
                "WriterVersion": format!("V{}", parquet.writer_version),
            }),
        ),
        OutputFormat::Orc(orc) => ("OrcSerDe", orc_described(orc)),
        OutputFormat::Avro { .. } | OutputFormat::Json | OutputFormat::Iceberg(_) => return None,
    };
    if let Some(compression) = compression_name(output) {
        members["Compression"] = compression.into();
    }
    Some(json!({ name: members }))
}

fn orc_described(orc: &OrcOptions) -> Value {
    let mut members = json!({
        "StripeSizeBytes": orc.stripe_size_bytes,
        "BlockSizeBytes": orc.block_size_bytes,
        "RowIndexStride": orc.row_index_stride,
        "EnablePadding": orc.enable_padding,
        "PaddingTolerance": orc.padding_tolerance,
        "BloomFilterFalsePositiveProbability": orc.bloom_filter_fpp,
        "DictionaryKeyThreshold": orc.dictionary_key_threshold,
        "FormatVersion": match orc.format_version {
            FormatVersion::V0_11 => "V0_11",
            FormatVersion::V0_12 => "V0_12",
        },
    });
    if !orc.bloom_filter_columns.is_empty() {
        members["BloomFilterColumns"] = json!(orc.bloom_filter_columns);
    }
    members
}

/// AWS's name of a compression that it has.
pub(crate) fn compression_name(output: &OutputFormat) -> Option<&'static str> {
    Some(match output {
        OutputFormat::Parquet(parquet) => match parquet.compression {
            Compression::Uncompressed => "UNCOMPRESSED",
            Compression::Gzip => "GZIP",
            Compression::Snappy => "SNAPPY",
            Compression::Zstd | Compression::Lz4Raw => return None,
        },
        OutputFormat::Orc(orc) => match orc.compression {
            OrcCompression::None => "NONE",
            OrcCompression::Zlib => "ZLIB",
            OrcCompression::Snappy => "SNAPPY",
            OrcCompression::Zstd | OrcCompression::Lz4 => return None,
        },
        OutputFormat::Avro { .. } | OutputFormat::Json | OutputFormat::Iceberg(_) => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_member_of_a_serializer_has_an_effect_and_is_described_as_it_was_given() {
        for given in [
            json!({"ParquetSerDe": {
                "BlockSizeBytes": 64 << 20, "PageSizeBytes": 65_536, "Compression": "GZIP",
                "EnableDictionaryCompression": true, "MaxPaddingBytes": 1, "WriterVersion": "V2",
            }}),
            json!({"OrcSerDe": {
                "StripeSizeBytes": 8 << 20, "BlockSizeBytes": 64 << 20, "RowIndexStride": 1_000, "EnablePadding": true,
                "PaddingTolerance": 0.25, "Compression": "ZLIB", "BloomFilterColumns": ["a", "b.c"],
                "BloomFilterFalsePositiveProbability": 0.01, "DictionaryKeyThreshold": 0.5, "FormatVersion": "V0_11",
            }}),
        ] {
            assert_eq!(serializer(&output(given.as_object().unwrap()).unwrap()), Some(given));
        }
        let orc = json!({"OrcSerDe": {"Compression": "NONE"}});
        let options = OrcOptions { compression: OrcCompression::None, ..OrcOptions::default() };
        assert_eq!(output(orc.as_object().unwrap()).unwrap(), OutputFormat::Orc(options));
        for (stride, is_right) in [(i64::from(i32::MAX), true), (1 << 31, false), (i64::MAX, false)] {
            let orc = json!({"OrcSerDe": {"RowIndexStride": stride}});
            let refused = output(orc.as_object().unwrap()).err().map(|error| error.to_string());
            assert_eq!(refused.is_none(), is_right, "{stride}: {refused:?}");
        }
    }
}
