//! The `format` and `deserializer` of a stream: the files that its rows are converted to.

use std::collections::BTreeMap;

use standpipe_convert::parquet::OptionError;
use standpipe_convert::{
    Column, Deserializer, KeyError, OpenX, RowReader, TableSchema, TimestampFormat, Type,
};
use standpipe_model::Compression;

use super::branches::BranchDraft;
use super::compound::{List, Map, Named, Sub};
use super::problem::{Problem, Spot, did_you_mean};
use super::reader::{Cursor, Section, Shape, Spots};
use super::schema::Schema;
use super::shapes::{Truth, text};
use super::streams::compression_word;
use crate::processors::ProcessorSpec;
use crate::spec::{ColumnSource, Conversion, FormatError, OutputFormat};

mod avro;
mod json;
mod orc;
mod parquet;
mod table;

pub(super) use table::Account;
use table::{SchemaDraft, table};

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
    let avro = section.optional("avro", Sub(avro::avro), "Apache Avro: object container files.");
    let json = section.optional(
        "json",
        Sub(json::json),
        "Lines of JSON that have the columns of the table, each value in one form; compressed as the destination says.",
    );
    let given = ["parquet", "orc", "avro", "json"].map(|name| section.given(name).then_some(name));
    match given.into_iter().flatten().collect::<Vec<_>>()[..] {
        [] => section.refuse("", "give one of \"parquet\", \"orc\", \"avro\" and \"json\""),
        [one, other, ..] => section.exclusive(one, other),
        [_] => {}
    }
    Some(parquet.or(orc).or(avro).or(json))
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

/// Checks the conversion of a branch against the table and the rest of it, and puts it into the destination; `table` is
/// what an inferred one is called.
pub(super) fn check(
    branch: &mut BranchDraft,
    table: &str,
    schemas: &[Named<TableSchema>],
    account: &Account<'_>,
    problems: &mut Vec<Problem>,
) {
    let Some(draft) = branch.conversion.take() else { return };
    let mut refuse = |spot: Spot, message: String| problems.push(Problem { spot, message });
    let is_text = matches!(draft.format.output, OutputFormat::Json);
    check_beside(branch, is_text, &mut refuse);
    let FormatDraft { schema, columns_max, output, spots } = draft.format;
    let (table, schema, columns_from) = match schema.resolve(columns_max, table, schemas, account) {
        Ok(Some(found)) => found,
        Ok(None) => return,
        Err((key, message)) => return refuse(spots.of(key), message),
    };
    let conversion = Conversion { schema, columns_from, table, deserializer: draft.deserializer, output };
    match columns_from {
        None => check_columns(&conversion, &spots, &draft.mappings, &mut refuse),
        Some(ColumnSource::Infer(_)) => check_inferred(&conversion, &spots, &draft.mappings, &mut refuse),
        Some(ColumnSource::Catalog(_)) => {}
    }
    if let Some(destination) = &mut branch.destination {
        destination.spec.conversion = Some(conversion);
    }
}

/// What stands beside a conversion does not contradict it.
fn check_beside(branch: &BranchDraft, is_text: bool, refuse: &mut impl FnMut(Spot, String)) {
    if branch.processors.iter().any(|spec| matches!(spec, ProcessorSpec::AppendDelimiter(_))) {
        let message = match is_text {
            true => "append_delimiter ends rows, and those of JSON end with a newline as it is",
            false => "append_delimiter ends rows of text, and with \"format\" there is none in the objects",
        };
        refuse(branch.spots.of("processors"), message.to_owned());
    }
    if let Some(destination) = &branch.destination {
        let (spec, spots) = (&destination.spec, &destination.spots);
        if spec.endpoint.is_some() {
            let message =
                "\"format\" makes files, and this destination takes records: use processors for their form";
            refuse(branch.spots.of("format"), message.to_owned());
        }
        if spec.compression != Compression::Uncompressed && !is_text {
            let key = if spots.given("compression") { "compression" } else { "compression_format" };
            let message = format!(
                "{} is not allowed with \"format\", which compresses within: none here, and \"compression\" there",
                compression_word(spec.compression)
            );
            refuse(spots.of(key), message);
        }
        if !spec.delimiter.is_empty() {
            let message = match is_text {
                true => "rows of JSON end with a newline as it is: none is allowed",
                false => "with \"format\" there is no text that a delimiter could be in: none is allowed",
            };
            refuse(spots.of("delimiter"), message.to_owned());
        }
    }
}

/// No setting can name a column that is not known yet.
fn check_inferred(
    conversion: &Conversion,
    spots: &Spots,
    mappings: &Spot,
    refuse: &mut impl FnMut(Spot, String),
) {
    let wrong = match &conversion.deserializer {
        Deserializer::Hive { .. } => Some("values are told apart by the rules of \"openx\" only"),
        Deserializer::OpenX(openx) if !openx.case_insensitive || !openx.mappings.is_empty() => {
            Some("columns are the keys in lower case: neither mappings nor case_insensitive: false")
        }
        Deserializer::OpenX(_) => None,
    };
    if let Some(wrong) = wrong {
        refuse(mappings.clone(), format!("with \"schema: infer\" {wrong}"));
    }
    if matches!(conversion.output, OutputFormat::Avro { .. }) {
        let message =
            "with \"schema: infer\" any key is a column, and Avro does not have names for all: give columns";
        refuse(spots.of("schema"), message.to_owned());
    }
    for key in ["sort_columns", "bloom_filters"].into_iter().filter(|key| spots.given(key)) {
        refuse(spots.of(key), "with \"schema: infer\" no column is known that it could name".to_owned());
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
