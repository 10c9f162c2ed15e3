//! A `DataFormatConversionConfiguration` as the `format` and `deserializer` of a stream.

use serde_json::{Map, Value};
use standpipe_convert::TimestampFormat;

use super::members;
use super::stream::{Fields, Scope, Yaml, open, text};

/// The keys, which the mapping of a stream moves to where the file has them.
pub(super) const FORMAT: &str = "format";
pub(super) const DESERIALIZER: &str = "deserializer";

const SCHEMA_REMARK: &str =
    "the columns are those of the file; role, catalog, region and version have no part in it";

/// Whether rows are converted, which they are unless it says otherwise.
pub(super) fn is_on(block: &Value) -> bool {
    let off = |enabled: &Value| text(enabled).is_ok_and(|enabled| enabled.eq_ignore_ascii_case("false"));
    block.is_object() && !block.get("Enabled").is_some_and(off)
}

/// Maps the block.
pub(super) fn conversion(value: &Value, yaml: &mut Fields, scope: &mut Scope<'_>) -> Result<(), String> {
    if !is_on(value) {
        return Ok(());
    }
    let named = value.get("SchemaConfiguration").unwrap_or(&Value::Null);
    let name = |member: &str| {
        let name = text(named.get(member).unwrap_or(&Value::Null));
        name.map_err(|why| format!("SchemaConfiguration.{member} {why}"))
    };
    let schema = format!("{}.{}", name("DatabaseName")?, name("TableName")?);
    let deserializer = deserializer(&chosen(value, "InputFormatConfiguration", "Deserializer"))?;
    let serializer = chosen(value, "OutputFormatConfiguration", "Serializer");
    let (format, fields) = match (serializer.get("ParquetSerDe"), serializer.get("OrcSerDe")) {
        (Some(given), None) => ("parquet", parquet(&schema, given)?),
        (None, Some(given)) => ("orc", orc(&schema, given)?),
        (None, None) => return Err("it names no serializer".to_owned()),
        _ => return Err("it names more than one serializer".to_owned()),
    };
    scope.remark("DataFormatConversionConfiguration.SchemaConfiguration", SCHEMA_REMARK);
    scope.schemas.insert(schema);
    yaml.fields(FORMAT, Fields(vec![(format, Yaml::Fields(fields))]));
    yaml.fields(DESERIALIZER, deserializer);
    Ok(())
}

fn chosen(value: &Value, parent: &str, name: &str) -> Map<String, Value> {
    members(value.get(parent).and_then(|parent| parent.get(name)))
}

/// What is wrong with a member, with its name.
fn of(member: &'static str) -> impl Fn(String) -> String {
    move |why| format!("{member} {why}")
}

fn truth(of_members: &Map<String, Value>, member: &'static str, default: bool) -> Result<bool, String> {
    let given = of_members.get(member).map(text).transpose().map_err(of(member))?;
    Ok(given.map_or(default, |word| word.eq_ignore_ascii_case("true")))
}

fn deserializer(chosen: &Map<String, Value>) -> Result<Fields, String> {
    if let Some(hive) = chosen.get("HiveJsonSerDe") {
        let listed = hive.get("TimestampFormats").and_then(Value::as_array).into_iter().flatten();
        let formats: Vec<String> =
            listed.map(text).collect::<Result<_, _>>().map_err(of("TimestampFormats"))?;
        for format in &formats {
            format.parse::<TimestampFormat>().map_err(|error| error.to_string())?;
        }
        let mut fields = Fields::default();
        if !formats.is_empty() {
            fields.texts("timestamp_formats", formats);
        }
        return Ok(Fields(vec![("hive", Yaml::Fields(fields))]));
    }
    let Some(given) = chosen.get("OpenXJsonSerDe") else {
        return Err("it names no deserializer".to_owned());
    };
    if let Some(why) = open(given) {
        return Err(format!("OpenXJsonSerDe {why}"));
    }
    let given = members(Some(given));
    let mut openx = Fields::default();
    openx.0.push(("case_insensitive", Yaml::Truth(truth(&given, "CaseInsensitive", true)?)));
    let dots = truth(&given, "ConvertDotsInJsonKeysToUnderscores", false)?;
    openx.0.push(("dots_to_underscores", Yaml::Truth(dots)));
    let mappings = members(given.get("ColumnToJsonKeyMappings"));
    if !mappings.is_empty() {
        let mapped = mappings.into_iter().map(|(column, key)| Ok((column, text(&key)?)));
        openx
            .words("mappings", mapped.collect::<Result<_, String>>().map_err(of("ColumnToJsonKeyMappings"))?);
    }
    Ok(Fields(vec![("openx", Yaml::Fields(openx))]))
}

fn parquet(schema: &str, given: &Value) -> Result<Fields, String> {
    if let Some(why) = open(given) {
        return Err(format!("ParquetSerDe {why}"));
    }
    let given = members(Some(given));
    let keys = [
        ("Compression", "compression"),
        ("BlockSizeBytes", "block_size"),
        ("PageSizeBytes", "page_size"),
        ("MaxPaddingBytes", "max_padding"),
        ("WriterVersion", "writer_version"),
    ];
    let mut parquet = plain(schema, &given, &keys)?;
    // Where it is absent the API has it off, and the file has it on.
    let dictionary = truth(&given, "EnableDictionaryCompression", false)?;
    parquet.0.push(("dictionary", Yaml::Truth(dictionary)));
    Ok(parquet)
}

fn orc(schema: &str, given: &Value) -> Result<Fields, String> {
    if let Some(why) = open(given) {
        return Err(format!("OrcSerDe {why}"));
    }
    let given = members(Some(given));
    let keys = [
        ("Compression", "compression"),
        ("StripeSizeBytes", "stripe_size"),
        ("BlockSizeBytes", "block_size"),
        ("RowIndexStride", "row_index_stride"),
        ("PaddingTolerance", "padding_tolerance"),
        ("BloomFilterFalsePositiveProbability", "bloom_filter_fpp"),
        ("DictionaryKeyThreshold", "dictionary_threshold"),
        ("FormatVersion", "version"),
    ];
    let mut orc = plain(schema, &given, &keys)?;
    // Where it is absent the API has no dictionaries, and the file has them.
    if !given.contains_key("DictionaryKeyThreshold") {
        orc.text("dictionary_threshold", "0");
    }
    orc.0.push(("padding", Yaml::Truth(truth(&given, "EnablePadding", false)?)));
    let columns = given.get("BloomFilterColumns").and_then(Value::as_array).into_iter().flatten();
    let columns: Vec<String> =
        columns.map(text).collect::<Result<_, _>>().map_err(of("BloomFilterColumns"))?;
    if !columns.is_empty() {
        orc.texts("bloom_filters", columns);
    }
    Ok(orc)
}

/// The schema, and the members that are keys by another name.
fn plain(
    schema: &str,
    given: &Map<String, Value>,
    keys: &[(&'static str, &'static str)],
) -> Result<Fields, String> {
    let mut fields = Fields::default();
    fields.text("schema", schema);
    for &(member, key) in keys {
        if let Some(value) = given.get(member) {
            fields.text(key, text(value).map_err(of(member))?);
        }
    }
    Ok(fields)
}

#[cfg(test)]
pub(super) mod tests;
