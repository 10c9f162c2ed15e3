//! Between a `DataFormatConversionConfiguration` and a conversion of the specification.

use serde_json::{Map, Value, json};
use standpipe_convert::parquet::{Compression, ParquetOptions};
use standpipe_convert::{Deserializer, OpenX, RowReader};
use standpipe_ingest::ApiError;
use standpipe_ingest::shape::{not_disabled, text};

use crate::config::Config;
use crate::spec::{CatalogTable, Conversion, OutputFormat};

type Members = Map<String, Value>;

/// AWS's words for a table that Glue does not have.
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
    let schema = config.schemas.get(&name).ok_or_else(|| {
        ApiError::invalid_argument(format!("{NO_TABLE} (No schema {name} is configured under 'schemas'.)"))
    })?;
    let or = |name, default: &str| match text(named, name) {
        "" => default.to_owned(),
        given => given.to_owned(),
    };
    let table = CatalogTable {
        catalog_id: or("CatalogId", &config.account_id),
        database: database.to_owned(),
        table: table.to_owned(),
        region: or("Region", &config.region),
        version_id: or("VersionId", "LATEST"),
        role_arn: Some(text(named, "RoleARN").to_owned()),
    };
    let conversion = Conversion {
        schema: schema.clone(),
        table,
        deserializer: deserializer(members(members(block, "InputFormatConfiguration"), "Deserializer"))?,
        output: output(members(members(block, "OutputFormatConfiguration"), "Serializer")),
    };
    RowReader::check(&conversion.schema, &conversion.deserializer)
        .map_err(|error| ApiError::invalid_argument(format!("The schema is invalid. {error}.")))?;
    conversion
        .check()
        .map_err(|error| ApiError::invalid_argument(format!("The schema is invalid. {error}.")))?;
    Ok(Some(conversion))
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

fn output(chosen: &Members) -> OutputFormat {
    let parquet = members(chosen, "ParquetSerDe");
    let default = ParquetOptions::default();
    let number = |name: &str, default| parquet.get(name).and_then(Value::as_u64).unwrap_or(default);
    OutputFormat::Parquet(ParquetOptions {
        block_size_bytes: number("BlockSizeBytes", default.block_size_bytes),
        page_size_bytes: number("PageSizeBytes", default.page_size_bytes),
        compression: match text(parquet, "Compression") {
            "UNCOMPRESSED" => Compression::Uncompressed,
            "GZIP" => Compression::Gzip,
            _ => Compression::Snappy,
        },
        // AWS's default; the configuration file's is another.
        dictionary: truth(parquet, "EnableDictionaryCompression", false),
        writer_version: if text(parquet, "WriterVersion") == "V2" { 2 } else { 1 },
        max_padding_bytes: number("MaxPaddingBytes", default.max_padding_bytes),
        ..default
    })
}

/// A conversion as AWS's members describe it, but for the role; what they cannot say is left out.
pub(super) fn described(conversion: &Conversion) -> Value {
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
    let OutputFormat::Parquet(parquet) = &conversion.output;
    let mut serializer = json!({
        "BlockSizeBytes": parquet.block_size_bytes,
        "PageSizeBytes": parquet.page_size_bytes,
        "EnableDictionaryCompression": parquet.dictionary,
        "MaxPaddingBytes": parquet.max_padding_bytes,
        "WriterVersion": format!("V{}", parquet.writer_version),
    });
    if let Some(compression) = compression_name(parquet.compression) {
        serializer["Compression"] = compression.into();
    }
    json!({
        "Enabled": true,
        "SchemaConfiguration": {
            "CatalogId": catalog_id, "DatabaseName": database, "TableName": table, "Region": region,
            "VersionId": version_id,
        },
        "InputFormatConfiguration": {"Deserializer": deserializer},
        "OutputFormatConfiguration": {"Serializer": {"ParquetSerDe": serializer}},
    })
}

/// AWS's name of a compression that it has.
pub(crate) fn compression_name(compression: Compression) -> Option<&'static str> {
    match compression {
        Compression::Uncompressed => Some("UNCOMPRESSED"),
        Compression::Gzip => Some("GZIP"),
        Compression::Snappy => Some("SNAPPY"),
        Compression::Zstd | Compression::Lz4Raw => None,
    }
}
