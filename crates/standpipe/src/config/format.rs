//! The `format` and `deserializer` of a stream: the files that its rows are converted to.

use std::collections::BTreeMap;

use standpipe_convert::parquet::OptionError;
use standpipe_convert::{
    COLUMNS_MAX, Column, Deserializer, KeyError, OpenX, RowReader, TableSchema, TimestampFormat, Type,
};
use standpipe_model::{Compression, StreamName};

use super::check::known;
use super::columns::check_table_name;
use super::compound::{Either, List, Map, Named, Sub};
use super::problem::{Problem, Spot, did_you_mean};
use super::reader::{Cursor, ReadSection, Section, Shape, Spots};
use super::schema::Schema;
use super::shapes::{Choice, Int, Truth, text};
use super::streams::{StreamDraft, compression_word};
use crate::glue::LATEST;
use crate::processors::ProcessorSpec;
use crate::spec::{CatalogTable, ColumnSource, Conversion, FormatError, OutputFormat};

mod orc;
mod parquet;

/// What a stream's rows are converted to, as it was read.
#[derive(Debug, Clone)]
pub(super) struct ConversionDraft {
    format: FormatDraft,
    deserializer: Deserializer,
    /// Where the mappings of columns stand.
    mappings: Spot,
}

#[derive(Debug, Clone)]
struct FormatDraft {
    schema: SchemaDraft,
    columns_max: Option<u32>,
    output: OutputFormat,
    spots: Spots,
}

/// Which table, as it was read.
#[derive(Debug, Clone)]
enum SchemaDraft {
    /// A name under `schemas`, or in the catalog if there is one, or [`INFER`].
    Named(String),
    /// A table of the catalog.
    InGlue { database: String, table: String, version: String },
}

/// What names a table beside its own name.
pub(super) struct Account<'a> {
    pub(super) id: &'a str,
    pub(super) region: &'a str,
    pub(super) has_glue: bool,
}

impl Account<'_> {
    fn table(&self, database: &str, table: &str, version: &str) -> CatalogTable {
        CatalogTable {
            catalog_id: self.id.to_owned(),
            database: database.to_owned(),
            table: table.to_owned(),
            region: self.region.to_owned(),
            version_id: version.to_owned(),
            role_arn: None,
        }
    }
}

/// What stands for a schema that rows say themselves.
const INFER: &str = "infer";
/// The database that error output names for it; its table has the stream's name.
const INFERRED_DATABASE: &str = "inferred";
/// The most names of columns and members, unless the stream says otherwise.
const INFERRED_COLUMNS_MAX: u32 = 1_000;

/// Reads both sections.
pub(super) fn conversion(section: &mut Section<'_, '_>) -> Option<ConversionDraft> {
    let format = section
        .optional(
            "format",
            Sub(format),
            "The files that rows are converted to; objects hold the rows as they come where absent.",
        )
        .flatten();
    let deserializer = section.optional("deserializer", Sub(deserializer), "How rows are read for `format`.");
    if section.given("deserializer") && !section.given("format") {
        section.refuse("deserializer", "it reads rows for a \"format\", and there is none");
    }
    let (deserializer, mappings) =
        deserializer.unwrap_or_else(|| (Deserializer::default(), section.spot("")));
    Some(ConversionDraft { format: format?, deserializer, mappings })
}

fn format(section: &mut Section<'_, '_>) -> Option<Option<FormatDraft>> {
    let parquet = section.optional("parquet", Sub(parquet::parquet), "Apache Parquet.");
    let orc = section.optional("orc", Sub(orc::orc), "Apache ORC.");
    section.exclusive("parquet", "orc");
    if !section.given("parquet") && !section.given("orc") {
        section.refuse("", "give either \"parquet\" or \"orc\"");
    }
    Some(parquet.or(orc))
}

/// The table, and how far one may grow that is inferred.
fn table(section: &mut Section<'_, '_>) -> (Option<SchemaDraft>, Option<u32>) {
    let schema = section.required(
        "schema",
        Either(SchemaName, Sub(in_catalog as ReadSection<SchemaDraft>)),
        "The table's name under `schemas`, or in the catalog if it is not there; or `infer`: the rows say themselves what \
         their columns are.",
    );
    let columns_max = section.optional(
        "columns_max",
        Int(1..=COLUMNS_MAX as u64),
        "With `schema: infer`, the most columns, members of structs counted too; 1,000 where absent.",
    );
    (schema, columns_max.and_then(|max: u64| u32::try_from(max).ok()))
}

/// The name of a table.
struct SchemaName;

impl Shape for SchemaName {
    type Out = SchemaDraft;

    fn read(&self, at: &mut Cursor<'_, '_>) -> Option<SchemaDraft> {
        text(3..=2_000).read(at).map(SchemaDraft::Named)
    }

    fn schema(&self) -> Schema {
        Schema::Text
    }
}

fn in_catalog(section: &mut Section<'_, '_>) -> Option<SchemaDraft> {
    let catalog = section.required("catalog", Choice(&[("glue", ())]), "The catalog: `glue`.");
    let database = section.required("database", text(1..=255), "The table's database there.");
    let table = section.required("table", text(1..=255), "The table.");
    let version = section.or("version", text(1..=255), LATEST, "The version, `LATEST` to follow the table.");
    catalog?;
    Some(SchemaDraft::InGlue { database: database?, table: table?, version })
}

/// How rows are read, and where the mappings of columns stand.
fn deserializer(section: &mut Section<'_, '_>) -> Option<(Deserializer, Spot)> {
    let openx =
        section.optional("openx", Sub(openx), "Lenient (`OpenXJsonSerDe`); this where neither is given.");
    let hive = section.optional("hive", Sub(hive), "Strict (`HiveJsonSerDe`).");
    section.exclusive("openx", "hive");
    let plain = || (Deserializer::default(), section.spot(""));
    Some(hive.map(|hive| (hive, section.spot("hive"))).or(openx).unwrap_or_else(plain))
}

fn openx(section: &mut Section<'_, '_>) -> Option<(Deserializer, Spot)> {
    let case_insensitive = section.or(
        "case_insensitive",
        Truth,
        "true",
        "Whether the case of keys does not matter; all keys are then in lower case wherever they are kept.",
    );
    let dots_to_underscores = section.or(
        "dots_to_underscores",
        Truth,
        "false",
        "Whether a dot in a key is an underscore in the column's name (`ConvertDotsInJsonKeysToUnderscores`).",
    );
    let mappings = section.optional(
        "mappings",
        Map(text(1..=1_024)),
        "The keys of columns that are called otherwise, by column (`ColumnToJsonKeyMappings`).",
    );
    let mappings: BTreeMap<_, _> = mappings
        .unwrap_or_default()
        .into_iter()
        .filter_map(|(column, _, key)| Some((column, key?)))
        .collect();
    let openx = OpenX { case_insensitive, dots_to_underscores, mappings };
    Some((Deserializer::OpenX(openx), section.spot("mappings")))
}

fn hive(section: &mut Section<'_, '_>) -> Option<Deserializer> {
    let formats = section.optional(
        "timestamp_formats",
        List(Joda),
        "The formats of timestamps, tried in order: patterns of Joda, or `millis`; `yyyy-MM-dd HH:mm:ss[.f…]` where \
         absent.",
    );
    Some(Deserializer::Hive { timestamp_formats: formats.unwrap_or_default() })
}

/// A format of timestamps.
struct Joda;

impl Shape for Joda {
    type Out = TimestampFormat;

    fn read(&self, at: &mut Cursor<'_, '_>) -> Option<TimestampFormat> {
        let text = text(1..=1_024).read(at)?;
        match text.parse() {
            Ok(format) => Some(format),
            Err(_) => at.refuse(format!("\"{text}\" is neither a pattern of Joda nor millis")),
        }
    }

    fn schema(&self) -> Schema {
        Schema::Text
    }
}

/// Checks the conversion of a stream against the table and the rest of the stream, and puts it into the destination.
pub(super) fn check(
    stream: &mut StreamDraft,
    schemas: &[Named<TableSchema>],
    account: &Account<'_>,
    problems: &mut Vec<Problem>,
) {
    let Some(draft) = stream.conversion.take() else { return };
    let mut refuse = |spot: Spot, message: String| problems.push(Problem { spot, message });
    if stream.processors.iter().any(|spec| matches!(spec, ProcessorSpec::AppendDelimiter(_))) {
        let message = "append_delimiter ends rows of text, and with \"format\" there is none in the objects";
        refuse(stream.spots.of("processors"), message.to_owned());
    }
    if let Some(destination) = &stream.destination {
        let (spec, spots) = (&destination.spec, &destination.spots);
        if spec.endpoint.is_some() {
            let message =
                "\"format\" makes files, and this destination takes records: use processors for their form";
            refuse(stream.spots.of("format"), message.to_owned());
        }
        if spec.compression != Compression::Uncompressed {
            let key = if spots.given("compression") { "compression" } else { "compression_format" };
            let message = format!(
                "{} is not allowed with \"format\", which compresses within: none here, and \"compression\" there",
                compression_word(spec.compression)
            );
            refuse(spots.of(key), message);
        }
        if !spec.delimiter.is_empty() {
            let message = "with \"format\" there is no text that a delimiter could be in: none is allowed";
            refuse(spots.of("delimiter"), message.to_owned());
        }
    }
    let FormatDraft { schema: named, columns_max, output, spots } = draft.format;
    if matches!(&named, SchemaDraft::Named(name) if name == INFER) {
        return inferred(
            stream,
            (columns_max, output, spots),
            (draft.deserializer, draft.mappings),
            account,
            problems,
        );
    }
    if columns_max.is_some() {
        refuse(
            spots.of("columns_max"),
            "it limits what \"schema: infer\" comes to, and there is another".to_owned(),
        );
    }
    let (table, schema) = match named {
        SchemaDraft::InGlue { database, table, version } => {
            (account.table(&database, &table, &version), None)
        }
        SchemaDraft::Named(name) => {
            let found = known("schema", &name, schemas);
            let found = found.map(|()| schemas.iter().find(|(known, ..)| *known == name));
            let schema = match found {
                Ok(Some((_, _, Some(schema)))) => Some(schema.clone()),
                Err(_) if account.has_glue && check_table_name(&name).is_ok() => None,
                Err(message) => return refuse(spots.of("schema"), message),
                // What is wrong with the schema itself has been told.
                _ => return,
            };
            let (database, table) = name.split_once('.').unwrap_or((&name, ""));
            (account.table(database, table, LATEST), schema)
        }
    };
    let columns_from = schema.is_none().then_some(ColumnSource::Glue);
    if columns_from.is_some() && !account.has_glue {
        refuse(spots.of("schema"), "there is no \"glue\" under \"catalogs\"".to_owned());
    }
    let schema = schema.unwrap_or_default();
    let conversion = Conversion { schema, columns_from, table, deserializer: draft.deserializer, output };
    if columns_from.is_none() {
        check_columns(&conversion, &spots, &draft.mappings, &mut refuse);
    }
    if let Some(destination) = &mut stream.destination {
        destination.spec.conversion = Some(conversion);
    }
}

/// Checks a conversion whose columns are not known yet, so that no setting can name one.
fn inferred(
    stream: &mut StreamDraft,
    (columns_max, output, spots): (Option<u32>, OutputFormat, Spots),
    (deserializer, mappings): (Deserializer, Spot),
    account: &Account<'_>,
    problems: &mut Vec<Problem>,
) {
    let mut refuse = |spot: Spot, message: &str| problems.push(Problem { spot, message: message.to_owned() });
    match &deserializer {
        Deserializer::Hive { .. } => {
            refuse(mappings, "with \"schema: infer\" values are told apart by the rules of \"openx\" only");
        }
        Deserializer::OpenX(openx) if !openx.case_insensitive || !openx.mappings.is_empty() => {
            refuse(
                mappings,
                "with \"schema: infer\" columns are the keys in lower case: neither mappings nor case_insensitive: false",
            );
        }
        Deserializer::OpenX(_) => {}
    }
    for key in ["sort_columns", "bloom_filters"].into_iter().filter(|key| spots.given(key)) {
        refuse(spots.of(key), "with \"schema: infer\" no column is known that it could name");
    }
    let name = stream.name.as_ref().map_or("", StreamName::as_str);
    let conversion = Conversion {
        schema: TableSchema::default(),
        columns_from: Some(ColumnSource::Infer(columns_max.unwrap_or(INFERRED_COLUMNS_MAX))),
        table: account.table(INFERRED_DATABASE, name, LATEST),
        deserializer,
        output,
    };
    if let Some(destination) = &mut stream.destination {
        destination.spec.conversion = Some(conversion);
    }
}

/// Columns that settings name are there.
fn check_columns(
    conversion: &Conversion,
    spots: &Spots,
    mappings: &Spot,
    refuse: &mut impl FnMut(Spot, String),
) {
    let columns = conversion.schema.columns();
    let unknown = |name: &str| {
        let hint = did_you_mean(name, columns.iter().map(|Column { name, .. }| name.as_str()));
        format!(
            "there is no column \"{name}\" in {}.{}{hint}",
            conversion.table.database, conversion.table.table
        )
    };
    if let Deserializer::OpenX(OpenX { mappings: mapped, .. }) = &conversion.deserializer {
        for name in mapped.keys().filter(|name| columns.iter().all(|column| column.name != **name)) {
            refuse(mappings.clone(), unknown(name));
        }
    }
    if let Err(error @ KeyError::Twice { .. }) =
        RowReader::check(&conversion.schema, &conversion.deserializer)
    {
        refuse(mappings.clone(), error.to_string());
    }
    if let OutputFormat::Parquet(options) = &conversion.output {
        let is_nested =
            |column: &&Column| matches!(column.kind, Type::Array(_) | Type::Map(_) | Type::Struct(_));
        let nested = columns.iter().filter(is_nested);
        for Column { name, .. } in nested.filter(|column| options.bloom_filters.contains(&column.name)) {
            refuse(spots.of("bloom_filters"), format!("\"{name}\" is nested, and has no values to look for"));
        }
    }
    match conversion.format() {
        Ok(_) => {}
        Err(FormatError::Parquet(OptionError::NoColumn { setting, column })) => {
            refuse(spots.of(setting), unknown(&column));
        }
        Err(error @ FormatError::Parquet(OptionError::Unsortable(_))) => {
            refuse(spots.of("sort_columns"), error.to_string());
        }
        Err(FormatError::Orc(error)) => refuse(spots.of(orc::setting(&error)), error.to_string()),
        Err(error) => refuse(spots.of("schema"), error.to_string()),
    }
}

#[cfg(test)]
mod tests;
