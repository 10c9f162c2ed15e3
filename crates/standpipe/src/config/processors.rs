//! The `processors` of a stream: what is done to its records, in the order of the list.

use standpipe_transform::processors::{
    Column, CsvToJsonOptions, DECOMPRESSED_BYTES_MAX, EnrichOptions, Header, JqOptions, Method, OnMiss,
};

use super::compound::{Either, List, Map, Sub};
use super::functions::{BATCH, RETRIES};
use super::problem::Spot;
use super::reader::{Cursor, ReadSection, Section, Shape};
use super::schema::Schema;
use super::shapes::{Choice, Size, Text, Truth, secret, text};
use super::tree::Value;
use crate::processors::{ProcessorSpec, WasmCall, check};

/// The shape of one processor: a map with one key, its name; with the place of its value.
pub(super) const PROCESSOR: Sub<(ProcessorSpec, Spot)> = Sub(processor);

const NAMES: [&str; 10] = [
    "decompress",
    "cloudwatch_logs",
    "record_deaggregation",
    "csv_to_json",
    "jq",
    "enrich",
    "redact",
    "wasm",
    "metadata_extraction",
    "append_delimiter",
];

fn processor(section: &mut Section<'_, '_>) -> Option<(ProcessorSpec, Spot)> {
    let all = [
        section.optional("decompress", Sub(decompress), "Takes GZIP apart (`Decompression`)."),
        section.optional(
            "cloudwatch_logs",
            Sub(cloudwatch_logs),
            "Drops the records by which CloudWatch Logs tests its subscription (`CloudWatchLogProcessing`).",
        ),
        section.optional(
            "record_deaggregation",
            Sub(record_deaggregation),
            "Takes apart records that hold several (`RecordDeAggregation`).",
        ),
        section.optional("csv_to_json", Sub(csv_to_json), "Makes a JSON object of each line of CSV."),
        section.optional("jq", Sub(jq), "Reshapes, filters or multiplies records by a jq program."),
        section.optional("enrich", Sub(enrich), "Adds columns of a reference table to records, by a key."),
        section.optional("redact", Sub(redact), "Hides parts of records."),
        section.optional(
            "metadata_extraction",
            Sub(metadata_extraction),
            "Finds the partition keys of each record (`MetadataExtraction`).",
        ),
        section
            .optional(
                "wasm",
                Either(Called, Sub(wasm as ReadSection<WasmCall>)),
                "Calls a function: its name under `functions`, alone or with what differs for this stream (`Lambda`).",
            )
            .map(ProcessorSpec::Wasm),
        section
            .optional("append_delimiter", text(1..=100), "Ends each record (`AppendDelimiterToRecord`).")
            .map(ProcessorSpec::AppendDelimiter),
    ];
    let given: Vec<&str> = NAMES.into_iter().filter(|name| section.given(name)).collect();
    match given.as_slice() {
        [] => section.refuse("", format!("name one processor: {}", NAMES.join(", "))),
        [_] => {}
        [_, second, ..] => section.refuse(second, "each processor is an item of its own in the list"),
    }
    let spec = all.into_iter().flatten().next()?;
    let name = given.first().copied().unwrap_or_default();
    if let Err(error) = check(std::slice::from_ref(&spec)) {
        section.refuse(name, error);
        return None;
    }
    Some((spec, section.spot(name)))
}

fn decompress(section: &mut Section<'_, '_>) -> Option<ProcessorSpec> {
    let limit = section.or(
        "limit",
        Size(1..=DECOMPRESSED_BYTES_MAX as u64),
        "10MiB",
        "The most bytes that a record may come to; one that comes to more fails.",
    );
    Some(ProcessorSpec::Decompress { limit_bytes: usize::try_from(limit).ok()? })
}

fn cloudwatch_logs(section: &mut Section<'_, '_>) -> Option<ProcessorSpec> {
    let messages_only = section.or(
        "messages_only",
        Truth,
        "false",
        "Whether only the messages of log events are kept (`DataMessageExtraction`).",
    );
    Some(ProcessorSpec::CloudwatchLogs { messages_only })
}

fn record_deaggregation(section: &mut Section<'_, '_>) -> Option<ProcessorSpec> {
    let plain = section.optional(
        "delimiter",
        text(1..=100),
        "What is between the records; where there is none, records are JSON objects one behind the other.",
    );
    let encoded = section.optional(
        "delimiter_base64",
        text(1..=200),
        "`delimiter` in base64, as the Firehose API has it.",
    );
    section.exclusive("delimiter", "delimiter_base64");
    let delimiter = encoded.or_else(|| plain.map(|plain| base64_simd::STANDARD.encode_to_string(plain)));
    Some(ProcessorSpec::RecordDeAggregation { delimiter })
}

fn metadata_extraction(section: &mut Section<'_, '_>) -> Option<ProcessorSpec> {
    let query = section.required(
        "query",
        text(1..=16_384),
        "A jq program that gives an object: each key with its value.",
    )?;
    Some(ProcessorSpec::MetadataExtraction { query })
}

fn csv_to_json(section: &mut Section<'_, '_>) -> Option<ProcessorSpec> {
    let header = section.or(
        "header",
        HeaderShape,
        "true",
        "Where the columns' names come from: `true` is the first line of each record, `false` names them `_1`, `_2` and \
         so on; or the list of names.",
    );
    let delimiter =
        section.or("delimiter", text(1..=2), ",", "What is between fields: one ASCII character, or `\\t`.");
    let quote = section.or(
        "quote",
        text(0..=1),
        "\"",
        "What is around fields: one ASCII character, twice within a field for itself; empty for none.",
    );
    let types = section
        .optional(
            "types",
            Map(TYPE),
            "What columns hold that are not strings, by name. An empty field of such a column is null.",
        )
        .unwrap_or_default();
    let types = types.into_iter().filter_map(|(name, _, column)| Some((name, column?))).collect();
    Some(ProcessorSpec::CsvToJson(CsvToJsonOptions { header, delimiter, quote, types }))
}

const TYPE: Choice<Column> = Choice(&[
    ("string", Column::String),
    ("int", Column::Int),
    ("float", Column::Float),
    ("bool", Column::Bool),
]);

/// `true`, `false` or a list of names.
struct HeaderShape;

impl Shape for HeaderShape {
    type Out = Header;

    fn read(&self, at: &mut Cursor<'_, '_>) -> Option<Header> {
        match at.node.value {
            Value::List(_) => List(text(1..=256)).read(at).map(Header::Names),
            _ => Truth.read(at).map(Header::Line),
        }
    }

    fn schema(&self) -> Schema {
        let names = Schema::List(Box::new(text(1..=256).schema()));
        Schema::Either(Box::new(Truth.schema()), Box::new(names))
    }
}

fn jq(section: &mut Section<'_, '_>) -> Option<ProcessorSpec> {
    let program = section.required("program", text(1..=16_384), "The program; at most 16 KiB.");
    let raw_input = section.or(
        "raw_input",
        Truth,
        "false",
        "Whether its input is the record as a string rather than the JSON in it.",
    );
    let raw_output = section.or(
        "raw_output",
        Truth,
        "false",
        "Whether an output that is a string is written as it is rather than as JSON.",
    );
    Some(ProcessorSpec::Jq(JqOptions { program: program?, raw_input, raw_output }))
}

fn enrich(section: &mut Section<'_, '_>) -> Option<ProcessorSpec> {
    let table = section.required("table", text(1..=64), "The table's name under `tables`.");
    let key = section.required(
        "key",
        text(1..=16_384),
        "A jq program that gives a record's key: a string, a number or a boolean.",
    );
    let columns = section.optional(
        "columns",
        Columns,
        "The columns that are added: a list, or a map of columns to the names of the members. Where absent, all but that \
         of the keys.",
    );
    let on_miss = section.or(
        "miss",
        Choice(&[("keep", OnMiss::Keep), ("drop", OnMiss::Drop), ("fail", OnMiss::Fail)]),
        "keep",
        "What becomes of a record whose key the table does not have, or that has none: it stays as it is, it is dropped, or \
         it fails.",
    );
    let options = EnrichOptions { key: key?, columns: columns.unwrap_or_default(), on_miss };
    Some(ProcessorSpec::Enrich { table: table?, options })
}

/// A list of columns, or a map of columns to the names of members.
struct Columns;

const COLUMN: Text = text(1..=256);

impl Shape for Columns {
    type Out = Vec<(String, String)>;

    fn read(&self, at: &mut Cursor<'_, '_>) -> Option<Self::Out> {
        if let Value::Map(_) = at.node.value {
            let renamed = Map(COLUMN).read(at)?;
            return renamed.into_iter().map(|(column, _, name)| Some((column, name?))).collect();
        }
        let columns = List(COLUMN).read(at)?;
        Some(columns.into_iter().map(|column| (column.clone(), column)).collect())
    }

    fn schema(&self) -> Schema {
        Schema::Either(Box::new(List(COLUMN).schema()), Box::new(Map(COLUMN).schema()))
    }
}

/// A shorter one can be found by trying.
const REDACT_KEY_MIN: usize = 16;

fn redact(section: &mut Section<'_, '_>) -> Option<ProcessorSpec> {
    let paths = section.optional(
        "paths",
        List(text(1..=1_000)),
        "Where values are: `.user.email`, `.cards[].number`, `..password` (anywhere).",
    );
    let patterns = section.optional(
        "patterns",
        List(text(1..=1_000)),
        "Regular expressions of what is looked for in the text of records.",
    );
    let method = section.or(
        "method",
        Choice(&[("replace", Method::Replace), ("hash", Method::Hash)]),
        "replace",
        "What takes the place of a value: the replacement, or its SHA-256, with a key its HMAC.",
    );
    let replacement = section.or("replacement", text(0..=100), "***", "The replacement.");
    let key = secret(
        section,
        "key",
        "key_file",
        "The secret key of hashes (HMAC-SHA-256), without which nobody finds out by trying what a value was; better a \
         variable or a file than here. At least 16 characters.",
        "A file that holds the key.",
    );
    if key.as_ref().is_some_and(|key| key.expose().len() < REDACT_KEY_MIN) {
        let name = if section.given("key") { "key" } else { "key_file" };
        section.refuse(name, format!("the key must have at least {REDACT_KEY_MIN} characters"));
    }
    let (paths, patterns) = (paths.unwrap_or_default(), patterns.unwrap_or_default());
    Some(ProcessorSpec::Redact { paths, patterns, method, replacement, key })
}

/// The name of a function.
struct Called;

impl Shape for Called {
    type Out = WasmCall;

    fn read(&self, at: &mut Cursor<'_, '_>) -> Option<WasmCall> {
        text(1..=64).read(at).map(WasmCall::of)
    }

    fn schema(&self) -> Schema {
        text(1..=64).schema()
    }
}

fn wasm(section: &mut Section<'_, '_>) -> Option<WasmCall> {
    let function = section.required("function", Called, "The function's name under `functions`.");
    let retries = section.optional(
        "retries",
        RETRIES,
        "How often a call that failed is repeated; as the function has it where absent.",
    );
    let batch =
        section.optional("batch", BATCH, "The most data in a call; as the function has it where absent.");
    Some(WasmCall {
        retries: retries.and_then(|retries| u32::try_from(retries).ok()),
        batch_bytes: batch.and_then(|bytes| usize::try_from(bytes).ok()),
        ..function?
    })
}
